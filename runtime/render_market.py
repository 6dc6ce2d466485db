"""What the answers about markets, limits and the cache look like to people."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from actors.limit_words import explain_limits, name_of, words_of_s, words_of_window
from actors.reports import GroupLimits
from runtime.names import printable
from runtime.render import Result, duration, number, pairs, table, time_utc, words


def _candles(result: Result) -> Iterable[Any]:
    series = result["series"]
    columns = ("open time (UTC)", "open", "high", "low", "close", "volume", "value", "")
    prices = columns[1:-1]
    filled_rows = result["filled"] or [False] * len(result["candles"])
    yield table(
        columns,
        (
            (
                time_utc(row["open_time_ms"]),
                *(number(row[name]) for name in prices),
                _mark(row["closed"], filled),
            )
            for row, filled in zip(result["candles"], filled_rows, strict=True)
        ),
    )
    complete = "complete" if result["complete"] else "not complete"
    yield (
        f"{series['exchange']} {series['market']} {series['timeframe']}: "
        f"{len(result['candles'])} candles, {complete}, {_origin(result)}"
        + (f", as of {time_utc(result['as_of_ms'])} UTC" if result["as_of_ms"] else "")
    )
    for span in result["missing"]:
        start, end = time_utc(span["start_ms"]), time_utc(span["end_ms"])
        yield f"missing {start} to {end} UTC: {printable(span['reason'])}"


def _mark(closed: bool, filled: bool) -> str:  # noqa: FBT001 - both are what a row says
    if filled:
        return "filled: nobody traded"
    return "" if closed else "open"


def _origin(result: Result) -> str:
    """Return where an answer came from, and why."""
    reason = printable(result["reason"])
    return f"from {result['source']}" + (f": {reason}" if reason else "")


def _tickers(result: Result) -> Iterable[Any]:
    columns = ("market", "price", "change", "%", "high", "low", "24 h volume", "24 h value")
    tickers = result.get("tickers", [result])
    yield table(
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
    # Said once for those of which it is the same.
    yield from dict.fromkeys(map(_origin, tickers))


def _orderbook(result: Result) -> Iterable[Any]:
    asks = [("ask", number(price), number(size)) for price, size in reversed(result["asks"])]
    bids = [("bid", number(price), number(size)) for price, size in result["bids"]]
    yield table(("side", "price", "size"), [*asks, *bids])
    yield (
        f"{printable(result['market'])} at {time_utc(result['time_ms'])} UTC, in all "
        f"{number(result['total_ask_size'])} asked and {number(result['total_bid_size'])} bid, "
        f"{_origin(result)}"
    )


def _trades(result: Result) -> Iterable[Any]:
    yield table(
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
    yield f"{len(result['trades'])} trades of {printable(result['market'])}, {_origin(result)}"


def _markets(result: Result) -> Iterable[Any]:
    rows = [
        (market["market"], market["name"], "warning" if market["warning"] else "")
        for market in result["markets"]
    ]
    yield table(("market", "name", ""), rows, left=3)
    yield f"{len(rows)} in all"


def _limits(result: Result) -> Iterable[Any]:
    reports = msgspec.convert(result["limits"], tuple[GroupLimits, ...])
    columns = ("budget", "queued", "in flight", "next free", "server left")
    for exchange in dict.fromkeys(report.exchange for report in reports):
        groups = [report for report in reports if report.exchange == exchange]
        rows = (row for report in groups for row in _limit_rows(report))
        yield table((printable(exchange), *columns), rows, left=3)
    for report in reports:
        if report.rejected or report.refused:
            yield printable(
                f"{name_of(report)}: {number(report.rejected)} rejected by the exchange, "
                f"{number(report.refused)} refused by us"
            )
    granted, rejected, refused = (
        number(sum(getattr(report, name) for report in reports))
        for name in ("granted", "rejected", "refused")
    )
    yield (
        f"since start: {granted} let through, {rejected} rejected by the exchange, "
        f"{refused} refused by us"
    )
    # A ban is that of all groups, and said once.
    yield from dict.fromkeys(
        printable(f"{report.exchange}: {report.paused_because}")
        for report in reports
        if report.paused_because
    )


def _explain(result: Result) -> Iterable[Any]:
    reports = msgspec.convert(result["limits"], tuple[GroupLimits, ...])
    yield from map(words, explain_limits(reports))


def _limit_rows(report: GroupLimits) -> Iterable[tuple[str, ...]]:
    """Yield a line for each window or each class that waits, whichever are more."""
    windows = [words_of_window(window) for window in report.windows]
    waiting = [f"{number(each.queued)} {each.priority}" for each in report.classes if each.queued]
    heard = "-"
    if report.server_remaining is not None and report.server_heard_s is not None:
        heard = f"{number(report.server_remaining)}, {words_of_s(report.server_heard_s)} ago"
    rest = (
        number(report.in_flight),
        words_of_s(report.next_free_s),
        heard,
    )
    name = f"{report.group}/{report.holder}" if report.holder else report.group
    yield (name, windows[0], (waiting or ["-"])[0], *rest)
    for window, kind in itertools.zip_longest(windows[1:], waiting[1:], fillvalue=""):
        yield ("", window, kind, *("" for _ in rest))


def _cache(result: Result) -> Iterable[Any]:
    yield table(
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
    yield pairs(
        [
            ("memory", f"{number(result['bytes'])} of {number(result['bytes_max'])} bytes"),
            ("evicted series", number(result["evicted"])),
            *((name.replace("_", " "), number(result[name])) for name in answers),
            ("pages fetched", number(result["pages"])),
            ("candles in store", number(result["store_candles"])),
            ("bytes of store", number(result["store_bytes"])),
        ]
    )


def _streams(result: Result) -> Iterable[Any]:
    counts = ("wanted", "live", "silent", "frames", "malformed", "duplicates")
    more = ("reconnects", "renewals", "gaps")
    yield table(
        ("exchange", "state", "for", "heard", *counts, *more),
        (
            (
                stream["exchange"],
                stream["state"],
                duration(stream["since_s"]),
                "-" if stream["heard_s"] is None else f"{duration(stream['heard_s'])} ago",
                *(number(stream[name]) for name in (*counts, *more)),
            )
            for stream in result["streams"]
        ),
        left=2,
    )
    for stream in result["streams"]:
        if stream["reason"]:
            yield f"{stream['exchange']}: {printable(stream['reason'])}"
    if not result["streams"]:
        yield "no exchange's streams are used"


def _gaps(result: Result) -> Iterable[Any]:
    columns = ("exchange", "market", "what", "from (UTC)", "to (UTC)", "state", "cause", "detail")
    yield table(
        (*columns, "tries", "next try (UTC)"),
        (
            (
                gap["exchange"],
                gap["market"],
                f"{gap['kind']} {gap['timeframe']}".strip(),
                time_utc(gap["start_ms"]),
                time_utc(gap["end_ms"]),
                *(gap[name] for name in columns[5:]),
                number(gap["tries"]),
                time_utc(gap["next_try_ms"]),
            )
            for gap in result["gaps"]
        ),
        left=8,
    )
    still_open = sum(gap["state"] == "open" for gap in result["gaps"])
    yield f"{len(result['gaps'])} gaps, {still_open} of them open"


RENDERERS: dict[str, Callable[[Result], Iterable[Any]]] = {
    "candles": _candles,
    "ticker": _tickers,
    "tickers": _tickers,
    "orderbook": _orderbook,
    "trades": _trades,
    "markets": _markets,
    "limits": _limits,
    "explain": _explain,
    "cache": _cache,
    "streams": _streams,
    "gaps": _gaps,
}
