"""What the loaders of one exchange share, and what they keep of those who wait."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from actors.cache_tables import LoadPolicy
from actors.exchanges.base import ExchangeAdapter
from actors.exchanges.clock import ExchangeClock
from actors.exchanges.throttled import ThrottledExchange
from actors.holes import InnerReply
from actors.known import Known
from actors.lessons import Lesson
from actors.messages import Priority
from actors.patience import MORE_S, patience_s
from actors.queries import CandleQuery
from actors.quotes import Source
from actors.series import Series
from runtime.core.clock import Clock
from runtime.core.mailbox import Reply
from runtime.core.ref import ActorRef


@dataclass(frozen=True, slots=True)
class PageWanted:
    """A page somebody lacks: the rows before `to_ms`, or the newest ones."""

    to_ms: int | None


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits for candles.

    Attributes:
      query: What is wanted.
      reply: Where the answer goes.
      asked_s: Since when.
      priority: Whose turn it is when slots are scarce.
      source: The farthest place the answer needed so far.
      lacks_page: Whether it was found to need a page.
    """

    query: CandleQuery
    reply: Reply | InnerReply
    asked_s: float
    priority: Priority
    source: Source = "memory"
    lacks_page: bool = False


@dataclass(frozen=True, slots=True)
class LoaderParts:
    """What the loaders of one exchange share.

    Attributes:
      gate: The way to the exchange.
      adapter: Its language.
      store: Where final candles are kept.
      clock: Our clock.
      exchange_clock: What we know of the exchange's.
      policy: How candles are loaded.
      rows_max: Returns how many closed candles memory keeps of a series.
      publish: Takes what memory now holds of a series.
      count: Takes the source of each answer, `failure` for an error, `page` for each page.
      learnt: Takes what each page proved, and what memory held before it.
    """

    gate: ThrottledExchange
    adapter: ExchangeAdapter
    store: ActorRef
    clock: Clock
    exchange_clock: ExchangeClock
    policy: LoadPolicy
    rows_max: Callable[[Series], int]
    publish: Callable[[Known], None]
    count: Callable[[str], None]
    learnt: Callable[[Series, Lesson, Known | None], None] = lambda *_: None

    def patience_s(self, waiters: Iterable[Waiter]) -> tuple[float, float]:
        """Return how long a page may take for which `waiters` wait, and whom its failure concerns.

        Returns:
          Seconds; and until when those wait, at most, who learn of it if it fails.
        """
        deadlines_s = [waiter.reply.deadline_s for waiter in waiters]
        within_s = patience_s(deadlines_s, self.clock.now_s(), most_s=self.policy.page_timeout_s)
        return within_s, max(deadlines_s, default=math.inf) + MORE_S
