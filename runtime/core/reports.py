"""How crashes are told: one line for people, a struct for machines, and a bounded traceback."""

from __future__ import annotations

import logging
import traceback
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from runtime.core.backoff import RestartIntensity
from runtime.core.checks import is_whole
from runtime.core.child import Exit, Life, Restart
from runtime.core.crashes import one_line
from runtime.core.errors import BadSpec
from runtime.core.info import CrashReport, Ending
from runtime.core.slot import Slot
from runtime.core.trace import Happening

if TYPE_CHECKING:
    from runtime.core.policy import Window

_log = logging.getLogger("marketd.supervisor")

_FRAMES_MAX = 20


@dataclass(frozen=True, slots=True)
class CrashLog:
    """What a supervisor writes about crashes, and how much of it it keeps.

    Attributes:
      enabled: Whether crashes are logged; they are counted and kept either way.
      level: At which level.
      critical_after: After so many crashes of a child in a row it is `logging.CRITICAL`; None for
        never.
      traceback: Whether the traceback follows the line.
      chars_max: The longest traceback, in characters; more is cut out of its middle.
      kept: How many reports a supervisor keeps; the oldest makes room.
    """

    enabled: bool = True
    level: int = logging.ERROR
    critical_after: int | None = None
    traceback: bool = True
    chars_max: int = 8_000
    kept: int = 20

    def __post_init__(self) -> None:
        """Refuse figures that mean nothing."""
        if self.critical_after is not None and not is_whole(self.critical_after, 1):
            raise BadSpec(f"critical_after must be at least 1 or None, was {self.critical_after}")
        # Shorter than this, a traceback would say nothing.
        if not (is_whole(self.chars_max, 100) and is_whole(self.kept, 1)):
            raise BadSpec(f"a crash log needs chars_max >= 100 and kept >= 1, was {self}")
        if not (is_whole(self.level, 0) and {self.enabled, self.traceback} <= {True, False}):
            raise BadSpec(f"a crash log needs a level, and enabled and traceback, was {self}")

    def level_of(self, nth_in_a_row: int) -> int:
        """Return the level for the `nth_in_a_row` crash of a child, counted from 1."""
        critical = self.critical_after is not None and nth_in_a_row > self.critical_after
        return logging.CRITICAL if critical else self.level


def traceback_text(error: BaseException | None, chars_max: int) -> str:
    """Return the traceback of `error` and of its causes: 20 innermost frames each, no locals.

    A text longer than `chars_max` loses its middle: the beginning says where it came from, the
    end what it was.
    """
    if error is None:
        return ""
    try:
        text = "".join(traceback.format_exception(error, limit=-_FRAMES_MAX)).rstrip()
    except Exception:  # noqa: BLE001 - a supervisor must not fall over how an error prints itself
        return "(its traceback cannot be printed)"
    if len(text) <= chars_max:
        return text
    half = chars_max // 2
    return f"{text[:half]}\n  ... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def write(
    log: logging.Logger,
    level: int,
    line: str,
    trace: str = "",
    *,
    report: CrashReport | None = None,
) -> None:
    """Log one line, with a traceback that is text already.

    The record's message is the line alone. Its attribute `crash_report` holds the report, for
    handlers that write structures.
    """
    if not log.isEnabledFor(level):
        return
    record = log.makeRecord(
        log.name, level, __file__, 0, line, (), None, extra={"crash_report": report}
    )
    # The place where formatters look for a traceback that was formatted before.
    record.exc_text = trace or None
    log.handle(record)


def reason_of(error: BaseException | None, otherwise: str) -> str:
    """Return `error` in one line; `otherwise` if there is none."""
    return otherwise if error is None else one_line(error)


@dataclass(frozen=True, slots=True)
class End:
    """How a life ended, or how a start failed.

    Attributes:
      how: The kind of its end.
      error: What it crashed with.
      lived_s: How long it had lived, in seconds.
      then: What happens next, in words.
      is_start: Whether there was no life yet, because the start failed.
    """

    how: Exit
    error: BaseException | None
    lived_s: float
    then: str
    is_start: bool = False

    @property
    def is_crash(self) -> bool:
        """Return whether it ended other than it should."""
        return self.how in {Exit.CRASH, Exit.KILLED}

    @property
    def reason(self) -> str:
        """Return why, in one line; empty if there is nothing to say."""
        return reason_of(self.error, "killed" if self.is_crash else "")


class Reporter:
    """Writes down how children end, for the log, for operators and for machines.

    Args:
      crash_log: What is written, and how much is kept.
    """

    def __init__(self, crash_log: CrashLog) -> None:
        self._crash_log = crash_log
        self._reports: deque[CrashReport] = deque(maxlen=crash_log.kept)

    @property
    def reports(self) -> tuple[CrashReport, ...]:
        """Return the last crash reports, oldest first."""
        return tuple(self._reports)

    def change(self, crash_log: CrashLog) -> None:
        """Go by another `crash_log` from now on."""
        self._crash_log = crash_log
        self._reports = deque(self._reports, maxlen=crash_log.kept)

    def tell(
        self,
        end: End,
        slot: Slot,
        supervisor: Life,
        window: Window,
        intensity: RestartIntensity | None,
    ) -> None:
        """Write down how a life of the child in `slot` ended.

        An end that is no crash makes a report only where it should not have been: a permanent
        child's.
        """
        around, reason = supervisor.around, end.reason
        trace = traceback_text(end.error, self._crash_log.chars_max)
        around.ring.note(
            slot.name, Happening.CRASHED if end.is_crash else Happening.STOPPED, reason
        )
        if end.is_crash:
            slot.last_crash = reason
        ending = Ending(
            utc_ms=around.clock.utc_ms(),
            incarnation=slot.incarnation,
            exit=end.how.value,
            reason=reason,
            uptime_s=end.lived_s,
            traceback=trace,
        )
        slot.remember(ending)
        if not end.is_crash and slot.spec.restart is not Restart.PERMANENT:
            return
        report = CrashReport(
            supervisor=supervisor.name,
            child=slot.name,
            next=end.then,
            restarts_in_window=len(window),
            restarts_max=None if intensity is None else intensity.max_restarts,
            **msgspec.structs.asdict(ending),
        )
        self._reports.append(report)
        self._log(report, end, slot.in_a_row)

    def _log(self, report: CrashReport, end: End, nth_in_a_row: int) -> None:
        log = self._crash_log
        if not log.enabled:
            return
        did = "crashed" if end.is_crash else f"ended ({report.exit})"
        did = "did not start" if end.is_start else did
        line = f"{report.child} {did} in incarnation {report.incarnation}"
        line += f": {report.reason}" if report.reason else ""
        trace = report.traceback if log.traceback else ""
        write(_log, log.level_of(nth_in_a_row), f"{line}; {report.next}", trace, report=report)
