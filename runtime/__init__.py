"""Market data at hand, the exchange's rate limits kept, all of it under supervision.

A bot needs one of three doors, with the same methods behind each:

- `connect()`: a plain blocking client of the runtime that runs on this machine;
- `open_client()`: the same for bots on trio;
- `open_runtime()`: a runtime inside the bot's own process, for bots on trio.

    from runtime import connect

    with connect() as market:
        candles = market.candles("KRW-BTC", "1m", 200)
        print(candles.close[-1], candles.complete)

Names are loaded when they are first used, so importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.series import Series
    from runtime.application import open_runtime
    from runtime.client.blocking import BlockingClient, connect
    from runtime.client.trio_client import TrioClient, open_client
    from runtime.config import Settings, load_settings
    from runtime.hygiene import harden_process

__all__ = [
    "BlockingClient",
    "Series",
    "Settings",
    "TrioClient",
    "connect",
    "harden_process",
    "load_settings",
    "open_client",
    "open_runtime",
]

_HOMES = {
    "BlockingClient": "runtime.client.blocking",
    "Series": "actors.series",
    "Settings": "runtime.config",
    "TrioClient": "runtime.client.trio_client",
    "connect": "runtime.client.blocking",
    "harden_process": "runtime.hygiene",
    "load_settings": "runtime.config",
    "open_client": "runtime.client.trio_client",
    "open_runtime": "runtime.application",
}


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'runtime' has no attribute {name!r}") from None
    from runtime.neighbours import check_neighbours  # noqa: PLC0415 - importing us costs nothing

    check_neighbours()
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
