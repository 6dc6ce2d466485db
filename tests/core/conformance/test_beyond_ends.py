"""Children that will not end, and a loop that stands still: named, with a stack, and left behind.

Here: a child that swallows `Cancelled` is named; a child blocked in a thread at stop; a loop that
is blocked for longer than allowed: the watchdog names the task. In each of them stopping the tree
still ends within its time.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from runtime.core.actor import Actor
from runtime.core.child import ChildSpec
from runtime.core.errors import ActorDown
from runtime.core.message import Request
from runtime.core.supervisor import Supervisor
from runtime.core.watchdog import open_watchdog
from runtime.testing_core import AT_ONCE, Stage, settle

RunInThread = Callable[[Callable[[], None]], Awaitable[None]]


class Block(Request[None], frozen=True):
    """Be in the way."""


class Swallower(Actor):
    """Takes every cancellation for somebody else's, until it is let go."""

    def __init__(self, let_go: trio.Event) -> None:
        self._let_go = let_go

    async def handle_call(self, request: Request[Any]) -> object:
        """Hear nothing."""
        del request
        await self.swallow_everything()
        return None

    async def swallow_everything(self) -> None:
        """Sleep, and when that is cancelled, sleep again."""
        while not self._let_go.is_set():
            try:
                await trio.sleep(3600)
            except trio.Cancelled:
                # Cancelled for good, every checkpoint raises; only a shield lets it sleep on.
                with trio.CancelScope(shield=True):
                    await self._let_go.wait()


async def stop_while_busy(
    root: Supervisor, stage: Stage, busy: str, release: trio.Event
) -> tuple[float, tuple[str, ...]]:
    """Make an actor busy, stop the tree and let the actor go.

    Returns:
      How long the stop took, and who was left behind then. Not to be asserted on before the actor
      was let go: the run would never end.
    """
    async with trio.open_nursery() as nursery:
        async with stage.run(root):
            nursery.start_soon(ask, stage, busy)
            await settle()
            before_s = trio.current_time()
        took_s, abandoned = trio.current_time() - before_s, root.abandoned
        release.set()
    await settle()
    return took_s, abandoned


async def ask(stage: Stage, name: str) -> None:
    """Have somebody be in the way, whatever the answer."""
    with contextlib.suppress(ActorDown):
        await stage.registry.ref(name).call(Block(), timeout_s=3600)


def find(caplog: pytest.LogCaptureFixture, text: str) -> logging.LogRecord:
    """Return the one line that contains `text`."""
    found = [record for record in caplog.records if text in record.getMessage()]
    assert len(found) == 1, caplog.text
    return found[0]


async def test_child_that_swallows_cancelled_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Asked for 3 s, cancelled for 2 s, then left behind with the place where it is."""
    stage, let_go = Stage(), trio.Event()
    spec = ChildSpec("deaf", lambda: Swallower(let_go), shutdown_s=3, abandon_s=2)
    other = stage.child("other")
    root = Supervisor([other.spec, spec], backoff=AT_ONCE)

    took_s, abandoned = await stop_while_busy(root, stage, "deaf", let_go)

    assert took_s == pytest.approx(5)
    assert abandoned == ("deaf",)
    assert not other.is_alive
    find(caplog, "deaf did not stop within 3 s and is cancelled")
    left = find(caplog, "deaf ignored its cancellation for 2 s and is left behind")
    assert "in swallow_everything" in str(left.exc_text)
    find(caplog, "deaf has ended after all")
    assert root.abandoned == ()


class Threaded(Actor):
    """Works in a thread, through a seam, as the store does."""

    def __init__(self, run_in_thread: RunInThread, work: Callable[[], None]) -> None:
        self._run_in_thread, self._work = run_in_thread, work

    async def handle_call(self, request: Request[Any]) -> object:
        """Wait for the thread."""
        del request
        await self.wait_for_thread()
        return None

    async def wait_for_thread(self) -> None:
        """Wait for it, whatever comes: a thread cannot be cancelled."""
        await self._run_in_thread(self._work)


async def test_child_blocked_in_to_thread_at_stop(caplog: pytest.LogCaptureFixture) -> None:
    """The thread, here a pretended one, holds up its actor and nobody else."""
    stage, thread_ends = Stage(), trio.Event()

    async def run_in_thread(work: Callable[[], None]) -> None:
        # As `trio.to_thread.run_sync` does: it cannot be cancelled while the thread works.
        with trio.CancelScope(shield=True):
            await thread_ends.wait()
        work()

    worked: list[bool] = []
    make = lambda: Threaded(run_in_thread, lambda: worked.append(True))  # noqa: E731
    root = Supervisor([ChildSpec("store", make, shutdown_s=1, abandon_s=1)], backoff=AT_ONCE)
    took_s, abandoned = await stop_while_busy(root, stage, "store", thread_ends)

    assert took_s == pytest.approx(2)
    assert abandoned == ("store",)
    left = find(caplog, "store ignored its cancellation for 1 s and is left behind")
    assert "in wait_for_thread" in str(left.exc_text)
    assert "in run_in_thread" in str(left.exc_text)
    # Nothing that was begun is lost: it ends, and is told of.
    assert worked == [True]
    find(caplog, "store has ended after all")


class Blocker(Actor):
    """Keeps the whole loop waiting."""

    def __init__(self, block: Callable[[], object]) -> None:
        self._block = block

    async def handle_call(self, request: Request[Any]) -> object:
        """Block the loop."""
        del request
        self.block_the_loop()
        await trio.lowlevel.checkpoint()
        return None

    def block_the_loop(self) -> None:
        """Wait where waiting is not allowed."""
        self._block()


class Told(logging.Handler):
    """Sets an event with the first line that is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Wake whoever waits for it."""
        del record
        self.event.set()


@pytest.mark.real_time
async def test_loop_blocked_watchdog_names_the_task(caplog: pytest.LogCaptureFixture) -> None:
    """Blocked until the watchdog has told of it; then stopping takes no longer than ever."""
    stage, told = Stage(), Told()
    log = logging.getLogger("marketd.watchdog")
    log.addHandler(told)
    try:
        root = Supervisor([ChildSpec("busy", lambda: Blocker(lambda: told.event.wait(10)))])
        async with open_watchdog(tick_s=0.02, blocked_s=0.1):
            async with stage.run(root):
                await stage.registry.ref("busy").call(Block())
                before_s = trio.current_time()
            assert trio.current_time() - before_s < 1
    finally:
        log.removeHandler(told)

    line = find(caplog, "the loop has been blocked for").getMessage()
    assert "by task busy:" in line
    assert "in block_the_loop" in line
