"""Where the files of the keys must not be."""

from __future__ import annotations

import logging
from pathlib import Path

from runtime.setting_rules import SettingsError

_log = logging.getLogger("marketd.keys")


def check_places(folder: Path, *, sealed: Path, key_file: Path | None, store_file: str) -> None:
    """Refuse a sealed file that is another file as well; warn of a key file beside the vault.

    Args:
      folder: The state folder.
      sealed: Where the sealed credentials are to be.
      key_file: What unlocks them; None if it is no file.
      store_file: Name of the database of candles, in the state folder.

    Raises:
      SettingsError: Two files would be one; names both.
    """
    folder, sealed = folder.resolve(), sealed.resolve()
    taken = {
        "keys.db": "the other half of the vault (keys.db)",
        "audit": "the audit trail (audit.jsonl and audit-NUMBER.jsonl)",
        store_file: f"the candles ({store_file}, store.file)",
    }
    # Databases and copies have files beside them, called the same and a little more.
    what = next((what for name, what in taken.items() if sealed.name.startswith(name)), "")
    if what and sealed.parent == folder:
        raise SettingsError(
            f"keys.sealed_file must be a file of its own, was {sealed}: that name is kept for "
            f"{what}"
        )
    if key_file is None:
        return
    key_file = key_file.resolve()
    if key_file == sealed:
        raise SettingsError(f"keys.key_file and keys.sealed_file must be two, were both {sealed}")
    if key_file.parent in (folder, sealed.parent):
        _log.warning(
            "the key file %s lies beside the vault that it opens: a copy of that folder opens the "
            "keys. Put it elsewhere, and say where with keys.key_file",
            key_file,
        )
