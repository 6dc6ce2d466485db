"""Quotes: values, as the exchange sent them, that survive the way to another process."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.quotes import BookLevel, MarketInfo, OrderBook, Ticker, Trade

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
LEVELS = st.lists(st.builds(BookLevel, NUMBERS, NUMBERS), max_size=3).map(tuple)
QUOTES = st.one_of(
    st.builds(MarketInfo, market=st.text(), name=st.text(), warning=st.booleans()),
    st.builds(
        Trade,
        market=st.text(),
        time_ms=st.integers(0, 2**53),
        price=NUMBERS,
        volume=NUMBERS,
        side=st.sampled_from(["buy", "sell"]),
        trade_id=st.integers(0, 2**63),
        previous_close=st.none() | NUMBERS,
    ),
    st.builds(
        OrderBook,
        market=st.text(),
        time_ms=st.integers(0, 2**53),
        bids=LEVELS,
        asks=LEVELS,
        total_bid_size=NUMBERS,
        total_ask_size=NUMBERS,
    ),
    st.fixed_dictionaries(
        dict.fromkeys(Ticker.__struct_fields__, NUMBERS)
        | {"market": st.text(), "time_ms": st.integers(0), "trade_time_ms": st.integers(0)}
        | dict.fromkeys(("high_52w_date", "low_52w_date", "reason"), st.text())
        | {"source": st.sampled_from(["live", "memory", "exchange"])}
    ).map(lambda fields: msgspec.convert(fields, Ticker)),
)


@given(quote=QUOTES)
def test_a_quote_survives_the_way_through_json(quote: msgspec.Struct) -> None:
    """Every float to the last bit: a bot in another process computes with the same numbers."""
    kind = type(quote)

    assert msgspec.json.decode(msgspec.json.encode(quote), type=kind) == quote


def test_a_level_of_a_book_is_two_numbers_on_the_wire() -> None:
    """A book has up to sixty of them, ten times a second."""
    assert msgspec.json.encode(BookLevel(1.5, 2.0)) == b"[1.5,2.0]"


def test_a_side_is_buy_or_sell() -> None:
    """Exchanges say BID and ASK, and a bot must not have to guess which is meant."""
    text = b'{"market":"a","time_ms":1,"price":1,"volume":1,"side":"BID","trade_id":1}'

    with pytest.raises(msgspec.ValidationError, match=r"Invalid enum value 'BID'"):
        msgspec.json.decode(text, type=Trade)
