"""OTP's checks of specifications and flags, cases 26 to 28: what cannot work does not get far.

Held here: child_specs, child_specs_map, sup_flags.

OTP checks where a specification is used: by `start_child`, by `check_childspecs` and by `init`.
Here a faulty one cannot be made at all, so that one check serves all three; what can be seen only
among siblings is checked by all three. Not held: that a dynamic supervisor needs exactly one
specification, for ours takes none. OTP ignores flags it does not know, Python refuses them.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from runtime.core.backoff import Backoff, RestartIntensity
from runtime.core.child import ChildSpec, Directive, Restart
from runtime.core.dynamic import DynamicSupervisor
from runtime.core.errors import AlreadyStarted, BadSpec
from runtime.core.mailbox import MailboxSpec, OnCrash, Overflow
from runtime.core.reports import CrashLog
from runtime.core.supervisor import AutoShutdown, Flags, Strategy, Supervisor
from runtime.testing_core import Stage


@pytest.fixture
def stage() -> Stage:
    """An empty stage."""
    return Stage()


BAD_FIELDS: list[tuple[str, Any]] = [
    *(("id", bad) for bad in (None, 3, "", "a.b", "a b")),
    *(("start", bad) for bad in (None, 3, "module")),
    *(("restart", bad) for bad in (None, "permanent", "prmanent", True)),
    *(("shutdown_s", bad) for bad in (-1, "5", math.nan, -math.inf, True, "brutal_kill")),
    *(("mailbox", bad) for bad in (None, 64)),
    *(("significant", bad) for bad in (None, 1, "true")),
    *(("hang_s", bad) for bad in (0, -1, math.inf, math.nan, "1", False)),
    *(("start_s", bad) for bad in (0, -1, math.inf, math.nan, "1")),
    *(("abandon_s", bad) for bad in (None, -1, math.inf, math.nan, "1")),
    ("on_crash", None),
    ("on_crash", "stop"),
    ("on_crash", {int: Directive.STOP}),
    ("on_crash", {ValueError: "stop"}),
]


@pytest.mark.parametrize(("field", "bad"), BAD_FIELDS)
def test_child_specs(stage: Stage, field: str, bad: Any) -> None:
    """Every field that cannot work is refused, by an error that names it."""
    good = stage.child("child").spec

    with pytest.raises(BadSpec, match=rf"\b{field}\b"):
        replace(good, **{field: bad})


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        *(("capacity", bad) for bad in (None, 0, -1, 1.5, "64", math.inf)),
        *(("overflow", bad) for bad in (None, "wait")),
        *(("on_crash", bad) for bad in (None, "keep")),
    ],
)
def test_child_specs_mailbox(field: str, bad: Any) -> None:
    """Nor does a mailbox that cannot work get into a specification."""
    with pytest.raises(BadSpec, match=field):
        MailboxSpec(**{field: bad})


@pytest.mark.parametrize("fields", [{"overflow": Overflow.LATEST}, {"key": id}])
def test_child_specs_mailbox_key(fields: dict[str, Any]) -> None:
    """A mailbox of the latest per key needs a key, and no other has a use for one."""
    with pytest.raises(BadSpec, match=r"needs a key for Overflow\.LATEST and for nothing else"):
        MailboxSpec(**fields)


async def test_child_specs_twice(stage: Stage) -> None:
    """Two children of one supervisor have two ids: at its start, at a change, and later on."""
    first, second, other = stage.child("same"), stage.child("same"), stage.child("other")

    with pytest.raises(BadSpec, match=r"need different ids, .*\['same'\]"):
        Supervisor([first.spec, other.spec, second.spec])
    async with stage.open(first, other) as root:
        with pytest.raises(AlreadyStarted, match="runs already"):
            await root.start_child(second.spec)
        with pytest.raises(BadSpec, match="need different ids"):
            await root.change(children=[first.spec, second.spec])
        assert [entry.id for entry in await root.which_children()] == ["same", "other"]
        assert second.lives == []


def test_child_specs_dynamic() -> None:
    """A dynamic supervisor takes no children from the beginning, and says so."""
    none_at_all: Any = DynamicSupervisor
    with pytest.raises(TypeError, match="positional argument"):
        none_at_all([])
    with pytest.raises(TypeError, match="unexpected keyword argument 'children'"):
        none_at_all(children=[])


# Every value that each field may have, as long as the others agree.
GOOD_FIELDS: dict[str, tuple[Any, ...]] = {
    "restart": tuple(Restart),
    "significant": (False, True),
    "shutdown_s": (None, 0, 1, 0.5, math.inf),
    "mailbox": (MailboxSpec(), MailboxSpec(1, Overflow.REFUSE, OnCrash.FAIL)),
    "hang_s": (None, 30.0),
    "start_s": (None, 3),
    "on_crash": ({}, {Exception: Directive.RESUME, ValueError: Directive.STOP}),
}


def combinations() -> list[dict[str, Any]]:
    """Return the full cross product of `GOOD_FIELDS`."""
    return [
        dict(zip(GOOD_FIELDS, values, strict=True))
        for values in itertools.product(*GOOD_FIELDS.values())
    ]


def contradicts_itself(fields: dict[str, Any]) -> bool:
    """Return whether the child says that its end matters, and that it never ends."""
    return bool(fields["significant"]) and fields["restart"] is Restart.PERMANENT


@pytest.mark.parametrize("mode", AutoShutdown)
async def test_child_specs_map(stage: Stage, mode: AutoShutdown) -> None:
    """Every combination is accepted, started and read back, but for two of `significant`."""
    good = [fields for fields in combinations() if not contradicts_itself(fields)]
    specs = [stage.child(f"child-{n}", **fields).spec for n, fields in enumerate(good)]
    plain = [spec for spec in specs if not spec.significant]
    assert len(combinations()) == 480
    assert (len(specs), len(plain)) == (400, 240)
    allowed = plain if mode is AutoShutdown.NEVER else specs

    async with stage.run(Supervisor(allowed[::2], auto_shutdown=mode)) as root:
        for spec in allowed[1::2]:
            await root.start_child(spec)
        for spec in allowed:
            kept = await root.get_child_spec(spec.id)
            assert replace(kept, start=spec.start) == spec
            # How a temporary child was started is forgotten once it has been.
            assert (kept == spec) == (spec.restart is not Restart.TEMPORARY)
        assert (await root.count_children()).active == len(allowed)


@pytest.mark.parametrize(
    "fields", [fields for fields in combinations() if contradicts_itself(fields)][:8]
)
def test_child_specs_map_permanent_and_significant(stage: Stage, fields: dict[str, Any]) -> None:
    """A permanent child never ends for good, so its end cannot mean anything."""
    with pytest.raises(BadSpec, match="child a: a permanent child cannot be significant"):
        stage.child("a", **fields)


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY])
async def test_child_specs_map_significant_under_never(stage: Stage, restart: Restart) -> None:
    """Where no auto-shutdown is wanted nothing can be significant, by whatever way it comes."""
    child = stage.child("child", restart=restart, significant=True)

    with pytest.raises(BadSpec, match=r"child is significant, but auto_shutdown .* is never"):
        stage.supervisor(child)
    async with stage.open() as root:
        with pytest.raises(BadSpec, match="child is significant"):
            await root.start_child(child.spec)
        with pytest.raises(BadSpec, match="child is significant"):
            await root.change(children=[child.spec])
        assert await root.which_children() == ()
    async with stage.open(child, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT) as root:
        with pytest.raises(BadSpec, match="child is significant"):
            await root.change(flags=replace(root.flags, auto_shutdown=AutoShutdown.NEVER))
        assert child.is_alive


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        *(("strategy", bad) for bad in (None, "one_for_one", "one4all", 1)),
        *(("intensity", bad) for bad in (3, (1, 5), "often")),
        *(("backoff", bad) for bad in (None, 1.0)),
        *(("auto_shutdown", bad) for bad in (None, "never", True)),
        *(("crash_log", bad) for bad in (None, "error")),
    ],
)
async def test_sup_flags(stage: Stage, field: str, bad: Any) -> None:
    """A bad flag is refused by its name: of a supervisor, of a dynamic one, and at a change."""
    with pytest.raises(BadSpec, match=rf"\b{field} must be"):
        Supervisor([], **{field: bad})
    if field not in {"strategy", "auto_shutdown"}:
        with pytest.raises(BadSpec, match=rf"\b{field} must be"):
            DynamicSupervisor(**{field: bad})

    async with stage.open() as root:
        before = root.flags
        with pytest.raises(BadSpec, match=rf"\b{field} must be"):
            await root.change(flags=replace(root.flags, **{field: bad}))
        assert root.flags is before


@pytest.mark.parametrize(
    ("kind", "field", "bad"),
    [
        *((RestartIntensity, "max_restarts", bad) for bad in (-1, None, "3", 1.5, math.nan)),
        *((RestartIntensity, "within_s", bad) for bad in (0, -1, None, "5", math.nan)),
        *((Backoff, "min_s", bad) for bad in (-1, None, "3", math.nan, math.inf)),
        *((Backoff, "factor", bad) for bad in (0.5, None, "3", math.nan, math.inf)),
        *((Backoff, "max_s", bad) for bad in (-1, None, "3", math.nan, math.inf)),
        *((Backoff, "jitter", bad) for bad in (-0.1, 1.1, None, "3", math.nan)),
        *((Backoff, "forgive_after_s", bad) for bad in (-1, None, "3", math.nan)),
        *((CrashLog, "kept", bad) for bad in (-1, None, "3")),
        *((CrashLog, "critical_after", bad) for bad in (0, "3")),
    ],
)
def test_sup_flags_figures(kind: type, field: str, bad: Any) -> None:
    """Bad figures of a flag are refused by their name, before there is a flag."""
    with pytest.raises(BadSpec, match=rf"\b{field}\b"):
        kind(**{field: bad})


@pytest.mark.parametrize("bad", [None, 3, "children", Flags])
def test_sup_flags_shape(bad: Any) -> None:
    """What has not even the shape of children or flags is refused as well."""
    with pytest.raises(BadSpec, match="child"):
        Supervisor(bad)


@pytest.mark.parametrize("bad", [3, {}, {"strategy": Strategy.ONE_FOR_ALL}, ("one_for_one", 1, 5)])
async def test_sup_flags_shape_at_change(stage: Stage, bad: Any) -> None:
    """So it is at run time, and everything stays as it was."""
    async with stage.open(stage.child("child")) as root:
        before = root.flags
        with pytest.raises(BadSpec, match="flags must be given as Flags"):
            await root.change(flags=bad)
        assert root.flags is before


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor, Flags])
def test_sup_flags_unknown(kind: Any) -> None:
    """A flag nobody knows is a typing mistake, and Python names it."""
    make: Any = partial(kind, []) if kind is Supervisor else kind
    with pytest.raises(TypeError, match="unexpected keyword argument 'intensty'"):
        make(intensty=3)


def test_sup_flags_that_never_give_up() -> None:
    """An intensity that the back-off makes impossible to exceed is no intensity."""
    with pytest.raises(BadSpec, match="could never give up: 6 crashes take at least"):
        Supervisor([], intensity=RestartIntensity(5, 10.0), backoff=Backoff(min_s=10.0, max_s=60.0))


def test_good_starts_are_not_called_by_checks() -> None:
    """A check of specifications starts nothing."""
    called: list[str] = []

    def start() -> Any:
        called.append("start")

    spec = ChildSpec("child", start)
    Supervisor([spec])
    with pytest.raises(BadSpec, match="children"):
        Supervisor([spec, spec])
    assert called == []
