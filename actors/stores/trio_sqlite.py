"""SQLite on trio: aiosqlite's worker thread and queue, with results handed back to trio.

aiosqlite hands a result back through an asyncio future. Here something that looks like one
(`_Call`) hands it back through trio's token instead; thread and queue serve unchanged.

One hop per call: a whole transaction is one function, submitted once.

Cancellation: a call that is still queued is skipped. One that runs is interrupted and waited for,
because the next call must not meet its statements; if it was done all the same, its result is
returned, so `Cancelled` always means that nothing was changed.

This is the only module that knows `sqlite3` and aiosqlite, and the only one with a thread.
"""

from __future__ import annotations

import enum
import logging
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
import outcome
import trio
from aiosqlite.core import _STOP_RUNNING_SENTINEL

from actors.errors import StoreCorrupt, StoreError, StoreUnavailable

T = TypeVar("T")

_log = logging.getLogger("marketd.store")

BUSY_S = 1.0
_CLOSE_S_MAX = 4.0
# STRICT tables came with it. Source: https://www.sqlite.org/stricttables.html.
_SQLITE_OLDEST = (3, 37, 0)

_MOVE_IT = "move the file away and marketd starts an empty one"
_ADVICE = {
    sqlite3.SQLITE_BUSY: "another program holds it; end that program",
    sqlite3.SQLITE_LOCKED: "another program holds it; end that program",
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_READONLY: "it must be writable; check file, folder and mount",
    sqlite3.SQLITE_CANTOPEN: "file and folder must be there and writable",
    sqlite3.SQLITE_IOERR: "the disk failed or has no room; check it",
    sqlite3.SQLITE_NOTADB: f"this is no database of marketd; {_MOVE_IT}",
    sqlite3.SQLITE_CORRUPT: f"the file is damaged; {_MOVE_IT}",
    sqlite3.SQLITE_ERROR: f"its tables are not as they should be; {_MOVE_IT}",
}
_CORRUPT = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_CONSTRAINT,
}
# After these the open file is not, or no longer, the one the path names.
_LOST = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOTADB}


class Connection(sqlite3.Connection):
    """A connection that refuses to begin a statement once its call was cancelled.

    SQLite forgets an interrupt that comes between two statements; this does not.

    Attributes:
      halted: Whether the call in hand was cancelled.
      file: Device and inode of the open file.
    """

    halted = False
    file: tuple[int, int] | None = None

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Run one statement, as `sqlite3.Connection.execute` does."""
        if self.halted:
            raise _Halted("interrupted")
        try:
            return super().execute(sql, parameters)
        except UnicodeDecodeError as error:
            # SQLite said what is wrong in words from the file, and Python could not read them.
            raise _Garbled("a name in the file's own tables is no text") from error


class _Halted(sqlite3.OperationalError):
    """The call was cancelled between two statements."""


class _Garbled(sqlite3.DatabaseError):
    """The file is damaged where SQLite keeps what tables there are."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


