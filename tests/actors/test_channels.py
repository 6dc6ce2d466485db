"""`choose` and `Trust`: who answers, and whether a stream is worth having."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.channels import (
    BEGIN_SCORE,
    CARRY,
    DEAREST,
    HEARD_S_MAX,
    Question,
    Supply,
    Trust,
    choose,
    score,
)
from actors.feed_tables import LineState

USUAL_S = 0.5


def asked(max_age_s: float | None = None, *, rate: float = 0.0, spare: float = 1.0) -> Question:
    """Return a question."""
    return Question(max_age_s=max_age_s, usual_age_s=USUAL_S, rate=rate, spare=spare)


def live(told_age_s: float | None = 3.0, **fields: Any) -> Supply:
    """Return a stream that is whole."""
    return Supply("live", **{"heard_age_s": 0.1, "told_age_s": told_age_s, **fields})


def test_a_live_stream_is_fresh_enough_however_long_ago_the_market_moved() -> None:
    """Nothing new is news as well, as long as the connection is heard."""
    choice = choose(asked(), live(told_age_s=500.0))

    assert choice.channel == "stream"
    assert "500.0 s ago" in choice.reason


@pytest.mark.parametrize(("told_s", "channel"), [(1.0, "stream"), (1.01, "request")])
def test_an_age_that_was_said_is_kept_to_the_letter(told_s: float, channel: str) -> None:
    """Who says one second does not mean a connection that is up."""
    assert choose(asked(1.0), live(told_age_s=told_s)).channel == channel


@pytest.mark.parametrize(
    ("supply", "reason"),
    [
        (Supply("none"), "not streamed"),
        (Supply("asked"), "just been asked for"),
        (Supply("silent"), "fallen silent"),
        (Supply("broken"), "not up"),
        (live(trusted=False), "not for long enough"),
        (live(told_age_s=None), "has not told so much yet"),
        (live(heard_age_s=HEARD_S_MAX + 1), "last heard 16.0 s ago"),
    ],
)
def test_what_a_stream_cannot_answer_is_asked_of_memory_then_of_the_exchange(
    supply: Supply, reason: str
) -> None:
    """At once, and it is said why."""
    fields = {name: getattr(supply, name) for name in Supply.__slots__}
    young = Supply(**{**fields, "memory_age_s": USUAL_S})
    old = Supply(**{**fields, "memory_age_s": USUAL_S + 0.01})

    for answer, channel in ((young, "memory"), (old, "request"), (supply, "request")):
        choice = choose(asked(), answer)
        assert choice.channel == channel
        assert reason in choice.reason


def test_a_stream_is_worth_what_it_saves() -> None:
    """From one request in 50 seconds on; nothing is weighed against what nobody asks for."""
    assert score(asked(rate=CARRY)) == pytest.approx(1.0)
    assert score(asked(rate=0.0)) == 0
    assert choose(asked(rate=CARRY * 1.01), Supply("none")).subscribe
    assert not choose(asked(rate=CARRY * 0.99), Supply("none")).subscribe


def test_a_stream_that_is_there_is_kept_somewhat_longer_than_it_would_be_begun() -> None:
    """Or one at the border would be let go and asked for in turn."""
    rate = CARRY * BEGIN_SCORE * 0.8

    assert choose(asked(rate=rate), live()).subscribe
    assert not choose(asked(rate=rate), Supply("none")).subscribe


def test_where_slots_are_scarce_a_stream_is_worth_having_sooner() -> None:
    """A request is dearer then; within reason."""
    rate = CARRY / 3

    assert not choose(asked(rate=rate), Supply("none")).subscribe
    assert choose(asked(rate=rate, spare=0.2), Supply("none")).subscribe
    assert score(asked(rate=rate, spare=0.0)) == pytest.approx(score(asked(rate=rate)) * DEAREST)


@given(
    max_age_s=st.none() | st.floats(0, 100),
    state=st.sampled_from(["none", "asked", "live", "silent", "broken"]),
    trusted=st.booleans(),
    heard_s=st.floats(0, 100),
    told_s=st.none() | st.floats(0, 100),
    memory_s=st.none() | st.floats(0, 100),
)
def test_no_channel_is_chosen_that_has_not_what_is_asked(
    max_age_s: float | None,
    state: Literal["none", "asked", "live", "silent", "broken"],
    trusted: bool,  # noqa: FBT001 - hypothesis names it
    heard_s: float,
    told_s: float | None,
    memory_s: float | None,
) -> None:
    """Whatever there is."""
    supply = Supply(state, trusted, heard_s, told_s, memory_s)
    choice = choose(asked(max_age_s), supply)

    assert choice.reason
    if choice.channel == "stream":
        assert state == "live"
        assert trusted
        assert heard_s <= HEARD_S_MAX
        assert told_s is not None
        assert max_age_s is None or told_s <= max_age_s
    if choice.channel == "memory":
        assert memory_s is not None
        assert memory_s <= (USUAL_S if max_age_s is None else max_age_s)


def line(since_s: float, state: Literal["live", "away"] = "live") -> LineState:
    """Return the state of a connection."""
    return LineState(state, since_s, since_s)


def test_the_first_connection_is_trusted_at_once() -> None:
    """It has done nothing wrong yet."""
    trust = Trust()

    assert not trust.is_trusted(None, 0.0)
    assert trust.is_trusted(line(1.0), 1.0)


def test_trust_comes_back_later_after_every_break() -> None:
    """One that comes and goes would be worse than none; the wait is bounded."""
    trust, now_s, waits = Trust(), 0.0, []
    trust.is_trusted(line(now_s), now_s)
    for _ in range(10):
        now_s += 100.0
        assert not trust.is_trusted(line(now_s, "away"), now_s)
        since_s = now_s = now_s + 1.0
        while not trust.is_trusted(line(since_s), now_s):
            now_s += 0.5
        waits.append(now_s - since_s)

    assert waits == [2, 4, 8, 16, 32, 64, 120, 120, 120, 120]


def test_a_break_that_nobody_saw_counts_as_well() -> None:
    """Questions are rare now and then; the connection tells since when it is up."""
    trust = Trust()
    assert trust.is_trusted(line(0.0), 10.0)

    assert not trust.is_trusted(line(20.0), 21.0)
    assert trust.is_trusted(line(20.0), 22.0)


def test_a_connection_that_is_whole_for_long_is_forgiven() -> None:
    """What was wrong at night need not be wrong by day."""
    trust = Trust()
    for since_s in range(5):
        trust.is_trusted(line(float(since_s)), float(since_s))
    assert not trust.is_trusted(line(4.0), 10.0)

    assert trust.is_trusted(line(4.0), 700.0)
    assert not trust.is_trusted(line(701.0), 702.9)
    assert trust.is_trusted(line(701.0), 703.0)
