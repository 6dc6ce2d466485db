"""How keys are kept and unlocked, assembled from the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from actors.exchanges.okx.signer import OkxSigner
from actors.exchanges.upbit.signer import UpbitSigner
from actors.key import KeyActor
from actors.key_reports import OpenedAccount
from actors.stores.key_source import CredentialSource, KeyFileSource, derive_in_thread
from actors.stores.keys import OpenKeyStore
from actors.stores.keys_files import open_key_files
from actors.vault.sodium import COST, KdfCost
from actors.vault.values import UnlockKind
from actors.vault_unlocker import KeySource, Unlocking
from runtime.config import Settings
from runtime.core.table import Table
from runtime.key_places import check_places
from runtime.origin import is_this_machine
from runtime.paths import key_file_path

# Names of files as `actors.stores.keys_files` makes them.
DATABASE_FILE, SEALED_FILE, AUDIT_FILE = "keys.db", "keys.sealed", "audit.jsonl"

# A backup that reads the database holds it for some seconds; a vault that could not be written for
# that long would have to be sealed.
_BUSY_S = 10.0

# Where keys of an exchange are used that this runtime does not serve itself yet.
OKX_HOST = "www.okx.com"


@dataclass(frozen=True, slots=True)
class KeyParts:
    """What a KeyActor is made of.

    Attributes:
      open_store: Opens what keeps vault and audit trail.
      unlocking: How the vault is unlocked.
      accounts: Where open account clients are published.
      places: Where the vault's parts are, for people.
      learn: Told every secret there is in memory.
    """

    open_store: OpenKeyStore
    unlocking: Unlocking
    accounts: Table[str, OpenedAccount]
    places: tuple[str, ...] = ()
    learn: Callable[[bytearray], object] = lambda _: None


def key_parts(
    settings: Settings,
    folder: Path,
    *,
    credentials: Path | None,
    learn: Callable[[bytearray], object],
    cost: KdfCost = COST,
) -> KeyParts | None:
    """Return how keys are kept in `folder`; None if there are to be none.

    Args:
      settings: The settings.
      folder: The state folder.
      credentials: Where the service manager has put credentials; None if it has not.
      learn: Told every secret there is in memory.
      cost: What deriving a key from a passphrase costs.

    Raises:
      SettingsError: Two settings name one file.
    """
    keys = settings.keys
    if not keys.enabled:
        return None
    sealed = Path(keys.sealed_file).expanduser() if keys.sealed_file else folder / SEALED_FILE
    sources: dict[UnlockKind, KeySource] = {
        "key_file": KeyFileSource(key_file_path(settings)),
        "credential": CredentialSource(credentials, keys.credential),
    }
    key_file = key_file_path(settings) if keys.unlock == "key_file" else None
    check_places(folder, sealed=sealed, key_file=key_file, store_file=settings.store.file)
    places = [folder / DATABASE_FILE, sealed, folder / AUDIT_FILE]
    if key_file is not None:
        places.append(key_file)
    return KeyParts(
        open_store=lambda: open_key_files(
            folder,
            sealed_path=sealed,
            audit_bytes_max=keys.audit_mb * 1_000_000,
            busy_s=_BUSY_S,
        ),
        unlocking=Unlocking(keys.unlock, sources, derive_in_thread, cost),
        accounts=Table("accounts"),
        places=tuple(map(str, places)),
        learn=learn,
    )


def key_actor(parts: KeyParts, settings: Settings) -> Callable[[], KeyActor]:
    """Return what makes the KeyActor."""
    signers = {signer.exchange: signer for signer in (UpbitSigner(), OkxSigner())}
    hosts = {"upbit": host_of(settings.exchanges.upbit.rest_url), "okx": OKX_HOST}
    return lambda: KeyActor(
        parts.open_store,
        unlocking=parts.unlocking,
        signers=signers,
        hosts=hosts,
        accounts=parts.accounts,
        places=parts.places,
        idle_s=settings.keys.idle_s,
        absolute_s=settings.keys.absolute_s,
        learn=parts.learn,
    )


def host_of(url: str) -> str:
    """Return what a key is bound to: host and port of a URL, without the port if it is the usual.

    A sandbox on this machine comes with another port each time, so all of them are one. Plain HTTP
    to another machine is part of it: a key that was added for HTTPS never goes there in the clear.
    """
    if is_this_machine(url):
        return "localhost"
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").lower()
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    bound = host if parts.port in (None, usual) else f"{host}:{parts.port}"
    return bound if parts.scheme == "https" else f"{parts.scheme}://{bound}"
