"""libsodium, by way of PyNaCl: the only place that touches it.

XChaCha20-Poly1305 seals (its nonces are long enough to be drawn), Argon2id stretches passphrases,
BLAKE2b with a key derives one key from another.
"""

from __future__ import annotations

from typing import Any

import msgspec
import nacl.pwhash
import nacl.utils
from nacl import bindings

# PyNaCl's own functions take and return `bytes`, which cannot be wiped; these write into buffers.
from nacl._sodium import ffi, lib  # type: ignore[import-not-found] # a C module without stubs

from actors.errors import StoreUnavailable, VaultDamaged
from actors.vault.secret import Secret

KEY_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_KEYBYTES
SALT_BYTES = nacl.pwhash.argon2id.SALTBYTES
_NONCE_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_TAG_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_ABYTES

# What a header may ask for at most: more would be an attack on this machine's memory.
OPSLIMIT_MAX = 10
MEMLIMIT_BYTES_MAX = 1 << 30


class KdfCost(msgspec.Struct, frozen=True):
    """What deriving a key from a passphrase costs.

    Attributes:
      opslimit: Passes over the memory.
      memlimit_bytes: The memory, in bytes.
    """

    opslimit: int
    memlimit_bytes: int


# libsodium's "moderate". Source: RFC 9106, section 4, recommends 3 passes over 64 MiB where 2 GiB
# are too much, and OWASP's password storage cheat sheet, as of 2025, less; this is four times it.
COST = KdfCost(nacl.pwhash.argon2id.OPSLIMIT_MODERATE, nacl.pwhash.argon2id.MEMLIMIT_MODERATE)


class NotOpened(Exception):
    """What was sealed does not open: another key, another purpose, or it was changed."""


def random_bytes(count: int) -> bytes:
    """Return bytes that nobody can guess, from the operating system."""
    return nacl.utils.random(count)


def derive_key(passphrase: Secret, salt: bytes, cost: KdfCost) -> Secret:
    """Return the key that a passphrase stands for. It takes what `cost` says, so do it in a thread.

    Raises:
      VaultDamaged: The cost is out of bounds.
      StoreUnavailable: There is not that much memory.
    """
    low = nacl.pwhash.argon2id
    if not (
        low.OPSLIMIT_MIN <= cost.opslimit <= OPSLIMIT_MAX
        and low.MEMLIMIT_MIN <= cost.memlimit_bytes <= MEMLIMIT_BYTES_MAX
    ):
        raise VaultDamaged(
            f"the vault asks for {cost.opslimit} passes over {cost.memlimit_bytes} bytes to unlock "
            f"it; at most {OPSLIMIT_MAX} over {MEMLIMIT_BYTES_MAX} are believed"
        )
    if len(salt) != SALT_BYTES:
        raise VaultDamaged(f"the vault's salt must have {SALT_BYTES} bytes, was {len(salt)}")
    key = bytearray(KEY_BYTES)
    failed = lib.crypto_pwhash(
        _out(key),
        KEY_BYTES,
        # Its type is `char`, unlike that of everything else.
        ffi.from_buffer("char[]", passphrase.buffer),
        len(passphrase),
        salt,
        cost.opslimit,
        cost.memlimit_bytes,
        bindings.crypto_pwhash_ALG_ARGON2ID13,
    )
    if failed:
        raise StoreUnavailable(
            f"{cost.memlimit_bytes} bytes of memory are needed to unlock, and are not there"
        )
    return Secret(key)


def subkey(key: Secret, purpose: str, context: bytes = b"") -> Secret:
    """Return a key of its own for one purpose."""
    if len(key) <= KEY_BYTES:
        return _blake2b(key, purpose.encode() + b"\0" + context)
    # BLAKE2b takes keys of at most 64 bytes; what a file gives may be longer.
    short = _blake2b(None, key.buffer)
    try:
        return _blake2b(short, purpose.encode() + b"\0" + context)
    finally:
        short.wipe()


def seal(key: Secret, plain: bytes | bytearray, bound_to: bytes) -> bytes:
    """Return `plain` sealed; it opens only with the same key and the same `bound_to`."""
    nonce = random_bytes(_NONCE_BYTES)
    sealed = bytearray(len(plain) + _TAG_BYTES)
    lib.crypto_aead_xchacha20poly1305_ietf_encrypt(
        _out(sealed),
        ffi.NULL,
        _in(plain),
        len(plain),
        bound_to,
        len(bound_to),
        ffi.NULL,
        nonce,
        _in(key.buffer),
    )
    return nonce + sealed


def unseal(key: Secret, sealed: bytes, bound_to: bytes) -> bytearray:
    """Return what was sealed, for the caller to wipe.

    Raises:
      NotOpened: Another key, another `bound_to`, or it was changed.
    """
    if len(sealed) < _NONCE_BYTES + _TAG_BYTES:
        raise NotOpened(f"wanted at least {_NONCE_BYTES + _TAG_BYTES} bytes, was {len(sealed)}")
    plain = bytearray(len(sealed) - _NONCE_BYTES - _TAG_BYTES)
    failed = lib.crypto_aead_xchacha20poly1305_ietf_decrypt(
        _out(plain),
        ffi.NULL,
        ffi.NULL,
        sealed[_NONCE_BYTES:],
        len(sealed) - _NONCE_BYTES,
        bound_to,
        len(bound_to),
        sealed[:_NONCE_BYTES],
        _in(key.buffer),
    )
    if failed:
        raise NotOpened("it does not open")
    return plain


def _blake2b(key: Secret | None, data: bytes | bytearray) -> Secret:
    made = bytearray(KEY_BYTES)
    # Neither salt nor personalisation: 16 zeros each mean none.
    lib.crypto_generichash_blake2b_salt_personal(
        _out(made),
        KEY_BYTES,
        _in(data),
        len(data),
        ffi.NULL if key is None else _in(key.buffer),
        0 if key is None else len(key),
        bytes(16),
        bytes(16),
    )
    return Secret(made)


def _in(data: bytes | bytearray) -> Any:
    return ffi.from_buffer("unsigned char[]", data)


def _out(buffer: bytearray) -> Any:
    return ffi.from_buffer("unsigned char[]", buffer, require_writable=True)
