"""What only files can get wrong with an audit trail: half a line, no room, others' hands."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from actors.errors import AuditFailed
from actors.stores.audit_files import AuditFiles

# Files are written in a thread.
pytestmark = pytest.mark.real_time


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the lines go."""
    return tmp_path / "audit.jsonl"


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Make the file as somebody else would."""
    path.write_bytes(data)
    path.chmod(mode)


def link(path: Path) -> None:
    """Put a link in the file's place."""
    path.symlink_to(path.with_name("elsewhere"))


def read(path: Path) -> bytes:
    """Look into the file behind the trail's back."""
    return path.read_bytes()


@contextmanager
def room_for(bytes_max: int) -> Iterator[None]:
    """Let no file of this process become longer than that: a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def test_half_a_line_that_a_crash_left_is_cut_off_and_told(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next line would else be glued to it, and the chain broken for ever."""
    write(path, b"one\ntwo\nthr")
    log = AuditFiles(path.parent)

    assert await log.tail(5) == (b"one", b"two")
    assert await log.segments() == (("audit.jsonl", b"one\ntwo\n"),)
    await log.append([b"three"], durable=True)
    await log.aclose()
    assert read(path) == b"one\ntwo\nthree\n"
    assert "ended with half a line, 3 bytes, which were never on record" in caplog.text


async def test_a_crash_before_the_write_leaves_the_trail_as_it_was(path: Path) -> None:
    """Nothing of a line is there before it is written."""
    names: list[str] = []

    def step(name: str) -> None:
        names.append(name)
        if names.count(name) > 1:
            raise RuntimeError(name)

    log = AuditFiles(path.parent, step=step)
    await log.append([b"one"], durable=True)
    with pytest.raises(RuntimeError, match="audit: write"):
        await log.append([b"two"], durable=True)
    await log.aclose()
    assert names == ["audit: write", "audit: sync", "audit: write"]
    assert read(path) == b"one\n"


async def test_a_full_disk_keeps_all_of_a_batch_or_none(path: Path) -> None:
    """Half a batch on record would be signatures that were never given."""
    log = AuditFiles(path.parent)
    await log.append([b"one"], durable=True)
    with room_for(10), pytest.raises(AuditFailed, match=r"audit\.jsonl.*cannot be used.*some room"):
        await log.append([b"two", b"three and more"], durable=True)
    assert read(path) == b"one\n"
    await log.append([b"four"], durable=True)
    assert await log.tail(9) == (b"one", b"four")
    await log.aclose()


def move(path: Path) -> None:
    """Take the file away."""
    path.rename(path.with_name("elsewhere"))


def replace(path: Path) -> None:
    """Put another file in its place."""
    data = path.read_bytes()
    move(path)
    path.write_bytes(data)
    path.chmod(0o600)


def cut(path: Path) -> None:
    """Take its end away."""
    os.truncate(path, 4)


def add(path: Path) -> None:
    """Write a line into it."""
    with path.open("ab") as file:
        file.write(b"forged\n")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (move, "was moved or deleted"),
        (replace, "replaced by another file"),
        (cut, "wanted 8 bytes, was 4"),
        (add, "wanted 8 bytes, was 15"),
    ],
)
async def test_a_trail_that_others_touched_is_not_written_on(
    path: Path, change: object, told: str
) -> None:
    """A line in a file that nobody finds again is on nobody's record."""
    assert callable(change)
    log = AuditFiles(path.parent)
    await log.append([b"one", b"two"], durable=True)
    change(path)

    with pytest.raises(AuditFailed, match=told):
        await log.append([b"three"], durable=True)
    with pytest.raises(AuditFailed, match=told):
        await log.tail(1)
    await log.aclose()


