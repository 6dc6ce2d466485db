"""`ControlActor`: serve the local socket.

    bot ── line ──> Connection ── message ──> answer ── value ──> Connection ── line ──> bot

It knows the protocol and no actor: what a request means is the business of `answer`. Requests of
one connection are worked on side by side, up to a bound, and answered as they get done; further
ones are not read from the socket until there is room, so a flood waits at the bot.

Nothing that comes over one connection ends another. A defect in answering is logged under a
reference that the bot is told, and the bot gets JSON-RPC's "internal error" without particulars.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import msgspec
import trio

from actors.errors import Overloaded
from runtime.config import ControlSettings
from runtime.connection import Answer, AtOnce, Connection, Counts
from runtime.core.actor import Actor
from runtime.core.message import Request
from runtime.discover import discover
from runtime.masking import Masker
from runtime.messages import Check, Checked, Discover
from runtime.protocol import encode_error, parse_message
from runtime.subscribers import Opener
from runtime.transport import PeerRefused
from runtime.transport_trio import Listener
from runtime.update_lines import UpdateEncoder
from runtime.wire_errors import error_to_wire

# How long a bot may take to read a piece of an answer before it is cut off, in seconds.
WRITE_TIMEOUT_S = 10.0

_log = logging.getLogger("marketd.control")

_TURN_AWAY_S = 1.0
# Out of descriptors or memory: accepting works again when some have been given back.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
_SHORTAGE_PAUSE_S = 0.1


class ControlStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What has passed over the local socket since the actor started.

    Attributes:
      connections: Connections at the moment.
      accepted: Connections there have been.
      turned_away: Connections refused, because of their number or of whose they were.
      cut_off: Connections closed because answers or updates were not read, or because of a flood.
      calls: Requests that were well formed.
      refusals: Lines that were not.
      defects: Requests and connections that met a defect of the runtime.
    """

    connections: int
    accepted: int
    turned_away: int
    cut_off: int
    calls: int
    refusals: int
    defects: int


class ControlActor(Actor):
    """Listen on the local socket and answer what comes.

    State: the listener and its connections; all of it ends with the incarnation.

    Args:
      answer: Answers a request, or raises the error that is the answer.
      open_listener: Opens the socket; called once for each incarnation.
      settings: The bounds.
      at_once: Answers a request if it can without waiting, such as from memory, else returns None.
        What it answers skips everything that waiting needs, and takes a third of the time.
      validate: Raises the error that a request would meet before anything is done for it; used by
        `check`. Without it, only names and types are checked.
      subscribe: Opens subscriptions; None if there is nothing to subscribe to.
      version: Version of marketd, for `rpc.discover`.
      write_timeout_s: How long a bot may take to read a piece of an answer, in seconds.
      masker: What every error, and every answer that is no data, goes through.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        open_listener: Callable[[], Listener],
        settings: ControlSettings,
        at_once: AtOnce | None = None,
        validate: Callable[[Request[Any]], object] | None = None,
        subscribe: Opener | None = None,
        version: str = "",
        write_timeout_s: float = WRITE_TIMEOUT_S,
        masker: Masker | None = None,
    ) -> None:
        self._masker = Masker() if masker is None else masker
        self._answer = answer
        self._open_listener = open_listener
        self._settings = settings
        self._at_once = at_once
        self._validate = validate
        self._subscribe = subscribe
        # One for all: what many subscribe to is encoded once.
        self._encoder = UpdateEncoder()
        self._version = version
        self._write_timeout_s = write_timeout_s
        self._connections = 0
        self._counts = Counts()

    async def on_start(self) -> None:
        """Open the socket; one that cannot be opened is a failed start."""
        self.context.nursery.start_soon(self._listen, self._open_listener())

    def statistics(self) -> ControlStatistics:
        """Return what has passed since start."""
        return ControlStatistics(connections=self._connections, **asdict(self._counts))

    async def _listen(self, listener: Listener) -> None:
        # The listener belongs to this task, so that it is closed however the incarnation ends.
        with contextlib.closing(listener):
            while True:
                stream = await self._accept(listener)
                self._counts.accepted += 1
                if self._connections >= self._settings.connections_max:
                    await self._turn_away(stream)
                    continue
                self._connections += 1
                name = f"connection {self._counts.accepted}"
                self.context.nursery.start_soon(self._attend, listener, stream, name)

    async def _accept(self, listener: Listener) -> trio.abc.Stream:
        while True:
            try:
                return await listener.accept()
            except OSError as error:
                if error.errno not in _SHORTAGES:
                    raise
                _log.warning("no connection can be accepted at the moment: %s", error)
            await trio.sleep(_SHORTAGE_PAUSE_S)

    async def _turn_away(self, stream: trio.abc.Stream) -> None:
        self._counts.turned_away += 1
        bound = self._settings.connections_max
        error = Overloaded(f"there are {bound} connections already: control.connections_max")
        _log.warning("connection refused: %s", error)
        wire = error_to_wire(error)
        assert wire is not None
        try:
            with trio.move_on_after(_TURN_AWAY_S), contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(encode_error(None, wire))
        finally:
            await trio.aclose_forcefully(stream)

    async def _attend(self, listener: Listener, stream: trio.abc.Stream, name: str) -> None:
        connection = Connection(
            stream,
            self._dispatch,
            at_once=self._at_once,
            name=name,
            settings=self._settings,
            write_timeout_s=self._write_timeout_s,
            patience_s=self._settings.patience_s,
            opener=self._subscribe,
            encoder=self._encoder,
            counts=self._counts,
            rng=self.context.rng,
            masker=self._masker,
        )
        try:
            await listener.admit(stream)
            await connection.serve()
        except* PeerRefused as group:
            self._counts.turned_away += 1
            _log.warning("%s: refused: %s", name, group.exceptions[0])
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            _log.debug("%s: gone", name)
        except* Exception:  # noqa: BLE001 - the other connections must not pay for a defect in one
            self._counts.defects += 1
            _log.exception("%s: closed because of a defect", name)
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)

    async def _dispatch(self, message: Request[Any]) -> object:
        """Return the answer to `message`; two of the methods are about the protocol itself."""
        match message:
            case Discover():
                return discover(self._version)
            case Check(method=method, params=params):
                checked = parse_message(method, params)
                if self._validate is not None:
                    self._validate(checked)
                return Checked(method=method)
            case _:
                return await self._answer(message)
