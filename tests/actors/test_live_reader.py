"""`LiveReader`: streams what is asked for often, reads it, and lets it go."""

from __future__ import annotations

from typing import Any

import pytest

from actors.channels import HEARD_S_MAX, KEEP_CANDLES_S, KEEP_S, Choice
from actors.exchanges.streams import StreamKey
from actors.exchanges.upbit.limits import STREAM_RULES
from actors.feed_tables import LINE, FeedTables, LineState, LiveQuote, StreamState
from actors.live_reader import LiveReader
from actors.series import Series
from actors.timeframes import Timeframe
from actors.wants import Wants

TICKER = StreamKey("ticker", "KRW-BTC")
BOOK = StreamKey("orderbook", "KRW-BTC")


class Stage:
    """A reader, and tables that a test writes in the FeedActor's place."""

    def __init__(self, *, auto: bool = True) -> None:
        self.time_s = 100.0
        self.spare = 1.0
        tables = FeedTables("upbit")
        self._writers = (
            tables.line.claim("test"),
            tables.streams.claim("test"),
            tables.quotes.claim("test"),
        )
        self.wants = Wants()
        self.reader = LiveReader(
            tables, self.wants, STREAM_RULES, self, spare=lambda _: self.spare, auto=auto
        )

    def now_s(self) -> float:
        """Return the time."""
        return self.time_s

    def utc_ms(self) -> int:
        """Return the time as wall time."""
        return int(self.time_s * 1_000)

    def ask(self, key: StreamKey = TICKER, **wish: Any) -> Choice:
        """Ask, and make the request if that is what it takes."""
        options = {"max_age_s": None, "usual_age_s": 0.5, "memory_age_s": None, **wish}
        choice, told = self.reader.quote(key, **options)
        if choice.channel == "request":
            self.reader.requested(key, amount=wish.get("amount", 1), most_s=0.5)
        assert (told is not None) == (choice.channel == "stream")
        return choice

    def wanted(self) -> dict[StreamKey, int]:
        """Return what is to be streamed now."""
        return self.wants.current(self.time_s)

    def go_live(self, key: StreamKey = TICKER, *, depth: int = 0, up_s: float = 0.0) -> None:
        """Let a stream tell something now."""
        line, streams, quotes = self._writers
        value: Any = None
        line.put(LINE, LineState("live", up_s, self.time_s))
        streams.put(key, StreamState("live", self.time_s, depth))
        quotes.put(key, LiveQuote(value, self.time_s, depth))

    def break_line(self) -> None:
        """Let the connection end."""
        self._writers[0].put(LINE, LineState("away", self.time_s, self.time_s, 1, "cut"))


@pytest.fixture
def stage() -> Stage:
    """A reader of streams that nobody wants yet."""
    return Stage()


def test_what_is_asked_for_twice_in_a_short_time_is_streamed(stage: Stage) -> None:
    """And let go some time after the last question."""
    assert stage.ask().channel == "request"
    assert stage.wanted() == {}
    stage.time_s += 10
    assert stage.ask().channel == "request"
    assert stage.wanted() == {TICKER: 0}
    stage.time_s += KEEP_S + 1
    assert stage.wanted() == {}


def test_what_is_asked_for_now_and_then_is_not(stage: Stage) -> None:
    """A request a minute costs less than a stream."""
    for _ in range(10):
        stage.time_s += 60
        assert stage.ask().channel == "request"
    assert stage.wanted() == {}


def test_where_slots_are_scarce_it_is_streamed_sooner(stage: Stage) -> None:
    """A request a minute is dear then."""
    stage.spare = 0.2
    for _ in range(2):
        stage.time_s += 60
        stage.ask()
    assert stage.wanted() == {TICKER: 0}


def test_nothing_is_streamed_by_itself_if_that_is_switched_off() -> None:
    """What bots hold is read all the same."""
    stage = Stage(auto=False)
    for _ in range(10):
        stage.time_s += 1
        stage.ask()
    assert stage.wanted() == {}
    stage.go_live()
    assert stage.ask().channel == "stream"


def test_being_read_keeps_a_stream(stage: Stage) -> None:
    """Whether it needs requests or not."""
    stage.ask()
    stage.time_s += 1
    stage.ask()
    for _ in range(int(3 * KEEP_S / 5)):
        stage.time_s += 5
        stage.go_live()
        assert stage.ask().channel == "stream"
    assert stage.wanted() == {TICKER: 0}


def test_a_break_is_seen_at_once_and_forgotten_in_time(stage: Stage) -> None:
    """Requests in between; the stream again when it has been whole for a while."""
    stage.go_live()
    assert stage.ask().channel == "stream"
    stage.break_line()
    assert stage.ask().channel == "request"
    stage.time_s += 1
    stage.go_live(up_s=stage.time_s)
    choice = stage.ask()
    assert choice.channel == "request"
    assert "not for long enough" in choice.reason
    stage.time_s += 3
    assert stage.ask().channel == "stream"


def test_a_deeper_book_than_is_streamed_is_requested_and_then_streamed(stage: Stage) -> None:
    """A lease takes the deepest that was asked for."""
    for depth in (5, 5, 15, 15):
        stage.time_s += 1
        stage.go_live(BOOK, depth=5)
        wanted = "stream" if depth == 5 else "request"
        assert stage.ask(BOOK, amount=depth).channel == wanted
    assert stage.wanted()[BOOK] == 15


def test_a_stream_that_tells_too_seldom_for_who_asks_is_let_go(stage: Stage) -> None:
    """It costs, and requests are made all the same."""
    stage.go_live()
    for _ in range(60):
        stage.time_s += 5
        stage.go_live(BOOK)
        stage.ask(max_age_s=1.0)
    stage.time_s += KEEP_S
    stage.ask(max_age_s=1.0)
    assert TICKER not in stage.wanted()


def test_a_line_that_was_not_heard_for_long_keeps_no_candles_fresh(stage: Stage) -> None:
    """It may be half open: nothing comes, and nobody says so."""
    minutes = Series.parse("KRW-BTC", "1m")
    stage.go_live(StreamKey("candle", "KRW-BTC", Timeframe.M1))
    stage.time_s += HEARD_S_MAX
    assert stage.reader.heard_s(minutes) == 100.0
    assert stage.reader.keeps(minutes, now_s=stage.time_s)

    stage.time_s += 0.1
    assert stage.reader.heard_s(minutes) is None
    assert not stage.reader.keeps(minutes, now_s=stage.time_s)


def test_candles_of_a_market_are_wanted_as_long_as_any_timeframe_is_asked_for(
    stage: Stage,
) -> None:
    """All of them hang on the same streams, which cost a page for each timeframe to take up."""
    for name in ("1m", "5m", "1h", "1d") * 3:
        stage.reader.want(Series.parse("KRW-BTC", name), now_s=stage.time_s)
        stage.time_s += 30.0

    assert {key.timeframe for key in stage.wanted() if key.kind == "candle"} == {
        Timeframe.M1,
        Timeframe.M5,
        Timeframe.H1,
        Timeframe.H4,
    }
    assert TICKER in stage.wanted()
    stage.time_s += KEEP_CANDLES_S
    assert stage.wanted() == {}
