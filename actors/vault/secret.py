"""`Secret`: bytes that nobody prints, copies or pickles by accident, and that can be wiped.

What this covers and what not: the buffer itself is overwritten by `wipe`. Whatever made the bytes
(a decoder, a prompt) and whatever used them (HMAC inside OpenSSL) may have left copies that Python
gives no way to reach.
"""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """A secret in a buffer of its own.

    Args:
      value: The bytes, copied. A `bytearray` is wiped: it is ours from now on.
    """

    __slots__ = ("_buffer",)

    def __init__(self, value: bytes | bytearray | memoryview) -> None:
        self._buffer = bytearray(value)
        if isinstance(value, bytearray):
            _overwrite(value)

    @classmethod
    def of_text(cls, text: str) -> Secret:
        """Return `text` as a secret; the text itself stays where it was."""
        return cls(bytearray(text.encode()))

    @property
    def buffer(self) -> bytearray:
        """Return the buffer itself, not a copy: use it and let it go.

        Raises:
          ValueError: It was wiped.
        """
        if not self._buffer:
            raise ValueError("the secret was wiped, or is empty")
        return self._buffer

    def copy(self) -> Secret:
        """Return a secret with a buffer of its own."""
        return Secret(bytes(self._buffer))

    def wipe(self) -> None:
        """Overwrite the bytes; a second call does nothing."""
        _overwrite(self._buffer)

    @property
    def is_wiped(self) -> bool:
        """Return whether there is nothing left."""
        return not self._buffer

    def __len__(self) -> int:
        """Return how many bytes it has."""
        return len(self._buffer)

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        if not isinstance(other, Secret):
            return NotImplemented
        import hmac  # noqa: PLC0415 - a command that compares none must not wait for OpenSSL

        return hmac.compare_digest(self._buffer, other._buffer)

    __hash__ = None  # type: ignore[assignment] # it changes when it is wiped

    def __repr__(self) -> str:
        """Say that it is one."""
        return "<secret>"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError("a secret cannot be pickled")

    def __del__(self) -> None:
        """Wipe what was forgotten."""
        _overwrite(getattr(self, "_buffer", bytearray()))


def _overwrite(buffer: bytearray) -> None:
    # In place, before the memory is given back: clearing alone leaves the bytes where they were.
    buffer[:] = bytes(len(buffer))
    buffer.clear()
