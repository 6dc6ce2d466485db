"""What a client sends on a stream: a JSON array of objects, checked the way Upbit checks it.

Source: docs.upbit.com WebSocket guide and list-subscriptions (2026-08-31, 2026-09-09). What is
said of each object is Upbit's, as are the names of the errors; which of two errors in one text is
named first is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from actors.sandbox.stream_payloads import CANDLE_TYPES

TEXT_BYTES_MAX = 262_144
FORMATS = ("DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST")
LISTING = "LIST_SUBSCRIPTIONS"
DEPTH_DEFAULT = 30

_DEPTHS = (1, 5, 15, 30)
_KINDS = frozenset({"ticker", "trade", "orderbook", *CANDLE_TYPES})
_PRIVATE_KINDS = frozenset({"myOrder", "myAsset", "announcement"})
# Today's names and those of 2021.
_ONLY_SNAPSHOT = ("is_only_snapshot", "isOnlySnapshot")
_ONLY_REALTIME = ("is_only_realtime", "isOnlyRealtime")
_LEVELS_END = 10**18


class BadText(Exception):
    """A text that is answered with an error.

    Attributes:
      name: The error's name.
      message: The text beside it.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


class Wish(NamedTuple):
    """One object of a request: streams of one type.

    Attributes:
      kind: Its type, e.g. `ticker` or `candle.1m`.
      codes: The codes as they were sent.
      level: Of an order book, how wide its levels are, in the quote currency; 0 for single prices.
      snapshot: Whether the present state is wanted.
      realtime: Whether what happens from now on is wanted.
    """

    kind: str
    codes: tuple[str, ...]
    level: float
    snapshot: bool
    realtime: bool


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """A text that can be meant.

    Attributes:
      ticket: The client's name for it.
      wishes: What it subscribes to; None if it only asks what is subscribed to.
      form: The format it wants; None if it says nothing about that.
    """

    ticket: str
    wishes: tuple[Wish, ...] | None
    form: str | None


def read_request(text: str) -> StreamRequest:
    """Return what a text asks for.

    Raises:
      BadText: It is to be answered with an error, and changes nothing.
    """
    parts = _objects(text)
    ticket = next((part["ticket"] for part in parts if "ticket" in part), None)
    if not isinstance(ticket, str) or not ticket:
        raise BadText("NO_TICKET", "the request has no ticket")
    form = _form(parts)
    methods = [part["method"] for part in parts if "method" in part]
    if methods:
        if methods != [LISTING]:
            raise BadText("INVALID_PARAM", f"method must be {LISTING}")
        return StreamRequest(ticket, None, form)
    asked = [part for part in parts if "type" in part or "codes" in part]
    if not asked:
        raise BadText("NO_TYPE", "the request has no type")
    return StreamRequest(ticket, tuple(_wish(part) for part in asked), form or FORMATS[0])


def split_code(code: str) -> tuple[str, int] | None:
    """Return market and depth of `KRW-BTC.15`; None for a depth that there is not."""
    market, dot, suffix = code.partition(".")
    if not dot:
        return market, DEPTH_DEFAULT
    known = {str(depth): depth for depth in _DEPTHS}
    return (market, known[suffix]) if suffix in known else None


def _objects(text: str) -> list[dict[str, Any]]:
    wrong = BadText("WRONG_FORMAT", "the request is not a JSON array of objects")
    if len(text) > TEXT_BYTES_MAX:
        raise wrong
    try:
        parts = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise wrong from None
    if not isinstance(parts, list) or not parts:
        raise wrong
    if not all(isinstance(part, dict) for part in parts):
        raise wrong
    return parts


def _form(parts: list[dict[str, Any]]) -> str | None:
    forms = [part["format"] for part in parts if "format" in part]
    if not forms:
        return None
    if forms[-1] not in FORMATS:
        raise BadText("INVALID_PARAM", f"format must be one of {', '.join(FORMATS)}")
    return str(forms[-1])


def _wish(part: dict[str, Any]) -> Wish:
    kind = part.get("type")
    if not kind:
        raise BadText("NO_TYPE", "the request has no type")
    if kind in _PRIVATE_KINDS if isinstance(kind, str) else False:
        raise BadText("INVALID_AUTH", "인증 정보가 올바르지 않습니다.")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise BadText("INVALID_PARAM", "the type is unknown")
    codes = part.get("codes")
    if not codes:
        raise BadText("NO_CODES", f"the type {kind} has no codes")
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        raise BadText("INVALID_PARAM", "codes must be a list of texts")
    only_snapshot, only_realtime = _flag(part, _ONLY_SNAPSHOT), _flag(part, _ONLY_REALTIME)
    if only_snapshot and only_realtime:
        raise BadText("INVALID_PARAM", "only the snapshot and only what follows exclude each other")
    return Wish(
        kind,
        tuple(dict.fromkeys(codes)),
        _level(part) if kind == "orderbook" else 0.0,
        snapshot=not only_realtime,
        realtime=not only_snapshot,
    )


def _flag(part: dict[str, Any], names: tuple[str, ...]) -> bool:
    values = [part[name] for name in names if name in part]
    if not all(isinstance(value, bool) for value in values):
        raise BadText("INVALID_PARAM", f"{names[0]} must be true or false")
    return any(values)


def _level(part: dict[str, Any]) -> float:
    level = part.get("level", 0)
    is_number = isinstance(level, int | float) and not isinstance(level, bool)
    if not is_number or not math.isfinite(level) or not 0 <= level < _LEVELS_END:
        raise BadText("INVALID_PARAM", "level must be a number of 0 or more")
    return float(level)
