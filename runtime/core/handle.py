"""What starting a child returns, and what lists of children are made of."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.core.ref import ActorRef


@dataclass(frozen=True, slots=True, eq=False)
class ChildHandle:
    """A child that was started. Two handles are equal only if they are the same.

    Attributes:
      id: Among its siblings; of a dynamic child, made of its specification's and a number.
      name: Its path in the tree.
      ref: Where its messages go.
      info: What it said of itself when it came up: `ActorContext.info`, `Life.up(info)`.
      is_running: False if it said `Ignore`.
    """

    id: str
    name: str
    ref: ActorRef
    info: object
    is_running: bool


@dataclass(frozen=True, slots=True)
class ChildEntry:
    """A child in a list of children.

    Attributes:
      id: Among its siblings.
      name: Its path in the tree.
      state: starting, running, restarting or stopped.
      is_supervisor: Whether it is one, as far as is known.
      handle: What addresses it under a dynamic supervisor; None under any other.
    """

    id: str
    name: str
    state: str
    is_supervisor: bool
    handle: ChildHandle | None = None
