"""How a vault is written: a header, and apart from it the sealed part. Both are JSON.

header   who is asked to unlock it, the data key wrapped by what they have, the digest of the
sealed part, where the audit trail was; a checksum that tells damage from a wrong
passphrase, and a code made with the data key that nobody without it can make
sealed   for each key two pieces: what may be told once the vault is open, and the secrets
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TypeVar

import msgspec

from actors.errors import VaultDamaged
from actors.stores.keys import HEADER_BYTES_MAX, SEALED_BYTES_MAX
from actors.vault.secret import Secret
from actors.vault.sodium import KdfCost, NotOpened, subkey, unseal
from actors.vault.values import UnlockKind

FORMAT = 1

T = TypeVar("T")


class UnlockParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is needed, beside the secret itself, to make the key that unlocks.

    Attributes:
      kind: What the secret is.
      salt: Drawn anew with every new secret.
      cost: What stretching costs; None for what needs none.
    """

    kind: UnlockKind
    salt: bytes
    cost: KdfCost | None = None


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The half with the wrapped data key.

    Attributes:
      format: 1.
      vault: The vault's identity, hexadecimal digits.
      generation: Counts the changes, from 1.
      sealed_sha256: Digest of the other half.
      unlock: What unlocks it.
      wrapped: The data key, sealed under the key that unlocks.
      audit_number: Where the audit trail was at this change.
      audit_hash: The hash of that line.
      code: HMAC-SHA256 over all the rest, with a key made from the data key.
      checksum: SHA-256 over all the rest.
    """

    format: int
    vault: str
    generation: int
    sealed_sha256: str
    unlock: UnlockParams
    wrapped: bytes
    audit_number: int
    audit_hash: str
    code: str = ""
    checksum: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key, sealed in two pieces.

    Attributes:
      id: Its identity.
      version: Drawn anew whenever a piece is sealed anew, so that pieces of different times differ.
      info: What may be told.
      secret: What may not.
    """

    id: str
    version: str
    info: bytes
    secret: bytes


class SealedPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The half with the credentials.

    Attributes:
      format: 1.
      vault: The vault's identity.
      generation: That of the header it belongs to.
      records: One for each key.
    """

    format: int
    vault: str
    generation: int
    records: tuple[Record, ...]


def read_header(text: bytes) -> Header:
    """Return the header in `text`.

    Raises:
      VaultDamaged: It is none, or was changed by accident.
    """
    header = _read(text, Header, "header", HEADER_BYTES_MAX)
    if header.checksum != _checksum(header):
        raise VaultDamaged("the vault's header is damaged: its checksum is wrong")
    return header


def read_sealed(text: bytes, header: Header) -> SealedPart:
    """Return the sealed part that belongs to `header`.

    Raises:
      VaultDamaged: It is none, was changed, or belongs to another header; says which.
    """
    part = _read(text, SealedPart, "sealed file", SEALED_BYTES_MAX)
    if part.vault != header.vault:
        raise VaultDamaged("the sealed file belongs to another vault")
    if part.generation != header.generation:
        older = "the sealed file" if part.generation < header.generation else "the header"
        raise VaultDamaged(
            f"an old copy was put back: the sealed file is of change {part.generation}, the header "
            f"of change {header.generation}; {older} is the old one"
        )
    if hashlib.sha256(text).hexdigest() != header.sealed_sha256:
        raise VaultDamaged("the sealed file was changed: its digest is not the header's")
    return part


def finish_header(header: Header, data_key: Secret) -> bytes:
    """Return `header` as text, with its code and its checksum."""
    coded = msgspec.structs.replace(header, code=_code(header, data_key))
    return msgspec.json.encode(msgspec.structs.replace(coded, checksum=_checksum(coded)))


def check_code(header: Header, data_key: Secret) -> None:
    """Refuse a header that was not written by who had the data key.

    Raises:
      VaultDamaged: It was altered.
    """
    if not hmac.compare_digest(header.code, _code(header, data_key)):
        raise VaultDamaged("the vault's header was altered by somebody without its key")


def wrap_bound_to(vault: str, unlock: UnlockParams) -> bytes:
    """Return what the wrapped data key is bound to."""
    return b"marketd data key\0" + msgspec.json.encode((FORMAT, vault, unlock))


def piece_bound_to(vault: str, record_id: str, version: str, piece: str) -> bytes:
    """Return what a piece of a record is bound to: put anywhere else, it does not open."""
    return msgspec.json.encode(("marketd record", FORMAT, vault, record_id, version, piece))


def open_piece(data_key: Secret, vault: str, record: Record, piece: str) -> bytearray:
    """Return a piece of a record, for the caller to wipe.

    Raises:
      VaultDamaged: It does not open; names the record.
    """
    sealed = record.info if piece == "info" else record.secret
    try:
        return unseal(data_key, sealed, piece_bound_to(vault, record.id, record.version, piece))
    except NotOpened as error:
        raise VaultDamaged(
            f"record {record.id[:8]} of the sealed file was changed or put in another's place: its "
            f"{piece} does not open"
        ) from error


def _read(text: bytes, kind: type[T], name: str, bytes_max: int) -> T:
    if len(text) > bytes_max:
        raise VaultDamaged(f"the vault's {name} may have {bytes_max} bytes, was {len(text)}")
    try:
        value = msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise VaultDamaged(
            f"the vault's {name} is no such thing, or half of one: {error}"
        ) from error
    found = value.format  # type: ignore[attr-defined]
    if found != FORMAT:
        raise VaultDamaged(f"the vault's {name} must be of format {FORMAT}, was {found}")
    if msgspec.json.encode(value) != text:
        # The last digit of base64 has bits that say nothing, and a digest over values misses them.
        raise VaultDamaged(f"the vault's {name} was changed: it is not written as we write it")
    return value


def _code(header: Header, data_key: Secret) -> str:
    plain = msgspec.json.encode(msgspec.structs.replace(header, code="", checksum=""))
    key = subkey(data_key, "header")
    try:
        return hmac.new(key.buffer, plain, hashlib.sha256).hexdigest()
    finally:
        key.wipe()


def _checksum(header: Header) -> str:
    plain = msgspec.json.encode(msgspec.structs.replace(header, checksum=""))
    return hashlib.sha256(plain).hexdigest()
