"""What tests of live data need: bots that hold every answer against the truth, in any trouble."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import trio

from actors.candles import Candles
from actors.errors import MarketDataError
from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.faults import Fault
from actors.sandbox.stream_faults import StreamFault
from actors.timeframes import Timeframe
from actors.updates import CandleUpdate
from runtime.core.errors import ActorError
from runtime.testing_rehearsal import Rehearsal

# Everything at once, with rows that are late by less than the settle time of 5 s, less the skew.
EVERY_FAULT: dict[StreamFault, float] = {
    StreamFault.CUT: 180.0,
    StreamFault.HALF_OPEN: 900.0,
    StreamFault.STALL: 400.0,
    StreamFault.DUPLICATE: 0.05,
    StreamFault.REORDER: 0.05,
    StreamFault.LOSE: 0.03,
    StreamFault.LATE_ROWS: 3.5,
    StreamFault.OLD_SNAPSHOT: 0.5,
    StreamFault.CLOCK_SKEW: 1.0,
}

Row = tuple[int, float, float, float, float, float, float]


class Truth:
    """What the candles of some markets will be once they are final, worked out beforehand.

    Args:
      rehearsal: Whose exchange knows.
      markets: Which markets.
      timeframes: Which candles.
      start_ms: First opening time.
      end_ms: First opening time no longer needed.
    """

    def __init__(
        self,
        rehearsal: Rehearsal,
        markets: Iterable[str],
        timeframes: Iterable[str],
        *,
        start_ms: int,
        end_ms: int,
    ) -> None:
        self._rows: dict[tuple[str, str], dict[int, Row]] = {}
        frames = list(timeframes)
        for market in markets:
            for name in frames:
                timeframe = Timeframe.parse(name)
                found = rehearsal.truth(
                    market,
                    name,
                    timeframe.ceil_ms(end_ms),
                    start_ms=timeframe.floor_ms(start_ms),
                )
                self._rows[market, name] = {row.open_time_ms: row[:7] for row in found}

    def rows(self, market: str, timeframe: str, start_ms: int, end_ms: int) -> list[Row]:
        """Return the final rows that open in [start_ms, end_ms)."""
        rows = self._rows[market, timeframe]
        return [rows[open_ms] for open_ms in sorted(rows) if start_ms <= open_ms < end_ms]

    def holds(self, market: str, timeframe: str, candles: Candles) -> None:
        """Assert that every closed row of an answer is final, and that none between is lacking."""
        closed = [row[:7] for row in candles if row.closed]
        if not closed:
            return
        if candles.complete:
            end_ms = closed[-1][0] + 1
            assert closed == self.rows(market, timeframe, closed[0][0], end_ms), (market, timeframe)
        else:
            known = self._rows[market, timeframe]
            assert all(known.get(row[0]) == row for row in closed), (market, timeframe)


class Listener:
    """A bot that is told of closed candles, and checks each at once.

    Attributes:
      told: Opening times it was told, by market and timeframe, in the order they came.
    """

    def __init__(self, rehearsal: Rehearsal, truth: Truth) -> None:
        self._rehearsal = rehearsal
        self._truth = truth
        self.told: dict[tuple[str, str], list[int]] = {}

    async def listen(self, markets: Sequence[str], timeframe: str) -> None:
        """Listen until cancelled."""
        stream = self._rehearsal.market.subscribe(
            "candles", *markets, timeframe=timeframe, closed=True, keep="every"
        )
        async with stream as updates:
            async for update in updates:
                if isinstance(update, CandleUpdate):
                    self._take(update)

    def _take(self, update: CandleUpdate) -> None:
        assert update.closed
        row = (
            update.open_time_ms,
            update.open,
            update.high,
            update.low,
            update.close,
            update.volume,
            update.value,
        )
        market, timeframe, open_ms = update.market, update.timeframe, update.open_time_ms
        wanted = self._truth.rows(market, timeframe, open_ms, open_ms + 1)
        assert [row] == wanted, (market, timeframe)
        told = self.told.setdefault((market, timeframe), [])
        assert not told or told[-1] < open_ms, "told in order, each once"
        told.append(open_ms)


async def ask_at_random(
    rehearsal: Rehearsal,
    truth: Truth,
    markets: Sequence[str],
    timeframes: Sequence[str],
    rng: random.Random,
) -> None:
    """Ask for candles of all kinds until cancelled, and check every answer."""
    while True:
        await trio.sleep(rng.uniform(0.5, 30.0))
        market, timeframe = rng.choice(markets), rng.choice(timeframes)
        closed = bool(rng.getrandbits(1))
        try:
            candles = await rehearsal.market.candles(
                market, timeframe, rng.randint(1, 60), closed=closed, timeout_s=60
            )
        except (MarketDataError, ActorError):
            # With the exchange in such a state that is an answer, too.
            continue
        truth.holds(market, timeframe, candles)


async def trouble(exchange: SandboxExchange, rng: random.Random) -> None:
    """Let requests fail now and then, until cancelled."""
    kinds = [Fault.STATUS_500, Fault.HANG, Fault.HALF_BODY, Fault.GARBAGE, Fault.AWAY]
    while True:
        await trio.sleep(rng.uniform(60.0, 600.0))
        exchange.faults.switch_on(rng.choice(kinds), times=rng.randint(1, 3))
