"""Runs that can be had again: the same seed gives the same run, bit for bit.

trio is a simulator already. Its scheduler tosses a coin over the order of tasks that are ready at
once; here that coin comes from a seed. Time is virtual and jumps to the next deadline whenever no
task can run, so an hour takes seconds.

What is left to the function that is run: to take chance from a `random.Random` of its own and time
from trio, and to use no threads, sockets or processes. Threads above all: virtual time sees only
waiting tasks, so it jumps, perhaps for hours, while a thread works.

trio keeps both switches private. They are touched here and nowhere else.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, TypeVarTuple, Unpack

import trio
import trio.testing
from trio._core import _run as _scheduler

ReturnT = TypeVar("ReturnT")
ArgumentsT = TypeVarTuple("ArgumentsT")

# Makes trio sort each batch of ready tasks by age before it shuffles it.
_SORTS = "_ALLOW_DETERMINISTIC_SCHEDULING"
# The `random.Random` it shuffles with.
_CHANCE = "_r"


def run_replayable(
    async_fn: Callable[[Unpack[ArgumentsT]], Awaitable[ReturnT]],
    *args: *ArgumentsT,
    seed: int,
) -> ReturnT:
    """Run `async_fn(*args)` in virtual time, from 0 s, scheduled by `seed`; return its result.

    One at a time in a process: trio's switches are the process's own, and a second run in another
    thread would draw from the same chance. They are put back afterwards, whatever happens.

    Args:
      async_fn: What `trio.run` would be given.
      args: Its arguments.
      seed: Of the scheduler; the same gives the same order of tasks.

    Raises:
      NotReplayable: This release of trio has its scheduler elsewhere.
      Exception: Whatever `async_fn` raises.
    """
    with _seeded(seed):
        clock = trio.testing.MockClock(autojump_threshold=0)
        return trio.run(async_fn, *args, clock=clock)


class NotReplayable(Exception):
    """trio's scheduler cannot be seeded: what this module knows of its inside is not so."""


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    before = {name: getattr(_scheduler, name, None) for name in (_SORTS, _CHANCE)}
    if not isinstance(before[_SORTS], bool) or not isinstance(before[_CHANCE], random.Random):
        raise NotReplayable(
            f"trio {trio.__version__} has no scheduler that can be seeded: wanted a flag {_SORTS} "
            f"and a random.Random {_CHANCE} in trio._core._run, found {before}"
        )
    # A source of its own, rather than the old one seeded: nobody else who holds the old one, such
    # as Hypothesis, finds it moved.
    _set({_SORTS: True, _CHANCE: random.Random(seed)})  # noqa: S311 - seeded on purpose
    try:
        yield
    finally:
        _set(before)


def _set(values: dict[str, object]) -> None:
    for name, value in values.items():
        setattr(_scheduler, name, value)
