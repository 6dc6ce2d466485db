"""`python -m runtime sandbox`: the sandbox exchange as a program of its own.

Nothing heavy is imported before the arguments are known to be good.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from actors.errors import InvalidRequest
from actors.sandbox.accounts import (
    SANDBOX_ACCESS_KEY,
    SANDBOX_BALANCES,
    SANDBOX_SECRET_KEY,
    default_account,
)
from actors.series import Market
from actors.timeframes import Timeframe, format_time_ms, parse_time_ms
from runtime.core.clock import Clock

if TYPE_CHECKING:
    from actors.sandbox.exchange import SandboxExchange
    from actors.sandbox.market import SandboxMarket
    from actors.sandbox.replayed import ReplayedSource
    from actors.sandbox.server import SandboxServer

DEFAULT_PORT = 8765
DEFAULT_SEED = 1

_DEFAULT_TIMEFRAME = "1m"
# A client that asks for a full page at once must find one.
_CANDLES_BEFORE_START = 200
_SETTLED_MS = 60_000
_PORTS_END = 65_536
_CODES_SHOWN = 20


class SandboxUsageError(InvalidRequest):
    """The command line cannot be meant so; the message says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sandbox's options to a parser."""
    has = ", ".join(f"{amount} {name}" for name, amount in SANDBOX_BALANCES.items())
    # As it stands: a key that is broken at a hyphen cannot be copied.
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        f"There is one account, with {has}.\n"
        "Its API key, known to everybody, may do all but withdraw, and ends a year after the start:"
        f"\n  access key {SANDBOX_ACCESS_KEY}\n  secret key {SANDBOX_SECRET_KEY}"
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=DEFAULT_PORT, help="port, 0 for any (default: %(default)s)")
    add("--seed", type=int, default=DEFAULT_SEED, help="makes the market (default: %(default)s)")
    add(
        "--replay",
        action="append",
        default=[],
        metavar="FILE",
        help="replay a CSV of real candles (timestamp,open,high,low,close,volume; may be .gz) "
        "instead of a generated market; repeatable",
    )
    add(
        "--market",
        action="append",
        default=[],
        metavar="CODE",
        help="the market of the --replay at the same position, e.g. KRW-BTC",
    )
    add(
        "--timeframe",
        action="append",
        default=[],
        metavar="TIMEFRAME",
        help="the timeframe of the file at the same position; one serves all (default: 1m)",
    )
    add(
        "--speed",
        type=float,
        metavar="N",
        help="market seconds per real second; with --replay, the file then unfolds from its "
        "beginning (default: real time, from a minute after the file's end)",
    )
    add(
        "--start",
        metavar="TIME",
        help="where the market's clock starts: ISO 8601 in UTC, or first or last candle",
    )
    _add_load(parser)
    _add_rules(parser)
    _add_faults(parser)


def _add_load(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--markets",
        type=int,
        metavar="N",
        help="how many generated markets there are (default: 6, with a year of history)",
    )


def _add_rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--window",
        choices=("strict", "measured", "fixed"),
        default="strict",
        help="how requests are counted: strict looks back a second from each, refused ones "
        "included; measured counts only those that passed, as the real server was seen to; fixed "
        "counts anew with every second (default: %(default)s)",
    )


def _add_faults(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[:NUMBER][:WHERE]",
        help="let something go wrong; repeatable. Streams: cut, half_open, stall (mean seconds); "
        "lose, duplicate, reorder, old_snapshot (probability), all but the first two also only "
        "for a market or type, as in stall:0:KRW-BTC or lose:0.01:candle.1m. Time: late_rows, "
        "clock_skew (seconds), maintenance:START/END. Requests: status_500, hang, half_body, "
        "garbage, other_market, away, each also as NAME:GROUP",
    )
    add(
        "--fault-seed",
        type=int,
        default=DEFAULT_SEED,
        metavar="SEED",
        help="decides when faults strike (default: %(default)s)",
    )


