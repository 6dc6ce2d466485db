"""Signing: by hand against PyJWT, and with an open vault against one that is opened each time.

The peer of the first is what ccxt, pyupbit and the documentation's own example do: a hash of the
parameters, and PyJWT for the token. That of the second is what a bot does that keeps its keys
encrypted and reads them whenever it asks: open the store, unwrap the data key, unseal the key, and
sign. Ours asks the KeyActor, which checks lease, policy and cap and writes the audit line first.

Printed are medians and their ratio; timing is not asserted.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest

from actors.exchanges.signing import ToSign
from actors.exchanges.upbit.signer import UpbitSigner
from actors.key import KeyActor
from actors.key_messages import AddKey, OpenAccount, SignRequest
from actors.key_reports import OpenedAccount
from actors.stores.key_source import KeyFileSource, derive_in_thread
from actors.stores.keys_files import open_key_files
from actors.vault.secret import Secret
from actors.vault.values import Credential, UnlockKind
from actors.vault.vault import Vault, params_of
from actors.vault_messages import CreateVault
from actors.vault_unlocker import Unlocking
from runtime.core.clock import SystemClock
from runtime.core.ref import ActorRef
from runtime.core.table import Table
from runtime.testing import open_actor

pytestmark = [pytest.mark.benchmark, pytest.mark.real_time]

ACCESS = "access-key-of-forty-letters-000000000000"
SIGNS_WITH = "a-secret-of-at-least-sixty-four-bytes-so-that-nobody-warns-of-it-0000"
OPENS_WITH = "correct horse battery staple"
PARAMS = [
    ("market", "KRW-BTC"),
    ("side", "bid"),
    ("ord_type", "limit"),
    ("price", "100000000"),
    ("volume", "0.0012"),
]
REQUEST = ToSign("POST", "/v1/orders", params=PARAMS)
HOST = "api.upbit.com"

SIGNATURES = 2_000
SERIES = 15
ASKED = 300
OPENED = {"key_file": 60, "passphrase": 3}


def test_signatures_by_hand_against_pyjwt() -> None:
    """The same token, of the same claims, to the byte."""
    signer = UpbitSigner()
    credential = Credential(Secret.of_text(ACCESS), Secret.of_text(SIGNS_WITH))

    def ours(nonce: str) -> str:
        [(_, value)] = signer.sign(credential, REQUEST, nonce=nonce, utc_ms=0)
        return value

    def theirs(nonce: str) -> str:
        said = "&".join(f"{name}={value}" for name, value in PARAMS)
        hashed = hashlib.sha512(said.encode()).hexdigest()
        claims = {"access_key": ACCESS, "nonce": nonce, "query_hash": hashed}
        claims["query_hash_alg"] = "SHA512"
        return f"Bearer {jwt.encode(claims, SIGNS_WITH, algorithm='HS512')}"

    assert ours("n") == theirs("n")
    own_s, peer_s = (statistics.median(_series(sign)) for sign in (ours, theirs))
    print(
        f"\nsignatures a second: ours {1 / own_s:,.0f}, PyJWT {1 / peer_s:,.0f}, "
        f"ratio {peer_s / own_s:.1f}"
    )


@pytest.mark.parametrize("kind", ["key_file", "passphrase"])
async def test_an_open_account_against_decrypting_each_time(
    kind: UnlockKind, tmp_path: Path
) -> None:
    """With what unlocks an unattended machine, and with what a person types."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    source = KeyFileSource(folder / "unlock.key")
    unlocking = Unlocking(kind=kind, sources={"key_file": source}, derive=derive_in_thread)
    async with _open_keys(folder, unlocking) as (keys, account):
        sign = SignRequest(account=account, host=HOST, request=REQUEST, utc_ms=0)
        own_s = await _median(partial(keys.call, sign), ASKED)
    peer_s = await _median(partial(_decrypt_and_sign, folder, source), OPENED[kind])
    print(
        f"\nsigned by {kind}: open account {own_s * 1e3:.2f} ms, decrypting each time "
        f"{peer_s * 1e3:.1f} ms, {1 - own_s / peer_s:.1%} faster, ratio {peer_s / own_s:.0f}"
    )


# ------------------------------------------------------------------ both sides


@asynccontextmanager
async def _open_keys(folder: Path, unlocking: Unlocking) -> AsyncIterator[tuple[ActorRef, str]]:
    """Run a KeyActor with one key; give it and the account client of that key."""
    accounts: Table[str, OpenedAccount] = Table("accounts")
    make = partial(
        KeyActor,
        partial(open_key_files, folder),
        unlocking=unlocking,
        signers={"upbit": UpbitSigner()},
        hosts={"upbit": HOST},
        accounts=accounts,
    )
    passphrase = OPENS_WITH if unlocking.kind == "passphrase" else ""
    async with open_actor(make, name="keys", clock=SystemClock()) as keys:
        await keys.call(CreateVault(passphrase=passphrase), timeout_s=30)
        add = AddKey(exchange="upbit", label="main", access_key=ACCESS, secret_key=SIGNS_WITH)
        await keys.call(add)
        opened = await keys.call(OpenAccount(exchange="upbit", label="main"))
        yield keys, opened.account


async def _decrypt_and_sign(folder: Path, source: KeyFileSource) -> None:
    async with open_key_files(folder) as (store, _):
        kept = await store.load()
    assert kept is not None
    params = params_of(kept.header)
    is_typed = params.kind == "passphrase"
    material = Secret.of_text(OPENS_WITH) if is_typed else await source.read(create=False)
    vault = Vault.open(kept, await derive_in_thread(params.kind, material, params))
    [key_id] = vault.keys
    UpbitSigner().sign(vault.credential(key_id), REQUEST, nonce="n", utc_ms=0)
    vault.wipe()


def _series(sign: Callable[[str], str]) -> list[float]:
    """Return seconds for one signature, series by series."""
    found = []
    for _ in range(SERIES):
        began_s = time.perf_counter()
        for number in range(SIGNATURES):
            sign(f"nonce {number}")
        found.append((time.perf_counter() - began_s) / SIGNATURES)
    return found


async def _median(work: Callable[[], Awaitable[Any]], times: int) -> float:
    found = []
    for _ in range(times):
        began_s = time.perf_counter()
        await work()
        found.append(time.perf_counter() - began_s)
    return statistics.median(found)
