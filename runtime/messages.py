"""Messages about the runtime itself, beside those about market data in `actors.messages`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from actors.job_messages import JOB_METHODS, AddJob, RemoveJob, RunJob
from actors.key_messages import (
    KEY_METHODS,
    AccountRequest,
    AddKey,
    CancelOrder,
    ChangeKey,
    InvalidateAccount,
    PlaceOrder,
    RemoveKey,
    RestoreKey,
    TryKey,
)
from actors.key_reports import VaultStatus
from actors.messages import METHODS as MARKET_METHODS
from actors.messages import Subscribe, Unsubscribe
from actors.preload_messages import PRELOAD_METHODS, ReleaseNeed
from actors.reports import Health
from actors.vault_messages import (
    ChangeUnlock,
    CreateVault,
    LockVault,
    RecoverVault,
    RotateVault,
    UnlockVault,
)
from runtime.core.message import Request
from runtime.tree_reports import (
    ActorEvent,
    ActorReport,
    ActorState,
    ActorStatistics,
    Trace,
    Tree,
)

# What an operator may ask for at once: a look, not a subscription.
EVENTS_MAX = 1_000
TRACE_S_MAX = 600.0


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
      stream_url: Where its live streams are; empty if they are not used.
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
      health: How the store, the keys and each exchange are doing.
      keys: How the vault is; None if keys are switched off, or do not answer.
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
    keys: VaultStatus | None = None


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


class RawAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer in the field names of the exchange's REST interface.

    Attributes:
      data: The rows, in the exchange's own order.
      source: Where they came from; several, with commas, if they came from several.
      reason: Why from there, in words.
    """

    data: list[dict[str, Any]]
    source: str
    reason: str


class GetRaw(Request[RawAnswer], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask as usual, and get the answer as the exchange's REST interface writes it.

    Whatever brought it: a stream, memory, the store or a request.

    Attributes:
      method: The question: `candles`, `ticker`, `tickers`, `orderbook` or `trades`.
      params: Its parameters, as without this.
    """

    method: Literal["candles", "ticker", "tickers", "orderbook", "trades"]
    params: dict[str, Any] = msgspec.field(default_factory=dict)


class GetTree(Request[Tree], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every actor with its state, its mailbox, its work and its last crash."""


class GetActor(Request[ActorReport], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about one actor: state, figures, past incarnations with tracebacks, events.

    Attributes:
      name: Its path in the tree, such as `upbit.cache`.
    """

    name: str


class GetState(Request[ActorState], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one actor is doing: its row of the tree. Answered even while it hangs.

    Attributes:
      name: Its path in the tree.
    """

    name: str


class GetStatistics(
    Request[ActorStatistics], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """The figures that an actor keeps about its own work.

    Attributes:
      name: Its path in the tree; a supervisor has no figures of its own.
    """

    name: str


class GetEvents(
    Request[tuple[ActorEvent, ...]], frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """What happened lately to an actor and below it: starts, crashes, hangs, stops.

    Attributes:
      name: Its path in the tree.
      count: The newest so many, 1 to 1000.
    """

    name: str
    count: int = 50


class TraceActor(Request[Trace], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Watch an actor's messages, by type; answered when a limit is met.

    An actor has one trace at a time: a new one ends the one before.

    Attributes:
      name: Its path in the tree; not that of a supervisor, which has no messages.
      count: It ends after so many events, 1 to 1000.
      for_s: And after so long, in seconds, more than 0 and at most 600.
    """

    name: str
    count: int = 100
    for_s: float = 10.0


class SuspendActor(Request[ActorState], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let an actor finish the message in hand and then leave its mailbox alone.

    Whoever calls it waits meanwhile. A restart ends it as well as `resume` does.

    Attributes:
      name: Its path in the tree; not that of a supervisor, nor over the socket `control`.
    """

    name: str


class ResumeActor(Request[ActorState], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let a suspended actor read its mailbox again.

    Attributes:
      name: Its path in the tree.
    """

    name: str


class RestartActor(Request[ActorState], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stop and start an actor, or a supervisor with all below it; answered when it is up again.

    It counts as no crash, its mailbox is kept, and its siblings are left alone. One that waits for
    its next start after a crash is started at once.

    Attributes:
      name: Its path in the tree; not, over the socket, that of `control` or of what it is below.
    """

    name: str


# What an operator asks about actors, and tells them.
OPERATIONS: dict[str, type[Request[Any]]] = {
    "tree": GetTree,
    "actor": GetActor,
    "state": GetState,
    "statistics": GetStatistics,
    "events": GetEvents,
    "trace": TraceActor,
    "suspend": SuspendActor,
    "resume": ResumeActor,
    "restart": RestartActor,
}

# These change something, so a client never sends one a second time by itself.
SENT_ONCE = (
    Stop,
    SuspendActor,
    ResumeActor,
    RestartActor,
    Unsubscribe,
    ReleaseNeed,
    CreateVault,
    UnlockVault,
    LockVault,
    RecoverVault,
    RotateVault,
    ChangeUnlock,
    AddKey,
    ChangeKey,
    RemoveKey,
    RestoreKey,
    TryKey,
    InvalidateAccount,
    PlaceOrder,
    CancelOrder,
    AccountRequest,
    AddJob,
    RemoveJob,
    RunJob,
)

# Method name on the socket for every request there is.
METHODS: dict[str, type[Request[Any]]] = {
    **MARKET_METHODS,
    "raw": GetRaw,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "status": GetStatus,
    **OPERATIONS,
    **KEY_METHODS,
    **PRELOAD_METHODS,
    **JOB_METHODS,
    "stop": Stop,
    "check": Check,
    "rpc.discover": Discover,
}

# What is answered with text that anybody may have had a hand in: tracebacks, reasons, figures. All
# of it is masked; what is left out are answers with market data and of accounts, which are typed.
MASKED: frozenset[type[Request[Any]]] = frozenset(
    {
        GetStatus,
        *OPERATIONS.values(),
        *(kind for name, kind in KEY_METHODS.items() if name.startswith("keys.")),
        *JOB_METHODS.values(),
        *PRELOAD_METHODS.values(),
    }
)
