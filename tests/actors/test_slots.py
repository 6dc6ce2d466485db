"""`GroupLedger`: whatever happens, no server of the limit sees more than it allows."""

from __future__ import annotations

import heapq
import math
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.base import RateLimit
from actors.pauses import Pause
from actors.slots import GroupLedger, GroupSnapshot, SlotRules

RULES = SlotRules()
THREE_A_SECOND = RateLimit(requests=3, period_s=1.0)


class Journey(NamedTuple):
    """What becomes of one request; the server counts it at `counted` of the way (0 to 1)."""

    gap_s: float
    took_s: float
    counted: float
    fate: str


JOURNEYS = st.lists(
    st.builds(
        Journey,
        gap_s=st.sampled_from([0.0, 0.0, 0.0, 0.05, 0.7, 3.0]),
        took_s=st.floats(0, 3) | st.sampled_from([0.0, 0.001, 1.0]),
        counted=st.floats(0, 1) | st.sampled_from([0.0, 1.0]),
        fate=st.sampled_from(["answered"] * 5 + ["cancelled", "lost", "not sent"]),
    ),
    max_size=40,
)


def counted_by_server(limit: RateLimit, journeys: list[Journey]) -> list[float]:
    """Run the journeys as fast as the ledger lets them go; return when the server counts them."""
    ledger = GroupLedger(limit, RULES)
    counts: list[float] = []
    ends: list[tuple[float, int, str]] = []
    now_s = 0.0
    for permit_id, journey in enumerate(journeys):
        now_s += journey.gap_s
        while True:
            while ends and ends[0][0] <= now_s:
                end_s, ended, fate = heapq.heappop(ends)
                ledger.settle(ended, end_s, sent=fate != "not sent", answered=fate == "answered")
            if ledger.free(now_s):
                break
            next_end_s = ends[0][0] if ends else math.inf
            now_s = min(ledger.next_change_s(now_s), next_end_s)
        ledger.grant(permit_id, now_s)
        # How late the server may still count it: until it answered, or until it would have come.
        last_s = now_s + journey.took_s
        if journey.fate == "cancelled":
            last_s += RULES.transit_s
        if journey.fate == "lost":
            last_s = now_s + RULES.lost_s
        else:
            heapq.heappush(ends, (now_s + journey.took_s, permit_id, journey.fate))
        if journey.fate != "not sent":
            counts.append(now_s + (last_s - now_s) * journey.counted)
    return sorted(counts)


def refused_by_sliding(limit: RateLimit, counts: list[float]) -> int:
    """Return how many are one too many in the window that ends with them."""
    return sum(
        first_s + limit.period_s > last_s
        for first_s, last_s in zip(counts, counts[limit.requests :], strict=False)
    )


def refused_by_fixed(limit: RateLimit, counts: list[float], phase_s: float) -> int:
    """Return how many are one too many in their window of a fixed grid."""
    windows: dict[int, int] = {}
    for counted_s in counts:
        window = math.floor((counted_s - phase_s) / limit.period_s)
        windows[window] = windows.get(window, 0) + 1
    return sum(max(0, count - limit.requests) for count in windows.values())


def refused_by_bucket(limit: RateLimit, counts: list[float]) -> int:
    """Return how many find a token bucket empty that is refilled evenly."""
    tokens, last_s, refused = float(limit.requests), 0.0, 0
    for counted_s in counts:
        refill = (counted_s - last_s) * limit.requests / limit.period_s
        tokens, last_s = min(limit.requests, tokens + refill), counted_s
        if tokens < 1 - 1e-9:
            refused += 1
        else:
            tokens -= 1
    return refused


@given(
    st.builds(RateLimit, st.integers(1, 4), st.sampled_from([0.5, 1.0, 2.0])),
    JOURNEYS,
    st.floats(0, 1),
)
def test_no_kind_of_server_ever_refuses(
    limit: RateLimit, journeys: list[Journey], phase_s: float
) -> None:
    """The proof in the module's head, tried: any latencies, cancellations and lost permits."""
    counts = counted_by_server(limit, journeys)

    assert refused_by_sliding(limit, counts) == 0
    assert refused_by_fixed(limit, counts, phase_s) == 0
    assert refused_by_bucket(limit, counts) == 0


def test_a_burst_takes_all_slots_and_the_next_waits_for_an_answer_and_a_window() -> None:
    """A slot held from sending on is what makes the limit safe."""
    ledger = GroupLedger(THREE_A_SECOND, RULES)
    for permit_id in range(3):
        ledger.grant(permit_id, 0.0)
    ledger.settle(0, 0.25, sent=True, answered=True)

    assert ledger.free(0.25) == 0
    assert ledger.next_change_s(0.25) == pytest.approx(1.255)
    assert ledger.free(1.25) == 0
    assert ledger.free(1.255) == 1


def test_a_request_never_sent_gives_its_slot_back_at_once() -> None:
    """What never left cannot have been counted."""
    ledger = GroupLedger(RateLimit(1), RULES)
    ledger.grant(7, 0.0)
    ledger.settle(7, 0.1, sent=False, answered=False)

    assert ledger.free(0.1) == 1


def test_a_request_without_an_answer_is_held_for_the_time_it_may_travel() -> None:
    """Cancelling here does not stop what is already on its way."""
    ledger = GroupLedger(RateLimit(1), RULES)
    ledger.grant(7, 0.0)
    ledger.settle(7, 0.1, sent=True, answered=False)

    assert ledger.next_change_s(0.1) == pytest.approx(0.1 + 2.0 + 1.005)


def test_a_permit_that_nobody_gives_back_heals() -> None:
    """A holder that vanished must not cost a slot for ever."""
    ledger = GroupLedger(RateLimit(1), RULES)
    ledger.grant(7, 0.0)

    assert ledger.next_change_s(1.0) == 30.0
    assert ledger.free(30.0) == 0
    assert ledger.free(31.1) == 1


