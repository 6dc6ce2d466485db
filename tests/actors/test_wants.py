"""`Wants`: what bots hold is wanted until they let go, what is leased until its time is over."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from actors import wants as wants_module
from actors.errors import Overloaded
from actors.exchanges.streams import StreamKey
from actors.wants import Wants

TICKER = StreamKey("ticker", "KRW-BTC")
BOOK = StreamKey("orderbook", "KRW-BTC")


def many(count: int, name: str = "M") -> dict[StreamKey, int]:
    """Return so many streams."""
    return {StreamKey("ticker", f"{name}-{number}"): 0 for number in range(count)}


def test_the_deepest_book_that_anybody_wants_is_wanted_until_it_is_let_go() -> None:
    """Each holder counts, also two who want the same."""
    wants = Wants()
    with wants.hold({BOOK: 5}), wants.hold({BOOK: 5, TICKER: 0}):
        with wants.hold({BOOK: 30}):
            assert wants.current(0.0) == {BOOK: 30, TICKER: 0}
            assert wants.holders(BOOK) == 3
        assert wants.current(0.0) == {BOOK: 5, TICKER: 0}
    assert wants.current(0.0) == {}
    assert wants.holders(BOOK) == 0


def test_who_fails_while_holding_lets_go_and_may_change_what_it_gave() -> None:
    """A bot's crash, or its dictionary, must not keep a stream for ever."""
    wants = Wants()
    mine = {TICKER: 0}

    def fail() -> None:
        mine.clear()
        raise RuntimeError("bot")

    with pytest.raises(RuntimeError, match="bot"), wants.hold(mine):
        fail()
    assert wants.current(0.0) == {}


def test_leases_end_by_themselves_and_are_only_ever_prolonged() -> None:
    """A later, shorter lease of somebody else takes nothing away."""
    wants = Wants()
    assert wants.next_end_s() == math.inf
    assert wants.lease({BOOK: 15}, until_s=10.0)
    assert wants.lease({BOOK: 5}, until_s=5.0)
    assert wants.next_end_s() == 10.0
    assert wants.current(9.9) == {BOOK: 15}
    with wants.hold({BOOK: 30}):
        assert wants.current(9.9) == {BOOK: 30}
    assert wants.current(10.0) == {}
    assert wants.next_end_s() == math.inf


def test_there_is_a_bound_and_bots_go_before_the_router() -> None:
    """One bot with a loop must not subscribe to the world."""
    wants = Wants()
    most = wants_module.STREAMS_MAX
    assert wants.lease(many(10, "L"), until_s=10.0)
    with wants.hold(many(most - 10)):
        assert len(wants.current(0.0)) == most
        assert not wants.lease({TICKER: 0}, until_s=10.0)
        assert TICKER not in wants.current(0.0)
        with wants.hold({TICKER: 0}):
            assert len(wants.current(0.0)) == most - 9
            with pytest.raises(Overloaded, match="more than 4000"), wants.hold(many(10, "X")):
                pass
        assert len(wants.current(0.0)) == most - 10


async def test_changes_wake_whoever_follows_and_nothing_else_does() -> None:
    """Prolonging a lease is no change: the router does it at every question."""
    wants = Wants()
    woken = 0

    async def follow() -> None:
        nonlocal woken
        while True:
            await wants.wait_changed()
            woken += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        with wants.hold({TICKER: 0}):
            await trio.testing.wait_all_tasks_blocked()
            assert woken == 1
        await trio.testing.wait_all_tasks_blocked()
        assert woken == 2
        for until_s in (1.0, 2.0, 3.0):
            wants.lease({BOOK: 5}, until_s=until_s)
            await trio.testing.wait_all_tasks_blocked()
        assert woken == 3
        wants.lease({BOOK: 15}, until_s=1.0)
        await trio.testing.wait_all_tasks_blocked()
        assert woken == 4
        nursery.cancel_scope.cancel()
