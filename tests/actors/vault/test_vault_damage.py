"""Whatever is changed of what was written: it is named, and nothing else is opened in its place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import UnlockFailed, VaultDamaged
from actors.stores.keys import HEADER_BYTES_MAX, SEALED_BYTES_MAX, KeptVault
from actors.vault.sealed_form import Header, finish_header, read_header
from actors.vault.secret import Secret
from actors.vault.sodium import KdfCost
from actors.vault.testing import MARK, NOW_MS, made_credential, made_info, made_kek, told
from actors.vault.vault import Vault, _State, _written

KEK = made_kek()
Forge = Callable[[Header], Header]


def made() -> tuple[Vault, list[KeptVault]]:
    """Return an open vault with two keys, and what was written after each change."""
    vault, first = Vault.create(made_kek(like=KEK))
    written = [first]
    for label in ("main", "second"):
        credential = made_credential(label)
        draft = vault.put(made_info(label), credential, now_ms=NOW_MS, audit=MARK)
        vault.adopt(draft)
        written.append(draft.kept)
    return vault, written


def opened(kept: KeptVault) -> Vault:
    """Open with the right key."""
    return Vault.open(kept, made_kek(like=KEK))


def checksummed(header: Header) -> bytes:
    """Return a header as somebody writes it who knows the format, and no key."""
    bare = msgspec.structs.replace(header, checksum="")
    digest = hashlib.sha256(msgspec.json.encode(bare)).hexdigest()
    return msgspec.json.encode(msgspec.structs.replace(header, checksum=digest))


def flipped(data: bytes, place: int, mask: int) -> bytes:
    """Return `data` with one byte changed."""
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


def test_every_flipped_byte_of_the_header_is_named_as_damage() -> None:
    """Not as a wrong passphrase: its owner would go on typing."""
    kept = made()[1][-1]
    for place in range(len(kept.header)):
        for mask in (1, 0x20, 0x80):
            with pytest.raises(VaultDamaged, match="header"):
                opened(replace(kept, header=flipped(kept.header, place, mask)))


def test_every_flipped_byte_of_the_sealed_part_is_named() -> None:
    """Whether it is a secret, a name, or a bracket."""
    kept = made()[1][-1]
    for place in range(len(kept.sealed)):
        for mask in (1, 0x20):
            with pytest.raises(VaultDamaged, match=r"sealed file|old copy"):
                opened(replace(kept, sealed=flipped(kept.sealed, place, mask)))


@pytest.mark.parametrize("half", ["header", "sealed"])
@pytest.mark.parametrize("change", [b" {", b"{ ", b"{\n"])
def test_the_same_values_written_otherwise_are_told(half: str, change: bytes) -> None:
    """A digest over values would not see it, and what is not ours is not used."""
    kept = made()[1][-1]
    header, sealed = (each.replace(b"{", change, 1) for each in (kept.header, kept.sealed))
    other = replace(kept, header=header) if half == "header" else replace(kept, sealed=sealed)
    with pytest.raises(VaultDamaged, match="is not written as we write it"):
        opened(other)


@given(st.data())
def test_nothing_else_is_ever_opened(data: st.DataObject) -> None:
    """Cut, repeated, overwritten, or anything: an error of ours, or what was written."""
    vault, written = made()
    kept = written[-1]
    half = data.draw(st.sampled_from(["header", "sealed"]))
    text: bytes = getattr(kept, half)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    text = text[:start] + data.draw(st.binary(max_size=9)) + text[end:]
    header, sealed = (text, kept.sealed) if half == "header" else (kept.header, text)
    changed = replace(kept, header=header, sealed=sealed)

    if changed == kept:
        assert told(opened(changed)) == told(vault)
    else:
        with pytest.raises((VaultDamaged, UnlockFailed), match=r"."):
            opened(changed)


@pytest.mark.parametrize(
    "forge",
    [
        lambda header: msgspec.structs.replace(header, audit_number=1),
        lambda header: msgspec.structs.replace(header, audit_hash="00"),
        lambda header: msgspec.structs.replace(header, sealed_sha256="00" * 32),
        lambda header: msgspec.structs.replace(header, code="00" * 32),
        lambda header: msgspec.structs.replace(header, code=""),
    ],
)
def test_a_header_forged_with_a_right_checksum_was_altered(forge: Forge) -> None:
    """A checksum is for accidents; who knows how to make one still has no key."""
    kept = made()[1][-1]
    header = checksummed(forge(read_header(kept.header)))
    with pytest.raises(VaultDamaged, match="was altered by somebody without its key"):
        opened(replace(kept, header=header))


@pytest.mark.parametrize(
    "forge",
    [
        lambda header: msgspec.structs.replace(header, vault="00" * 16),
        lambda header: msgspec.structs.replace(
            header, unlock=msgspec.structs.replace(header.unlock, cost=KdfCost(2, 8_192))
        ),
        lambda header: msgspec.structs.replace(
            header, unlock=msgspec.structs.replace(header.unlock, kind="key_file", cost=None)
        ),
        lambda header: msgspec.structs.replace(header, wrapped=header.wrapped[::-1]),
    ],
)
def test_a_data_key_opens_only_where_it_was_wrapped(forge: Forge) -> None:
    """Cheaper parameters, or another vault's name, make another key of the same passphrase."""
    kept = made()[1][-1]
    with pytest.raises(UnlockFailed, match="does not open the vault"):
        opened(replace(kept, header=checksummed(forge(read_header(kept.header)))))


