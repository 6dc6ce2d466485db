"""Keep real and rehearsed data apart: a store belongs to where its data came from.

Candles of a sandbox among real ones would be wrong for ever and nobody could tell them apart. So
the state folder remembers, for each exchange, whether its data came from this machine or from the
outside, and refuses to mix the two. The port may change, and so may the host outside.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from runtime.config import SettingsError

ORIGIN_FILE = "origin.json"


def check_origin(folder: Path, urls: Mapping[str, str]) -> None:
    """Remember where each exchange's data comes from; refuse a change between here and outside.

    Args:
      folder: The state folder.
      urls: The REST URL of each exchange.

    Raises:
      SettingsError: The folder holds data from the other side; nothing was changed.
    """
    path = folder / ORIGIN_FILE
    known = _read(path)
    for exchange, url in urls.items():
        before = known.get(exchange, url)
        if is_this_machine(before) != is_this_machine(url):
            raise SettingsError(
                f"{folder} holds candles of {exchange} from {before}, and the settings now name "
                f"{url}; a sandbox's data must not mix with real data, so give this runtime a "
                "runtime.state_dir of its own"
            )
    if known != {**known, **urls}:
        _write(path, {**known, **urls})


def stream_url(rest_url: str, named_url: str = "") -> str:
    """Return where the live streams are that belong to the REST interface at `rest_url`.

    Args:
      rest_url: Where the REST interface is.
      named_url: Where the settings say the streams are; if they say nothing, at the same host.

    Raises:
      SettingsError: One of the two is on this machine and the other is not: live data of one
        market would be mixed with candles of another.
    """
    if not named_url:
        rest = urlsplit(rest_url)
        scheme = "wss" if rest.scheme == "https" else "ws"
        return urlunsplit((scheme, rest.netloc, f"{rest.path.rstrip('/')}/websocket/v1", "", ""))
    if is_this_machine(named_url) != is_this_machine(rest_url):
        raise SettingsError(
            f"exchanges.upbit.stream_url is {named_url}, and rest_url is {rest_url}: a sandbox's "
            "data must not mix with real data, so both must be on this machine or both outside; "
            "leave stream_url empty for the streams that belong to rest_url"
        )
    return named_url


def is_this_machine(url: str) -> bool:
    """Return whether `url` names a host on this machine."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    # Who connects to "any address" connects to this machine.
    return address.is_loopback or address.is_unspecified


def _read(path: Path) -> dict[str, str]:
    try:
        known = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        for url in known.values():
            urlsplit(url)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    return known


def _write(path: Path, urls: Mapping[str, str]) -> None:
    fresh = path.with_suffix(".new")
    try:
        fresh.write_bytes(msgspec.json.encode(urls))
        fresh.replace(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}") from error
