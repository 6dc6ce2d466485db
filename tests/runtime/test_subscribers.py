"""Subscriptions over the socket: told in order, told what was left out, and nobody else's delay."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from runtime.subscribers import SUBSCRIPTIONS_MAX
from runtime.testing_socket import MemoryListener, RawBot, bot_at, open_control
from runtime.testing_updates import UpdateFeed, sample_update, ticker_update
from runtime.update_lines import UpdateEncoder


@asynccontextmanager
async def bot_of(feed: UpdateFeed, **options: Any) -> AsyncIterator[RawBot]:
    """Run a control actor over `feed`, and one bot connected to it."""
    async with bot_at(subscribe=feed.subscribe, **options) as bot:
        yield bot


async def subscribed(bot: RawBot, request_id: int = 1, /, **params: Any) -> int:
    """Subscribe, by default to the ticker of KRW-BTC, and return the number."""
    await bot.ask("subscribe", request_id, **{"kind": "ticker", "markets": ["KRW-BTC"], **params})
    answer = await bot.hear()
    assert answer["id"] == request_id
    return int(answer["result"]["subscription"])


def prices(line: Any) -> list[float]:
    """Return the prices of the tickers that a line tells."""
    updates = line["params"]["updates"]
    return [each["ticker"]["price"] for each in updates if each["event"] == "ticker"]


async def test_updates_follow_the_answer_with_its_number() -> None:
    """A bot knows what an update belongs to before it comes."""
    feed = UpdateFeed()
    async with bot_of(feed) as bot:
        number = await subscribed(bot)
        feed.publish(ticker_update(1.0))
        line = await bot.hear()

        assert (line["jsonrpc"], line["method"]) == ("2.0", "update")
        assert line["params"]["subscription"] == number
        assert "id" not in line
        assert prices(line) == [1.0]


@pytest.mark.parametrize("kind", ["trades", "orderbook", "candles", "gaps", "health"])
async def test_every_kind_is_told(kind: str) -> None:
    """With the name of its kind in `event`."""
    feed = UpdateFeed()
    async with bot_of(feed) as bot:
        await subscribed(bot, kind=kind)
        feed.publish(sample_update(kind), kind)
        [update] = (await bot.hear())["params"]["updates"]

        assert update["event"] in kind


async def test_what_piles_up_comes_in_one_line() -> None:
    """A bot that was busy reads once."""
    feed = UpdateFeed()
    async with bot_of(feed) as bot:
        await subscribed(bot, keep="every")
        for number in range(5):
            feed.publish(ticker_update(number))

        assert prices(await bot.hear()) == [0, 1, 2, 3, 4]


async def test_a_line_has_a_bound() -> None:
    """However much has piled up."""
    updates = iter([*(sample_update("orderbook") for _ in range(5_000)), None])
    line = UpdateEncoder().line(1, lambda: next(updates))

    assert 64 * 1024 <= len(line) < 70 * 1024


async def test_who_does_not_read_is_told_what_was_left_out() -> None:
    """Of a ticker the newest counts; how many others there were is said before it."""
    feed = UpdateFeed()
    async with bot_of(feed) as bot:
        await subscribed(bot)
        for number in range(100):
            feed.publish(ticker_update(number))
        [missed, newest] = (await bot.hear())["params"]["updates"]

        assert missed == {"event": "missed", "count": 99, "why": "replaced"}
        assert newest["ticker"]["price"] == 99


async def test_what_is_kept_has_a_bound_and_the_oldest_goes() -> None:
    """A subscriber cannot make the runtime keep everything."""
    feed = UpdateFeed()
    async with bot_of(feed) as bot:
        await subscribed(bot, keep="every", capacity=3)
        for number in range(10):
            feed.publish(ticker_update(number))
        line = await bot.hear()

        assert line["params"]["updates"][0] == {"event": "missed", "count": 7, "why": "dropped"}
        assert prices(line) == [7, 8, 9]


async def test_unsubscribing_ends_it_and_nothing_follows() -> None:
    """The other subscriptions of the connection go on."""
    feed = UpdateFeed()
    async with bot_of(feed) as bot:
        one, other = await subscribed(bot), await subscribed(bot, 2, markets=["KRW-ETH"])
        await bot.ask("unsubscribe", 3, subscription=one)
        assert (await bot.hear())["result"] == {"subscription": one}
        await trio.testing.wait_all_tasks_blocked()
        feed.publish(ticker_update(1.0))
        feed.publish(ticker_update(2.0, "KRW-ETH"), market="KRW-ETH")

        line = await bot.hear()
        assert (line["params"]["subscription"], prices(line)) == (other, [2.0])
        assert feed.open == 1
        await bot.ask("unsubscribe", 4, subscription=one)
        assert "no subscription 1; it has 2" in (await bot.hear())["error"]["message"]


async def test_subscriptions_end_with_their_connection() -> None:
    """Nobody is left to be told."""
    feed = UpdateFeed()
    listener = MemoryListener()
    async with open_control(listener=listener, subscribe=feed.subscribe):
        bot = RawBot(await listener.connect())
        await subscribed(bot)
        assert feed.open == 1
        await trio.aclose_forcefully(bot.stream)
        await trio.testing.wait_all_tasks_blocked()
        feed.publish(ticker_update(1.0))
        await trio.testing.wait_all_tasks_blocked()

        assert feed.open == 0


async def test_errors_of_a_subscription_are_answers() -> None:
    """A market that is not there, a wrong word, and more than the bound."""
    feed = UpdateFeed()
    async with bot_of(feed) as bot:
        await bot.ask("subscribe", 1, kind="ticker", markets=["KRW-NONE"])
        assert (await bot.hear())["error"]["data"]["type"] == "UnknownMarket"
        await bot.ask("subscribe", 2, kind="tickers", markets=["KRW-BTC"])
        assert "kind" in (await bot.hear())["error"]["message"]
        for number in range(SUBSCRIPTIONS_MAX):
            assert await subscribed(bot, 10 + number) > 0
        await bot.ask("subscribe", 3, kind="ticker", markets=["KRW-BTC"])
        assert (await bot.hear())["error"]["data"]["type"] == "Overloaded"
        assert feed.open == SUBSCRIPTIONS_MAX


async def test_without_anything_to_subscribe_to_it_is_said() -> None:
    """An answer, not a hang."""
    async with bot_at() as bot:
        await bot.ask("subscribe", 1, kind="health")
        assert "nothing to subscribe to" in (await bot.hear())["error"]["message"]


async def test_check_validates_a_subscription() -> None:
    """Without opening one."""
    feed = UpdateFeed()
    async with bot_of(feed) as bot:
        await bot.ask("check", 1, method="subscribe", params={"kind": "health"})
        assert (await bot.hear())["result"] == {"method": "subscribe"}
        await bot.ask("check", 2, method="subscribe", params={"kind": "helth"})
        assert "error" in await bot.hear()
        assert feed.asked == []


async def test_requests_are_answered_beside_updates() -> None:
    """One connection is enough for a bot that speaks the protocol itself."""
    feed = UpdateFeed()
    async with bot_of(feed) as bot:
        await subscribed(bot)
        await bot.ask("ticker", 2, market="KRW-BTC")
        assert (await bot.hear())["id"] == 2
        feed.publish(ticker_update(3.0))
        assert prices(await bot.hear()) == [3.0]


class NarrowListener(MemoryListener):
    """A listener whose streams take a line only when the one before was read."""

    async def connect(self) -> trio.abc.Stream:
        """Return the bot's end of a new connection."""
        near, far = trio.testing.lockstep_stream_pair()
        await self._send.send(far)
        return near


