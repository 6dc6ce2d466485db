"""What tests of keys need: a KeyActor on memory, or keys, accounts and an exchange in fake time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import trio

from actors.errors import StoreUnavailable
from actors.exchanges.http import open_http_sender
from actors.exchanges.signing import ToSign
from actors.key_messages import AddKey, OpenAccount, SignRequest
from actors.key_reports import KeyReport, OpenedAccount
from actors.sandbox.accounts import SandboxAccount
from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.generated import generated_markets
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.transport import SandboxTransport
from actors.stores.keys import KeptVault
from actors.stores.keys_memory import MemoryAuditLog, MemoryKeys, MemoryKeyStore
from actors.vault.audit import decode
from actors.vault.sealed_form import UnlockParams
from actors.vault.secret import Secret
from actors.vault.testing import CHEAP
from actors.vault.values import Credential, UnlockKind
from actors.vault.vault import Kek, derive
from actors.vault_messages import CreateVault, UnlockVault
from actors.vault_unlocker import KeySource, Unlocking
from runtime.config import (
    ExchangesSettings,
    Settings,
    StoreSettings,
    UpbitSettings,
)
from runtime.core.actor import Actor
from runtime.core.child import ChildSpec
from runtime.core.clock import Clock, TrioClock
from runtime.core.message import Request
from runtime.core.ref import ActorRef
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.table import Table
from runtime.core.tree import open_tree
from runtime.key_settings import KeysSettings
from runtime.key_wiring import KeyParts, key_actor
from runtime.testing import NEW_YEAR_MS, wait_for
from runtime.wiring import Wired, wire

PASSPHRASE = "correct horse battery"  # noqa: S105 - of vaults that are made for a test
ACCESS_KEY = "AccessKeyOfATest0123456789abcdefABCDEF00"
SECRET_KEY = "SecretKeyOfATest0123456789abcdefABCDEF00"  # noqa: S105 - opens nothing
HOST = "api.upbit.com"

# Longer than any wait of a test, on fake time.
_TIMEOUT_S = 1_000.0


class TurnedClock(TrioClock):
    """Follows trio's clock; its wall time can be set wrong.

    Attributes:
      off_ms: How wrong it is, in milliseconds.
    """

    off_ms: int = 0

    def utc_ms(self) -> int:
        """Return the wall time that somebody has set."""
        return super().utc_ms() + self.off_ms


@dataclass(slots=True)
class GivenSource(KeySource):
    """A key file or credential that a test holds in its hand.

    Attributes:
      material: What it gives.
      error: Raised instead, if there is one.
      made: How often it was asked to make it if it is not there.
    """

    material: bytes = b"0123456789abcdef0123456789abcdef"
    error: Exception | None = None
    made: int = 0

    async def read(self, *, create: bool) -> Secret:
        """Return it, or fail."""
        await trio.lowlevel.checkpoint()
        self.made += create
        if self.error is not None:
            raise self.error
        return Secret(self.material)


class BreakingStore(MemoryKeyStore):
    """A vault in memory, whose disk breaks when a test says so.

    Attributes:
      breaks: At the next commit: `before` anything is written, or `after` all of it is.
      is_deaf: Whether nothing can be read after that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.breaks: Literal["", "before", "after"] = ""
        self.is_deaf = False

    async def commit(self, kept: KeptVault) -> None:
        """Replace the vault, or fail to; see `KeyStore`."""
        await trio.lowlevel.checkpoint()
        if not self.breaks:
            await super().commit(kept)
            return
        if self.breaks == "after":
            await super().commit(kept)
        failure = StoreUnavailable(f"the disk broke {self.breaks} it was written")
        self.breaks = ""
        if self.is_deaf:
            self.trouble = failure
        raise failure


class HeldLog(MemoryAuditLog):
    """An audit trail in memory, whose disk takes as long as a test wants.

    Attributes:
      batches: How many lines were written at a time.
      waiting: How many writes wait for the disk.
    """

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.waiting = 0
        self._go = trio.Event()
        self._go.set()

    def hold(self) -> None:
        """Let writes wait from now on."""
        self._go = trio.Event()

    def let_go(self) -> None:
        """Let them through."""
        self._go.set()

    async def append(self, lines: Sequence[bytes], *, durable: bool) -> None:
        """Add lines as soon as the disk is let go; see `AuditLog`."""
        self.waiting += 1
        await self._go.wait()
        self.waiting -= 1
        await super().append(lines, durable=durable)
        self.batches.append(len(lines))


