"""`GroupLedger`: whatever happens, no server of these limits sees more than it allows."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.base import RateLimit
from actors.pauses import Pause
from actors.slots import GroupLedger, SlotRules

RULES = SlotRules()
ONE, THREE = (RateLimit(1),), (RateLimit(requests=3, period_s=1.0),)
HOLD_S = 1.005


class Journey(NamedTuple):
    """What becomes of one request; the server counts it at `counted` of the way (0 to 1)."""

    gap_s: float
    took_s: float
    counted: float
    fate: str
    weight: int


class Count(NamedTuple):
    """When a server counted a request, and as how much."""

    time_s: float
    weight: int


JOURNEYS = st.lists(
    st.builds(
        Journey,
        gap_s=st.sampled_from([0.0, 0.0, 0.0, 0.05, 0.7, 3.0]),
        took_s=st.floats(0, 3) | st.sampled_from([0.0, 0.001, 1.0]),
        counted=st.floats(0, 1) | st.sampled_from([0.0, 1.0]),
        fate=st.sampled_from(["answered"] * 5 + ["cancelled", "lost", "not sent"]),
        weight=st.integers(1, 3),
    ),
    max_size=40,
)
WINDOWS = st.lists(
    st.builds(RateLimit, st.integers(3, 6), st.sampled_from([0.5, 1.0, 2.0, 7.0]), st.booleans()),
    min_size=1,
    max_size=3,
)


def counted_by_server(windows: Sequence[RateLimit], journeys: list[Journey]) -> list[Count]:
    """Run the journeys as fast as the ledger lets them go; return what the server counts."""
    ledger = GroupLedger(windows, RULES)
    counts: list[Count] = []
    ends: list[tuple[float, int, int, str]] = []
    now_s = 0.0
    for permit_id, journey in enumerate(journeys, start=1):
        now_s += journey.gap_s
        while True:
            while ends and ends[0][0] <= now_s:
                end_s, ended, weight, fate = heapq.heappop(ends)
                answered = fate == "answered"
                ledger.settle(ended, weight, end_s, sent=fate != "not sent", answered=answered)
            if ledger.fits(journey.weight, now_s):
                break
            next_end_s = ends[0][0] if ends else math.inf
            now_s = min(ledger.fits_s(journey.weight, now_s), next_end_s)
        ledger.grant(permit_id, journey.weight, now_s)
        # How late the server may still count it: until it answered, or until it would have come.
        last_s = now_s + journey.took_s
        if journey.fate == "cancelled":
            last_s += RULES.transit_s
        if journey.fate == "lost":
            last_s = now_s + RULES.lost_s
        else:
            heapq.heappush(ends, (now_s + journey.took_s, permit_id, journey.weight, journey.fate))
        if journey.fate != "not sent":
            counts.append(Count(now_s + (last_s - now_s) * journey.counted, journey.weight))
    return sorted(counts)


def cost(limit: RateLimit, count: Count) -> int:
    """Return how many slots of a limit a request takes."""
    return count.weight if limit.weighted else 1


def refused_by_sliding(limit: RateLimit, counts: list[Count], period_s: float) -> int:
    """Return how many are too many in the window that ends with them."""
    return sum(
        sum(cost(limit, other) for other in counts if last.time_s - period_s < other.time_s
            and other.time_s <= last.time_s) > limit.requests
        for last in counts
    )  # fmt: skip


def refused_by_fixed(limit: RateLimit, counts: list[Count], phase: float) -> int:
    """Return by how much the windows of a fixed grid are overrun."""
    windows: dict[int, int] = {}
    for count in counts:
        window = math.floor(count.time_s / limit.period_s - phase)
        windows[window] = windows.get(window, 0) + cost(limit, count)
    return sum(max(0, used - limit.requests) for used in windows.values())


def refused_by_bucket(limit: RateLimit, counts: list[Count]) -> int:
    """Return how many find a token bucket too empty that is refilled evenly."""
    tokens, last_s, refused = float(limit.requests), 0.0, 0
    for count in counts:
        refill = (count.time_s - last_s) * limit.requests / limit.period_s
        tokens, last_s = min(limit.requests, tokens + refill), count.time_s
        if tokens < cost(limit, count) - 1e-9:
            refused += 1
        else:
            tokens -= cost(limit, count)
    return refused


@given(WINDOWS, JOURNEYS, st.floats(0, 1))
def test_no_kind_of_server_ever_refuses(
    windows: list[RateLimit], journeys: list[Journey], phase: float
) -> None:
    """The proof in the module's head, tried: latencies, weights, cancellations, lost permits."""
    counts = counted_by_server(windows, journeys)

    for limit in windows:
        # A server whose clock is slow has a longer window.
        assert refused_by_sliding(limit, counts, limit.period_s * (1 + RULES.drift)) == 0
        assert refused_by_fixed(limit, counts, phase) == 0
        assert refused_by_bucket(limit, counts) == 0


