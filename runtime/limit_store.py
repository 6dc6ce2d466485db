"""Spent limits and bans in a file, beside the lock of the exchange.

    api.upbit.com.json    what the process that runs now, or ran last, has saved
    api.upbit.com.last    what the process before it left: moved there when it was read

So a file that was read never passes for what happened since. If a process could not save once,
because the disk is full, the next one finds only the `.last` and knows that it knows nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import trio

from actors.errors import StoreUnavailable
from actors.limit_file import BYTES_MAX, KeptLimits, all_spent, decode, encode
from actors.stores.private_files import replace_private
from runtime.core.clock import Clock
from runtime.shared_limits import exchange_key, limits_dir

_log = logging.getLogger("marketd.limit_store")


def limit_file_path(rest_url: str) -> Path:
    """Return where the spent limits of the exchange at `rest_url` are kept."""
    return limits_dir(rest_url) / f"{exchange_key(rest_url)}.json"


def machine_s() -> float:
    """Return seconds on a clock that nobody can set and that all processes of one boot share.

    Where there is one that goes on while the machine sleeps, it is that: the exchange does not
    sleep.
    """
    clock_id = getattr(time, "CLOCK_BOOTTIME", None)
    if clock_id is not None:
        return time.clock_gettime(clock_id)
    return time.monotonic()  # noqa: TID251 - a Clock's seconds mean nothing to another process


class FileLimitKeeper:
    """A `LimitKeeper` over a file that nobody else may read.

    Its folder exists, and only one process uses it: `hold_limits` sees to both.

    Args:
      path: The file.
      clock: That of the values: their `saved_s` is translated from it and to it.
      boot_s: A monotonic clock that all processes of one boot share, in seconds.
    """

    def __init__(
        self, path: Path, *, clock: Clock, boot_s: Callable[[], float] = machine_s
    ) -> None:
        self._path = path
        self._last = path.with_suffix(".last")
        self._clock = clock
        self._boot_s = boot_s
        self._writing = trio.Lock()
        self._failing = False

    def load(self) -> KeptLimits | None:
        """Return what the last process left; None if everything counts as spent."""
        kept = self._read(self._path)
        if kept is not None:
            self._use_up()
            return self._translated(kept, self._clock.now_s() - self._boot_s())
        older = self._read(self._last)
        if older is None:
            return None
        return all_spent(self._translated(older, self._clock.now_s() - self._boot_s()))

    async def save(self, kept: KeptLimits, *, durable: bool) -> None:
        """Replace the file, in a thread; whoever is cancelled meanwhile waits for it.

        What goes wrong is logged once, until it goes well again.
        """
        # At once, because the two clocks part when the machine sleeps.
        kept = self._translated(kept, self._boot_s() - self._clock.now_s())
        durable = durable or any(group.paused_left_s > 0 for group in kept.groups.values())
        with trio.CancelScope(shield=True):
            # In turn: an older value must not replace a newer one.
            async with self._writing:
                await trio.to_thread.run_sync(  # noqa: TID251 - a disk may take seconds
                    self._write, kept, durable
                )

    def _use_up(self) -> None:
        try:
            self._path.replace(self._last)
        except OSError as error:
            _log.warning(
                "%s cannot be moved, so it may mislead the next process: %s", self._path, error
            )

    def _translated(self, kept: KeptLimits, by_s: float) -> KeptLimits:
        return msgspec.structs.replace(kept, saved_s=kept.saved_s + by_s)

    def _read(self, path: Path) -> KeptLimits | None:
        try:
            with path.open("rb") as file:
                data = file.read(BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("%s cannot be read, so every limit counts as spent: %s", path, error)
            return None
        kept, why = decode(data)
        if kept is None:
            aside = path.with_suffix(".bad")
            _log.warning(
                "%s makes no sense, so every limit counts as spent; it is now %s: %s",
                path,
                aside.name,
                why,
            )
            with suppress(OSError):
                path.replace(aside)
        return kept

    def _write(self, kept: KeptLimits, durable: bool) -> None:  # noqa: FBT001 - run_sync has no names
        data, why = encode(kept)
        try:
            if data is not None:
                replace_private(self._path, data, durable=durable)
        except StoreUnavailable as error:
            why = str(error)
        if why:
            # What is there is no longer all, and moving it needs no room.
            with suppress(OSError):
                self._path.replace(self._last)
        if why and not self._failing:
            _log.warning(
                "%s cannot be written, so the next process will take every limit for spent and may "
                "not know of a ban: %s",
                self._path,
                why,
            )
        if self._failing and not why:
            _log.info("%s can be written again", self._path)
        self._failing = bool(why)