class Database:
    """One open database file.

    Error handling: `run` raises only `StoreError`s, besides what the function itself raises.

    Attributes:
      lost: Whether only opening the file again can help.
    """

    def __init__(self, connection: TrioConnection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self.lost = False

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns; it is called with the connection, in the worker thread.

        Raises:
          StoreUnavailable: The database is closed, busy, full, read-only or away.
          StoreCorrupt: The file is damaged.
          trio.Cancelled: The caller was cancelled before `work` had come to its end.
        """
        if not self._connection.is_open:
            raise StoreUnavailable(f"{self._path}: the database was closed")
        try:
            return await self._connection.submit(partial(self._work, work))
        except (sqlite3.Error, OSError) as error:
            code = getattr(error, "sqlite_errorcode", 0)
            self.lost = self.lost or _main(code) in _LOST
            raise map_error(error, self._path) from error

    def _work(self, work: Callable[[Connection], T], connection: Connection) -> T:
        # SQLite in WAL mode does not look, and would write into a file that nobody finds again.
        if connection.file != _identity(self._path):
            self.lost = True
            raise StoreUnavailable(f"{self._path}: the file was moved, deleted or replaced")
        return work(connection)

    async def aclose(self) -> None:
        """Close the file, after everything that is queued; a second call does nothing."""
        await self._connection.close()


@asynccontextmanager
async def open_database(
    path: Path, *, prepare: Callable[[Connection, Path], None], busy_s: float = BUSY_S
) -> AsyncIterator[Database]:
    """Open the database at `path`, created with mode 0600 if it is not there.

    Args:
      path: The file; its folder must exist.
      prepare: Called once with the new connection, in the worker thread.
      busy_s: How long a statement waits for another program's lock, in seconds.

    Raises:
      StoreUnavailable: It cannot be opened; the message names the path and what to do.
      StoreCorrupt: It is not a database, or a damaged one.
    """
    connection = TrioConnection(partial(_connect, path, prepare, busy_s))
    try:
        try:
            await connection
        except (sqlite3.Error, OSError) as error:
            raise map_error(error, path) from error
        yield Database(connection, path)
    finally:
        await connection.close()


@contextmanager
def transaction(connection: Connection, mode: str = "DEFERRED") -> Iterator[None]:
    """Run the block as one transaction: committed at its end, rolled back on any error.

    Args:
      connection: Where; only in the worker thread.
      mode: `DEFERRED` to read, `IMMEDIATE` to write.
    """
    connection.execute(f"BEGIN {mode}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite itself rolls back after some errors, a full disk among them.
        if connection.in_transaction:
            connection.rollback()
        raise


def map_error(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    """Return the store error that says the same, names `path` and says what to do."""
    if isinstance(error, OSError):
        return StoreUnavailable(f"{path}: {error.strerror}; file and folder must be writable")
    code = _main(getattr(error, "sqlite_errorcode", 0))
    advice = _ADVICE.get(code)
    kind = StoreCorrupt if code in _CORRUPT else StoreUnavailable
    return kind(f"{path}: {error}; {advice}" if advice else f"{path}: {error}")


def _main(code: int) -> int:
    """Return the main part of an extended result code."""
    return code & 0xFF


def _connect(path: Path, prepare: Callable[[Connection, Path], None], busy_s: float) -> Connection:
    if sqlite3.sqlite_version_info < _SQLITE_OLDEST:
        wanted = ".".join(map(str, _SQLITE_OLDEST))
        raise StoreUnavailable(f"SQLite {wanted} is needed, {sqlite3.sqlite_version} was there")
    if not path.parent.is_dir():
        raise StoreUnavailable(f"{path}: its folder does not exist; create it")
    # Only created, never opened when it exists: closing a second descriptor of a file would drop
    # this process's locks on it. Source: https://www.sqlite.org/howtocorrupt.html section 2.2.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, factory=Connection)
    try:
        connection.file = _identity(path)
        prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return (status.st_dev, status.st_ino)


class TrioConnection(aiosqlite.Connection):
    """`aiosqlite.Connection` whose calls are awaited in trio."""

    def __init__(self, connector: Callable[[], Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._thread.name = "marketd-sqlite"
        # A connection that nobody closed must not keep the interpreter from exiting.
        self._thread.daemon = True

    @property
    def is_open(self) -> bool:
        """Return whether calls can be submitted."""
        return self._running and self._connection is not None

    async def submit(self, work: Callable[[Connection], T]) -> T:
        """Return `work(connection)`, run in the worker thread; see the module on cancellation."""
        connection = self._connection
        if not self._running or not isinstance(connection, Connection):
            raise sqlite3.ProgrammingError("the database was closed")
        result: T = await self._call(_Call(partial(work, connection), connection))
        return result

    async def close(self) -> None:
        """Close, after everything that is queued; runs to its end even when cancelled."""
        if not self._running:
            return
        self._running = False
        if self._thread.ident is None:
            return
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_S_MAX) as scope:
            await self._call(_Call(self._close_and_stop, None, waited_for=False))
        if scope.cancelled_caught:
            _log.error("SQLite did not come to an end within %g s; left behind", _CLOSE_S_MAX)

    def stop(self) -> None:
        """Close without waiting; for the finaliser of a connection that nobody closed."""
        self._running = False
        self._tx.put_nowait((None, self._close_and_stop))

    async def _connect(self) -> TrioConnection:
        await self._call(_Call(self._open, None))
        return self

    async def _call(self, call: _Call) -> Any:
        self._tx.put_nowait((call, call))  # type: ignore[arg-type] # stands in for a future
        return await call.wait()

    def _open(self) -> None:
        self._connection = self._connector()

    def _close_and_stop(self) -> object:
        # Whatever closing says, the thread has to end.
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                connection.close()
        except sqlite3.Error as error:
            _log.warning("SQLite did not close cleanly: %s", error)
        return _STOP_RUNNING_SENTINEL


class _State(enum.Enum):
    QUEUED = enum.auto()
    SKIPPED = enum.auto()
    RUNNING = enum.auto()
    DONE = enum.auto()


class _Call:
    """One function on its way through the worker; aiosqlite takes it for function and future.

    The state is shared by two threads and changed under the lock only.

    Args:
      function: What the worker calls.
      connection: What to interrupt when the caller is cancelled; None if there is nothing.
      waited_for: Whether a cancelled caller waits for the function to come to its end.
    """

    def __init__(
        self,
        function: Callable[[], object],
        connection: Connection | None,
        *,
        waited_for: bool = True,
    ) -> None:
        self._function = function
        self._connection = connection
        self._waited_for = waited_for
        self._token = trio.lowlevel.current_trio_token()
        self._task = trio.lowlevel.current_task()
        self._lock = threading.Lock()
        self._state = _State.QUEUED
        self._left = False
        self._raise_cancel: Callable[[], Any] | None = None

    async def wait(self) -> Any:
        """Return what the function returned; call only once, after putting it into the queue."""
        return await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
        with self._lock:
            if self._state is _State.QUEUED and self._waited_for:
                self._state = _State.SKIPPED
            elif self._state is _State.RUNNING and self._connection is not None:
                self._connection.halted = True
                # Under the lock, so that it cannot hit the call after this one.
                self._connection.interrupt()
            self._left = self._state is _State.SKIPPED or not self._waited_for
        self._raise_cancel = raise_cancel
        return trio.lowlevel.Abort.SUCCEEDED if self._left else trio.lowlevel.Abort.FAILED

    # What the worker thread uses.

    def __call__(self) -> object:
        with self._lock:
            if self._state is _State.SKIPPED:
                return None
            self._state = _State.RUNNING
            if self._connection is not None:
                self._connection.halted = False
        try:
            return self._function()
        finally:
            with self._lock:
                self._state = _State.DONE

    def get_loop(self) -> _Call:
        return self

    def call_soon_threadsafe(self, function: Callable[..., object], *args: object) -> None:
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            # The run ended without closing the connection; nobody is left to be told.
            _log.debug("a result came after the end of the run")

    # What aiosqlite's `set_result` and `set_exception` use, in trio's thread.

    def done(self) -> bool:
        return self._left

    def set_result(self, value: object) -> None:
        trio.lowlevel.reschedule(self._task, outcome.Value(value))

    def set_exception(self, error: BaseException) -> None:
        if self._raise_cancel is not None and _was_interrupted(error):
            trio.lowlevel.reschedule(self._task, outcome.capture(self._raise_cancel))
        else:
            trio.lowlevel.reschedule(self._task, outcome.Error(error))


def _was_interrupted(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, _Halted) or _main(code) == sqlite3.SQLITE_INTERRUPT
