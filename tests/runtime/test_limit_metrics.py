"""Limits in Prometheus's text format."""

from __future__ import annotations

import math
import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.reports import ClassUse, GroupLimits, WindowUse
from runtime.limit_metrics import limit_metrics

GROUP = GroupLimits(
    exchange='up"b\\it\n',
    group="candle",
    holder="me",
    windows=(
        WindowUse(requests=10, period_s=1.0, used=2),
        WindowUse(requests=6000, period_s=60.0, used=31),
        WindowUse(requests=300, period_s=60.0, used=3),
    ),
    classes=(
        ClassUse(priority="asked", share=0.7, queued=3, next_free_s=0.5, granted=6),
        ClassUse(priority="predicted", share=0.0, queued=0, next_free_s=math.inf, granted=1),
    ),
    in_flight=1,
    queued=3,
    next_free_s=0.25,
    paused_s=0.0,
    server_remaining=None,
    server_heard_s=None,
    granted=7,
    rejected=0,
    refused=2,
)
LABELS = r'exchange="up\"b\\it\n",group="candle",holder="me"'

# Source: https://prometheus.io/docs/instrumenting/exposition_formats/, as known 2026-11.
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE = re.compile(
    rf"([a-zA-Z_:][a-zA-Z0-9_:]*)\{{({_LABEL}(?:,{_LABEL})*)\}} ([-+]?(?:Inf|NaN|[0-9.e+-]+))"
)


def check(text: str) -> dict[tuple[str, str], float]:
    """Return every series with its value; fail where the rules of the format are broken."""
    assert text.endswith("\n")
    typed: dict[str, str] = {}
    found: dict[tuple[str, str], float] = {}
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("#"):
            _, word, name, rest = line.split(" ", 3)
            assert word in {"HELP", "TYPE"}
            if word == "TYPE":
                # Once, and all samples of one name in one piece below it.
                assert name not in typed
                assert rest in {"gauge", "counter"}
                assert name.endswith("_total") == (rest == "counter")
                typed[name] = rest
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        name, labels, value = match.groups()
        assert name == list(typed)[-1]
        assert (name, labels) not in found, "a series twice"
        found[name, labels] = float(value)
    return found


def test_every_figure_has_its_labels() -> None:
    """Names may hold anything; what is not known is left out."""
    found = check(limit_metrics([GROUP]))
    wanted = {
        ("window_requests", ',window="1"'): 10,
        ("window_used", ',window="1"'): 2,
        ("window_requests", ',window="60"'): 6000,
        ("window_used", ',window="60#2"'): 3,
        ("queued", ',class="asked"'): 3,
        ("share_ratio", ',class="asked"'): 0.7,
        ("class_next_free_seconds", ',class="predicted"'): math.inf,
        ("granted_total", ',class="predicted"'): 1,
        ("in_flight", ""): 1,
        ("next_free_seconds", ""): 0.25,
        ("paused_seconds", ""): 0,
        ("rejected_total", ""): 0,
        ("refused_total", ""): 2,
    }
    for (name, more), value in wanted.items():
        assert found[f"marketd_limit_{name}", LABELS + more] == value
    assert not any("server" in name for name, _ in found)


def test_what_the_server_said_is_there_once_it_did() -> None:
    """With its age, because it may be of yesterday."""
    heard = msgspec.structs.replace(GROUP, server_remaining=9, server_heard_s=1.5)
    found = check(limit_metrics([heard]))
    assert found["marketd_limit_server_remaining", LABELS] == 9
    assert found["marketd_limit_server_heard_seconds", LABELS] == 1.5


def test_many_groups_share_one_type() -> None:
    """The format wants all of a name in one piece."""
    other = msgspec.structs.replace(GROUP, group="ticker")
    assert len(check(limit_metrics([GROUP, other]))) == 2 * len(check(limit_metrics([GROUP])))


def test_of_nothing_there_are_only_types() -> None:
    """A scraper takes that."""
    assert check(limit_metrics([])) == {}


@given(st.text(), st.text(), st.floats())
def test_no_name_and_no_figure_breaks_the_format(group: str, holder: str, value: float) -> None:
    """Names come from exchanges and from users."""
    report = msgspec.structs.replace(GROUP, group=group, holder=holder, next_free_s=value)
    found = check(limit_metrics([report]))
    told = next(each for (name, _), each in found.items() if name.endswith("t_next_free_seconds"))
    assert told == value or math.isnan(value)
