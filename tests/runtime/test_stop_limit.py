"""`StopLimit`: the end comes, whatever is in its way, and says what was."""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator

import pytest
import trio

from runtime.stop_limit import StopLimit

SOON_S = 0.02
LATER_S = 60.0


class Ended:
    """Takes exit codes in place of the operating system."""

    def __init__(self) -> None:
        self._codes: queue.SimpleQueue[int] = queue.SimpleQueue()

    def __call__(self, code: int) -> None:
        """Take one."""
        self._codes.put(code)

    def code(self) -> int:
        """Return the code, once there is one."""
        return self._codes.get(timeout=5)

    @property
    def came(self) -> bool:
        """Return whether there is a code."""
        return not self._codes.empty()


@pytest.fixture
def ended() -> Ended:
    """What the process would have ended with."""
    return Ended()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What the daemon's logger says, wherever else it goes."""
    log = logging.getLogger("marketd")
    log.addHandler(caplog.handler)
    yield caplog
    log.removeHandler(caplog.handler)


@pytest.mark.real_time
def test_stop_that_takes_too_long_is_ended(ended: Ended, logged: pytest.LogCaptureFixture) -> None:
    """With exit code 1, and with what still runs in the log."""

    async def never_stops() -> None:
        limit.watch_run()
        limit.begin()
        # The loop itself is in the way, as with a handler that computes for ever.
        assert ended.code() == 1

    limit = StopLimit(SOON_S, end=ended)
    with limit.watching():
        trio.run(never_stops)

    assert "it has not stopped within 0.02 s" in logged.text
    assert "what still runs: the loop is held by task" in logged.text
    assert "in never_stops" in logged.text


@pytest.mark.real_time
def test_stop_in_time_is_left_alone(ended: Ended) -> None:
    """Nothing is left behind that could end the process later."""
    limit = StopLimit(LATER_S, end=ended)
    with limit.watching():
        limit.begin()
        limit.begin()

    assert not ended.came


@pytest.mark.real_time
def test_without_a_stop_nothing_is_counted(ended: Ended) -> None:
    """A runtime may run for years."""
    with StopLimit(SOON_S, end=ended).watching():
        pass

    assert not ended.came


@pytest.mark.real_time
def test_giving_up_does_not_wait(ended: Ended, logged: pytest.LogCaptureFixture) -> None:
    """Where everything else is put away, there is nothing to wait for."""
    limit = StopLimit(LATER_S, end=ended)
    with limit.watching():
        limit.give_up("x ignored being cancelled")
        assert ended.code() == 1

    assert "ended now, because x ignored being cancelled" in logged.text
