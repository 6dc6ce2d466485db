"""`Vault`: keys, sealed and opened. Plain code: it is handed texts and returns texts.

A change is a `Draft` first: both halves as they would be written. Only when a store has committed
them does the vault `adopt` it, so that memory never runs ahead of the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

from actors.errors import InvalidRequest, UnlockFailed, VaultDamaged
from actors.stores.keys import KeptVault
from actors.vault.sealed_form import (
    FORMAT,
    Header,
    Record,
    SealedPart,
    UnlockParams,
    check_code,
    finish_header,
    open_piece,
    piece_bound_to,
    read_header,
    read_sealed,
    wrap_bound_to,
)
from actors.vault.secret import Secret
from actors.vault.sodium import (
    COST,
    KEY_BYTES,
    SALT_BYTES,
    KdfCost,
    NotOpened,
    derive_key,
    random_bytes,
    seal,
    subkey,
    unseal,
)
from actors.vault.values import Credential, KeyInfo, UnlockKind

KEYS_MAX = 1_000
# A key file or credential shorter than this could be guessed.
MATERIAL_BYTES_MIN = 32
SECRET_BYTES_MAX = 4_096


@dataclass(frozen=True, slots=True)
class Kek:
    """What unlocks: the key that the data key is wrapped with.

    Attributes:
      params: How it was made.
      key: The key.
    """

    params: UnlockParams
    key: Secret

    def wipe(self) -> None:
        """Overwrite it."""
        self.key.wipe()


def fresh_params(kind: UnlockKind, cost: KdfCost = COST) -> UnlockParams:
    """Return parameters for a new secret of a kind."""
    salt = random_bytes(SALT_BYTES)
    return UnlockParams(kind=kind, salt=salt, cost=cost if kind == "passphrase" else None)


def params_of(header: bytes) -> UnlockParams:
    """Return what a header asks for.

    Raises:
      VaultDamaged: It is no header, or a damaged one.
    """
    return read_header(header).unlock


def derive(material: Secret, params: UnlockParams) -> Kek:
    """Return the key that unlocks. For a passphrase it takes long: do it in a thread.

    Raises:
      UnlockFailed: There is too little of the secret.
      VaultDamaged: The parameters are out of bounds.
    """
    if len(material) == 0:
        raise UnlockFailed(f"the vault is unlocked by a {params.kind.replace('_', ' ')}; none came")
    if params.kind == "passphrase":
        if params.cost is None:
            raise VaultDamaged("the vault's header does not say what its passphrase costs")
        return Kek(params, derive_key(material, params.salt, params.cost))
    if len(material) < MATERIAL_BYTES_MIN:
        raise UnlockFailed(
            f"a {params.kind.replace('_', ' ')} must have at least {MATERIAL_BYTES_MIN} bytes, "
            f"was {len(material)}"
        )
    return Kek(params, subkey(material, f"unlock by {params.kind}", params.salt))


@dataclass(slots=True)
class _State:
    """A vault in memory."""

    vault: str
    generation: int
    kek: Kek
    data_key: Secret
    records: dict[str, Record]
    infos: dict[str, KeyInfo]
    audit_mark: tuple[int, str]


@dataclass(frozen=True, slots=True)
class Draft:
    """A change that is not made yet.

    Attributes:
      kept: What is to be written.
      state: What the vault is afterwards.
    """

    kept: KeptVault
    state: _State


class Vault:
    """An open vault. Made by `create` or `open`.

    Args:
      state: Its content.
    """

    def __init__(self, state: _State) -> None:
        self._state = state

    @staticmethod
    def create(kek: Kek, *, audit: tuple[int, str] = (0, "")) -> tuple[Vault, KeptVault]:
        """Return an empty vault, and what is to be written of it."""
        state = _State(
            random_bytes(16).hex(), 1, kek, Secret(random_bytes(KEY_BYTES)), {}, {}, audit
        )
        return Vault(state), _written(state)

    @staticmethod
    def open(kept: KeptVault, kek: Kek) -> Vault:
        """Return the vault that was written as `kept`; it keeps `kek`.

        Raises:
          UnlockFailed: The key is not this vault's.
          VaultDamaged: Something was changed, swapped or put back; names what.
        """
        header = read_header(kept.header)
        if header.generation != kept.generation:
            raise VaultDamaged(
                f"the vault's header is of change {header.generation}, and was kept as that of "
                f"change {kept.generation}"
            )
        try:
            bound_to = wrap_bound_to(header.vault, header.unlock)
            data_key = Secret(unseal(kek.key, header.wrapped, bound_to))
        except NotOpened as error:
            kind = header.unlock.kind.replace("_", " ")
            raise UnlockFailed(f"that {kind} does not open the vault") from error
        check_code(header, data_key)
        part = read_sealed(kept.sealed, header)
        if len({record.id for record in part.records}) < len(part.records):
            raise VaultDamaged("the sealed file has a record twice")
        records = {record.id: record for record in part.records}
        infos = {record.id: _info(data_key, header.vault, record) for record in part.records}
        mark = (header.audit_number, header.audit_hash)
        return Vault(_State(header.vault, header.generation, kek, data_key, records, infos, mark))

    # -------------------------------------------------------------- looking

    @property
    def generation(self) -> int:
        """Return how often it was changed, its making included."""
        return self._state.generation

    @property
    def kind(self) -> UnlockKind:
        """Return what unlocks it."""
        return self._state.kek.params.kind

    @property
    def audit_mark(self) -> tuple[int, str]:
        """Return number and hash of the audit trail's last line before the last change."""
        return self._state.audit_mark

    @property
    def keys(self) -> Mapping[str, KeyInfo]:
        """Return what is known of each key, by its identity; removed ones included."""
        return MappingProxyType(self._state.infos)

    def credential(self, key_id: str) -> Credential:
        """Return what signs, opened now, for the caller to wipe.

        Raises:
          KeyError: There is no such key.
          VaultDamaged: It does not open.
        """
        state = self._state
        try:
            plain = open_piece(state.data_key, state.vault, state.records[key_id], "secret")
        except VaultDamaged as error:
            raise VaultDamaged(f"{state.infos[key_id].name}: {error}") from error
        try:
            return _unpack(plain)
        finally:
            plain[:] = bytes(len(plain))

    # -------------------------------------------------------------- changing

    def put(
        self,
        info: KeyInfo,
        credential: Credential | None,
        *,
        now_ms: int,
        audit: tuple[int, str],
    ) -> Draft:
        """Return the change that adds or replaces a key.

        Args:
          info: What is known of it.
          credential: What signs; None to leave the secrets as they are.
          now_ms: The time, UTC milliseconds.
          audit: Number and hash of the audit trail's last line.

        Raises:
          InvalidRequest: There are as many keys as there may be, or a secret is empty or too long.
        """
        state = self._state
        if info.id not in state.infos and len(state.infos) >= KEYS_MAX:
            raise InvalidRequest(f"there are {KEYS_MAX} keys already; purge some")
        info = msgspec.structs.replace(info, changed_ms=now_ms)
        fresh = self._next(audit)
        own = self.credential(info.id) if credential is None else credential
        try:
            fresh.records[info.id] = _record(fresh, info, own)
        finally:
            if credential is None:
                own.wipe()
        fresh.infos[info.id] = info
        return Draft(_written(fresh), fresh)

    def purge(self, key_id: str, *, audit: tuple[int, str]) -> Draft:
        """Return the change that forgets a key; `KeyError` if there is none."""
        fresh = self._next(audit)
        del fresh.records[key_id], fresh.infos[key_id]
        return Draft(_written(fresh), fresh)

    def rotate(self, *, audit: tuple[int, str]) -> Draft:
        """Return the change to a new data key, everything sealed anew."""
        fresh = self._next(audit)
        fresh.data_key = Secret(random_bytes(KEY_BYTES))
        for key_id, info in fresh.infos.items():
            credential = self.credential(key_id)
            try:
                fresh.records[key_id] = _record(fresh, info, credential)
            finally:
                credential.wipe()
        return Draft(_written(fresh), fresh)

    def rewrap(self, kek: Kek, *, audit: tuple[int, str]) -> Draft:
        """Return the change of what unlocks it; no key is sealed anew."""
        fresh = self._next(audit)
        fresh.kek = kek
        return Draft(_written(fresh), fresh)

    def adopt(self, draft: Draft) -> None:
        """Be what `draft` says; only when that has been written."""
        before, self._state = self._state, draft.state
        if before.data_key is not self._state.data_key:
            before.data_key.wipe()
        if before.kek is not self._state.kek:
            before.kek.wipe()

    def wipe(self) -> None:
        """Overwrite what opens it. It is of no use afterwards."""
        self._state.data_key.wipe()
        self._state.kek.wipe()
        self._state.infos = {}
        self._state.records = {}

    def _next(self, audit: tuple[int, str]) -> _State:
        now = self._state
        return _State(
            now.vault,
            now.generation + 1,
            now.kek,
            now.data_key,
            dict(now.records),
            dict(now.infos),
            audit,
        )


