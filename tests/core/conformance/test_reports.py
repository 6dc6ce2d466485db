"""OTP's supervisor suite, what is told of a child's life: cases 89 and 90, both of them.

Adapted: OTP formats its reports in a logger's callback; here a crash is one log line, with the
report beside it as a struct and the traceback as bounded text, and progress is an event in a ring.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trio.testing

from runtime.core.actor import Actor
from runtime.core.child import ChildSpec, Exit, Restart
from runtime.core.errors import ActorRestarted
from runtime.core.info import CrashReport
from runtime.core.message import Request
from runtime.core.reports import CrashLog
from runtime.core.trace import Happening

if TYPE_CHECKING:
    from tests.core.conformance.conftest import Stage

SECRET = "an argument that belongs in no log"  # noqa: S105 - stands for one


class Dive(Request[None], frozen=True):
    """Asks for a crash so many calls deep."""

    frames: int


class Diver(Actor):
    """An actor that crashes as deep as it is told."""

    async def handle_call(self, request: Request[Any]) -> object:
        """Dive."""
        assert isinstance(request, Dive)
        self._down(request.frames, SECRET)
        return None

    def _down(self, frames: int, note: str) -> None:
        if not frames:
            raise ValueError("the bottom")
        # Not by recursion in one place only: equal lines in a row would be folded.
        (self._down if frames % 2 else self._further)(frames - 1, note)

    def _further(self, frames: int, note: str) -> None:
        self._down(frames, note)


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[logging.LogRecord, CrashReport]]:
    """Return the log records that carry a report, with it."""
    found = []
    for record in caplog.records:
        report = getattr(record, "crash_report", None)
        if isinstance(report, CrashReport):
            found.append((record, report))
    return found


async def test_format_log_1(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A crash is told with supervisor, child, reason and what follows; a start as progress.

    The same report is in the log record and at the supervisor, and can be written as JSON. With
    the log off, or for an end that is as it should be, nothing is logged.
    """
    caplog.set_level(logging.INFO)
    branch = stage.branch("top", stage.child("a"), stage.child("t", Restart.TRANSIENT))
    quiet = stage.branch("quiet", stage.child("q"), crash_log=CrashLog(enabled=False))
    async with stage.open(branch, quiet) as root:
        await trio.sleep(3)
        await stage.end("top.a", Exit.CRASH, "boom")
        await stage.end("top.t", Exit.NORMAL)
        await stage.end("quiet.q", Exit.CRASH)
        progress = [each.name for each in root.last_events() if each.kind is Happening.STARTED]
        reports = stage.supervisors["top"].crash_reports
        silent = stage.supervisors["quiet"].crash_reports

    [(record, report)] = told(caplog)
    line = "top.a crashed in incarnation 1: ValueError: boom; it is started again"
    assert (record.name, record.levelno, record.getMessage()) == (
        "marketd.supervisor",
        logging.ERROR,
        line,
    )
    assert (report,) == reports
    assert msgspec.to_builtins(report) | {"traceback": ""} == {
        "utc_ms": 3000,
        "supervisor": "top",
        "child": "top.a",
        "incarnation": 1,
        "exit": "crash",
        "reason": "ValueError: boom",
        "uptime_s": 3.0,
        "next": "it is started again",
        "restarts_in_window": 1,
        "restarts_max": 5,
        "traceback": "",
    }
    assert report.traceback.endswith("ValueError: boom")
    assert progress.count("top.a") == 2
    assert [each.child for each in silent] == ["quiet.q"]


async def test_format_log_2(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a child crashes with, its line is one line, and all that is told is bounded.

    Depth: the 20 innermost frames. Characters: 300 of the reason; the traceback loses its middle.
    Arguments of calls are in neither.
    """
    log = CrashLog(chars_max=600)
    async with stage.open(
        ChildSpec("deep", Diver), stage.child("wordy"), crash_log=log, intensity=None
    ) as root:
        with pytest.raises(ActorRestarted, match="deep"):
            await stage.registry.ref("deep").call(Dive(100))
        await trio.testing.wait_all_tasks_blocked()
        await stage.end("wordy", Exit.CRASH, "first\nsecond\r\n" + "x" * 10_000)
        deep, wordy = root.crash_reports

    for record, report in told(caplog):
        assert len(record.getMessage().splitlines()) == 1
        assert len(record.getMessage()) <= 300 + 100
        assert len(report.reason) <= 300
        assert len(report.traceback) <= 600 + len("\n  ... 123456 characters left out ...\n")
        assert record.exc_text == report.traceback
    assert "characters left out" in deep.traceback
    assert deep.traceback.endswith("ValueError: the bottom")
    assert wordy.reason.startswith("ValueError: first second")
    assert SECRET not in caplog.text


async def test_format_log_2_depth(stage: Stage) -> None:
    """Where there is room for all characters, only the innermost frames are told, all the same."""
    roomy = CrashLog(chars_max=1_000_000)
    async with stage.open(ChildSpec("deep", Diver), crash_log=roomy) as root:
        with pytest.raises(ActorRestarted, match="deep"):
            await stage.registry.ref("deep").call(Dive(100))
        await trio.testing.wait_all_tasks_blocked()
        [report] = root.crash_reports

    frames = [line for line in report.traceback.splitlines() if line.startswith('  File "')]
    assert len(frames) == 20
    assert "raise ValueError" in report.traceback
