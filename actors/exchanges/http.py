"""The wire to an exchange: httpx over trio, behind one small class.

Nothing but `ThrottledExchange` should hold a sender; it asks for a permit before each `send`.

Proxies: those of the environment (`HTTPS_PROXY`, `NO_PROXY` and so on) are used, as users expect,
except for an exchange on this machine, which no proxy could reach.

Error handling: no error of httpx, h11, ssl or anyio escapes; cancellation always does.
"""

from __future__ import annotations

import ipaddress
import ssl
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx
import trio

from actors.errors import MalformedPayload
from actors.exchanges.base import ExchangeCall
from actors.exchanges.sender import RawResponse, SendFailed

BODY_BYTES_MAX = 16 * 1024 * 1024

# An idle connection is kept this long. Bots come back every few seconds to a minute, and a new TLS
# connection costs two round trips.
_KEEP_ALIVE_S = 60.0

# What can only happen before the first byte of a request is written.
_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


@asynccontextmanager
async def open_http_sender(
    base_url: str,
    *,
    timeout_s: float,
    connections_max: int,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[HttpSender]:
    """Open connections to one exchange for as long as the block runs.

    Args:
      base_url: Scheme and host, e.g. `https://api.upbit.com`; a path is put before every call's.
      timeout_s: Most seconds from the beginning of a `send` to its last byte.
      connections_max: Most connections, and most requests under way; one more waits for its turn.
      transport: Used in place of the network, in tests and with the embedded sandbox.

    Raises:
      ValueError: A setting cannot work; the message says which.
    """
    url = _check_base_url(base_url)
    if not 0 < timeout_s < float("inf"):
        raise ValueError(f"timeout_s must be above zero and finite, was {timeout_s}")
    if connections_max < 1:
        raise ValueError(f"connections_max must be at least 1, was {connections_max}")
    async with httpx.AsyncClient(
        base_url=url,
        # No `Origin`: with one, Upbit allows a request every ten seconds.
        headers={"User-Agent": user_agent(), "Accept-Encoding": "gzip"},
        # An exchange that remembers us by cookies would be one more hidden state.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        # The deadline of the whole is set in `send`. Of a host that is not there we want to know it
        # before that: then nothing was sent, and the request costs nothing.
        timeout=httpx.Timeout(timeout_s, connect=timeout_s / 2),
        limits=httpx.Limits(
            max_connections=connections_max,
            max_keepalive_connections=connections_max,
            keepalive_expiry=_KEEP_ALIVE_S,
        ),
        trust_env=not _is_this_machine(url.host),
        transport=transport,
    ) as client:
        yield HttpSender(client, timeout_s=timeout_s, connections_max=connections_max)


class HttpSender:
    """Sends questions to one exchange. Made by `open_http_sender`."""

    def __init__(
        self, client: httpx.AsyncClient, *, timeout_s: float, connections_max: int
    ) -> None:
        self._client = client
        self._host = client.base_url.netloc.decode("ascii")
        self._timeout_s = timeout_s
        # httpx offers one freed connection to everybody who waits for one, at ten times the cost
        # (encode/httpcore#1035); so nobody is let in who would have to wait there.
        self._turns = trio.CapacityLimiter(connections_max)

    async def send(self, call: ExchangeCall[Any]) -> RawResponse:
        """Send `call` and return the whole response, whatever its status.

        Raises:
          SendFailed: No whole response came in time; names the host and the cause.
          MalformedPayload: One came that is too large, or whose compression is broken.
        """
        request_began = False
        with trio.move_on_after(self._timeout_s):
            async with self._turns:
                request_began = True
                return await self._exchange(call)
        raise SendFailed(
            f"{self._host}: no whole answer within {self._timeout_s:g} s", sent=request_began
        )

    async def _exchange(self, call: ExchangeCall[Any]) -> RawResponse:
        try:
            # A path that is joined as text stays below the base URL, whatever it is.
            request = self._client.build_request(
                call.method, call.target, headers=list(_headers(call)), content=call.body or None
            )
            response = await self._client.send(request, stream=True)
            async with aclosing(response):
                body = await self._read(response)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            sent = not isinstance(error, _NOTHING_SENT)
            raise SendFailed(f"{self._host}: {_in_words(error)}", sent=sent) from error
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            # Not seen so far; httpx means to map them all.
            raise SendFailed(f"{self._host}: {_in_words(error)}", sent=True) from error
        headers = {name.lower(): value for name, value in response.headers.items()}
        return RawResponse(response.status_code, headers, body)

    async def _read(self, response: httpx.Response) -> bytes:
        if response.is_stream_consumed:
            # Made whole in this process by another transport, and unpacked already.
            return self._bounded(response.content)
        raw = bytearray()
        with trio.CancelScope() as reading:
            async for chunk in response.aiter_raw():
                raw += chunk
                if len(raw) > BODY_BYTES_MAX:
                    # Not `break`: httpx reads through a chain of generators, and those left in the
                    # middle complain when they are collected. Cancelled, the innermost ends them.
                    reading.cancel()
        packed = response.headers.get("content-encoding", "identity").strip().lower()
        body = self._bounded(bytes(raw))
        return body if packed == "identity" else self._unpack(body, packed)

    def _unpack(self, raw: bytes, packed: str) -> bytes:
        if packed != "gzip":
            raise MalformedPayload(f"{self._host}: wanted a body as gzip, was {packed[:40]!r}")
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            body = self._bounded(unpacker.decompress(raw, BODY_BYTES_MAX + 1))
        except zlib.error as error:
            raise MalformedPayload(f"{self._host}: wanted a body as gzip: {error}") from error
        if not unpacker.eof:
            raise MalformedPayload(f"{self._host}: wanted a whole gzip body, was the beginning")
        return body

    def _bounded(self, body: bytes) -> bytes:
        if len(body) > BODY_BYTES_MAX:
            raise MalformedPayload(
                f"{self._host}: wanted a body of at most {BODY_BYTES_MAX} bytes, was more"
            )
        return body


def _headers(call: ExchangeCall[Any]) -> Iterator[tuple[str, str]]:
    if call.body:
        yield "Content-Type", "application/json"
    yield from call.headers


def _check_base_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"base_url must be a URL, was {text!r} ({error})") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"base_url must begin with http:// or https:// and a host, was {text!r}")
    return url


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def user_agent() -> str:
    """Return how we name ourselves to exchanges."""
    try:
        return f"marketd/{version('marketd')}"
    except PackageNotFoundError:
        # Run from a checkout that was never installed.
        return "marketd/0"


def _in_words(error: BaseException) -> str:
    """Return the error's own words, or those of what caused it, with its kind."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        if text := str(cause):
            return f"{text} ({type(error).__name__})"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
