"""`Known`, case by case: what one page proves, and what memory makes of it."""

from __future__ import annotations

import pytest

from actors.candles import Candles
from actors.coverage import BEGINNING_MS, Coverage, Span
from actors.exchanges.base import CandlePage
from actors.known import Known, from_store, learn
from actors.lessons import Lesson, read_page
from actors.queries import CandleQuery
from actors.series import Series
from runtime.testing import NEW_YEAR_MS

SETTLE_MS = 5_000
MINUTE_MS = 60_000
MINUTES = Series.parse("KRW-BTC", "1m")


def page_of(
    *minutes: int, to: int | None = None, now_ms: int, full: bool = True, price: float = 1.0
) -> CandlePage:
    """Return a page of minutes, counted from the new year."""
    rows = [(NEW_YEAR_MS + m * MINUTE_MS, *[price] * 6, False) for m in minutes]
    to_ms = None if to is None else NEW_YEAR_MS + to * MINUTE_MS
    return CandlePage(Candles.from_rows(MINUTES, rows), to_ms, full, NEW_YEAR_MS + now_ms)


def lesson_of(
    page: CandlePage, older: Coverage | None = None, known: Known | None = None
) -> Lesson:
    """Return what a page of minutes proves."""
    return read_page(page, settle_ms=SETTLE_MS, oldest_ms=0, older=older or Coverage(), known=known)


def minutes(start: int, end: int) -> Span:
    """Return a span of minutes, counted from the new year."""
    return Span(NEW_YEAR_MS + start * MINUTE_MS, NEW_YEAR_MS + end * MINUTE_MS)


def known_of(*pages: CandlePage, rows_max: int = 200) -> Known:
    """Return what memory holds after `pages`, asked for at 1 s, 2 s and so on."""
    known: Known | None = None
    for asked_s, page in enumerate(pages, start=1):
        lesson = lesson_of(page, Coverage.of([known.span] if known else []), known)
        known = learn(known, page, lesson, asked_s=asked_s, rows_max=rows_max)
    assert known is not None
    return known


def test_the_row_in_progress_is_never_closed() -> None:
    """Its last trades may come in the last millisecond."""
    lesson = lesson_of(page_of(0, 1, 2, now_ms=2 * MINUTE_MS + 59_999))

    assert lesson.proven == minutes(0, 2)
    assert lesson.open.open_time_ms.tolist() == [minutes(2, 3).start_ms]


@pytest.mark.parametrize(("after_ms", "end"), [(4_999, 2), (5_000, 3)])
def test_the_last_row_is_closed_once_it_has_settled(after_ms: int, end: int) -> None:
    """Nothing follows it, so only time can prove it: five seconds, not one less."""
    lesson = lesson_of(page_of(0, 1, 2, now_ms=3 * MINUTE_MS + after_ms))

    assert lesson.proven == minutes(0, end)


def test_a_minute_without_a_row_is_not_proven_empty_before_it_has_settled() -> None:
    """Rows appear late; a successor says nothing about a row that is not there."""
    lesson = lesson_of(page_of(0, 2, now_ms=2 * MINUTE_MS + 1_000))

    assert lesson.proven == minutes(0, 1)


def test_a_short_page_proves_that_there_is_nothing_older() -> None:
    """Otherwise a market's first candle would be asked for again and again."""
    lesson = lesson_of(page_of(5, 6, now_ms=8 * MINUTE_MS, full=False))

    assert lesson.proven == Span(BEGINNING_MS, minutes(7, 7).start_ms)


def test_an_empty_page_proves_all_before_its_end() -> None:
    """A market that was never traded in has a history, too: an empty one."""
    lesson = lesson_of(page_of(to=5, now_ms=8 * MINUTE_MS, full=False))

    assert lesson.proven == Span(BEGINNING_MS, minutes(5, 5).start_ms)


def test_a_short_page_does_not_wipe_out_what_is_known() -> None:
    """An exchange that is just coming back may show a handful of rows."""
    older = Coverage.of([Span(BEGINNING_MS, minutes(5, 5).start_ms)])
    page = page_of(7, 8, now_ms=10 * MINUTE_MS, full=False)

    lesson = lesson_of(page, older)

    assert lesson.proven.start_ms == minutes(5, 5).start_ms


def test_a_short_page_is_not_believed_against_rows_in_memory() -> None:
    """They are older than its first row, and it says that nothing is."""
    known = known_of(page_of(1, 2, 3, now_ms=6 * MINUTE_MS, full=False))
    page = page_of(8, now_ms=10 * MINUTE_MS, full=False)

    lesson = lesson_of(page, Coverage.of([known.span]), known)

    assert lesson.proven.start_ms == minutes(8, 8).start_ms


def test_a_short_page_is_not_believed_against_proven_spans() -> None:
    """The store holds something older; to believe the page would be to delete it."""
    older = Coverage.of([minutes(1, 3)])

    lesson = lesson_of(page_of(7, 8, now_ms=10 * MINUTE_MS, full=False), older)

    assert lesson.proven.start_ms == minutes(7, 7).start_ms


