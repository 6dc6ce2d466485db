"""A sandbox exchange with generated markets, on the test's own clock."""

from __future__ import annotations

import pytest

from actors.sandbox.accounts import SandboxAccount, SandboxKey, default_account
from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.generated import CHARACTERS, GeneratedSource
from actors.sandbox.market import DAY_MS, SandboxMarket
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.testing import Holder

NOW_MS = 1_767_225_600_000 + 12_345_678  # 2026-01-01T03:25:45.678Z, a Thursday

# How long the weak key lives.
KEY_ENDS_MS = 10_000


class HandClock:
    """A clock that a synchronous test turns by hand."""

    def __init__(self) -> None:
        self.time_s = 1_000.0

    def now_s(self) -> float:
        """Return seconds since some moment."""
        return self.time_s

    def utc_ms(self) -> int:
        """Return wall time that runs along."""
        return NOW_MS + round((self.time_s - 1_000.0) * 1000)


@pytest.fixture(scope="session")
def now_ms() -> int:
    """The market's time when a test begins."""
    return NOW_MS


@pytest.fixture(scope="session")
def markets() -> tuple[SandboxMarket, ...]:
    """All generated markets of seed 7, with 40 days of history; shared, because they are pure."""
    listed_ms = NOW_MS - 40 * DAY_MS
    sources = (GeneratedSource(kind, seed=7, listed_ms=listed_ms) for kind in CHARACTERS)
    return tuple(SandboxMarket(source) for source in sources)


@pytest.fixture
def hand_clock() -> HandClock:
    """A clock that stands still until the test moves it."""
    return HandClock()


@pytest.fixture
def exchange(markets: tuple[SandboxMarket, ...], hand_clock: HandClock) -> SandboxExchange:
    """An exchange whose clocks the test turns by hand."""
    time = SimulatedTime(hand_clock, start_ms=NOW_MS)
    return SandboxExchange(markets, clock=hand_clock, time=time)


@pytest.fixture
def private(markets: tuple[SandboxMarket, ...], hand_clock: HandClock) -> SandboxExchange:
    """An exchange with the account that everybody has, and one whose key may nothing and ends."""
    weak = SandboxKey("weak-key", "weak-secret", frozenset(), NOW_MS + KEY_ENDS_MS)
    accounts = (default_account(NOW_MS), SandboxAccount("weak", (weak,), {"KRW": "1"}))
    time = SimulatedTime(hand_clock, start_ms=NOW_MS)
    return SandboxExchange(markets, clock=hand_clock, time=time, accounts=accounts)


@pytest.fixture
def holder(private: SandboxExchange) -> Holder:
    """Who holds the key that everybody has."""
    return Holder(private)


@pytest.fixture
def weak(private: SandboxExchange) -> Holder:
    """Who holds the key that may nothing."""
    return Holder(private, "weak-key", "weak-secret")
