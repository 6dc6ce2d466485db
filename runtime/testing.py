"""What tests need: one actor under a real supervisor, or a whole runtime in virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import trio

from runtime.config import (
    CacheSettings,
    ExchangesSettings,
    RuntimeSettings,
    Settings,
    StoreSettings,
    UpbitSettings,
)
from runtime.core.actor import Actor
from runtime.core.child import ChildSpec
from runtime.core.clock import Clock, TrioClock
from runtime.core.mailbox import MailboxSpec
from runtime.core.ref import ActorRef
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor
from runtime.core.tree import open_tree
from runtime.need_settings import StrategyNeed
from runtime.preload_settings import PreloadSettings

if TYPE_CHECKING:
    from actors.sandbox.exchange import SandboxExchange
    from actors.stores.base import OpenStore
    from runtime.application import Application

# 2026-01-01T00:00:00Z, a Thursday.
NEW_YEAR_MS = 1_767_225_600_000


@asynccontextmanager
async def open_actor(
    factory: Callable[[], Actor],
    *,
    name: str = "actor",
    clock: Clock | None = None,
    registry: Registry | None = None,
    seed: int = 0,
    mailbox: MailboxSpec = MailboxSpec(),  # noqa: B008 - frozen
) -> AsyncIterator[ActorRef]:
    """Run one actor under a supervisor that never gives up, for as long as the block runs.

    Args:
      factory: Makes the actor, anew for each incarnation.
      name: Its name in the registry.
      clock: Where it reads time; one that follows trio's from New Year 2026 if not given.
      registry: Where it is found; a new one if not given.
      seed: Of its source of chance.
      mailbox: How its mailbox behaves.
    """
    registry = registry or Registry()
    root = Supervisor([ChildSpec(name, factory, mailbox=mailbox)], intensity=None)
    async with open_tree(
        root,
        clock=clock or TrioClock(start_utc_ms=NEW_YEAR_MS),
        rng=random.Random(seed),  # noqa: S311 - seeded on purpose
        registry=registry,
    ):
        yield registry.ref(name)


async def wait_for(condition: Callable[[], bool], *, within_s: float = 5.0) -> None:
    """Return as soon as `condition` holds, looking again whenever other tasks have run.

    Raises:
      TooSlowError: It did not hold within `within_s` seconds of the run's clock.
    """
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110 - any condition, not one that sets an event
            await trio.sleep(0.001)


@asynccontextmanager
async def open_rehearsal(
    folder: Path,
    exchange: SandboxExchange,
    *,
    clock: Clock,
    latency_s: float = 0.05,
    jitter_s: float = 0.0,
    seed: int = 0,
    open_store: OpenStore | None = None,
    streams: bool = False,
    frames_every_s: float = 0.0,
    preload: PreloadSettings = PreloadSettings(enabled=False),  # noqa: B008 - frozen
    strategies: Mapping[str, tuple[StrategyNeed, ...]] = MappingProxyType({}),
    **cache: Any,
) -> AsyncIterator[Application]:
    """Run a whole runtime against a sandbox exchange in this process: no socket, no thread.

    Args:
      folder: Its state folder.
      exchange: What it is connected to.
      clock: Where it reads time.
      latency_s: How long a request and its answer are under way together, in seconds.
      jitter_s: How much longer, at most, each way may take.
      seed: Of its source of chance, and of the jitter.
      open_store: In place of a store in memory.
      streams: Whether its live streams are used.
      frames_every_s: How long frames of streams are gathered before they arrive, in seconds.
      preload: What is fetched before it is asked for; nothing, if not given, so that requests can
        be counted.
      strategies: What strategies need, as the settings declare it.
      cache: Settings of the section `cache` that differ from the defaults.
    """
    from actors.exchanges.http import open_http_sender  # noqa: PLC0415 - only for rehearsals
    from actors.sandbox.stream_transport import SandboxStreams  # noqa: PLC0415
    from actors.sandbox.transport import SandboxTransport  # noqa: PLC0415
    from runtime.application import open_application  # noqa: PLC0415

    rng = random.Random(seed)  # noqa: S311 - seeded on purpose
    transport = SandboxTransport(exchange, latency_s=latency_s, jitter_s=jitter_s, rng=rng)
    frames = SandboxStreams(
        exchange, latency_s=latency_s, jitter_s=jitter_s, rng=rng, gather_s=frames_every_s
    )
    settings = Settings(
        runtime=RuntimeSettings(state_dir=str(folder)),
        exchanges=ExchangesSettings(upbit=UpbitSettings(streams=streams)),
        store=StoreSettings(kind="memory"),
        cache=CacheSettings(**cache),
        preload=preload,
        strategies=dict(strategies),
    )
    async with open_application(
        settings,
        listen=False,
        clock=clock,
        rng=rng,
        open_store=open_store,
        streams={"upbit": frames.open},
        senders={
            "upbit": lambda: open_http_sender(
                "http://sandbox.invalid", timeout_s=10, connections_max=64, transport=transport
            )
        },
    ) as application:
        yield application
