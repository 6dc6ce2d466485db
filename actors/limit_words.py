"""Say in sentences why requests wait and until when. Plain functions from a report to text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from actors.reports import ClassUse, GroupLimits, WindowUse

# Priorities that leave room for more urgent ones.
_LEAVE_ROOM = frozenset({"declared", "predicted"})
_MINUTE_S, _HOUR_S = 60, 3600
_TENTHS_BELOW_S = 10


def explain_group(report: GroupLimits) -> str:
    """Return why something waits in a group, and until when; empty if nothing does.

    Args:
      report: The group; its own `explanation` is not looked at.
    """
    if not report.queued:
        return ""
    sentences = [
        f"{name_of(report)}: {_waiting(report)}.",
        _pause(report) if report.paused_s > 0 else _windows(report),
        _turns([each for each in report.classes if each.queued], report.classes),
        _until([each for each in report.classes if each.queued]),
        _server(report),
    ]
    return " ".join(filter(None, sentences))


def explain_limits(reports: Iterable[GroupLimits]) -> tuple[str, ...]:
    """Return what is to be said of all groups: what waits, and pauses in which nothing does."""
    reports = tuple(reports)
    told = [report.explanation for report in reports if report.queued]
    # The pause of a whole address is that of each of its groups, and is said once.
    pauses = dict.fromkeys(
        f"{report.exchange}: {_because(report)}."
        for report in reports
        if report.paused_s > 0 and not report.queued
    )
    return (*(told or ["Nothing waits."]), *pauses)


def name_of(report: GroupLimits) -> str:
    """Return the name of a group, with its holder if it has one."""
    holder = f"/{report.holder}" if report.holder else ""
    return f"{report.exchange} {report.group}{holder}"


def words_of_window(window: WindowUse) -> str:
    """Return a window and its use, as `3/10 per 1 s`."""
    return f"{window.used}/{window.requests} per {words_of_s(window.period_s)}"


def words_of_s(seconds: float) -> str:
    """Return a length of time for reading, rounded up: what is waited for is not there before."""
    if not math.isfinite(seconds):
        return "an unknown time"
    if seconds <= _TENTHS_BELOW_S:
        # Rounded first, so that 0.3 is not 0.31 because of how floats are kept.
        step = 10 if seconds > 1 else 100
        return f"{math.ceil(round(seconds * step, 6)) / step:g} s"
    whole = math.ceil(round(seconds, 6))
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        minutes, rest = divmod(whole, _MINUTE_S)
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    hours, rest = divmod(math.ceil(whole / _MINUTE_S), _MINUTE_S)
    return f"{hours} h" + (f" {rest} min" if rest else "")


def _waiting(report: GroupLimits) -> str:
    waiting = [each for each in report.classes if each.queued]
    kinds = _joined(f"{each.queued} {each.priority}" for each in waiting)
    if len(waiting) == 1:
        kinds = waiting[0].priority
    verb = "request waits" if report.queued == 1 else "requests wait"
    return f"{report.queued} {verb}" + (f" ({kinds})" if kinds else "")


def _because(report: GroupLimits) -> str:
    if report.paused_because:
        return report.paused_because
    return f"{report.group} is paused for {words_of_s(report.paused_s)} more"


def _pause(report: GroupLimits) -> str:
    text = _because(report)
    return f"{text[:1].upper()}{text[1:]}; nothing is sent until then."


def _windows(report: GroupLimits) -> str:
    full = [window for window in report.windows if window.used >= window.requests]
    flying = _flying(report.in_flight)
    if full:
        those = "windows are" if len(full) > 1 else "window is"
        used = _joined(words_of_window(window) for window in full)
        return f"The {those} full: {used}{flying}."
    if {each.priority for each in report.classes if each.queued} <= _LEAVE_ROOM:
        return "What is not asked for now leaves room for what may be in the next moment."
    fullest = max(report.windows, key=lambda window: window.used / window.requests)
    return (
        f"No window of its own is full, the fullest is {words_of_window(fullest)}{flying}: the "
        "next in line weighs more than is left, or waits for a limit that groups share."
    )


def _flying(in_flight: int) -> str:
    if not in_flight:
        return ""
    if in_flight == 1:
        return ", of which 1 is under way and frees its place only a window after its answer"
    return (
        f", of which {in_flight} are under way and free their places only a window after their "
        "answers"
    )


def _turns(waiting: Sequence[ClassUse], classes: Sequence[ClassUse]) -> str:
    """Say whose turn it is, where more than one class waits."""
    if len(waiting) < 2:  # noqa: PLR2004 - one class has every turn
        return ""
    first, *others = waiting
    # The most urgent of all is owed the rest; one that merely comes first here may be owed nothing.
    if first is not classes[0] and first.share == 0:
        return ""
    shares = [
        f"{each.priority} at least {each.share * 100:.3g} %" for each in others if each.share > 0
    ]
    rest = [f"{_joined(shares)} of what goes out"] if shares else []
    rest += [f"{each.priority} only what is left" for each in others if each.share == 0]
    return f"Those of {first.priority} go first; the others get: {', '.join(rest)}."


def _until(waiting: Sequence[ClassUse]) -> str:
    """Say when those who wait will go: one more could go right behind them, at the earliest."""
    *others, last = [_moment(each) for each in waiting] or [""]
    if not others:
        who = "It goes" if sum(each.queued for each in waiting) == 1 else "The last of them goes"
        return f"{who} {last}." if last else ""
    each_of = ", ".join(
        f"of {each.priority} {moment}"
        for each, moment in zip(waiting, (*others, last), strict=True)
    )
    return f"The last goes: {each_of}."


def _moment(each: ClassUse) -> str:
    if math.isfinite(each.next_free_s):
        return f"in about {words_of_s(each.next_free_s)}"
    return "when nobody else wants the place"


def _server(report: GroupLimits) -> str:
    """Tell of a server that has less left than we think, if that is news."""
    left, heard_s, window = report.server_remaining, report.server_heard_s, report.windows[0]
    if left is None or heard_s is None or heard_s > window.period_s:
        return ""
    if left >= window.requests - window.used:
        return ""
    return (
        f"The exchange said {words_of_s(heard_s)} ago that {left} were left: it counts more than "
        "we sent, so somebody else may spend from the same limit."
    )


def _joined(parts: Iterable[str]) -> str:
    *before, last = list(parts) or [""]
    return f"{', '.join(before)} and {last}" if before else last
