"""Breaks, silence and rotations of streams: what may be lacking is told, and nothing else is."""

from __future__ import annotations

import pytest
import trio

from actors.exchanges.streams import StreamKey, StreamLost
from actors.feed import FeedActor
from actors.feed_tables import LINE
from actors.feed_testing import NEW_YEAR_MS, PING, FeedStage, Listener, value_of, wait_for
from actors.messages import (
    CandleStreamsBack,
    CandleStreamsBroke,
    GetHealth,
    GetStreams,
    LiveCandles,
)
from actors.timeframes import Timeframe
from actors.updates import GapUpdate
from runtime.core.child import ChildSpec

BTC = "KRW-BTC"
TICKER = StreamKey("ticker", BTC)
TRADES = StreamKey("trade", BTC)
BOOK = StreamKey("orderbook", BTC)
MINUTES = StreamKey("candle", BTC, Timeframe.M1)
NOW_MS = NEW_YEAR_MS + 1_000_000


async def test_a_half_open_line_is_given_up_and_its_timer_begins_anew_with_the_next() -> None:
    """Said in cryptofeed's CHANGES: a watchdog that was not reset restarts for ever."""
    stage = FeedStage(FeedActor, dead_s=25.0, ping_s=10.0)
    stage.exchange.tell(TICKER, NOW_MS)
    async with stage.open():
        with stage.wants.hold({TICKER: 0}):
            await stage.until_live(TICKER)
            await trio.sleep(100)
            assert len(stage.exchange.sockets) == 1
            assert [text for _, text in stage.exchange.socket.texts].count(PING) >= 9
            stage.exchange.socket.deaf = True
            await wait_for(lambda: len(stage.exchange.sockets) == 2, within_s=36)
            await trio.sleep(300)
            assert len(stage.exchange.sockets) == 2
            gap = stage.tables.gaps.get(1)
            assert gap is not None
            assert (gap.kind, gap.market, gap.state) == ("ticker", BTC, "closed")
            assert "nothing was heard" in gap.detail


async def test_a_break_is_told_to_the_cache_written_down_and_closed_by_the_next_snapshot() -> None:
    """The cache relies on the order: broke, back, rows."""
    stage = FeedStage(FeedActor)
    wanted = {TICKER: 0, TRADES: 0, BOOK: 15, MINUTES: 0}
    for key in wanted:
        stage.exchange.tell(key, NOW_MS)
    async with stage.open():
        with stage.wants.hold(wanted), stage.tables.events.subscribe(("gaps", "", "")) as gaps:
            await stage.until_live(*wanted)
            await trio.sleep(30.5)
            stage.exchange.tell(TICKER, NOW_MS + 30_000)
            await trio.sleep(0.001)
            heard_s = trio.current_time()
            stage.exchange.refusals.append(StreamLost("still away"))
            stage.exchange.socket.end()
            await wait_for(lambda: stage.line == "away")
            assert len(stage.tables.quotes) == 0
            assert stage.tables.heard_s(TICKER) is None
            assert {stage.state(key) for key in wanted} == {"asked"}
            for key in wanted:
                stage.exchange.tell(key, NOW_MS + 40_000)
            await stage.until_live(*wanted)
            await trio.sleep(0.1)

            names = [type(event).__name__ for event in stage.cast]
            broke = stage.of(CandleStreamsBroke)
            assert len(broke) == 1
            assert set(broke[0].keys) == {TICKER, MINUTES}
            assert broke[0].heard_s == pytest.approx(heard_s, abs=0.01)
            assert broke[0].reason == "cut by the test"
            at = names.index("CandleStreamsBroke")
            assert names[at + 1 :][:2] == ["CandleStreamsBack", "LiveCandles"]
            assert {key for back in stage.of(CandleStreamsBack) for key in back.keys} == {
                TICKER,
                MINUTES,
            }
            reports = [gap for _, gap in stage.tables.gaps.items()]
            assert {gap.kind for gap in reports} == {"ticker", "trade", "orderbook"}
            assert {gap.state for gap in reports} == {"closed"}
            assert {gap.end_ms for gap in reports} == {NOW_MS + 40_000}
            assert all(abs(gap.start_ms - (NOW_MS + 30_000)) < 50 for gap in reports)
            told = [await gaps.receive() for _ in range(6)]
            assert all(isinstance(update, GapUpdate) for update in told)


