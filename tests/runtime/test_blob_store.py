"""Small values in files: whole or not at all, and a damaged one costs a warning."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.keeper import BLOB_BYTES_MAX
from runtime.blob_store import FileBlobKeeper, framed, unframed

# Threads take part, which fake time knows nothing of.
pytestmark = pytest.mark.real_time

ROOM = "file and folder must be writable, with some room"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the file is, or will be."""
    return tmp_path / "jobs.blob"


def rights(path: Path) -> int:
    """Return who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


def beside(path: Path) -> list[str]:
    """Return the names of what is in the folder of a file."""
    return [each.name for each in path.parent.iterdir()]


def open_to_all(path: Path) -> None:
    """Let everybody write to a file."""
    path.chmod(0o666)


async def test_the_next_process_finds_what_was_saved(path: Path) -> None:
    """To the last byte; before that there is nothing, and nobody is warned."""
    assert FileBlobKeeper(path).load() is None
    await FileBlobKeeper(path).save(b"\x00\nall of it\n")
    assert FileBlobKeeper(path).load() == b"\x00\nall of it\n"


async def test_a_file_is_its_owner_s_alone(path: Path) -> None:
    """Nothing else is left beside it."""
    await FileBlobKeeper(path).save(b"a")
    await FileBlobKeeper(path).save(b"b")
    assert rights(path) == 0o600
    assert beside(path) == ["jobs.blob"]


@given(data=st.binary(max_size=200), place=st.integers(0, 400), bit=st.integers(0, 7))
def test_no_change_goes_unnoticed(data: bytes, place: int, bit: int) -> None:
    """Not one bit of it, wherever it is, nor a part that is missing."""
    whole = framed(data)
    assert unframed(whole) == data
    place %= len(whole)
    changed = bytearray(whole)
    changed[place] ^= 1 << bit
    for damaged in (bytes(changed), whole[:place], whole + b"\n"):
        with pytest.raises(ValueError, match="cut short, changed, or no such file"):
            unframed(damaged)


@pytest.mark.parametrize("damage", [b"", b"\n", b"{}", b"marketd-blob-1 1 00\na", b"\xff" * 500])
def test_a_damaged_file_is_put_aside_with_one_warning(
    path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever wants to look at it finds it; the next load is silent."""
    path.write_bytes(damage)
    path.chmod(0o600)
    keeper = FileBlobKeeper(path)
    assert keeper.load() is None
    assert keeper.load() is None
    (record,) = caplog.records
    assert "cannot be used, so it begins anew; it is now jobs.blob.bad" in record.getMessage()
    assert path.with_name("jobs.blob.bad").read_bytes() == damage


@pytest.mark.skipif(os.name != "posix", reason="rights as POSIX knows them")
async def test_a_file_that_others_may_write_is_not_believed(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may say what somebody else wants to be run."""
    await FileBlobKeeper(path).save(b"a")
    open_to_all(path)
    assert FileBlobKeeper(path).load() is None
    assert "others may use it" in caplog.text


async def test_a_save_that_fails_is_said_once_until_one_goes_well(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk is no reason to fill the log as well; what was there stays."""
    keeper = FileBlobKeeper(path)
    assert await keeper.save(b"a") == ""
    blocked = path.with_name("jobs.blob.new")
    blocked.mkdir()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert await keeper.save(b"b") == f"{path}: Is a directory; {ROOM}"
        assert FileBlobKeeper(path).load() == b"a"
        blocked.rmdir()
        assert await keeper.save(b"c") == ""
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "what is to be kept for the next process cannot be: " in caplog.text
    assert FileBlobKeeper(path).load() == b"c"


async def test_what_is_too_large_is_not_written(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It could not be read again."""
    keeper = FileBlobKeeper(path)
    await keeper.save(b"a" * BLOB_BYTES_MAX)
    why = await keeper.save(b"b" * (BLOB_BYTES_MAX + 1))
    assert why == f"{path}: it would be 8000001 bytes long, and may be 8000000"
    assert why in caplog.text
    assert FileBlobKeeper(path).load() == b"a" * BLOB_BYTES_MAX


async def test_who_is_cancelled_waits_for_the_disk(path: Path) -> None:
    """So the last save of a process that ends is whole."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await FileBlobKeeper(path).save(b"a")
    assert FileBlobKeeper(path).load() == b"a"


async def test_saves_are_made_in_turn(path: Path) -> None:
    """An older value never takes the place of a newer one."""
    keeper = FileBlobKeeper(path)
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(keeper.save, b"%d" % number)
            await trio.lowlevel.checkpoint()
    # The lock is given in the order in which it was asked for.
    assert FileBlobKeeper(path).load() == b"19"


def test_what_cannot_be_put_aside_is_said_to_be_in_the_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder of that name, and another where it would be moved to."""
    path = tmp_path / "jobs.blob"
    path.mkdir()
    (tmp_path / "jobs.blob.bad").mkdir()
    (tmp_path / "jobs.blob.bad" / "full").touch()

    with caplog.at_level(logging.WARNING):
        assert FileBlobKeeper(path).load() is None

    assert "cannot be put aside" in caplog.text
    assert path.is_dir()
