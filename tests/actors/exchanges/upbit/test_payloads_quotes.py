"""Upbit's tickers, order books, trades and markets: read exactly, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from actors.errors import MalformedPayload
from actors.exchanges.base import ExchangeCall, Response
from actors.exchanges.upbit.adapter import UpbitAdapter
from actors.quotes import BookLevel, MarketInfo, OrderBook, Trade
from actors.series import Series

UPBIT = UpbitAdapter()
NOW_MS = 1_767_225_600_000


def respond(body: object) -> Response:
    """Return a response with `body` as JSON, or as it is if it is bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(200, {}, raw, NOW_MS)


def recorded_body(path: Path) -> bytes:
    """Return the body in a recorded file, whichever way it was kept."""
    kept = json.loads(path.read_bytes())
    return json.dumps(kept["body"] if isinstance(kept, dict) else kept).encode()


@pytest.mark.recorded
def test_the_recorded_quotes_are_read(recorded: Path) -> None:
    """Some of their numbers are text, as in `"148737000.00000000"`."""
    rest = recorded / "rest"
    tickers = UPBIT.tickers(["KRW-ETH", "KRW-BTC"]).read(
        respond(recorded_body(rest / "jkorf_GetTickers.json"))
    )
    (book,) = UPBIT.order_books(["KRW-BTC"]).read(
        respond(recorded_body(rest / "jkorf_GetOrderBook.json"))
    )
    trades = UPBIT.trades("KRW-BTC", count=1).read(
        respond(recorded_body(rest / "jkorf_GetTradeHistory.json"))
    )
    markets = UPBIT.markets().read(respond(recorded_body(rest / "jkorf_GetSymbols.json")))
    (second,) = (
        UPBIT.candles(Series.parse("KRW-BTC", "1s"), to_ms=None)
        .read(respond(recorded_body(rest / "jkorf_GetKlines.json")))
        .candles
    )

    assert [ticker.market for ticker in tickers] == ["KRW-ETH", "KRW-BTC"]
    assert (tickers[1].open, tickers[1].change) == (148737000.0, -136000.0)
    assert (tickers[0].time_ms, tickers[0].change_rate) == (1751606040373, -0.0019903327)
    assert book.asks[0] == BookLevel(148520000, 0.0134662)
    assert book.bids[0] == BookLevel(148490000, 0.04296774)
    assert trades == (
        Trade(
            market="KRW-BTC",
            time_ms=1751068799336,
            price=147058000,
            volume=6.043e-05,
            side="buy",
            trade_id=17510687993360000,
            previous_close=146852000,
        ),
    )
    assert [(market.name, market.warning) for market in markets] == [
        ("Bitcoin", False),
        ("Ethereum", True),
    ]
    assert second.close == 145759000


@pytest.mark.recorded
def test_a_whole_recorded_list_of_markets_is_read(recorded: Path) -> None:
    """Real traffic of 2021: every market, in the order sent."""
    line = (recorded / "rest/cryptofeed_upbit_market_all_20210417.jsonl").read_text().splitlines()
    raw = json.loads(line[0])["raw"]

    markets = UPBIT.markets().read(respond(raw.encode()))

    assert [market.market for market in markets] == [row["market"] for row in json.loads(raw)]
    assert markets[0] == MarketInfo(market="KRW-BTC", name="Bitcoin")


# ------------------------------------------------------------------ quotes


def ticker_row(market: str, **fields: object) -> dict[str, object]:
    """Return one good ticker, with `fields` changed."""
    prices = ("opening_price", "high_price", "low_price", "trade_price", "prev_closing_price")
    changes = ("signed_change_price", "signed_change_rate", "trade_volume")
    sums = ("acc_trade_price", "acc_trade_price_24h", "acc_trade_volume", "acc_trade_volume_24h")
    weeks = ("highest_52_week_price", "lowest_52_week_price")
    names = (*prices, *changes, *sums, *weeks)
    times = {"timestamp": NOW_MS, "trade_timestamp": NOW_MS - 5}
    return {"market": market, **times, **dict.fromkeys(names, 2.0), **fields}


def book_row(*units: tuple[float, float, float, float]) -> dict[str, object]:
    """Return an order book of KRW-BTC from (bid, its size, ask, its size)."""
    names = ("bid_price", "bid_size", "ask_price", "ask_size")
    return {
        "market": "KRW-BTC",
        "timestamp": NOW_MS,
        "total_ask_size": 3,
        "total_bid_size": 4,
        "orderbook_units": [dict(zip(names, unit, strict=True)) for unit in units],
    }


def trade_row(trade_id: int, **fields: object) -> dict[str, object]:
    """Return one good trade, with `fields` changed."""
    return {
        "market": "KRW-BTC",
        "timestamp": NOW_MS,
        "trade_price": 5,
        "trade_volume": 1e-8,
        "ask_bid": "ASK",
        "sequential_id": trade_id,
        **fields,
    }


def test_a_book_whose_sides_differ_in_length_has_no_empty_levels() -> None:
    """The sides are sent in pairs; where one is shorter the pair is filled up with nothing."""
    body = [book_row((99, 1, 100, 2), (98, 1, 0, 0))]

    (book,) = UPBIT.order_books(["KRW-BTC"]).read(respond(body))

    assert book == OrderBook(
        market="KRW-BTC",
        time_ms=NOW_MS,
        bids=(BookLevel(99, 1), BookLevel(98, 1)),
        asks=(BookLevel(100, 2),),
        total_bid_size=4,
        total_ask_size=3,
    )