async def test_nothing_is_missed_where_the_newest_trade_after_a_break_is_the_newest_before_it() -> (
    None
):
    """The trades that were known stay known, and the gap says that it was none."""
    stage = FeedStage(FeedActor)
    async with stage.open():
        with (
            stage.wants.hold({TRADES: 0}),
            stage.tables.events.subscribe(("trades", BTC, "")) as told,
        ):
            stage.exchange.tell(TRADES, NOW_MS)
            await stage.until_live(TRADES)
            stage.exchange.tell(TRADES, NOW_MS + 1)
            await trio.sleep(1)
            for number in (2, 1):
                stage.exchange.socket.end()
                await wait_for(lambda: stage.line == "away")
                assert stage.tables.quotes.get(TRADES) is None
                stage.exchange.tell(TRADES, NOW_MS + 1 + (number == 1))
                await stage.until_live(TRADES)
                await trio.sleep(0.01)
                trades = stage.quote(TRADES).value
                assert isinstance(trades, tuple)
                assert len(trades) == number
            published = [await told.receive() for _ in range(3)]
            assert [update.trade.trade_id - NOW_MS for update in published] == [0, 1, 2]
    details = [gap.detail for _, gap in stage.tables.gaps.items()]
    assert details == ["cut by the test; nothing was missed", "cut by the test"]


async def test_a_rotation_opens_the_new_connection_first_and_nothing_is_missed_or_told_twice() -> (
    None
):
    """Planned work must not look like a break to anybody."""
    stage = FeedStage(FeedActor, rotate_s=100.0)
    wanted = {TICKER: 0, TRADES: 0, MINUTES: 0}
    for key in wanted:
        stage.exchange.tell(key, NOW_MS)
    async with stage.open():
        with (
            stage.wants.hold(wanted),
            stage.tables.events.subscribe(("trades", BTC, ""), capacity=10_000) as trades,
        ):
            await stage.until_live(*wanted)
            since_s = stage.tables.line.get(LINE)
            for number in range(1, 2_500):
                for key in wanted:
                    stage.exchange.tell(key, NOW_MS + number * 100)
                await trio.sleep(0.1)
                assert stage.line == "live"
            old, middle, new = stage.exchange.sockets
            assert old.closed_s is not None
            assert middle.closed_s is not None
            assert old.closed_s >= middle.opened_s
            assert middle.closed_s >= new.opened_s
            assert since_s is not None
            assert stage.tables.line.get(LINE).since_s == since_s.since_s  # type: ignore[union-attr]
            ids = [(await trades.receive()).trade.trade_id - NOW_MS for _ in range(2_500)]
            assert ids == [number * 100 for number in range(2_500)]
            (report,) = await stage.feed.call(GetStreams())
            assert report.reconnects == 2
            assert report.gaps == 0
    assert stage.of(CandleStreamsBroke) == []
    assert len(stage.of(CandleStreamsBack)) == 1
    assert len(stage.tables.gaps) == 0


async def test_a_rotation_that_does_not_work_leaves_the_old_connection_as_it_is() -> None:
    """What works is not given up for what might."""
    stage = FeedStage(FeedActor, rotate_s=100.0)
    stage.exchange.tell(TICKER, NOW_MS)
    async with stage.open():
        with stage.wants.hold({TICKER: 0}):
            await stage.until_live(TICKER)
            stage.exchange.refusals.append(StreamLost("no"))
            await trio.sleep(110)
            assert len(stage.exchange.attempts) == 2
            stage.exchange.stalled.add(TICKER)
            await trio.sleep(60)
            assert len(stage.exchange.open_sockets) in {1, 2}
            await trio.sleep(20)
            assert stage.exchange.open_sockets == stage.exchange.sockets[:1]
            assert stage.line == "live"
            assert len(stage.tables.gaps) == 0


