"""The daemon: a runtime in a process of its own, until somebody asks it to stop.

Around the runtime it has what only a process of its own needs: it answers signals, also while it
starts; it tells the service manager how it is, if there is one; a thread watches that its loop
runs; and another that its stop ends (`runtime.stop_limit`).
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from types import FrameType

import trio

from actors.stores.base import OpenStore
from runtime.application import Application, open_application
from runtime.config import Settings, SettingsError, service_environ
from runtime.core.errors import ActorError
from runtime.core.sd_notify import ServiceManager
from runtime.core.watchdog import TICK_S, open_watchdog
from runtime.hygiene import harden_process
from runtime.lock import AlreadyRunning
from runtime.masking import Masker, MaskingFormatter, masked_hooks
from runtime.messages import GetTree
from runtime.proofs import Proofs
from runtime.stop_limit import EXIT_CODE, StopLimit
from runtime.tree_reports import Tree

_log = logging.getLogger("marketd")

EXIT_STOPPED = 0
EXIT_FAILED = EXIT_CODE
EXIT_WRONG_SETTINGS = 2

# How often the service manager's line is looked at; it is sent only if it has changed.
_STATUS_EVERY_S = 5.0


def run_daemon(
    settings: Settings,
    *,
    sandbox: bool = False,
    say: Callable[[str], None] | None = None,
    open_store: OpenStore | None = None,
) -> int:
    """Run until SIGINT, SIGTERM or the command `stop`; return the process's exit code.

    So does SIGHUP, which says that the terminal was closed, unless it is ignored, as under `nohup`.
    A stop that takes longer than `runtime.stop_s` ends the process without returning, with 1.

    Args:
      settings: The runtime's settings.
      sandbox: Whether to run on a sandbox exchange of its own.
      say: Told in one line when the runtime is ready and where it listens; standard output if not
        given.
      open_store: In place of the database that the settings name: for tests.

    Returns:
      0 after a stop that was asked for, 1 if the runtime failed or another one is there already,
      2 if it could not start because of its settings.
    """
    masker = Masker()
    _log_to_stderr(settings.runtime.log_level, masker)
    for problem in harden_process():
        _log.warning("%s", problem)
    limit = StopLimit(settings.runtime.stop_s)
    service = ServiceManager(service_environ())
    daemon = _Daemon(settings, sandbox, say or _say, open_store, limit, service, masker)
    with masked_hooks(masker), limit.watching():
        others = threading.enumerate()
        try:
            return trio.run(daemon.run)
        except Exception:  # noqa: BLE001 - logged with its traceback, and the process ends
            # Not left to the interpreter, which prints it when the hooks are gone.
            _log.critical("the runtime failed", exc_info=True)
            return EXIT_FAILED
        finally:
            limit.begin()
            _wait_for_threads(but=others)


class _Daemon:
    """One run of the daemon.

    Args:
      settings: The runtime's settings.
      sandbox: Whether to run on a sandbox exchange of its own.
      say: Told when the runtime is ready.
      open_store: In place of the database that the settings name.
      limit: Ends the process if the stop does not.
      service: Told how the runtime is.
      masker: What everything that leaves goes through.
    """

    def __init__(
        self,
        settings: Settings,
        sandbox: bool,  # noqa: FBT001 - made in one place, just above
        say: Callable[[str], None],
        open_store: OpenStore | None,
        limit: StopLimit,
        service: ServiceManager,
        masker: Masker,
    ) -> None:
        self._settings = settings
        self._sandbox = sandbox
        self._say = say
        self._open_store = open_store
        self._limit = limit
        self._service = service
        self._masker = masker
        self._signals = _stop_signals()
        self._starting = trio.CancelScope()
        self._stop = trio.Event()
        self._application: Application | None = None
        self._is_up = self._is_stopping = False

    async def run(self) -> int:
        """Run until the stop; return the exit code."""
        self._limit.watch_run()
        with trio.open_signal_receiver(*self._signals) as signals, self._counting_from_signals():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._heed, signals)
                code = await self._run()
                nursery.cancel_scope.cancel()
        return code

    async def _run(self) -> int:
        # Errors are logged here and not outside of trio's run, which may never return.
        try:
            with self._starting:
                await self._serve()
        except AlreadyRunning as error:
            _log.error("%s", error)
            return EXIT_FAILED
        except SettingsError as error:
            _log.error("%s", error)
            return EXIT_WRONG_SETTINGS
        except ActorError as error:
            _log.error("the runtime gave up: %s", error)
            self._service.status(f"gave up: {error}")
            return EXIT_FAILED
        finally:
            self._limit.begin()
            self._leave_behind()
        _log.info("stopped")
        return EXIT_STOPPED

    async def _serve(self) -> None:
        blocked_s = self._settings.runtime.blocked_s
        async with AsyncExitStack() as stack:
            if blocked_s:
                watchdog = open_watchdog(tick_s=min(TICK_S, blocked_s), blocked_s=blocked_s)
                await stack.enter_async_context(watchdog)
            self._application = await stack.enter_async_context(
                open_application(
                    self._settings,
                    listen=True,
                    sandbox=self._sandbox,
                    open_store=self._open_store,
                    masker=self._masker,
                )
            )
            await self._be_up(self._application)

    async def _be_up(self, application: Application) -> None:
        wired = application.wired
        await wired.root.wait_ready()
        self._is_up = True
        what = "the sandbox exchange" if self._sandbox else "the exchange"
        self._say(f"marketd is ready on {what}, listening at {application.socket}")
        self._service.ready(f"ready on {what}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._await_request, application)
            if self._service.listens:
                nursery.start_soon(self._tell_status, application)
            if self._service.watchdog_s is not None:
                proofs = Proofs(
                    wired.critical,
                    root=wired.root,
                    registry=wired.registry,
                    clock=application.clock,
                    # Whoever stops working just after a proof is found out in time for the end
                    # to come within one and a half intervals.
                    within_s=self._service.watchdog_s / 2,
                )
                nursery.start_soon(proofs.collect)
                nursery.start_soon(self._service.feed_watchdog, proofs.alive)
            await self._stop.wait()
            nursery.cancel_scope.cancel()

    # -------------------------------------------------------------- stopping

    def _leave_behind(self) -> None:
        left = self._application.wired.root.abandoned if self._application else ()
        if left:
            # Everything else is put away, and trio's run would wait for these for ever.
            self._limit.give_up(f"{', '.join(left)} ignored being cancelled")

    async def _heed(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            self._begin_stop(signal.Signals(number).name)

    async def _await_request(self, application: Application) -> None:
        await application.stop_requested.wait()
        self._begin_stop("asked to over the socket")

    def _begin_stop(self, why: str) -> None:
        self._limit.begin()
        if self._is_stopping:
            limit_s = self._settings.runtime.stop_s
            _log.info("%s: stopping already, which takes at most %g s in all", why, limit_s)
            return
        self._is_stopping = True
        _log.info("stopping: %s", why)
        self._service.stopping(f"stopping: {why}")
        if self._is_up:
            self._stop.set()
        else:
            self._starting.cancel()

    @contextmanager
    def _counting_from_signals(self) -> Iterator[None]:
        """Count from the signal itself, because a loop that is blocked never hears of it."""
        trios = {number: signal.getsignal(number) for number in self._signals}

        def handle(number: int, frame: FrameType | None) -> None:
            self._limit.begin()
            trios[signal.Signals(number)](number, frame)  # type: ignore[operator,misc]

        for number in self._signals:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, before in trios.items():
                signal.signal(number, before)

    # -------------------------------------------------------------- for the service manager

    async def _tell_status(self, application: Application) -> None:
        told = ""
        while True:
            line = status_line(await application.answer(GetTree()))
            if line != told:
                self._service.status(line)
                told = line
            await trio.sleep(_STATUS_EVERY_S)


def status_line(tree: Tree) -> str:
    """Return how a tree is, in one line: who is not well, or that everybody is."""
    workers = [actor for actor in tree.actors if not actor.supervisor]
    troubled = []
    for actor in workers:
        if actor.suspended:
            troubled.append(f"{actor.name} is suspended")
        elif actor.state != "running":
            why = f": {actor.last_crash}" if actor.last_crash else ""
            troubled.append(f"{actor.name} is {actor.state}{why}")
        elif not actor.ready:
            troubled.append(f"{actor.name} is not ready")
    troubled += [f"{name} was left behind" for name in tree.abandoned]
    return "; ".join(troubled) or f"ready, {len(workers)} actors"


def _stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end the process well."""
    stops = (signal.SIGINT, signal.SIGTERM)
    # Windows has none; and whoever ignores it wants the process to outlive the terminal.
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return stops
    return (*stops, hangup)


def _wait_for_threads(but: Iterable[threading.Thread]) -> None:
    """Wait for those that Python would wait for anyway, while the stop's limit still holds."""
    for thread in set(threading.enumerate()).difference(but):
        if not thread.daemon:
            thread.join()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _log_to_stderr(level: str, masker: Masker) -> None:
    logger = logging.getLogger("marketd")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        MaskingFormatter(
            masker, "%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S%z"
        )
    )
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