def build_exchange(arguments: argparse.Namespace, *, clock: Clock) -> SandboxExchange:
    """Return the exchange that the arguments describe, its clock started.

    Raises:
      SandboxUsageError: The arguments contradict each other or are out of range.
      ReplayFileError: A file cannot be replayed.
    """
    _check(arguments)
    # Imported here for the same reason as those below.
    from actors.sandbox.fault_options import read_faults  # noqa: PLC0415 - heavy, see below

    faults = read_faults(arguments.fault)
    # These bring numpy along, which costs more than all the rest of reading a command line.
    from actors.sandbox.exchange import SandboxExchange  # noqa: PLC0415 - heavy, see above
    from actors.sandbox.market import SandboxMarket  # noqa: PLC0415 - heavy, see above
    from actors.sandbox.measured_window import WINDOWS  # noqa: PLC0415 - heavy, see above
    from actors.sandbox.rules import RateRules  # noqa: PLC0415 - heavy, see above
    from actors.sandbox.simulated_time import SimulatedTime  # noqa: PLC0415 - heavy, see above
    from actors.sandbox.stream_faults import StreamFaults  # noqa: PLC0415 - heavy, see above

    if arguments.replay:
        sources = _sources(arguments)
        start_ms = _replay_start_ms(arguments, sources)
        markets = tuple(SandboxMarket(source) for source in sources)
    else:
        start_ms = _start_ms(arguments, clock.utc_ms())
        markets = _generated(arguments, start_ms)
    speed = 1.0 if arguments.speed is None else arguments.speed
    try:
        time = SimulatedTime(clock, start_ms=start_ms, speed=speed)
    except ValueError as error:
        raise SandboxUsageError(f"--{error}") from error
    exchange = SandboxExchange(
        markets,
        clock=clock,
        time=time,
        rules=RateRules(window=WINDOWS[arguments.window]),
        stream_faults=StreamFaults(random.Random(arguments.fault_seed)),  # noqa: S311 - simulated trouble
        maintenance=faults.maintenance,
        # Where the market's clock stands in the past, the key is good by everybody else's as well.
        accounts=(default_account(max(start_ms, clock.utc_ms())),),
    )
    faults.switch_on(exchange.faults, exchange.stream_faults)
    return exchange


def _generated(arguments: argparse.Namespace, start_ms: int) -> tuple[SandboxMarket, ...]:
    from actors.sandbox.generated import generated_markets  # noqa: PLC0415 - heavy, see above

    if arguments.markets is None:
        return generated_markets(seed=arguments.seed, now_ms=start_ms)
    try:
        return generated_markets(seed=arguments.seed, now_ms=start_ms, count=arguments.markets)
    except ValueError as error:
        raise SandboxUsageError(f"--markets: {error}") from error


