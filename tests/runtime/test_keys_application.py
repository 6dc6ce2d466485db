"""A whole runtime with its keys in real files: what is there after a restart, and for whom."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from actors.errors import KeysSealed
from actors.key_messages import GetBalances, ListKeys, OpenAccount, VerifyAudit
from actors.sandbox.accounts import SANDBOX_ACCESS_KEY, SANDBOX_SECRET_KEY
from actors.vault.sodium import KdfCost
from actors.vault_messages import CreateVault, GetVault, RecoverVault, UnlockVault
from runtime.application import open_application
from runtime.config import RuntimeSettings, Settings
from runtime.key_settings import KeysSettings
from runtime.messages import GetStatus
from runtime.testing_keys import PASSPHRASE, made_key

# The disk and the exchange's socket are real.
pytestmark = pytest.mark.real_time

CHEAP = KdfCost(1, 8_192)
KEY = made_key(access_key=SANDBOX_ACCESS_KEY, secret_key=SANDBOX_SECRET_KEY)


def opened(folder: Path, **keys: Any) -> Any:
    """Open a runtime on a sandbox of its own, whose state is in `folder`."""
    settings = Settings(runtime=RuntimeSettings(state_dir=str(folder)), keys=KeysSettings(**keys))
    return open_application(settings, listen=False, sandbox=True, kdf_cost=CHEAP)


async def test_keys_are_there_after_a_restart(tmp_path: Path) -> None:
    """Sealed, each file for its owner only; unlocked, they sign as before at another port."""
    async with opened(tmp_path) as application:
        await application.answer(CreateVault(passphrase=PASSPHRASE))
        await application.answer(KEY)
    files = [path for path in (tmp_path / "sandbox").iterdir() if path.name.startswith(("k", "a"))]
    assert {path.name for path in files} >= {"keys.db", "keys.sealed", "audit.jsonl"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    async with opened(tmp_path) as application:
        status = await application.answer(GetStatus())
        assert status.keys.state == "sealed"
        assert [each.state for each in status.health if each.name == "keys"] == ["degraded"]
        with pytest.raises(KeysSealed, match="marketd keys unlock"):
            await application.answer(OpenAccount(exchange="upbit", label="main"))
        await application.answer(UnlockVault(passphrase=PASSPHRASE))
        account = await application.answer(OpenAccount(exchange="upbit", label="main"))
        balances = await application.answer(GetBalances(account=account.account))
        assert balances[0].currency == "KRW"
        verdict = await application.answer(VerifyAudit())
        assert verdict.whole
        assert verdict.lines > 8


async def test_unattended_runtime_needs_nobody(tmp_path: Path) -> None:
    """The key file is made with the first key, outside of the state folder, and said so."""
    file = tmp_path / "config" / "unlock.key"
    given = {"unlock": "key_file", "key_file": str(file)}
    async with opened(tmp_path / "state", **given) as application:
        assert not file.exists()
        await application.answer(KEY)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert str(file) in (await application.answer(GetVault())).places
    async with opened(tmp_path / "state", **given) as application:
        assert (await application.answer(GetVault())).state == "open"
        assert len(await application.answer(ListKeys())) == 1
    file.unlink()
    async with opened(tmp_path / "state", **given) as application:
        status = await application.answer(GetVault())
        assert (status.state, status.unlock) == ("sealed", "key_file")
        assert "is not there" in status.reason


async def test_damaged_file_stops_the_keys_and_nothing_else(tmp_path: Path) -> None:
    """Market data is served all the same; the good copy opens when it is asked for."""
    async with opened(tmp_path) as application:
        await application.answer(CreateVault(passphrase=PASSPHRASE))
        await application.answer(KEY)
    sealed = tmp_path / "sandbox" / "keys.sealed"
    data = bytearray(sealed.read_bytes())
    data[len(data) // 2] ^= 1
    sealed.write_bytes(data)
    async with opened(tmp_path) as application:
        status = await application.answer(GetVault())
        assert status.state == "damaged"
        assert str(sealed) in status.reason
        assert len(await application.market.candles("KRW-BTC", "1m", 5)) == 5
        await application.answer(RecoverVault(passphrase=PASSPHRASE))
        assert len(await application.answer(ListKeys())) == 1


async def test_runtime_without_keys_starts_none(tmp_path: Path) -> None:
    """No actor, no file, no word in the health."""
    async with opened(tmp_path, enabled=False) as application:
        status = await application.answer(GetStatus())
        assert status.keys is None
        assert not {"keys", "upbit.account"} & {actor.name for actor in status.actors}
    assert not (tmp_path / "sandbox" / "keys.db").exists()
