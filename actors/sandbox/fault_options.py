"""`--fault NAME[:NUMBER][:WHERE]`: what is to go wrong, as words on a command line.

--fault cut:60                     connections end after a minute on average
--fault stall:0:KRW-BTC            all streams of one market are silent
--fault lose:0.01:candle.1m        one candle frame of a hundred never comes
--fault maintenance:2026-01-01T17:00/2026-01-01T18:00
--fault garbage:candle             every request for candles is answered with garbage
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from actors.errors import InvalidRequest
from actors.sandbox.faults import Fault, Faults
from actors.sandbox.stream_faults import StreamFault, StreamFaults
from actors.timeframes import parse_time_ms

MAINTENANCE = "maintenance"

_GROUPS = ("market", "candle", "trade", "ticker", "orderbook", "default", "order", "order-test",
           "order-cancel-all")  # fmt: skip
_PLACES = frozenset({StreamFault.STALL, StreamFault.LOSE, StreamFault.DUPLICATE,
                     StreamFault.REORDER, StreamFault.OLD_SNAPSHOT})  # fmt: skip


class FaultOptionError(InvalidRequest):
    """A fault cannot be meant so; the message says what was wanted."""


@dataclass(slots=True)
class FaultOptions:
    """What is to go wrong.

    Attributes:
      requests: Faults of requests, each with the group it is limited to, if any.
      streams: Faults of streams, each with its number, market and type of stream.
      maintenance: When the exchange is away, in milliseconds of the market's time.
    """

    requests: list[tuple[Fault, str | None]] = field(default_factory=list)
    streams: list[tuple[StreamFault, float, str | None, str | None]] = field(default_factory=list)
    maintenance: list[tuple[int, int]] = field(default_factory=list)

    def switch_on(self, faults: Faults, stream_faults: StreamFaults) -> None:
        """Let them happen from now on."""
        for fault, group in self.requests:
            faults.switch_on(fault, group=group)
        for stream_fault, size, code, kind in self.streams:
            stream_faults.switch_on(stream_fault, size, code=code, kind=kind)


def read_faults(texts: Iterable[str]) -> FaultOptions:
    """Return what the options mean.

    Raises:
      FaultOptionError: One of them cannot be meant so.
    """
    options = FaultOptions()
    for text in texts:
        name, _, rest = text.partition(":")
        if name == MAINTENANCE:
            options.maintenance.append(_span(text, rest))
        elif name in {fault.value for fault in Fault}:
            options.requests.append((Fault(name), _group(text, rest)))
        elif name in {fault.value for fault in StreamFault}:
            options.streams.append(_stream_fault(text, StreamFault(name), rest.split(":")))
        else:
            known = [*StreamFault, MAINTENANCE, *Fault]
            raise FaultOptionError(f"--fault must be one of {' '.join(known)}; was {name!r:.60}")
    return options


def _span(text: str, rest: str) -> tuple[int, int]:
    start, slash, end = rest.partition("/")
    if not slash:
        raise FaultOptionError(
            f"--fault {MAINTENANCE} needs START/END in the market's time, as in "
            f"{MAINTENANCE}:2026-01-01T17:00/2026-01-01T18:00; was {text!r:.80}"
        )
    span = (
        parse_time_ms(start, name="--fault maintenance"),
        parse_time_ms(end, name="--fault maintenance"),
    )
    if span[1] <= span[0]:
        raise FaultOptionError(f"--fault {MAINTENANCE} must end after it begins; was {text!r:.80}")
    return span


def _group(text: str, rest: str) -> str | None:
    if rest and rest not in _GROUPS:
        raise FaultOptionError(
            f"--fault {text.partition(':')[0]} can be limited to one of {' '.join(_GROUPS)}; "
            f"was {rest!r:.60}"
        )
    return rest or None


def _stream_fault(
    text: str, fault: StreamFault, words: Sequence[str]
) -> tuple[StreamFault, float, str | None, str | None]:
    number, *places = words
    try:
        size = float(number)
    except ValueError:
        raise FaultOptionError(
            f"--fault {fault.value} needs a number, as in {fault.value}:0.5; was {text!r:.80}"
        ) from None
    if places and fault not in _PLACES:
        raise FaultOptionError(
            f"--fault {fault.value} takes nothing but a number; was {text!r:.80}"
        )
    codes = [place for place in places if place.isupper()]
    kinds = [place for place in places if not place.isupper()]
    if len(codes) > 1 or len(kinds) > 1:
        raise FaultOptionError(
            f"--fault {fault.value} can be limited to one market and one type, as in "
            f"{fault.value}:{number}:KRW-BTC:candle.1m; was {text!r:.80}"
        )
    code, kind = codes[0] if codes else None, kinds[0] if kinds else None
    try:
        StreamFaults().switch_on(fault, size, code=code, kind=kind)
    except ValueError as error:
        raise FaultOptionError(f"--fault {error}") from error
    return fault, size, code, kind
