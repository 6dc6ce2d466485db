"""Updates on the wire: notifications, each with as many updates as have piled up.

{"jsonrpc":"2.0","method":"update","params":{"subscription":1,"updates":[{"event":"ticker",…}]}}
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from actors.updates import MarketUpdate, Missed

# A line is ended when it is so long, so that what is newest is looked for again soon.
LINE_BYTES = 64 * 1024
# Encoded updates kept for further subscribers: they all want one within moments.
_KEPT = 1_024

_encode = msgspec.json.Encoder().encode


class UpdateEncoder:
    """Makes lines of updates; encodes one that many subscribers get only once.

    Bound: `_KEPT` encoded updates.
    """

    def __init__(self) -> None:
        # With the update itself, which must live as long as its id stands for it.
        self._encoded: OrderedDict[int, tuple[MarketUpdate, bytes]] = OrderedDict()

    def line(self, subscription: int, take: Callable[[], MarketUpdate | None]) -> bytes:
        """Return the line with what `take` gives, until it is long or `take` gives None."""
        parts: list[bytes] = []
        size = 0
        while size < LINE_BYTES and (update := take()) is not None:
            part = self.encode(update)
            parts.append(part)
            size += len(part) + 1
        return (
            b'{"jsonrpc":"2.0","method":"update","params":{"subscription":%d,"updates":[%b]}}\n'
            % (subscription, b",".join(parts))
        )

    def encode(self, update: MarketUpdate) -> bytes:
        """Return one update as JSON."""
        if isinstance(update, Missed):
            # Made for one subscriber.
            return _encode(update)
        known = self._encoded.get(id(update))
        if known is not None:
            return known[1]
        encoded = _encode(update)
        self._encoded[id(update)] = (update, encoded)
        if len(self._encoded) > _KEPT:
            self._encoded.popitem(last=False)
        return encoded
