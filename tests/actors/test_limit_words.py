"""Sentences about waits."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.limit_words import explain_group, explain_limits, name_of, words_of_s
from actors.reports import ClassUse, GroupLimits, WindowUse

SHARES = {"asked": 0.7, "repair": 0.2, "declared": 0.1, "predicted": 0.0}
SECOND, MINUTE = (
    WindowUse(requests=10, period_s=1.0, used=10),
    WindowUse(requests=600, period_s=60.0, used=42),
)
REFUSED = "requests of group candle are paused for 2.0 s more, because of 429"
BANNED = "all requests are paused for 58.1 s more, because of 418"


def classes(**waiting: tuple[int, float]) -> tuple[ClassUse, ...]:
    """Return the use of all priorities, of which `waiting` wait: how many, and how long."""
    return tuple(
        ClassUse(
            priority=name,
            share=share,
            queued=waiting.get(name, (0, 0.0))[0],
            next_free_s=waiting.get(name, (0, 0.0))[1],
            granted=0,
        )
        for name, share in SHARES.items()
    )


def report(
    windows: tuple[WindowUse, ...] = (SECOND,),
    waiting: dict[str, tuple[int, float]] | None = None,
    **changes: Any,
) -> GroupLimits:
    """Return a group in which `waiting` wait."""
    uses = classes(**waiting or {})
    idle = GroupLimits(
        exchange="upbit",
        group="candle",
        windows=windows,
        classes=uses,
        in_flight=0,
        queued=sum(each.queued for each in uses),
        next_free_s=0.0,
        paused_s=0.0,
        server_remaining=None,
        server_heard_s=None,
        granted=0,
        rejected=0,
        refused=0,
    )
    return msgspec.structs.replace(idle, **changes)


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        pytest.param(report(), "", id="idle"),
        pytest.param(report(paused_s=2.0, paused_because=REFUSED), "", id="paused and idle"),
        pytest.param(
            report(waiting={"asked": (1, 0.41)}),
            "upbit candle: 1 request waits (asked). The window is full: 10/10 per 1 s. It goes in "
            "about 0.41 s.",
            id="one window is full",
        ),
        pytest.param(
            report((SECOND, MINUTE), {"asked": (14, 1.83)}, in_flight=2),
            "upbit candle: 14 requests wait (asked). The window is full: 10/10 per 1 s, of which 2 "
            "are under way and free their places only a window after their answers. The last of "
            "them goes in about 1.9 s.",
            id="answers must come first",
        ),
        pytest.param(
            report(
                (SECOND, msgspec.structs.replace(MINUTE, used=600)),
                {"asked": (2, 41.0)},
                in_flight=1,
            ),
            "upbit candle: 2 requests wait (asked). The windows are full: 10/10 per 1 s and "
            "600/600 per 1 min, of which 1 is under way and frees its place only a window after "
            "its answer. The last of them goes in about 41 s.",
            id="two windows are full",
        ),
        pytest.param(
            report((msgspec.structs.replace(SECOND, used=8), MINUTE), {"repair": (1, 0.5)}),
            "upbit candle: 1 request waits (repair). No window of its own is full, the fullest is "
            "8/10 per 1 s: the next in line weighs more than is left, or waits for a limit that "
            "groups share. It goes in about 0.5 s.",
            id="weight or a shared limit",
        ),
        pytest.param(
            report(waiting={"asked": (12, 1.2), "repair": (2, 0.9), "predicted": (1, math.inf)}),
            "upbit candle: 15 requests wait (12 asked, 2 repair and 1 predicted). The window is "
            "full: 10/10 per 1 s. Those of asked go first; the others get: repair at least 20 % of "
            "what goes out, predicted only what is left. The last goes: of asked in about 1.2 s, "
            "of repair in about 0.9 s, of predicted when nobody else wants the place.",
            id="whose turn it is",
        ),
        pytest.param(
            report(waiting={"repair": (1, 0.2), "declared": (1, 0.3)}),
            "upbit candle: 2 requests wait (1 repair and 1 declared). The window is full: 10/10 "
            "per 1 s. Those of repair go first; the others get: declared at least 10 % of what "
            "goes out. The last goes: of repair in about 0.2 s, of declared in about 0.3 s.",
            id="nobody asks",
        ),
        pytest.param(
            report(waiting={"asked": (2, 2.0)}, paused_s=2.0, paused_because=REFUSED),
            "upbit candle: 2 requests wait (asked). Requests of group candle are paused for 2.0 s "
            "more, because of 429; nothing is sent until then. The last of them goes in about 2 s.",
            id="a pause",
        ),
        pytest.param(
            report(waiting={"asked": (1, 2.0)}, paused_s=2.0),
            "upbit candle: 1 request waits (asked). Candle is paused for 2 s more; nothing is sent "
            "until then. It goes in about 2 s.",
            id="a pause of which nothing is known",
        ),
        pytest.param(
            report(
                (msgspec.structs.replace(SECOND, requests=20, used=20),),
                {"asked": (1, 0.5)},
                holder="me",
                server_remaining=4,
                server_heard_s=0.3,
            ),
            "upbit candle/me: 1 request waits (asked). The window is full: 20/20 per 1 s. It goes "
            "in about 0.5 s.",
            id="the server has more left, which is old news",
        ),
        pytest.param(
            report(
                (msgspec.structs.replace(SECOND, used=5),),
                {"asked": (1, 0.5)},
                server_remaining=0,
                server_heard_s=0.3,
            ),
            "upbit candle: 1 request waits (asked). No window of its own is full, the fullest is "
            "5/10 per 1 s: the next in line weighs more than is left, or waits for a limit that "
            "groups share. It goes in about 0.5 s. The exchange said 0.3 s ago that 0 were left: "
            "it counts more than we sent, so somebody else may spend from the same limit.",
            id="the server has less left",
        ),
    ],
)
def test_every_state_has_its_sentences(state: GroupLimits, wanted: str) -> None:
    """People read these, so they are held to the letter."""
    assert explain_group(state) == wanted


def test_all_that_wait_are_told_of_and_the_pauses_of_others() -> None:
    """The ban of a whole address is said once."""
    waits = report(waiting={"asked": (1, 0.4)}, explanation="upbit candle: it waits.")
    paused = report(paused_s=58.1, paused_because=BANNED)
    assert explain_limits([waits, paused, paused]) == (
        "upbit candle: it waits.",
        f"upbit: {BANNED}.",
    )


def test_where_nothing_waits_that_is_said() -> None:
    """An empty answer would be a riddle; a pause is told all the same."""
    assert explain_limits([]) == ("Nothing waits.",)
    assert explain_limits([report()]) == ("Nothing waits.",)
    paused = report(paused_s=2.0, paused_because=REFUSED)
    assert explain_limits([paused]) == ("Nothing waits.", f"upbit: {REFUSED}.")


def test_a_group_of_an_account_has_its_name() -> None:
    """There are as many of them as accounts."""
    assert name_of(report()) == "upbit candle"
    assert name_of(report(holder="me")) == "upbit candle/me"


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        (0, "0 s"),
        (0.3, "0.3 s"),
        (0.0001, "0.01 s"),
        (1, "1 s"),
        (1.01, "1.1 s"),
        (9.95, "10 s"),
        (10.1, "11 s"),
        (59.01, "1 min"),
        (60, "1 min"),
        (90.2, "1 min 31 s"),
        (3_599.5, "1 h"),
        (3_601, "1 h 1 min"),
        (86_400, "24 h"),
        (math.inf, "an unknown time"),
        (math.nan, "an unknown time"),
    ],
)
def test_a_time_is_rounded_up(seconds: float, wanted: str) -> None:
    """Who waits that long must not find it was longer."""
    assert words_of_s(seconds) == wanted


@given(st.floats(0, 1e6))
def test_a_time_is_never_told_shorter_than_it_is(seconds: float) -> None:
    """Nor longer by more than the last unit that is told."""
    units = {"s": 1.0, "min": 60.0, "h": 3_600.0}
    parts = words_of_s(seconds).split()
    told_s = sum(float(parts[at]) * units[parts[at + 1]] for at in range(0, len(parts), 2))
    assert seconds - 1e-6 <= told_s <= seconds * 1.1 + 0.1


@given(
    st.builds(
        GroupLimits,
        exchange=st.just("upbit"),
        group=st.just("candle"),
        holder=st.sampled_from(["", "me"]),
        windows=st.lists(
            st.builds(
                WindowUse,
                requests=st.integers(1, 10_000),
                period_s=st.floats(0.1, 90_000),
                used=st.integers(0, 10_000),
            ),
            min_size=1,
            max_size=3,
        ).map(tuple),
        classes=st.dictionaries(
            st.sampled_from(list(SHARES)), st.tuples(st.integers(0, 99), st.floats(0))
        ).map(lambda waiting: classes(**waiting)),
        in_flight=st.integers(0, 20),
        queued=st.integers(0, 99),
        next_free_s=st.floats(0),
        paused_s=st.floats(0, 100),
        paused_because=st.sampled_from(["", REFUSED]),
        server_remaining=st.none() | st.integers(-5, 100),
        server_heard_s=st.none() | st.floats(0),
        granted=st.just(0),
        rejected=st.just(0),
        refused=st.just(0),
    )
)
def test_whatever_the_figures_are_it_is_said_in_whole_sentences(state: GroupLimits) -> None:
    """It is asked for when something is wrong, so it must not go wrong itself."""
    text = explain_group(state)
    assert bool(text) == bool(state.queued)
    assert not text or text.endswith(".")
    assert "  " not in text
    assert "nan" not in text
