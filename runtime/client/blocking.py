"""A client for programs without an event loop: plain sockets, usable from several threads.

    with connect() as market:
        candles = market.candles("KRW-BTC", "1m", 200)

It connects when it is first asked, and again by itself after the runtime was restarted. Calls from
several threads take turns; programs that want many at once open one client a thread. With asyncio,
hand its methods to `asyncio.to_thread`.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from actors.messages import GetCandles
from actors.outcomes import in_doubt
from runtime.client.answers import Answer, AnswerParser, connection_error, encode_call
from runtime.client.blocking_base import SyncClient, Updates
from runtime.client.blocking_updates import BlockingUpdates
from runtime.client.requests import TIMEOUT_S, Keep, Kind, check_time, subscribe_request
from runtime.config import load_settings
from runtime.core.errors import CallTimeout
from runtime.core.message import Request
from runtime.messages import SENT_ONCE
from runtime.paths import socket_path
from runtime.protocol import TIMEOUT_S_MAX
from runtime.transport import RuntimeUnreachable, connect_blocking, unreachable
from runtime.wire import result_from_wire
from runtime.wire_errors import error_from_wire

T = TypeVar("T")

_RECEIVE_BYTES = 65_536


def connect(socket: str | os.PathLike[str] | None = None) -> BlockingClient:
    """Return a client of the runtime on this machine.

    Args:
      socket: Path of its socket; the one that the settings name if None.

    Raises:
      SettingsError: The settings are wrong.
    """
    return BlockingClient(socket_path(load_settings(), socket))


class BlockingClient(SyncClient):
    """Asks the runtime over its local socket.

    State: one connection, made when needed. What goes wrong with it never spoils the client.

    Args:
      path: The runtime's socket.
      now_s: Monotonic seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        now_s: Callable[[], float] = time.monotonic,  # noqa: TID251 - no trio clock without trio
    ) -> None:
        self.path = path
        self._now_s = now_s
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._parser = AnswerParser()
        self._last_id = 0
        self._pid = os.getpid()

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; asking again opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._parser = AnswerParser()

    def ask(self, message: Request[T], timeout_s: float = TIMEOUT_S) -> T:
        """Return the answer to any message, within `timeout_s` seconds.

        Raises:
          DomainError: The answer is an error: of the request, the exchange or the store.
          ActorError: The runtime did not come to an answer.
          CallTimeout: It took too long, or other threads' calls did. The client stays usable.
          RuntimeUnreachable: No runtime could be reached, or it went away with the request.
        """
        answer = self.ask_raw(message, timeout_s, packed=isinstance(message, GetCandles))
        value: T = result_from_wire(message, answer.result, answer.payload)
        return value

    def ask_raw(
        self, message: Request[Any], timeout_s: float = TIMEOUT_S, *, packed: bool = False
    ) -> Answer:
        """Return the answer to any message as it came, for who wants the JSON; raises as `ask`."""
        check_time(message, timeout_s)
        timeout_s = min(timeout_s, TIMEOUT_S_MAX)
        deadline_s = self._now_s() + timeout_s
        if not self._lock.acquire(timeout=max(0.0, timeout_s)):
            raise CallTimeout(f"other threads' calls left no turn within {timeout_s:g} s")
        try:
            answer = self._ask_twice(message, deadline_s, packed=packed)
        except TimeoutError as error:
            kind = type(message).__name__
            late = CallTimeout(f"no answer to {kind} within {timeout_s:g} s")
            raise in_doubt(message, late) from error
        except _Lost as error:
            raise in_doubt(message, RuntimeUnreachable(str(error))) from error
        finally:
            self._lock.release()
        if answer.error is not None:
            raise error_from_wire(answer.error)
        return answer

    def subscribe(
        self,
        kind: Kind,
        *markets: str,
        timeframe: str = "1m",
        closed: bool = False,
        depth: int = 15,
        keep: Keep = "auto",
        capacity: int = 1_000,
        timeout_s: float = TIMEOUT_S,
    ) -> Updates:
        """Be told as it happens; see `SyncClient.subscribe`."""
        request = subscribe_request(
            kind,
            markets,
            timeframe=timeframe,
            closed=closed,
            depth=depth,
            keep=keep,
            capacity=capacity,
        )
        return BlockingUpdates(self.path, request, timeout_s=timeout_s, now_s=self._now_s)

    def _ask_twice(self, message: Request[Any], deadline_s: float, *, packed: bool) -> Answer:
        """Ask; and once more if the runtime went away before it said a word."""
        if self._pid != os.getpid():
            # After a fork the connection is the parent's, and so are its answers.
            self.close()
            self._pid = os.getpid()
        try:
            return self._exchange(message, deadline_s, packed=packed)
        except _WentSilently:
            # What changes something may have been done; the rest only reads.
            if isinstance(message, SENT_ONCE):
                raise
        return self._exchange(message, deadline_s, packed=packed)

    def _exchange(self, message: Request[Any], deadline_s: float, *, packed: bool) -> Answer:
        try:
            return self._receive(self._send(message, deadline_s, packed=packed), deadline_s)
        except TimeoutError:
            # The answer may still come; it is known by its id then, and dropped.
            raise
        except OSError as error:
            kind = _WentSilently if self._parser.empty else _Lost
            self.close()
            raise kind(str(unreachable(self.path, error))) from error
        except BaseException:
            # Half a request may have been sent, or what came is no answer.
            self.close()
            raise

    def _send(self, message: Request[Any], deadline_s: float, *, packed: bool) -> socket.socket:
        """Send `message` under the next id, and return the connection it went over."""
        remaining_s = self._remaining_s(deadline_s)
        if self._connection is None:
            self._connection = connect_blocking(self.path, timeout_s=remaining_s)
        self._last_id += 1
        line = encode_call(self._last_id, message, packed=packed, timeout_s=remaining_s)
        connection = self._connection
        connection.settimeout(remaining_s)
        try:
            connection.sendall(line)
        except TimeoutError:
            # Part of the line is out, so nothing sensible can follow it.
            self.close()
            raise
        except ConnectionError:
            # What the runtime said last, such as why it closed, may still be there to read; if
            # there is nothing, reading finds the end as well.
            pass
        return connection

    def _receive(self, connection: socket.socket, deadline_s: float) -> Answer:
        while True:
            answer = self._parser.next()
            if answer is None:
                connection.settimeout(self._remaining_s(deadline_s))
                data = connection.recv(_RECEIVE_BYTES)
                if not data:
                    raise ConnectionResetError("it closed the connection")
                self._parser.feed(data)
            elif answer.id == self._last_id:
                return answer
            elif answer.id is None:
                # Not about a request but about the connection: there are too many, for example.
                raise connection_error(answer)

    def _remaining_s(self, deadline_s: float) -> float:
        remaining_s = deadline_s - self._now_s()
        if remaining_s <= 0:
            raise TimeoutError
        return remaining_s


class _Lost(RuntimeUnreachable):
    """The connection ended after the request was sent."""


class _WentSilently(_Lost):
    """And before any of the answer had come."""