async def derive_here(kind: UnlockKind, material: Secret, params: UnlockParams) -> Kek:
    """Return the key that unlocks, without a thread: fake time does not wait for threads."""
    del kind
    await trio.lowlevel.checkpoint()
    return derive(material, params)


@dataclass(slots=True)
class KeyRoom:
    """A running KeyActor, and all that it is made of.

    Attributes:
      ref: The KeyActor.
      root: Its supervisor.
      memory: Its store and audit trail.
      accounts: The account clients it has published.
      clock: Where it reads time.
      learned: The secrets it has told of.
      actors: Its incarnations, the living one last.
    """

    ref: ActorRef
    root: Supervisor
    memory: MemoryKeys
    accounts: Table[str, OpenedAccount]
    clock: TurnedClock
    learned: list[bytes] = field(default_factory=list)
    actors: list[Any] = field(default_factory=list)

    async def ask(self, request: Request[Any]) -> Any:
        """Return the answer to anything."""
        return await self.ref.call(request, timeout_s=_TIMEOUT_S)

    async def create(self) -> None:
        """Make the vault, and leave it open."""
        await self.ask(CreateVault(passphrase=PASSPHRASE))

    async def unlock(self) -> None:
        """Open the vault."""
        await self.ask(UnlockVault(passphrase=PASSPHRASE))

    async def add(self, label: str = "main", **more: Any) -> KeyReport:
        """Keep a key; return what is told of it."""
        change = await self.ask(made_key(label, **more))
        report: KeyReport = change.keys[0]
        return report

    async def open(self, label: str = "main") -> str:
        """Open the account client of a key; return its name."""
        account: str = (await self.ask(OpenAccount(exchange="upbit", label=label))).account
        return account

    async def sign(self, account: str, method: str = "GET", path: str = "/v1/accounts") -> str:
        """Return the proof for a request."""
        return await self.sign_for(account, HOST, method, path)

    async def sign_for(self, account: str, host: str, method: str, path: str) -> str:
        """Return the proof for a request to a host."""
        request = ToSign(method=method, path=path)
        signing = SignRequest(account=account, host=host, request=request, utc_ms=0)
        [(name, value)] = await self.ask(signing)
        assert name == "Authorization"
        return str(value)

    def credential(self, account: str) -> Credential:
        """Return what signs for an open account client: to see it wiped."""
        sessions = self.actors[-1]._sessions  # noqa: SLF001 - nobody else can see it, on purpose
        credential: Credential = sessions.get(account, self.clock.now_s()).credential
        return credential

    def actions(self) -> list[str]:
        """Return what the audit trail says was done, oldest first."""
        return [decode(line).action for line in self.memory.log.lines]

    async def crash(self) -> None:
        """End the KeyActor as a defect would; return when the next one is there."""
        incarnation = self.incarnation
        self.root.kill("keys")
        await wait_for(lambda: self.incarnation > incarnation and self._is_up)

    @property
    def incarnation(self) -> int:
        """Return how often it was started."""
        [child] = self.root.describe()
        return child.incarnation

    @property
    def _is_up(self) -> bool:
        [child] = self.root.describe()
        return child.state == "running"


def made_key(label: str = "main", **more: Any) -> AddKey:
    """Return a key to be kept, as different from others as its label."""
    given = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, **more}
    return AddKey(exchange="upbit", label=label, **given)


