"""Upbit's request limits, as the server keeps them: a state machine without time of its own.

Each client address may send 10 requests a second in each group, and open 5 streams. One too many
is answered 429; who goes on regardless is shut out for a while with 418, each time for longer.

Source: `Remaining-Req`, groups, the rule for `Origin` and "10 passed, the 11th was refused" are
Upbit's (docs.upbit.com rate limits, read 2026-10-07; measured 2025-09-12). When a block begins and
how long it lasts Upbit does not say; those figures are ours and stand below.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

ORIGIN_GROUP = "origin"
CONNECT_GROUP = "websocket-connect"

_LIMIT = (10, 1.0)
# Both hold for every connection, whoever opened it.
MESSAGE_GROUPS = ("websocket-message", "websocket-message-minute")
_LIMITS = {
    ORIGIN_GROUP: (1, 10.0),
    CONNECT_GROUP: (5, 1.0),
    MESSAGE_GROUPS[0]: (5, 1.0),
    MESSAGE_GROUPS[1]: (100, 60.0),
    # Counted by account, whatever the address. Source: docs.upbit.com rate limits and the change
    # log of 2026-08-21, read 2026-11-21.
    "default": (30, 1.0),
    "order": (12, 1.0),
    "order-test": (8, 1.0),
    "order-cancel-all": (1, 2.0),
}

# Ours. The measurements had up to ten 429 within ten seconds and no block, so it takes more.
REFUSALS_BEFORE_BLOCK = 20
REFUSALS_WITHIN_S = 10.0
FIRST_BLOCK_S = 10.0
LONGEST_BLOCK_S = 3_600.0
FORGIVEN_AFTER_S = 600.0
_ADDRESSES_MAX = 1_024


class Window(Protocol):
    """How a server counts the requests of one client in one group."""

    def arrive(self, now_s: float) -> int:
        """Count a request; return how many more would pass now, or -1 if this one did not."""


WindowMaker = Callable[[int, float], Window]


class SlidingWindow:
    """Refuse a request if it and those before it are too many for any span of one period.

    Refused requests count as well. No server can be stricter than this about a rate, so a client
    that is never refused here is never refused by one that counts in another way.

    Args:
      limit: How many requests may arrive in one period.
      period_s: How long it is, in seconds.
    """

    def __init__(self, limit: int, period_s: float) -> None:
        self._limit = limit
        self._period_s = period_s
        self._arrivals_s: deque[float] = deque(maxlen=limit)

    def arrive(self, now_s: float) -> int:
        """Count a request; return how many more would pass now, or -1 if this one did not."""
        recent = sum(moment + self._period_s > now_s for moment in self._arrivals_s)
        self._arrivals_s.append(now_s)
        return self._limit - recent - 1


class FixedWindow:
    """Count anew in every period; two full ones may touch.

    Args:
      limit: How many requests may arrive in one period.
      period_s: How long it is, in seconds.
      phase_s: Where, on the clock given to `arrive`, one of the periods begins.
    """

    def __init__(self, limit: int, period_s: float, *, phase_s: float = 0.0) -> None:
        self._limit = limit
        self._period_s = period_s
        self._phase_s = phase_s
        self._number = -1
        self._count = 0

    def arrive(self, now_s: float) -> int:
        """Count a request; return how many more would pass now, or -1 if this one did not."""
        number = int((now_s - self._phase_s) // self._period_s)
        if number != self._number:
            self._number, self._count = number, 0
        self._count += 1
        return max(-1, self._limit - self._count)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a request.

    Attributes:
      status: 200 if it may pass, else 429 or 418.
      group: The group it was counted in; `origin` if it carried that header.
      remaining: How many more would pass in the present second.
      block_s: With 418, how many seconds the block still lasts.
    """

    status: int
    group: str
    remaining: int = 0
    block_s: float = 0.0

    @property
    def header(self) -> tuple[str, str]:
        """Return `Remaining-Req` as Upbit writes it; its `min` is a constant without meaning."""
        limit, period_s = _LIMITS.get(self.group, _LIMIT)
        per_minute = round(limit * 60 / period_s)
        return "Remaining-Req", f"group={self.group}; min={per_minute}; sec={self.remaining}"


@dataclass(slots=True)
class _Address:
    windows: dict[str, Window] = field(default_factory=dict)
    refusals_s: deque[float] = field(
        default_factory=lambda: deque(maxlen=REFUSALS_BEFORE_BLOCK + 1)
    )
    blocked_until_s: float = float("-inf")
    blocks: int = 0


class RateRules:
    """Decide for every request whether it may pass, and keep count.

    Attributes:
      refusals: How often each (group, status) was refused.

    Args:
      window: Makes the counter of one client in one group from limit and period. The default is
        the strictest there can be; `functools.partial(FixedWindow, phase_s=0.3)` is another.
    """

    def __init__(self, *, window: WindowMaker = SlidingWindow) -> None:
        self._window = window
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self.refusals: Counter[tuple[str, int]] = Counter()

    def admit(self, group: str, address: str, now_s: float, *, origin: bool = False) -> Verdict:
        """Count a request and say what becomes of it.

        Args:
          group: Its group: market, candle, trade, ticker, orderbook or websocket-connect, or one of
            those of accounts.
          address: Who sent it; in the groups of accounts, which one.
          now_s: When it arrived, in monotonic seconds.
          origin: Whether it carries an `Origin` header.
        """
        known = self._known(address)
        counted = ORIGIN_GROUP if origin else group
        if now_s < known.blocked_until_s:
            verdict = Verdict(418, counted, block_s=known.blocked_until_s - now_s)
            return self._refuse(known, verdict, now_s)
        remaining = self._window_of(known, counted).arrive(now_s)
        if remaining >= 0:
            return Verdict(200, counted, remaining)
        self._forgive(known, now_s)
        verdict = self._refuse(known, Verdict(429, counted), now_s)
        if self._goes_on(known, now_s):
            block_s = min(FIRST_BLOCK_S * 2**known.blocks, LONGEST_BLOCK_S)
            known.blocked_until_s = now_s + block_s
            known.blocks += 1
        return verdict

    def refused(self) -> int:
        """Return how many requests were refused in all."""
        return self.refusals.total()

    def _known(self, address: str) -> _Address:
        known = self._addresses.pop(address, None) or _Address()
        self._addresses[address] = known
        if len(self._addresses) > _ADDRESSES_MAX:
            self._addresses.popitem(last=False)
        return known

    def _window_of(self, known: _Address, group: str) -> Window:
        if group not in known.windows:
            known.windows[group] = self._window(*_LIMITS.get(group, _LIMIT))
        return known.windows[group]

    def _refuse(self, known: _Address, verdict: Verdict, now_s: float) -> Verdict:
        # Asking during a block counts too: who never pauses is shut out again at the first 429.
        known.refusals_s.append(now_s)
        self.refusals[verdict.group, verdict.status] += 1
        return verdict

    def _forgive(self, known: _Address, now_s: float) -> None:
        if known.refusals_s and known.refusals_s[-1] + FORGIVEN_AFTER_S <= now_s:
            known.blocks = 0

    def _goes_on(self, known: _Address, now_s: float) -> bool:
        refusals_s = known.refusals_s
        return len(refusals_s) > REFUSALS_BEFORE_BLOCK and now_s - refusals_s[0] < REFUSALS_WITHIN_S
