"""The rules that settings keep, beside their types, and what is said of one that breaks them."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from runtime.names import did_you_mean, printable


class SettingsError(Exception):
    """A setting is wrong; the message says which, how, and where it was written."""


class Bounds(NamedTuple):
    """The values a number may have, both ends included."""

    least: float
    most: float


class OffOr(NamedTuple):
    """The values a number may have, both ends included, or 0 for off."""

    least: float
    most: float


class Url(NamedTuple):
    """A URL's schemes, and whether it may be left empty."""

    schemes: tuple[str, ...]
    optional: bool = False


class FileName(NamedTuple):
    """A plain file name, without a folder."""


Rule = Bounds | OffOr | Url | FileName


class Setting(NamedTuple):
    """One setting.

    Attributes:
      kind: `bool`, `int`, `float`, `str` or a `Literal`.
      rule: `Bounds`, `OffOr`, `Url` or `FileName`; None if every value will do.
      default: Its value if nobody sets it.
    """

    kind: Any
    rule: Rule | None
    default: Any


_WANTED = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def checked(name: str, setting: Setting, value: Any, *, origin: str) -> Any:
    """Return `value` if it is one the setting can have; raise `SettingsError` if not."""
    if setting.kind is float and type(value) is int and abs(value) <= 2**53:
        value = float(value)
    wanted = _wanted(setting, value)
    if wanted:
        raise refused(name, wanted, value, origin)
    return value


def checked_fields(
    path: str, struct: type[msgspec.Struct], table: object, *, origin: str
) -> dict[str, Any]:
    """Return the fields of a table that somebody has named, for `struct` to be made of.

    Args:
      path: Where the table stands, such as `jobs.nightly`.
      struct: What is made of it: its fields are texts, numbers, lists of texts, or one of several
        of these.
      table: What stands there.
      origin: Where it was written.

    Raises:
      SettingsError: It is no table, or has a field that does not exist, or of another type.
    """
    if not isinstance(table, dict):
        raise refused(path, "a table", table, origin)
    hints = typing.get_type_hints(struct)
    values = {}
    for name, value in table.items():
        if name not in hints:
            there = f"there is no setting {printable(f'{path}.{name}')!r} (in {origin})"
            raise SettingsError(there + did_you_mean(name, hints))
        values[name] = _of_kind(f"{path}.{name}", hints[name], value, origin)
    return values


def named_tables(name: str, tables: object, *, origin: str) -> Mapping[str, object]:
    """Return what stands below a section whose tables somebody has named, by their names.

    Raises:
      SettingsError: The section is something else.
    """
    if not isinstance(tables, dict):
        raise refused(name, f"tables such as [{name}.NAME]", tables, origin)
    return tables


def _of_kind(name: str, kind: Any, value: Any, origin: str) -> Any:
    """Return `value` as one of the types that `kind` allows."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    wanted = []
    for each in kinds:
        if each is types.NoneType:
            continue
        if each == tuple[str, ...]:
            if type(value) is list and all(type(text) is str for text in value):
                return tuple(value)
            wanted.append("a list of texts")
        elif type(value) is each or (each is float and type(value) is int):
            return checked(name, Setting(each, None, None), value, origin=origin)
        else:
            wanted.append(_WANTED[each])
    raise refused(name, " or ".join(wanted), value, origin)


def refused(name: str, wanted: str, value: object, origin: str) -> SettingsError:
    """Return the error of a setting that has a wrong value.

    Args:
      name: The setting.
      wanted: What it must be.
      value: What it was.
      origin: Where it was written.
    """
    shown = printable(repr(value), 80)
    return SettingsError(f"{printable(name, 120)} must be {wanted}, was {shown} (from {origin})")


def _wanted(setting: Setting, value: Any) -> str:
    """Return what the setting wants if `value` is not that; empty text if it is."""
    if typing.get_origin(setting.kind) is Literal:
        choices = typing.get_args(setting.kind)
        return "" if value in choices else " or ".join(repr(choice) for choice in choices)
    # The exact type: to Python True is a number, to a reader of the file it is not.
    if type(value) is not setting.kind or (isinstance(value, float) and not math.isfinite(value)):
        return _WANTED[setting.kind]
    return _broken_rule(setting.rule, value)


def _broken_rule(rule: Rule | None, value: Any) -> str:
    wanted = ""
    match rule:
        case Bounds(least, most) if not least <= value <= most:
            wanted = f"at least {least}" if value < least else f"at most {most}"
        case OffOr(least, most) if value and not least <= value <= most:
            wanted = f"0 for off, or {least} to {most}"
        case Url(schemes, optional) if not ((optional and not value) or _is_url(value, schemes)):
            starts = " or ".join(f"{scheme}://" for scheme in schemes)
            wanted = f"a URL that begins with {starts}, without user name, ? and #"
            wanted += ", or nothing" if optional else ""
        case FileName() if value in ("", ".", "..") or set(value) & set("/\\\0"):
            wanted = "a plain file name"
        case None if isinstance(value, str) and "\0" in value:
            wanted = "a path"
    return wanted


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    from urllib.parse import urlsplit  # noqa: PLC0415 - not every command has a URL

    try:
        url = urlsplit(text)
        # Paths are put behind it, and a name before an @ is read as the host by people.
        is_plain = text.isprintable() and not set(text) & set("@?#")
        # Reading the port is what checks it.
        return is_plain and url.scheme in schemes and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
