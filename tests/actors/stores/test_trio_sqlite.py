"""aiosqlite on trio: cancellation, closing, and the internals of aiosqlite that it rests on.

On the real clock, because there is a thread.
"""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import queue
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import dedent

import aiosqlite
import pytest
import trio
from aiosqlite import core

from actors.errors import StoreUnavailable
from actors.stores.trio_sqlite import (
    Connection,
    Database,
    TrioConnection,
    open_database,
    transaction,
)

pytestmark = pytest.mark.real_time

ROOT = Path(__file__).resolve().parents[3]
# Counts for minutes unless interrupted.
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


def prepare(connection: Connection, _path: Path) -> None:
    """Make one table."""
    connection.execute("CREATE TABLE IF NOT EXISTS note (text TEXT)")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An open database with a table `note`."""
    async with open_database(tmp_path / "notes.db", prepare=prepare) as opened:
        yield opened


async def notes(database: Database) -> list[str]:
    """Return what is in the table."""
    rows = await database.run(lambda c: c.execute("SELECT text FROM note").fetchall())
    return [text for (text,) in rows]


class Gate:
    """Holds the worker thread inside a call until it is told to go on."""

    def __init__(self) -> None:
        self.entered = trio.Event()
        self.go_on = threading.Event()
        self._token = trio.lowlevel.current_trio_token()

    def hold(self, connection: Connection) -> str:
        """Write a note, wait, and write another, in one transaction."""
        with transaction(connection, "IMMEDIATE"):
            connection.execute("INSERT INTO note VALUES ('before')")
            self._token.run_sync_soon(self.entered.set)
            assert self.go_on.wait(5)
            connection.execute("INSERT INTO note VALUES ('after')")
        return "done"


async def test_calls_run_in_order_in_one_thread_that_is_not_ours(database: Database) -> None:
    """SQLite is never met from two threads, and trio's is never held up."""
    threads = {await database.run(lambda _: threading.current_thread()) for _ in range(3)}

    (thread,) = threads
    assert thread is not threading.current_thread()
    assert thread.daemon


async def test_an_error_of_the_function_comes_back_as_it_is(database: Database) -> None:
    """Only SQLite's own errors are translated."""

    def fail(_connection: Connection) -> None:
        raise LookupError("not here")

    with pytest.raises(LookupError, match="not here"):
        await database.run(fail)
    assert await notes(database) == []


async def test_a_cancelled_call_that_waits_its_turn_is_skipped(database: Database) -> None:
    """Its caller goes at once, and nothing of it is ever run."""
    gate = Gate()
    ran: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, gate.hold)
        await gate.entered.wait()
        with trio.move_on_after(0.01) as scope:
            await database.run(lambda _: ran.append("queued"))
        assert scope.cancelled_caught
        gate.go_on.set()

    assert await notes(database) == ["before", "after"]
    assert ran == []


async def test_a_cancelled_statement_is_interrupted_and_the_next_one_runs(
    database: Database,
) -> None:
    """A query that would take minutes is over at once, and leaves nothing behind."""
    with trio.fail_after(2):
        with trio.move_on_after(0.05) as scope:
            await database.run(lambda c: c.execute(ENDLESS).fetchall())

        assert scope.cancelled_caught
        assert await notes(database) == []


async def test_a_call_cancelled_between_two_statements_begins_no_other(database: Database) -> None:
    """SQLite forgets such an interrupt; the transaction is rolled back all the same."""
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.run, gate.hold)
        await gate.entered.wait()
        nursery.cancel_scope.cancel()
        # The task waits for the thread, so somebody has to let the thread go once it was halted.
        trio.lowlevel.current_trio_token().run_sync_soon(
            trio.lowlevel.spawn_system_task, open_gate, gate
        )

    assert nursery.cancel_scope.cancelled_caught
    assert await notes(database) == []


async def open_gate(gate: Gate) -> None:
    """Let the worker go on, after the cancelled task was told."""
    for _ in range(3):
        await trio.lowlevel.checkpoint()
    gate.go_on.set()


async def test_a_call_that_was_done_all_the_same_returns_its_result(database: Database) -> None:
    """So that `Cancelled` always means that nothing was changed."""
    gate = Gate()

    def ignore(_connection: Connection) -> str:
        gate._token.run_sync_soon(gate.entered.set)
        assert gate.go_on.wait(5)
        return "done"

    results: list[str] = []

    async def call() -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            results.append(await database.run(ignore))

    scopes: list[trio.CancelScope] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await gate.entered.wait()
        scopes[0].cancel()
        nursery.start_soon(open_gate, gate)

    assert results == ["done"]


