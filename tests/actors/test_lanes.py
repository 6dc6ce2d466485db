"""`Desk`: who goes next, where groups have limits of their own and limits in common."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from actors.exchanges.base import RateLimit
from actors.lanes import Desk, Lane
from actors.messages import Priority
from actors.pauses import PauseRules
from actors.slots import GroupLedger, SlotRules
from actors.turns import SHARES, Turns
from actors.waiting import Waiter
from runtime.core.mailbox import Reply

PRIORITIES = list(Priority)
FOREVER = Reply(deadline_s=float("inf"))


def nobody_left() -> None:
    """Take note of nobody: in these tests nobody goes away."""


class Shop:
    """A desk with some lanes that draw on one pool, and everything that happens there."""

    def __init__(self, sizes: list[int], pool_size: int) -> None:
        self.desk = Desk(Turns(SHARES), left=nobody_left)
        pool = self._lane("pool", pool_size, ())
        self.lanes = [self._lane(str(n), size, (pool,)) for n, size in enumerate(sizes)]
        self.served: list[tuple[Lane, Waiter]] = []
        self._arrivals = itertools.count(1)
        self._ids = itertools.count(1)

    def _lane(self, name: str, size: int, pools: tuple[Lane, ...]) -> Lane:
        ledger = GroupLedger((RateLimit(size),), SlotRules())
        lane = Lane((name, ""), ledger, PauseRules(first_s=1.0, longest_s=60.0), pools)
        self.desk.lanes.append(lane)
        return lane

    def join(self, lane: Lane, priority: Priority, weight: int) -> None:
        """Put somebody in line."""
        self.desk.join(lane, Waiter(next(self._arrivals), priority, weight, 0.0, FOREVER))

    def serve(self, now_s: float) -> None:
        """Let go whoever can; all are answered at once."""
        while (found := self.desk.next(now_s)) is not None:
            lane, waiter = found
            spend_id = next(self._ids)
            for ledger in lane.ledgers:
                ledger.grant(spend_id, waiter.weight, now_s)
                ledger.settle(spend_id, waiter.weight, now_s, sent=True, answered=True)
            self.served.append(found)

    def serve_all(self) -> float:
        """Let time pass until nobody waits; return how much did."""
        now_s = 0.0
        self.serve(now_s)
        while self.desk:
            assert now_s < self.desk.wake_s < float("inf"), "somebody waits and nobody is coming"
            now_s = self.desk.wake_s
            self.serve(now_s)
        return now_s


JOINS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(PRIORITIES), st.integers(1, 3)), max_size=60
)


@given(st.lists(st.integers(3, 6), min_size=3, max_size=3), st.integers(3, 8), JOINS)
def test_within_a_priority_everybody_in_a_lane_goes_in_the_order_in_which_he_came(
    sizes: list[int], pool_size: int, joins: list[tuple[int, Priority, int]]
) -> None:
    """Whatever they weigh, whoever else draws on the same pool; and everybody does go."""
    shop = Shop(sizes, pool_size)
    for number, priority, weight in joins:
        shop.join(shop.lanes[number], priority, weight)
    shop.serve_all()

    assert len(shop.served) == len(joins)
    for lane, priority in itertools.product(shop.lanes, PRIORITIES):
        arrivals = [w.arrival for at, w in shop.served if at is lane and w.priority is priority]
        assert arrivals == sorted(arrivals)


@given(
    st.lists(st.integers(3, 6), min_size=3, max_size=3),
    st.sets(st.sampled_from(PRIORITIES), min_size=1),
    st.lists(st.integers(1, 3), min_size=1, max_size=8),
    st.integers(3, 8),
)
def test_no_priority_gets_less_of_a_pool_than_its_share(
    sizes: list[int], asking: set[Priority], weights: list[int], pool_size: int
) -> None:
    """As long as somebody of it waits; the lane he waits in does not matter."""
    shop = Shop([pool_size + size for size in sizes], pool_size)
    heavy = itertools.cycle(weights)
    lanes = itertools.cycle(shop.lanes)
    for _ in range(40):
        for priority in asking:
            shop.join(next(lanes), priority, next(heavy))
    for turn in range(25):
        shop.serve(turn * 1.01)
    got = dict.fromkeys(PRIORITIES, 0)
    total = 0
    for _, waiter in shop.served:
        # Only while all of them still had somebody waiting.
        if any(got[each] >= 40 for each in asking):
            break
        got[waiter.priority] += waiter.weight
        total += waiter.weight
    for priority in asking:
        # Each of the others may have its turn before, with the heaviest there is.
        assert got[priority] >= SHARES[priority] * total - 3 * len(PRIORITIES) - 10


@given(st.integers(1, 40), st.sampled_from(PRIORITIES), st.integers(0, 3), st.integers(0, 30))
def test_a_forecast_is_never_later_than_what_then_happens(
    ahead: int, priority: Priority, weight_before: int, above: int
) -> None:
    """Who is sent away because of it could not have been served in time."""
    shop = Shop([5], 5)
    (lane,) = shop.lanes
    for number in range(above):
        shop.join(lane, PRIORITIES[number % (priority + 1)], 1)
    for _ in range(ahead):
        shop.join(lane, priority, 1 + weight_before)
    promised_s = shop.desk.earliest_s(lane, priority, 1, 0.0)
    shop.join(lane, priority, 1)
    now_s = 0.0
    mine = max(w.arrival for w in lane.line)
    shop.serve(now_s)
    while all(w.arrival != mine for _, w in shop.served):
        now_s = shop.desk.wake_s
        shop.serve(now_s)

    assert now_s >= promised_s - 1e-9