def test_a_release_that_comes_after_healing_still_holds_a_slot() -> None:
    """The late answer proves that the server counted it late."""
    ledger = GroupLedger(RateLimit(1), RULES)
    ledger.grant(7, 0.0)
    assert ledger.free(32.0) == 1

    assert ledger.settle(7, 32.0, sent=True, answered=True) is None
    assert ledger.free(32.5) == 0
    assert ledger.free(33.1) == 1


def test_granting_without_a_free_slot_is_a_mistake_of_the_owner() -> None:
    """The ledger would no longer be one."""
    ledger = GroupLedger(RateLimit(1), RULES)
    ledger.grant(1, 0.0)

    with pytest.raises(ValueError, match="wanted a free slot for permit 2, was none"):
        ledger.grant(2, 0.0)


@given(st.integers(0, 12), st.integers(0, 10))
def test_the_smaller_of_our_forecast_and_the_servers_figure_counts(
    remaining: int, ours: int
) -> None:
    """Others at this address spend from the same limit; the server knows, we do not."""
    ledger = GroupLedger(RateLimit(10), RULES)
    for permit_id in range(ours):
        ledger.grant(permit_id, 0.0)
        ledger.settle(permit_id, 0.0, sent=True, answered=True)
    ledger.heed(remaining, 0.0)

    assert ledger.free(0.0) == min(10 - ours, remaining)
    assert ledger.free(1.1) == 10


def test_the_servers_figure_costs_nothing_when_only_we_are_asking() -> None:
    """At saturation the server reports 0 all the time; heeding that twice would halve our rate."""
    ledger = GroupLedger(THREE_A_SECOND, RULES)
    for permit_id in range(3):
        ledger.grant(permit_id, 0.1 * permit_id)
    for permit_id in range(3):
        ledger.settle(permit_id, 0.5 + 0.1 * permit_id, sent=True, answered=True)
        ledger.heed(2 - permit_id, 0.5 + 0.1 * permit_id)

    assert ledger.next_change_s(0.7) == pytest.approx(1.505)


def test_the_expected_time_counts_those_who_wait_before() -> None:
    """`ready in 2.0 s` is what people plan by."""
    ledger = GroupLedger(THREE_A_SECOND, RULES, spent_until_s=1.0)

    assert ledger.expected_s(0.5, 0) == 1.0
    assert ledger.expected_s(0.5, 2) == 1.0
    assert ledger.expected_s(0.5, 3) == pytest.approx(2.005)
    assert GroupLedger(THREE_A_SECOND, RULES).expected_s(0.5, 2) == 0.5


def test_a_pause_leaves_no_slot_free_until_it_ends() -> None:
    """Free slots are worth nothing while the server refuses."""
    ledger = GroupLedger(THREE_A_SECOND, RULES)
    ledger.pause = Pause(until_s=5.0, began_s=1.0, strikes=1)

    assert ledger.free(4.9) == 0
    assert ledger.next_change_s(4.9) == 5.0
    assert ledger.free(5.0) == 3


@given(JOURNEYS)
def test_a_ledger_comes_back_as_it_was(journeys: list[Journey]) -> None:
    """A crash of its owner must neither forget what was spent nor spend it twice."""
    ledger = GroupLedger(RateLimit(3), RULES)
    now_s = 0.0
    for permit_id, journey in enumerate(journeys):
        now_s += journey.gap_s
        if ledger.free(now_s):
            ledger.grant(permit_id, now_s)
        if journey.fate == "answered":
            ledger.settle(permit_id, now_s, sent=True, answered=True)

    back = GroupLedger.restored(RateLimit(3), RULES, ledger.snapshot(), now_s)

    assert back is not None
    assert back.snapshot() == ledger.snapshot()
    assert back.next_change_s(now_s) == ledger.next_change_s(now_s)


GOOD = GroupSnapshot(in_flight=((1, 4.0),), held=(5.5, 6.0), pause=Pause())


@pytest.mark.parametrize(
    "snapshot",
    [
        None,
        "three slots",
        {"in_flight": 3},
        msgspec.structs.replace(GOOD, in_flight=((1, 4.0), (1, 4.5))),
        msgspec.structs.replace(GOOD, in_flight=((1, 4.0), (2, 4.0), (3, 4.0), (4, 4.0))),
        msgspec.structs.replace(GOOD, in_flight=((1, 5.1),)),
        msgspec.structs.replace(GOOD, in_flight=((1, math.nan),)),
        msgspec.structs.replace(GOOD, held=(6.0, 5.5)),
        msgspec.structs.replace(GOOD, held=(5.5, 9.0)),
        msgspec.structs.replace(GOOD, held=(5.5, math.nan)),
        msgspec.structs.replace(GOOD, held=(6.0, 6.0, 6.0, 6.0)),
        msgspec.structs.replace(GOOD, held=("soon",)),
        msgspec.structs.replace(GOOD, pause=Pause(until_s=1e9, began_s=4.0, strikes=1)),
        msgspec.structs.replace(GOOD, pause=Pause(until_s=6.0, began_s=5.5, strikes=1)),
        msgspec.structs.replace(GOOD, pause=Pause(until_s=6.0, began_s=4.0, strikes=-1)),
        msgspec.structs.replace(GOOD, pause=None),
        object(),
    ],
)
def test_a_ledger_that_cannot_be_is_not_believed(snapshot: object) -> None:
    """What a crash has left may be the very thing that caused it."""
    assert GroupLedger.restored(THREE_A_SECOND, RULES, GOOD, 5.0) is not None
    assert GroupLedger.restored(THREE_A_SECOND, RULES, snapshot, 5.0) is None