def test_trades_come_newest_first_whatever_their_numbers() -> None:
    """Upbit's `sequential_id` is unique, but promises no order."""
    rows = [trade_row(9, timestamp=5), trade_row(3, timestamp=8), trade_row(4, timestamp=8)]

    trades = UPBIT.trades("KRW-BTC", count=5).read(respond(rows))

    assert [trade.trade_id for trade in trades] == [3, 4, 9]
    assert {trade.side for trade in trades} == {"sell"}


def test_a_market_with_a_name_nobody_can_ask_for_does_not_hide_the_others() -> None:
    """Other exchanges have listed markets in Chinese letters before."""
    rows = [{"market": "KRW-BTC"}, {"market": "KRW-币安人生"}, {"market": "KRW-X",
            "market_warning": "CAUTION"}]  # fmt: skip

    markets = UPBIT.markets().read(respond(rows))

    assert markets == (
        MarketInfo(market="KRW-BTC"),
        MarketInfo(market="KRW-X", warning=True),
    )


TWO = UPBIT.tickers(["KRW-BTC", "KRW-ETH"])
BOOK = UPBIT.order_books(["KRW-BTC"])
TRADES = UPBIT.trades("KRW-BTC", count=2)


@pytest.mark.parametrize(
    ("call", "body", "message"),
    [
        (TWO, [ticker_row("KRW-BTC")], "wanted a row for KRW-ETH, was none"),
        (TWO, [], "wanted a row for KRW-BTC, KRW-ETH, was none"),
        (TWO, [ticker_row("KRW-XRP")], "row 0: .*was 'KRW-XRP' too"),
        (TWO, [ticker_row("KRW-BTC")] * 2, "row 1: .*was 'KRW-BTC' again"),
        (
            TWO,
            [ticker_row("KRW-BTC", trade_price=0), ticker_row("KRW-ETH")],
            "KRW-BTC: wanted a finite trade_price above zero, was 0",
        ),
        (
            TWO,
            [ticker_row("KRW-BTC"), ticker_row("KRW-ETH", acc_trade_volume="-1")],
            "KRW-ETH: wanted a finite acc_trade_volume of at least zero, was -1",
        ),
        (
            TWO,
            [ticker_row("KRW-BTC", signed_change_rate="nan"), ticker_row("KRW-ETH")],
            "wanted a finite signed_change_rate, was nan",
        ),
        (TWO, [ticker_row("KRW-BTC", timestamp=10**20)], r"32503679999999.*\$\[0\].timestamp"),
        (BOOK, [book_row((99, 1, 100, 1), (99, 1, 101, 1))], "falling bid prices, was 99 after 99"),
        (BOOK, [book_row((99, 1, 100, 1), (98, 1, 99.5, 1))], "rising ask prices, was 99.5"),
        (BOOK, [book_row((99, -1, 100, 1))], "wanted a finite bid_size above zero, was -1"),
        (BOOK, [book_row((0, 1, 100, 1))], "wanted a finite bid_price above zero, was 0"),
        (TRADES, [trade_row(1), trade_row(1)], "wanted trades with different ids"),
        (TRADES, [trade_row(1), trade_row(2), trade_row(3)], "at most 2 trades, was 3"),
        (TRADES, [trade_row(1, market="KRW-ETH")], "wanted trades of KRW-BTC, was 'KRW-ETH'"),
        (TRADES, [trade_row(1, ask_bid="BUY")], r"Invalid enum value 'BUY'.*\$\[0\].ask_bid"),
        (TRADES, [trade_row(1, trade_volume=0)], "wanted a finite trade_volume above zero"),
        (UPBIT.markets(), [{"market": "币安"}], "wanted market names such as KRW-BTC"),
    ],
)
def test_a_quote_that_breaks_a_promise_is_refused(
    call: ExchangeCall[object], body: object, message: str
) -> None:
    """A bot would trade on it."""
    with pytest.raises(MalformedPayload, match=f"^upbit: .*{message}"):
        call.read(respond(body))


def test_a_ticker_has_every_field_filled_from_its_own() -> None:
    """Fifteen numbers side by side are easily crossed."""
    names = {
        "price": "trade_price",
        "volume": "trade_volume",
        "open": "opening_price",
        "high": "high_price",
        "low": "low_price",
        "previous_close": "prev_closing_price",
        "change": "signed_change_price",
        "change_rate": "signed_change_rate",
        "day_volume": "acc_trade_volume",
        "day_value": "acc_trade_price",
        "volume_24h": "acc_trade_volume_24h",
        "value_24h": "acc_trade_price_24h",
        "high_52w": "highest_52_week_price",
        "low_52w": "lowest_52_week_price",
    }
    values = {ours: float(index + 1) for index, ours in enumerate(names)}
    row = ticker_row("KRW-BTC", **{names[ours]: value for ours, value in values.items()})

    (ticker,) = UPBIT.tickers(["KRW-BTC"]).read(respond([row]))

    times = {"time_ms": NOW_MS, "trade_time_ms": NOW_MS - 5}
    expected = {"market": "KRW-BTC", "source": "exchange", "reason": "", **times, **values}
    dates = {"high_52w_date": "", "low_52w_date": ""}
    assert msgspec.structs.asdict(ticker) == {**expected, **dates}