def test_halves_of_different_times_are_told_with_the_old_one_named() -> None:
    """A backup of one half would bring back a key that was removed."""
    _, (_, before, after) = made()
    with pytest.raises(VaultDamaged, match=r"put back.*the sealed file is the old one"):
        opened(replace(after, sealed=before.sealed))
    with pytest.raises(VaultDamaged, match=r"old copy was put back.*the header is the old one"):
        opened(replace(before, sealed=after.sealed))
    with pytest.raises(VaultDamaged, match="header is of change 2, and was kept as that of"):
        opened(replace(before, generation=3))


def test_the_sealed_part_of_another_vault_is_told() -> None:
    """Same passphrase, same number of changes, another machine."""
    ours, others = made()[1][-1], made()[1][-1]
    with pytest.raises(VaultDamaged, match="belongs to another vault"):
        opened(replace(ours, sealed=others.sealed))


def rewritten(vault: Vault, change: Callable[[_State], None]) -> KeptVault:
    """Return what somebody would write who can make headers, and seal nothing."""
    state = vault._next(MARK)
    change(state)
    return _written(state)


def test_records_that_changed_places_are_told() -> None:
    """The key of one account would trade on another."""
    vault, _ = made()
    first, second = (made_info(label).id for label in ("main", "second"))

    def swap(state: _State) -> None:
        one, two = state.records[first], state.records[second]
        state.records[first] = msgspec.structs.replace(two, id=first)
        state.records[second] = msgspec.structs.replace(one, id=second)

    with pytest.raises(
        VaultDamaged, match=f"record {first[:8]} .* put in another's place: its info"
    ):
        opened(rewritten(vault, swap))


@pytest.mark.parametrize("piece", ["info", "secret"])
def test_a_piece_in_the_place_of_another_is_told(piece: str) -> None:
    """Even where everything around it is right."""
    vault, _ = made()
    first, second = (made_info(label).id for label in ("main", "second"))

    def move(state: _State) -> None:
        taken = getattr(state.records[second], piece)
        state.records[first] = msgspec.structs.replace(state.records[first], **{piece: taken})

    with pytest.raises(VaultDamaged, match=f"put in another's place: its {piece} does not open"):
        opened(rewritten(vault, move)).credential(first)


def test_an_older_secret_of_the_same_key_is_told_and_named() -> None:
    """A key that was replaced must not come back to life."""
    vault, _ = made()
    key_id = made_info().id
    old = vault._state.records[key_id]
    credential = made_credential("newer")
    vault.adopt(vault.put(made_info(), credential, now_ms=NOW_MS, audit=MARK))

    def put_back(state: _State) -> None:
        now = state.records[key_id]
        state.records[key_id] = msgspec.structs.replace(now, secret=old.secret)

    vault = opened(rewritten(vault, put_back))
    with pytest.raises(VaultDamaged, match="upbit:main: record"):
        vault.credential(key_id)


def test_a_record_twice_is_told() -> None:
    """One of them would be used, and the other one shown."""
    vault, _ = made()

    def double(state: _State) -> None:
        state.records["again"] = state.records[made_info().id]

    with pytest.raises(VaultDamaged, match="a record twice"):
        opened(rewritten(vault, double))


def test_halves_longer_than_may_be_are_not_even_parsed() -> None:
    """A bound that is looked at after the work is none."""
    kept = made()[1][-1]
    with pytest.raises(VaultDamaged, match="header may have 65536 bytes, was 65537"):
        opened(replace(kept, header=b" " * (HEADER_BYTES_MAX + 1)))
    with pytest.raises(VaultDamaged, match="sealed file may have 16777216 bytes, was 16777217"):
        opened(replace(kept, sealed=b" " * (SEALED_BYTES_MAX + 1)))


def test_a_format_of_the_future_is_told() -> None:
    """An older marketd must not guess."""
    vault, written = made()
    header = msgspec.structs.replace(read_header(written[-1].header), format=2)
    with pytest.raises(VaultDamaged, match="must be of format 1, was 2"):
        opened(replace(written[-1], header=finish_header(header, vault._state.data_key)))


def test_a_passphrase_is_not_kept_in_what_says_that_it_is_wrong() -> None:
    """Errors are logged."""
    kept = made()[1][-1]
    with pytest.raises(UnlockFailed, match="that passphrase") as caught:
        Vault.open(kept, made_kek("canary-5f1d", like=KEK))
    assert "canary" not in repr(caught.value) + str(caught.value.__cause__)
    assert Secret.of_text("canary") != Secret.of_text("other")
