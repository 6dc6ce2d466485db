"""`StopLimit`: a stop that takes too long is ended, whatever is in its way.

trio can end neither a loop that is blocked nor a task that swallows its cancellation, and Python
waits at its end for threads. So this is a thread of its own, beside the watchdog's: told that the
stop has begun, it waits until it is told that the stop is over. If that does not come in time, it
logs what still runs, with stacks, and ends the process. C code that never lets go of Python's lock
holds up this thread as well; that is for the service manager to end.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from runtime.core.watchdog import describe_block

_log = logging.getLogger("marketd")

EXIT_CODE = 1
# Logging waits for whoever reads the log; the end does not.
_TELL_S = 2.0
_TRIES = 3


class StopLimit:
    """Ends the process if its stop takes longer than `limit_s`. Made in the loop's thread.

    Args:
      limit_s: How long the stop may take, in seconds.
      end: Ends the process at once, with that exit code.
    """

    def __init__(self, limit_s: float, *, end: Callable[[int], object] = os._exit) -> None:
        self._limit_s = limit_s
        self._end = end
        self._loop_thread = threading.get_ident()
        self._root: trio.lowlevel.Task | None = None
        self._begun = False
        # What to do next: "" to begin counting, None when all is over, else why to end at once.
        # A simple queue, because a signal handler may put something into it at any moment.
        # Source: https://docs.python.org/3/library/queue.html#simplequeue-objects.
        self._words: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def begin(self) -> None:
        """Count from now on, unless it is counting already. Safe in a signal handler."""
        if not self._begun:
            self._begun = True
            self._words.put("")

    def give_up(self, why: str) -> None:
        """End the process now, because waiting would not help."""
        self.begin()
        self._words.put(why)

    def watch_run(self) -> None:
        """Take the trio run this is called in as the one whose stacks are to be told."""
        self._root = trio.lowlevel.current_root_task()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Run the thread for as long as the block runs."""
        # A daemon, so that it is no reason itself for the process not to end.
        thread = threading.Thread(target=self._watch, name="marketd-stop-limit", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._words.put(None)
            thread.join(_TELL_S)

    def _watch(self) -> None:
        if self._words.get() is None:
            return
        try:
            why = self._words.get(timeout=self._limit_s)
        except queue.Empty:
            why = f"it has not stopped within {self._limit_s:g} s"
        if why is None:
            return
        # In yet another thread: the log's lock may be held by who is in the way.
        teller = threading.Thread(target=self._tell, args=(why,), daemon=True)
        teller.start()
        teller.join(_TELL_S)
        self._end(EXIT_CODE)

    def _tell(self, why: str) -> None:
        _log.error("the process is ended now, because %s", why)
        _log.error("what still runs: the loop is held %s", self._stacks())

    def _stacks(self) -> str:
        if self._root is None:
            return "by nobody: it was never started"
        for _ in range(_TRIES):
            try:
                return describe_block(self._root, self._loop_thread)
            except RuntimeError:
                # A task came or went while the tasks were being counted.
                continue
        return "by tasks that come and go too fast to be listed"