def test_a_burst_takes_all_slots_and_the_next_waits_for_an_answer_and_a_window() -> None:
    """A slot held from sending on is what makes the limit safe."""
    ledger = GroupLedger(THREE, RULES)
    for permit_id in range(1, 4):
        ledger.grant(permit_id, 1, 0.0)
    ledger.settle(1, 1, 0.25, sent=True, answered=True)

    assert not ledger.fits(1, 0.25)
    assert ledger.fits_s(1, 0.25) == pytest.approx(0.25 + HOLD_S)
    assert not ledger.fits(1, 1.25)
    assert ledger.fits(1, 1.2551)


def test_every_window_must_have_room() -> None:
    """Ten a second, but no more than twelve in ten seconds."""
    ledger = GroupLedger((RateLimit(10, 1.0), RateLimit(12, 10.0)), RULES)
    for permit_id in range(1, 11):
        ledger.grant(permit_id, 1, 0.0)
        ledger.settle(permit_id, 1, 0.0, sent=True, answered=True)

    assert ledger.fits_s(1, 0.0) == pytest.approx(HOLD_S)
    assert ledger.fits(2, 1.1)
    assert not ledger.fits(3, 1.1)
    assert ledger.fits_s(3, 1.1) == pytest.approx(10.014)
    assert ledger.used == [0, 10]


def test_a_heavy_request_takes_as_many_slots_and_counts_as_one_where_weight_does_not() -> None:
    """Binance has a limit of weight, and one of requests beside it."""
    ledger = GroupLedger((RateLimit(100, 1.0), RateLimit(3, 1.0, weighted=False)), RULES)
    ledger.grant(1, 80, 0.0)

    assert ledger.used == [80, 1]
    assert ledger.weight_max == 100
    assert ledger.fits(20, 0.0)
    assert not ledger.fits(21, 0.0)
    ledger.grant(2, 1, 0.0)
    ledger.grant(3, 1, 0.0)
    assert not ledger.fits(1, 0.0)


def test_a_request_never_sent_gives_its_slot_back_at_once() -> None:
    """What never left cannot have been counted."""
    ledger = GroupLedger(ONE, RULES)
    ledger.grant(7, 1, 0.0)
    ledger.settle(7, 1, 0.1, sent=False, answered=False)

    assert ledger.fits(1, 0.1)
    assert ledger.is_idle


def test_a_request_without_an_answer_is_held_for_the_time_it_may_travel() -> None:
    """Cancelling here does not stop what is already on its way."""
    ledger = GroupLedger(ONE, RULES)
    ledger.grant(7, 1, 0.0)
    ledger.settle(7, 1, 0.1, sent=True, answered=False)

    assert ledger.fits_s(1, 0.1) == pytest.approx(0.1 + 2.0 + HOLD_S)


def test_a_permit_that_nobody_gives_back_heals() -> None:
    """A holder that vanished must not cost a slot for ever."""
    ledger = GroupLedger(ONE, RULES)
    ledger.grant(7, 1, 0.0)

    assert ledger.fits_s(1, 1.0) == 30.0
    assert not ledger.fits(1, 30.0)
    assert ledger.fits(1, 31.1)


def test_a_release_that_comes_after_healing_still_holds_a_slot() -> None:
    """The late answer proves that the server counted it late."""
    ledger = GroupLedger(ONE, RULES)
    ledger.grant(7, 1, 0.0)
    assert ledger.fits(1, 32.0)

    assert ledger.settle(7, 1, 32.0, sent=True, answered=True) is None
    assert not ledger.fits(1, 32.5)
    assert ledger.fits(1, 33.1)


def test_granting_without_a_free_slot_is_a_mistake_of_the_owner() -> None:
    """The ledger would no longer be one."""
    ledger = GroupLedger(ONE, RULES)
    ledger.grant(1, 1, 0.0)

    with pytest.raises(ValueError, match="wanted slots for permit 2 of weight 1, were none"):
        ledger.grant(2, 1, 0.0)


# ------------------------------------------------------------------ what the server says


def room(ledger: GroupLedger, now_s: float) -> int:
    """Return how many requests could go now."""
    return max((n for n in range(1, 20) if ledger.fits(n, now_s)), default=0)