def _written(state: _State) -> KeptVault:
    part = SealedPart(
        format=FORMAT,
        vault=state.vault,
        generation=state.generation,
        records=tuple(state.records.values()),
    )
    sealed = msgspec.json.encode(part)
    params = state.kek.params
    header = Header(
        format=FORMAT,
        vault=state.vault,
        generation=state.generation,
        sealed_sha256=hashlib.sha256(sealed).hexdigest(),
        unlock=params,
        wrapped=seal(state.kek.key, state.data_key.buffer, wrap_bound_to(state.vault, params)),
        audit_number=state.audit_mark[0],
        audit_hash=state.audit_mark[1],
    )
    return KeptVault(state.generation, finish_header(header, state.data_key), sealed)


def _record(state: _State, info: KeyInfo, credential: Credential) -> Record:
    version = random_bytes(8).hex()
    packed = _pack(credential)
    try:
        pieces = {
            name: seal(state.data_key, plain, piece_bound_to(state.vault, info.id, version, name))
            for name, plain in (("info", msgspec.json.encode(info)), ("secret", packed))
        }
    finally:
        packed[:] = bytes(len(packed))
    return Record(id=info.id, version=version, **pieces)


def _info(data_key: Secret, vault: str, record: Record) -> KeyInfo:
    plain = open_piece(data_key, vault, record, "info")
    try:
        info = msgspec.json.decode(plain, type=KeyInfo)
    except msgspec.MsgspecError as error:
        raise VaultDamaged(f"record {record.id[:8]} says nothing that is known: {error}") from error
    if info.id != record.id:
        raise VaultDamaged(f"record {record.id[:8]} is that of another key")
    return info


