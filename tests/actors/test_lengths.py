"""Lengths of time as people write them."""

from __future__ import annotations

import pytest

from actors.errors import InvalidRequest
from actors.lengths import length_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("4h", 14_400), ("30d", 2_592_000), ("2w", 1_209_600)],
)
def test_a_number_and_its_unit(text: str, seconds: int) -> None:
    """Small letters: a month has no fixed length."""
    assert length_s(text, name="history") == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "d", "0d", "-1d", "1.5h", "30D", "1M", "1h30m", "\u0661d"]
)
def test_anything_else_is_refused(text: str) -> None:
    """The message says what it is for, and what was wanted."""
    with pytest.raises(InvalidRequest, match="history must be a length of time such as 90s"):
        length_s(text, name="history")
