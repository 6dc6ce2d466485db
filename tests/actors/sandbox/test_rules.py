"""`RateRules`: Upbit's limits, 429 and 418, driven by hand-set moments."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.sandbox.rules import (
    FIRST_BLOCK_S,
    FORGIVEN_AFTER_S,
    REFUSALS_BEFORE_BLOCK,
    FixedWindow,
    RateRules,
    SlidingWindow,
    Verdict,
)


def burst(rules: RateRules, count: int, now_s: float, group: str = "candle") -> list[int]:
    """Return the statuses of `count` requests at one moment."""
    return [rules.admit(group, "1.2.3.4", now_s).status for _ in range(count)]


def test_the_eleventh_request_of_a_second_is_refused() -> None:
    """As measured at the real server."""
    assert burst(RateRules(), 11, 5.0) == [200] * 10 + [429]


def test_groups_and_addresses_have_budgets_of_their_own() -> None:
    """Candles do not use up tickers, nor one client another's."""
    rules = RateRules()
    assert burst(rules, 10, 5.0, "candle") == burst(rules, 10, 5.0, "ticker") == [200] * 10
    assert rules.admit("candle", "5.6.7.8", 5.0).status == 200


def test_the_header_counts_down() -> None:
    """Clients steer by `sec`."""
    rules = RateRules()
    assert rules.admit("candle", "a", 0.0).header == (
        "Remaining-Req",
        "group=candle; min=600; sec=9",
    )
    assert rules.admit("candle", "a", 0.1).header[1].endswith("sec=8")
    assert rules.admit("candle", "a", 1.05).header[1].endswith("sec=8")
    assert Verdict(429, "ticker").header[1] == "group=ticker; min=600; sec=0"


def test_an_origin_header_leaves_one_request_in_ten_seconds() -> None:
    """Browsers, and libraries that pretend to be one."""
    rules = RateRules()
    ask = partial(rules.admit, "candle", "a", origin=True)
    assert [ask(now_s).status for now_s in (0.0, 9.9, 19.95)] == [200, 429, 200]
    assert ask(40.0).header[1] == "group=origin; min=6; sec=0"
    assert rules.admit("candle", "a", 0.0).status == 200


@given(st.lists(st.floats(0, 3), max_size=60), st.integers(1, 12))
def test_no_second_wherever_it_begins_lets_more_than_the_limit_through(
    gaps: list[float], limit: int
) -> None:
    """The default model is the strictest reading of the documentation."""
    window, now_s = SlidingWindow(limit, 1.0), 0.0
    arrived: list[float] = []
    for gap in gaps:
        now_s += gap / 10
        arrived.append(now_s)
        recent = sum(moment + 1.0 > now_s for moment in arrived)
        assert (window.arrive(now_s) >= 0) == (recent <= limit)


def test_refused_requests_count_in_the_sliding_window() -> None:
    """Who never pauses is never let in."""
    window = SlidingWindow(2, 1.0)
    assert [window.arrive(n * 0.4) >= 0 for n in range(8)] == [True] * 2 + [False] * 6


def test_fixed_windows_may_touch() -> None:
    """The other model lets twenty through around a border, wherever its phase puts that."""
    rules = RateRules(window=partial(FixedWindow, phase_s=0.3))
    assert burst(rules, 11, 5.29) == [200] * 10 + [429]
    assert burst(rules, 11, 5.31) == [200] * 10 + [429]
    assert burst(rules, 1, 6.29) == [429]


def test_going_on_after_429_is_blocked_for_longer_each_time() -> None:
    """10 s, then 20, then 40; during a block nothing passes in any group."""
    rules = RateRules()
    now_s, lengths = 0.0, []
    for _ in range(3):
        refused = burst(rules, 10 + REFUSALS_BEFORE_BLOCK + 1, now_s)[10:]
        assert set(refused) == {429}
        verdict = rules.admit("ticker", "1.2.3.4", now_s)
        assert (verdict.status, verdict.remaining) == (418, 0)
        lengths.append(verdict.block_s)
        now_s += verdict.block_s
    assert lengths == [FIRST_BLOCK_S, 2 * FIRST_BLOCK_S, 4 * FIRST_BLOCK_S]
    assert rules.admit("ticker", "1.2.3.4", now_s).status == 200


def test_a_block_is_for_one_address() -> None:
    """Others go on."""
    rules = RateRules()
    burst(rules, 40, 0.0)
    assert rules.admit("candle", "5.6.7.8", 0.0).status == 200


def test_hammering_through_a_block_brings_the_next_at_once() -> None:
    """Requests during a block count as going on."""
    rules = RateRules()
    burst(rules, 31, 0.0)
    statuses = [rules.admit("candle", "1.2.3.4", n * 0.05).status for n in range(1, 225)]
    assert statuses[:199] == [418] * 199
    assert statuses[199:211] == [200] * 10 + [429, 418]


def test_a_measured_pace_just_above_the_limit_is_not_blocked() -> None:
    """At 90 ms there were some 429 in 45 s and no block, so fixed windows give none here."""
    rules = RateRules(window=FixedWindow)
    for number in range(500):
        rules.admit("candle", "a", number * 0.09)
    assert rules.refusals["candle", 429] > 20
    assert rules.refusals["candle", 418] == 0


def test_long_peace_is_rewarded() -> None:
    """The next block is a first one again."""
    rules = RateRules()
    burst(rules, 31, 0.0)
    later_s = FIRST_BLOCK_S + FORGIVEN_AFTER_S
    burst(rules, 31, later_s)
    assert rules.admit("candle", "1.2.3.4", later_s).block_s == FIRST_BLOCK_S


def test_refusals_are_counted_by_group_and_status() -> None:
    """A test that claims to be clean reads this."""
    rules = RateRules()
    assert rules.refused() == 0
    burst(rules, 33, 0.0)
    assert dict(rules.refusals) == {("candle", 429): 21, ("candle", 418): 2}
    assert rules.refused() == 23


def test_addresses_are_not_remembered_without_end() -> None:
    """The one silent longest is forgotten."""
    rules = RateRules()
    for number in range(3_000):
        rules.admit("candle", f"client-{number}", 0.0)
    assert len(rules._addresses) == 1_024


@pytest.mark.parametrize("window", [SlidingWindow(3, 1.0), FixedWindow(3, 1.0)])
def test_every_model_counts_the_same_when_nobody_hurries(
    window: SlidingWindow | FixedWindow,
) -> None:
    """They differ only about bursts."""
    assert [window.arrive(float(second)) for second in range(3)] == [2, 2, 2]