async def test_a_line_that_breaks_during_a_rotation_is_taken_over_by_the_new_one() -> None:
    """Only what the new one had not told yet can be lacking."""
    stage = FeedStage(FeedActor, rotate_s=100.0)
    wanted = {TICKER: 0, BOOK: 15}
    for key in wanted:
        stage.exchange.tell(key, NOW_MS)
    async with stage.open():
        with stage.wants.hold(wanted):
            await stage.until_live(*wanted)
            await trio.sleep(95)
            stage.exchange.stalled.add(BOOK)
            await trio.sleep(7)
            old, new = stage.exchange.sockets
            assert old.closed_s is None
            old.end()
            await wait_for(lambda: old.closed_s is not None)
            await trio.sleep(0.1)
            assert stage.line == "live"
            assert stage.exchange.open_sockets == [new]
            assert (stage.state(TICKER), stage.state(BOOK)) == ("live", "asked")
            assert {gap.kind for _, gap in stage.tables.gaps.items()} == {"orderbook"}
            stage.exchange.stalled.clear()
            await stage.until_live(BOOK)


async def test_a_stalled_stream_is_renewed_and_what_it_missed_is_a_gap() -> None:
    """The line lives, the others talk; only this stream tells nothing."""
    stage = FeedStage(FeedActor, silent_s=60.0)
    wanted = {BOOK: 15, TRADES: 0}
    for key in wanted:
        stage.exchange.tell(key, NOW_MS)
    async with stage.open():
        with stage.wants.hold(wanted):
            await stage.until_live(*wanted)
            stage.exchange.stalled.add(BOOK)
            for second in range(1, 64):
                for key in wanted:
                    stage.exchange.tell(key, NOW_MS + second * 1_000)
                await trio.sleep(1)
            assert stage.state(BOOK) == "silent"
            assert stage.tables.heard_s(BOOK) is None
            assert stage.tables.heard_s(TRADES) is not None
            stage.exchange.stalled.clear()
            await stage.until_live(*wanted)
            (gap,) = [gap for _, gap in stage.tables.gaps.items()]
            assert (gap.kind, gap.state, gap.end_ms) == ("orderbook", "closed", NOW_MS + 63_000)
            assert abs(gap.start_ms - NOW_MS) < 2_000


async def test_a_stream_is_suspected_sooner_while_others_of_its_market_move() -> None:
    """Every trade moves the ticker: one that stands still has stalled."""
    stage = FeedStage(FeedActor, silent_s=600.0)
    wanted = {TICKER: 0, MINUTES: 0}
    for key in wanted:
        stage.exchange.tell(key, NOW_MS)
    async with stage.open():
        with stage.wants.hold(wanted):
            await stage.until_live(*wanted)
            stage.exchange.stalled.add(MINUTES)
            stalled_s = trio.current_time()
            for second in range(1, 30):
                stage.exchange.tell(TICKER, NOW_MS + second * 1_000)
                stage.exchange.told[MINUTES] = (NOW_MS + second * 1_000, 0)
                await trio.sleep(1)
                if stage.state(MINUTES) == "silent":
                    break
            assert 10 <= trio.current_time() - stalled_s <= 16
            stage.exchange.stalled.clear()
            await stage.until_live(MINUTES)
            await trio.sleep(0.1)
            (broke,) = stage.of(CandleStreamsBroke)
            assert broke.keys == (MINUTES,)
            assert broke.heard_s == pytest.approx(stalled_s, abs=0.1)
            names = [type(event).__name__ for event in stage.cast]
            at = names.index("CandleStreamsBroke")
            assert names[at + 1 :][:2] == ["CandleStreamsBack", "LiveCandles"]


