"""What is written down of habits is read again as it was, or not at all."""

from __future__ import annotations

import random

import pytest

from actors.preloading.habit_file import BYTES_MAX, VERSION
from actors.preloading.habits import Habits


def small() -> Habits:
    """Return habits that know one timer."""
    habits = Habits()
    for beat in range(4):
        habits.note(
            ("upbit:KRW-BTC", "1h"), beat * 60_350 + 1, depth=20, closed=False, max_age_s=1.0
        )
    return habits


def test_what_was_written_down_is_read_again() -> None:
    """Byte for byte, so that nothing fades by being kept."""
    data = small().encode()

    assert Habits.decode(data).encode() == data


def test_no_damaged_byte_goes_unnoticed() -> None:
    """A model that is a little wrong would be believed."""
    data = small().encode()
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        with pytest.raises(ValueError, match="habits"):
            Habits.decode(bytes(damaged))


def test_a_part_of_it_is_refused() -> None:
    """The disk may have been full."""
    data = small().encode()
    for length in range(len(data)):
        with pytest.raises(ValueError, match="habits"):
            Habits.decode(data[:length])


def test_what_would_be_too_large_is_written_down_without_what_was_asked_for_longest_ago() -> None:
    """Names may be of any length, and what cannot be read again is not kept at all."""
    habits, rng = Habits(), random.Random(1)
    names = [rng.randbytes(50_000).hex() for _ in range(120)]
    for at_ms, name in enumerate(names):
        habits.note((name, "1h"), at_ms * 20_000 + 1, depth=20, closed=False, max_age_s=0.0)
    data = habits.encode()
    kept = Habits.decode(data)

    assert BYTES_MAX / 2 < len(data) <= BYTES_MAX
    assert list(kept._series) == list(habits._series)[-len(kept) :]


def test_another_version_and_another_size_are_told() -> None:
    """Whoever reads the log knows why it is learnt anew."""
    data = bytearray(small().encode())
    data[14] = VERSION + 1

    with pytest.raises(ValueError, match=f"version {VERSION} are wanted, these are {VERSION + 1}"):
        Habits.decode(bytes(data))
    with pytest.raises(ValueError, match=f"may take {BYTES_MAX} bytes, these are {BYTES_MAX + 1}"):
        Habits.decode(bytes(BYTES_MAX + 1))
