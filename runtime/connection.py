"""One connection of the local socket: read calls, have them answered, write the answers.

What can be answered without waiting is answered by the task that read it, there and then. Else
that task handles the call too, but before it does it hands the reading to another: so the answer
does not wait for a task to be started. With as many tasks at work as there may be, nobody reads,
and what the bot sends further waits in its own buffers.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import trio

from actors.messages import Subscribe, Unsubscribe
from actors.outcomes import in_doubt
from actors.preload_messages import AwaitNeed
from actors.updates import Subscribed
from runtime.config import ControlSettings
from runtime.core.errors import CallTimeout
from runtime.core.message import Request
from runtime.masking import Masker
from runtime.messages import MASKED
from runtime.protocol import (
    Call,
    Malformed,
    Refusal,
    RequestParser,
    encode_error,
    encode_result,
)
from runtime.subscribers import Opener, Subscribers
from runtime.transport_trio import has_hung_up
from runtime.update_lines import UpdateEncoder
from runtime.wire_errors import INTERNAL_ERROR, WireError, error_to_wire, protocol_error

Answer = Callable[[Request[Any]], Awaitable[object]]
# The answer if there is one without waiting, else None; errors as with `Answer`.
AtOnce = Callable[[Request[Any]], object | None]

_log = logging.getLogger("marketd.control")

_RECEIVE_BYTES = 65_536
# Waits for needs, beyond which one more counts as work.
_WAITS_MAX = 500
# How often to look whether a bot that sends no more is there to read, in seconds.
_WATCH_S = 1.0


@dataclass(slots=True)
class Counts:
    """What has passed over all connections; see `ControlStatistics`."""

    accepted: int = 0
    turned_away: int = 0
    cut_off: int = 0
    calls: int = 0
    refusals: int = 0
    defects: int = 0


class Connection:
    """Serve one connection until the bot ends it, or has to be cut off.

    Args:
      stream: The connection.
      answer: Answers a request, or raises the error that is the answer.
      at_once: Answers it if it can without waiting, else returns None.
      name: For the log.
      settings: The bounds.
      write_timeout_s: How long the bot may take to read a piece of an answer, in seconds.
      patience_s: The same for a bot that has subscribed to something: it may pause.
      opener: Opens subscriptions; None if there is nothing to subscribe to.
      encoder: Makes lines of updates.
      counts: Where to count.
      rng: Where references of defects come from.
      masker: What every error, and every answer that is no data, goes through.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        answer: Answer,
        *,
        at_once: AtOnce | None,
        name: str,
        settings: ControlSettings,
        write_timeout_s: float,
        patience_s: float,
        opener: Opener | None,
        encoder: UpdateEncoder,
        counts: Counts,
        rng: random.Random,
        masker: Masker,
    ) -> None:
        self._masker = masker
        self._stream = stream
        self._answer = answer
        self._at_once = at_once or _never
        self._name = name
        self._write_timeout_s = write_timeout_s
        self._patience_s = patience_s
        self._counts = counts
        self._rng = rng
        self._parser = RequestParser(settings.request_bytes_max)
        self._workers_max = settings.requests_in_flight_max
        self._workers = self._waits = 0
        self._reading = False
        self._ended = False
        self._served = False
        self._written = ""
        self._writing = trio.Lock()
        self._subscribers = Subscribers(
            opener, encoder, write=self._write_updates, ended=self._end_if_served
        )

    async def serve(self) -> None:
        """Return when the bot has ended the connection and everything it asked is answered.

        Raises:
          trio.BrokenResourceError: The bot has gone without waiting; alone or in a group.
        """
        async with trio.open_nursery() as self._nursery:
            self._start_worker()
        if self._nursery.cancel_scope.cancelled_caught and not self._served:
            # The deadline of a write has passed; see `_write`.
            self._counts.cut_off += 1
            _log.warning("%s: cut off: %s are not read", self._name, self._written)

    def _start_worker(self) -> None:
        self._workers += 1
        self._nursery.start_soon(self._work)

    async def _work(self) -> None:
        while not self._reading and not self._ended:
            self._reading = True
            call = await self._next_call()
            self._reading = False
            if call is None:
                self._ended = True
                self._nursery.start_soon(self._watch)
                break
            # Who waits for a need is no work, and must not be in the way of what else his bot asks.
            waits = isinstance(call.message, AwaitNeed) and self._waits < _WAITS_MAX
            self._waits += waits
            if self._workers - self._waits < self._workers_max:
                self._start_worker()
            await self._handle(call)
            self._waits -= waits
        # Not in a `finally`: a worker that was cancelled has not done its work.
        self._workers -= 1
        self._end_if_served()

    def _end_if_served(self) -> None:
        """End when the bot sends no more, and nothing it asked for is still to come."""
        scope = self._nursery.cancel_scope
        if self._ended and not self._workers and not self._subscribers and not scope.cancel_called:
            self._served = True
            scope.cancel()

    async def _watch(self) -> None:
        """Stop the work for a bot that has not only ended its sending, but gone."""
        while not has_hung_up(self._stream):  # noqa: ASYNC110 - nothing tells of it by itself
            await trio.sleep(_WATCH_S)
        raise trio.BrokenResourceError(f"{self._name} has gone")

    async def _next_call(self) -> Call | None:
        """Return the next call; None if no more will come. What is no call is answered here."""
        while True:
            parsed = self._parser.next()
            if isinstance(parsed, Call):
                self._counts.calls += 1
                if not await self._answered_at_once(parsed):
                    return parsed
            elif isinstance(parsed, Refusal):
                self._counts.refusals += 1
                _log.debug("%s: refused: %s", self._name, parsed.error.message)
                if parsed.answered:
                    await self._send(iter(()), encode_error(parsed.id, self._masked(parsed.error)))
            elif self._parser.flooded:
                self._counts.cut_off += 1
                _log.warning("%s: cut off: nothing sensible comes", self._name)
                return None
            else:
                data = await self._stream.receive_some(_RECEIVE_BYTES)
                if not data:
                    return None
                self._parser.feed(data)

    async def _answered_at_once(self, call: Call) -> bool:
        try:
            value = self._at_once(call.message)
        except Exception as error:  # noqa: BLE001 - an answer too, or a defect
            await self._reply_error(call, error)
            return True
        if value is not None:
            await self._reply(call, value)
        return value is not None

    async def _handle(self, call: Call) -> None:
        try:
            value = await self._ask(call)
        except Exception as error:  # noqa: BLE001 - an answer too, or a defect; no cancellation
            await self._reply_error(call, error)
        else:
            await self._reply(call, value)
            if isinstance(value, Subscribed):
                self._subscribers.begin(value.subscription)

    async def _reply(self, call: Call, value: object) -> None:
        if not call.answered:
            return
        try:
            masked = type(call.message) in MASKED
            pieces = encode_result(call, value, self._masker.mask_json if masked else None)
            # Made here, so that a value that cannot be encoded is told from a bot that has gone.
            first = next(pieces)
        except Exception as error:  # noqa: BLE001 - a defect
            await self._reply_error(call, error)
        else:
            await self._send(pieces, first)

    async def _reply_error(self, call: Call, error: Exception) -> None:
        wire = self._error(call, error)
        if call.answered:
            await self._send(iter(()), encode_error(call.id, self._masked(wire)))

    async def _ask(self, call: Call) -> object:
        if call.timeout_s is None:
            return await self._dispatch(call.message)
        with trio.move_on_after(call.timeout_s):
            return await self._dispatch(call.message)
        kind = type(call.message).__name__
        late = CallTimeout(f"no answer to {kind} within {call.timeout_s:g} s")
        raise in_doubt(call.message, late)

    async def _dispatch(self, message: Request[Any]) -> object:
        """Return the answer to `message`; two of the methods are about this connection."""
        if isinstance(message, Subscribe):
            return await self._subscribers.open(message, self._nursery)
        if isinstance(message, Unsubscribe):
            return self._subscribers.close(message)
        return await self._answer(message)

    def _masked(self, error: WireError) -> WireError:
        mask = self._masker.mask
        # The name of a parameter that is unknown may be anything, too.
        data = {k: mask(v) if isinstance(v, str) else v for k, v in error.data.items()}
        return msgspec.structs.replace(error, message=mask(error.message), data=data)

    def _error(self, call: Call, error: Exception) -> WireError:
        if isinstance(error, Malformed):
            return error.error
        wire = error_to_wire(error)
        if wire is None:
            self._counts.defects += 1
            reference = f"{self._rng.getrandbits(32):08x}"
            kind = type(call.message).__name__
            _log.error("%s: %s met a defect, %s", self._name, kind, reference, exc_info=error)
            message = f"internal error; the runtime's log has it under {reference}"
            wire = protocol_error(INTERNAL_ERROR, message, reference=reference)
        return wire

    async def _send(self, pieces: Iterator[bytes], first: bytes) -> None:
        """Write one answer, `first` and then `pieces`; nothing of another comes in between."""
        try:
            # Without the trip round the scheduler that a free lock's `acquire` makes.
            self._writing.acquire_nowait()
        except trio.WouldBlock:
            await self._writing.acquire()
        try:
            await self._write(first)
            for piece in pieces:
                await self._write(piece)
        finally:
            self._writing.release()

    async def _write_updates(self, make: Callable[[], bytes]) -> None:
        """Write the line that `make` returns when it is its turn."""
        async with self._writing:
            await self._write(make())

    async def _write(self, piece: bytes) -> None:
        # The connection's own scope, because only one task writes at a time and a bot that does
        # not read is cut off whole. A scope for each write costs more than the write.
        scope = self._nursery.cancel_scope
        patience_s = self._write_timeout_s
        self._written = "answers"
        if self._subscribers:
            # What stands before the piece in the buffers may be updates, which are read at leisure.
            patience_s, self._written = self._patience_s, "updates"
        scope.deadline = trio.current_time() + patience_s
        await self._stream.send_all(piece)
        scope.deadline = math.inf


def _never(_: Request[Any]) -> None:
    return None
