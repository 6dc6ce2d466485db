"""Times as people write them on the command line."""

from __future__ import annotations

_DATE_DIGITS = len("20250901")


def time(text: str) -> int | str:
    """Return milliseconds as a number and everything else for the runtime to read."""
    return int(text) if text.isdecimal() and len(text) != _DATE_DIGITS else text
