"""`ActorRef`: the address of an actor. It stays good across restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import trio

from runtime.core.errors import CallTimeout
from runtime.core.mailbox import Envelope, Reply
from runtime.core.message import Event, Request

if TYPE_CHECKING:
    from runtime.core.registry import Registry

T = TypeVar("T")


class ActorRef:
    """The address of the actor registered under `name`, looked up anew for every message.

    Attributes:
      name: The name it is registered under.
    """

    __slots__ = ("_registry", "name")

    def __init__(self, registry: Registry, name: str) -> None:
        self._registry = registry
        self.name = name

    async def call(self, request: Request[T], *, timeout_s: float = 5.0) -> T:
        """Send `request` and return its answer.

        Args:
          request: What is asked.
          timeout_s: How long to wait, in seconds. The deadline travels with the request: an actor
            does not begin work on one whose deadline has passed.

        Raises:
          DomainError: The answer is an error.
          CallTimeout: No answer in time. The request may still be worked on.
          ActorRestarted: The actor crashed with the request in hand.
          ActorDown: The actor has ended.
          ActorNotFound: Nobody is registered under that name.
          MailboxFull: The mailbox is full and refuses.
          MessageDropped: A newer message took its place in the full mailbox.
          UnhandledRequest: The actor does not know this kind of request.
        """
        deadline_s = trio.current_time() + timeout_s
        reply = Reply(deadline_s)
        with trio.CancelScope(deadline=deadline_s):
            await self._registry.mailbox(self.name).put(Envelope(request, reply))
            return cast("T", await reply.wait())
        raise CallTimeout(
            f"{self.name} did not answer {type(request).__name__} within {timeout_s:g} s"
        )

    def cast(self, event: Event) -> None:
        """Send `event` without waiting.

        Raises:
          MailboxFull: The mailbox is full, and its policy is not to drop the oldest.
          ActorDown: The actor has ended.
          ActorNotFound: Nobody is registered under that name.
        """
        self._registry.mailbox(self.name).put_nowait(Envelope(event))

    def __repr__(self) -> str:
        """Return the name it stands for."""
        return f"<ActorRef {self.name}>"
