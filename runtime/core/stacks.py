"""Where a task is, and where those are that it waits for: told as a traceback is."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

import trio

_TASKS_MAX = 10
_FRAMES_MAX = 12


def stacks_below(task: trio.lowlevel.Task) -> str:
    """Return the stack of `task` and of the tasks in its nurseries, most recent call last.

    Bounds: 10 tasks, 12 frames each, the innermost. No local variables: they may be secrets.
    """
    told = []
    for count, each in enumerate(_family(task)):
        if count == _TASKS_MAX:
            told.append("... and more tasks")
            break
        told.append(f"task {each.name}:\n{_stack(each)}")
    return "\n".join(told)


def _family(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    waiting = [task]
    while waiting:
        each = waiting.pop()
        yield each
        for nursery in each.child_nurseries:
            waiting.extend(sorted(nursery.child_tasks, key=lambda child: child.name, reverse=True))


def _stack(task: trio.lowlevel.Task) -> str:
    frames = list(task.iter_await_frames())[-_FRAMES_MAX:]
    summary = traceback.StackSummary.extract(iter(frames), lookup_lines=True)
    return "".join(summary.format()).rstrip() or "  (not begun)"
