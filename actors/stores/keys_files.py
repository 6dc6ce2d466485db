"""A vault and its audit trail in files of a folder: `FileKeyStore`, `open_key_files`.

    keys.db       header and notes, in SQLite; `keys.db.good` is a copy of the header
    keys.sealed   the sealed credentials; `keys.sealed.good` is a copy
    audit.jsonl   the audit trail; older parts are `audit-000001.jsonl` and so on

Nothing is made before there is something to keep. How the halves change together is told in
`key_halves`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar

import trio

from actors.errors import StoreCorrupt, StoreUnavailable, VaultDamaged
from actors.stores import key_halves, key_tables
from actors.stores.audit_files import AUDIT_BYTES_MAX, AuditFiles
from actors.stores.key_halves import Places
from actors.stores.keys import AuditLog, KeptVault, KeyStore
from actors.stores.private_files import Step, check_path, make_folder, no_step
from actors.stores.trio_sqlite import BUSY_S, Connection, Database, open_database

T = TypeVar("T")

_ASIDE_MAX = 100


class FileKeyStore(KeyStore):
    """A `KeyStore` in files; made by `open_key_files`.

    Args:
      places: Where they are.
      busy_s: How long to wait for another program's lock, in seconds.
      step: Called before each write, with what is written.
    """

    def __init__(self, places: Places, *, busy_s: float = BUSY_S, step: Step = no_step) -> None:
        self._places = places
        self._busy_s = busy_s
        self._step = step
        self._stack = AsyncExitStack()
        self._database: Database | None = None
        self._opening = trio.Lock()

    async def load(self) -> KeptVault | None:
        """Return the vault as it was last committed; see `KeyStore`."""
        if not self._places.any_there():
            return None
        if not await _in_thread(self._places.check):
            return None
        return await self._run(self._load)

    async def commit(self, kept: KeptVault) -> None:
        """Replace the vault; see `KeyStore`."""
        with trio.CancelScope(shield=True):
            await _in_thread(self._places.check)
            await self._run(lambda c: key_halves.commit(c, self._places, kept, self._step))

    async def good_copy(self) -> KeptVault | None:
        """Return the copy that was last known to be good; see `KeyStore`."""
        return await _in_thread(partial(key_halves.good_copy, self._places))

    async def recover(self, kept: KeptVault) -> tuple[str, ...]:
        """Put `kept` in the vault's place; see `KeyStore`."""
        with trio.CancelScope(shield=True):
            facts = await self._notes_if_any()
            await self.aclose()
            aside = await _in_thread(self._put_aside)
            # Until this is through there is no vault but the good copy, and `load` says so.
            await self._run(lambda c: self._restore(c, kept, facts))
        return tuple(str(path) for path in aside)

    async def notes(self) -> dict[str, str]:
        """Return small facts that are no secrets; see `KeyStore`."""
        # A folder in its place is damage, and not a disk that fails.
        if not await _in_thread(partial(check_path, self._places.database)):
            return {}
        return await self._run(key_tables.read_notes)

    async def note(self, facts: Mapping[str, str]) -> None:
        """Add or replace such facts; see `KeyStore`."""
        facts = dict(facts)
        await _in_thread(self._places.check)
        await self._run(lambda c: key_tables.write_notes(c, facts))

    async def aclose(self) -> None:
        """Close the database; a second call does nothing."""
        self._database = None
        await self._stack.aclose()

    def _load(self, connection: Connection) -> KeptVault | None:
        kept = key_halves.settle(connection, self._places, self._step)
        if kept is not None:
            key_halves.refresh_good(self._places, kept, self._step)
        return kept

    def _restore(self, connection: Connection, kept: KeptVault, facts: Mapping[str, str]) -> None:
        key_tables.write_notes(connection, facts)
        key_halves.restore(connection, self._places, kept, self._step)

    def _put_aside(self) -> list[Path]:
        """Rename what is there; return what it is called now."""
        ours = (self._places.database, self._places.sealed)
        suffix = next(
            f".damaged-{number}"
            for number in count(1)
            if not any(_beside(path, f".damaged-{number}").exists() for path in ours)
            or number > _ASIDE_MAX
        )
        aside = []
        # A journal left behind would be played into the new database.
        for path, journal in ((ours[1], ""), (ours[0], "-journal"), (ours[0], "")):
            there, then = _beside(path, journal), _beside(path, suffix + journal)
            try:
                self._step(f"{there.name}: put aside")
                there.replace(then)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StoreUnavailable(f"{there}: cannot be moved: {error.strerror}") from error
            aside.append(then)
        return aside

    async def _notes_if_any(self) -> dict[str, str]:
        with suppress(VaultDamaged, StoreUnavailable):
            return await self.notes()
        return {}

    async def _run(self, work: Callable[[Connection], T]) -> T:
        try:
            return await (await self._opened()).run(work)
        except StoreCorrupt as error:
            told = await _in_thread(partial(key_halves.told_of_good, self._places))
            raise VaultDamaged(
                f"{self._places.database}: the database is damaged ({error.__cause__}); {told}"
            ) from error

    async def _opened(self) -> Database:
        async with self._opening:
            if self._database is not None and self._database.lost:
                await self.aclose()
            if self._database is None:
                for path in (self._places.database, self._places.sealed):
                    await _in_thread(partial(make_folder, path.parent))
                self._database = await self._stack.enter_async_context(
                    open_database(
                        self._places.database, prepare=key_tables.prepare, busy_s=self._busy_s
                    )
                )
            return self._database


@asynccontextmanager
async def open_key_files(
    folder: Path,
    *,
    sealed_path: Path | None = None,
    audit_bytes_max: int = AUDIT_BYTES_MAX,
    busy_s: float = BUSY_S,
    step: Step = no_step,
) -> AsyncIterator[tuple[KeyStore, AuditLog]]:
    """Open the vault and the audit trail that are kept in `folder`; nothing is made yet.

    Args:
      folder: Where the database and the trail are.
      sealed_path: Where the sealed credentials are, if not in the same folder.
      audit_bytes_max: How much of the trail is kept; the oldest part goes first.
      busy_s: How long to wait for another program's lock, in seconds.
      step: Called before each write, with what is written.
    """
    places = Places(folder / "keys.db", sealed_path or folder / "keys.sealed")
    store = FileKeyStore(places, busy_s=busy_s, step=step)
    log = AuditFiles(folder, bytes_max=audit_bytes_max, step=step)
    try:
        yield store, log
    finally:
        with trio.CancelScope(shield=True):
            await log.aclose()
            await store.aclose()


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


async def _in_thread(work: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(work)  # noqa: TID251 - a disk may take seconds
