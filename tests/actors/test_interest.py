"""`Interest`: how often something needs a request, and what a stream of it would save."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.streams import StreamKey
from actors.exchanges.upbit.limits import STREAM_RULES
from actors.interest import FORGET_S, KEYS_MAX, Interest, candle_streams
from actors.timeframes import Timeframe


def test_a_single_look_is_no_habit() -> None:
    """Nor is it one when somebody looks again after a long silence."""
    interest = Interest()

    assert interest.note("a", 0.0) == 0
    assert interest.note("a", FORGET_S + 1) == 0


@pytest.mark.parametrize("step_s", [0.2, 1.0, 30.0, 60.0, FORGET_S])
def test_a_fixed_step_is_known_from_the_second_need_on(step_s: float) -> None:
    """The time between two needs tells the next, so it is neither over- nor underestimated."""
    interest = Interest()
    rates = [interest.note("a", count * step_s) for count in range(20)]

    assert rates[1:] == pytest.approx([1 / step_s] * 19)


def test_interest_fades_as_soon_as_the_next_need_is_late() -> None:
    """Nobody tells when he stops asking."""
    interest = Interest()
    for second in range(10):
        interest.note("a", second)

    assert interest.rate("a", 9.5) == pytest.approx(1.0)
    assert interest.rate("a", 59.0) == pytest.approx(1 / 50)
    assert interest.rate("b", 9.5) == 0


def test_a_part_of_a_request_counts_as_a_part() -> None:
    """A hundred tickers in one request cost one slot."""
    interest = Interest()
    for second in range(10):
        interest.note("a", second, share=0.01)

    assert interest.rate("a", 9.0) == pytest.approx(0.01)


def test_a_stream_that_saves_nothing_is_worth_nothing() -> None:
    """A quiet market told too long ago for who asks, so requests are made all the same."""
    interest = Interest()
    for second in range(40):
        interest.note("useless", second, saved=False)
        interest.note("useful", second, saved=True)

    assert interest.rate("useless", 39.0) < 0.15
    assert interest.rate("useful", 39.0) == pytest.approx(1.0)


def test_that_a_stream_was_useless_is_remembered_longer_than_how_often_it_was_asked() -> None:
    """Or it would be asked for again without end; but a market may wake up."""
    interest = Interest()
    for second in range(40):
        interest.note("a", second, saved=False)

    def asked_twice(time_s: float) -> float:
        interest.note("a", time_s)
        return interest.note("a", time_s + 1)

    assert asked_twice(1_000.0) < 0.5
    assert asked_twice(20_000.0) > 0.9


def test_a_request_that_memory_would_have_saved_counts_against_the_stream_only() -> None:
    """It is no need of its own, so it makes nobody ask more often."""
    interest = Interest()
    for second in range(10):
        interest.note("a", second, saved=True)
    before = interest.rate("a", 9.0)
    interest.lose("a", 9.0)
    interest.lose("unknown", 9.0)

    assert 0 < interest.rate("a", 9.0) < before
    assert interest.last_s("a") == 9.0
    assert interest.last_s("unknown") == float("-inf")


def test_the_key_asked_for_longest_ago_is_forgotten_first() -> None:
    """Whoever asks for names without end must not fill memory."""
    interest = Interest()
    for number in range(KEYS_MAX):
        interest.note(number, 0.0)
    interest.note(0, 1.0)
    interest.note("one more", 1.0)

    assert interest.last_s(0) == 1.0
    assert interest.last_s(1) == float("-inf")
    assert interest.last_s(2) == 0.0


@given(steps=st.lists(st.tuples(st.floats(0, 300), st.none() | st.booleans()), max_size=60))
def test_a_rate_is_never_negative_nor_beyond_what_was_asked(
    steps: list[tuple[float, bool | None]],
) -> None:
    """Whatever happens, and also if nothing took any time."""
    interest, now_s = Interest(), 0.0
    for step_s, saved in steps:
        now_s += step_s
        rate = interest.note("a", now_s, saved=saved)
        assert 0 <= rate <= 1_000
        assert 0 <= interest.rate("a", now_s + 10) <= 0.1001


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_candles_are_streamed_with_all_that_proves_them(timeframe: Timeframe) -> None:
    """The minutes, the four hours that check them, and the ticker, which is the day."""
    streams = candle_streams("KRW-BTC", timeframe, STREAM_RULES)

    frames = {key.timeframe for key in streams if key.kind == "candle"}
    assert frames == {Timeframe.M1, Timeframe.H4} | ({timeframe} & STREAM_RULES.timeframes)
    assert StreamKey("ticker", "KRW-BTC") in streams
    assert set(streams.values()) == {0}
