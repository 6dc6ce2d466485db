"""The client on trio: many requests over one connection, and nobody pays for another's."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from actors.errors import (
    InvalidRequest,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
    UnknownMarket,
)
from actors.key_messages import PlaceOrder
from actors.messages import GetCandles
from runtime.client.trio_client import open_client
from runtime.core.errors import CallTimeout
from runtime.core.message import Request
from runtime.protocol import encode_error
from runtime.testing_socket import (
    MemoryListener,
    open_control,
    sample_candles,
    sample_status,
    sample_ticker,
)
from runtime.transport import RuntimeUnreachable
from runtime.wire_errors import RemoteError, WireError

ORDER = PlaceOrder(account="a", market="KRW-BTC", side="bid", price="1", volume="1")


async def test_every_method_on_trio_returns_its_value() -> None:
    """Through the whole protocol, over a connection in memory."""
    listener = MemoryListener()
    async with (
        open_control(listener=listener),
        open_client("unused", dial=listener.connect) as market,
    ):
        assert await market.candles("KRW-BTC", "1m", 5) == sample_candles(5)
        assert await market.ticker("KRW-ETH") == sample_ticker("KRW-ETH")
        assert [each.market for each in await market.tickers(["A", "B"])] == ["A", "B"]
        assert (await market.orderbook("KRW-BTC")).bids[0].price == 137_000_000.0
        assert (await market.trades("KRW-BTC"))[1].trade_id == 2**53 + 1
        assert (await market.markets())[0].name == "Bitcoin"
        assert (await market.limits())[0].queued == 3
        assert (await market.cache()).bytes == 11_400
        assert await market.status() == sample_status()
        assert (await market.stop()).pid > 0


async def test_errors_on_trio_are_the_runtime_s_own() -> None:
    """Caught by class, with what they carry, outside any exception group."""
    listener = MemoryListener()
    async with (
        open_control(listener=listener),
        open_client("unused", dial=listener.connect) as market,
    ):
        with pytest.raises(UnknownMarket, match="no market KRW-NONE"):
            await market.candles("KRW-NONE")
        with pytest.raises(RateLimited, match="upbit says wait") as caught:
            await market.ticker("KRW-LIMIT")
        assert caught.value.retry_after_s == 1.5
        with pytest.raises(RemoteError, match="internal error"):
            await market.ticker("KRW-DEFECT")
        with pytest.raises(InvalidRequest, match="must be a list of markets, was 'KRW-BTC'"):
            await market.tickers("KRW-BTC")


async def test_many_requests_share_one_connection_on_trio() -> None:
    """Answers find who asked, in whatever order they come."""

    async def answer(request: Request[Any]) -> object:
        assert isinstance(request, GetCandles)
        assert request.count is not None
        await trio.sleep(10 - request.count % 10)
        return sample_candles(request.count)

    listener = MemoryListener()
    counts: dict[int, int] = {}
    async with (
        open_control(answer, listener=listener),
        open_client("unused", dial=listener.connect) as market,
    ):

        async def ask(count: int) -> None:
            counts[count] = len(await market.candles("KRW-BTC", "1m", count))

        async with trio.open_nursery() as nursery:
            for count in range(100):
                nursery.start_soon(ask, count)

    assert counts == {count: count for count in range(100)}


async def test_timeout_on_trio_leaves_the_client_usable() -> None:
    """The late answer is dropped and not taken for the next one."""
    listener = MemoryListener()
    async with (
        open_control(listener=listener),
        open_client("unused", dial=listener.connect) as market,
    ):
        began_s = trio.current_time()
        with pytest.raises(CallTimeout, match="no answer to GetTicker within 3 s"):
            await market.ticker("KRW-HANG", timeout_s=3)
        assert trio.current_time() - began_s == pytest.approx(3)
        assert (await market.ticker("KRW-BTC")).market == "KRW-BTC"


async def test_cancelled_request_costs_the_others_nothing() -> None:
    """A bot gives up on one thing and not on its connection."""
    listener = MemoryListener()
    async with (
        open_control(listener=listener),
        open_client("unused", dial=listener.connect) as market,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(market.ticker, "KRW-HANG")
        await trio.testing.wait_all_tasks_blocked()
        line = market._line
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            assert (await market.ticker("KRW-BTC")).market == "KRW-BTC"
        with trio.CancelScope() as scope:
            scope.cancel()
            await market.ticker("KRW-BTC")
        assert market._line is line


async def test_bot_s_own_error_leaves_the_block_as_it_is() -> None:
    """That there is a nursery inside is not the bot's affair."""
    listener = MemoryListener()
    with pytest.raises(ZeroDivisionError, match="the bot's own"):
        async with open_client("unused", dial=listener.connect):
            raise ZeroDivisionError("the bot's own")


