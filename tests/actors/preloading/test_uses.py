"""What bots ask for, as they ask it."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from actors.preloading.uses import EVERY_S, PENDING_MAX, SERIES_MAX, Use, Uses

KEY = ("KRW-BTC", "1m")


def note(uses: Uses, at_s: float, depth: int = 200, key: tuple[str, str] = KEY) -> None:
    """Note a use."""
    uses.note(key, at_s, depth, closed=False, max_age_s=1.0, hit=True)


async def test_uses_come_in_the_order_in_which_they_were_made() -> None:
    """Habits are about what follows what."""
    uses = Uses()
    note(uses, 0.0)
    note(uses, 0.1, key=("KRW-ETH", "1m"))
    taken = await uses.take()
    assert [use.key[0] for use in taken] == ["KRW-BTC", "KRW-ETH"]
    assert taken[0] == Use(KEY, 0.0, 200, closed=False, max_age_s=1.0, hit=True)


async def test_who_takes_waits_until_there_is_something() -> None:
    """And is woken by the first."""
    uses, found = Uses(), list[Use]()

    async def take() -> None:
        found.extend(await uses.take())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        assert found == []
        note(uses, 1.0)
    assert len(found) == 1


async def test_the_same_again_at_once_is_not_news_unless_it_is_deeper() -> None:
    """Reads take a microsecond, and noting them must not take more."""
    uses = Uses()
    for at_s, depth in ((0.0, 200), (0.1, 200), (0.2, 10), (0.3, 500), (0.4, 500)):
        note(uses, at_s, depth)
    note(uses, 0.3 + EVERY_S, 10)
    assert [use.depth for use in await uses.take()] == [200, 500, 10]


async def test_what_nobody_takes_is_dropped_the_oldest_first() -> None:
    """A reader that is gone costs no memory without end."""
    uses = Uses()
    for number in range(PENDING_MAX + 3):
        note(uses, float(number))
    taken = await uses.take()
    assert len(taken) == PENDING_MAX
    assert taken[0].at_s == 3.0
    assert uses.dropped == 3


async def test_no_more_series_are_remembered_than_there_may_be() -> None:
    """The one asked for longest ago is forgotten."""
    uses = Uses()
    for number in range(SERIES_MAX + 1):
        note(uses, 0.0, key=(f"KRW-{number}", "1m"))
    # The first was forgotten, so it is told anew; the last was not.
    note(uses, 0.1, key=("KRW-0", "1m"))
    note(uses, 0.1, key=(f"KRW-{SERIES_MAX}", "1m"))
    assert len(await uses.take()) == SERIES_MAX + 2
