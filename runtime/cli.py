"""The command line: `marketd` runs the runtime, `marketd COMMAND` asks one that runs.

Data goes to standard output, everything else to standard error. Exit codes: 0 answered; 1 the
runtime or the exchange said no; 2 wrong usage; 3 no runtime reachable; 130 interrupted, but for
`--watch`, which is ended that way.

A command must not feel slower than the interpreter that runs it, so what is heavy (trio, numpy,
rich, the runtime itself) is imported where it is needed and nowhere else.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import select
import signal
import sys
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

import msgspec

from actors.errors import InvalidRequest, UnknownMarket, UnknownNeed
from actors.messages import (
    GetCache,
    GetCandles,
    GetGaps,
    GetMarkets,
    GetOrderBook,
    GetStreams,
    GetTicker,
    GetTickers,
    GetTrades,
)
from runtime.cli_actors import add_actors, every, watch
from runtime.cli_below import add_below
from runtime.cli_limits import add_limits, limits_text
from runtime.cli_streams import drop_output, prepare_output, prepare_streams
from runtime.cli_times import time
from runtime.cli_watch import add_watch, watch_updates
from runtime.client.blocking import BlockingClient
from runtime.client.requests import TIMEOUT_S
from runtime.config import Settings, SettingsError, load_settings
from runtime.core.errors import ActorError, CallTimeout, DomainError
from runtime.core.message import Request
from runtime.messages import METHODS, GetRaw, GetStatus, Stop, TraceActor
from runtime.names import printable
from runtime.paths import socket_path
from runtime.transport import RuntimeUnreachable

ANSWERED, REFUSED, WRONG_USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130

_TOO_LATE = "; what came until then is kept, so asking again goes on; --timeout S waits longer"

_EPILOG = """\
Without a command the runtime starts and stays in the foreground.
Exit codes: 0 answered; 1 the runtime or the exchange said no; 2 wrong usage;
3 no runtime reachable.
Times are UTC: milliseconds since 1970, or text such as 2025-09-01 or 2025-09-01T09:30."""


def run(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says, and return the exit code.

    Args:
      argv: The arguments; the process's own if None.
    """
    prepare_streams()
    arguments = sys.argv[1:] if argv is None else list(argv)
    parser = _parser(arguments)
    if not all(map(_is_text, arguments)):
        parser.error("the arguments must be text in UTF-8")
    try:
        code = _run(parser, _parsed(parser, arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough.
        drop_output()
        return ANSWERED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        # Standard output is a file on a full disk. Nothing else can be written there either.
        drop_output()
        print(f"marketd: the answer cannot be written: {error}", file=sys.stderr)
        return REFUSED
    except (SettingsError, RuntimeUnreachable, DomainError, ActorError) as error:
        hint = _TOO_LATE if isinstance(error, CallTimeout) else ""
        print(f"marketd: {printable(str(error))}{hint}", file=sys.stderr)
        return _exit_code(error)
    return code


def _parsed(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Return the options; names of a list may stand behind options, too."""
    options, rest = parser.parse_known_args(arguments)
    names = getattr(options, "indicators", getattr(options, "markets", None))
    if rest and (not isinstance(names, list) or any(each.startswith("-") for each in rest)):
        parser.error(f"unrecognized arguments: {' '.join(map(printable, rest))}")
    if rest and names is not None:
        names.extend(rest)
    return options


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.version:
        print(f"marketd {_version()}")
        return ANSWERED
    prepare_output(for_answer=options.command not in (None, "sandbox"))
    if options.command is None:
        from runtime.daemon import run_daemon  # noqa: PLC0415 - trio and everything

        return run_daemon(load_settings(options.config), sandbox=options.sandbox)
    if options.sandbox:
        parser.error("--sandbox starts the runtime and goes with no command")
    if options.command == "sandbox":
        return _serve_sandbox(options)
    return _ask(options)


def _version() -> str:
    from importlib import metadata  # noqa: PLC0415 - slow, and asked for rarely

    try:
        return metadata.version("marketd")
    except metadata.PackageNotFoundError:
        # Run from a folder it was never installed from.
        return "unknown"


def _ask(options: argparse.Namespace) -> int:
    # With the socket named there is nothing that settings could add.
    settings = Settings() if options.socket else load_settings(options.config)
    if options.run is not None:
        with BlockingClient(socket_path(settings, options.socket)) as client:
            code: int = options.run(client, options)
            return code
    message = _as_raw(options.message(options)) if options.raw else options.message(options)
    # A trace is answered when it has ended.
    timeout_s = options.timeout + (message.for_s if isinstance(message, TraceActor) else 0)
    with BlockingClient(socket_path(settings, options.socket)) as client:
        if options.command == "watch":
            return _until_interrupted(watch_updates, client, options)
        if options.watch:
            return _until_interrupted(watch, client, options)
        result = client.ask_raw(message, timeout_s).result
    if isinstance(message, Stop):
        _wait_until_ended(result["pid"], options.timeout)
    text = limits_text(options, result)
    if text is not None:
        sys.stdout.write(text)
    elif options.json or options.raw:
        result = result if options.json else result["data"]
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        from runtime.render_results import render  # noqa: PLC0415 - rich, for people only

        render(options.what or options.command, result, sys.stdout)
    return ANSWERED


def _until_interrupted(
    show: Callable[[BlockingClient, argparse.Namespace], None],
    client: BlockingClient,
    options: argparse.Namespace,
) -> int:
    # The way to end it, so nothing is interrupted.
    with contextlib.suppress(KeyboardInterrupt):
        show(client, options)
    return ANSWERED


def _as_raw(message: Request[Any]) -> GetRaw:
    """Return what asks the same, and for the answer as the exchange would write it."""
    method = next(name for name, kind in METHODS.items() if kind is type(message))
    params = msgspec.to_builtins(message)
    return GetRaw(
        method=method,  # type: ignore[arg-type]
        params={name: value for name, value in params.items() if value is not None},
    )


def _serve_sandbox(options: argparse.Namespace) -> int:
    """Serve the sandbox exchange until the process is told to stop."""
    import trio  # noqa: PLC0415 - slow

    from actors.sandbox.main import serve  # noqa: PLC0415 - trio
    from runtime.core.clock import SystemClock  # noqa: PLC0415 - trio

    async def stop_on_signal(scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                scope.cancel()

    async def main() -> int:
        code = ANSWERED
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_on_signal, nursery.cancel_scope)
            code = await serve(options, clock=SystemClock())
            nursery.cancel_scope.cancel()
        return code

    return trio.run(main)


def _exit_code(error: Exception) -> int:
    if isinstance(error, RuntimeUnreachable):
        return UNREACHABLE
    # What is not there is no mistake in the command: the exchange, or the runtime, said no.
    absent = isinstance(error, UnknownMarket | UnknownNeed)
    usage = isinstance(error, InvalidRequest) and not absent
    return WRONG_USAGE if usage or isinstance(error, SettingsError) else REFUSED


def _wait_until_ended(pid: int, timeout_s: float) -> None:
    """Return when the process has ended, so that the next one finds everything put away."""
    if not hasattr(os, "pidfd_open"):
        return
    try:
        process = os.pidfd_open(pid)
    except OSError:
        # It has ended already, or lives where its number means nothing here.
        return
    try:
        ended, _, _ = select.select([process], [], [], timeout_s)
    finally:
        os.close(process)
    if not ended:
        raise CallTimeout(f"process {pid} has begun to stop, and still is after {timeout_s:g} s")


def _parser(named: Container[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="marketd",
        description="Market data at hand, rate limits kept, API keys sealed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="say which version this is")
    parser.add_argument("--sandbox", action="store_true", help="run on a made-up exchange")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    parser.set_defaults(socket=None, json=False, timeout=TIMEOUT_S, watch=None, what=None)
    parser.set_defaults(raw=False, run=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    common = _common()
    for add in (_add_candles, _add_quotes, add_watch, add_actors, _add_reports):
        add(commands, common)
    add_below(commands, common, named)
    return parser


def _common() -> argparse.ArgumentParser:
    # Suppressed defaults, so that an option before the command is not undone after it.
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--json", action="store_true", help="one JSON object, for programs")
    common.add_argument("--socket", metavar="PATH", help="socket of the runtime")
    common.add_argument("--config", type=Path, metavar="FILE", help="settings file")
    common.add_argument(
        "--timeout", type=_seconds, metavar="S", help=f"seconds to wait; {TIMEOUT_S:g} if not given"
    )
    return common


def _add(
    commands: Any,
    common: argparse.ArgumentParser,
    name: str,
    help_text: str,
    message: Callable[[argparse.Namespace], Request[Any]],
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=help_text, description=help_text, parents=[common]
    )
    command.set_defaults(message=message)
    return command


def _add_candles(commands: Any, common: argparse.ArgumentParser) -> None:
    candles = _add(commands, common, "candles", "candles of one market", _candles)
    candles.add_argument("market", metavar="MARKET", help="such as KRW-BTC")
    candles.add_argument(
        "timeframe", metavar="TIMEFRAME", help="1s 1m 3m 5m 10m 15m 30m 1h 4h 1d 1w 1M"
    )
    candles.add_argument("count", metavar="COUNT", nargs="?", type=int, help="200 if not given")
    candles.add_argument("--start", metavar="TIME", type=time, help="first opening time wanted")
    candles.add_argument("--end", metavar="TIME", type=time, help="first no longer wanted")
    candles.add_argument("--closed", action="store_true", help="leave out the candle in progress")
    candles.add_argument("--max-age", metavar="S", type=_age, help="how old it may be, in seconds")
    candles.add_argument(
        "--stale", action="store_true", help="accept older data if the exchange is away"
    )
    candles.add_argument(
        "--fill",
        choices=("none", "flat"),
        default="none",
        help="flat: a candle without volume, marked, where it is proven that nobody traded",
    )
    _add_raw(candles)


def _add_quotes(commands: Any, common: argparse.ArgumentParser) -> None:
    ticker = _add(commands, common, "ticker", "state of one or more markets", _ticker)
    ticker.add_argument("markets", metavar="MARKET", nargs="+")
    _add_raw(ticker)
    orderbook = _add(commands, common, "orderbook", "best orders of one market", _orderbook)
    orderbook.add_argument("market", metavar="MARKET")
    orderbook.add_argument("--depth", metavar="N", type=int, default=15, help="prices a side; 15")
    _add_raw(orderbook)
    trades = _add(commands, common, "trades", "newest trades of one market", _trades)
    trades.add_argument("market", metavar="MARKET")
    trades.add_argument("count", metavar="COUNT", nargs="?", type=int, default=50, help="50")
    _add_raw(trades)
    markets = _add(commands, common, "markets", "markets of an exchange", _markets)
    markets.add_argument("--quote", metavar="CURRENCY", help="only those in it, such as KRW")
    markets.add_argument("--exchange", metavar="NAME", default="upbit", help="upbit")


def _add_raw(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--raw", action="store_true", help="JSON as the exchange's REST interface writes it"
    )


def _add_reports(commands: Any, common: argparse.ArgumentParser) -> None:
    add_limits(commands, common, every)
    _add(commands, common, "cache", "what is in memory and in the store", lambda _: GetCache())
    _add(commands, common, "streams", "the live streams of the exchanges", lambda _: GetStreams())
    gaps = _add(commands, common, "gaps", "what was not known, or is not yet", _gaps)
    gaps.add_argument("market", metavar="MARKET", nargs="?", default="", help="only of this one")
    gaps.add_argument("--count", metavar="N", type=int, default=100, help="the newest so many; 100")
    _add(commands, common, "status", "the runtime and its actors", lambda _: GetStatus())
    _add(commands, common, "stop", "end the runtime", lambda _: Stop())


def _candles(options: argparse.Namespace) -> Request[Any]:
    return GetCandles(
        market=options.market,
        timeframe=options.timeframe,
        count=options.count,
        start=options.start,
        end=options.end,
        closed=options.closed,
        max_age_s=options.max_age,
        allow_stale=options.stale,
        fill=options.fill,
    )


def _ticker(options: argparse.Namespace) -> Request[Any]:
    if len(options.markets) == 1:
        return GetTicker(market=options.markets[0])
    return GetTickers(markets=tuple(options.markets))


def _orderbook(options: argparse.Namespace) -> Request[Any]:
    return GetOrderBook(market=options.market, depth=options.depth)


def _trades(options: argparse.Namespace) -> Request[Any]:
    return GetTrades(market=options.market, count=options.count)


def _gaps(options: argparse.Namespace) -> Request[Any]:
    return GetGaps(market=options.market, count=options.count)


def _markets(options: argparse.Namespace) -> Request[Any]:
    return GetMarkets(quote=options.quote, exchange=options.exchange)


def _is_text(argument: str) -> bool:
    # Bytes of the shell that are no text come in as halves of characters.
    return argument.encode(errors="replace").decode() == argument


def _age(text: str) -> float:
    age_s = float(text)
    # What is not a number has no form in JSON and would go unnoticed.
    if not 0 <= age_s < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or more, was {text}")
    return age_s


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, was {text}")
    return seconds
