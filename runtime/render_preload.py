"""What the answers about needs and preloading look like to people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from actors.limit_words import words_of_s
from actors.preload_reports import NeedReport
from actors.preloading.preload_words import need_sentence
from runtime.render import Result, number, pairs, table, words


def _need(result: Result) -> Iterable[Any]:
    yield words(need_sentence(msgspec.convert(result, NeedReport)))


def _planned(result: Result) -> Iterable[Any]:
    rows = [(each["indicator"], number(each["candles"])) for each in result["indicators"]]
    if rows:
        yield table(("indicator", "candles"), rows)
    for each in result["indicators"]:
        yield words(f"{each['indicator']}: {each['why']}")
    parts = []
    if rows:
        parts = [f"{number(result['exact'])} for {result['widest']}"]
    if result["margin"]:
        parts.append(f"{number(result['margin'])} to spare")
    if result["history"]:
        parts.append(f"at least the {number(result['history'])} of the history")
    pages = "1 full page" if result["pages"] == 1 else f"{number(result['pages'])} full pages"
    yield words(
        f"{number(result['candles'])} candles of {result['market']} {result['timeframe']}: "
        + ", ".join([*parts, f"in {pages}"])
    )


def _needs(result: Result) -> Iterable[Any]:
    needs = result["needs"]
    if "strategies" in result:
        others = ", ".join(result["strategies"]) or "none"
        yield words(
            f"strategy {result['strategy']} has declared no need; strategies with needs: {others}"
        )
        return
    # As wide as a terminal usually is; what has no fixed length follows below.
    yield table(
        ("strategy", "market", "timeframe", "state", "candles", "ready in"),
        (
            (
                need["strategy"],
                need["market"],
                need["timeframe"],
                need["state"],
                f"{number(need['covered'])} of {number(need['needed'])}",
                _ready_in(need),
            )
            for need in needs
        ),
        left=4,
    )
    for need in needs:
        what_for = ", ".join(need["indicators"]) or need["widest"]
        lacking = f"; {need['missing']}" if need["missing"] else ""
        named = " ".join(need[name] for name in ("strategy", "market", "timeframe"))
        yield words(f"{named}: {what_for}{lacking}")
    if not needs:
        yield words("nothing is declared")


def _ready_in(need: Result) -> str:
    if need["state"] == "ready":
        return "now"
    return "-" if need["ready_in_s"] is None else words_of_s(need["ready_in_s"])


def _released(result: Result) -> Iterable[Any]:
    yield words("1 need has ended" if result["needs"] == 1 else f"{result['needs']} needs ended")


def _preload(result: Result) -> Iterable[Any]:
    for report in result["preload"]:
        yield from _exchange(report)


def _exchange(report: Result) -> Iterable[Any]:
    held = f"{number(report['memory_bytes'])} of {number(report['memory_bytes_max'])} bytes"
    yield pairs(
        [
            (
                report["exchange"],
                f"needs: {number(report['needs'])}, ready: {number(report['ready'])}",
            ),
            *_habits(report),
            ("limit", f"{report['spare']:.0%} unused"),
            (
                "memory",
                f"{held}, up to {number(report['deepest'])} candles a series",
            ),
        ]
    )
    if report["fetching"]:
        yield _fetching(report["fetching"])
    if report["expected"]:
        yield _expected(report["expected"])


def _habits(report: Result) -> list[tuple[str, str]]:
    # An older runtime does not say, and learns.
    if not report.get("learning", True):
        return [("habits", "not learnt: preload.learn is false")]
    fetched = report["used"] + report["wasted"]
    acted = f"{number(report['predictions'])}, acted on {number(report['acted'])}"
    return [
        ("habits", f"of {number(report['series'])} series, {number(report['model_bytes'])} bytes"),
        ("predictions", f"{acted} (from {report['bar']:.0%} on, with all of the limit unused)"),
        ("fetched ahead", _part(report["used"], fetched, "asked for in time")),
        ("asked for", _part(report["ready_when_asked"], report["asked"], "from predictions")),
    ]


def _part(count: int, total: int, what: str) -> str:
    """Return how many of `total` there were, and in per cent if there were any."""
    share = f" ({count / total:.0%})" if total else ""
    return f"{number(total)}, {number(count)} of them {what}{share}"


def _fetching(fetching: list[Result]) -> Any:
    return table(
        ("being fetched", "timeframe", "as", "for", "candles", "since"),
        (
            (
                fetch["market"],
                fetch["timeframe"],
                fetch["priority"],
                fetch["whom"],
                number(fetch["candles"]),
                words_of_s(fetch["since_s"]),
            )
            for fetch in fetching
        ),
        left=4,
    )


def _expected(expected: list[Result]) -> Any:
    return table(
        ("expected", "", "why", "in", "likely", "fetched"),
        (
            (
                each["market"],
                each["timeframe"],
                each["because"],
                words_of_s(max(0.0, each["due_in_s"])),
                f"{each['probability']:.0%}",
                "yes" if each["worth"] else "no",
            )
            for each in expected
        ),
        left=3,
    )


def _explanation(result: Result) -> Iterable[Any]:
    yield from map(words, result["sentences"])


RENDERERS: dict[str, Callable[[Result], Iterable[Any]]] = {
    "need": _need,
    "need --dry-run": _planned,
    "needs": _needs,
    "needs release": _released,
    "preload": _preload,
    "preload status": _preload,
    "preload explain": _explanation,
}
