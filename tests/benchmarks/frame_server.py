"""Sends live frames as fast as they are taken: `python frame_server.py MARKETS ROUNDS`.

Serves one connection after the other: answers the handshake, waits for the first text, and sends
everything. The frames are put together beforehand, so that it is never what is waited for.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

START_MS = 1_676_965_262_139
# RFC 6455, 1.3: what a server adds to the client's key.
KEY_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
FIN_BINARY = 0x82
SHORT_MAX = 125
LEVELS = 30

Payload = dict[str, Any]


def frame(payload: Payload) -> bytes:
    """Return a binary frame as a server sends it."""
    data = json.dumps(payload, separators=(",", ":")).encode()
    if len(data) <= SHORT_MAX:
        return struct.pack("!BB", FIN_BINARY, len(data)) + data
    return struct.pack("!BBH", FIN_BINARY, SHORT_MAX + 1, len(data)) + data


def ticker(code: str, n: int) -> Payload:
    """Return a ticker in the exchange's short names."""
    prices = {"op": 31883000.0, "hp": 32310000.0, "lp": 31855000.0, "tp": 32287000.0 + n}
    changes = {"c": "RISE", "cp": 404000.0, "scp": 404000.0, "cr": 0.0126713295}
    sums = {"atp": 78039261076.5124, "atv": 2429.58834336, "aav": 1146.25573608}
    year = {"h52wp": 57678000.0, "h52wdt": "2022-03-28", "l52wp": 20700000.0}
    rest = {"l52wdt": "2022-12-30", "ms": "ACTIVE", "its": False, "dd": None, "mw": "NONE"}
    return {
        "ty": "ticker",
        "cd": code,
        **prices,
        "pcp": 31883000.0,
        **changes,
        "scr": 0.0126713295,
        "ab": "BID",
        "tv": 0.03103806,
        **sums,
        "abv": 1283.33260728,
        "tdt": "20230221",
        "ttm": "074102",
        "ttms": START_MS + n,
        **year,
        **rest,
        "tms": START_MS + 38 + n,
        "atp24h": 228827082483.70728,
        "atv24h": 7158.8028356,
        "st": "REALTIME",
    }


def trade(code: str, n: int) -> Payload:
    """Return a trade in the exchange's short names."""
    best = {"bap": 32289000, "bas": 0.0099545, "bbp": 32287000, "bbs": 0.1583673}
    return {
        "ty": "trade",
        "cd": code,
        "tms": START_MS + 38 + n,
        "td": "2023-02-21",
        "ttm": "07:41:02",
        "ttms": START_MS + n,
        "tp": 32287000.0,
        "tv": 0.03103806,
        "ab": "BID",
        "pcp": 31883000.0,
        "c": "RISE",
        "cp": 404000.0,
        "sid": START_MS * 10_000 + n,
        **best,
        "st": "REALTIME",
    }


def book(code: str, n: int) -> Payload:
    """Return an order book of 30 levels in the exchange's short names."""
    units = [
        {
            "ap": 32288000.0 + 1000 * i,
            "bp": 32287000.0 - 1000 * i,
            "as": 0.0134662 + i,
            "bs": 0.04296774 + i,
        }
        for i in range(LEVELS)
    ]
    sums = {"tas": 10.37591054, "tbs": 9.49577219}
    times = {"tms": START_MS + 38 + n, "st": "REALTIME"}
    return {"ty": "orderbook", "cd": code, **sums, "obu": units, "lv": 0, **times}


def frames(markets: int, rounds: int) -> Iterator[bytes]:
    """Yield every frame, one of each kind for each market in turn."""
    codes = [f"KRW-M{number:03d}" for number in range(markets)]
    for n in range(rounds):
        for code in codes:
            yield from (frame(make(code, n)) for make in (ticker, trade, book))


def shake_hands(peer: socket.socket) -> None:
    """Answer a client's handshake, without compression."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(65536)
    lines = [line.partition(": ") for line in request.decode().split("\r\n")]
    key = next(value for name, _, value in lines if name.lower() == "sec-websocket-key")
    digest = hashlib.sha1((key + KEY_SUFFIX).encode()).digest()  # noqa: S324 - the protocol's own
    answer = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}",
    ]
    peer.sendall("\r\n".join([*answer, "", ""]).encode())


def main() -> None:
    """Serve until killed."""
    everything = b"".join(frames(int(sys.argv[1]), int(sys.argv[2])))
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        peer, _ = listener.accept()
        with peer, suppress(OSError):
            shake_hands(peer)
            peer.recv(65536)
            peer.sendall(everything)
            while peer.recv(65536):
                pass


if __name__ == "__main__":
    main()
