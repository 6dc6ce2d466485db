"""`ExchangeClock`: never ahead of the exchange, whatever that clock does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.clock import ExchangeClock, parse_date_ms

T_MS = 1_767_225_600_000


class SetClock:
    """Our own clocks, set by hand."""

    def __init__(self) -> None:
        self.s = 100.0

    def now_s(self) -> float:
        """Return the monotonic time that was set."""
        return self.s

    def utc_ms(self) -> int:
        """Return a wall time far from the exchange's."""
        return 5_000_000 + round(self.s * 1000)


@pytest.fixture
def ours() -> SetClock:
    """Our own clock, at 100 s."""
    return SetClock()


def observe(clock: ExchangeClock, ours: SetClock, server_ms: float, *, rtt_s: float = 0.0) -> None:
    """Ask a server whose clock shows `server_ms` when the question arrives, half way."""
    sent_s = ours.s
    ours.s += rtt_s
    date_ms = int(server_ms) // 1000 * 1000
    clock.observe(date_ms=date_ms, sent_s=sent_s, received_s=ours.s)


def test_before_any_answer_it_is_our_own_wall_clock(ours: SetClock) -> None:
    """And it says that it proves nothing."""
    clock = ExchangeClock(ours)

    assert clock.utc_ms() == 5_100_000
    assert not clock.observed


def test_it_runs_on_between_answers(ours: SetClock) -> None:
    """Candle borders pass while nobody asks anything."""
    clock = ExchangeClock(ours)
    observe(clock, ours, T_MS + 999)
    ours.s += 2.5

    assert clock.utc_ms() == T_MS + 2_500
    assert clock.observed


def test_an_answer_that_proves_less_changes_nothing(ours: SetClock) -> None:
    """The best proof counts; a slow answer proves less than a quick one."""
    clock = ExchangeClock(ours)
    observe(clock, ours, T_MS)
    ours.s += 1.0
    observe(clock, ours, T_MS + 1_000, rtt_s=0.9)

    assert clock.utc_ms() == T_MS + 1_900


def test_the_time_of_the_content_sharpens_the_date(ours: SetClock) -> None:
    """A header has seconds, a ticker milliseconds."""
    clock = ExchangeClock(ours)
    clock.observe(date_ms=T_MS, sent_s=99.9, received_s=100.0, made_ms=T_MS + 700)

    assert clock.utc_ms() == T_MS + 700


@pytest.mark.parametrize(("made_ms", "proven_ms"), [(T_MS - 60_000, 0), (T_MS + 3_600_000, 999)])
def test_a_content_younger_than_its_answer_is_not_believed(
    ours: SetClock, made_ms: int, proven_ms: int
) -> None:
    """One wrong time stamp must not close candles an hour early."""
    clock = ExchangeClock(ours)
    clock.observe(date_ms=T_MS, sent_s=99.9, received_s=100.0, made_ms=made_ms)

    assert clock.utc_ms() == T_MS + proven_ms


def test_a_clock_set_back_is_followed_at_once(ours: SetClock) -> None:
    """A sandbox that was started again begins its year anew."""
    clock = ExchangeClock(ours)
    observe(clock, ours, T_MS)
    ours.s += 10
    observe(clock, ours, T_MS - 86_400_000)

    assert clock.utc_ms() == T_MS - 86_400_000


def test_a_clock_that_jumps_ahead_is_followed_at_once(ours: SetClock) -> None:
    """So is one that runs faster than ours."""
    clock = ExchangeClock(ours)
    observe(clock, ours, T_MS)
    observe(clock, ours, T_MS + 86_400_000)

    assert clock.utc_ms() == T_MS + 86_400_000


STEPS = st.lists(st.tuples(st.floats(0, 30), st.floats(0, 2), st.floats(0, 1)), max_size=30)


@given(STEPS, st.sampled_from([1.0, 1.0, 1.5, 60.0]), st.integers(0, 999))
def test_it_is_never_ahead_of_a_clock_as_fast_as_ours_or_faster(
    steps: list[tuple[float, float, float]], speed: float, phase_ms: int
) -> None:
    """A candle must never be taken for ended before it has."""
    ours = SetClock()
    clock = ExchangeClock(ours)

    def theirs_ms(moment_s: float) -> float:
        return T_MS + phase_ms + (moment_s - 100) * 1000 * speed

    for idle_s, rtt_s, turn in steps:
        ours.s += idle_s
        assert not clock.observed or clock.utc_ms() <= theirs_ms(ours.s) + 0.01
        observe(clock, ours, theirs_ms(ours.s + rtt_s * turn), rtt_s=rtt_s)
        assert clock.utc_ms() <= theirs_ms(ours.s) + 0.01


@given(STEPS)
def test_it_is_soon_right_again_about_a_slower_clock(
    steps: list[tuple[float, float, float]],
) -> None:
    """Between answers it must run ahead then, but no answer leaves it more than a second wrong."""
    ours = SetClock()
    clock = ExchangeClock(ours)
    for idle_s, rtt_s, turn in steps:
        ours.s += idle_s
        theirs_ms = T_MS + (ours.s + rtt_s * turn - 100) * 1000 * 0.1
        observe(clock, ours, theirs_ms, rtt_s=rtt_s)
        assert clock.utc_ms() <= theirs_ms + 1000 + rtt_s * 1000 + 0.01


@pytest.mark.parametrize(
    ("text", "date_ms"),
    [
        ("Thu, 01 Jan 2026 00:00:00 GMT", T_MS),
        ("Thu, 01 Jan 2026 09:00:00 +0900", T_MS),
        ("Thu, 01 Jan 2026 00:00:00 -0000", T_MS),
        ("Wed, 31 Dec 1969 23:59:59 GMT", None),
        ("2026-01-01T00:00:00Z", None),
        ("Thu, 99 Jan 2026 00:00:00 GMT", None),
        ("", None),
    ],
)
def test_dates_are_read_or_not_at_all(text: str, date_ms: int | None) -> None:
    """A header that cannot be read is no header."""
    assert parse_date_ms(text) == date_ms


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ Jan \d+ \d+:\d+:\d+ [+-]\d+"))
def test_no_header_makes_reading_a_date_fail(text: str) -> None:
    """It comes from outside."""
    date_ms = parse_date_ms(text)

    assert date_ms is None or date_ms >= 0
