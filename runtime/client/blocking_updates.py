"""A subscription for programs without an event loop: a connection of its own, read as one reads.

What is not read stays with the runtime, which keeps of it what the subscription says; so a program
that pauses slows nobody and needs no memory.
"""

from __future__ import annotations

import math
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from actors.messages import Subscribe
from actors.updates import MarketUpdate, Missed
from runtime.client.answers import AnswerParser, encode_call, read_subscribed, read_updates
from runtime.core.errors import CallTimeout
from runtime.transport import RuntimeUnreachable, connect_blocking, unreachable
from runtime.wire_errors import error_from_wire

# How long to wait before a further try to find the runtime again, in seconds.
RETRY_S = 0.2

_RECEIVE_BYTES = 65_536


class BlockingUpdates:
    """Updates of one subscription, one after the other; made by `BlockingClient.subscribe`.

    State: one connection, or none while the runtime is away.

    Args:
      path: The runtime's socket.
      request: What to be told.
      timeout_s: How long to wait for it to begin, in seconds; again after each restart.
      now_s: Monotonic seconds.
    """

    def __init__(
        self, path: Path, request: Subscribe, *, timeout_s: float, now_s: Callable[[], float]
    ) -> None:
        self._path = path
        self._request = request
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._connection: socket.socket | None = None
        self._parser = AnswerParser()
        self._subscription = 0
        self._updates: deque[MarketUpdate] = deque()
        self._give_up_s = 0.0
        self._closed = False
        self._pause = threading.Event()

    def __enter__(self) -> Self:
        """Begin.

        Raises:
          DomainError: The answer is an error.
          CallTimeout: It took too long.
          RuntimeUnreachable: No runtime could be reached.
        """
        self._open(self._now_s() + self._timeout_s)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End."""
        self._closed = True
        self._updates.clear()
        self._drop()

    def __iter__(self) -> Iterator[MarketUpdate]:
        """Iterate over updates until the block ends."""
        return self

    def __next__(self) -> MarketUpdate:
        """Return the next update, waiting for it; raises as `next_within`."""
        update = self.next_within(math.inf)
        if update is None:
            raise StopIteration
        return update

    def next_within(self, timeout_s: float) -> MarketUpdate | None:
        """Return the next update; None if none comes within `timeout_s`, or the block has ended.

        Raises:
          RuntimeUnreachable: The runtime went away and did not come back in time.
          RemoteError: What came is no update.
        """
        until_s = self._now_s() + timeout_s
        while not self._updates:
            if self._closed:
                return None
            if self._connection is None:
                is_in_time = self._find_again(until_s)
            else:
                is_in_time = self._read(self._connection, until_s)
            if not is_in_time:
                return None
        return self._updates.popleft()

    def _read(self, connection: socket.socket, until_s: float) -> bool:
        """Read what there is; return False if the time is over."""
        try:
            self._receive(connection, until_s)
        except TimeoutError:
            return False
        except OSError:
            self._drop()
            self._give_up_s = self._now_s() + self._timeout_s
            return True
        while (answer := self._parser.next()) is not None:
            if answer.error is not None:
                raise error_from_wire(answer.error)
            self._updates.extend(read_updates(answer, self._subscription))
        return True

    def _find_again(self, until_s: float) -> bool:
        """Try to subscribe anew after the connection was lost; return False if time is over."""
        try:
            self._open(self._give_up_s)
        except (RuntimeUnreachable, CallTimeout):
            now_s = self._now_s()
            if now_s >= self._give_up_s:
                raise
            self._pause.wait(min(RETRY_S, max(0.0, until_s - now_s)))
            return self._now_s() < until_s
        self._updates.appendleft(Missed(count=None, why="reconnected"))
        return True

    def _open(self, deadline_s: float) -> None:
        self._parser = AnswerParser()
        try:
            remaining_s = self._remaining_s(deadline_s)
            self._connection = connect_blocking(self._path, timeout_s=remaining_s)
            self._connection.settimeout(remaining_s)
            self._connection.sendall(encode_call(1, self._request, timeout_s=remaining_s))
            while (answer := self._parser.next()) is None:
                self._receive(self._connection, deadline_s)
            self._subscription = read_subscribed(self._request, answer)
        except TimeoutError as error:
            self._drop()
            raise CallTimeout(f"no answer to Subscribe within {self._timeout_s:g} s") from error
        except OSError as error:
            self._drop()
            raise unreachable(self._path, error) from error
        except BaseException:
            self._drop()
            raise
        # What came with the answer is there already, and nothing need be received first.
        while (answer := self._parser.next()) is not None:
            self._updates.extend(read_updates(answer, self._subscription))

    def _receive(self, connection: socket.socket, until_s: float) -> None:
        connection.settimeout(None if math.isinf(until_s) else self._remaining_s(until_s))
        data = connection.recv(_RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("it closed the connection")
        self._parser.feed(data)

    def _remaining_s(self, deadline_s: float) -> float:
        remaining_s = deadline_s - self._now_s()
        if remaining_s <= 0:
            raise TimeoutError
        return remaining_s

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
