"""Account clients that are open: who may sign at the moment, and until when.

Two lifetimes, as with `ssh-add -t`: idle, which every use begins anew, and absolute, which nothing
moves. What has come to its end is wiped at that moment and not when somebody next asks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from actors.errors import AccountClosed, Overloaded
from actors.key_rules import Cap
from actors.vault.values import Credential, KeyInfo

SESSIONS_MAX = 1_000
# Ended ones of which it is remembered why.
ENDED_MAX = 1_000


@dataclass(slots=True)
class Session:
    """One open account client.

    Attributes:
      account: Its name: `exchange:label#number`.
      info: What is known of its key.
      credential: What signs.
      idle_s: How long it may be unused, in seconds.
      ends_s: When it ends in any case, on `Clock.now_s`.
      used_s: When it was last used.
      holder: Whom the exchange counts its requests for.
      trial: Whether its key's owner tries the key with it: beside that of a bot, and not counted.
      cap: Counts the signatures of its key, also those of its other account clients.
    """

    account: str
    info: KeyInfo
    credential: Credential
    idle_s: float
    ends_s: float
    used_s: float
    holder: str = ""
    trial: bool = False
    cap: Cap = field(init=False)

    def __post_init__(self) -> None:
        """Count it for its own key if it is not said for whom."""
        self.holder = self.holder or self.info.uid or self.info.name

    @property
    def until_s(self) -> float:
        """Return when it ends if it is not used, on `Clock.now_s`."""
        return min(self.used_s + self.idle_s, self.ends_s)


class Sessions:
    """All account clients of one vault.

    Args:
      opened: Told of one that is open from now on, or goes on with another end.
      ended: Told the account of one that has come to its end, and why; again, without a why, when
        that is forgotten.
    """

    def __init__(
        self, opened: Callable[[Session], None], ended: Callable[[str, str], None]
    ) -> None:
        self._tell_opened = opened
        self._tell_ended = ended
        self._open: dict[str, Session] = {}
        self._of_key: dict[str, str] = {}
        self._ended: OrderedDict[str, str] = OrderedDict()
        # Of each key: a client that is closed and opened anew must not begin to count anew.
        self._caps: OrderedDict[str, Cap] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def __iter__(self) -> Iterator[Session]:
        """Return those that are open."""
        return iter(tuple(self._open.values()))

    def of_key(self, key_id: str) -> Session | None:
        """Return the one of a key, if it is open; never one that only tries it."""
        return self._open.get(self._of_key.get(key_id, ""))

    def add(self, session: Session) -> None:
        """Take one over.

        Raises:
          Overloaded: There are as many as there may be.
        """
        if len(self._open) >= SESSIONS_MAX:
            raise Overloaded(f"{SESSIONS_MAX} account clients are open already, close some")
        self._open[session.account] = session
        if session.trial:
            # A key for two requests a minute could never be tried; the limiter holds all the same.
            session.cap = Cap(None, session.info.name)
        else:
            session.cap = self._cap(session.info)
            self._of_key[session.info.id] = session.account
        self._tell_opened(session)

    def get(self, account: str, now_s: float) -> Session:
        """Return one that is open.

        Raises:
          AccountClosed: It is not; says since when it is not, and why.
        """
        session = self._open.get(account)
        if session is not None and now_s >= session.until_s:
            self.expire(now_s)
            session = None
        if session is None:
            why = self._ended.get(account, "this runtime has not opened it")
            raise AccountClosed(f"account {account[:100]!r} is closed: {why}; open it again")
        return session

    def use(self, session: Session, now_s: float) -> None:
        """Begin the idle time anew."""
        session.used_s = now_s

    def end(self, key_id: str, why: str) -> bool:
        """End the one of a key, and those that try it; return whether there was one."""
        accounts = [each.account for each in self._open.values() if each.info.id == key_id]
        for account in accounts:
            self._end(account, why)
        return bool(accounts)

    def renew(self, info: KeyInfo, ends_s: float) -> None:
        """Let the one of a key go on, with what is known of the key now, until `ends_s` at most."""
        session = self.of_key(info.id)
        if session is not None:
            session.info = info
            session.ends_s = min(session.ends_s, ends_s)
            self._tell_opened(session)

    def close(self, account: str, why: str) -> None:
        """End one by its own name; nothing happens if it is not open."""
        if account in self._open:
            self._end(account, why)

    def end_all(self, why: str) -> None:
        """End all of them."""
        for account in tuple(self._open):
            self._end(account, why)

    def expire(self, now_s: float) -> int:
        """End those whose time has come; return how many."""
        due = [each for each in self._open.values() if now_s >= each.until_s]
        for session in due:
            if now_s >= session.ends_s:
                why = "it was open for as long as one may be (keys.absolute_s)"
            else:
                why = f"it was not used for {session.idle_s:g} s (keys.idle_s)"
            self._end(session.account, why)
        return len(due)

    def next_s(self) -> float | None:
        """Return when the first of them ends, on `Clock.now_s`; None if none is open."""
        return min((session.until_s for session in self._open.values()), default=None)

    def _cap(self, info: KeyInfo) -> Cap:
        cap = self._caps.setdefault(info.id, Cap(info.requests_per_minute, info.name))
        cap.most = info.requests_per_minute
        self._caps.move_to_end(info.id)
        while len(self._caps) > SESSIONS_MAX:
            self._caps.popitem(last=False)
        return cap

    def _end(self, account: str, why: str) -> None:
        session = self._open.pop(account)
        if not session.trial:
            del self._of_key[session.info.id]
        session.credential.wipe()
        self._ended[account] = why
        while len(self._ended) > ENDED_MAX:
            forgotten, _ = self._ended.popitem(last=False)
            self._tell_ended(forgotten, "")
        self._tell_ended(account, why)