async def test_quiet_markets_are_asked_for_later_and_later_and_lack_nothing() -> None:
    """Renewing costs a snapshot of every stream; a quiet market is no reason to do it often."""
    stage = FeedStage(FeedActor)
    wanted = {TICKER: 0, TRADES: 0, MINUTES: 0}
    for key in wanted:
        stage.exchange.tell(key, NOW_MS)
    async with stage.open():
        with stage.wants.hold(wanted):
            await stage.until_live(*wanted)
            await trio.sleep(3_600)
            renewed_s = stage.exchange.socket.sets()[1:]
            assert 6 <= len(renewed_s) <= 10
            assert renewed_s[-1] - renewed_s[-2] > 590
            assert {stage.state(key) for key in wanted} == {"live"}
            assert len(stage.exchange.sockets) == 1
    assert len(stage.tables.gaps) == 0
    assert stage.of(CandleStreamsBroke) == []


async def test_what_the_exchange_does_not_know_is_asked_for_ever_more_seldom() -> None:
    """Upbit says nothing about an unknown market; the others must not suffer for it."""
    stage = FeedStage(FeedActor)
    unknown = StreamKey("ticker", "KRW-NOBODY")
    week = StreamKey("candle", BTC, Timeframe.W1)
    stage.exchange.tell(TICKER, NOW_MS)
    async with stage.open():
        with stage.wants.hold({TICKER: 0, unknown: 0, week: 0}):
            await stage.until_live(TICKER)
            for second in range(3_600):
                stage.exchange.tell(TICKER, NOW_MS + second * 1_000)
                await trio.sleep(1)
            assert len(stage.exchange.socket.sets()) <= 15
            assert week not in stage.exchange.socket.wanted
            assert (stage.state(unknown), stage.state(week)) == ("asked", "asked")
            assert stage.state(TICKER) == "live"
            assert (await stage.feed.call(GetHealth())).state == "ok"


async def test_a_cache_that_takes_nothing_is_told_of_the_break_when_it_does_again() -> None:
    """Rows say all there is, so some may be lost; but not without anybody knowing."""
    stage = FeedStage(FeedActor)
    stage.exchange.tell(MINUTES, NOW_MS)
    async with stage.open(cache=False):
        with stage.wants.hold({MINUTES: 0}):
            await stage.until_live(MINUTES)
            for second in range(1, 20):
                stage.exchange.tell(MINUTES, NOW_MS + second * 1_000)
                await trio.sleep(1)
            assert (await stage.feed.call(GetHealth())).state == "degraded"
            await stage.root.start_child(ChildSpec("cache", lambda: Listener(stage.cast)))
            stage.exchange.tell(MINUTES, NOW_MS + 30_000)
            await trio.sleep(0.1)
            assert [type(event) for event in stage.cast] == [CandleStreamsBack, LiveCandles]
            (rows,) = stage.of(LiveCandles)
            assert rows.rows == ((MINUTES, value_of(MINUTES, NOW_MS + 30_000)),)
            assert (await stage.feed.call(GetHealth())).state == "ok"


async def test_a_snapshot_that_is_dated_anew_but_says_the_same_is_no_news() -> None:
    """Else each renewal of a quiet book would be told as a gap."""
    stage = FeedStage(FeedActor)
    stage.exchange.tell(BOOK, NOW_MS)
    async with stage.open():
        with stage.wants.hold({BOOK: 15}):
            await stage.until_live(BOOK)
            # Its price comes round.
            stage.exchange.told[BOOK] = (NOW_MS + 9_973, 0)
            await trio.sleep(100)
            assert len(stage.exchange.socket.sets()) == 2
            assert stage.state(BOOK) == "live"
    assert len(stage.tables.gaps) == 0
