"""One life of a child, run to its end, whatever end it is."""

from __future__ import annotations

from collections.abc import Callable

import trio

from runtime.core.child import Child, Life
from runtime.core.crashes import crash_beside_cancellation, unwrap
from runtime.core.errors import BadSpec, Ignore, Shutdown


async def live(
    start: Callable[[], Child],
    life: Life,
    came: Callable[[Child], None],
    went: Callable[[], None],
) -> None:
    """Run one life; tell `came` once there is a child, and `went` when it is over.

    Nothing is raised: what ended it is written into `life`.
    """
    life.task = trio.lowlevel.current_task()
    try:
        # Shielded: only the supervisor ends a child, and in its order. The scope keeps its own
        # cancellation; an error beside it in a group is still a crash.
        life.scope.shield = True
        with life.scope:
            child = _made(start)
            came(child)
            # Only the task's frames are to know what it was started with.
            del start
            await child.run(life)
    except BaseException as error:  # noqa: BLE001 - the supervisor raises it, in its own task
        _note(life, error)
    finally:
        if life.hung is not None and life.error is None:
            life.error = life.hung
        life.ended.set()
        life.settled.set()
        went()


def _made(start: Callable[[], Child]) -> Child:
    child = start()
    if not callable(getattr(child, "run", None)):
        kind = type(child).__name__
        raise BadSpec(f"start must return an actor or a supervisor, was {kind}")
    return child


def _note(life: Life, error: BaseException) -> None:
    """Write down what a life ended with."""
    if isinstance(error, Exception):
        error = unwrap(error)
    elif isinstance(error, trio.Cancelled | BaseExceptionGroup):
        try:
            error = crash_beside_cancellation(error)
        except BaseExceptionGroup as fatal:
            error = fatal
    if isinstance(error, Ignore) and not life.is_up:
        life.ignored = True
    elif isinstance(error, Shutdown):
        life.shutdown = error
    elif isinstance(error, Exception):
        life.error = error
    else:
        life.fatal = error
