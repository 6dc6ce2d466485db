"""`Habits`: what is asked for again and again is expected, and what is not any more is not."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from actors.preloading.habit_hours import QUIET, UNKNOWN, hour_of, what_hour
from actors.preloading.habit_values import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    PAGE_MS,
    WEEK_MS,
    Prediction,
    SeriesKey,
)
from actors.preloading.habits import SERIES_MAX, STEP_MAX, Habits
from runtime.testing_workload_replay import START_MS

BTC, ETH, XRP, SOL = (f"upbit:KRW-{code}" for code in ("BTC", "ETH", "XRP", "SOL"))
HOURLY: SeriesKey = (BTC, "1h")
# So long before the first request expected a page is there, where it keeps for a second.
GUARD_MS = 300


def wake(habits: Habits, until_ms: int) -> list[Prediction]:
    """Let time pass as whoever acts on predictions does; return what was told meanwhile."""
    told: list[Prediction] = []
    while (wake_ms := habits.wake_ms) is not None and wake_ms <= until_ms:
        told += step(habits.expire(wake_ms))
    return told


def step(told: tuple[Prediction, ...]) -> tuple[Prediction, ...]:
    """Return what one step told, after a look at its bound and order."""
    assert len(told) <= STEP_MAX
    assert [each.probability for each in told] == sorted(
        (each.probability for each in told), reverse=True
    )
    return told


def ask(
    habits: Habits,
    at_ms: int,
    key: SeriesKey = HOURLY,
    *,
    closed: bool = False,
    max_age_s: float = 1.0,
) -> tuple[Prediction, ...]:
    """Let time pass, and ask once."""
    wake(habits, at_ms)
    return step(habits.note(key, at_ms, depth=20, closed=closed, max_age_s=max_age_s))


def ask_all(
    habits: Habits, times_ms: Iterable[int], key: SeriesKey = HOURLY, *, closed: bool = False
) -> tuple[Prediction, ...]:
    """Ask many times; return what the last led to."""
    told: tuple[Prediction, ...] = ()
    for at_ms in times_ms:
        told = ask(habits, at_ms, key, closed=closed)
    return told


# ------------------------------------------------------------------ what is learnt


def test_a_timer_is_expected_from_its_third_request_and_believed_from_its_fourth() -> None:
    """Three in a row are no accident; the fourth proves it."""
    habits, start_ms = Habits(), START_MS + 17_000
    times_ms = [start_ms + beat * 60_350 for beat in range(4)]

    (third,) = ask_all(habits, times_ms[:3])
    (fourth,) = ask_all(habits, times_ms[3:])

    assert third.due_ms == times_ms[3] - GUARD_MS
    assert third.probability == pytest.approx(0.5)
    assert fourth.due_ms == times_ms[3] + 60_350 - GUARD_MS
    assert fourth.until_ms == fourth.due_ms - PAGE_MS + 1_000
    assert fourth.probability > 0.7
    assert fourth.why == "every 60.4 s since the last"
    assert fourth.depth == 20


def test_a_page_serves_the_whole_range_of_what_was_seen() -> None:
    """It keeps for a second, so with lags of 0 to 0.5 s there is 0.4 s to spare, half before."""
    habits, at_ms = Habits(), START_MS + 17_000
    for beat in range(20):
        told = ask(habits, at_ms)
        last_ms, at_ms = at_ms, at_ms + 60_500 + (0, 250, 500)[beat % 3]

    (prediction,) = told
    assert prediction.due_ms == last_ms + 60_500 - 200
    assert prediction.until_ms >= last_ms + 61_000
    assert prediction.from_ms == last_ms + 61_000 - 1_000


def test_a_time_of_the_clock_is_told_from_a_timer() -> None:
    """Two seconds after each fifth minute, give or take 0.2 s, is no drift."""
    habits, rng = Habits(), random.Random(1)
    told = ask_all(
        habits,
        [START_MS + beat * 5 * MINUTE_MS + 2_000 + rng.randint(-200, 200) for beat in range(30)],
    )

    best = told[0]
    assert best.probability > 0.95
    assert best.due_ms == pytest.approx(START_MS + 150 * MINUTE_MS + 2_000, abs=500)
    assert any(each.why.startswith("every 5 min, ") for each in habits.standing())


@pytest.mark.parametrize(
    ("span_ms", "words"), [(DAY_MS, "each day at 09:00:02 UTC"), (WEEK_MS, "each Tuesday at")]
)
def test_what_comes_at_the_same_time_of_the_day_or_week_is_expected(
    span_ms: int, words: str
) -> None:
    """Twice is enough where nothing else is that regular; nobody asks in between."""
    habits, first_ms = Habits(), START_MS + DAY_MS + 9 * HOUR_MS + 2_000

    told = ask_all(habits, [first_ms, first_ms + span_ms])
    (later,) = ask_all(habits, [first_ms + 2 * span_ms])

    assert told[0].due_ms == first_ms + 2 * span_ms - GUARD_MS
    assert later.due_ms == first_ms + 3 * span_ms - GUARD_MS
    assert later.why.startswith(words)
    assert later.probability > told[0].probability


def test_what_follows_another_series_is_expected_after_it() -> None:
    """The first comes by chance, so nothing but the first can tell of the second."""
    habits, rng, at_ms = Habits(), random.Random(2), START_MS
    for _ in range(6):
        at_ms += rng.randint(400_000, 900_000)
        told = ask(habits, at_ms, (BTC, "5m"))
        ask(habits, at_ms + 460, (ETH, "5m"))

    (prediction,) = told
    assert prediction.key == (ETH, "5m")
    assert prediction.due_ms == at_ms + 460 - GUARD_MS
    assert prediction.why == "0.5 s after upbit:KRW-BTC 5m"
    assert prediction.probability > 0.7


def test_what_follows_two_series_is_told_apart_by_the_first() -> None:
    """After ETH alone it is even chances whether XRP or SOL comes."""
    habits, rng, at_ms = Habits(), random.Random(3), START_MS
    for turn in range(40):
        at_ms += rng.randint(400_000, 900_000)
        first, last = ((BTC, "1m"), XRP) if turn % 2 else ((BTC, "4h"), SOL)
        ask(habits, at_ms, first)
        told = ask(habits, at_ms + 400, (ETH, "5m"))
        ask(habits, at_ms + 800, (last, "5m"))

    best = {each.key[0]: each.probability for each in told}
    assert best[XRP] > 0.8
    assert best.get(SOL, 0.0) < 0.3


def test_closed_candles_are_expected_once_in_each_candle_from_when_a_page_proves_the_last() -> None:
    """One page then serves whoever asks until the next ends, whenever that is."""
    habits, rng = Habits(), random.Random(4)
    times_ms = [START_MS + hour * HOUR_MS + rng.randint(10_000, 3_000_000) for hour in range(8)]
    told = ask_all(habits, times_ms, closed=True)

    (prediction,) = [each for each in told if "each candle" in each.why]
    assert prediction.from_ms == START_MS + 8 * HOUR_MS + 5_000
    assert prediction.due_ms == prediction.from_ms + 200
    assert prediction.until_ms == START_MS + 9 * HOUR_MS
    assert prediction.closed


def test_who_reacts_to_a_close_is_never_given_a_page_from_before_it() -> None:
    """It would be young enough, and tell him the opposite of what he asked because of."""
    habits = Habits()
    told = ask_all(habits, [START_MS + beat * HOUR_MS + 150 for beat in range(10)])

    border_ms = START_MS + 10 * HOUR_MS
    assert told
    assert all(each.from_ms > border_ms for each in told)
    assert all(each.due_ms - PAGE_MS > border_ms for each in told)


@pytest.mark.parametrize("spans_ms", [(61_000, 97_300), (60_350, 60_350), (45_100, 61_000, 97_300)])
def test_timers_on_one_series_are_kept_apart(spans_ms: tuple[int, ...]) -> None:
    """Bots know nothing of each other, and none is late because of another."""
    habits = Habits()
    starts_ms = [START_MS + number * 13_000 for number in range(len(spans_ms))]
    bots = list(zip(starts_ms, spans_ms, strict=True))
    ask_all(habits, sorted(start + n * span for start, span in bots for n in range(60)))
    now_ms = habits._now_ms
    running = [(start, span) for start, span in bots if start + 60 * span > now_ms]

    due_ms = [each.due_ms + GUARD_MS for each in habits.standing() if each.probability > 0.8]
    assert running
    for start_ms, span_ms in running:
        next_ms = start_ms + ((now_ms - start_ms) // span_ms + 1) * span_ms
        assert any(abs(each - next_ms) <= GUARD_MS for each in due_ms)


# ------------------------------------------------------------------ what is forgotten


def test_a_habit_that_ends_is_not_believed_any_more() -> None:
    """It costs one page."""
    habits = Habits()
    ask_all(habits, [START_MS + beat * 60_350 for beat in range(100)])
    told = wake(habits, START_MS + 2 * DAY_MS)

    assert [each for each in told if each.probability > 0.5] == []
    assert len(told) <= 1


def test_a_change_of_habit_is_learnt_within_a_few_occurrences() -> None:
    """A day of the old one does not hinder the new one."""
    habits = Habits()
    ask_all(habits, [START_MS + beat * 300_350 for beat in range(200)])
    begin_ms = START_MS + 200 * 300_350 + 50_000
    told = ask_all(habits, [begin_ms + beat * 240_350 for beat in range(5)])

    assert told[0].due_ms == begin_ms + 5 * 240_350 - GUARD_MS
    assert told[0].probability > 0.7


def test_a_habit_of_weekdays_is_silent_at_weekends_and_there_on_monday() -> None:
    """The hour of the week says so from the second week on."""
    habits, hours = Habits(), range(9)
    for day in range(19):
        if day % 7 < 5:
            for hour in hours:
                for beat in range(12):
                    at_ms = START_MS + day * DAY_MS + hour * HOUR_MS
                    ask(habits, at_ms + beat * 5 * MINUTE_MS + 2_000)
    friday_ms = START_MS + 18 * DAY_MS + 9 * HOUR_MS
    weekend = wake(habits, friday_ms + 2 * DAY_MS)
    standing = [each for each in (*weekend, *habits.standing()) if each.probability > 0.5]

    monday_ms = START_MS + 21 * DAY_MS
    assert {each.due_ms for each in standing if each.due_ms < monday_ms} <= {
        # The moment at which the last working day might have gone on.
        friday_ms + 2_000 - GUARD_MS,
    }
    assert any(monday_ms <= each.due_ms < monday_ms + HOUR_MS for each in standing)


def test_requests_that_one_page_serves_are_one_need() -> None:
    """A bot that asks three times at once has no habit of 0.2 s."""
    habits = Habits()
    for beat in range(10):
        for again in range(3):
            told = ask(habits, START_MS + beat * 60_350 + again * 200)
            if again:
                assert told == ()

    assert {each.why for each in habits.standing()} == {"every 60.4 s since the last"}


# ------------------------------------------------------------------ acting on it


def test_a_prediction_stands_until_the_request_has_come() -> None:
    """Somebody who came early needs no page any more."""
    habits = Habits()
    beats = [START_MS + beat * 60_350 for beat in range(6)]
    (prediction,) = ask_all(habits, beats)

    assert habits.stands(prediction)
    ask(habits, beats[-1] + 60_000)
    assert not habits.stands(prediction)
    assert not prediction.stands


def test_of_two_rules_that_speak_of_one_request_only_the_better_stands() -> None:
    """Else it would be fetched twice."""
    habits, rng = Habits(), random.Random(1)
    times_ms = [START_MS + n * 5 * MINUTE_MS + 2_000 + rng.randint(-90, 90) for n in range(40)]
    ask_all(habits, times_ms)

    standing = [each for each in habits.standing() if habits.stands(each)]
    assert len([each for each in standing if each.probability > 0.5]) == 1


# ------------------------------------------------------------------ bounds


def test_the_series_asked_for_longest_ago_is_forgotten() -> None:
    """And nothing is expected of it any more."""
    habits = Habits()
    ask_all(habits, [START_MS + beat * 60_350 for beat in range(6)])
    (prediction,) = habits.standing()
    for number in range(SERIES_MAX):
        ask(habits, START_MS + 400_000 + number, (f"upbit:KRW-{number}", "1h"))

    assert len(habits) == SERIES_MAX
    assert not habits.stands(prediction)


def test_a_clock_that_is_set_back_makes_moments_void_and_keeps_what_is_learnt() -> None:
    """What was expected lies in a future that is not going to be as it was."""
    habits = Habits()
    ask_all(habits, [START_MS + beat * 60_350 for beat in range(20)])
    early_ms = START_MS - WEEK_MS

    (prediction,) = ask(habits, early_ms)
    assert prediction.due_ms == early_ms + 60_350 - GUARD_MS
    assert [each.due_ms for each in habits.standing()] == [prediction.due_ms]


def test_hours_in_which_nobody_looked_tell_nothing() -> None:
    """A machine that is off at night must not teach that nights are quiet."""
    watched, resumed = Habits(), Habits()
    for habits in (watched, resumed):
        ask(habits, START_MS)
        if habits is resumed:
            habits.resume(START_MS + DAY_MS)
        ask(habits, START_MS + DAY_MS)

    hours = [habits._series[HOURLY].hours for habits in (watched, resumed)]
    assert [what_hour(each, hour_of(START_MS) + 5) for each in hours] == [QUIET, UNKNOWN]


def test_a_clock_that_jumps_ahead_floods_nobody_and_blames_nobody() -> None:
    """While the machine slept nobody looked, so nothing was missed."""
    habits = Habits()
    ask_all(habits, [START_MS + beat * 5 * MINUTE_MS + 2_000 for beat in range(40)])
    later_ms = START_MS + 30 * DAY_MS + 90_000
    # Not `wake`, which would look in time.
    told = step(habits.expire(later_ms))

    assert [each.due_ms for each in told] == [START_MS + 30 * DAY_MS + 302_000 - GUARD_MS]
    assert told[0].probability > 0.9
