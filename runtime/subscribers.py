"""The subscriptions of one connection: opened, written to the bot as it reads, and ended.

Each is a task of the connection. It takes updates from its queue only when it may write, so what a
bot does not read stays in the queue, where the subscription's policy says what becomes of it; the
runtime, other bots and even this bot's other subscriptions go on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

import trio

from actors.errors import InvalidRequest, Overloaded
from actors.messages import Subscribe, Unsubscribe
from actors.updates import MarketUpdate, Subscribed, Unsubscribed
from runtime.update_lines import UpdateEncoder

# Subscriptions of one connection; each may be of a thousand markets.
SUBSCRIPTIONS_MAX = 32


class UpdateStream(Protocol):
    """The updates of one subscription; see `actors.market_stream.MarketStream`."""

    async def wait(self) -> None:
        """Return when `take` has something to give."""

    def take(self) -> MarketUpdate | None:
        """Return the next update without waiting; None if there is none."""


Opener: TypeAlias = Callable[[Subscribe], AbstractAsyncContextManager[UpdateStream]]
"""Opens a subscription for as long as a block runs; raises the error that is the answer."""


class Subscribers:
    """The subscriptions of one connection.

    Bound: `SUBSCRIPTIONS_MAX` of them.

    Args:
      opener: Opens one; None if there is nothing to subscribe to.
      encoder: Makes lines; shared by all connections.
      write: Writes the line that a function makes, when its turn has come.
      ended: Called when one has ended.
    """

    def __init__(
        self,
        opener: Opener | None,
        encoder: UpdateEncoder,
        *,
        write: Callable[[Callable[[], bytes]], Awaitable[None]],
        ended: Callable[[], None],
    ) -> None:
        self._opener = opener
        self._encoder = encoder
        self._write = write
        self._ended = ended
        self._open: dict[int, _Subscriber] = {}
        self._last = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._open)

    async def open(self, request: Subscribe, nursery: trio.Nursery) -> Subscribed:
        """Open a subscription as a task of `nursery`; its updates wait for `begin`.

        Raises:
          Overloaded: There are too many.
          Exception: What the opener raises.
        """
        if self._opener is None:
            raise InvalidRequest("this runtime has nothing to subscribe to")
        if len(self._open) >= SUBSCRIPTIONS_MAX:
            raise Overloaded(
                f"a connection may have {SUBSCRIPTIONS_MAX} subscriptions and has as many; "
                "unsubscribe, name more markets in one, or open another connection"
            )
        self._last += 1
        subscriber = _Subscriber(self._last)
        self._open[subscriber.number] = subscriber
        nursery.start_soon(self._run, self._opener, request, subscriber)
        try:
            await subscriber.opened.wait()
        except trio.Cancelled:
            # Nobody waits for the answer, so nobody would ever end it.
            subscriber.close()
            raise
        if subscriber.error is not None:
            raise subscriber.error
        return Subscribed(subscription=subscriber.number)

    def begin(self, number: int) -> None:
        """Let updates of a subscription be written: the bot has been told its number."""
        if number in self._open:
            self._open[number].answered.set()

    def close(self, request: Unsubscribe) -> Unsubscribed:
        """End a subscription; what was not written yet is not written any more.

        Raises:
          InvalidRequest: There is none of that number.
        """
        subscriber = self._open.pop(request.subscription, None)
        if subscriber is None:
            numbers = ", ".join(map(str, self._open)) or "none"
            raise InvalidRequest(
                f"this connection has no subscription {request.subscription}; it has {numbers}"
            )
        subscriber.close()
        return Unsubscribed(subscription=request.subscription)

    async def _run(self, opener: Opener, request: Subscribe, subscriber: _Subscriber) -> None:
        try:
            with subscriber.scope:
                async with opener(request) as stream:
                    subscriber.opened.set()
                    await subscriber.answered.wait()
                    await self._pump(subscriber, stream)
        except Exception as error:
            if subscriber.opened.is_set():
                raise
            subscriber.error = error
        finally:
            subscriber.opened.set()
            self._open.pop(subscriber.number, None)
            self._ended()

    async def _pump(self, subscriber: _Subscriber, stream: UpdateStream) -> None:
        """Write updates until the subscription is closed."""

        def make() -> bytes:
            # Called when it is this line's turn, so that nothing is older than it must be.
            subscriber.writing = True
            return self._encoder.line(subscriber.number, stream.take)

        while not subscriber.closed:
            try:
                await stream.wait()
            except trio.EndOfChannel:
                return
            await self._write(make)
            subscriber.writing = False


class _Subscriber:
    """One subscription of one connection.

    Attributes:
      number: Its number on the connection.
      opened: Set when it could be opened, or when `error` says why not.
      answered: Set when the bot has been told its number.
      writing: Whether a line of it is being written.
      closed: Whether it is to end.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.scope = trio.CancelScope()
        self.opened = trio.Event()
        self.answered = trio.Event()
        self.error: Exception | None = None
        self.writing = False
        self.closed = False

    def close(self) -> None:
        """End it; a line that is being written is finished, or nothing could follow it."""
        self.closed = True
        if not self.writing:
            self.scope.cancel()
