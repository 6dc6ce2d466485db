"""The settings of preloading."""

from __future__ import annotations

from typing import Annotated

import msgspec

from runtime.setting_rules import Bounds


class PreloadSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is fetched before anybody asks for it.

    Attributes:
      enabled: Whether anything is; without it no need can be declared.
      learn: Whether habits are learnt from what bots ask, and acted on.
      margin: Candles that are fetched beyond what indicators need.
      keep_need_s: How long after the last use of its candles a declared need ends, in seconds; in
        any case not before three candles have passed.
    """

    enabled: bool = True
    learn: bool = True
    margin: Annotated[int, Bounds(0, 10_000)] = 50
    keep_need_s: Annotated[float, Bounds(60, 31_536_000)] = 86_400.0
