"""`ControlActor`: one connection's trouble is nobody else's, and everything has a bound.

Connections here are memory streams on fake time.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import trio

from actors.messages import GetCandles, GetTicker
from actors.preload_messages import AwaitNeed
from runtime.config import ControlSettings
from runtime.core.message import Request
from runtime.testing_socket import (
    MemoryListener,
    RawBot,
    bot_at,
    open_control,
    sample_answer,
    sample_candles,
    sample_ticker,
)


async def test_request_is_answered_under_its_id() -> None:
    """What JSON-RPC is."""
    async with bot_at() as bot:
        await bot.ask("ticker", "my id", market="KRW-ETH")
        answer = await bot.hear()

    assert (answer["jsonrpc"], answer["id"]) == ("2.0", "my id")
    assert answer["result"]["market"] == "KRW-ETH"


async def test_slow_request_does_not_hold_up_a_quick_one() -> None:
    """A bot asks for everything it needs at once over one connection."""

    async def answer(request: Request[Any]) -> object:
        assert isinstance(request, GetTicker)
        await trio.sleep(float(request.market))
        return sample_ticker(request.market)

    async with bot_at(answer) as bot:
        for seconds in (3, 1, 2, 0):
            await bot.ask("ticker", seconds, market=str(seconds))

        assert [(await bot.hear())["id"] for _ in range(4)] == [0, 1, 2, 3]


async def test_no_more_requests_are_worked_on_at_once_than_the_bound() -> None:
    """A flood of good requests waits at the bot and not in the runtime."""
    active, peak = 0, 0

    async def answer(request: Request[Any]) -> object:
        nonlocal active, peak
        active += 1
        peak = max(peak, active)
        await trio.sleep(1)
        active -= 1
        return await sample_answer(request)

    async with bot_at(answer, settings={"requests_in_flight_max": 3}) as bot:
        for number in range(20):
            await bot.ask("status", number)
        ids = {(await bot.hear())["id"] for _ in range(20)}

    assert ids == set(range(20))
    assert peak == 3


async def test_waits_for_needs_are_not_in_the_way_of_other_requests() -> None:
    """A bot polls while it waits for its needs, however many these are; and they have a bound."""

    async def answer(request: Request[Any]) -> object:
        if isinstance(request, AwaitNeed):
            await trio.sleep(float(request.timeframe))
        return await sample_answer(request)

    async with bot_at(answer, settings={"requests_in_flight_max": 3}) as bot:
        for number in range(500):
            await bot.ask("need.ready", number, market="KRW-BTC", timeframe="60", strategy="a")
        await bot.ask("status", "now")
        assert (await bot.hear())["id"] == "now"
        for number in range(500, 503):
            await bot.ask("need.ready", number, market="KRW-BTC", timeframe="10", strategy="a")
        await bot.ask("status", "later")
        assert {(await bot.hear())["id"] for _ in range(3)} == {500, 501, 502}
        assert (await bot.hear())["id"] == "later"
        assert {(await bot.hear())["id"] for _ in range(500)} == set(range(500))


async def test_every_error_is_an_answer_and_the_connection_lives() -> None:
    """Bad requests of every kind, one after another, over one connection."""
    async with bot_at() as bot:
        await bot.say(b"hello", b"[]", b"\xff", b'{"jsonrpc":"2.0","id":1,"method":"nope"}')
        await bot.ask("candles", 2, market=5, timeframe="1m")
        await bot.ask("candles", 3, market="KRW-AWAY", timeframe="1m")
        await bot.ask("status", 4)
        answers = [await bot.hear() for _ in range(7)]

    codes = [answer.get("error", {}).get("code") for answer in answers]
    assert codes == [-32700, -32600, -32700, -32601, -32602, -32011, None]
    assert [answer["id"] for answer in answers] == [None, None, None, 1, 2, 3, 4]


async def test_notification_is_obeyed_and_not_answered() -> None:
    """JSON-RPC: a request without an id."""
    seen: list[Request[Any]] = []

    async def answer(request: Request[Any]) -> object:
        seen.append(request)
        return await sample_answer(request)

    async with bot_at(answer) as bot:
        await bot.say(b'{"jsonrpc":"2.0","method":"stop"}', b'{"jsonrpc":"2.0","method":"nope"}')
        await bot.ask("status", 9)

        assert (await bot.hear())["id"] == 9
    assert len(seen) == 2


async def test_defect_is_logged_and_told_by_reference_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The bot gets something to quote, the log gets the rest, and everybody else goes on."""
    async with bot_at() as bot:
        await bot.ask("ticker", market="KRW-DEFECT")
        error = (await bot.hear())["error"]
        await bot.ask("status")
        assert "result" in await bot.hear()

    assert error["code"] == -32603
    assert "secret" not in json.dumps(error)
    assert error["data"]["reference"] in error["message"]
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert error["data"]["reference"] in record.getMessage()
    assert record.exc_info is not None