@asynccontextmanager
async def open_keys(
    *,
    memory: MemoryKeys | None = None,
    unlock: UnlockKind = "passphrase",
    sources: Mapping[UnlockKind, KeySource] | None = None,
    idle_s: float = 300.0,
    absolute_s: float = 43_200.0,
    seed: int = 0,
) -> AsyncIterator[KeyRoom]:
    """Run a KeyActor on memory, in fake time.

    Args:
      memory: What it keeps; a new one if not given.
      unlock: What unlocks a vault that is made.
      sources: Where keys that unlock come from.
      idle_s: How long an account client may be unused, in seconds.
      absolute_s: How long it may be open at all, in seconds.
      seed: Of its source of chance.
    """
    memory, registry = memory or MemoryKeys(), Registry()
    accounts: Table[str, OpenedAccount] = Table("accounts")
    learned: list[bytes] = []
    parts = KeyParts(
        memory,
        Unlocking(unlock, sources or {}, derive_here, CHEAP),
        accounts,
        learn=lambda secret: learned.append(bytes(secret)),
    )
    settings = Settings(keys=KeysSettings(idle_s=idle_s, absolute_s=absolute_s))
    make, actors = key_actor(parts, settings), list[Actor]()

    def make_and_show() -> Actor:
        actors.append(make())
        return actors[-1]

    root = Supervisor([ChildSpec("keys", make_and_show)], intensity=None)
    clock = TurnedClock(start_utc_ms=NEW_YEAR_MS)
    rng = random.Random(seed)  # noqa: S311 - seeded on purpose
    async with open_tree(root, clock=clock, rng=rng, registry=registry):
        yield KeyRoom(registry.ref("keys"), root, memory, accounts, clock, learned, actors)


@dataclass(slots=True)
class KeyWorld:
    """Keys and accounts of a whole tree, with an exchange in this process.

    Attributes:
      wired: The tree.
      exchange: What it is connected to.
      memory: What its keys are kept in.
      clock: Where it reads time.
    """

    wired: Wired
    exchange: SandboxExchange
    memory: MemoryKeys
    clock: Clock

    async def ask(self, request: Request[Any], *, timeout_s: float = 30.0) -> Any:
        """Return the answer to anything about keys and accounts."""
        return await self.wired.accounts.answer(request, timeout_s=timeout_s)

    async def add(self, label: str = "main", **more: Any) -> str:
        """Keep a key and open its account client; return the name of that."""
        await self.ask(made_key(label, **more))
        return await self.open(label)

    async def open(self, label: str = "main") -> str:
        """Open the account client of a key; return its name."""
        account: str = (await self.ask(OpenAccount(exchange="upbit", label=label))).account
        return account

    def kill(self, name: str) -> None:
        """End an actor as if it had crashed."""
        self.wired.root.kill(name)

    def asked(self, path: str) -> int:
        """Return how many requests for a path have arrived at the exchange."""
        return sum(record.path == path for record in self.exchange.log)


@asynccontextmanager
async def open_key_world(
    folder: Path,
    accounts: Sequence[SandboxAccount],
    *,
    memory: MemoryKeys | None = None,
    latency_s: float = 0.01,
) -> AsyncIterator[KeyWorld]:
    """Run keys, accounts and a sandbox exchange in fake time, the vault open and empty.

    Args:
      folder: The state folder; nothing of the keys is in it.
      accounts: Who has an account at the exchange.
      memory: What keys are kept in; a new one if not given.
      latency_s: How long a request and its answer are under way together, in seconds.
    """
    clock = TrioClock(start_utc_ms=NEW_YEAR_MS)
    time = SimulatedTime(clock, start_ms=NEW_YEAR_MS)
    markets = generated_markets(seed=1, now_ms=NEW_YEAR_MS, history_days=2, count=1)
    exchange = SandboxExchange(markets, clock=clock, time=time, accounts=accounts)
    transport = SandboxTransport(exchange, latency_s=latency_s)
    memory, rng = memory or MemoryKeys(), random.Random(0)  # noqa: S311 - seeded on purpose
    wired = wire(
        Settings(
            exchanges=ExchangesSettings(upbit=UpbitSettings(streams=False)),
            store=StoreSettings(kind="memory"),
        ),
        state_dir=folder,
        clock=clock,
        rng=rng,
        senders={
            "upbit": lambda: open_http_sender(
                "http://sandbox.invalid", timeout_s=10, connections_max=64, transport=transport
            )
        },
        keys=KeyParts(memory, Unlocking("passphrase", {}, derive_here, CHEAP), Table("accounts")),
    )
    async with open_tree(wired.root, clock=clock, rng=rng, registry=wired.registry):
        world = KeyWorld(wired, exchange, memory, clock)
        await world.ask(CreateVault(passphrase=PASSPHRASE))
        yield world
