"""The sandbox exchange inside the process, as a transport for httpx: no socket, any clock.

Latency is waited for on trio's clock, so on fake time a slow exchange costs nothing.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import NoReturn

import httpx
import trio

from actors.sandbox.exchange import Answer, SandboxExchange
from actors.sandbox.faults import Fault


class SandboxTransport(httpx.AsyncBaseTransport):
    """Carry requests to a sandbox exchange after a while, and its answers back after another.

    Args:
      exchange: What answers.
      latency_s: How long a request and its answer are under way together, in seconds.
      jitter_s: How much longer, at most, each of the two ways may take.
      rng: Decides about the jitter; needed if there is any.
      client: The address the requests come from.
    """

    def __init__(
        self,
        exchange: SandboxExchange,
        *,
        latency_s: float = 0.0,
        jitter_s: float = 0.0,
        rng: random.Random | None = None,
        client: str = "127.0.0.1",
    ) -> None:
        if jitter_s and rng is None:
            raise ValueError("jitter needs an rng to decide about it")
        self._exchange = exchange
        self._latency_s = latency_s
        self._jitter_s = jitter_s
        self._rng = rng or random.Random(0)  # noqa: S311 - simulated delays, not secrets
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the exchange's response; raise what httpx raises when there is none."""
        read_s = request.extensions.get("timeout", {}).get("read")
        with trio.move_on_after(float("inf") if read_s is None else read_s):
            await self._travel()
            answer = self._handle(request, await request.aread())
            if answer.delivery is Fault.AWAY:
                raise httpx.ConnectError("All connection attempts failed", request=request)
            if answer.delivery is Fault.HANG:
                await trio.sleep_forever()
            await self._travel()
            return _response(answer, request)
        raise httpx.ReadTimeout(f"no answer within {read_s} s", request=request)

    def _handle(self, request: httpx.Request, body: bytes) -> Answer:
        target = request.url.raw_path.decode("ascii")
        headers = request.headers.multi_items()
        return self._exchange.handle(request.method, target, headers, self._client, body)

    async def _travel(self) -> None:
        await trio.sleep(self._latency_s / 2 + self._jitter_s * self._rng.random())


def _response(answer: Answer, request: httpx.Request) -> httpx.Response:
    length = ("Content-Length", str(len(answer.body)))
    cut = answer.delivery is Fault.HALF_BODY
    stream = _HalfStream(answer.body, request) if cut else httpx.ByteStream(answer.body)
    return httpx.Response(
        answer.status, headers=[*answer.headers, length], stream=stream, request=request
    )


class _HalfStream(httpx.AsyncByteStream):
    """A body that breaks off in the middle, as when the connection is cut."""

    def __init__(self, body: bytes, request: httpx.Request) -> None:
        self._body = body
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give half of the body, then fail."""
        yield self._body[: len(self._body) // 2]
        self._break_off()

    def _break_off(self) -> NoReturn:
        raise httpx.RemoteProtocolError(
            "peer closed connection without sending complete message body",
            request=self._request,
        )
