"""`FeedActor`: streams are kept up for as long as somebody wants them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio

from actors.errors import RateLimited
from actors.exchanges.streams import StreamKey, StreamLost, StreamRefusal
from actors.feed import FeedActor
from actors.feed_tables import LINE
from actors.feed_testing import NEW_YEAR_MS, FeedStage, value_of, wait_for
from actors.messages import (
    CandleStreamsBack,
    CandleStreamsBroke,
    GetHealth,
    GetStreams,
)
from actors.timeframes import Timeframe
from actors.updates import HealthUpdate

BTC = "KRW-BTC"
TICKER = StreamKey("ticker", BTC)
TRADES = StreamKey("trade", BTC)
BOOK = StreamKey("orderbook", BTC)
MINUTES = StreamKey("candle", BTC, Timeframe.M1)
NOW_MS = NEW_YEAR_MS + 1_000_000


async def test_nothing_is_connected_until_something_is_wanted_and_closed_when_nothing_is() -> None:
    """A feature that nobody uses costs nothing, at the exchange least of all."""
    stage = FeedStage(FeedActor)
    stage.exchange.tell(TICKER, NOW_MS)
    async with stage.open():
        await trio.sleep(60)
        assert stage.line == "off"
        assert stage.exchange.attempts == []
        with stage.wants.hold({TICKER: 0}):
            await stage.until_live(TICKER)
            assert stage.quote(TICKER).value == value_of(TICKER, NOW_MS)
        await trio.sleep(1)

        assert stage.line == "off"
        assert stage.exchange.open_sockets == []
        assert len(stage.tables.quotes) == len(stage.tables.streams) == 0
        assert len(stage.tables.gaps) == 0


async def test_many_new_wants_become_one_text_and_a_newer_set_replaces_a_waiting_one() -> None:
    """Each text makes the exchange send everything again, and it counts them."""
    stage = FeedStage(FeedActor)
    stage.exchange.tell(TICKER, NOW_MS)
    keys = [StreamKey("ticker", f"KRW-{number}") for number in range(100)]
    async with stage.open():
        with stage.wants.hold({TICKER: 0}):
            await stage.until_live(TICKER)
            async with trio.open_nursery() as nursery:

                async def want(key: StreamKey) -> None:
                    with stage.wants.hold({key: 0}):
                        await trio.sleep(3)

                for key in keys:
                    nursery.start_soon(want, key)
                    await trio.sleep(0.005)
                await trio.sleep(1)
                assert stage.exchange.socket.wanted.keys() == {TICKER, *keys}
                assert len(stage.exchange.socket.sets()) <= 3
                nursery.cancel_scope.cancel()
            await trio.sleep(3)
            assert stage.exchange.socket.wanted == {TICKER: 0}
            assert len(stage.exchange.socket.sets()) <= 4


async def test_a_lease_that_ends_is_let_go_without_anybody_saying_so() -> None:
    """The router leases streams and forgets them."""
    stage = FeedStage(FeedActor)
    async with stage.open():
        stage.wants.lease({TICKER: 0}, until_s=trio.current_time() + 30)
        await wait_for(lambda: stage.line == "live")
        await trio.sleep(31)
        assert stage.line == "off"


async def test_attempts_follow_one_another_later_and_later_and_the_line_says_why() -> None:
    """JKorf/CryptoExchange.Net#68: a storm of attempts after an outage is worse than the outage."""
    stage = FeedStage(FeedActor, backoff_s=0.5, backoff_s_max=8.0)
    stage.exchange.refusals.extend(StreamLost(f"no {number}") for number in range(8))
    stage.exchange.tell(TICKER, NOW_MS)
    async with stage.open():
        with stage.wants.hold({TICKER: 0}):
            await wait_for(lambda: stage.line == "away")
            line = stage.tables.line.get(LINE)
            assert line is not None
            assert (line.failures, line.reason) == (1, "no 0")
            await stage.until_live(TICKER)

    at_s = stage.exchange.attempts
    waits_s = [after - before - 0.01 for before, after in pairwise(at_s)]
    for number, wait_s in enumerate(waits_s):
        most_s = min(8.0, 0.5 * 2**number)
        assert most_s / 2 <= wait_s <= most_s + 0.01, number
    assert len({round(wait_s / 0.5 / 2**n, 3) for n, wait_s in enumerate(waits_s[:4])}) > 1


@pytest.mark.parametrize(
    ("error", "least_s"),
    [
        (StreamLost("teapot", status=418, retry_after_s=33.0), 33.0),
        (StreamLost("teapot", status=418), 60.0),
        (StreamLost("slow down", status=429, retry_after_s=2.0), 2.0),
        (RateLimited("no leave", retry_after_s=7.0), 7.0),
    ],
)
async def test_it_stays_away_for_as_long_as_the_exchange_wants(
    error: Exception, least_s: float
) -> None:
    """Who asks again during a ban is banned for longer."""
    stage = FeedStage(FeedActor)
    stage.exchange.refusals.append(error)
    async with stage.open():
        with stage.wants.hold({TICKER: 0}):
            await wait_for(lambda: stage.line == "live", within_s=100)
            # Wanting something else in the meantime would not have made it sooner.
    first_s, second_s = stage.exchange.attempts
    assert least_s <= second_s - first_s <= least_s + 1.0


