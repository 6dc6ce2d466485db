"""What is done with libsodium's inside is what PyNaCl's own functions do, but for the copies."""

from __future__ import annotations

import nacl.encoding
import nacl.hash
import nacl.pwhash
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from actors.vault.secret import Secret
from actors.vault.sodium import (
    KEY_BYTES,
    KdfCost,
    NotOpened,
    derive_key,
    random_bytes,
    seal,
    subkey,
    unseal,
)

keys = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
RAW = nacl.encoding.RawEncoder


@given(keys, st.binary(max_size=99), st.binary(max_size=99))
def test_what_is_sealed_opens_here_and_with_pynacl(key: bytes, plain: bytes, aad: bytes) -> None:
    """We use an inner module of PyNaCl; when it moves, this says so."""
    sealed = seal(Secret(key), bytearray(plain), aad)
    open_it = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt

    assert unseal(Secret(key), sealed, aad) == plain
    assert open_it(sealed[24:], aad, sealed[:24], key) == plain
    assert seal(Secret(key), plain, aad) != sealed


@given(keys, st.binary(max_size=40), st.data())
def test_nothing_but_what_was_sealed_opens(key: bytes, plain: bytes, data: st.DataObject) -> None:
    """Another key, another purpose, a bit, a byte more or less."""
    sealed = seal(Secret(key), plain, b"here")
    cut = data.draw(st.integers(0, len(sealed) - 1))
    wrong = bytearray(sealed)
    wrong[cut] ^= 1 << data.draw(st.integers(0, 7))
    other = bytes([key[0] ^ 1]) + key[1:]

    for opened_by, text, bound_to in (
        (key, bytes(wrong), b"here"),
        (key, sealed[:cut], b"here"),
        (key, sealed + b"x", b"here"),
        (key, sealed, b"there"),
        (other, sealed, b"here"),
    ):
        with pytest.raises(NotOpened, match=r"does not open|wanted at least"):
            unseal(Secret(opened_by), text, bound_to)


@pytest.mark.parametrize("words", [b"x", b"correct horse", "pässwörd \N{SNOWMAN}".encode()])
def test_a_passphrase_makes_the_key_that_argon2id_makes(words: bytes) -> None:
    """A vault must open with any other build of libsodium."""
    salt = random_bytes(16)
    wanted = nacl.pwhash.argon2id.kdf(KEY_BYTES, words, salt, 2, 65_536, RAW)
    assert derive_key(Secret(words), salt, KdfCost(2, 65_536)) == Secret(wanted)


@given(keys, st.text(max_size=9))
def test_a_subkey_is_blake2b_with_a_key(key: bytes, purpose: str) -> None:
    """The same here as everywhere."""
    data = purpose.encode() + b"\0ctx"
    wanted = nacl.hash.blake2b(data, KEY_BYTES, key=key, encoder=RAW)
    assert subkey(Secret(key), purpose, b"ctx") == Secret(wanted)


def test_a_long_key_counts_in_all_its_length() -> None:
    """A key file may be longer than BLAKE2b's keys; its end must not be let go."""
    long = b"k" * 100
    short = nacl.hash.blake2b(long, KEY_BYTES, encoder=RAW)
    wanted = nacl.hash.blake2b(b"use\0", KEY_BYTES, key=short, encoder=RAW)
    assert subkey(Secret(long), "use") == Secret(wanted)
    assert subkey(Secret(long[:-1] + b"x"), "use") != Secret(wanted)
