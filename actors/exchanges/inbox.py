"""Frames of a stream that have arrived and that nobody has asked for yet.

Whoever receives takes all of them at once: a list changes hands, and nothing is done for each frame
but to put it there. Bound: `waiting_bytes_max`; beyond that the reader is asked to stop (`room`),
so the peer has to wait. One read more than that may be held, because what is read is read.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from actors.exchanges.dial import in_words

# What a frame costs beside its bytes, so that a flood of empty ones is bounded too.
_FRAME_BYTES = 64
_PARTS_MAX = 1_024


class FrameTooLarge(Exception):
    """A message is larger than any that is taken."""


class Inbox:
    """A queue of frames between one reader and whoever receives.

    Args:
      message_bytes_max: Largest message, in bytes, or characters where it is text.
      waiting_bytes_max: How much may wait before `room` makes the reader wait.
    """

    def __init__(self, *, message_bytes_max: int, waiting_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._waiting_bytes_max = waiting_bytes_max
        self._frames: list[bytes | str] = []
        self._bytes = 0
        self._parts: list[bytes | str] = []
        self._part_bytes = 0
        self._error: Callable[[], Exception] | None = None
        self._is_wanted = True
        self._receivers = trio.lowlevel.ParkingLot()
        self._reader = trio.lowlevel.ParkingLot()

    @property
    def ended(self) -> bool:
        """Return whether nothing more will come."""
        return self._error is not None

    # -------------------------------------------------------------- the reader's side

    def put(self, data: bytes | str, *, finished: bool) -> None:
        """Take a frame, or a part of one.

        Raises:
          FrameTooLarge: It is larger than any that is taken, with the parts before it.
        """
        size = len(data)
        if self._part_bytes + size > self._message_bytes_max:
            raise FrameTooLarge(f"a frame is larger than {self._message_bytes_max} bytes")
        if self._parts or not finished:
            self._parts.append(data)
            self._part_bytes += size
            if not finished:
                # However small they are cut, parts cost no more than what is in them.
                if len(self._parts) >= _PARTS_MAX:
                    self._parts = [self._join()]
                return
            data, size = self._join(), self._part_bytes
            self._parts, self._part_bytes = [], 0
        if self._is_wanted:
            self._frames.append(data)
            self._bytes += size + _FRAME_BYTES
            if self._receivers:
                self._receivers.unpark_all()

    def end(self, error: Callable[[], Exception]) -> None:
        """Say that nothing more comes, and what to tell who asks; only the first word counts."""
        if self._error is None:
            self._error = error
        self._receivers.unpark_all()

    async def room(self) -> None:
        """Return when there is room for more."""
        while self._bytes >= self._waiting_bytes_max and self._is_wanted:
            await self._reader.park()

    # -------------------------------------------------------------- the receiver's side

    async def take(self) -> list[bytes | str]:
        """Return every frame that waits, at least one, waiting for the first.

        Raises:
          Exception: What `end` was given, once all frames were taken.
        """
        # What waits, waits before the frames are taken: a cancellation loses none.
        if self._frames:
            await trio.lowlevel.checkpoint()
        while not self._frames:
            if self._error is not None:
                raise self._error()
            await self._receivers.park()
        frames, self._frames, self._bytes = self._frames, [], 0
        self._reader.unpark_all()
        return frames

    def abandon(self) -> None:
        """Throw away what comes from now on: nobody will ask, and the reader need not wait."""
        self._is_wanted = False
        self._reader.unpark_all()

    def _join(self) -> bytes | str:
        if isinstance(self._parts[0], str):
            return "".join(part for part in self._parts if isinstance(part, str))
        return b"".join(part for part in self._parts if isinstance(part, bytes))


class PacedStream(trio.abc.Stream):
    """A byte stream that is not read while too many frames wait, and that knows how it broke.

    Args:
      stream: The stream below.
      inbox: Where what is read ends up.
    """

    def __init__(self, stream: trio.abc.Stream, inbox: Inbox) -> None:
        self._stream = stream
        self._inbox = inbox
        self._is_torn = False
        self.trouble = ""

    def tear(self) -> None:
        """Let nothing more be sent: what was sent last is not whole."""
        self._is_torn = True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes.

        Raises:
          BrokenResourceError: The peer has gone, or earlier bytes are missing.
        """
        if self._is_torn:
            self.trouble = self.trouble or "a text was given up in the middle"
            raise trio.BrokenResourceError(self.trouble)
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as error:
            self.trouble = self.trouble or in_words(error)
            raise

    async def wait_send_all_might_not_block(self) -> None:
        """Return when sending might go at once."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return bytes, once there is room for what is in them.

        Raises:
          BrokenResourceError: The peer has gone.
        """
        await self._inbox.room()
        try:
            return await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            self.trouble = self.trouble or in_words(error)
            raise

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()
