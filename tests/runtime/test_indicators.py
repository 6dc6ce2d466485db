"""Indicators by name, as bots import them."""

from __future__ import annotations

import pytest

import runtime.indicators
from actors.errors import InvalidRequest
from actors.preloading.indicators import indicator_names
from runtime.indicators import ATR, BBANDS, HIGH, MACD, OBV, VOLUME, Indicator, indicator


def test_a_name_makes_the_indicator_that_its_text_makes() -> None:
    """In order or by name, with defaults for what is left out."""
    assert ATR(20) == indicator("ATR(20)")
    assert MACD(12, signalperiod=5) == indicator("MACD(12, 26, 5)")
    assert BBANDS(20, nbdevup=2.5, matype="EMA") == indicator("BBANDS(20, 2.5, 2, EMA)")
    assert (str(HIGH(60)), str(VOLUME()), str(OBV())) == ("HIGH(60)", "VOLUME(1)", "OBV")
    assert isinstance(ATR(20), Indicator)


def test_parameters_it_cannot_have_are_refused() -> None:
    """As in text, at the place where they are written."""
    with pytest.raises(InvalidRequest, match="timeperiod must be a whole number"):
        ATR(2.5)
    with pytest.raises(InvalidRequest, match="has no length"):
        ATR(length=20)


def test_every_name_is_listed_and_can_be_called() -> None:
    """So that an editor can complete them."""
    assert set(indicator_names()) < set(dir(runtime.indicators))
    for name in indicator_names():
        assert getattr(runtime.indicators, name)().name == name


def test_an_unknown_name_is_no_attribute_and_names_near_ones() -> None:
    """As Python wants it: importing it is an ImportError."""
    with pytest.raises(AttributeError, match=r"no indicator 'ATRR'; did you mean .*ATR"):
        _ = runtime.indicators.ATRR
    with pytest.raises(ImportError, match="ATRR"):
        from runtime.indicators import ATRR  # noqa: F401, PLC0415
    assert not hasattr(runtime.indicators, "atr")
