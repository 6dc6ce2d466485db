"""The main job on real input: recorded candles, real processes, the real socket and the real disk.

Each test starts its own sandbox exchange and its own daemon in a temporary folder. They take tens
of seconds because the exchange's rate limit is kept, and are marked `slow`.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors.errors import ExchangeUnavailable
from runtime import connect
from runtime.client.blocking import BlockingClient
from runtime.testing_processes import start_daemon, start_sandbox

pytestmark = [pytest.mark.real_time, pytest.mark.recorded, pytest.mark.slow]

FILES = {
    "KRW-BTC": "BTC_KRW_1m_20250901_20251004.csv.gz",
    "KRW-DOGE": "DOGE_KRW_1m_20250901_20250920.csv.gz",
}
PAGE = 200

Row = tuple[int, float, float, float, float, float]


def file_rows(path: Path) -> list[Row]:
    """Return the rows of a recorded file as numbers, oldest first."""
    with gzip.open(path, "rt", encoding="ascii", newline="") as lines:
        return [
            (
                int(datetime.fromisoformat(line["timestamp"]).replace(tzinfo=UTC).timestamp())
                * 1000,
                *(float(line[name]) for name in ("open", "high", "low", "close", "volume")),  # type: ignore[misc]
            )
            for line in csv.DictReader(lines)
        ]


def pages_backwards(market: BlockingClient, code: str, *, end_ms: int) -> Iterator[list[Row]]:
    """Read a market's minutes through the socket, page by page, until nothing older exists."""
    while True:
        page = market.candles(code, "1m", PAGE, end=end_ms, timeout_s=60)
        assert page.complete
        assert bool(page.closed.all())
        yield [(row[0], row.open, row.high, row.low, row.close, row.volume) for row in page]
        if len(page) < PAGE:
            return
        end_ms = int(page.open_time_ms[0])


def whole_market(market: BlockingClient, code: str, *, end_ms: int) -> list[Row]:
    """Return all of a market's minutes as read through the socket, oldest first."""
    pages = list(pages_backwards(market, code, end_ms=end_ms))
    return [row for page in reversed(pages) for row in page]


def granted(market: BlockingClient) -> int:
    """Return how many requests for candles the exchange has been sent."""
    return next(group.granted for group in market.limits() if group.group == "candle")


def replay_options(recorded: Path) -> list[str]:
    """Return the sandbox's options to replay both recorded files."""
    options = []
    for code, name in FILES.items():
        options += ["--replay", str(recorded / "candles" / name), "--market", code]
    return [*options, "--timeframe", "1m"]


def test_every_recorded_candle_is_read_exactly_and_paid_for_once(
    recorded: Path, tmp_path: Path
) -> None:
    """Real history through the real socket; later nothing of it costs a call, nor needs anybody."""
    wanted = {code: file_rows(recorded / "candles" / name) for code, name in FILES.items()}
    ends = {code: rows[-1][0] + 60_000 for code, rows in wanted.items()}

    with start_sandbox(*replay_options(recorded), folder=tmp_path) as (exchange, url):
        with start_daemon(tmp_path, rest_url=url) as (daemon, socket), connect(socket) as market:
            for code, rows in wanted.items():
                assert whole_market(market, code, end_ms=ends[code]) == rows
            paid = granted(market)
            # The fewest there can be: full pages, and a last one that shows where history begins.
            assert paid == sum(-(-len(rows) // PAGE) for rows in wanted.values())
            for code, rows in wanted.items():
                assert whole_market(market, code, end_ms=ends[code]) == rows
            assert granted(market) == paid
            assert all(group.rejected == 0 for group in market.limits())
            assert daemon.kill() != 0

        with start_daemon(tmp_path, rest_url=url) as (_, socket), connect(socket) as market:
            for code, rows in wanted.items():
                assert whole_market(market, code, end_ms=ends[code]) == rows
            assert granted(market) == 0
            exchange.stop()
            for code, rows in wanted.items():
                assert whole_market(market, code, end_ms=ends[code]) == rows
            assert granted(market) == 0
            with pytest.raises(ExchangeUnavailable, match="upbit"):
                market.candles("KRW-BTC", "3m", 5, timeout_s=30)