async def test_answer_of_the_wrong_type_is_a_defect_and_not_the_end() -> None:
    """What cannot be encoded is our mistake, and the bot is told so."""

    async def answer(_: Request[Any]) -> object:
        return object()

    async with bot_at(answer) as bot:
        await bot.ask("candles", 1, market="KRW-BTC", timeframe="1m")
        await bot.ask("status", 2)
        answers = [await bot.hear() for _ in range(2)]

    assert [answer["error"]["code"] for answer in answers] == [-32603, -32603]


async def test_request_with_a_time_limit_is_given_up_then() -> None:
    """Nobody waits any more, so nobody works on it any more either."""
    async with bot_at() as bot:
        params = {"market": "KRW-HANG"}
        line = {"jsonrpc": "2.0", "id": 1, "method": "ticker", "params": params, "timeout_s": 2}
        began_s = trio.current_time()
        await bot.say(json.dumps(line).encode())
        error = (await bot.hear())["error"]

    assert trio.current_time() - began_s == pytest.approx(2)
    assert error["data"] == {"type": "CallTimeout", "retryable": True}
    assert error["message"] == "no answer to GetTicker within 2 s"


async def test_bot_that_ends_its_sending_still_gets_its_answers() -> None:
    """`echo ... | nc -U` closes its side at once."""

    async def answer(request: Request[Any]) -> object:
        await trio.sleep(5)
        return await sample_answer(request)

    async with bot_at(answer) as bot:
        await bot.ask("status")
        assert isinstance(bot.stream, trio.StapledStream)
        await bot.stream.send_eof()

        assert "result" in await bot.hear()
        assert await bot.hear() is None


async def test_half_a_line_and_then_the_end_is_no_request() -> None:
    """A bot that was killed while it wrote."""
    async with bot_at() as bot:
        await bot.stream.send_all(b'{"jsonrpc":"2.0","id":1,"method":"st')
        assert isinstance(bot.stream, trio.StapledStream)
        await bot.stream.send_eof()

        assert await bot.hear() is None


async def test_line_far_too_long_is_an_error_and_the_connection_lives() -> None:
    """A hundred megabytes by mistake: refused at the bound, never kept, and then on."""
    async with bot_at() as bot:
        chunk = b"x" * (1 << 20)
        for _ in range(100):
            await bot.stream.send_all(chunk)
        await bot.say(b"")
        await bot.ask("status")

        error = (await bot.hear())["error"]
        assert error["message"].startswith("a request must be at most 1048576 bytes long")
        assert "result" in await bot.hear()


async def test_flood_of_garbage_is_cut_off() -> None:
    """What never says anything sensible is no bot."""
    async with bot_at() as bot:
        await bot.say(*[b"x"] * 1000)
        answers = []
        while (answer := await bot.hear()) is not None:
            answers.append(answer)

    assert len(answers) == 100


async def test_bot_that_does_not_read_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    """It costs what is being written to it, for ten seconds, and nobody else anything."""
    listener = MemoryListener()
    near, far = trio.testing.lockstep_stream_pair()
    async with open_control(listener=listener, write_timeout_s=10.0):
        await listener._send.send(far)
        slow, quick = RawBot(near), RawBot(await listener.connect())
        await slow.ask("status")
        began_s = trio.current_time()

        await quick.ask("status")
        assert "result" in await quick.hear()
        assert trio.current_time() == began_s

        await trio.sleep(11)
        with pytest.raises(trio.BrokenResourceError, match=r"^$"):
            await slow.say(b"still there?")
    assert "cut off: answers are not read" in caplog.text


async def test_connections_beyond_the_bound_are_refused_with_a_reason() -> None:
    """A bot that leaks connections is told, and the others keep theirs."""
    listener = MemoryListener()
    async with open_control(listener=listener, settings=ControlSettings(connections_max=2)):
        bots = [RawBot(await listener.connect()) for _ in range(5)]
        for bot in bots[:2]:
            await bot.ask("status")
            assert "result" in await bot.hear()
        for bot in bots[2:]:
            refusal = await bot.hear()
            assert refusal["id"] is None
            assert refusal["error"]["data"] == {"type": "Overloaded", "retryable": True}
            assert "2 connections already" in refusal["error"]["message"]
            assert await bot.hear() is None

        await trio.aclose_forcefully(bots[0].stream)
        await trio.sleep(1)
        late = RawBot(await listener.connect())
        await late.ask("status")
        assert "result" in await late.hear()


async def test_large_answer_as_json_does_not_hold_up_the_others() -> None:
    """A hundred thousand rows take a while to write; in between others get their turn."""
    candles = sample_candles(20_000)

    async def answer(request: Request[Any]) -> object:
        return candles if isinstance(request, GetCandles) else await sample_answer(request)

    listener = MemoryListener()
    async with open_control(answer, listener=listener):
        large, small = RawBot(await listener.connect()), RawBot(await listener.connect())
        done: list[str] = []

        async def ask_large() -> None:
            await large.ask("candles", market="KRW-BTC", timeframe="1m")
            assert len((await large.hear())["result"]["candles"]) == 20_000
            done.append("large")

        async def ask_small() -> None:
            await small.ask("status")
            await small.hear()
            done.append("small")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_large)
            nursery.start_soon(ask_small)
    assert done == ["small", "large"]
