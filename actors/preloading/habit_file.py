"""What is written down of habits: a mark, a version, a checksum, and what was learnt, packed."""

from __future__ import annotations

import hashlib
import zlib
from typing import Annotated

import msgspec
from msgspec import Meta

from actors.preloading.habit_belief import Belief
from actors.preloading.habit_series import SeriesHabits
from actors.preloading.habit_values import SeriesKey

# Learnt by other rules, or written down in another way, it is learnt anew.
VERSION = 1
BYTES_MAX = 5_000_000

_MARK = b"marketd habits"
_HEAD = len(_MARK) + 1
_CHECKED = _HEAD + 16
_UNPACKED_MAX = 40_000_000


class KeptHabits(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """All that habits are.

    Attributes:
      now_ms: When they last learnt something, in UTC milliseconds.
      watched_ms: Since when somebody had been looking then.
      belief: How far rules are believed.
      recent: What was asked for last, and when.
      series: Each series, the one asked for last at the end.
    """

    now_ms: Annotated[int, Meta(ge=0)]
    watched_ms: Annotated[int, Meta(ge=0)]
    belief: Belief
    recent: list[tuple[SeriesKey, int]]
    series: list[SeriesHabits]


def pack(kept: KeptHabits) -> bytes:
    """Return `kept` as bytes."""
    # The quickest way makes it a third; better ones take many times as long for little more.
    body = zlib.compress(msgspec.msgpack.encode(kept), 1)
    return _MARK + bytes([VERSION]) + _sum(body) + body


def unpack(data: bytes) -> KeptHabits:
    """Return what `pack` wrote.

    Raises:
      ValueError: It is something else, or damaged; says what is wrong.
    """
    if len(data) > BYTES_MAX:
        raise ValueError(f"habits may take {BYTES_MAX} bytes, these are {len(data)}")
    if data[: len(_MARK)] != _MARK or len(data) < _CHECKED:
        raise ValueError(f"habits begin with {_MARK!r}, these with {data[: len(_MARK)]!r}")
    if data[len(_MARK)] != VERSION:
        raise ValueError(f"habits of version {VERSION} are wanted, these are {data[len(_MARK)]}")
    body = data[_CHECKED:]
    if _sum(body) != data[_HEAD:_CHECKED]:
        raise ValueError("habits are damaged: their checksum is another")
    try:
        inflate = zlib.decompressobj()
        plain = inflate.decompress(body, _UNPACKED_MAX)
        return msgspec.msgpack.decode(plain, type=KeptHabits)
    except (zlib.error, msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"habits cannot be read: {error}") from error


def _sum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECKED - _HEAD).digest()
