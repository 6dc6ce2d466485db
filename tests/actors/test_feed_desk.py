"""`FeedDesk`: whatever frames come in whatever order, what is published is right."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.streams import LiveRow, StreamKey, Update
from actors.feed_desk import DeskParts, FeedDesk, day_row
from actors.feed_tables import TRADES_KEPT, FeedPolicy, FeedTables, LiveQuote
from actors.feed_testing import NEW_YEAR_MS, RULES, ScriptedStream, value_of
from actors.feed_watch import Stream, StreamWatch
from actors.quotes import OrderBook, Ticker, Trade
from actors.timeframes import Timeframe
from actors.updates import OrderBookUpdate, TickerUpdate, TradeUpdate

BTC = "KRW-BTC"
TICKER = StreamKey("ticker", BTC)
TRADES = StreamKey("trade", BTC)
BOOK = StreamKey("orderbook", BTC)
MINUTES = StreamKey("candle", BTC, Timeframe.M1)
ETH_TICKER = StreamKey("ticker", "KRW-ETH")
NOW_MS = NEW_YEAR_MS + 10_000_000


class Desk:
    """A desk of five streams, all wanted."""

    def __init__(self, tables: FeedTables | None = None) -> None:
        self.tables = tables or FeedTables("upbit")
        self.language = ScriptedStream()
        self.rows: list[tuple[StreamKey, LiveRow]] = []
        self.counts: Counter[str] = Counter()
        self.watch = StreamWatch("upbit", RULES, FeedPolicy(), self.tables.streams.claim("feed"))
        self.watch.want({TICKER: 0, TRADES: 0, BOOK: 15, MINUTES: 0, ETH_TICKER: 0}, 0.0)
        self.desk = FeedDesk(
            DeskParts(
                stream=self.language,
                tables=self.tables,
                quotes=self.tables.quotes.claim("feed"),
                watch=self.watch,
                confirmed=self._confirmed,
                refused=print,
                rows=self._took,
                counts=self.counts,
            )
        )
        self.desk.inherit()
        self.desk.rewant()

    def _confirmed(self, stream: Stream, update: Update, now_s: float) -> None:
        del update
        self.watch.spoke(stream, now_s)

    def _took(self, rows: list[tuple[Stream, StreamKey, LiveRow]], now_s: float) -> None:
        del now_s
        self.rows += [(key, row) for _, key, row in rows]

    def tell(self, *updates: tuple[StreamKey, int, int], now_s: float = 1.0) -> None:
        """Have updates arrive in one batch: which stream, when made, and the number of a trade."""
        frames = [
            self.language.frame(
                Update(key, value_of(key, made_ms, number), made_ms, snapshot=False)
            )
            for key, made_ms, number in updates
        ]
        self.desk.take(frames, now_s)

    def time_ms(self, key: StreamKey) -> int:
        """Return the time of what is published."""
        quote = self.tables.quotes.get(key)
        assert isinstance(quote, LiveQuote)
        assert isinstance(quote.value, Ticker | OrderBook)
        return quote.value.time_ms


UPDATES = st.tuples(
    st.sampled_from([TICKER, TRADES, BOOK, MINUTES, StreamKey("ticker", "KRW-NOBODY")]),
    st.integers(NOW_MS, NOW_MS + 50_000),
    st.integers(1, 12),
)


@given(st.lists(st.lists(UPDATES, max_size=8), max_size=8))
def test_times_never_go_back_and_every_trade_is_told_once_whatever_comes(
    batches: list[list[tuple[StreamKey, int, int]]],
) -> None:
    """Frames get lost, doubled and late; a bot must see none of that."""
    desk = Desk()
    topics = [("ticker", BTC, ""), ("orderbook", BTC, ""), ("trades", BTC, "")]
    with desk.tables.events.subscribe(*topics, capacity=1_000) as told:
        for number, batch in enumerate(batches):
            desk.tell(*batch, now_s=float(number))
        events = list(iter(told.take, None))
    tickers = [event.ticker.time_ms for event in events if isinstance(event, TickerUpdate)]
    books = [event.book.time_ms for event in events if isinstance(event, OrderBookUpdate)]
    ids = [event.trade.trade_id for event in events if isinstance(event, TradeUpdate)]
    flat = [update for batch in batches for update in batch]
    assert tickers == sorted(tickers)
    assert books == sorted(books)
    assert len(ids) == len(set(ids))
    assert set(ids) == {number for key, _, number in flat if key == TRADES}
    for key in (TICKER, BOOK):
        made_ms = [ms for its, ms, _ in flat if its == key]
        assert not made_ms or desk.time_ms(key) == max(made_ms)
    tape = desk.tables.quotes.get(TRADES)
    if ids:
        assert tape is not None
        assert isinstance(tape.value, tuple)
        assert {trade.trade_id for trade in tape.value} == set(ids)
        times_ms = [trade.time_ms for trade in tape.value]
        assert times_ms == sorted(times_ms, reverse=True)
    assert [key for key, _ in desk.rows if key == MINUTES] == [
        key for key, _, _ in flat if key == MINUTES
    ]


def test_the_table_is_written_before_anything_is_told() -> None:
    """Who is told of a ticker and asks for it finds that one."""
    desk = Desk()
    seen: list[int] = []
    events = desk.tables.events
    publish = events.publish

    def look(topic: tuple[str, str, str], event: object) -> int:
        seen.append(desk.time_ms(TICKER))
        return publish(topic, event)

    events.publish = look  # type: ignore[method-assign, assignment]
    with events.subscribe(("ticker", BTC, "")):
        desk.tell((TICKER, NOW_MS, 0), (TICKER, NOW_MS + 1, 0))
    assert seen == [NOW_MS + 1, NOW_MS + 1]


def test_a_time_that_cannot_be_right_does_not_block_the_stream_for_ever() -> None:
    """One ticker of the year 2100 would otherwise be the last for decades."""
    desk = Desk()
    desk.tell((TICKER, NOW_MS, 0), (ETH_TICKER, NOW_MS, 0))
    absurd_ms = NOW_MS + 10**12
    desk.tell((TICKER, absurd_ms, 0), now_s=2.0)
    for second in range(3, 6):
        made_ms = NOW_MS + 1_000 * second
        desk.tell((TICKER, made_ms, 0), (ETH_TICKER, made_ms, 0), now_s=second)
    assert desk.time_ms(TICKER) == NOW_MS + 5_000
    assert abs((desk.desk.exchange_ms(5.0) or 0) - (NOW_MS + 5_000)) <= 1_000


def test_an_exchange_that_sets_its_clock_back_is_followed() -> None:
    """All streams go back together; none may be held up by what the others told before."""
    desk = Desk()
    both = (TICKER, ETH_TICKER)
    desk.tell(*((key, NOW_MS, 0) for key in both))
    for second in range(2, 6):
        desk.tell(*((key, NOW_MS - 3_600_000 + second, 0) for key in both), now_s=second)
    assert {desk.time_ms(key) for key in both} == {NOW_MS - 3_600_000 + 5}


def test_frames_that_are_late_by_a_little_are_never_believed() -> None:
    """Reordered frames are old, however many there are."""
    desk = Desk()
    desk.tell((TICKER, NOW_MS, 0), (ETH_TICKER, NOW_MS, 0))
    for second in range(2, 30):
        desk.tell((TICKER, NOW_MS - 50_000 + second, 0), now_s=second)
    assert desk.time_ms(TICKER) == NOW_MS
    # Late by more, while another stream says that the newest time is right.
    for second in range(30, 60):
        desk.tell((ETH_TICKER, NOW_MS + second, 0), (TICKER, NOW_MS - 90_000, 0), now_s=second)
    assert desk.time_ms(TICKER) == NOW_MS


def test_the_tape_is_bounded_and_so_is_the_memory_of_trades() -> None:
    """A busy market trades a million times a day."""
    desk = Desk()
    for number in range(3 * TRADES_KEPT):
        desk.tell((TRADES, NOW_MS + number, number + 1))
    quote = desk.tables.quotes.get(TRADES)
    assert quote is not None
    assert isinstance(quote.value, tuple)
    assert [trade.trade_id for trade in quote.value] == list(
        range(3 * TRADES_KEPT, 2 * TRADES_KEPT, -1)
    )
    assert len(desk.desk._tapes[TRADES].seen) <= 2 * TRADES_KEPT


def test_an_heir_tells_no_trade_twice_and_no_older_ticker() -> None:
    """The tables outlive the feed; what they say was told."""
    first = Desk()
    first.tell((TRADES, NOW_MS, 1), (TRADES, NOW_MS + 1, 2), (TICKER, NOW_MS, 0))
    heir = Desk(first.tables)
    assert len(heir.tables.quotes) == 0
    with heir.tables.events.subscribe(("trades", BTC, "")) as told:
        heir.tell((TRADES, NOW_MS + 1, 2), (TRADES, NOW_MS + 2, 3), (TICKER, NOW_MS - 1, 0))
        assert [event.trade.trade_id for event in iter(told.take, None)] == [3]
    assert heir.tables.quotes.get(TICKER) is None


def test_a_ticker_is_the_candle_of_its_day_once_somebody_has_traded_on_it() -> None:
    """Just after midnight it may still tell of yesterday, and nobody can see which."""
    ticker = value_of(TICKER, NOW_MS)
    assert isinstance(ticker, Ticker)
    row = day_row(ticker)
    assert row is not None
    assert row == LiveRow(NEW_YEAR_MS, 100.0, 110.0, 90.0, ticker.price, 1.0, 100.0, NOW_MS)
    desk = Desk()
    desk.tell((TICKER, NOW_MS, 0))
    assert desk.rows == [(StreamKey("candle", BTC, Timeframe.D1), row)]
    # Of a market whose candles nobody wants, the cache is not told.
    desk.tell((ETH_TICKER, NOW_MS, 0))
    assert len(desk.rows) == 1
    assert isinstance(value_of(TRADES, NOW_MS), Trade)