async def test_a_pause_of_a_minute_costs_no_connection_but_a_longer_one_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Answers have ten seconds; who has subscribed may be busy for longer."""
    feed, listener = UpdateFeed(), NarrowListener()
    caplog.set_level(logging.WARNING, "marketd.control")
    async with open_control(listener=listener, subscribe=feed.subscribe) as control:
        bot = RawBot(await listener.connect())
        await subscribed(bot)
        for number in range(600):
            feed.publish(ticker_update(number))
            await trio.sleep(0.1)
        first, rest = await bot.hear(), await bot.hear()
        assert prices(first) == [0]
        assert rest["params"]["updates"][0] == {"event": "missed", "count": 598, "why": "replaced"}

        feed.publish(ticker_update(0))
        await trio.sleep(121)
        assert feed.open == 0
        assert control is not None
    assert "cut off: updates are not read" in caplog.text


async def test_one_who_does_not_read_delays_nobody() -> None:
    """Neither another connection nor the publisher."""
    feed, listener = UpdateFeed(), NarrowListener()
    async with open_control(listener=listener, subscribe=feed.subscribe):
        stuck, reader = RawBot(await listener.connect()), RawBot(await listener.connect())
        await subscribed(stuck)
        await subscribed(reader)
        before_s = trio.current_time()
        for number in range(50):
            feed.publish(ticker_update(number))
            assert prices(await reader.hear()) == [number]

        assert trio.current_time() == before_s


async def test_unsubscribing_while_a_line_is_written_cuts_no_line() -> None:
    """What follows would be garbage else."""
    feed, listener = UpdateFeed(), NarrowListener()
    async with open_control(listener=listener, subscribe=feed.subscribe):
        bot = RawBot(await listener.connect())
        number = await subscribed(bot)
        feed.publish(ticker_update(1.0))
        await trio.testing.wait_all_tasks_blocked()
        feed.publish(ticker_update(2.0))
        await bot.ask("unsubscribe", 2, subscription=number)
        await trio.testing.wait_all_tasks_blocked()

        assert prices(await bot.hear()) == [1.0]
        assert await bot.hear() == {"jsonrpc": "2.0", "id": 2, "result": {"subscription": 1}}
        await trio.testing.wait_all_tasks_blocked()
        assert feed.open == 0


async def test_a_bot_that_sends_no_more_is_told_on() -> None:
    """`echo subscribe | nc` ends its sending at once, and wants to read."""
    feed, listener = UpdateFeed(), MemoryListener()
    async with open_control(listener=listener, subscribe=feed.subscribe):
        bot = RawBot(await listener.connect())
        await subscribed(bot)
        assert isinstance(bot.stream, trio.StapledStream)
        await bot.stream.send_eof()
        await trio.sleep(5)
        feed.publish(ticker_update(1.0))
        assert prices(await bot.hear()) == [1.0]


async def test_giving_up_on_a_subscription_leaves_none_behind() -> None:
    """It was never told its number, so it could never end it."""
    opened = []

    @asynccontextmanager
    async def slow(request: Any) -> AsyncIterator[Any]:
        opened.append(request)
        try:
            await trio.sleep(60)
            yield None
        finally:
            opened.pop()

    async with bot_at(subscribe=slow) as bot:
        params = {"kind": "ticker", "markets": ["KRW-BTC"]}
        line = {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params}
        await bot.say(json.dumps({**line, "timeout_s": 2}).encode())
        assert (await bot.hear())["error"]["data"]["type"] == "CallTimeout"
        await trio.testing.wait_all_tasks_blocked()
        assert opened == []


def test_an_update_for_many_is_encoded_once() -> None:
    """And no two are taken for each other, whatever becomes of their memory."""
    encoder, update = UpdateEncoder(), ticker_update(1.0)
    assert encoder.encode(update) is encoder.encode(update)
    for number in range(3_000):
        assert f'"price":{number}.5,'.encode() in encoder.encode(ticker_update(number + 0.5))
    assert len(encoder._encoded) <= 1_024
