"""The rules that settings keep, beside their types."""

from __future__ import annotations

from typing import NamedTuple


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
