"""Keys in `.env` files: lines of `NAME=value`, among all else that programs keep there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from actors.errors import InvalidRequest
from runtime.key_import_names import ELSEWHERE, exchange_within, is_elsewhere_within

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*\Z")
# What a shell may be told in such a file besides, and which sets no value.
_COMMAND = re.compile(r"(?:export|unset|set|readonly|source|\.)\s[^=]*\Z")

# What a variable may be called, and what it is; of two that fit, the longer comes first.
_FIELDS = {
    "open_api_access_key": "access_key",
    "open_api_secret_key": "secret_key",
    "api_access_key": "access_key",
    "api_secret_key": "secret_key",
    "access_key": "access_key",
    "secret_key": "secret_key",
    "api_passphrase": "passphrase",
    "passphrase": "passphrase",
    "api_secret": "secret_key",
    "api_key": "access_key",
    "secret": "secret_key",
    "access": "access_key",
    "password": "passphrase",
    "telegram_id": "telegram_id",
    "uid": "uid",
}
# By themselves these are of a database, or of whoever runs the program.
_ONLY_WITH_EXCHANGE = ("password", "telegram_id", "uid")
# What begins so is half a key of somebody, and not only a word that is met anywhere.
_LIKE_A_KEY = ("access_key_", "secret_key_", "api_key_", "api_secret_")

# Exchange and label, and the fields of that key.
Accounts = dict[tuple[str, str], dict[str, str]]


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    value: str
    exchange: str
    label: str
    field: str


def env_pairs(path: Path, lines: Iterable[tuple[int, str]]) -> list[tuple[str, str]]:
    """Return names and values of a `.env` file; none if it is no such file at all.

    Args:
      path: The file, for the error.
      lines: Those that are neither empty nor a comment, with their numbers.

    Raises:
      InvalidRequest: A line among others is none; says which, and does not quote it.
    """
    pairs, others = [], []
    for number, line in lines:
        if match := _LINE.match(line):
            pairs.append((match[1], _unquoted(match[2])))
        elif not _COMMAND.match(line):
            others.append(number)
    if pairs and others:
        raise InvalidRequest(
            f"{path}, line {others[0]}: wanted NAME=value, as in other lines, was something else"
        )
    return pairs


def env_accounts(
    path: Path,
    pairs: Iterable[tuple[str, str]],
    *,
    exchange: str,
    pass_over: Callable[[str], object],
) -> Accounts:
    """Return the keys among the variables of a `.env` file.

    Where some name an exchange, those that do not are of something else: `SECRET_KEY` is what web
    frameworks sign with. Without an exchange only a number is a label: `ACCESS_KEY_2`.

    Args:
      path: The file, for the error.
      pairs: Names and values.
      exchange: Whose keys are those of which no name says it.
      pass_over: Told what looks like a part of a key and is not taken.

    Raises:
      InvalidRequest: Two variables have different values for the same; names both, no value.
    """
    found = [each for pair in pairs if (each := _variable(*pair, pass_over)) is not None]
    are_named = any(each.exchange for each in found)
    taken: dict[tuple[str, str], dict[str, _Variable]] = {}
    for each in found:
        if are_named and not each.exchange:
            pass_over(f"{each.name}: names no exchange, as others in the file do")
            continue
        key = (each.exchange or exchange, each.label)
        fields = taken.setdefault(key, {})
        before = fields.get(each.field)
        if before is not None and before.value and each.value not in ("", before.value):
            raise InvalidRequest(
                f"{path}: {before.name} and {each.name} are different, and both are the "
                f"{each.field.replace('_', ' ')} of {':'.join(key)}; leave one of them"
            )
        if before is None or each.value:
            fields[each.field] = each
    return {
        key: {name: each.value for name, each in fields.items()} for key, fields in taken.items()
    }


def _variable(name: str, value: str, pass_over: Callable[[str], object]) -> _Variable | None:
    lower = name.lower()
    exchange, word = exchange_within(lower)
    part = next((each for each in _FIELDS if f"_{each}_" in f"_{lower}_"), "")
    if not part:
        return None
    if is_elsewhere_within(lower):
        # Nothing is lost by a name without a value, as in an example that was copied.
        if value:
            pass_over(f"{name}: {ELSEWHERE}")
        return None
    # `UPBIT_ACCESS_KEY_2` and the like: what is neither exchange nor field is the label.
    rest = f"_{lower}_".replace(f"_{part}_", "_", 1).replace(f"_{word}_", "_", 1)
    rest = re.sub("__+", "_", rest).strip("_")
    if not exchange and part in _ONLY_WITH_EXCHANGE:
        return None
    if not exchange and rest and not rest.isdecimal():
        if value and lower.startswith(_LIKE_A_KEY):
            pass_over(f"{name}: names no exchange")
        return None
    return _Variable(name, value, exchange, rest or "main", _FIELDS[part])


def _unquoted(value: str) -> str:
    quote = value[:1]
    if quote in {'"', "'"} and (end := value.find(quote, 1)) > 0:
        return value[1:end]
    return re.split(r"\s+#", value, maxsplit=1)[0]