async def test_closing_finishes_what_is_queued_even_when_cancelled(tmp_path: Path) -> None:
    """What was accepted is written, and the thread ends."""
    gate = Gate()
    with trio.CancelScope() as scope:
        async with (
            trio.open_nursery() as nursery,
            open_database(tmp_path / "notes.db", prepare=prepare) as database,
        ):
            thread = await database.run(lambda _: threading.current_thread())
            nursery.start_soon(database.run, gate.hold)
            await gate.entered.wait()
            gate.go_on.set()
            await database.run(lambda c: c.execute("INSERT INTO note VALUES ('last')"))
            scope.cancel()

    thread.join(1)
    assert not thread.is_alive()
    async with open_database(tmp_path / "notes.db", prepare=prepare) as database:
        assert await notes(database) == ["before", "after", "last"]


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    """Also when it is closed twice."""
    async with open_database(tmp_path / "notes.db", prepare=prepare) as database:
        await database.aclose()
        await database.aclose()
        with pytest.raises(StoreUnavailable, match=r"notes\.db: the database was closed"):
            await notes(database)


UNCLOSED = """
    import sys, trio
    from pathlib import Path
    from actors.stores.trio_sqlite import TrioConnection, Connection
    import sqlite3

    async def main():
        global kept
        kept = TrioConnection(lambda: sqlite3.connect(sys.argv[1], factory=Connection))
        await kept
        if sys.argv[2] == "busy":
            kept._tx.put_nowait((None, lambda: kept._connection.execute(sys.argv[3])))

    trio.run(main)
    print("end")
"""


@pytest.mark.parametrize("how", ["idle", "busy"])
def test_a_connection_that_nobody_closed_does_not_keep_the_interpreter(
    tmp_path: Path, how: str
) -> None:
    """With plain aiosqlite the process would hang at its end."""
    command = [sys.executable, "-c", dedent(UNCLOSED), str(tmp_path / "x.db"), how, ENDLESS]

    done = subprocess.run(command, cwd=ROOT, timeout=10, check=True, capture_output=True)

    assert done.stdout == b"end\n"


def test_aiosqlite_has_the_internals_that_the_subclass_rests_on() -> None:
    """A new version may move them; then this fails, and `trio_sqlite` wants a look."""
    assert importlib.metadata.version("aiosqlite").startswith("0.22.")
    plain = aiosqlite.Connection(lambda: None, 64)  # type: ignore[arg-type,return-value]
    assert isinstance(plain._tx, queue.SimpleQueue)
    assert isinstance(plain._thread, threading.Thread)
    assert not plain._thread.is_alive()
    assert plain._running is True
    assert plain._connection is None
    assert callable(plain._connector)
    overridden = {"submit", "close", "stop", "_connect", "_call", "_open", "_close_and_stop"}
    ours = {name for name, _ in inspect.getmembers(TrioConnection, inspect.isfunction)}
    assert overridden <= ours
    assert {"close", "stop", "_connect", "__await__"} <= set(vars(aiosqlite.Connection))


def test_aiosqlites_worker_speaks_the_protocol_that_a_call_answers() -> None:
    """Queue of (future, function); results through `future.get_loop().call_soon_threadsafe`."""
    told: list[tuple[object, ...]] = []

    class Recorder:
        def get_loop(self) -> Recorder:
            return self

        def call_soon_threadsafe(self, *args: object) -> None:
            told.append(args)

    recorder, error = Recorder(), LookupError()

    def fail() -> None:
        raise error

    todo: queue.SimpleQueue[object] = queue.SimpleQueue()
    for function in (lambda: 7, fail, lambda: core._STOP_RUNNING_SENTINEL):
        todo.put((recorder, function))
    core._connection_worker_thread(todo)  # type: ignore[arg-type]

    assert told == [
        (core.set_result, recorder, 7),
        (core.set_exception, recorder, error),
        (core.set_result, recorder, core._STOP_RUNNING_SENTINEL),
    ]


def test_sqlite_and_threads_are_known_to_one_module_only() -> None:
    """So that there is one place to look when either misbehaves."""
    users = set()
    for source in (ROOT / "actors").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            if {name.split(".")[0] for name in names} & {"sqlite3", "aiosqlite", "threading"}:
                users.add(source.name)

    assert users == {"trio_sqlite.py"}
