"""`Query`: every form of a parameter that Upbit takes, and its words for the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.sandbox.parameters import INVALID, MISMATCH, MISSING, BadQuery, Query

MOMENT_MS = 1_750_741_013_000  # 2025-06-24T04:56:53Z


@pytest.mark.parametrize(
    "text",
    [
        "2025-06-24T04:56:53Z",
        "2025-06-24T04:56:53",
        "2025-06-24%2004:56:53",
        "2025-06-24+04%3A56%3A53",
        "2025-06-24T13:56:53%2B09:00",
        "2025-06-24T13%3A56%3A53%2B0900",
        "2025-06-24T04:56:53.000Z",
        "2025-06-23T23:56:53-05:00",
    ],
)
def test_every_documented_form_of_a_moment_is_read(text: str) -> None:
    """Without a zone it is UTC; `requests` writes a space as a plus, ccxt adds milliseconds."""
    assert Query(f"to={text}").moment_ms("to") == MOMENT_MS


@pytest.mark.parametrize(
    "text",
    [
        "2025-06-24T13:56:53+09:00",
        "2025-06-24",
        "1750741013",
        "2025-06-31T00:00:00Z",
        "2025-06-24T25:00:00Z",
        "now",
        "\uff12025-06-24T04:56:53Z",
    ],
)
def test_other_moments_are_invalid(text: str) -> None:
    """The first is what happens to a plus that nobody encoded."""
    with pytest.raises(BadQuery, match=INVALID.replace("!", "")):
        Query(f"to={text}").moment_ms("to")


def test_a_part_of_a_millisecond_counts_as_the_whole() -> None:
    """A candle that opens before the moment must not be lost to rounding."""
    assert Query("to=1970-01-01T00:00:01.000001Z").moment_ms("to") == 1_001


def test_a_space_is_no_query() -> None:
    """It cannot even be sent; who does gets Upbit's answer."""
    with pytest.raises(BadQuery, match="Invalid parameter"):
        Query("to=2025-06-24 04:56:53")
    with pytest.raises(BadQuery, match="Invalid parameter"):
        Query("&".join("a=1" for _ in range(200)))
    with pytest.raises(BadQuery, match="Invalid parameter"):
        Query("a=%ff")


def test_counts_have_a_default_and_a_ceiling() -> None:
    """Asking for more gives the most there is."""
    assert [Query(q).count(default=1, most=200) for q in ("", "count=", "count=7")] == [1, 1, 7]
    assert Query("count=100000").count(default=1, most=200) == 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count=0", INVALID),
        ("count=-5", INVALID),
        ("count=ten", MISMATCH),
        ("count=1.5", MISMATCH),
        (f"count={'9' * 5000}", MISMATCH),
        ("count=%D9%A3", MISMATCH),
    ],
)
def test_other_counts_are_refused(text: str, message: str) -> None:
    """In the words for what is wrong: the value, or its type."""
    with pytest.raises(BadQuery, match=message[:12]):
        Query(text).count(default=1, most=200)


def test_lists_come_in_commas_or_repeated() -> None:
    """The documentation has commas, pyupbit repeats the parameter."""
    assert Query("m=A,B&m=C,A").names("m") == ["A", "B", "C"]
    for text in ("", "m=", "m=,", "n=1"):
        with pytest.raises(BadQuery, match=MISSING[:20]):
            Query(text).names("m")


def test_flags_and_times_of_day() -> None:
    """Two spellings of a time, two words for a flag."""
    assert [Query(q).flag("f") for q in ("", "f=false", "f=true", "f=TRUE")] == [False] * 2 + [
        True
    ] * 2
    assert [Query(q).time_of_day_ms("t") for q in ("", "t=000001", "t=00:00:02")] == [
        None,
        1000,
        2000,
    ]
    with pytest.raises(BadQuery, match="Type mismatch"):
        Query("f=1").flag("f")
    for text in ("240000", "12:60:00", "1200", "later"):
        with pytest.raises(BadQuery, match="Invalid parameter"):
            Query(f"t={text}").time_of_day_ms("t")


@given(st.text())
def test_no_text_breaks_the_reading(text: str) -> None:
    """Whatever arrives is a value or an answer."""
    try:
        query = Query(text)
        query.text("to")
        query.moment_ms("to")
        query.integer("count")
        query.time_of_day_ms("to")
    except BadQuery as error:
        assert error.status == 400  # noqa: PT017 - one of two good ends
