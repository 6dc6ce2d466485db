"""`Nest`: where the tasks of a tree's children live, so that one that will not end can be left.

A trio nursery waits for all of its tasks, whatever they do; nothing can end a task that swallows
its cancellation, that shields itself for ever or that waits for a thread. If supervisors kept
their children in nurseries of their own, one such child would keep the whole tree from ending. So
the children of a tree live in one nursery that belongs to nobody in the tree: it is opened by a
system task of trio's, and the tree ends without it when somebody had to be left behind.

What trio cannot do: end that task. It goes on until it ends by itself, and `trio.run` does not
return before. A program that must end all the same says so to the operating system (`os._exit`)
once the tree is down; `Supervisor.abandoned` tells whether it needs to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Nest:
    """The nursery of all children of one tree. Made by `open_nest`.

    Attributes:
      abandoned: Names of children that were left behind and still live, with how many there are.
    """

    def __init__(self) -> None:
        self.abandoned: dict[str, int] = {}
        self._nursery: trio.Nursery | None = None
        self._opened = trio.Event()
        self._closing = trio.Event()
        self._ended = trio.Event()

    def start_soon(self, run: Callable[..., Awaitable[Any]], *args: object, name: str) -> None:
        """Run a child. It must not raise: nobody in the tree would see it."""
        assert self._nursery is not None, "opened by open_nest"
        self._nursery.start_soon(run, *args, name=name)

    def leave(self, name: str) -> None:
        """Wait no longer for the child called `name`."""
        self.abandoned[name] = self.abandoned.get(name, 0) + 1

    def left_has_ended(self, name: str) -> None:
        """Take note that a child that was left behind has ended after all."""
        self.abandoned[name] -= 1
        if not self.abandoned[name]:
            del self.abandoned[name]

    async def _host(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._opened.set()
            await self._closing.wait()
        self._ended.set()

    async def open(self) -> None:
        """Open the nursery."""
        # A system task: it belongs to no nursery of the caller's, so nobody has to wait for it.
        trio.lowlevel.spawn_system_task(self._host, name="nest of a supervision tree")
        with trio.CancelScope(shield=True):
            await self._opened.wait()

    async def close(self) -> None:
        """Close it; wait for its tasks, unless one was left behind."""
        self._closing.set()
        if not self.abandoned:
            with trio.CancelScope(shield=True):
                await self._ended.wait()


@asynccontextmanager
async def open_nest() -> AsyncIterator[Nest]:
    """Open a nest; it closes when its last child has ended, at the latest."""
    nest = Nest()
    await nest.open()
    try:
        yield nest
    finally:
        await nest.close()
