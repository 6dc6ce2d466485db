"""The audit trail in files: `audit.jsonl`, and older parts `audit-000001.jsonl` and so on.

Lines are only ever added. A file that is not as this process left it is not written on: somebody
else has it, or has changed it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from actors.errors import AuditFailed, StoreUnavailable, VaultDamaged
from actors.stores.keys import AuditLog
from actors.stores.private_files import (
    Step,
    check_path,
    make_folder,
    no_step,
    read_private,
    sync_folder,
)

T = TypeVar("T")

_log = logging.getLogger("marketd.keys")

SEGMENT_BYTES_MAX = 16 * 1024 * 1024
AUDIT_BYTES_MAX = 10 * SEGMENT_BYTES_MAX
# Room for a part that is at its bound and one batch more.
_READ_BYTES_MAX = 4 * SEGMENT_BYTES_MAX

_FLAGS = (
    os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)


class AuditFiles(AuditLog):
    """An `AuditLog` in files; made by `open_key_files`.

    Args:
      folder: Where they are.
      bytes_max: How much is kept in all; the oldest part goes first.
      segment_bytes_max: How long a part may become.
      step: Called before each write, with what is written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        bytes_max: int = AUDIT_BYTES_MAX,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        step: Step = no_step,
    ) -> None:
        self._folder = folder
        self._path = folder / "audit.jsonl"
        self._bytes_max = bytes_max
        # Of a small trail not all may go at once.
        self._segment_bytes_max = min(segment_bytes_max, bytes_max // 4)
        self._deleted: list[str] = []
        self._step = step
        self._turn = trio.Lock()
        self._handle: int | None = None
        # What the file had when this process last wrote to it.
        self._bytes = 0

    async def append(self, lines: Sequence[bytes], *, durable: bool) -> None:
        """Add whole lines; see `AuditLog`. Runs to its end even when cancelled."""
        if any(b"\n" in line or not line for line in lines):
            raise AuditFailed("a line of the audit trail must be one line")
        text = b"".join(line + b"\n" for line in lines)
        with trio.CancelScope(shield=True):
            gone = await self._in_turn(partial(self._append, text, durable=durable))
        for name in gone:
            _log.warning("the audit trail is at its bound, so its oldest part went: %s", name)
            self._deleted.append(name)

    async def put_aside(self) -> tuple[str, ...]:
        """Begin with nothing; see `AuditLog`."""
        return await self._in_turn(self._put_aside)

    def deleted(self) -> tuple[str, ...]:
        """Return the parts that were deleted; see `AuditLog`."""
        gone, self._deleted = tuple(self._deleted), []
        return gone

    async def tail(self, count: int) -> tuple[bytes, ...]:
        """Return the last lines; see `AuditLog`."""
        if self._handle is None and not self._folder_has_some():
            return ()
        return await self._in_turn(partial(self._tail, count))

    async def segments(self) -> tuple[tuple[str, bytes], ...]:
        """Return everything there is; see `AuditLog`."""
        return await self._in_turn(self._segments)

    async def aclose(self) -> None:
        """Close the file; a second call does nothing."""
        if self._handle is not None:
            await self._in_turn(self._close)

    async def _in_turn(self, work: Callable[[], T]) -> T:
        async with self._turn:
            try:
                return await trio.to_thread.run_sync(work)  # noqa: TID251 - a disk may take seconds
            except (VaultDamaged, StoreUnavailable) as error:
                raise AuditFailed(f"the audit trail cannot be used: {error}") from error
            except OSError as error:
                raise AuditFailed(
                    f"{self._path}: the audit trail cannot be used: {error.strerror}; file and "
                    "folder must be writable, with some room"
                ) from error

    # -------------------------------------------------------------- in the thread

    def _append(self, text: bytes, *, durable: bool) -> list[str]:
        handle = self._opened()
        gone: list[str] = []
        if self._bytes and self._bytes + len(text) > self._segment_bytes_max:
            gone = self._begin_segment()
            handle = self._opened()
        self._step("audit: write")
        try:
            self._write(handle, text)
            if durable:
                self._step("audit: sync")
                os.fsync(handle)
        except OSError:
            # All or none of it: who asked will be told that nothing is on record.
            os.ftruncate(handle, self._bytes)
            raise
        self._bytes += len(text)
        return gone

    def _write(self, handle: int, text: bytes) -> None:
        left = memoryview(text)
        while left:
            left = left[os.write(handle, left) :]

    def _opened(self) -> int:
        """Return the open file, as it was left."""
        if self._handle is None:
            make_folder(self._folder)
            is_new = not check_path(self._path)
            self._mend()
            self._handle = os.open(self._path, _FLAGS, 0o600)
            self._bytes = os.fstat(self._handle).st_size
            if is_new:
                sync_folder(self._folder)
        self._check_untouched(self._handle)
        return self._handle

    def _check_untouched(self, handle: int) -> None:
        ours = os.fstat(handle)
        try:
            there = self._path.lstat()
        except FileNotFoundError as error:
            raise AuditFailed(f"{self._path}: was moved or deleted; put it back") from error
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            raise AuditFailed(f"{self._path}: was replaced by another file; put it back")
        if ours.st_size != self._bytes:
            raise AuditFailed(
                f"{self._path}: somebody else wrote to it: wanted {self._bytes} bytes, was "
                f"{ours.st_size}; see what happened, then start marketd again"
            )

    def _mend(self) -> None:
        """Cut off half a line that a crash has left at the end."""
        data = read_private(self._path, _READ_BYTES_MAX)
        whole = 0 if data is None else data.rfind(b"\n") + 1
        if data is None or whole == len(data):
            return
        _log.warning(
            "%s: ended with half a line, %d bytes, which were never on record; cut off",
            self._path,
            len(data) - whole,
        )
        self._step("audit: mend")
        os.truncate(self._path, whole)

    def _begin_segment(self) -> list[str]:
        """Put the file among the older parts; return what had to go for that."""
        older = self._older()
        number = 1 if not older else _number(older[-1]) + 1
        self._close()
        self._step("audit: begin a part")
        self._path.replace(self._folder / f"audit-{number:06d}.jsonl")
        gone = []
        parts = [(path, path.stat().st_size) for path in self._older()]
        # The part that is just begun has room, too.
        room = self._bytes_max - self._segment_bytes_max
        while len(parts) > 1 and sum(size for _, size in parts) > room:
            path, _ = parts.pop(0)
            self._step("audit: let go")
            path.unlink()
            gone.append(path.name)
        sync_folder(self._folder)
        return gone

    def _older(self) -> list[Path]:
        return sorted(
            (path for path in self._folder.glob("audit-*.jsonl") if _number(path) > 0),
            key=_number,
        )

    def _segments(self) -> tuple[tuple[str, bytes], ...]:
        self._check_if_open()
        found = []
        for path in (*self._older(), self._path):
            data = read_private(path, _READ_BYTES_MAX)
            if data is not None:
                # Half a line at the end is not on record.
                found.append((path.name, data[: data.rfind(b"\n") + 1]))
        return tuple(found)

    def _tail(self, count: int) -> tuple[bytes, ...]:
        self._check_if_open()
        lines: list[bytes] = []
        for path in (self._path, *reversed(self._older())):
            if len(lines) >= count:
                break
            data = read_private(path, _READ_BYTES_MAX) or b""
            lines = [*data[: data.rfind(b"\n") + 1].split(b"\n")[:-1], *lines]
        return tuple(lines[-count:]) if count > 0 else ()

    def _put_aside(self) -> tuple[str, ...]:
        self._close()
        parts = [path for path in (*self._older(), self._path) if os.path.lexists(path)]
        number = 1
        while any(path.with_name(f"{path.name}.damaged-{number}").exists() for path in parts):
            number += 1
        aside = [path.rename(path.with_name(f"{path.name}.damaged-{number}")) for path in parts]
        sync_folder(self._folder)
        return tuple(map(str, aside))

    def _folder_has_some(self) -> bool:
        # One look, not worth a thread: a runtime without keys has none, each time it starts.
        return self._path.exists() or any(self._folder.glob("audit-*.jsonl"))

    def _check_if_open(self) -> None:
        if self._handle is not None:
            self._check_untouched(self._handle)

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _number(path: Path) -> int:
    """Return the number of an older part; 0 if it is none."""
    digits = path.stem.removeprefix("audit-")
    return int(digits) if digits.isascii() and digits.isdigit() else 0
