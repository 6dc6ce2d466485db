"""What can go wrong between actors, and the line between an answer and a crash.

Exception
├── DomainError              an answer: the actor that raises it lives on
└── ActorError               the message did not get its answer
    ├── ActorNotFound        nobody is registered under that name
    ├── ActorDown            the actor has ended for good
    ├── ActorRestarted       it crashed with this message in hand, or dropped its queue
    ├── CallTimeout          no answer before the caller's deadline
    ├── MailboxFull          refused: the mailbox is at its bound
    ├── MessageDropped       a newer message took its place in a full mailbox
    ├── UnhandledRequest     the actor does not know this message
    └── SupervisorError      something about the tree itself
        ├── BadSpec          a specification that cannot work
        ├── StartFailed      a child did not come up
        ├── RestartIntensityExceeded   too many restarts in too short a time
        └── TableOwned       somebody else is the writer of that table
"""

from __future__ import annotations

from typing import ClassVar


class DomainError(Exception):
    """An error that is an answer: raised by a handler, it goes to the caller and nobody crashes."""


class ActorError(Exception):
    """A message did not get its answer.

    Attributes:
      retryable: Whether sending the same message again can succeed. Nothing here is ever sent
        again by itself, because only the caller knows whether doing it twice is harmless.
    """

    retryable: ClassVar[bool] = False


class ActorNotFound(ActorError):
    """Nobody is registered under that name."""


class ActorDown(ActorError):
    """The actor has ended and will not come back by itself."""


class ActorRestarted(ActorError):
    """The actor crashed before it answered; a new incarnation takes its place."""

    retryable = True


class CallTimeout(ActorError):
    """No answer came before the caller's deadline."""

    retryable = True


class MailboxFull(ActorError):
    """The mailbox is at its bound and its policy is to refuse."""

    retryable = True


class MessageDropped(ActorError):
    """A newer message took this one's place in a full mailbox."""

    retryable = True


class UnhandledRequest(ActorError):
    """The actor has no handler for this kind of message."""


class SupervisorError(ActorError):
    """Something about the tree itself."""


class BadSpec(SupervisorError):
    """A child or supervisor specification that cannot work, refused before anything starts."""


class StartFailed(SupervisorError):
    """A child did not come up; what had been started before it was stopped again."""


class RestartIntensityExceeded(SupervisorError):
    """More restarts within the period than the supervisor allows, so it gave up."""


class TableOwned(SupervisorError):
    """A table has one writer at a time, and it is somebody else."""
