"""What a private request says: its parameters, and the text that a signature must be about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

_FIELDS_MAX = 1_000
# A plain number; a bound, so that sums and products of them stay exact.
_AMOUNT = re.compile(r"\d{1,20}(?:\.\d{1,20})?", re.ASCII)
_WHOLE = re.compile(r"\d{1,15}", re.ASCII)
_DECODER = msgspec.json.Decoder(float_hook=str)


class PrivateRefusal(Exception):
    """A private request that Upbit answers with an error.

    Attributes:
      status: The HTTP status.
      name: Upbit's name for the reason.
      message: Its words.
    """

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(f"{status} {name}: {message}")
        self.status = status
        self.name = name
        self.message = message


def invalid(name: str) -> PrivateRefusal:
    """Return the refusal of a parameter that is missing or makes no sense."""
    return PrivateRefusal(400, "validation_error", f"{name} does not have a valid value")


@dataclass(frozen=True, slots=True)
class Words:
    """The parameters of one request.

    Attributes:
      pairs: Names and values in sent order; arrays as `name[]`, repeated.
      said: What the query hash must be of; empty if nothing was said.
    """

    pairs: Sequence[tuple[str, str]]
    said: str

    def text(self, name: str) -> str:
        """Return a parameter's last value; empty if it is absent."""
        values = [value for key, value in self.pairs if key == name]
        return values[-1] if values else ""

    def names(self, name: str) -> tuple[str, ...]:
        """Return an array, or a list with commas; empty if it is absent."""
        values = [value for key, value in self.pairs if key in (name, f"{name}[]")]
        return tuple(part for value in values for part in value.split(",") if part)

    def one_of(self, name: str, allowed: Sequence[str], default: str = "") -> str:
        """Return a parameter that must be one of some words; `default` if it is absent."""
        value = self.text(name) or default
        if value not in allowed:
            raise invalid(name)
        return value

    def amount(self, name: str) -> Decimal | None:
        """Return an amount above zero; None if it is absent."""
        value = self.text(name)
        if not value:
            return None
        if not _AMOUNT.fullmatch(value) or not Decimal(value):
            raise invalid(name)
        return Decimal(value)

    def whole(self, name: str, *, default: int, most: int) -> int:
        """Return a whole number from 1 on; more than `most` is refused."""
        value = self.text(name)
        if not value:
            return default
        if not _WHOLE.fullmatch(value) or not 1 <= int(value) <= most:
            raise invalid(name)
        return int(value)

    def moment_ms(self, name: str) -> int | None:
        """Return a moment given as milliseconds or in ISO 8601; None if it is absent."""
        value = self.text(name)
        if not value:
            return None
        if _WHOLE.fullmatch(value):
            return int(value)
        try:
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
            return round(moment.timestamp() * 1000)
        except (ValueError, OverflowError):
            raise invalid(name) from None


def read_words(method: str, query_text: str, body: bytes) -> Words:
    """Return what a request says, in its query or in its body.

    Raises:
      PrivateRefusal: It cannot be read.
    """
    if query_text or not body:
        return _of_form(query_text)
    if body.lstrip()[:1] == b"{":
        return _of_json(body)
    if method == "POST":
        # Source: https://docs.upbit.com/kr/reference/rest-api-guide, read 2026-11-21: forms are not
        # taken any more. Of a GET pyupbit still sends its query in the body, as a form.
        raise PrivateRefusal(400, "invalid_parameter", "The body must be JSON.")
    return _of_form(body.decode("latin-1"))


def _of_form(text: str) -> Words:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX)
    except ValueError:
        raise PrivateRefusal(400, "invalid_parameter", "The query cannot be read.") from None
    return Words(pairs, unquote(text))


def _of_json(body: bytes) -> Words:
    try:
        values = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise PrivateRefusal(400, "invalid_parameter", "The body must be JSON.") from None
    pairs = [pair for name, value in values.items() for pair in _flat(name, value)]
    return Words(pairs, "&".join(f"{name}={value}" for name, value in pairs))


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, list):
        return [(f"{name}[]", _written(name, one)) for one in value]
    return [(name, _written(name, value))]


def _written(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    raise invalid(name)
