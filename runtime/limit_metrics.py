"""Limits for Prometheus: its text format 0.0.4, as a plain function.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, as known 2026-11.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from actors.reports import GroupLimits

_PREFIX = "marketd_limit_"
_GAUGE, _COUNTER = "gauge", "counter"

# By name without prefix: its type, and its help. The order is that of the text.
_METRICS: dict[str, tuple[str, str]] = {
    "window_requests": (_GAUGE, "Requests, or weight, allowed in any window of so many seconds."),
    "window_used": (_GAUGE, "How much of a window is in use."),
    "in_flight": (_GAUGE, "Requests sent and not yet answered."),
    "queued": (_GAUGE, "Requests of a class waiting for a slot."),
    "share_ratio": (_GAUGE, "Part of the group that a class gets at least, 0 to 1."),
    "class_next_free_seconds": (_GAUGE, "Until one more of a class could be sent."),
    "next_free_seconds": (_GAUGE, "Until a request asked for now could be sent."),
    "paused_seconds": (_GAUGE, "Until a pause that the exchange imposed ends."),
    "server_remaining": (_GAUGE, "What the exchange last said was left in its window."),
    "server_heard_seconds": (_GAUGE, "How long ago it said so."),
    "granted_total": (_COUNTER, "Requests of a class let through since start."),
    "rejected_total": (_COUNTER, "Answers 429 or 418 since start."),
    "refused_total": (_COUNTER, "Requests for a slot refused since start."),
}


class _Sample(NamedTuple):
    """One value: which metric it is of, what it is about, and the value if it is known."""

    metric: str
    labels: dict[str, str]
    value: float | None


def limit_metrics(reports: Iterable[GroupLimits]) -> str:
    """Return every figure of `reports`; what is not known is left out."""
    samples = [sample for report in reports for sample in _samples(report)]
    lines: list[str] = []
    # The format wants all samples of a metric in one piece, below its type.
    for metric, (kind, help_text) in _METRICS.items():
        name = f"{_PREFIX}{metric}"
        lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
        lines += [
            f"{name}{{{_written(sample.labels)}}} {_number(sample.value)}"
            for sample in samples
            if sample.metric == metric and sample.value is not None
        ]
    return "\n".join(lines) + "\n"


def _samples(report: GroupLimits) -> Iterator[_Sample]:
    labels = {"exchange": report.exchange, "group": report.group, "holder": report.holder}
    seen: Counter[float] = Counter()
    for window in report.windows:
        seen[window.period_s] += 1
        # Weight and number may be limited in windows of one length, and no series may come twice.
        again = f"#{seen[window.period_s]}" if seen[window.period_s] > 1 else ""
        here = {**labels, "window": f"{window.period_s:g}{again}"}
        yield _Sample("window_requests", here, window.requests)
        yield _Sample("window_used", here, window.used)
    for each in report.classes:
        here = {**labels, "class": each.priority}
        yield _Sample("queued", here, each.queued)
        yield _Sample("share_ratio", here, each.share)
        yield _Sample("class_next_free_seconds", here, each.next_free_s)
        yield _Sample("granted_total", here, each.granted)
    yield _Sample("in_flight", labels, report.in_flight)
    yield _Sample("next_free_seconds", labels, report.next_free_s)
    yield _Sample("paused_seconds", labels, report.paused_s)
    yield _Sample("server_remaining", labels, report.server_remaining)
    yield _Sample("server_heard_seconds", labels, report.server_heard_s)
    yield _Sample("rejected_total", labels, report.rejected)
    yield _Sample("refused_total", labels, report.refused)


def _written(labels: dict[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    # Only what is not finite is written in another way than Python does.
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(repr(float(value)), repr(value))
