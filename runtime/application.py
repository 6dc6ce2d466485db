"""The runtime as an object: opened around a block, with everything released when the block ends."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import trio

from actors.account_router import AccountRouter
from actors.exchanges.streams import OpenStream
from actors.limit_file import LimitKeeper
from actors.messages import Subscribe
from actors.preload_router import PreloadRouter
from actors.router import MarketRouter
from actors.scheduling.router import JobRouter
from actors.stores.base import OpenStore
from actors.subscriptions import Subscriptions
from actors.vault.sodium import COST, KdfCost
from runtime.client.embedded import EmbeddedClient
from runtime.config import Settings, credentials_dir, load_settings
from runtime.control import ControlActor
from runtime.core.actor import Actor
from runtime.core.child import ChildInfo
from runtime.core.clock import Clock, SystemClock
from runtime.core.message import Request
from runtime.core.tree import open_tree
from runtime.job_wiring import job_keeper
from runtime.key_wiring import KeyParts, key_parts
from runtime.limit_store import FileLimitKeeper, limit_file_path
from runtime.lock import hold_lock
from runtime.masking import Masker
from runtime.messages import (
    ActorStatus,
    ExchangeStatus,
    GetRaw,
    GetStatus,
    Status,
    Stop,
    Stopping,
)
from runtime.operations import Operations, flatten
from runtime.origin import check_origin, stream_url
from runtime.paths import ensure_private_dir, socket_path, state_dir
from runtime.raw import answer_raw, raw_question
from runtime.shared_limits import hold_limits, limits_dir
from runtime.transport_trio import LocalListener
from runtime.wiring import CONTROL, OpenSender, Wired, wire

# How long the runtime itself works on one request from the socket; a client may give up earlier.
ANSWER_TIMEOUT_S = 120.0


class Application:
    """A running runtime. Made by `open_application`.

    Attributes:
      market: Asks it, from inside the process.
      stop_requested: Set when somebody asked it over the socket to stop.
      socket: Path of the local socket; None if it listens to nobody.
      clock: Where it reads time.
      wired: Its tree, and the door to it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        folder: Path,
        socket: Path | None,
        clock: Clock,
        rng: random.Random,
        senders: Mapping[str, OpenSender] | None,
        streams: Mapping[str, OpenStream] | None,
        open_store: OpenStore | None,
        keepers: Mapping[str, LimitKeeper],
        keys: KeyParts | None,
        masker: Masker,
    ) -> None:
        self._masker = masker
        self.stop_requested = trio.Event()
        self.socket = socket
        self._settings = settings
        self._folder = folder
        self.clock = clock
        self._started_ms = clock.utc_ms()
        self._started_s = clock.now_s()
        self.wired: Wired = wire(
            settings,
            state_dir=folder,
            clock=clock,
            rng=rng,
            senders=senders,
            streams=streams,
            open_store=open_store,
            keepers=keepers,
            keys=keys,
            job_keeper=job_keeper(settings, folder),
            control=None if socket is None else self._control,
        )
        router = self.wired.router
        self._operations = Operations(self.wired.root, clock=clock)
        self._subscriptions = Subscriptions(router.doors, health=router.health)
        self.market = EmbeddedClient(
            self.answer, router.from_memory, subscribe=self._subscriptions.open
        )

    async def answer(self, request: Request[Any], timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
        """Return the answer to any message; errors as in the routers and `Operations`."""
        match request:
            case GetStatus():
                return await self.status()
            case Stop():
                self.stop_requested.set()
                return Stopping(pid=os.getpid())
            case GetRaw():
                ask = partial(self.answer, timeout_s=timeout_s)
                return await answer_raw(request, ask, self.wired.router.raw)
            case _ if self._operations.knows(request):
                return await self._operations.answer(request)
            case _:
                return await self._router(request).answer(request, timeout_s=timeout_s)

    def _router(
        self, request: Request[Any]
    ) -> AccountRouter | JobRouter | PreloadRouter | MarketRouter:
        """Return who answers `request`."""
        wired = self.wired
        others = (wired.accounts, wired.jobs, wired.preload)
        return next((each for each in others if each.knows(request)), wired.router)

    async def _answer_socket(self, request: Request[Any]) -> Any:
        if self._operations.knows(request):
            self._operations.validate(request, through=CONTROL)
        # Who says how long he waits is told what went wrong before he stops.
        left_s = trio.current_effective_deadline() - trio.current_time()
        return await self.answer(request, min(left_s, ANSWER_TIMEOUT_S))

    def _at_once(self, request: Request[Any]) -> object | None:
        if isinstance(request, GetStatus | GetRaw | Stop) or self._operations.knows(request):
            return None
        router = self._router(request)
        return router.at_once(request) if isinstance(router, MarketRouter) else None

    def _validate(self, request: Request[Any]) -> None:
        match request:
            case Subscribe():
                self._subscriptions.validate(request)
            case GetRaw():
                self.wired.router.validate(raw_question(request))
            case _ if self._operations.knows(request):
                self._operations.validate(request, through=CONTROL)
            case _:
                self._router(request).validate(request)

    async def status(self) -> Status:
        """Return how the runtime is, and every actor in it."""
        upbit = self._settings.exchanges.upbit
        exchanges = (
            ExchangeStatus(
                name="upbit",
                rest_url=upbit.rest_url,
                stream_url=stream_url(upbit.rest_url, upbit.stream_url) if upbit.streams else "",
            ),
        )
        return Status(
            version=_version(),
            pid=os.getpid(),
            started_ms=self._started_ms,
            uptime_s=self.clock.now_s() - self._started_s,
            socket="" if self.socket is None else str(self.socket),
            state_dir=str(self._folder),
            store=self._settings.store.kind,
            exchanges=exchanges if upbit.enabled else (),
            health=(*await self.wired.router.health(), *await self.wired.accounts.health()),
            actors=tuple(map(_as_status, flatten(self.wired.root.describe()))),
            keys=await self.wired.accounts.vault(),
        )

    def _control(self, _: MarketRouter) -> Actor:
        path = self.socket
        assert path is not None, "wired only when there is a socket"
        return ControlActor(
            self._answer_socket,
            open_listener=lambda: LocalListener(path),
            settings=self._settings.control,
            at_once=self._at_once,
            validate=self._validate,
            subscribe=self._subscriptions.open,
            version=_version(),
            masker=self._masker,
        )


@asynccontextmanager
async def open_application(
    settings: Settings,
    *,
    listen: bool,
    sandbox: bool = False,
    clock: Clock | None = None,
    rng: random.Random | None = None,
    senders: Mapping[str, OpenSender] | None = None,
    streams: Mapping[str, OpenStream] | None = None,
    open_store: OpenStore | None = None,
    masker: Masker | None = None,
    kdf_cost: KdfCost = COST,
) -> AsyncIterator[Application]:
    """Run a runtime for as long as the block runs.

    Args:
      settings: Its settings.
      listen: Whether to serve the local socket.
      sandbox: Whether to run a sandbox exchange beside it and use that instead of the real one. Its
        data is kept in a folder of its own.
      clock: Where time is read.
      rng: Where chance comes from.
      senders: In place of the network, by exchange: for tests and simulations.
      streams: In place of the network for live streams, by exchange: for the same.
      open_store: In place of the database that the settings name: for the same.
      masker: What hides secrets in everything that is written; told every secret in memory.
      kdf_cost: What unlocking by passphrase costs, for a vault that is made: less for tests.

    Raises:
      SettingsError: A setting cannot work, or another runtime has the state folder, or talks to
        the same exchange.
      StartFailed: An actor did not start.
    """
    clock = clock or SystemClock()
    rng = rng or random.Random()  # noqa: S311 - spreads waits, guards nothing
    # Not `or`: a masker that knows nothing yet counts as false.
    masker = Masker() if masker is None else masker
    folder = state_dir(settings)
    async with AsyncExitStack() as stack:
        if sandbox:
            folder = folder / "sandbox"
            settings = await stack.enter_async_context(_beside_sandbox(settings, clock))
        ensure_private_dir(folder)
        stack.enter_context(hold_lock(folder))
        if settings.store.kind != "memory":
            check_origin(folder, {"upbit": settings.exchanges.upbit.rest_url})
        socket = socket_path(settings) if listen else None
        keepers: dict[str, LimitKeeper] = {}
        if not senders:
            keepers = _keep_limits(stack, settings, socket, clock=clock)
        application = Application(
            settings,
            folder=folder,
            socket=socket,
            clock=clock,
            rng=rng,
            senders=senders,
            streams=streams,
            open_store=open_store,
            # A sandbox of its own ends with this process, and what it counted with it.
            keepers={} if sandbox else keepers,
            keys=key_parts(
                settings,
                folder,
                credentials=credentials_dir(),
                learn=masker.learn,
                cost=kdf_cost,
            ),
            masker=masker,
        )
        await stack.enter_async_context(
            open_tree(
                application.wired.root,
                clock=clock,
                rng=rng,
                registry=application.wired.registry,
            )
        )
        yield application


@asynccontextmanager
async def open_runtime(
    settings: Settings | None = None,
    *,
    config: str | os.PathLike[str] | None = None,
    sandbox: bool = False,
    listen: bool = False,
) -> AsyncIterator[EmbeddedClient]:
    """Run a runtime inside a bot on trio, for as long as the block runs.

    Args:
      settings: Its settings; if not given, those of `config`, or of `config.toml` in the working
        directory, and of the environment.
      config: A settings file.
      sandbox: Whether to use a sandbox exchange of its own instead of the real one.
      listen: Whether to serve the local socket to other processes as well.

    Raises:
      SettingsError: A setting cannot work, or another runtime has the state folder, or talks to
        the same exchange: then `connect()` or `open_client()` to that one.
      StartFailed: An actor did not start.
    """
    if settings is None:
        settings = load_settings(None if config is None else Path(config))
    async with open_application(settings, listen=listen, sandbox=sandbox) as application:
        yield application.market


# Shared limits: the one place where a runtime takes an exchange for itself.
def _keep_limits(
    stack: AsyncExitStack, settings: Settings, socket: Path | None, *, clock: Clock
) -> dict[str, LimitKeeper]:
    """Keep other runtimes of this user from the exchange for as long as `stack` is open.

    Returns:
      What keeps the spent limits from one process to the next, by exchange.
    """
    upbit = settings.exchanges.upbit
    if not upbit.enabled:
        return {}
    stack.enter_context(hold_limits(limits_dir(upbit.rest_url), upbit.rest_url, socket))
    return {"upbit": FileLimitKeeper(limit_file_path(upbit.rest_url), clock=clock)}


@asynccontextmanager
async def _beside_sandbox(settings: Settings, clock: Clock) -> AsyncIterator[Settings]:
    """Run a sandbox exchange and return settings that name it."""
    # Only here: a runtime without a sandbox needs nothing of it.
    from actors.sandbox.main import open_default_sandbox  # noqa: PLC0415

    async with open_default_sandbox(clock=clock) as url:
        upbit = msgspec.structs.replace(settings.exchanges.upbit, rest_url=url, enabled=True)
        exchanges = msgspec.structs.replace(settings.exchanges, upbit=upbit)
        yield msgspec.structs.replace(settings, exchanges=exchanges)


def _version() -> str:
    try:
        return version("marketd")
    except PackageNotFoundError:
        return "unknown"


def _as_status(child: ChildInfo) -> ActorStatus:
    return ActorStatus(
        name=child.name,
        state=child.state,
        incarnation=child.incarnation,
        uptime_s=child.uptime_s,
        restarts=child.restarts,
        queued=child.queued,
        queued_peak=child.queued_max,
        last_crash=child.last_crash or None,
    )