def test_a_newer_page_beyond_a_hole_replaces_what_memory_holds() -> None:
    """Memory has the newest rows without a hole; what is before the hole is in the store."""
    known = known_of(page_of(1, 2, 3, now_ms=4 * MINUTE_MS), page_of(11, 12, now_ms=13 * MINUTE_MS))

    assert known.candles.open_time_ms.tolist() == [minutes(m, m).start_ms for m in (11, 12)]
    assert known.from_ms == minutes(11, 11).start_ms


def test_an_older_page_does_not_make_the_newest_rows_fresh() -> None:
    """When the newest page was asked for is what freshness counts from."""
    known = known_of(page_of(4, 5, now_ms=6 * MINUTE_MS), page_of(2, 3, to=4, now_ms=6 * MINUTE_MS))

    assert known.asked_s == 1
    assert known.candles.open_time_ms.tolist() == [minutes(m, m).start_ms for m in (2, 3, 4, 5)]


def test_answers_to_the_same_question_are_one_object() -> None:
    """The usual question costs a dictionary read."""
    known = known_of(page_of(1, 2, 3, now_ms=4 * MINUTE_MS))

    assert known.newest(2, closed=False) is known.newest(2, closed=False)
    assert known.newest(2, closed=True) is not known.newest(2, closed=False)


def test_answers_kept_are_bounded() -> None:
    """Somebody may ask for every count there is."""
    known = known_of(page_of(*range(100), now_ms=100 * MINUTE_MS))

    assert all(known.newest(count, closed=False) is not None for count in range(1, 100))
    assert len(known._answers) <= 8


def test_trimmed_memory_keeps_nothing_of_the_rows_it_left() -> None:
    """A view would hold on to the whole of the old columns."""
    known = known_of(page_of(*range(100), now_ms=100 * MINUTE_MS), rows_max=3)

    assert known.closed_rows == 3
    assert known.candles.open_time_ms.base is None


def test_what_comes_from_the_store_is_not_fresh() -> None:
    """Nobody has asked the exchange yet."""
    rows = Candles.from_rows(MINUTES, [(minutes(3, 3).start_ms, *[1.0] * 6, True)])
    known = from_store(rows, minutes(3, 5), rows_max=200)
    query = CandleQuery(MINUTES, 1, None, None, False, 1e9, False)

    assert known.answer(query, now_s=0.0, now_ms=minutes(5, 5).start_ms) is None


def test_who_names_an_end_is_not_answered_from_before_it() -> None:
    """At 12:01:00.3 the minute 12:00 has ended; a page of 12:00:59.9 cannot tell of it."""
    known = known_of(page_of(0, 1, now_ms=2 * MINUTE_MS - 100))
    query = CandleQuery(MINUTES, 1, None, minutes(2, 2).start_ms, True, 1.0, False)
    now_ms = minutes(2, 2).start_ms + 300

    assert known.answer(query, now_s=1.4, now_ms=now_ms) is None


def test_a_start_in_the_future_is_not_for_memory_to_answer() -> None:
    """An empty answer would look like a quiet market; the loader says what is wrong."""
    known = known_of(page_of(0, 1, now_ms=2 * MINUTE_MS))
    query = CandleQuery(MINUTES, None, minutes(9, 9).start_ms, None, False, 1.0, False)

    assert known.answer(query, now_s=1.0, now_ms=minutes(2, 2).start_ms) is None


def test_what_is_missing_before_the_oldest_row_asked_for_was_not_asked_for() -> None:
    """Who wants the newest candle has it, whatever may yet appear before it."""
    known = known_of(page_of(0, 2, now_ms=2 * MINUTE_MS + 1_000))
    newest, two = known.newest(1, closed=False), known.newest(2, closed=False)

    assert newest is not None
    assert newest.complete
    assert two is not None
    assert [gap[:2] for gap in two.missing] == [(minutes(1, 2).start_ms, minutes(1, 2).end_ms)]


def test_a_clock_that_is_set_back_takes_its_future_out_of_memory() -> None:
    """A rehearsal that begins anew must not be told how the last one went on."""
    known = known_of(
        page_of(1, 2, 3, 4, now_ms=5 * MINUTE_MS), page_of(0, 1, 2, now_ms=2 * MINUTE_MS + 1_000)
    )
    newest = known.newest(2, closed=False)
    assert newest is not None
    assert newest.open_time_ms.tolist() == [NEW_YEAR_MS + m * MINUTE_MS for m in (1, 2)]


def test_memory_does_not_answer_about_the_exchange_s_future() -> None:
    """Though it has it: whether the clock was set back is for the exchange to say."""
    known = known_of(page_of(1, 2, 3, 4, now_ms=5 * MINUTE_MS))
    end_ms = NEW_YEAR_MS + 4 * MINUTE_MS
    ask = CandleQuery(MINUTES, 1, None, end_ms, closed=True, max_age_s=1.0, allow_stale=False)
    assert known.answer(ask, now_s=1.0, now_ms=end_ms) is not None
    assert known.answer(ask, now_s=1.0, now_ms=end_ms - 2 * MINUTE_MS) is None
