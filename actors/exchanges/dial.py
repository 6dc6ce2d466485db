"""From a URL to a byte stream: name, TCP, TLS. Nothing of what is said on it.

Everything that goes wrong here goes wrong before a word of ours has reached the exchange.
"""

from __future__ import annotations

import socket
import ssl
from urllib.parse import SplitResult, urlsplit

import trio

from actors.exchanges.streams import StreamLost

# A peer that vanishes says nothing. The system asks it after so many seconds of silence, again so
# often, and gives it up after so many more; without that it takes hours, or for ever.
_PATIENCE = (
    ("TCP_KEEPIDLE", 30),
    ("TCP_KEEPINTVL", 10),
    ("TCP_KEEPCNT", 3),
    # In milliseconds: how long what was sent may stay unconfirmed.
    ("TCP_USER_TIMEOUT", 30_000),
)

_WORDS_MAX = 300


async def dial(target: SplitResult, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    """Return a stream to where a URL points, encrypted if it says so.

    Args:
      target: The URL, as `check_url` returned it.
      tls: Whom to trust and how; the system's own trust, and names checked, if not given.

    Raises:
      StreamLost: There is none; nothing was sent.
    """
    host = target.hostname or ""
    is_secure = target.scheme == "wss"
    port = target.port or (443 if is_secure else 80)
    try:
        stream = await trio.open_tcp_stream(host, port)
        try:
            _be_impatient(stream)
            return await _secure(stream, host, tls) if is_secure else stream
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
    # A name that cannot be one is a UnicodeError, and TLS a broken resource.
    except (OSError, UnicodeError, trio.BrokenResourceError) as error:
        raise StreamLost(f"{target.netloc}: {in_words(error)}", sent=False) from error


def check_url(text: str) -> SplitResult:
    """Return a URL in parts.

    Raises:
      ValueError: It is none that a stream could have.
    """
    try:
        url = urlsplit(text)
        is_good = url.scheme in {"ws", "wss"} and bool(url.hostname) and url.port != 0
    except ValueError:
        is_good = False
    if not is_good or url.username is not None or not text.isascii() or not text.isprintable():
        raise ValueError(f"url must begin with ws:// or wss:// and a host, was {text!r}")
    return url


def in_words(error: BaseException) -> str:
    """Return the error's own words, or those of what caused it, with its kind."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, OSError) or (str(cause) and cause.__cause__ is None):
            return f"{cause} ({type(cause).__name__})"
        cause = cause.__cause__
    return type(error).__name__


def printable(words: str) -> str:
    """Return what a peer said, safe for a log and short enough for one."""
    return "".join(each if each.isprintable() else " " for each in words[:_WORDS_MAX])


async def _secure(
    stream: trio.SocketStream, host: str, tls: ssl.SSLContext | None
) -> trio.abc.Stream:
    context = tls or ssl.create_default_context()
    secure = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
    await secure.do_handshake()
    return secure


def _be_impatient(stream: trio.SocketStream) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PATIENCE:
        # Not every system has every one of them.
        if (option := getattr(socket, name, None)) is not None:
            stream.setsockopt(socket.IPPROTO_TCP, option, value)
