"""Tables for people. Everything here is plain text in a pipe and coloured in a terminal.

Imported only when a person looks: a program that asks for JSON does not wait for rich.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.timeframes import format_time_ms
from runtime.names import printable

Result = Mapping[str, Any]

# Wide enough for every table: what reads from a pipe wants whole lines.
_PIPE_WIDTH = 1_000


def render(method: str, result: Result, file: TextIO) -> None:
    """Write the result of `method` to `file` as a table, and below it what else is to be said."""
    width = None if file.isatty() else _PIPE_WIDTH
    console = Console(file=file, width=width, highlight=False, markup=False, emoji=False)
    for part in _RENDERERS[method](result):
        console.print(part)


def number(value: float | None) -> str:
    """Return `value` for reading: thousands apart, never an exponent, all its digits."""
    if value is None:
        return "-"
    text = f"{Decimal(repr(value)):,f}"
    return text.removesuffix(".0")


def time_utc(time_ms: int | None) -> str:
    """Return a UTC time for reading; the column's title says that it is UTC."""
    return "-" if time_ms is None else format_time_ms(time_ms).replace("T", " ").removesuffix("Z")


def duration(seconds: float) -> str:
    """Return a length of time for reading, in at most two units."""
    whole = int(seconds)
    if whole < 1:
        return f"{seconds:.3g} s" if seconds else "0 s"
    parts = [(whole // 86_400, "d"), (whole // 3_600 % 24, "h"), (whole // 60 % 60, "min")]
    parts.append((whole % 60, "s"))
    first = next(place for place, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place < left else "right", no_wrap=True)
    for row in rows:
        # Names come from exchanges: as text, so that nothing in them is taken for an order.
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _pairs(pairs: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in pairs:
        table.add_row(Text(name, style="bold"), Text(printable(value)))
    return table


def _candles(result: Result) -> Iterable[Any]:
    series = result["series"]
    columns = ("open time (UTC)", "open", "high", "low", "close", "volume", "value", "")
    prices = columns[1:-1]
    yield _table(
        columns,
        (
            (
                time_utc(row["open_time_ms"]),
                *(number(row[name]) for name in prices),
                "" if row["closed"] else "open",
            )
            for row in result["candles"]
        ),
    )
    complete = "complete" if result["complete"] else "not complete"
    yield (
        f"{series['exchange']} {series['market']} {series['timeframe']}: "
        f"{len(result['candles'])} candles, {complete}, from {result['source']}"
        + (f", as of {time_utc(result['as_of_ms'])} UTC" if result["as_of_ms"] else "")
    )
    for span in result["missing"]:
        start, end = time_utc(span["start_ms"]), time_utc(span["end_ms"])
        yield f"missing {start} to {end} UTC: {printable(span['reason'])}"


def _tickers(result: Result) -> Iterable[Any]:
    columns = ("market", "price", "change", "%", "high", "low", "24 h volume", "24 h value")
    tickers = result.get("tickers", [result])
    yield _table(
        (*columns, "last trade (UTC)"),
        (
            (
                ticker["market"],
                number(ticker["price"]),
                number(ticker["change"]),
                f"{ticker['change_rate'] * 100:+.2f}",
                *(number(ticker[name]) for name in ("high", "low", "volume_24h", "value_24h")),
                time_utc(ticker["trade_time_ms"]),
            )
            for ticker in tickers
        ),
    )


def _orderbook(result: Result) -> Iterable[Any]:
    asks = [("ask", number(price), number(size)) for price, size in reversed(result["asks"])]
    bids = [("bid", number(price), number(size)) for price, size in result["bids"]]
    yield _table(("side", "price", "size"), [*asks, *bids])
    yield (
        f"{printable(result['market'])} at {time_utc(result['time_ms'])} UTC, in all "
        f"{number(result['total_ask_size'])} asked and {number(result['total_bid_size'])} bid"
    )


def _trades(result: Result) -> Iterable[Any]:
    yield _table(
        ("time (UTC)", "side", "price", "volume"),
        (
            (
                time_utc(trade["time_ms"]),
                trade["side"],
                number(trade["price"]),
                number(trade["volume"]),
            )
            for trade in result["trades"]
        ),
        left=2,
    )


def _markets(result: Result) -> Iterable[Any]:
    rows = [
        (market["market"], market["name"], "warning" if market["warning"] else "")
        for market in result["markets"]
    ]
    yield _table(("market", "name", ""), rows, left=3)
    yield f"{len(rows)} in all"


def _limits(result: Result) -> Iterable[Any]:
    columns = ("exchange", "group", "allowed", "in use", "in flight", "queued", "next free")
    yield _table(
        (*columns, "paused", "exchange says left", "granted", "rejected"),
        (
            (
                group["exchange"],
                group["group"],
                f"{group['requests']} / {group['period_s']:g} s",
                *(number(group[name]) for name in ("held", "in_flight", "queued")),
                duration(group["next_free_s"]),
                duration(group["paused_s"]),
                *(number(group[name]) for name in ("server_remaining", "granted", "rejected")),
            )
            for group in result["limits"]
        ),
        left=2,
    )


def _cache(result: Result) -> Iterable[Any]:
    yield _table(
        ("market", "timeframe", "candles", "from (UTC)", "to (UTC)", "reads"),
        (
            (
                series["market"],
                series["timeframe"],
                number(series["candles"]),
                time_utc(series["from_ms"]),
                time_utc(series["to_ms"]),
                number(series["reads"]),
            )
            for series in result["series"]
        ),
        left=2,
    )
    answers = ("memory_answers", "store_answers", "exchange_answers", "failures")
    yield _pairs(
        [
            ("memory", f"{number(result['bytes'])} of {number(result['bytes_max'])} bytes"),
            ("evicted series", number(result["evicted"])),
            *((name.replace("_", " "), number(result[name])) for name in answers),
            ("pages fetched", number(result["pages"])),
            ("candles in store", number(result["store_candles"])),
            ("bytes of store", number(result["store_bytes"])),
        ]
    )


def _status(result: Result) -> Iterable[Any]:
    yield _pairs(
        [
            ("marketd", f"{result['version']}, process {result['pid']}"),
            ("up", f"{duration(result['uptime_s'])}, since {time_utc(result['started_ms'])} UTC"),
            ("socket", result["socket"]),
            ("state", f"{result['state_dir']} ({result['store']})"),
            *(
                (each["name"], f"{each['rest_url']} (streams, not used yet: {each['stream_url']})")
                for each in result["exchanges"]
            ),
        ]
    )
    yield _table(
        ("depends on", "state", "why", "last worked (UTC)"),
        (
            (
                each["name"],
                each["state"],
                each["reason"],
                "" if each["since_ms"] is None else time_utc(each["since_ms"]),
            )
            for each in result["health"]
        ),
        left=3,
    )
    yield _table(
        ("actor", "state", "up", "restarts", "queued", "peak", "last crash"),
        (
            (
                actor["name"],
                actor["state"],
                duration(actor["uptime_s"]),
                *(number(actor[name]) for name in ("restarts", "queued", "queued_peak")),
                actor["last_crash"] or "",
            )
            for actor in result["actors"]
        ),
        left=2,
    )


def _stop(result: Result) -> Iterable[Any]:
    yield f"process {result['pid']} has stopped"


_RENDERERS: dict[str, Callable[[Result], Iterable[Any]]] = {
    "candles": _candles,
    "ticker": _tickers,
    "tickers": _tickers,
    "orderbook": _orderbook,
    "trades": _trades,
    "markets": _markets,
    "limits": _limits,
    "cache": _cache,
    "status": _status,
    "stop": _stop,
}
