"""`Market` and `Series`: names from outside, which end up in logs, URLs and file names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import InvalidRequest, UnknownTimeframe
from actors.series import Market, Series
from actors.timeframes import Timeframe


@pytest.mark.parametrize(
    ("text", "exchange", "code"),
    [
        ("KRW-BTC", "upbit", "KRW-BTC"),
        ("okx:BTC-USDT", "okx", "BTC-USDT"),
        ("upbit:KRW-BTC", "upbit", "KRW-BTC"),
        ("KRW-1INCH", "upbit", "KRW-1INCH"),
        ("okx:BTC-USD-SWAP", "okx", "BTC-USD-SWAP"),
        ("x_1:a.b", "x_1", "a.b"),
    ],
)
def test_a_market_is_written_as_its_exchange_writes_it(text: str, exchange: str, code: str) -> None:
    """Without a name it is Upbit's."""
    assert Market.parse(text) == Market(exchange, code)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "KRW-BTC ",
        " KRW-BTC",
        "KRW/BTC",
        "../etc/passwd",
        "okx:",
        ":BTC",
        "OKX:BTC-USDT",
        "a:b:c",
        "KRW-BTC\n",
        "KRW-비트",
        "-BTC",
        "1:BTC",
        "X" * 41,
        "X" * 10**6,
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    """Nothing gets through that would need a second thought in a path; the message stays short."""
    with pytest.raises(InvalidRequest, match=r"market must be written as the exchange") as no:
        Market.parse(text)

    assert len(str(no.value)) < 220


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", fullmatch=True)


@given(exchange=NAMES.map(str.lower).filter(str.islower), code=NAMES)
def test_a_market_survives_being_written_and_read(exchange: str, code: str) -> None:
    """Its text is its name everywhere."""
    market = Market(exchange, code)

    assert Market.parse(str(market)) == market


@given(text=st.text(max_size=60))
def test_any_text_is_a_market_or_a_refusal(text: str) -> None:
    """Never another error, whatever a client sends."""
    try:
        market = Market.parse(text)
    except InvalidRequest:
        return

    assert Market.parse(str(market)) == market


def test_a_series_is_a_market_and_a_timeframe() -> None:
    """Two texts in, one name out; equal ones are one key."""
    series = Series.parse("KRW-BTC", "1m")

    assert series == Series(Market("upbit", "KRW-BTC"), Timeframe.M1)
    assert hash(series) == hash(Series.parse("upbit:KRW-BTC", "1m"))
    assert (str(series), str(Series.parse("okx:BTC-USDT", "1M"))) == (
        "KRW-BTC 1m",
        "okx:BTC-USDT 1M",
    )


def test_a_series_of_an_unknown_timeframe_is_refused() -> None:
    """The part that is wrong is the part that is named."""
    with pytest.raises(UnknownTimeframe, match=r"was '2m'"):
        Series.parse("KRW-BTC", "2m")
