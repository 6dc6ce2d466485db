"""Names: which mailbox belongs to the actor of that name."""

from __future__ import annotations

from runtime.core.errors import ActorNotFound, ActorRestarted, BadSpec
from runtime.core.mailbox import Mailbox, MailboxCounts, MailboxSpec
from runtime.core.ref import ActorRef


class Registry:
    """Unique names of living actors. Supervisors write it; anybody may look a name up."""

    def __init__(self) -> None:
        self._mailboxes: dict[str, Mailbox] = {}

    def ref(self, name: str) -> ActorRef:
        """Return an address for `name`, whether or not somebody is registered under it yet."""
        return ActorRef(self, name)

    def names(self) -> tuple[str, ...]:
        """Return every name in use, sorted."""
        return tuple(sorted(self._mailboxes))

    def mailbox(self, name: str) -> Mailbox:
        """Return the mailbox registered under `name`.

        Raises:
          ActorNotFound: There is none.
        """
        try:
            return self._mailboxes[name]
        except KeyError:
            raise ActorNotFound(f"no actor is registered as {name!r}") from None

    def register(self, mailbox: Mailbox) -> None:
        """Make `mailbox` reachable under its name.

        Raises:
          BadSpec: Another mailbox has that name; it is left alone.
        """
        if self._mailboxes.setdefault(mailbox.name, mailbox) is not mailbox:
            raise BadSpec(f"two actors want the name {mailbox.name!r}")

    def open(self, name: str, spec: MailboxSpec, counts: MailboxCounts | None = None) -> Mailbox:
        """Register a mailbox under `name`: a new one, or the one that waits there for its owner.

        Raises:
          BadSpec: Another mailbox has that name; it is left alone.
        """
        waiting = self._mailboxes.get(name)
        if waiting is not None and waiting.is_orphan:
            waiting.is_orphan = False
            waiting.change(spec)
            return waiting
        mailbox = Mailbox(name, spec, counts)
        self.register(mailbox)
        return mailbox

    def unregister(self, mailbox: Mailbox) -> None:
        """Take the name back, if it is still this mailbox's."""
        if self._mailboxes.get(mailbox.name) is mailbox:
            del self._mailboxes[mailbox.name]

    def orphan(self, mailbox: Mailbox) -> None:
        """Keep the name while its owner's branch is started again.

        What is queued fails with `ActorRestarted`; what comes from now on waits for the owner.
        """
        name = mailbox.name
        mailbox.fail_queued(
            lambda: ActorRestarted(f"{name}: it is started again with its supervisor")
        )
        mailbox.is_orphan = True

    def bury(self, mailbox: Mailbox) -> None:
        """End a mailbox for good: whoever waits is told at once. Adopted ones are left alone."""
        mailbox.close()
        self.unregister(mailbox)