async def test_a_connection_that_ends_at_once_is_a_failure_too() -> None:
    """A server that lets everybody in and throws everybody out would be hammered."""
    stage = FeedStage(FeedActor)
    async with stage.open():
        with stage.wants.hold({TICKER: 0}):
            for number in range(6):
                await wait_for(lambda n=number: len(stage.exchange.sockets) > n, within_s=60)  # type: ignore[misc]
                stage.exchange.socket.end()
            at_s = stage.exchange.attempts
    assert at_s[5] - at_s[4] >= 4.0


async def test_a_crash_costs_the_connection_and_nothing_else() -> None:
    """What is wanted is not the feed's own, and what it told it finds in the tables."""
    stage = FeedStage(FeedActor)
    wanted = {TICKER: 0, TRADES: 0, MINUTES: 0}
    for key in wanted:
        stage.exchange.tell(key, NOW_MS)
    async with stage.open():
        with stage.wants.hold(wanted), stage.tables.events.subscribe(("trades", BTC, "")) as trades:
            await stage.until_live(*wanted)
            await trio.sleep(1)
            stage.root.kill("feed")
            await wait_for(lambda: stage.exchange.open_sockets == [])
            await stage.until_live(*wanted)
            await trio.sleep(0.1)
            assert len(stage.exchange.sockets) == 2
            assert isinstance(stage.quote(TRADES).value, tuple)
            (broke,) = stage.of(CandleStreamsBroke)
            assert set(broke.keys) == {TICKER, MINUTES}
            assert len(stage.of(CandleStreamsBack)) >= 2
            gaps = [gap for _, gap in stage.tables.gaps.items()]
            assert {(gap.kind, gap.state) for gap in gaps} == {
                ("ticker", "closed"),
                ("trade", "closed"),
            }
            assert (await trades.receive()).trade.trade_id == NOW_MS
            with trio.move_on_after(1):
                assert await trades.receive() is None


async def test_a_feed_can_be_stopped_in_every_phase_of_its_line() -> None:
    """Connecting, waiting, live, rotating: nothing is left open behind it."""
    for phase_s in (0.005, 0.02, 0.3, 0.7, 100.005, 100.02, 110.0):
        stage = FeedStage(FeedActor, rotate_s=100.0, backoff_s=1.0)
        stage.exchange.refusals.append(StreamLost("no"))
        stage.exchange.tell(TICKER, NOW_MS)
        async with stage.open():
            stage.wants.lease({TICKER: 0}, until_s=1e9)
            await trio.sleep(min(phase_s, 50.0))
            if phase_s > 100:
                stage.exchange.stalled.add(TICKER)
                await trio.sleep(phase_s - 50.0)
        assert stage.exchange.open_sockets == []
        assert stage.exchange.connecting == 0
        assert stage.line in {"away", "off"}


async def test_health_is_told_when_it_has_lasted_and_to_who_asks_at_once() -> None:
    """A line that is back within a second is no news; one that stays away is."""
    stage = FeedStage(FeedActor)
    stage.exchange.tell(TICKER, NOW_MS)
    async with stage.open():
        with stage.tables.events.subscribe(("health", "", "")) as told:
            assert (await stage.feed.call(GetHealth())).state == "unknown"
            with stage.wants.hold({TICKER: 0}):
                await stage.until_live(TICKER)
                health = await stage.feed.call(GetHealth())
                assert (health.name, health.state) == ("upbit stream", "ok")
                for _ in range(3):
                    await trio.sleep(40)
                    stage.exchange.socket.end()
                stage.exchange.refusals.extend(StreamLost("gone") for _ in range(9))
                await trio.sleep(30)
                stage.exchange.socket.end()
                await trio.sleep(20)
                assert (await stage.feed.call(GetHealth())).state == "away"
                await trio.sleep(200)
        updates = list(iter(told.take, None))
    assert all(isinstance(update, HealthUpdate) for update in updates)
    states = [(update.health.state, update.health.reason) for update in updates]
    assert states == [("ok", ""), ("away", "gone"), ("ok", "")]


async def test_unreadable_frames_and_refusals_are_counted_and_the_rest_goes_on() -> None:
    """One bad frame in a batch is one frame less."""
    stage = FeedStage(FeedActor)
    stage.exchange.tell(TICKER, NOW_MS)
    async with stage.open():
        with stage.wants.hold({TICKER: 0}):
            await stage.until_live(TICKER)
            for number in range(5):
                stage.exchange.socket.push("rubbish")
                stage.exchange.tell(TICKER, NOW_MS + number)
            frame = stage.exchange.stream.frame(StreamRefusal("TEAPOT", "wait", 418, 50.0))
            stage.exchange.socket.push(frame)
            await trio.sleep(1)
            (report,) = await stage.feed.call(GetStreams())
            assert report.malformed == 5
            assert "TEAPOT" in report.reason or report.state == "live"
            assert stage.quote(TICKER).value == value_of(TICKER, NOW_MS + 4)
            ended_s = trio.current_time()
            stage.exchange.socket.end()
            await wait_for(lambda: len(stage.exchange.sockets) == 2, within_s=100)
            assert trio.current_time() - ended_s >= 49 - 1
