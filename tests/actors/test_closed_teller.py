"""`ClosedTeller`: every closed candle is told once, in order, and none is left out."""

from __future__ import annotations

from typing import Any

import pytest

from actors.candles import Candles
from actors.closed_teller import ClosedTeller
from actors.coverage import Span
from actors.errors import ExchangeUnavailable
from actors.holes import InnerReply
from actors.known import Known, from_store
from actors.queries import CANDLES_MAX, CandleQuery
from actors.series import Series
from actors.updates import CandleUpdate
from runtime.core.pubsub import PubSub, Subscription

MINUTE_MS = 60_000
START_MS = 1_767_225_600_000
SERIES = Series.parse("KRW-BTC", "1m")
TOPIC = ("closed", "KRW-BTC", "1m")


def minutes(first: int, last: int) -> Candles:
    """Return closed candles of the minutes [first, last)."""
    rows = [(START_MS + n * MINUTE_MS, 1, 1, 1, 1, 1, 1, True) for n in range(first, last)]
    return Candles.from_rows(SERIES, rows)


class Stage:
    """A teller, what memory holds, and what was asked for."""

    def __init__(self) -> None:
        self.events = PubSub()
        self.asked: list[tuple[CandleQuery, InnerReply]] = []
        self.known: Known | None = None
        self.teller = ClosedTeller(
            self.events, look=lambda _: self.known, ask=lambda *asked: self.asked.append(asked)
        )

    def put(self, first: int, last: int, *, rows_max: int = 200) -> None:
        """Let memory hold the minutes [first, last)."""
        span = Span(START_MS + first * MINUTE_MS, START_MS + last * MINUTE_MS)
        before, self.known = (
            self.known,
            from_store(minutes(first, last), span, rows_max=rows_max),
        )
        self.teller.closed(before, self.known)


def told(subscription: Subscription) -> list[int]:
    """Return the minutes that were told and not looked at yet."""
    found: list[Any] = []
    while (update := subscription.take()) is not None:
        assert isinstance(update, CandleUpdate)
        assert update.closed
        found.append((update.open_time_ms - START_MS) // MINUTE_MS)
    return found


@pytest.fixture
def stage() -> Stage:
    """Memory has the minutes 0 to 9, and nothing of them is news."""
    made = Stage()
    made.put(0, 10)
    return made


def test_what_becomes_final_is_told_once_and_in_order(stage: Stage) -> None:
    """What was final when somebody came is history, which is asked for and not told."""
    with stage.events.subscribe(TOPIC) as updates:
        stage.put(0, 12)
        stage.put(0, 12)
        stage.put(0, 13)
        assert told(updates) == [10, 11, 12]
    assert not stage.asked


def test_whoever_wants_every_change_is_told_of_the_last_one_too(stage: Stage) -> None:
    """That a candle is final is a change of it."""
    with stage.events.subscribe(("candles", "KRW-BTC", "1m")) as updates:
        stage.put(0, 11)
        assert told(updates) == [10]


def test_what_lies_before_a_hole_is_read_before_anything_later_is_told(stage: Stage) -> None:
    """After a long break memory begins anew behind it."""
    with stage.events.subscribe(TOPIC) as updates:
        stage.put(40, 60)
        stage.put(40, 61)
        assert told(updates) == []
        [(query, reply)] = stage.asked
        assert (query.start_ms, query.end_ms) == (
            START_MS + 10 * MINUTE_MS,
            START_MS + 60 * MINUTE_MS,
        )
        reply.send(minutes(10, 60))
        assert told(updates) == list(range(10, 61))


def test_a_memory_too_small_for_all_that_became_final_leaves_nothing_out(stage: Stage) -> None:
    """What did not fit is read."""
    with stage.events.subscribe(TOPIC) as updates:
        stage.put(0, 20, rows_max=3)
        assert told(updates) == []
        [(_, reply)] = stage.asked
        reply.send(minutes(10, 20))
        assert told(updates) == list(range(10, 20))


def test_what_could_not_be_read_is_asked_for_again_with_the_next_candle(stage: Stage) -> None:
    """An exchange that is away is a state, and nothing is skipped because of it."""
    with stage.events.subscribe(TOPIC) as updates:
        stage.put(40, 60)
        stage.asked.pop()[1].fail(ExchangeUnavailable("upbit: away"))
        assert told(updates) == []
        stage.put(40, 61)
        stage.asked.pop()[1].send(minutes(10, 61))
        assert told(updates) == list(range(10, 61))


def test_nobody_is_read_for_where_nobody_listens(stage: Stage) -> None:
    """A hole costs requests only if somebody waits for what is in it."""
    stage.put(40, 60)
    with stage.events.subscribe(TOPIC) as updates:
        stage.put(40, 61)
        assert told(updates) == [60]
    assert not stage.asked


def test_more_than_can_be_asked_for_at_once_is_not_told_late(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Months of minutes after a break of months are asked for by who wants them; it is logged."""
    with stage.events.subscribe(TOPIC) as updates:
        stage.put(CANDLES_MAX + 20, CANDLES_MAX + 30)
        stage.put(CANDLES_MAX + 20, CANDLES_MAX + 31)
        assert told(updates) == [CANDLES_MAX + 30]
    assert not stage.asked
    assert "too many to be told late" in caplog.text
