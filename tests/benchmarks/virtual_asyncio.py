"""An asyncio loop whose time is virtual: where it would sleep, its clock jumps ahead instead.

What runs on it may use the loop's clock, locks, futures and tasks, but no sockets and no threads.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# What one round of a loop takes at least. Without it, code that waits until a moment that rounding
# puts just ahead of the clock would wait in a circle; on a real loop time passes meanwhile.
_ROUND_S = 1e-6


class NobodyWillWakeUpError(Exception):
    """Every task waits for another."""


class _JumpingSelector(selectors.SelectSelector):
    """Moves a clock ahead by the time that it should wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NobodyWillWakeUpError("wanted a deadline to jump to, there is none")
        self.now_s += max(_ROUND_S, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that begins at 0 s and never waits for real."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._jumping.now_s


def run_in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of its own, and return its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