async def test_parts_follow_each_other_and_the_oldest_goes_at_the_bound(path: Path) -> None:
    """The trail must not fill the disk; whoever lets a part go says so."""
    log = AuditFiles(path.parent, bytes_max=100, segment_bytes_max=25)
    for number in range(40):
        await log.append([b"line %03d" % number], durable=False)

    parts = await log.segments()
    assert [name for name, _ in parts] == [
        *(f"audit-{number:06d}.jsonl" for number in range(16, 20)),
        "audit.jsonl",
    ]
    assert log.deleted() == tuple(f"audit-{number:06d}.jsonl" for number in range(1, 16))
    assert log.deleted() == ()
    assert sum(len(text) for _, text in parts) <= 100
    assert b"".join(text for _, text in parts).split() == [
        word for number in range(30, 40) for word in (b"line", b"%03d" % number)
    ]
    assert await log.tail(5) == tuple(b"line %03d" % number for number in range(35, 40))
    await log.aclose()
    again = AuditFiles(path.parent, bytes_max=100, segment_bytes_max=25)
    assert await again.tail(2) == (b"line 038", b"line 039")


async def test_a_crash_while_a_part_begins_loses_no_line(path: Path) -> None:
    """The moment between two files is the moment between two names."""
    lines = [b"line %d" % number for number in range(9)]

    def step(name: str) -> None:
        if name in stops:
            raise RuntimeError(name)

    log = AuditFiles(path.parent, segment_bytes_max=25, step=step)
    stops: set[str] = set()
    for number, line in enumerate(lines):
        if number in {3, 6}:
            stops = {"audit: begin a part"} if number == 3 else {"audit: write"}
            with pytest.raises(RuntimeError, match="audit"):
                await log.append([line], durable=True)
            stops = set()
            await log.aclose()
            log = AuditFiles(path.parent, segment_bytes_max=25, step=step)
        await log.append([line], durable=True)
    assert await log.tail(99) == tuple(lines)
    await log.aclose()


@pytest.mark.parametrize("mode", [0o644, 0o660])
async def test_a_trail_that_others_may_use_is_refused(path: Path, mode: int) -> None:
    """Others could have cut it, or seen who trades where."""
    write(path, b"one\n", mode)
    log = AuditFiles(path.parent)
    with pytest.raises(AuditFailed, match=f"mode was {mode:o}; `chmod 600"):
        await log.append([b"two"], durable=True)
    with pytest.raises(AuditFailed, match=f"mode was {mode:o}; `chmod 600"):
        await log.tail(1)


async def test_a_link_in_its_place_is_refused(path: Path) -> None:
    """It would lead our lines into any file we may write."""
    link(path)
    with pytest.raises(AuditFailed, match="symbolic link"):
        await AuditFiles(path.parent).append([b"two"], durable=True)


async def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    """No audit, no signature: so the reason has to be plain."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AuditFailed, match="must be a folder"):
        await AuditFiles(tmp_path / "file").append([b"two"], durable=True)


async def test_a_cancelled_append_is_written_all_the_same(path: Path) -> None:
    """Who asked goes away; what is on record must be what was counted."""
    log = AuditFiles(path.parent)
    await log.append([b"one"], durable=False)
    with trio.CancelScope() as scope:
        scope.cancel()
        await log.append([b"two"], durable=True)
    assert await log.tail(9) == (b"one", b"two")
    await log.aclose()


async def test_what_is_put_aside_is_kept_under_another_name(path: Path) -> None:
    """It may be the only record there is of what somebody did; nothing of it is lost."""
    log = AuditFiles(path.parent, segment_bytes_max=10)
    for text in (b"first part", b"second"):
        await log.append([text], durable=True)

    places = await log.put_aside()
    await log.append([b"anew"], durable=True)
    again = await log.put_aside()
    await log.aclose()

    assert [Path(place).name for place in places] == [
        "audit-000001.jsonl.damaged-1",
        "audit.jsonl.damaged-1",
    ]
    assert [Path(place).name for place in again] == ["audit.jsonl.damaged-2"]
    assert read(Path(places[0])) == b"first part\n"
