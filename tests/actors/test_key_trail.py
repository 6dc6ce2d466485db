"""The audit trail's writer: together where it can be, in order always, or not at all."""

from __future__ import annotations

import pytest
import trio

from actors.errors import AuditFailed
from actors.key_trail import WAITING_MAX, AuditTrail
from actors.stores.keys_memory import MemoryAuditLog
from actors.vault.audit import decode, verify
from runtime.testing import wait_for
from runtime.testing_keys import HeldLog


def trail_of(log: MemoryAuditLog) -> AuditTrail:
    """Return a writer of `log`, at a time of its own."""
    return AuditTrail(log, lambda: 1_767_225_600_000)


async def test_lines_at_once_are_one_write() -> None:
    """A hundred signatures cost two trips to the disk, and each has its line in its turn."""
    log = HeldLog()
    trail = trail_of(log)
    numbers: list[int] = []

    async def write(number: int) -> None:
        numbers.append((await trail.write("sign", detail=str(number))).number)

    log.hold()
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(write, number)
        await wait_for(lambda: log.waiting == 1)
        log.let_go()
    assert len(log.batches) <= 2
    assert sorted(numbers) == list(range(1, 101))
    assert verify(await log.segments()).whole
    assert sorted(int(decode(line).detail) for line in log.lines) == list(range(100))
    assert (trail.lines, trail.end[0]) == (100, 100)


async def test_failed_write_fails_everybody_in_it_and_nobody_after() -> None:
    """Each is told with an error of its own; the next line follows the last that is there."""
    log = HeldLog()
    trail = trail_of(log)
    await trail.write("first")
    errors: list[AuditFailed] = []

    async def write() -> None:
        try:
            await trail.write("sign")
        except AuditFailed as error:
            errors.append(error)

    log.hold()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(write)
        await wait_for(lambda: log.waiting == 1)
        log.trouble = "the disk is full"
        log.let_go()
    assert len({id(error) for error in errors}) == 10
    assert {str(error) for error in errors} == {"the audit trail in memory: the disk is full"}
    log.trouble = ""
    assert (await trail.write("after")).number == 2
    assert verify(await log.segments()).whole


@pytest.mark.parametrize("gone", range(5))
async def test_whoever_gives_up_spoils_nothing_for_others(gone: int) -> None:
    """Equal lines: of the first three one writes for all, the others wait; one of them goes."""
    log = HeldLog()
    trail = trail_of(log)
    scopes = [trio.CancelScope() for _ in range(5)]
    done: list[int] = []

    async def write(index: int) -> None:
        with scopes[index]:
            await trail.write("sign", "upbit:main", "GET /v1/accounts")
            done.append(index)

    log.hold()
    async with trio.open_nursery() as nursery:
        for index in range(3):
            nursery.start_soon(write, index)
        await wait_for(lambda: log.waiting == 1)
        for index in (3, 4):
            nursery.start_soon(write, index)
        await trio.testing.wait_all_tasks_blocked()
        scopes[gone].cancel()
        await trio.testing.wait_all_tasks_blocked()
        log.let_go()
    assert set(done) >= {0, 1, 2, 3, 4} - {gone}
    assert log.batches[0] == 3
    assert trail._waiting == []
    assert verify(await log.segments()).whole
    assert len(log.lines) == trail.lines >= 4


async def test_number_of_waiting_lines_is_bounded() -> None:
    """A disk that hangs must not fill the memory with lines."""
    log = HeldLog()
    trail = trail_of(log)
    log.hold()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trail.write, "sign")
        await wait_for(lambda: log.waiting == 1)
        for _ in range(WAITING_MAX):
            nursery.start_soon(trail.write, "sign")
        await wait_for(lambda: len(trail._waiting) == WAITING_MAX)
        with pytest.raises(AuditFailed, match=f"{WAITING_MAX} lines wait"):
            await trail.write("one more")
        nursery.cancel_scope.cancel()
        log.let_go()


async def test_trail_goes_on_where_it_ended() -> None:
    """After a restart the next line is chained to the last."""
    log = MemoryAuditLog()
    first = await trail_of(log).write("create")
    again = trail_of(log)
    assert again.end == (0, "")
    await again.read_end()
    assert again.end == (1, first.hash)
    assert (await again.write("unlock")).before == first.hash


async def test_end_that_is_no_line_is_told() -> None:
    """Nothing may be chained to what nobody can read."""
    log = MemoryAuditLog()
    log.lines.append(b"half a li")
    with pytest.raises(AuditFailed, match="a line of the audit trail is none"):
        await trail_of(log).read_end()


async def test_trail_tells_of_a_vault_by_its_changes() -> None:
    """What was only tried or begun is none; of a long trail only the end is searched."""
    log = MemoryAuditLog()
    trail = trail_of(log)
    for action, detail, wanted in (
        ("try", "", False),
        ("create", "passphrase", False),
        ("create.done", "change 1", True),
        ("sign", "GET /v1/accounts", True),
    ):
        await trail.write(action, detail=detail)
        await trail.read_end()
        assert trail.tells_of_vault is wanted
    del log.lines[:3]
    await trail.read_end()
    assert trail.tells_of_vault
