"""What Upbit says when it refuses, over REST or over a stream, and how long it wants us to wait."""

from __future__ import annotations

import re
from typing import Final

import msgspec

TOO_MANY_REQUESTS: Final = 429
BANNED: Final = 418

# A duration in a sentence, English or Korean: "blocked for 30 seconds", "1.5 min", "10분".
_DURATION = re.compile(
    r"(\d{1,9}(?:\.\d{1,3})?) ?(ms|milli|sec|s\b|min|m\b|hour|h\b|초|분|시간)", re.IGNORECASE
)
_UNIT_S = {"ms": 0.001, "milli": 0.001, "sec": 1, "s": 1, "초": 1, "min": 60, "m": 60, "분": 60,
           "hour": 3600, "h": 3600, "시간": 3600}  # fmt: skip

# Its words for the two refusals that are about how often we ask, whatever stands between them.
_TOO_MANY = re.compile(
    r"too[\s_-]*many[\s_-]*(api[\s_-]*)?(request|message|connect)", re.IGNORECASE
)
_TEAPOT = re.compile(r"tea[\s_-]*pot", re.IGNORECASE)


class Refusal(msgspec.Struct):
    """The words of a refusal."""

    # Market data answers with the status as a number here, the other endpoints with a word.
    name: int | str = ""
    message: str = ""


class RefusalBody(msgspec.Struct):
    """A body or a frame that refuses."""

    error: Refusal


REFUSALS: Final = msgspec.json.Decoder(RefusalBody)


def named_wait_s(text: str) -> float | None:
    """Return the longest duration that `text` names, in seconds; None if it names none."""
    found = _DURATION.findall(text)
    return max((float(number) * _UNIT_S[unit.lower()] for number, unit in found), default=None)


def said_status(name: str, message: str) -> int:
    """Return 429 or 418 if a refusal's name is that number or its words say so, else 0."""
    # Only the name may be a bare number: in a message it could be anything, a price for one.
    said = f"{name} {message}"
    if name == str(BANNED) or _TEAPOT.search(said):
        return BANNED
    return TOO_MANY_REQUESTS if name == str(TOO_MANY_REQUESTS) or _TOO_MANY.search(said) else 0


def printable(message: str) -> str:
    """Return `message` safe for a log and an error, and short enough for one."""
    return "".join(letter if letter.isprintable() else "?" for letter in message[:200])
