"""What can go wrong between actors, and the line between an answer and a crash.

Exception
├── DomainError              an answer: the actor that raises it lives on
├── Ignore                   raised by a child that does not want to be started: no error at all
├── Shutdown                 raised by a child that wants to end for good: no crash
└── ActorError               the message did not get its answer
    ├── ActorNotFound        nobody is registered under that name
    ├── ActorDown            the actor has ended for good
    ├── ActorRestarted       it crashed with this message in hand, or dropped its queue
    ├── CallTimeout          no answer before the caller's deadline
    ├── MailboxFull          refused: the mailbox is at its bound
    ├── MessageDropped       a newer message took its place in a full mailbox
    ├── UnhandledRequest     the actor does not know this message
    ├── HandlerFailed        the handler failed on this message, and its actor lives on
    └── SupervisorError      something about the tree itself
        ├── BadSpec          a specification that cannot work
        ├── StartFailed      a child did not come up
        ├── RestartIntensityExceeded   too many restarts in too short a time
        ├── Escalated        a crash that its child's specification makes the supervisor's own
        ├── Hung             a message was in hand for longer than its actor's specification allows
        ├── TableOwned       somebody else is the writer of that table
        ├── SupervisorDown   the supervisor is not running, or ended before it came to it
        ├── ChildNotFound    the supervisor has no such child
        ├── AlreadyStarted   a child of that name is running
        ├── AlreadyPresent   a child of that name is there, though not running
        ├── StillRunning     what is asked for needs a child that is not running
        ├── Restarting       the child is between a crash and its next start
        └── TooManyChildren  the dynamic supervisor is at its bound
"""

from __future__ import annotations

from typing import ClassVar


class DomainError(Exception):
    """An error that is an answer: raised by a handler, it goes to the caller and nobody crashes."""


class Ignore(Exception):
    """The child does not want to be started: it is switched off, and that is no failure.

    Raised by `ChildSpec.start` or before the child is up. The child keeps its place without
    running; a temporary or dynamic one is not kept.
    """


class Shutdown(Exception):
    """The child wants to end for good: a permanent one is started again, any other is not.

    Raised by a child of its own accord, and by a supervisor whose significant children have
    ended.
    """


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


class HandlerFailed(ActorError):
    """The handler failed on this message; its actor keeps its state and goes on."""


class SupervisorError(ActorError):
    """Something about the tree itself."""


class BadSpec(SupervisorError):
    """A child or supervisor specification that cannot work, refused before anything starts."""


class StartFailed(SupervisorError):
    """A child did not come up; what had been started before it was stopped again."""


class RestartIntensityExceeded(SupervisorError):
    """More restarts within the period than the supervisor allows, so it gave up."""


class Escalated(SupervisorError):
    """A child crashed with an error that, by its specification, its supervisor must not repair."""


class Hung(SupervisorError):
    """A message was in hand for longer than the actor's specification allows."""


class TableOwned(SupervisorError):
    """A table has one writer at a time, and it is somebody else."""


class SupervisorDown(SupervisorError):
    """The supervisor is not running, or ended before it came to what was asked."""


class ChildNotFound(SupervisorError):
    """The supervisor has no such child."""


class AlreadyStarted(SupervisorError):
    """A child of that name is running; it was left alone.

    Attributes:
      child: The name it is registered under: its path in the tree.
    """

    def __init__(self, message: str, child: str) -> None:
        super().__init__(message)
        self.child = child


class AlreadyPresent(SupervisorError):
    """A child of that name is there, though not running: restart or delete it."""


class StillRunning(SupervisorError):
    """The child is running, and what was asked for needs one that is not."""


class Restarting(SupervisorError):
    """The child is between a crash and its next start; it can be terminated, and then started."""


class TooManyChildren(SupervisorError):
    """The dynamic supervisor has as many children as it allows."""
