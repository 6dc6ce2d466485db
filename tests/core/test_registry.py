"""`Registry` and `ActorRef`: a name is looked up anew for every message."""

from __future__ import annotations

import pytest

from runtime.core.errors import ActorDown, ActorNotFound, BadSpec
from runtime.core.mailbox import Mailbox
from runtime.core.message import Event, Request
from runtime.core.registry import Registry


class Ask(Request[None], frozen=True):
    """A request."""


class Tell(Event, frozen=True):
    """An event."""


async def test_an_address_may_be_taken_before_anybody_lives_there() -> None:
    """Actors that need each other can be built in any order."""
    registry = Registry()
    ref = registry.ref("a")
    with pytest.raises(ActorNotFound, match=r"no actor is registered as 'a'"):
        await ref.call(Ask())
    mailbox = Mailbox("a")
    registry.register(mailbox)
    ref.cast(Tell())

    assert (await mailbox.get()).message == Tell()
    assert (ref.name, repr(ref)) == ("a", "<ActorRef a>")


def test_a_name_belongs_to_one_mailbox() -> None:
    """The second is refused, the first keeps it, and registering twice is fine."""
    registry, first = Registry(), Mailbox("a")
    registry.register(first)
    registry.register(first)
    with pytest.raises(BadSpec, match=r"two actors want the name 'a'"):
        registry.register(Mailbox("a"))

    assert registry.mailbox("a") is first


def test_only_the_owner_can_give_a_name_back() -> None:
    """A supervisor that was refused a name cleans up without harming who has it."""
    registry, first = Registry(), Mailbox("a")
    registry.register(first)
    registry.unregister(Mailbox("a"))
    registry.unregister(Mailbox("b"))
    assert registry.names() == ("a",)

    registry.unregister(first)
    assert registry.names() == ()


def test_names_come_sorted() -> None:
    """So that what is printed from them does not jump about."""
    registry = Registry()
    for name in ("b.x", "a", "b"):
        registry.register(Mailbox(name))

    assert registry.names() == ("a", "b", "b.x")


async def test_an_event_for_a_closed_mailbox_is_refused() -> None:
    """Its sender may be the last to learn that the actor has ended."""
    registry, mailbox = Registry(), Mailbox("a")
    registry.register(mailbox)
    mailbox.close()

    with pytest.raises(ActorDown, match=r"a has ended and takes no more messages"):
        registry.ref("a").cast(Tell())