@given(st.integers(0, 12), st.integers(0, 10))
def test_the_smaller_of_our_forecast_and_the_servers_figure_counts(
    remaining: int, ours: int
) -> None:
    """Others at this address spend from the same limit; the server knows, we do not."""
    ledger = GroupLedger((RateLimit(10),), RULES)
    for permit_id in range(1, ours + 1):
        ledger.grant(permit_id, 1, 0.0)
        ledger.settle(permit_id, 1, 0.0, sent=True, answered=True)
    ledger.heed(remaining, 0.0, granted_s=None)

    assert room(ledger, 0.0) == min(10 - ours, remaining)
    assert room(ledger, 1.1) == 10


def test_the_servers_figure_costs_nothing_when_only_we_are_asking() -> None:
    """At saturation the server reports 0 all the time; heeding that twice would halve our rate."""
    ledger = GroupLedger(THREE, RULES)
    for permit_id in range(1, 4):
        ledger.grant(permit_id, 1, 0.1 * permit_id)
    for permit_id in range(1, 4):
        now_s = 0.5 + 0.1 * permit_id
        ledger.settle(permit_id, 1, now_s, sent=True, answered=True)
        ledger.heed(3 - permit_id, now_s, granted_s=0.1 * permit_id)

    assert ledger.fits_s(1, 0.8) == pytest.approx(0.6 + HOLD_S)


def test_what_the_server_counted_before_a_slot_became_free_is_ours() -> None:
    """A slow answer tells of a past in which we had more in use; that was nobody else."""
    ledger = GroupLedger(THREE, RULES)
    for permit_id in (1, 2, 3):
        ledger.grant(permit_id, 1, 0.0)
    for permit_id in (1, 2):
        ledger.settle(permit_id, 1, 0.01, sent=True, answered=True)
    assert ledger.fits(2, 1.5)
    ledger.settle(3, 1, 1.5, sent=True, answered=True)
    ledger.heed(0, 1.5, granted_s=0.0)

    assert ledger.fits(2, 1.5)


def test_what_others_spent_is_held_in_the_window_that_the_server_spoke_of() -> None:
    """Of the other windows it said nothing."""
    ledger = GroupLedger((RateLimit(5, 1.0), RateLimit(10, 60.0)), RULES)
    ledger.heed(3, 0.0, granted_s=None, window=1)

    assert ledger.used == [0, 7]
    assert not ledger.fits(4, 59.0)
    assert ledger.fits(4, 61.0)


# ------------------------------------------------------------------ forecasts


def test_the_earliest_time_counts_those_who_wait_before() -> None:
    """`ready in 2.0 s` is what people plan by."""
    ledger = GroupLedger(THREE, RULES)
    ledger.spend_all(0.0)

    assert ledger.earliest_s(1, 1, 0.5) == pytest.approx(HOLD_S)
    assert ledger.earliest_s(3, 3, 0.5) == pytest.approx(HOLD_S)
    assert ledger.earliest_s(4, 4, 0.5) == pytest.approx(2 * HOLD_S)
    assert GroupLedger(THREE, RULES).earliest_s(3, 3, 0.5) == 0.5


@given(WINDOWS, JOURNEYS, st.integers(1, 12))
def test_nobody_is_ever_served_before_the_earliest_time(
    windows: list[RateLimit], journeys: list[Journey], waiting: int
) -> None:
    """Who is refused because of it could not have been served, however well it all had gone."""
    ledger = GroupLedger(windows, RULES)
    now_s = 0.0
    out: list[int] = []
    for permit_id, journey in enumerate(journeys, start=1):
        now_s += journey.gap_s
        if ledger.fits(journey.weight, now_s):
            ledger.grant(permit_id, journey.weight, now_s)
            if journey.fate == "answered":
                ledger.settle(permit_id, journey.weight, now_s, sent=True, answered=True)
            else:
                out.append(permit_id)
    promised_s = ledger.earliest_s(waiting, waiting, now_s)

    # As fast as can be: all that is out is answered now, and so is each that follows.
    for permit_id in out:
        ledger.settle(permit_id, 1, now_s, sent=True, answered=True)
    for permit_id in range(1_000, 1_000 + waiting):
        now_s = max(now_s, ledger.fits_s(1, now_s))
        ledger.grant(permit_id, 1, now_s)
        ledger.settle(permit_id, 1, now_s, sent=True, answered=True)
    assert now_s >= promised_s - 1e-9


def test_a_pause_leaves_no_slot_free_until_it_ends() -> None:
    """Free slots are worth nothing while the server refuses."""
    ledger = GroupLedger(THREE, RULES)
    ledger.pause = Pause(until_s=5.0, began_s=1.0, strikes=1)

    assert not ledger.fits(1, 4.9)
    assert ledger.fits_s(1, 4.9) == ledger.earliest_s(1, 1, 4.9) == 5.0
    assert ledger.fits(3, 5.0)
