"""`marketd watch`: what happens, one line an update, as it happens.

As in `runtime.cli`, what is heavy is imported where it is needed.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import Any

import msgspec

from actors.updates import (
    CandleUpdate,
    GapUpdate,
    HealthUpdate,
    MarketUpdate,
    Missed,
    OrderBookUpdate,
    TickerUpdate,
    TradeUpdate,
)
from runtime.client.blocking import BlockingClient
from runtime.client.blocking_updates import BlockingUpdates
from runtime.client.requests import subscribe_request
from runtime.names import printable

_encode = msgspec.json.Encoder().encode


def add_watch(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `watch` to the commands."""
    text = "what happens, a line an update, until Ctrl-C"
    watch = commands.add_parser("watch", help=text, description=text, parents=[common])
    watch.add_argument(
        "kind",
        metavar="KIND",
        choices=("ticker", "trades", "orderbook", "candles", "gaps", "health"),
        help="ticker, trades, orderbook, candles, gaps or health",
    )
    watch.add_argument("markets", metavar="MARKET", nargs="*", help="such as KRW-BTC")
    watch.add_argument("--timeframe", metavar="T", default="1m", help="of candles; 1m")
    watch.add_argument("--closed", action="store_true", help="only candles that are final")
    watch.add_argument("--depth", metavar="N", type=int, default=15, help="prices a side; 15")
    watch.add_argument(
        "--keep",
        choices=("auto", "latest", "every"),
        default="auto",
        help="of what is not read in time: the latest of each market, or every one up to a bound",
    )
    watch.add_argument("--count", metavar="N", type=_count, help="end after so many updates")
    watch.add_argument("--for", metavar="S", type=_for, dest="for_s", help="end after so long")
    watch.set_defaults(message=_request)


def watch_updates(client: BlockingClient, options: argparse.Namespace) -> None:
    """Show updates until the count, or the time, or the patience of who looks is over."""
    left = math.inf if options.count is None else options.count
    now_s = time.monotonic  # noqa: TID251 - no trio clock without trio
    until_s = now_s() + (math.inf if options.for_s is None else options.for_s)
    updates = BlockingUpdates(
        client.path, options.message(options), timeout_s=options.timeout, now_s=now_s
    )
    with updates:
        while left > 0:
            update = updates.next_within(until_s - now_s())
            if update is None:
                return
            # What was left out is told, and is no update that anybody waited for.
            left -= not isinstance(update, Missed)
            line = _encode(update).decode() if options.json else describe(update)
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def describe(update: MarketUpdate) -> str:
    """Return an update as a line for people."""
    # Here, because a program that asks for JSON does not wait for rich.
    from runtime.render import number, time_utc  # noqa: PLC0415

    match update:
        case TickerUpdate(ticker=ticker):
            line = (
                f"{time_utc(ticker.time_ms)} {ticker.market} {number(ticker.price)} "
                f"{ticker.change_rate * 100:+.2f} % volume {number(ticker.day_volume)}"
            )
        case TradeUpdate(trade=trade):
            line = (
                f"{time_utc(trade.time_ms)} {trade.market} {trade.side:4} {number(trade.price)} "
                f"x {number(trade.volume)}"
            )
        case OrderBookUpdate(book=book):
            bid = (
                f"{number(book.bids[0].price)} x {number(book.bids[0].size)}" if book.bids else "-"
            )
            ask = (
                f"{number(book.asks[0].price)} x {number(book.asks[0].size)}" if book.asks else "-"
            )
            line = f"{time_utc(book.time_ms)} {book.market} bid {bid} ask {ask}"
        case CandleUpdate():
            prices = (update.open, update.high, update.low, update.close)
            state = "closed" if update.closed else "open"
            line = (
                f"{time_utc(update.open_time_ms)} {update.market} {update.timeframe} "
                f"{' '.join(map(number, prices))} volume {number(update.volume)} {state}"
            )
        case GapUpdate(gap=gap):
            what = f"{gap.kind} {gap.timeframe}".strip()
            end = "now" if gap.end_ms is None else time_utc(gap.end_ms)
            line = (
                f"{time_utc(gap.start_ms)} to {end} {gap.exchange} {gap.market} {what}: "
                f"{gap.state}, {gap.cause} {gap.detail}"
            )
        case HealthUpdate(health=health):
            line = f"{health.name} {health.state} {health.reason}"
        case Missed(count=count, why=why):
            line = f"-- missed {'an unknown number of' if count is None else count} updates: {why}"
    return printable(line.rstrip(), 2_000)


def _request(options: argparse.Namespace) -> Any:
    return subscribe_request(
        options.kind,
        tuple(options.markets),
        timeframe=options.timeframe,
        closed=options.closed,
        depth=options.depth,
        keep=options.keep,
        capacity=1_000,
    )


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, was {text}")
    return count


def _for(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be above 0, was {text}")
    return seconds
