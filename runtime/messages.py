"""Messages about the runtime itself, beside those about market data in `actors.messages`."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.messages import METHODS as MARKET_METHODS
from actors.reports import Health
from runtime.core.message import Request


class ActorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One actor or supervisor of the tree.

    Attributes:
      name: Its path in the tree.
      state: What it does at the moment, in one word.
      incarnation: 1 for the first; one more with every restart.
      uptime_s: How long this incarnation has been up, in seconds.
      restarts: How often it was restarted.
      queued: Messages waiting in its mailbox.
      queued_peak: The most that ever waited.
      last_crash: What ended the incarnation before, in one line; None if nothing did.
    """

    name: str
    state: str
    incarnation: int
    uptime_s: float
    restarts: int
    queued: int = 0
    queued_peak: int = 0
    last_crash: str | None = None


class ExchangeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange, as it is configured.

    Attributes:
      name: The exchange.
      rest_url: Where its REST interface is.
      stream_url: Where its live streams are; this version only shows it.
    """

    name: str
    rest_url: str
    stream_url: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The runtime at this moment.

    Attributes:
      version: Version of marketd.
      pid: Number of its process.
      started_ms: When it started, UTC milliseconds since the epoch.
      uptime_s: How long it has been up, in seconds.
      socket: Path of the local socket; empty if it is embedded and has none.
      state_dir: Folder of the database and the lock.
      store: Where candles are kept: `sqlite` or `memory`.
      exchanges: The exchanges that are served.
      health: How the store and each exchange are doing.
      actors: The tree, in the order in which it starts.
    """

    version: str
    pid: int
    started_ms: int
    uptime_s: float
    socket: str
    state_dir: str
    store: str
    exchanges: tuple[ExchangeStatus, ...]
    health: tuple[Health, ...]
    actors: tuple[ActorStatus, ...]


class Stopping(msgspec.Struct, frozen=True, kw_only=True):
    """The runtime has begun to stop.

    Attributes:
      pid: The process that ends when everything is put away.
    """

    pid: int


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """The request that was checked is well formed.

    Attributes:
      method: Its method.
    """

    method: str


class GetStatus(Request[Status], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the runtime is, and every actor in it."""


class Stop(Request[Stopping], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End the runtime. Answered at once; what is in hand is put away before the process ends."""


class Discover(Request[dict[str, Any]], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every method with its parameters and result, as an OpenRPC document."""


class Check(Request[Checked], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Check a request without running it; the answer is the error it would have, or `Checked`.

    Attributes:
      method: The method to check.
      params: Its parameters.
    """

    method: str
    params: dict[str, Any] = msgspec.field(default_factory=dict)


# Method name on the socket for every request there is.
METHODS: dict[str, type[Request[Any]]] = {
    **MARKET_METHODS,
    "status": GetStatus,
    "stop": Stop,
    "check": Check,
    "rpc.discover": Discover,
}
