"""`CacheLink`: the cache hears broke, back and rows in that order, also after it heard nothing."""

from __future__ import annotations

from collections import Counter

from actors.exchanges.streams import LiveRow, StreamKey
from actors.feed_cache import LOST_S, CacheLink
from actors.feed_watch import Stream
from actors.messages import CandleStreamsBack, CandleStreamsBroke, LiveCandles
from actors.timeframes import Timeframe
from runtime.core.errors import MailboxFull
from runtime.core.message import Event
from runtime.core.ref import ActorRef
from runtime.core.registry import Registry

MINUTES = StreamKey("candle", "KRW-BTC", Timeframe.M1)
ROW = LiveRow(0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1)


class Cache(ActorRef):
    """A cache whose mailbox can be full."""

    __slots__ = ("heard", "is_full")

    def __init__(self) -> None:
        super().__init__(Registry(), "cache")
        self.heard: list[Event] = []
        self.is_full = False

    def cast(self, event: Event) -> None:
        """Take it, or not."""
        if self.is_full:
            raise MailboxFull("full")
        self.heard.append(event)

    def kinds(self) -> list[type[Event]]:
        """Return the kinds of what was heard, and forget it."""
        kinds = [type(event) for event in self.heard]
        self.heard.clear()
        return kinds


def test_rows_refused_for_a_moment_are_no_break() -> None:
    """They are cumulative: the next row says all that they said."""
    cache, counts = Cache(), Counter[str]()
    link, stream = CacheLink(cache, counts), Stream(MINUTES, "KRW-BTC", 0, 0.0)
    link.rows([(stream, MINUTES, ROW)], 0.0)
    assert cache.kinds() == [CandleStreamsBack, LiveCandles]
    cache.is_full = True
    link.rows([(stream, MINUTES, ROW)], 1.0)
    cache.is_full = False
    link.rows([(stream, MINUTES, ROW)], 2.0)
    assert cache.kinds() == [LiveCandles]
    assert counts["refused_rows"] == 1


def test_rows_refused_for_long_are_a_break_that_is_told_as_soon_as_it_can_be() -> None:
    """Else the cache would hold candles for whole that lack a minute."""
    cache, counts = Cache(), Counter[str]()
    link, stream = CacheLink(cache, counts), Stream(MINUTES, "KRW-BTC", 0, 0.0)
    link.rows([(stream, MINUTES, ROW)], 0.0)
    cache.kinds()
    cache.is_full = True
    for second in range(1, 10):
        link.rows([(stream, MINUTES, ROW)], float(second))
    assert link.is_lost(9.0)
    assert 1.0 + LOST_S < 9.0
    cache.is_full = False
    link.settle(10.0)
    (broke,) = cache.heard
    assert isinstance(broke, CandleStreamsBroke)
    assert (broke.keys, broke.heard_s) == ((MINUTES,), 1.0)
    cache.kinds()
    link.rows([(stream, MINUTES, ROW)], 11.0)
    assert cache.kinds() == [CandleStreamsBack, LiveCandles]
    assert not link.is_lost(11.0)


def test_a_break_that_could_not_be_told_is_told_once_from_where_the_first_began() -> None:
    """A cache that restarts while the line comes and goes gets one break, the longest."""
    cache, counts = Cache(), Counter[str]()
    link, stream = CacheLink(cache, counts), Stream(MINUTES, "KRW-BTC", 0, 0.0)
    cache.is_full = True
    link.broke([MINUTES], 3.0, "cut", 4.0)
    link.broke([MINUTES], 7.0, "cut again", 8.0)
    cache.is_full = False
    link.rows([(stream, MINUTES, ROW)], 9.0)
    broke = cache.heard[0]
    assert isinstance(broke, CandleStreamsBroke)
    assert (broke.heard_s, broke.reason) == (3.0, "cut again")
    assert cache.kinds() == [CandleStreamsBroke, CandleStreamsBack, LiveCandles]
