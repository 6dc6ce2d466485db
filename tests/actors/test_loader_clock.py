"""`SeriesLoader` and the exchange's clock: nothing of its future is believed, kept or told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from actors.errors import InvalidRequest, MalformedPayload
from actors.sandbox.exchange import Answer, SandboxExchange
from actors.sandbox.market import SandboxMarket
from actors.sandbox.simulated_time import SimulatedTime
from runtime.core.clock import TrioClock
from runtime.testing import NEW_YEAR_MS, open_rehearsal
from runtime.testing_rehearsal import generated

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """All generated markets with ten days of history."""
    return generated(history_days=10)


class TwoClocks(SandboxExchange):
    """An exchange whose rows are an hour ahead of the date it gives."""

    def handle(self, *request: Any) -> Answer:
        """Answer with what is true in an hour."""
        answer = super().handle(*request)
        headers: Sequence[tuple[str, str]] = [h for h in answer.headers if h[0] != "Date"]
        date = ("Date", "Thu, 01 Jan 2026 00:00:00 GMT")
        return Answer(answer.status, (date, *headers), answer.body, answer.delivery)


async def test_candles_of_the_exchange_s_own_future_are_refused_and_not_kept(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """They would be served as final for ever."""
    ahead = SimulatedTime(clock, start_ms=NEW_YEAR_MS + HOUR_MS)
    exchange = TwoClocks(markets, clock=clock, time=ahead)
    async with open_rehearsal(tmp_path, exchange, clock=clock) as application:
        for _ in range(2):
            with pytest.raises(MalformedPayload, match="upbit says it is 2026-01-01T00:00:00Z"):
                await application.market.candles("KRW-BTC", "1m", 5)
        assert (await application.market.cache()).store_candles == 0


async def test_a_clock_that_is_set_back_shows_nothing_of_its_future(
    tmp_path: Path, clock: TrioClock, markets: tuple[SandboxMarket, ...]
) -> None:
    """A rehearsal begun anew, with what the last one left in memory and in the store."""
    later = SimulatedTime(clock, start_ms=NEW_YEAR_MS + HOUR_MS)
    exchange = SandboxExchange(markets, clock=clock, time=later)
    async with open_rehearsal(tmp_path, exchange, clock=clock) as application:
        market = application.market
        assert (await market.candles("KRW-BTC", "1m", 30))[-1].open_time_ms > NEW_YEAR_MS

        exchange.time = SimulatedTime(clock, start_ms=NEW_YEAR_MS)
        newest = await market.candles("KRW-BTC", "1m", 30, max_age_s=0)
        assert newest[-1].open_time_ms <= exchange.time.now_ms()
        with pytest.raises(InvalidRequest, match="end must not lie in the future"):
            await market.candles("KRW-BTC", "1m", 30, end=NEW_YEAR_MS + HOUR_MS)
