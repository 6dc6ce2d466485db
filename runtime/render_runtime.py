"""What the answers about the runtime and its actors look like to people."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from runtime.render import Result, duration, number, pairs, table, time_utc, words


def _status(result: Result) -> Iterable[Any]:
    yield pairs(
        [
            ("marketd", f"{result['version']}, process {result['pid']}"),
            ("up", f"{duration(result['uptime_s'])}, since {time_utc(result['started_ms'])} UTC"),
            ("socket", result["socket"]),
            ("state", f"{result['state_dir']} ({result['store']})"),
            *(
                (each["name"], f"{each['rest_url']} (streams: {each['stream_url'] or 'not used'})")
                for each in result["exchanges"]
            ),
            *_keys(result["keys"]),
        ]
    )
    yield table(
        ("depends on", "state", "why", "last worked (UTC)"),
        (
            (
                each["name"],
                each["state"],
                each["reason"],
                "" if each["since_ms"] is None else time_utc(each["since_ms"]),
            )
            for each in result["health"]
        ),
        left=3,
    )
    yield table(
        ("actor", "state", "up", "restarts", "queued", "peak", "last crash"),
        (
            (
                actor["name"],
                actor["state"],
                duration(actor["uptime_s"]),
                *(number(actor[name]) for name in ("restarts", "queued", "queued_peak")),
                actor["last_crash"] or "",
            )
            for actor in result["actors"]
        ),
        left=2,
    )


def _keys(vault: Result | None) -> Iterable[tuple[str, str]]:
    if vault is not None:
        yield "keys", f"{vault['state']}: {vault['reason']}"


def _stop(result: Result) -> Iterable[Any]:
    yield f"process {result['pid']} has stopped"


def _tree(result: Result) -> Iterable[Any]:
    yield table(
        ("actor", "state", "last crash", "life", "up", "restarts", *_WORK_COLUMNS),
        (
            (
                _indented(actor["name"]),
                _doing(actor),
                actor["last_crash"] or "",
                number(actor["incarnation"]),
                duration(actor["uptime_s"]),
                number(actor["restarts"]),
                *_work(actor),
            )
            for actor in result["actors"]
        ),
        left=3,
    )
    yield f"{len(result['actors'])} in all, at {time_utc(result['time_ms'])} UTC"
    for name in result["abandoned"]:
        yield words(f"{name} ignored its cancellation and still lives, beside its successor")


_WORK_COLUMNS = ("queued", "peak", "handled", "in handlers", "longest", "in hand")


def _work(actor: Mapping[str, Any]) -> Sequence[str]:
    """Return the columns about the messages of an actor; a supervisor has none."""
    if actor["supervisor"]:
        return [""] * len(_WORK_COLUMNS)
    held = f"{actor['in_hand']} for {duration(actor['in_hand_s'])}" if actor["in_hand"] else ""
    return (
        *(number(actor[name]) for name in ("queued", "queued_peak", "handled")),
        duration(actor["busy_s"]),
        duration(actor["longest_s"]),
        held,
    )


def _indented(name: str) -> str:
    """Return an actor's own name, moved to the right below its supervisor's."""
    above, _, own = name.rpartition(".")
    return "  " * (above.count(".") + 1) + own if above else own


def _doing(actor: Mapping[str, Any]) -> str:
    """Return what an actor is doing, and what is unusual about that."""
    unusual = ["suspended"] if actor["suspended"] else []
    if actor["state"] == "running" and not actor["ready"]:
        unusual.append("not ready")
    return ", ".join([actor["state"], *unusual])


def _actor(result: Result) -> Iterable[Any]:
    yield from _state(result["state"])
    if result["statistics"] is not None:
        yield ""
        yield from _statistics(result["statistics"])
    if result["trouble"]:
        yield words(result["trouble"])
    for ending in result["endings"]:
        yield ""
        yield from _ending(ending)
    if result["events"]:
        yield ""
        yield from _events(result)


def _state(actor: Result) -> Iterable[Any]:
    kind = "supervisor" if actor["supervisor"] else "actor"
    lived = f"{duration(actor['uptime_s'])}, incarnation {actor['incarnation']}"
    rows = [
        (actor["name"], f"{kind}, {actor['restart']}"),
        ("state", _doing(actor)),
        ("up", f"{lived}, {number(actor['restarts'])} restarts"),
    ]
    if actor["last_crash"]:
        rows.append(("last crash", actor["last_crash"]))
    if not actor["supervisor"]:
        taken = ("received", "refused", "dropped", "handled", "failed")
        held = f"{actor['in_hand']} for {duration(actor['in_hand_s'])}"
        rows += [
            ("mailbox", f"{number(actor['queued'])} queued, peak {number(actor['queued_peak'])}"),
            ("messages", ", ".join(f"{number(actor[name])} {name}" for name in taken)),
            (
                "handlers",
                f"{duration(actor['busy_s'])} in all, longest {duration(actor['longest_s'])}",
            ),
            ("in hand", held if actor["in_hand"] else "nothing"),
        ]
    yield pairs(rows)


def _statistics(result: Result) -> Iterable[Any]:
    yield words(f"{result['type']}, incarnation {result['incarnation']}")
    yield pairs(
        [
            ("unanswered", number(result["unanswered"])),
            *(
                (name.replace("_", " "), _figure(each))
                for name, each in _flat(result["statistics"])
            ),
        ]
    )


def _flat(figures: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    """Return figures that stand in figures under the names of both."""
    for name, value in figures.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name} ")
        else:
            yield f"{above}{name}", value


def _figure(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return "-" if value is None or value in ("", [], {}) else str(value)


def _ending(ending: Mapping[str, Any]) -> Iterable[Any]:
    what = f"{ending['exit']}: {ending['reason']}" if ending["reason"] else ending["exit"]
    after = f"incarnation {ending['incarnation']} ended after {duration(ending['uptime_s'])}"
    then = f"; {ending['next']}" if ending["next"] else ""
    yield words(f"{time_utc(ending['time_ms'])} UTC, {after}: {what}{then}")
    if ending["traceback"]:
        yield words(textwrap.indent(ending["traceback"], "  "))


def _events(result: Result) -> Iterable[Any]:
    yield table(
        ("time (UTC)", "actor", "what", "detail"),
        (
            (time_utc(event["time_ms"]), event["name"], event["what"], event["detail"])
            for event in result["events"]
        ),
        left=4,
    )


def _trace(result: Result) -> Iterable[Any]:
    yield from _events(result)
    yield words(f"{len(result['events'])} events of {result['name']}; ended {result['ended']}")


RENDERERS: dict[str, Callable[[Result], Iterable[Any]]] = {
    "status": _status,
    "tree": _tree,
    "actor": _actor,
    "state": _state,
    "statistics": _statistics,
    "events": _events,
    "trace": _trace,
    "suspend": _state,
    "resume": _state,
    "restart": _state,
    "stop": _stop,
}
