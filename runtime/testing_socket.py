"""What tests of the local socket need: a runtime that answers from samples, and no network."""

from __future__ import annotations

import json
import math
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio
import trio.testing

from actors.candles import Candles, Missing
from actors.errors import ExchangeUnavailable, RateLimited, UnknownMarket
from actors.limit_words import explain_group
from actors.messages import (
    GetCache,
    GetCandles,
    GetLimits,
    GetMarkets,
    GetOrderBook,
    GetTicker,
    GetTickers,
    GetTrades,
)
from actors.quotes import BookLevel, MarketInfo, OrderBook, Ticker, Trade, Trades
from actors.reports import (
    CacheReport,
    ClassUse,
    GroupLimits,
    Health,
    SeriesReport,
    WindowUse,
)
from actors.series import Series
from runtime.config import ControlSettings
from runtime.connection import Answer, AtOnce
from runtime.control import WRITE_TIMEOUT_S, ControlActor
from runtime.core.message import Request
from runtime.core.ref import ActorRef
from runtime.messages import ActorStatus, ExchangeStatus, GetStatus, Status, Stop, Stopping
from runtime.subscribers import Opener
from runtime.testing import NEW_YEAR_MS, open_actor
from runtime.testing_job_samples import sample_job_answer
from runtime.testing_key_samples import sample_key_answer
from runtime.testing_operations import sample_operation
from runtime.testing_preload_samples import sample_preload_answer
from runtime.testing_updates import sample_report
from runtime.transport_trio import Listener, LocalListener

_MINUTE_MS = 60_000


class MemoryListener:
    """A listener without a network: `connect` is the way in.

    Bound: connections that nobody has accepted yet, `backlog` of them.
    """

    def __init__(self, backlog: int = 128) -> None:
        self.closed = False
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](backlog)

    async def connect(self) -> trio.abc.Stream:
        """Return the bot's end of a new connection."""
        near, far = trio.testing.memory_stream_pair()
        await self._send.send(far)
        return near

    async def accept(self) -> trio.abc.Stream:
        """Return the runtime's end of the next connection."""
        return await self._receive.receive()

    async def admit(self, stream: trio.abc.Stream) -> None:
        """Let everybody in."""

    def close(self) -> None:
        """Accept nobody any more."""
        self.closed = True


def sample_candles(count: int = 3, *, market: str = "KRW-BTC", timeframe: str = "1m") -> Candles:
    """Return candles with awkward numbers, the newest of them still open."""
    rows = [
        (
            NEW_YEAR_MS + place * _MINUTE_MS,
            137_000_000.0 + place,
            math.nextafter(137_000_000.0 + place, math.inf),
            0.1 + 0.2,
            1e-8 * (place + 1),
            5e-324,
            1.7976931348623157e308,
            place < count - 1,
        )
        for place in range(count)
    ]
    candles = Candles.from_rows(Series.parse(market, timeframe), rows)
    missing = (Missing(NEW_YEAR_MS - _MINUTE_MS, NEW_YEAR_MS, "the exchange is away"),)
    return candles.answer(source="exchange", as_of_ms=NEW_YEAR_MS, missing=missing)


def sample_ticker(market: str = "KRW-BTC") -> Ticker:
    """Return a ticker."""
    return Ticker(
        market=market,
        time_ms=NEW_YEAR_MS,
        trade_time_ms=NEW_YEAR_MS - 1,
        price=137_000_000.0,
        volume=0.00012,
        open=136_500_000.0,
        high=137_500_000.0,
        low=136_000_000.0,
        previous_close=136_400_000.0,
        change=600_000.0,
        change_rate=0.0044,
        day_volume=812.5,
        day_value=111_312_500_000.0,
        volume_24h=1_633.123,
        value_24h=223_731_000_000.0,
        high_52w=163_325_000.0,
        low_52w=72_100_000.0,
    )


async def sample_answer(request: Request[Any]) -> object:  # noqa: C901, PLR0911 - one case each
    """Answer any request from samples; some markets stand for errors."""
    match request:
        case GetCandles(market=market, timeframe=timeframe, count=count):
            await _trouble(market)
            size = 200 if count is None else count
            return sample_candles(size, market=market, timeframe=timeframe)
        case GetTicker(market=market):
            await _trouble(market)
            return sample_ticker(market)
        case GetTickers(markets=markets):
            return tuple(sample_ticker(market) for market in markets)
        case GetOrderBook(market=market):
            levels = (BookLevel(137_000_000.0, 0.5), BookLevel(136_999_000.0, 1.25))
            return OrderBook(
                market=market,
                time_ms=NEW_YEAR_MS,
                bids=levels,
                asks=(BookLevel(137_001_000.0, 0.00000001),),
                total_bid_size=1.75,
                total_ask_size=0.00000001,
            )
        case GetTrades(market=market):
            trades = (_trade(market, "buy", 7), _trade(market, "sell", 2**53 + 1))
            return Trades(market=market, trades=trades, source="live", reason="the stream has it")
        case GetMarkets():
            return (MarketInfo(market="KRW-BTC", name="Bitcoin"),)
        case GetLimits():
            return (_limits(),)
        case GetCache():
            return _cache()
        case GetStatus():
            return sample_status()
        case Stop():
            return Stopping(pid=2**22 + 1)
        case _:
            told = sample_report(request)
            told = sample_key_answer(request) if told is None else told
            told = sample_preload_answer(request) if told is None else told
            told = sample_job_answer(request) if told is None else told
            return sample_operation(request) if told is None else told