@asynccontextmanager
async def open_default_sandbox(*, clock: Clock, seed: int = DEFAULT_SEED) -> AsyncIterator[str]:
    """Serve the generated markets on a free port of this machine, and give the base URL."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = parser.parse_args(["--port", "0", "--seed", str(seed)])
    # Imported here for the same reason as in `build_exchange`.
    from actors.sandbox.server import open_sandbox_server  # noqa: PLC0415 - heavy, see above

    exchange = build_exchange(arguments, clock=clock)
    async with open_sandbox_server(exchange, host=arguments.host, port=0) as server:
        yield server.url


async def serve(  # noqa: RET503 - once it serves, only cancelling ends it
    arguments: argparse.Namespace, *, clock: Clock
) -> int:
    """Serve until cancelled; return the exit code if that is not possible.

    Writes one line to standard output once clients can connect, the rest to standard error.

    Returns:
      2 for wrong usage or a file that cannot be replayed, 1 if the port cannot be had.
    """
    # Imported here for the same reason as in `build_exchange`.
    import trio  # noqa: PLC0415 - heavy, see above

    from actors.sandbox.server import open_sandbox_server  # noqa: PLC0415 - heavy, see above

    try:
        exchange = build_exchange(arguments, clock=clock)
    except InvalidRequest as error:
        _tell(f"sandbox: {error}")
        return 2
    async with AsyncExitStack() as stack:
        opened = open_sandbox_server(exchange, host=arguments.host, port=arguments.port)
        try:
            server = await stack.enter_async_context(opened)
        except OSError as error:
            _tell(f"sandbox: cannot listen on {arguments.host} port {arguments.port}: {error}")
            return 1
        _announce(exchange, server)
        await trio.sleep_forever()


def _announce(exchange: SandboxExchange, server: SandboxServer) -> None:
    sys.stdout.write(f"sandbox exchange listening on {server.url}\n")
    sys.stdout.flush()
    codes = list(exchange.markets)
    more = f" and {len(codes) - _CODES_SHOWN} more" if len(codes) > _CODES_SHOWN else ""
    _tell(f"markets: {' '.join(codes[:_CODES_SHOWN])}{more}")
    _tell(f"market time: {format_time_ms(exchange.time.now_ms())}, speed {exchange.time.speed:g}")
    _tell(f"an account: access key {SANDBOX_ACCESS_KEY}, secret key {SANDBOX_SECRET_KEY}")
    _tell("point marketd at it with the environment settings")
    _tell(f"  MARKETD_EXCHANGES__UPBIT__STREAM_URL={server.stream_url}")
    _tell(f"  MARKETD_EXCHANGES__UPBIT__REST_URL={server.url}")


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _check(arguments: argparse.Namespace) -> None:
    files, markets, timeframes = arguments.replay, arguments.market, arguments.timeframe
    if not 0 <= arguments.port < _PORTS_END:
        raise SandboxUsageError(f"--port must be 0 to 65535, was {arguments.port}")
    if files and arguments.markets is not None:
        raise SandboxUsageError("--markets says how many are generated, and goes with no --replay")
    if not files and (markets or timeframes):
        raise SandboxUsageError("--market and --timeframe say what a --replay FILE holds; give one")
    if len(markets) != len(files):
        raise SandboxUsageError(
            f"each --replay needs its --market: {len(files)} files, {len(markets)} markets"
        )
    if len(timeframes) not in (0, 1, len(files)):
        raise SandboxUsageError(
            f"give one --timeframe for all files or one for each: {len(files)} files, "
            f"{len(timeframes)} timeframes"
        )
    for code in markets:
        if Market.parse(code).code != code or "-" not in code:
            raise SandboxUsageError(f"--market must be written as in KRW-BTC, was {code!r}")
    if len(set(markets)) != len(markets):
        raise SandboxUsageError(f"each --market can be replayed once; was {' '.join(markets)}")


def _sources(arguments: argparse.Namespace) -> list[ReplayedSource]:
    from actors.sandbox.replayed import ReplayedSource  # noqa: PLC0415 - heavy, see above

    files = arguments.replay
    names = arguments.timeframe or [_DEFAULT_TIMEFRAME]
    timeframes = [Timeframe.parse(name) for name in names]
    if len(timeframes) == 1:
        timeframes *= len(files)
    return [
        ReplayedSource(Path(file), code=code, timeframe=timeframe, seed=arguments.seed)
        for file, code, timeframe in zip(files, arguments.market, timeframes, strict=True)
    ]


def _replay_start_ms(arguments: argparse.Namespace, sources: list[ReplayedSource]) -> int:
    earliest = min(sources, key=lambda source: source.first_ms)
    end_ms = max(source.end_ms for source in sources)
    match arguments.start:
        case None if arguments.speed is not None:
            page_ms = _CANDLES_BEFORE_START * earliest.base.span_ms
            return min(earliest.first_ms + page_ms, end_ms)
        case None:
            # Late enough for every candle of the file to count as final.
            return end_ms + _SETTLED_MS
        case "last":
            return end_ms
        case "first":
            return earliest.first_ms
        case text:
            return parse_time_ms(text, name="--start")


def _start_ms(arguments: argparse.Namespace, utc_ms: int) -> int:
    if arguments.start in ("first", "last"):
        raise SandboxUsageError(f"--start {arguments.start} needs a --replay FILE")
    if arguments.start is None:
        return utc_ms
    return parse_time_ms(arguments.start, name="--start")
