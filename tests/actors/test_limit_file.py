"""What is kept of limits: aged without ever being believed too much, and exact there and back."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.limit_file import (
    BYTES_MAX,
    WEIGHT_MAX,
    KeptGroup,
    KeptLimits,
    KeptSpend,
    age,
    all_spent,
    decode,
    encode,
)

NOW_MS = 1_767_225_600_000
DAY_S = 86_400.0

spends = st.builds(
    KeptSpend,
    weight=st.integers(1, WEIGHT_MAX),
    age_s=st.none() | st.floats(0, DAY_S),
    period_s=st.none() | st.floats(0.001, DAY_S),
)
groups = st.builds(
    KeptGroup,
    spends=st.lists(spends, max_size=5).map(tuple),
    paused_left_s=st.floats(0, DAY_S),
    strikes=st.integers(0, 100),
)
limits = st.builds(
    KeptLimits,
    saved_ms=st.integers(0, 2 * NOW_MS),
    saved_s=st.floats(-1e6, 1e6),
    clean=st.booleans(),
    groups=st.dictionaries(st.text(min_size=1, max_size=20), groups, max_size=4),
)


def kept(**changes: Any) -> KeptLimits:
    """Return limits with a ban of a minute and two requests."""
    some = (KeptSpend(weight=2, age_s=0.25), KeptSpend(weight=1, age_s=None))
    group = KeptGroup(spends=some, paused_left_s=60.0, strikes=1)
    whole = KeptLimits(saved_ms=NOW_MS, saved_s=1_000.0, clean=True, groups={"*": group})
    return msgspec.structs.replace(whole, **changes)


def passed_s(before: KeptLimits, after: KeptLimits) -> float:
    """Return how much time was taken to have passed."""
    first, second = before.groups["*"].spends[0].age_s, after.groups["*"].spends[0].age_s
    assert first is not None
    assert second is not None
    return second - first


@given(limits, st.floats(0, 1e7), st.integers(0, 2 * NOW_MS))
def test_nothing_ends_early_within_one_run_of_the_machine(
    saved: KeptLimits, truly_s: float, utc_ms: int
) -> None:
    """Whatever is done to the wall clock."""
    found = age(saved, now_s=saved.saved_s + truly_s, utc_ms=utc_ms)
    for name, group in saved.groups.items():
        aged = found.groups[name]
        assert aged.paused_left_s >= group.paused_left_s - truly_s - 1e-6
        for before, after in zip(group.spends, aged.spends, strict=True):
            assert (before.age_s is None) == (after.age_s is None)
            if before.age_s is not None and after.age_s is not None:
                assert after.age_s <= before.age_s + truly_s + 1e-6


@given(limits, st.floats(0, 1e7), st.floats(0, 0.999), st.floats(0, 100))
def test_nothing_ends_early_where_the_wall_clock_was_left_alone(
    saved: KeptLimits, truly_s: float, phase_ms: float, booted_s: float
) -> None:
    """Even if the machine was started anew, so that its monotonic clock means nothing."""
    # The wall clock is read in whole milliseconds, at any phase of them.
    utc_ms = math.floor(saved.saved_ms + phase_ms + truly_s * 1000)
    for now_s in (saved.saved_s - booted_s - 0.001, saved.saved_s + booted_s):
        found = age(saved, now_s=now_s, utc_ms=utc_ms)
        for name, group in saved.groups.items():
            left_s = group.paused_left_s - truly_s
            assert found.groups[name].paused_left_s >= left_s - 1e-6


@given(limits, st.floats(-1e7, 1e7), st.integers(0, 2 * NOW_MS))
def test_nothing_is_held_longer_than_was_left_at_saving(
    saved: KeptLimits, now_s: float, utc_ms: int
) -> None:
    """Whatever is done to both clocks; and the values stay possible."""
    found = age(saved, now_s=now_s, utc_ms=utc_ms)
    for name, group in saved.groups.items():
        aged = found.groups[name]
        assert 0 <= aged.paused_left_s <= group.paused_left_s
        assert aged.strikes == group.strikes
        for before, after in zip(group.spends, aged.spends, strict=True):
            assert before.age_s is None or (after.age_s or 0.0) >= before.age_s
            assert (after.weight, after.period_s) == (before.weight, before.period_s)


@given(limits, st.floats(-1e7, 1e7), st.integers(0, 2 * NOW_MS))
def test_aging_twice_at_once_is_aging_once(saved: KeptLimits, now_s: float, utc_ms: int) -> None:
    """It is told as of now, on both clocks."""
    once = age(saved, now_s=now_s, utc_ms=utc_ms)
    assert age(once, now_s=now_s, utc_ms=utc_ms) == once


@pytest.mark.parametrize(
    ("monotonic_s", "wall_s", "wanted_s"),
    [
        pytest.param(10, 10, 9.999, id="both agree"),
        pytest.param(10, 3600, 10, id="wall clock set forward"),
        pytest.param(10, -3600, 0, id="wall clock set back"),
        pytest.param(-900, 10, 9.999, id="machine started anew"),
        pytest.param(-900, -5, 0, id="started anew and set back"),
    ],
)
def test_the_shorter_time_is_believed(monotonic_s: float, wall_s: float, wanted_s: float) -> None:
    """The millisecond is for both ends having been rounded."""
    saved = kept()
    found = age(saved, now_s=saved.saved_s + monotonic_s, utc_ms=NOW_MS + round(wall_s * 1000))
    assert passed_s(saved, found) == pytest.approx(wanted_s)


def test_a_pause_ends_at_zero() -> None:
    """How often it was earned is remembered."""
    found = age(kept(), now_s=2_000.0, utc_ms=NOW_MS + 1_000_000).groups["*"]
    assert (found.paused_left_s, found.strikes) == (0.0, 1)


def test_of_unknown_successors_everything_is_spent_and_the_pauses_hold() -> None:
    """The bans of long ago are better than none."""
    group = kept().groups["*"]
    found = all_spent(kept(groups={"*": group, "candle": group}))
    assert not found.clean
    assert found.groups["*"] == group
    assert found.groups["candle"].spends == (KeptSpend(weight=WEIGHT_MAX, age_s=0.0),)
    assert found.groups["candle"].paused_left_s == 60.0


@given(limits)
def test_what_was_encoded_is_read_exactly(saved: KeptLimits) -> None:
    """To the last bit of every float."""
    data, why = encode(saved)
    assert data is not None, why
    assert decode(data) == (saved, "")


@given(st.binary(max_size=200))
def test_nothing_that_can_be_read_breaks_it(data: bytes) -> None:
    """A file may hold anything."""
    found, why = decode(data)
    assert (found is None) == bool(why)


def line(**changes: str) -> bytes:
    """Return a file's text with some of its JSON values replaced."""
    values = {"weight": "1", "age": "0.5", "period": "null", "left": "5", "strikes": "1"}
    values.update({"ms": "1", "s": "1.5", "clean": "true", "name": '"*"'}, **changes)
    group = '{{"spends":[[{weight},{age},{period}]],"paused_left_s":{left},"strikes":{strikes}}}'
    text = '{{"saved_ms":{ms},"saved_s":{s},"clean":{clean},"groups":{{{name}:' + group + "}}}}"
    return text.format(**values).encode()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"weight": "0"}, r"int` >= 1"),
        ({"weight": "1000001"}, r"int` <= 1000000"),
        ({"weight": "1.5"}, "Expected `int`"),
        ({"age": "-0.001"}, r"float` >= 0"),
        ({"age": "NaN"}, "malformed"),
        ({"age": "Infinity"}, "malformed"),
        ({"age": "1e400"}, "out of range"),
        ({"age": "1e300"}, r"float` <= 3"),
        ({"age": '"1"'}, "got `str`"),
        ({"period": "0"}, r"float` > 0"),
        ({"left": "-1"}, r"float` >= 0"),
        ({"left": "86401"}, r"float` <= 86400"),
        ({"left": "null"}, "got `null`"),
        ({"strikes": "9" * 30}, "Expected `int`"),
        ({"strikes": "-1"}, r"int` >= 0"),
        ({"strikes": "9" * 18}, r"int` <= "),
        ({"ms": "-1"}, r"int` >= 0"),
        ({"ms": "9" * 14}, r"int` <= "),
        ({"s": "1e11"}, r"float` <= "),
        ({"clean": "1"}, "Expected `bool`"),
        ({"name": '""'}, "length >= 1"),
    ],
)
def test_absurd_values_are_refused_with_the_reason(changes: dict[str, str], why: str) -> None:
    """Nothing of such a file is believed."""
    assert decode(line())[0] is not None
    found, told = decode(line(**changes))
    assert found is None
    assert why in told


