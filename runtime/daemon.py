"""The daemon: a runtime in a process of its own, until somebody asks it to stop."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable

import trio

from runtime.application import open_application
from runtime.config import Settings, SettingsError
from runtime.core.errors import ActorError

_log = logging.getLogger("marketd")

EXIT_STOPPED = 0
EXIT_FAILED = 1
EXIT_WRONG_SETTINGS = 2


def run_daemon(
    settings: Settings, *, sandbox: bool = False, say: Callable[[str], None] | None = None
) -> int:
    """Run until SIGINT, SIGTERM or the command `stop`; return the process's exit code.

    Args:
      settings: The runtime's settings.
      sandbox: Whether to run on a sandbox exchange of its own.
      say: Told in one line when the runtime is ready and where it listens; standard output if not
        given.

    Returns:
      0 after a stop that was asked for, 1 if the runtime failed, 2 if it could not start because
      of its settings or because another runtime is there.
    """
    _log_to_stderr(settings.runtime.log_level)
    try:
        trio.run(_serve, settings, sandbox, say or _say)
    except SettingsError as error:
        _log.error("%s", error)
        return EXIT_WRONG_SETTINGS
    except ActorError as error:
        _log.error("the runtime gave up: %s", error)
        return EXIT_FAILED
    return EXIT_STOPPED


async def _serve(settings: Settings, sandbox: bool, say: Callable[[str], None]) -> None:  # noqa: FBT001
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_application(settings, listen=True, sandbox=sandbox) as application:
            what = "the sandbox exchange" if sandbox else "the exchange"
            say(f"marketd is ready on {what}, listening at {application.socket}")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_signal, signals, nursery.cancel_scope)
                await application.stop_requested.wait()
                _log.info("stopping: asked to over the socket")
                nursery.cancel_scope.cancel()
    _log.info("stopped")


async def _until_signal(signals: object, scope: trio.CancelScope) -> None:
    async for number in signals:  # type: ignore[attr-defined]
        _log.info("stopping: %s", signal.Signals(number).name)
        scope.cancel()
        return


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _log_to_stderr(level: str) -> None:
    logger = logging.getLogger("marketd")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    )
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
