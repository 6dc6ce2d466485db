"""`Reply`: where one caller waits for one answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio


class Reply:
    """Where one caller waits for one answer. The first answer counts; later ones are dropped.

    Attributes:
      deadline_s: When the caller stops waiting, on `Clock.now_s`.
      abandoned: Whether the caller was cancelled or ran out of time, so that nobody will read it.
      forget: Called once there is an answer.
      on_abandoned: Called at once when the caller goes, if whoever owes the answer has set it. It
        must not raise, and runs while trio delivers the cancellation, so it only keeps accounts.
    """

    __slots__ = (
        "_answered",
        "_error",
        "_task",
        "_value",
        "abandoned",
        "deadline_s",
        "forget",
        "on_abandoned",
    )

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.abandoned = False
        self._answered = False
        self._value: object = None
        self._error: Exception | None = None
        self._task: trio.lowlevel.Task | None = None
        self.forget: Callable[[Reply], None] | None = None
        self.on_abandoned: Callable[[], None] | None = None

    @property
    def answered(self) -> bool:
        """Return whether an answer or an error was given."""
        return self._answered

    def send(self, value: object) -> None:
        """Answer with `value`."""
        self._settle(value, None)

    def fail(self, error: Exception) -> None:
        """Answer with an error, raised where the caller waits."""
        self._settle(None, error)

    def _settle(self, value: object, error: Exception | None) -> None:
        if self._answered:
            return
        self._answered = True
        self._value, self._error = value, error
        if self.forget is not None:
            self.forget(self)
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def wait(self) -> Any:
        """Return the answer, or raise the error, once there is one."""
        if not self._answered:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        if self._error is not None:
            raise self._error
        return self._value

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        self.abandoned = True
        if self.on_abandoned is not None:
            self.on_abandoned()
        return trio.lowlevel.Abort.SUCCEEDED