def _pack(credential: Credential) -> bytearray:
    """Return the three secrets, each after its length in 2 bytes, for the caller to wipe."""
    secrets = (credential.access_key, credential.secret_key, credential.passphrase)
    sizes = [0 if secret is None else len(secret) for secret in secrets]
    if not all(sizes[:2]) or max(sizes) > SECRET_BYTES_MAX:
        raise InvalidRequest(
            f"access key and secret key must have 1 to {SECRET_BYTES_MAX} bytes, and a passphrase "
            "at most that"
        )
    # At its full length from the start: a buffer that grows leaves copies behind.
    packed = bytearray(2 * len(sizes) + sum(sizes))
    start = 0
    for secret, size in zip(secrets, sizes, strict=True):
        packed[start : start + 2] = size.to_bytes(2, "big")
        if secret is not None:
            packed[start + 2 : start + 2 + size] = secret.buffer
        start += 2 + size
    return packed


def _unpack(plain: bytearray) -> Credential:
    secrets: list[Secret] = []
    start = 0
    with memoryview(plain) as view:
        while start < len(view):
            size = int.from_bytes(view[start : start + 2], "big")
            with view[start + 2 : start + 2 + size] as part:
                secrets.append(Secret(part))
            start += 2 + size
    if len(secrets) != 3 or start != len(plain):  # noqa: PLR2004 - as `_pack` writes
        raise VaultDamaged("a sealed secret is no credential")
    access_key, secret_key, passphrase = secrets
    return Credential(access_key, secret_key, passphrase if len(passphrase) else None)
