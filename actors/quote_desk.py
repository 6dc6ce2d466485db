"""`QuoteDesk`: what changes by the moment (tickers, order books, trades), fetched once for all.

Whoever asks for a key that was asked for a moment ago gets that answer; whoever asks while it is
being fetched waits for the same fetch; keys wanted at the same time go out in one request, as many
as the exchange takes, and more of them in several requests at once. Lives inside the CacheActor.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from actors.errors import MarketDataError, UnknownMarket
from actors.patience import MORE_S, patience_s
from runtime.core.clock import Clock
from runtime.core.errors import ActorError
from runtime.core.mailbox import Reply
from runtime.core.table import Table, TableWriter

# A request is tried no longer than this, however long its caller would wait.
_FETCH_S_MAX = 60.0
# Nobody who asks for a ticker is served by one older than this.
KEPT_S = 600.0


@dataclass(frozen=True, slots=True)
class Quote:
    """A value and when it was asked for, on `Clock.now_s`."""

    value: Any
    asked_s: float


QuoteKey = tuple[str, str]
"""What it is (`ticker`, `orderbook`, …) and which market, by the exchange's code."""


@dataclass(slots=True, eq=False)
class _Waiter:
    keys: tuple[QuoteKey, ...]
    since_s: float
    reply: Reply
    compose: Callable[[Sequence[Any]], object]


class QuoteDesk:
    """One kind of quote of one exchange.

    Args:
      fetch: Fetches the values of some codes, at most `batch_max`, in one request, within so many
        seconds.
      batch_max: Most codes in one request.
      writer: Where answers are published for readers.
      table: What is published; a quote stays in it for `KEPT_S` at least.
      clock: Where time is read.
      gather_s: How long to wait for others to join a request.
    """

    def __init__(
        self,
        fetch: Callable[[Sequence[str], float], Awaitable[Mapping[str, Quote]]],
        *,
        batch_max: int,
        writer: TableWriter[QuoteKey, Quote],
        table: Table[QuoteKey, Quote],
        clock: Clock,
        gather_s: float,
    ) -> None:
        self._fetch = fetch
        self._batch_max = batch_max
        self._writer = writer
        self._table = table
        self._clock = clock
        self._gather_s = gather_s
        self._waiters: list[_Waiter] = []
        self._under_way: set[QuoteKey] = set()
        self._bell = trio.Event()
        self.running = False

    def add(
        self,
        keys: tuple[QuoteKey, ...],
        reply: Reply,
        *,
        max_age_s: float,
        compose: Callable[[Sequence[Any]], object],
    ) -> None:
        """Let `reply` be answered with `compose` of the values of `keys`, in their order."""
        since_s = self._clock.now_s() - max_age_s
        self._waiters.append(_Waiter(keys, since_s, reply, compose))
        self._bell.set()

    async def run(self) -> None:
        """Fetch until nobody waits any more."""
        async with trio.open_nursery() as nursery:
            while self._waiters:
                await trio.sleep(self._gather_s)
                self._bell = trio.Event()
                keys = [key for key in self._answer_all() if key not in self._under_way]
                for start in range(0, len(keys), self._batch_max):
                    batch = keys[start : start + self._batch_max]
                    self._under_way.update(batch)
                    nursery.start_soon(self._fetch_batch, batch)
                if self._waiters:
                    # Somebody new has come, or a batch is back.
                    await self._bell.wait()
            # Here, and not once the last request is back: who comes meanwhile begins a new run.
            self.running = False

    def _let_go(self) -> None:
        """Drop what nobody has asked for in a long time: there are many markets."""
        oldest_s = self._clock.now_s() - KEPT_S
        for key, quote in self._table.items():
            if quote.asked_s < oldest_s:
                self._writer.delete(key)

    def _answer_all(self) -> list[QuoteKey]:
        """Answer whom the table can answer; return the keys that the others lack, oldest first."""
        lacking: dict[QuoteKey, None] = {}
        for waiter in list(self._waiters):
            quotes = [self._young(key, waiter.since_s) for key in waiter.keys]
            if waiter.reply.abandoned:
                self._waiters.remove(waiter)
            elif None in quotes:
                stale = (k for k, quote in zip(waiter.keys, quotes, strict=True) if quote is None)
                lacking.update(dict.fromkeys(stale))
            else:
                self._waiters.remove(waiter)
                values = [quote.value for quote in quotes if quote is not None]
                waiter.reply.send(waiter.compose(values))
        return list(lacking)

    def _young(self, key: QuoteKey, since_s: float) -> Quote | None:
        quote = self._table.get(key)
        return quote if quote is not None and quote.asked_s >= since_s else None

    async def _fetch_batch(self, keys: list[QuoteKey]) -> None:
        try:
            await self._fetch_keys(keys)
        finally:
            self._under_way.difference_update(keys)
        self._let_go()
        self._bell.set()

    async def _fetch_keys(self, keys: list[QuoteKey]) -> None:
        wanted = set(keys)
        waiting = [w.reply.deadline_s for w in self._waiters if not wanted.isdisjoint(w.keys)]
        if not waiting:
            return
        within_s = patience_s(waiting, self._clock.now_s(), most_s=_FETCH_S_MAX)
        until_s = max(waiting) + MORE_S
        try:
            quotes = await self._fetch([code for _, code in keys], within_s)
        except UnknownMarket as error:
            if len(keys) == 1:
                self._fail(keys, error)
                return
            # One bad code fails the whole request, and the exchange does not say which one it is.
            # Halving finds it in a few requests; each code alone would take as many as there are.
            half = len(keys) // 2
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._fetch_keys, keys[:half])
                nursery.start_soon(self._fetch_keys, keys[half:])
            return
        except (MarketDataError, ActorError) as error:
            self._fail(keys, error, until_s=until_s)
            return
        for key in keys:
            if key[1] in quotes:
                self._writer.put(key, quotes[key[1]])
        left_out = [key for key in keys if key[1] not in quotes]
        if left_out:
            codes = " ".join(code for _, code in left_out)
            self._fail(left_out, UnknownMarket(f"the exchange has nothing for {codes}"))
        # At once, and not after the others that are under way.
        self._answer_all()

    def _fail(
        self, keys: Sequence[QuoteKey], error: Exception, *, until_s: float = math.inf
    ) -> None:
        """Give the error to all who lack one of `keys`, and wait no longer than `until_s`.

        Who came later and is more patient gets a request of his own, with all of his time.
        """
        failed = set(keys)
        for waiter in [each for each in self._waiters if each.reply.deadline_s <= until_s]:
            lacking = (key for key in waiter.keys if self._young(key, waiter.since_s) is None)
            if not failed.isdisjoint(lacking):
                self._waiters.remove(waiter)
                waiter.reply.fail(copy.copy(error))
