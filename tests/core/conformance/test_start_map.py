"""OTP's `sup_start_map`, cases 13 to 15: specifications as they are read back, and faulty ones.

Held here: sup_start_map, sup_start_map_simple, sup_start_map_faulty_specs.

A specification is a `ChildSpec`, not a map: a missing key is a missing argument, which Python
refuses by its name. OTP tolerates an unknown key, Python does not, and a typing mistake found is
worth more than the tolerance.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from runtime.core.child import ChildSpec, Exit, Restart
from runtime.core.dynamic import DynamicSupervisor
from runtime.core.errors import BadSpec, ChildNotFound
from runtime.core.mailbox import MailboxSpec, Overflow
from runtime.core.supervisor import Supervisor
from runtime.testing_core import Stage, hanging, sleeping


@pytest.fixture
def stage() -> Stage:
    """An empty stage."""
    return Stage()


async def test_sup_start_map(stage: Stage) -> None:
    """What is not said is permanent, 5 s for a worker, no limit for a supervisor; all readable."""
    plain = stage.child("plain")
    plain.on_stop = hanging
    below = stage.child("below", shutdown_s=3600)
    below.on_stop = sleeping(3000)
    branch = ChildSpec("branch", lambda: Supervisor([below.spec]))
    full = stage.child(
        "full",
        restart=Restart.TRANSIENT,
        shutdown_s=math.inf,
        mailbox=MailboxSpec(capacity=7, overflow=Overflow.REFUSE),
        hang_s=30.0,
        start_s=3.0,
        abandon_s=1.0,
    )

    async with stage.run(Supervisor([plain.spec, branch, full.spec])) as root:
        for spec in (plain.spec, branch, full.spec):
            assert await root.get_child_spec(spec.id) == spec
        assert (await root.get_child_spec("plain")).restart is Restart.PERMANENT
        with pytest.raises(ChildNotFound, match="no child 'nobody'"):
            await root.get_child_spec("nobody")

    # The branch was waited for as long as its child took; the worker for its 5 s, and no longer.
    assert below.exits == [Exit.SHUTDOWN]
    assert plain.exits == [Exit.KILLED]
    assert below.moments_s("ended") == [3000]
    assert plain.moments_s("ended") == [3005]


async def test_sup_start_map_simple(stage: Stage) -> None:
    """Under a dynamic supervisor a specification is read by handle; a stranger's finds nothing."""
    child = stage.child("worker", shutdown_s=2.0)
    branches = [DynamicSupervisor(), DynamicSupervisor()]
    specs = [ChildSpec(f"pool-{n}", lambda n=n: branches[n]) for n in range(2)]  # type: ignore[misc]

    async with stage.run(Supervisor(specs)):
        ours, other = [await branch.start_child(child.spec) for branch in branches]
        again = await branches[0].start_child(child.spec)

        assert await branches[0].get_child_spec(ours) == child.spec
        assert await branches[0].get_child_spec(again) == child.spec
        # The other branch gave its child the same id.
        assert other.id == ours.id
        with pytest.raises(ChildNotFound, match="no child"):
            await branches[0].get_child_spec(other)
        await branches[0].terminate_child(ours)
        with pytest.raises(ChildNotFound, match="no child"):
            await branches[0].get_child_spec(ours)


@pytest.mark.parametrize("missing", ["id", "start"])
def test_sup_start_map_faulty_specs_missing(stage: Stage, missing: str) -> None:
    """What a child cannot do without is asked for by name."""
    fields: dict[str, Any] = {"id": "child", "start": stage.child("child").spec.start}
    del fields[missing]

    with pytest.raises(TypeError, match=f"missing 1 required positional argument: '{missing}'"):
        ChildSpec(**fields)


@pytest.mark.parametrize("faulty", [None, 42, "child", {"id": "child"}, ("child", print)])
async def test_sup_start_map_faulty_specs(stage: Stage, faulty: Any) -> None:
    """A key nobody knows is named; what is no specification is refused wherever one goes in."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'weight'"):
        stage.child("child", weight=7)
    with pytest.raises(BadSpec, match="must be given as a ChildSpec"):
        Supervisor([faulty])

    async with stage.open(stage.child("good")) as root:
        with pytest.raises(BadSpec, match="must be given as a ChildSpec"):
            await root.start_child(faulty)
        with pytest.raises(BadSpec, match="must be given as a ChildSpec"):
            await root.change(children=[faulty])
        assert [entry.id for entry in await root.which_children()] == ["good"]
    async with stage.run(DynamicSupervisor()) as pool:
        with pytest.raises(BadSpec, match="must be given as a ChildSpec"):
            await pool.start_child(faulty)
        assert await pool.which_children() == ()
