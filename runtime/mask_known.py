"""Secrets that are known, found in any text, without a copy of them being kept.

Of each spelling of a secret there is a hash of the whole, keyed with bytes that only this process
has, and its length. Hashing every stretch of a text with every length would take milliseconds, so
a stretch is hashed only where one of three pieces from the spelling's beginning seems to stand:
of each piece `_PIECE_BITS` bits of Python's own hash are kept, which tell little about six
characters.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

CHARS_MIN = 8
SECRETS_MAX = 4_000
# Longer ones (a private key with its whole chain) are known by their beginning.
_SPELLING_CHARS_MAX = 4_096

# Every third piece of a text is looked at. Spellings have eight characters or more, so one of the
# pieces that begin with a spelling's first, second or third character is among those.
_STEP = 3
_PIECE_CHARS = CHARS_MIN - _STEP + 1
_PIECE_BITS = 18
_BITS = (1 << _PIECE_BITS) - 1

# Where a spelling would begin, seen from a piece, and its length.
_Place = tuple[int, int]


class KnownSecrets:
    """The secrets that must not leave.

    Bounds: at most `secrets_max`; one more is refused, because forgetting another would let that
    one out.
    """

    def __init__(self, secrets_max: int = SECRETS_MAX) -> None:
        self._secrets_max = secrets_max
        self._key = secrets.token_bytes(32)
        self._whole: set[bytes] = set()
        self._hashes: set[bytes] = set()
        self._pieces: dict[int, tuple[_Place, ...]] = {}
        self.longest = 0

    def __len__(self) -> int:
        """Return how many secrets are known."""
        return len(self._whole)

    def learn(self, secret: bytes | bytearray | str) -> bool:
        """Know a secret from now on, in each of its usual spellings.

        Returns:
          False if it has fewer than 8 characters, or there are too many: it is not known then.
        """
        raw = secret.encode(errors="surrogatepass") if isinstance(secret, str) else bytes(secret)
        if len(raw.decode(errors="replace")) < CHARS_MIN:
            return False
        whole = self._hash(raw)
        if whole in self._whole:
            return True
        if len(self._whole) >= self._secrets_max:
            return False
        for spelling in set(_spellings(raw)):
            if len(spelling) >= CHARS_MIN:
                self._add(spelling[:_SPELLING_CHARS_MAX])
        self._whole.add(whole)
        return True

    def forget_all(self) -> None:
        """Know none any more."""
        self._pieces = {}
        self._hashes = set()
        self._whole = set()
        self.longest = 0

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where known secrets stand, from and to; in order, and apart from each other."""
        pieces, size = self._pieces, len(text)
        found: list[tuple[int, int]] = []
        if not pieces:
            return found
        for at in range(0, size - _PIECE_CHARS + 1, _STEP):
            places = pieces.get(hash(text[at : at + _PIECE_CHARS]) & _BITS)
            if places is None:
                continue
            for before, length in places:
                start = at - before
                end = start + length
                if start >= 0 and end <= size and self._is_known(text[start:end]):
                    found.append((start, end))
        return _joined(found)

    def _is_known(self, text: str) -> bool:
        return self._hash(text.encode(errors="surrogatepass")) in self._hashes

    def _hash(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, digest_size=16, key=self._key).digest()

    def _add(self, spelling: str) -> None:
        self._hashes.add(self._hash(spelling.encode(errors="surrogatepass")))
        for before in range(_STEP):
            piece = hash(spelling[before : before + _PIECE_CHARS]) & _BITS
            place = (before, len(spelling))
            # Replaced as a whole, because log lines of other threads are masked meanwhile.
            if place not in (others := self._pieces.get(piece, ())):
                self._pieces[piece] = (*others, place)
        self.longest = max(self.longest, len(spelling))


def _spellings(raw: bytes) -> Iterator[str]:
    """Return how a secret may be written: as it is, quoted, escaped, and encoded as a whole."""
    yield base64.b64encode(raw).decode().rstrip("=")
    yield base64.urlsafe_b64encode(raw).decode().rstrip("=")
    yield raw.hex()
    yield raw.hex().upper()
    yield repr(raw)[2:-1]
    for text in _texts(raw):
        yield text
        yield repr(text)[1:-1]
        for is_ascii in (True, False):
            escaped = json.dumps(text, ensure_ascii=is_ascii)[1:-1]
            yield escaped
            # A JSON text within a JSON text, as in a log of a message that holds one.
            yield json.dumps(escaped, ensure_ascii=is_ascii)[1:-1]
    for safe in ("", "/"):
        for encoded in (quote(raw, safe=safe), quote_plus(raw, safe=safe)):
            yield encoded
            yield _with_lower_hex(encoded)


def _texts(raw: bytes) -> Iterator[str]:
    yield raw.decode(errors="surrogateescape")
    yield raw.decode("latin-1")
    # Whoever prints bytes that are no text.
    yield raw.decode(errors="replace")


def _with_lower_hex(encoded: str) -> str:
    first, *rest = encoded.split("%")
    return "%".join([first, *(part[:2].lower() + part[2:] for part in rest)])


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