class Script:
    """A runtime that does as told, one step for each connection.

    Args:
      steps: What to do with the connections, in turn.
    """

    def __init__(self, *steps: Callable[[trio.abc.Stream], Any]) -> None:
        self.dialled = 0
        self._steps = list(steps)
        self.nursery: trio.Nursery

    async def dial(self) -> trio.abc.Stream:
        """Return a connection whose other end follows the next step."""
        self.dialled += 1
        near, far = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self._steps.pop(0), far)
        return near


async def hang_up(stream: trio.abc.Stream) -> None:
    """Read a request and close without a word."""
    await stream.receive_some()
    await stream.aclose()


async def say_nothing(stream: trio.abc.Stream) -> None:
    """Read whatever comes."""
    while await stream.receive_some():
        pass


async def serve(stream: trio.abc.Stream) -> None:
    """Answer every request with a ticker."""
    while data := await stream.receive_some():
        request = json.loads(data)
        ticker = '{"jsonrpc":"2.0","id":%d,"result":%s}\n'
        body = json.dumps(
            {f: getattr(sample_ticker(), f) for f in sample_ticker().__struct_fields__}
        )
        await stream.send_all((ticker % (request["id"], body)).encode())


async def turn_away(stream: trio.abc.Stream) -> None:
    """Refuse the connection as a full runtime does."""
    data = {"type": "Overloaded", "retryable": True}
    await stream.send_all(encode_error(None, WireError(-32030, "too many", data)))
    await stream.aclose()


async def babble(stream: trio.abc.Stream) -> None:
    """Send what is no answer."""
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def test_request_is_sent_once_more_when_the_runtime_went_away_in_silence() -> None:
    """A restart of the runtime is no error of the bot's; all of these only read."""
    script = Script(hang_up, serve)
    async with (
        trio.open_nursery() as script.nursery,
        open_client("x.sock", dial=script.dial) as market,
    ):
        assert await market.ticker("KRW-BTC") == sample_ticker()
        assert await market.ticker("KRW-BTC") == sample_ticker()
    assert script.dialled == 2


async def test_request_is_not_sent_a_third_time() -> None:
    """A runtime that dies of a request must not be fed it for ever."""
    script = Script(hang_up, hang_up)
    async with (
        trio.open_nursery() as script.nursery,
        open_client("x.sock", dial=script.dial) as market,
    ):
        with pytest.raises(RuntimeUnreachable, match=r"x\.sock.*closed the connection"):
            await market.ticker("KRW-BTC")


async def test_stop_is_never_sent_twice() -> None:
    """The second one could hit a runtime that has just been started."""
    script = Script(hang_up)
    async with (
        trio.open_nursery() as script.nursery,
        open_client("x.sock", dial=script.dial) as market,
    ):
        with pytest.raises(RuntimeUnreachable, match="closed the connection"):
            await market.stop()


async def test_order_that_went_with_the_connection_is_never_sent_twice() -> None:
    """Nor is the bot told that it could be."""
    script = Script(hang_up)
    async with (
        trio.open_nursery() as script.nursery,
        open_client("x.sock", dial=script.dial) as market,
    ):
        with pytest.raises(OutcomeUnknown, match=r"closed the connection.*may have arrived"):
            await market.ask(ORDER)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, math.nan])
async def test_what_there_is_no_time_for_is_not_sent(timeout_s: float) -> None:
    """An order, too, is then in no doubt."""
    script = Script(say_nothing)
    async with (
        trio.open_nursery() as script.nursery,
        open_client("x.sock", dial=script.dial) as market,
    ):
        with pytest.raises(CallTimeout, match="PlaceOrder was not asked: timeout_s must be above"):
            await market.ask(ORDER, timeout_s=timeout_s)
    assert script.dialled == 0


async def test_order_without_an_answer_in_time_may_have_arrived() -> None:
    """Who asks again without looking has two of them."""
    script = Script(say_nothing)
    async with (
        trio.open_nursery() as script.nursery,
        open_client("x.sock", dial=script.dial) as market,
    ):
        with pytest.raises(OutcomeUnknown, match=r"no answer to PlaceOrder within 3 s; it may"):
            await market.ask(ORDER, timeout_s=3)


@pytest.mark.parametrize(
    ("step", "error", "words"),
    [(turn_away, Overloaded, "too many"), (babble, RemoteError, "no marketd runtime")],
)
async def test_refusal_of_the_connection_reaches_who_asks(
    step: Any, error: type[Exception], words: str
) -> None:
    """Said by the runtime before it has read anything."""
    script = Script(step, serve)
    async with (
        trio.open_nursery() as script.nursery,
        open_client("x.sock", dial=script.dial) as market,
    ):
        with pytest.raises(error, match=words):
            await market.ticker("KRW-BTC")
        assert await market.ticker("KRW-BTC") == sample_ticker()
