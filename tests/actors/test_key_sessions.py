"""Account clients that are open: at most so many, each ended once, and why is remembered."""

from __future__ import annotations

import msgspec
import pytest

from actors.errors import AccountClosed, Overloaded, RateLimited
from actors.key_sessions import ENDED_MAX, SESSIONS_MAX, Session, Sessions
from actors.vault.testing import made_credential, made_info
from actors.vault.values import KeyInfo


class Told:
    """Hears what becomes of account clients.

    Attributes:
      opened: Those that were opened, or go on.
      ended: Those that have ended, each with why.
    """

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.ended: list[tuple[str, str]] = []
        self.sessions = Sessions(
            lambda session: self.opened.append(session.account),
            lambda account, why: self.ended.append((account, why)),
        )

    def open(
        self,
        account: str = "upbit:main#1",
        info: KeyInfo | None = None,
        ends_s: float = 100.0,
        *,
        trial: bool = False,
    ) -> Session:
        """Open one at second 0 that ends at `ends_s`, unused after 10 s."""
        label = account.partition(":")[2].partition("#")[0]
        info = info or made_info(label)
        session = Session(account, info, made_credential(), 10.0, ends_s, 0.0, trial=trial)
        self.sessions.add(session)
        return session


def test_end_comes_exactly_then() -> None:
    """At the moment itself it is over: idle first, the absolute end in any case."""
    told = Told()
    session = told.open(ends_s=15.0)
    assert told.sessions.get(session.account, 9.999) is session
    told.sessions.use(session, 9.0)
    assert (session.until_s, told.sessions.next_s()) == (15.0, 15.0)
    with pytest.raises(AccountClosed, match=r"open for as long as one may be \(keys.absolute_s\)"):
        told.sessions.get(session.account, 15.0)
    assert session.credential.secret_key.is_wiped
    assert len(told.sessions) == 0
    assert told.sessions.next_s() is None


def test_ends_are_told_once_with_their_reason() -> None:
    """Whoever asks later is told the first reason and not the last."""
    told = Told()
    session = told.open()
    assert told.sessions.end(session.info.id, "it was removed")
    assert not told.sessions.end(session.info.id, "again")
    told.sessions.close(session.account, "again")
    told.sessions.end_all("again")
    assert told.sessions.expire(1_000.0) == 0
    assert told.ended == [(session.account, "it was removed")]
    with pytest.raises(AccountClosed, match="it was removed; open it again"):
        told.sessions.get(session.account, 0.0)


def test_of_two_keys_one_ends() -> None:
    """The end of one key is no matter of another."""
    told = Told()
    first, second = told.open("upbit:a#1"), told.open("upbit:b#2")
    told.sessions.close("upbit:a#1", "enough")
    assert list(told.sessions) == [second]
    assert first.credential.secret_key.is_wiped
    assert not second.credential.secret_key.is_wiped
    assert told.sessions.of_key(first.info.id) is None
    assert told.sessions.of_key(second.info.id) is second


def test_renewing_never_lengthens() -> None:
    """What is known of the key changes; the absolute end only ever comes nearer."""
    told = Told()
    session = told.open()
    fresh = msgspec.structs.replace(session.info, telegram_id="7")
    for ends_s, wanted_s in ((1_000.0, 100.0), (50.0, 50.0), (70.0, 50.0)):
        told.sessions.renew(fresh, ends_s)
        assert (session.ends_s, session.info) == (wanted_s, fresh)
    assert told.opened == [session.account] * 4
    told.sessions.renew(made_info("unknown"), 5.0)


def test_number_of_open_ones_is_bounded() -> None:
    """Memory that holds secrets grows least of all."""
    told = Told()
    for number in range(SESSIONS_MAX):
        told.open(f"upbit:k{number}#1")
    with pytest.raises(Overloaded, match="1000 account clients are open already"):
        told.open("upbit:more#1")
    assert len(told.sessions) == SESSIONS_MAX


def test_reasons_are_remembered_up_to_a_bound() -> None:
    """The oldest goes, and those who published it are told to forget it, too."""
    told = Told()
    for number in range(ENDED_MAX + 1):
        told.open(f"upbit:main#{number}")
        told.sessions.end_all("enough")
    assert told.ended[-2:] == [("upbit:main#0", ""), ("upbit:main#1000", "enough")]
    with pytest.raises(AccountClosed, match="has not opened it"):
        told.sessions.get("upbit:main#0", 0.0)


def test_strange_names_are_cut_in_the_answer() -> None:
    """A name may be anything, from anybody."""
    with pytest.raises(AccountClosed, match="has not opened it") as caught:
        Told().sessions.get("x" * 100_000, 0.0)
    assert len(str(caught.value)) < 300


def test_cap_counts_for_the_key_and_not_for_its_client() -> None:
    """Whoever closes and opens again must not begin to count anew."""
    told = Told()
    info = msgspec.structs.replace(made_info(), requests_per_minute=2)
    first = told.open("upbit:main#1", info)
    first.cap.take(0.0)
    first.cap.take(1.0)
    told.sessions.end_all("invalidated")
    second = told.open("upbit:main#2", info)
    with pytest.raises(RateLimited, match="2 requests a minute"):
        second.cap.take(2.0)
    told.sessions.end_all("its rules were changed")
    third = told.open("upbit:main#3", msgspec.structs.replace(info, requests_per_minute=3))
    third.cap.take(2.0)
    with pytest.raises(RateLimited, match="3 requests a minute"):
        third.cap.take(2.0)


def test_counts_of_keys_that_come_and_go_are_bounded() -> None:
    """Keys that are only tried have an identity of their own each time."""
    told = Told()
    for number in range(SESSIONS_MAX + 10):
        told.open(f"upbit:k{number}#1")
        told.sessions.end_all("tried")
    assert len(told.sessions._caps) == SESSIONS_MAX


def test_holder_is_the_owner_if_it_is_known() -> None:
    """The exchange counts by account, and a uid says which that is."""
    told = Told()
    assert told.open("upbit:a#1").holder == "upbit:a"
    owned = msgspec.structs.replace(made_info("b"), uid="7")
    assert told.open("upbit:b#1", owned).holder == "7"


def test_trial_is_not_bound_by_the_cap_and_takes_nothing_of_it() -> None:
    """Two signatures a minute are too few to try a key, and all that the bot has."""
    told = Told()
    info = msgspec.structs.replace(made_info(), requests_per_minute=2)
    trial = told.open("upbit:main#1", info, trial=True)
    for _ in range(9):
        trial.cap.take(0.0)
    bots = told.open("upbit:main#2", info)
    bots.cap.take(0.0)
    bots.cap.take(0.0)
    with pytest.raises(RateLimited, match="2 requests a minute"):
        bots.cap.take(0.0)


def test_trial_stands_beside_the_client_of_a_bot_and_ends_with_the_key() -> None:
    """Trying a key must not take the place of who works with it; removing it ends both."""
    told = Told()
    bots, trial = told.open("upbit:main#1"), told.open("upbit:main#2", trial=True)
    assert told.sessions.of_key(bots.info.id) is bots
    told.sessions.close(trial.account, "tried")
    assert told.sessions.of_key(bots.info.id) is bots
    again = told.open("upbit:main#3", trial=True)
    assert told.sessions.end(bots.info.id, "it was removed")
    assert [each.credential.secret_key.is_wiped for each in (bots, again)] == [True, True]
    assert len(told.sessions) == 0
