"""An exchange that goes away with everybody waiting for it, and comes back."""

from __future__ import annotations

import itertools
import random
from collections import deque
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from actors.errors import ExchangeUnavailable, RateLimited
from actors.exchanges.upbit.adapter import UpbitAdapter

if TYPE_CHECKING:
    # Kept by pytest, which brings it to the tests as fixtures; not importable when they run.
    from tests.actors.exchanges.conftest import Opened, OpenGate, Server

TRADES = UpbitAdapter().trades("KRW-BTC", count=1)
CALLERS = 500
AWAY_S = 600.0


class Watched:
    """A sliding window of ten a second that notes when requests come, and how many at once."""

    def __init__(self) -> None:
        self.seen: deque[float] = deque(maxlen=10)
        self.arrivals_s: list[float] = []

    def admit(self, now_s: float) -> bool:
        """Count a request; return whether it may pass."""
        is_full = len(self.seen) == 10 and self.seen[0] + 1.0 > now_s
        self.seen.append(now_s)
        self.arrivals_s.append(now_s)
        return not is_full


class Bots:
    """Callers that ask again and again, each as patient as it is."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.late_s: list[float] = []
        self.answers_s: list[float] = []
        self.told_at_once = self.errors = 0

    async def ask_on(self, rng: random.Random) -> None:
        """Ask, and whatever the answer, ask again a little later."""
        while True:
            patience_s, began_s = rng.choice([0.5, 2.0, 10.0, 60.0]), trio.current_time()
            try:
                await self.opened.gate.fetch(TRADES, timeout_s=patience_s)
                self.answers_s.append(trio.current_time())
            except (ExchangeUnavailable, RateLimited) as error:
                self.errors += 1
                self.told_at_once += "not asked" in str(error) and trio.current_time() == began_s
            self.late_s.append(trio.current_time() - began_s - patience_s)
            await trio.sleep(rng.uniform(5.0, 20.0))


@pytest.mark.slow
@pytest.mark.parametrize("dies", ["refuses", "hangs", "answers 503"])
async def test_ten_minutes_without_an_exchange_and_five_hundred_callers(
    dies: str, make_server: type[Server], open_gate: OpenGate
) -> None:
    """One goes to see, nobody waits in vain, and nobody storms in when it is back."""
    watched = Watched()
    server = make_server(admit=watched.admit)
    async with open_gate(server, tries=3) as opened, trio.open_nursery() as nursery:
        bots = Bots(opened)
        for number in range(CALLERS):
            nursery.start_soon(bots.ask_on, random.Random(number))
        await trio.sleep(10)
        server.hangs = dies == "hangs"
        server.status = 503 if dies == "answers 503" else 200
        server.error = httpx.ConnectError("refused") if dies == "refuses" else None
        gone_s = trio.current_time()
        # What was under way when it went, and what each of the first tries takes.
        await trio.sleep(40)
        settled_s, answers_before = trio.current_time(), len(bots.answers_s)
        bots.told_at_once = bots.errors = server.most_at_once = 0
        await trio.sleep(AWAY_S - 40)
        back_s, bots_errors, at_once = trio.current_time(), bots.errors, bots.told_at_once
        assert len(bots.answers_s) == answers_before
        assert server.most_at_once == 1, "one probe at a time"
        server.hangs, server.status, server.error = False, 200, None
        await trio.sleep(60)
        nursery.cancel_scope.cancel()

    probes_s = [at_s for at_s in server.began_s if settled_s <= at_s < back_s]
    # Each time a little later, up to half a minute; a probe whose caller is impatient as before.
    assert AWAY_S / 60 <= len(probes_s) <= AWAY_S / 10
    assert all(later - former >= 0.5 for former, later in itertools.pairwise(probes_s))
    assert at_once / bots_errors > 0.99
    assert max(bots.late_s) <= 1e-6, "nobody waited longer than he said"
    assert server.refusals == 0, "nobody stormed in"
    first_s = min(at_s for at_s in bots.answers_s if at_s > back_s)
    assert first_s - back_s < 60
    after = [at_s for at_s in bots.answers_s if first_s + 2 < at_s < first_s + 12]
    assert len(after) > 85, "and the whole limit is used again"
    # Until it opened, some were under way, and each of these may have tried again.
    assert len([at_s for at_s in server.began_s if gone_s <= at_s < settled_s]) <= 40