def sample_status() -> Status:
    """Return a runtime's status."""
    actor = ActorStatus(name="upbit", state="up", incarnation=2, uptime_s=61.5, restarts=1)
    exchange = ExchangeStatus(
        name="upbit", rest_url="http://127.0.0.1:1", stream_url="ws://127.0.0.1:1"
    )
    return Status(
        version="0.1.0",
        pid=1,
        started_ms=NEW_YEAR_MS,
        uptime_s=90_061.0,
        socket="control.sock",
        state_dir="state",
        store="sqlite",
        exchanges=(exchange,),
        health=(Health(name="upbit", state="away", reason="no answer", since_ms=NEW_YEAR_MS),),
        actors=(actor,),
    )


@asynccontextmanager
async def open_control(
    answer: Answer = sample_answer,
    *,
    path: Path | None = None,
    listener: Listener | None = None,
    settings: ControlSettings = ControlSettings(),  # noqa: B008 - frozen
    write_timeout_s: float = WRITE_TIMEOUT_S,
    at_once: AtOnce | None = None,
    subscribe: Opener | None = None,
) -> AsyncIterator[ActorRef]:
    """Run a `ControlActor`, on the socket at `path` or on `listener`, while the block runs."""

    def open_listener() -> Listener:
        return listener if path is None and listener else LocalListener(path or Path())

    def make() -> ControlActor:
        return ControlActor(
            answer,
            open_listener=open_listener,
            settings=settings,
            at_once=at_once,
            subscribe=subscribe,
            version="0.1.0",
            write_timeout_s=write_timeout_s,
        )

    async with open_actor(make, name="control") as ref:
        yield ref


async def _trouble(market: str) -> None:
    match market:
        case "KRW-NONE":
            raise UnknownMarket("upbit lists no market KRW-NONE")
        case "KRW-AWAY":
            raise ExchangeUnavailable("upbit is away\x1b[31m")
        case "KRW-LIMIT":
            raise RateLimited("upbit says wait", retry_after_s=1.5)
        case "KRW-HANG":
            await trio.sleep_forever()
        case "KRW-DEFECT":
            raise ZeroDivisionError("a secret of the inside")


def _trade(market: str, side: Any, trade_id: int) -> Trade:
    return Trade(
        market=market, time_ms=NEW_YEAR_MS, price=1e8, volume=0.1, side=side, trade_id=trade_id
    )


def _limits() -> GroupLimits:
    asked = ClassUse(priority="asked", share=0.7, queued=3, next_free_s=0.25, granted=1_234_560)
    repair = ClassUse(priority="repair", share=0.2, queued=0, next_free_s=0.1, granted=7)
    report = GroupLimits(
        exchange="upbit",
        group="candles",
        windows=(
            WindowUse(requests=10, period_s=1.0, used=10),
            WindowUse(requests=600, period_s=60.0, used=42),
        ),
        classes=(asked, repair),
        in_flight=1,
        queued=3,
        next_free_s=0.1,
        paused_s=0.0,
        server_remaining=9,
        server_heard_s=0.5,
        granted=1_234_567,
        rejected=0,
        refused=2,
    )
    return msgspec.structs.replace(report, explanation=explain_group(report))


def _cache() -> CacheReport:
    series = SeriesReport(
        market="KRW-BTC", timeframe="1m", candles=200, from_ms=NEW_YEAR_MS, to_ms=None, reads=9
    )
    return CacheReport(
        series=(series,),
        bytes=11_400,
        bytes_max=100_000_000,
        evicted=0,
        memory_answers=9,
        store_answers=1,
        exchange_answers=1,
        failures=0,
        pages=1,
        store_bytes=None,
        store_candles=None,
    )


class RawBot:
    """A bot that writes lines by hand.

    Args:
      stream: Its connection.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._received = b""

    async def say(self, *lines: bytes) -> None:
        """Send lines as they are."""
        await self.stream.send_all(b"".join(line + b"\n" for line in lines))

    async def ask(self, method: str, request_id: Any = 1, /, **params: Any) -> None:
        """Send a request."""
        line = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        await self.say(json.dumps(line).encode())

    async def hear(self) -> Any:
        """Return the next line; None at the end."""
        with trio.fail_after(100):
            while b"\n" not in self._received:
                data = await self.stream.receive_some(65_536)
                if not data:
                    return None
                self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return json.loads(line)


@asynccontextmanager
async def bot_at(answer: Any = sample_answer, **options: Any) -> AsyncIterator[RawBot]:
    """Run a control actor and one bot connected to it."""
    listener = MemoryListener()
    settings = ControlSettings(**options.pop("settings", {}))
    async with open_control(answer, listener=listener, settings=settings, **options):
        bot = RawBot(await listener.connect())
        yield bot
        await trio.aclose_forcefully(bot.stream)


@contextmanager
def control_in_thread(path: Path, answer: Answer = sample_answer, **options: Any) -> Iterator[None]:
    """Run `open_control` in a thread of its own, for clients without an event loop."""
    started: queue.SimpleQueue[tuple[trio.lowlevel.TrioToken, trio.CancelScope]]
    started = queue.SimpleQueue()

    async def main() -> None:
        async with open_control(answer, path=path, **options):
            with trio.CancelScope() as scope:
                started.put((trio.lowlevel.current_trio_token(), scope))
                await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(main,), daemon=True)
    thread.start()
    token, scope = started.get(timeout=10)
    try:
        yield
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join(timeout=10)