@pytest.mark.parametrize("data", [b"", b"{", b'{"saved_ms": 1}', b"[" * 100_000, b"\xff", b"null"])
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    """A reason comes with it."""
    found, why = decode(data)
    assert found is None
    assert why


def test_a_file_that_is_too_large_is_not_looked_into() -> None:
    """It cannot be ours."""
    found, why = decode(b" " * (BYTES_MAX + 1))
    assert found is None
    assert f"may be {BYTES_MAX}" in why


@pytest.mark.parametrize(
    "group",
    [
        KeptGroup(paused_left_s=-1.0),
        KeptGroup(paused_left_s=math.nan),
        KeptGroup(strikes=2**70),
        KeptGroup(spends=(KeptSpend(weight=0, age_s=1.0),)),
        KeptGroup(spends=(KeptSpend(weight=1, age_s=-1.0),)),
    ],
)
def test_what_could_not_be_read_again_is_not_written(group: KeptGroup) -> None:
    """Otherwise a defect would come to light a process too late."""
    data, why = encode(kept(groups={"*": group}))
    assert data is None
    assert why


def test_an_age_that_is_no_number_counts_as_under_way() -> None:
    """JSON has no NaN; what cannot be said is held longest."""
    spend = KeptSpend(weight=1, age_s=math.nan)
    data, _ = encode(kept(groups={"a": KeptGroup(spends=(spend,))}))
    assert data is not None
    found, _ = decode(data)
    assert found is not None
    assert found.groups["a"].spends[0].age_s is None


def test_six_thousand_requests_fit_well() -> None:
    """An hour's window of the largest exchange we know of."""
    many = tuple(KeptSpend(weight=1, age_s=place / 7) for place in range(6_000))
    data, _ = encode(kept(groups={"hour": KeptGroup(spends=many)}))
    assert data is not None
    assert len(data) < BYTES_MAX / 20
