"""A vault on disk against a dictionary: changes, crashes at any step, and opening again."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors.stores.key_testing import Crash, crash_at, load_kept
from actors.stores.keys import KeptVault
from actors.stores.keys_files import open_key_files
from actors.vault.secret import Secret
from actors.vault.testing import MARK, NOW_MS, made_credential, made_info, made_kek, told
from actors.vault.vault import Draft, Kek, Vault, derive, params_of

# Files are written in a thread.
pytestmark = pytest.mark.real_time

labels = st.sampled_from(["a", "b", "c"])
# Mostly none: a change is 20 steps or so, and most must come to their end.
crashes = st.one_of(st.none(), st.none(), st.integers(0, 25))


class KeptKeys(RuleBasedStateMachine):
    """What is on disk is what the last change that was made says."""

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name) / "keys"
        self.expected: dict[str, str] = {}
        self.words = "first words"
        self.count = itertools.count()

    @initialize()
    def create(self) -> None:
        """Make an empty vault."""
        self.vault, kept = Vault.create(made_kek(self.words))
        assert self.commit(kept, None)

    @rule(label=labels, crash=crashes)
    def put(self, label: str, crash: int | None) -> None:
        """Add a key, or replace it."""
        info, text = made_info(label), f"{next(self.count)}"
        draft = self.vault.put(info, made_credential(text), now_ms=NOW_MS, audit=MARK)
        self.change(draft, self.expected | {info.name: f"secret {text}"}, crash)

    @rule(label=labels, crash=crashes)
    def purge(self, label: str, crash: int | None) -> None:
        """Forget a key, if it is there."""
        info = made_info(label)
        if info.id in self.vault.keys:
            rest = {name: text for name, text in self.expected.items() if name != info.name}
            self.change(self.vault.purge(info.id, audit=MARK), rest, crash)

    @rule(crash=crashes)
    def rotate(self, crash: int | None) -> None:
        """Take a new data key."""
        self.change(self.vault.rotate(audit=MARK), self.expected, crash)

    @rule(crash=crashes)
    def rewrap(self, crash: int | None) -> None:
        """Take a new passphrase."""
        words = f"words {next(self.count)}"
        draft = self.vault.rewrap(made_kek(words), audit=MARK)
        if self.change(draft, self.expected, crash):
            self.words = words
        self.reopen()

    @rule()
    def reopen(self) -> None:
        """Begin anew from what is on disk."""
        kept = self.load()
        self.vault = Vault.open(kept, self.kek(kept))

    @invariant()
    def tells_what_is_expected(self) -> None:
        """In memory, and on disk."""
        if self.folder.exists():
            assert told(self.vault) == self.expected
            assert self.load().generation == self.vault.generation

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.temporary.cleanup()

    def change(self, draft: Draft, expected: dict[str, str], crash: int | None) -> bool:
        """Commit; return whether the new state is the one that is there."""
        done = self.commit(draft.kept, crash) or self.load() == draft.kept
        if done:
            self.vault.adopt(draft)
            self.expected = expected
        return done

    def kek(self, kept: KeptVault) -> Kek:
        """Return what opens it."""
        return derive(Secret.of_text(self.words), params_of(kept.header))

    def commit(self, kept: KeptVault, crash: int | None) -> bool:
        """Commit in a process of its own; return whether it came to its end."""

        async def main() -> bool:
            async with open_key_files(self.folder, step=crash_at(crash)) as (store, _):
                try:
                    await store.commit(kept)
                except Crash:
                    return False
                return True

        return trio.run(main)

    def load(self) -> KeptVault:
        """Return what is on disk, as a new process finds it."""
        kept = trio.run(load_kept, self.folder)
        assert kept is not None
        return kept


TestKeptKeys = KeptKeys.TestCase
TestKeptKeys.settings = settings(
    max_examples=12,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
