"""How older layouts were sealed: Fernet and AES-256-GCM, with whichever of several keys fits."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from actors.errors import InvalidRequest

_KEY_BYTES = 32
_TAG_BYTES = 16
_NONCE_BYTES_MIN, _NONCE_BYTES_MAX = 8, 128

# Where a key was found, and what stands there.
Candidates = Sequence[tuple[str, bytes]]


def is_key(data: bytes) -> bool:
    """Return whether this may be a key: 32 bytes, raw, in hexadecimal or in base64."""
    return any(True for _ in _readings(data))


def open_fernet(token: str, candidates: Candidates, path: Path) -> str:
    """Return what a Fernet token holds.

    Raises:
      InvalidRequest: None of the keys opens it, or `cryptography` is not installed.
    """
    fernet = _cryptography("fernet", path)
    for key in _keys(candidates):
        try:
            opened: bytes = fernet.Fernet(base64.urlsafe_b64encode(key)).decrypt(token)
            return opened.decode()
        except (fernet.InvalidToken, UnicodeDecodeError):
            continue
    raise _unopened(path, candidates)


def open_aes_gcm(nonce: str, sealed: str, tag: str, candidates: Candidates, path: Path) -> str:
    """Return what was sealed with AES-256-GCM.

    Args:
      nonce: In hexadecimal or base64, as the others.
      sealed: The ciphertext, with the tag at its end if `tag` is empty.
      tag: 16 bytes.
      candidates: Keys to try.
      path: Where it was found.

    Raises:
      InvalidRequest: None of the keys opens it, or `cryptography` is not installed.
    """
    aead = _cryptography("hazmat.primitives.ciphers.aead", path)
    invalid_tag = _cryptography("exceptions", path).InvalidTag
    # What is hexadecimal is base64 as well: each way to read it is tried.
    for key in _keys(candidates):
        for nonce_bytes in _decoded(nonce):
            if not _NONCE_BYTES_MIN <= len(nonce_bytes) <= _NONCE_BYTES_MAX:
                continue
            for data in _sealed(sealed, tag):
                try:
                    opened: bytes = aead.AESGCM(key).decrypt(nonce_bytes, data, None)
                    return opened.decode()
                except (invalid_tag, UnicodeDecodeError):
                    continue
    raise _unopened(path, candidates)


def _sealed(sealed: str, tag: str) -> Iterator[bytes]:
    for data in _decoded(sealed):
        for end in _decoded(tag) if tag else (b"",):
            if len(data + end) >= _TAG_BYTES:
                yield data + end


def _keys(candidates: Candidates) -> Iterator[bytes]:
    for _, data in candidates:
        yield from _readings(data)


def _readings(data: bytes) -> Iterator[bytes]:
    if len(data) == _KEY_BYTES:
        yield data
    try:
        text = data.decode("ascii").strip()
    except UnicodeDecodeError:
        return
    yield from (key for key in _decoded(text) if len(key) == _KEY_BYTES)


def _decoded(text: str) -> list[bytes]:
    """Return each way to read a text: as hexadecimal, and as base64 of either alphabet."""
    found = []
    with contextlib.suppress(ValueError):
        found.append(bytes.fromhex(text))
    padded = text.rstrip("=").replace("-", "+").replace("_", "/")
    with contextlib.suppress(ValueError):
        found.append(base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True))
    return found


def _unopened(path: Path, candidates: Candidates) -> InvalidRequest:
    places = ", ".join(where for where, _ in candidates) or "nowhere"
    return InvalidRequest(f"{path}: sealed with another key than found in {places}, or changed")


def _cryptography(module: str, path: Path) -> Any:
    import importlib  # noqa: PLC0415 - an optional package, asked for once in a life

    try:
        return importlib.import_module(f"cryptography.{module}")
    except ImportError as error:
        raise InvalidRequest(
            f"{path}: is sealed, and opening it needs `pip install 'marketd[import]'`: {error}"
        ) from error
