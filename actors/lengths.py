"""Lengths of time as people write them."""

from __future__ import annotations

import re

from actors.errors import InvalidRequest

_LENGTH = re.compile(r"([1-9][0-9]{0,8})([smhdw])")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def length_s(text: str, *, name: str) -> int:
    """Return a length of time in seconds.

    Args:
      text: Such as `90s`, `15m`, `4h`, `30d` or `2w`.
      name: What it is for, used in the error.

    Raises:
      InvalidRequest: It has another form.
    """
    found = _LENGTH.fullmatch(text)
    if found is None:
        raise InvalidRequest(
            f"{name} must be a length of time such as 90s, 15m, 4h, 30d or 2w; was {text[:40]!r}"
        )
    return int(found[1]) * _UNITS_S[found[2]]
