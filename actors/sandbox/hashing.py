"""Chance without state: the same numbers for the same key, wherever one starts to read.

A generated market must answer for any minute without having played the minutes before it, and say
the same again tomorrow. A stream of random numbers cannot do that; a hash of (key, moment) can.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

UInt64s = NDArray[np.uint64]

# The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input moves about half
# of the bits of the output.
_STEP = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_MASK = (1 << 64) - 1


def key_of(*parts: object) -> int:
    """Return a 64-bit key for `parts`, the same in every process."""
    text = ":".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def mix(number: int, key: int) -> int:
    """Return 64 bits that look random and depend on `number` and `key` alone."""
    z = (number * _STEP + key) & _MASK
    z = ((z ^ (z >> 30)) * _FIRST) & _MASK
    z = ((z ^ (z >> 27)) * _SECOND) & _MASK
    return z ^ (z >> 31)


def mix_all(numbers: NDArray[np.int64], key: int) -> UInt64s:
    """Return `mix` of every number. Arrays of uint64 wrap around, which is what is wanted."""
    z = numbers.astype(np.uint64) * np.uint64(_STEP) + np.uint64(key)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_FIRST)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_SECOND)
    return z ^ (z >> np.uint64(31))


def bits(noise: UInt64s, shift: int, width: int) -> NDArray[np.int64]:
    """Return `width` bits of every hash, from bit `shift` on, as non-negative integers."""
    return ((noise >> np.uint64(shift)) & np.uint64((1 << width) - 1)).astype(np.int64)
