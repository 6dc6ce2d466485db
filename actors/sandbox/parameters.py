"""Query parameters, checked the way Upbit checks them, with Upbit's own words for what is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl

MISSING = "Missing request parameter error. Check the required parameters!"
INVALID = "Invalid parameter. Check the given value!"
MISMATCH = "Type mismatch error. Check the parameters type!"
UNKNOWN_CODE = "Code not found"

_FIELDS_MAX = 100
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
# ccxt writes milliseconds, the documentation seconds; without a zone it is UTC.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_TIME_OF_DAY = re.compile(r"(\d\d):?(\d\d):?(\d\d)", re.ASCII)


class BadQuery(Exception):
    """A request that Upbit answers with an error.

    Attributes:
      status: The HTTP status.
      message: The text in the error's envelope.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message


class Query:
    """The parameters of one request.

    A plus sign stands for a space, as in forms: clients built on `requests` send
    `2025-06-24+04:56:53` so, and a zone whose plus is not encoded becomes invalid.

    Args:
      text: What stands behind the question mark.

    Raises:
      BadQuery: It is not a query.
    """

    def __init__(self, text: str) -> None:
        if " " in text:
            raise BadQuery(400, INVALID)
        try:
            pairs = parse_qsl(
                text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX
            )
        except ValueError:
            raise BadQuery(400, INVALID) from None
        self.pairs: Sequence[tuple[str, str]] = tuple(pairs)

    def text(self, name: str) -> str | None:
        """Return a parameter's last value; None if it is absent or empty."""
        values = [value for key, value in self.pairs if key == name and value]
        return values[-1] if values else None

    def required(self, name: str) -> str:
        """Return a parameter that must be there.

        Raises:
          BadQuery: It is not.
        """
        value = self.text(name)
        if value is None:
            raise BadQuery(400, MISSING)
        return value

    def names(self, name: str) -> list[str]:
        """Return a required list: comma-separated, or the parameter repeated, or both."""
        self.required(name)
        values = (value for key, value in self.pairs if key == name)
        found = [part.strip() for value in values for part in value.split(",") if part.strip()]
        if not found:
            raise BadQuery(400, MISSING)
        return list(dict.fromkeys(found))

    def integer(self, name: str) -> int | None:
        """Return a whole number, or None if the parameter is absent.

        Raises:
          BadQuery: It is something else.
        """
        value = self.text(name)
        if value is None:
            return None
        if not _INTEGER.fullmatch(value):
            raise BadQuery(400, MISMATCH)
        return int(value)

    def count(self, *, default: int, most: int) -> int:
        """Return `count`; more than `most` is taken for `most`.

        Source: sharebook-kr/pyupbit#22, "whatever number is given, no more than 200 come back".

        Raises:
          BadQuery: It is not a number, or below 1.
        """
        value = self.integer("count")
        if value is None:
            return default
        if value < 1:
            raise BadQuery(400, INVALID)
        return min(value, most)

    def flag(self, name: str) -> bool:
        """Return a yes or no; no if it is absent.

        Raises:
          BadQuery: It is neither `true` nor `false`.
        """
        value = (self.text(name) or "false").lower()
        if value not in ("true", "false"):
            raise BadQuery(400, MISMATCH)
        return value == "true"

    def moment_ms(self, name: str) -> int | None:
        """Return a moment as UTC milliseconds, or None if it is absent.

        Raises:
          BadQuery: It is not in one of the forms that Upbit takes.
        """
        value = self.text(name)
        if value is None:
            return None
        try:
            if not _MOMENT.fullmatch(value):
                raise ValueError  # noqa: TRY301 - one way out for every malformed moment
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
            # Up, so that a candle which opens within the moment's own millisecond still counts.
            return -(-round(moment.timestamp() * 1_000_000) // 1_000)
        except (ValueError, OverflowError):
            raise BadQuery(400, INVALID) from None

    def time_of_day_ms(self, name: str) -> int | None:
        """Return milliseconds since midnight from `HHmmss` or `HH:mm:ss`, or None if absent.

        Raises:
          BadQuery: It is not a time of day.
        """
        value = self.text(name)
        if value is None:
            return None
        match = _TIME_OF_DAY.fullmatch(value)
        if match is None:
            raise BadQuery(400, INVALID)
        hour, minute, second = map(int, match.groups())
        if hour > 23 or minute > 59 or second > 59:  # noqa: PLR2004 - the clock's own bounds
            raise BadQuery(400, INVALID)
        return ((hour * 60 + minute) * 60 + second) * 1_000
