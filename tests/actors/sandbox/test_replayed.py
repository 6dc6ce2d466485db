"""`ReplayedSource`: the file's rows come back exactly, and a bad file is named to the line."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.sandbox.bars import Bar
from actors.sandbox.market import SandboxMarket
from actors.sandbox.replayed import ReplayedSource, ReplayFileError
from actors.sandbox.trades import fold_trades, trades_of
from actors.timeframes import Timeframe

HEADER = "timestamp,open,high,low,close,volume"
ROW = "2025-09-01 00:00:00,150700000.0,150803000.0,150640000.0,150803000.0,1.51931528"
NEXT = "2025-09-01 00:01:00,150803000.0,150838000.0,150705000.0,150836000.0,0.8461566"


def replay(path: Path, *lines: str, timeframe: Timeframe = Timeframe.M1) -> SandboxMarket:
    """Return the market of a file with these lines."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return SandboxMarket(ReplayedSource(path, code="KRW-BTC", timeframe=timeframe))


def all_rows(market: SandboxMarket, timeframe: Timeframe, now_ms: int) -> list[Bar]:
    """Return all candles, oldest first, page by page as a client reads them."""
    found: list[Bar] = []
    to_ms: int | None = None
    while page := market.candles(timeframe, to_ms=to_ms, count=200, now_ms=now_ms):
        found += page
        to_ms = page[-1].open_ms
    return found[::-1]


def as_floats(market: SandboxMarket, bar: Bar) -> list[float]:
    """Return what a client reads for the columns of the file."""
    scale = market.scale
    prices = [scale.price(units) for units in (bar.open, bar.high, bar.low, bar.close)]
    return [*prices, scale.volume(bar.volume)]


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("name", "timeframe"),
    [
        ("BTC_KRW_1m_20250901_20251004", Timeframe.M1),
        ("DOGE_KRW_1m_20250901_20250920", Timeframe.M1),
        ("BTC_KRW_1h_20220101_20250929", Timeframe.H1),
    ],
)
def test_recorded_candles_come_back_exactly(
    recorded: Path, name: str, timeframe: Timeframe
) -> None:
    """Every row of the real files, as the same float64, holes and all."""
    path = recorded / "candles" / f"{name}.csv.gz"
    source = ReplayedSource(path, code="KRW-BTC", timeframe=timeframe)
    market = SandboxMarket(source)
    with gzip.open(path, "rt", encoding="utf-8") as text:
        wanted = [list(map(float, row[1:])) for row in list(csv.reader(text))[1:]]

    found = all_rows(market, timeframe, source.end_ms)

    assert [as_floats(market, bar) for bar in found] == wanted


@pytest.mark.recorded
def test_trades_inside_recorded_candles_add_up(recorded: Path) -> None:
    """Two days of real minutes, trade by trade."""
    path = recorded / "candles" / "DOGE_KRW_1m_20250901_20250920.csv.gz"
    source = ReplayedSource(path, code="KRW-DOGE", timeframe=Timeframe.M1)
    bars = source.bars(source.first_ms, source.first_ms + 2 * 86_400_000)
    trades = trades_of(bars, span_ms=60_000, key=source.key)
    assert fold_trades(trades, Timeframe.M1).rows() == bars.rows()


numbers = st.decimals(min_value="0.0001", max_value="99999999", places=4)
volumes = st.floats(1e-6, 1e6, allow_subnormal=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), numbers, numbers, volumes), min_size=1, max_size=30))
def test_any_file_comes_back_as_its_text_parses(
    tmp_path: Path, rows: list[tuple[int, float, float, float]]
) -> None:
    """Also volumes with sixteen digits or an exponent, as float arithmetic leaves them."""
    lines, wanted, minute = [HEADER], [], 0
    for skipped, first, second, volume in rows:
        minute += 1 + skipped
        low, high = sorted((first, second))
        cells = [str(first), str(high), str(low), str(second), repr(round(volume, 9))]
        lines.append(f"2025-09-01 {minute // 60:02}:{minute % 60:02}:00,{','.join(cells)}")
        wanted.append(list(map(float, cells)))

    market = replay(tmp_path / "any.csv", *lines)

    found = market.candles(Timeframe.M1, to_ms=None, count=200, now_ms=2_000_000_000_000)
    assert [as_floats(market, bar) for bar in found[::-1]] == wanted


def test_a_gzipped_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    """Names lie."""
    path = tmp_path / "candles.csv"
    path.write_bytes(gzip.compress(f"{HEADER}\n{ROW}\n{NEXT}\n".encode()))
    source = ReplayedSource(path, code="KRW-BTC", timeframe=Timeframe.M1)
    assert len(source.bars(0, source.end_ms)) == 2
    assert source.end_ms - source.first_ms == 120_000


def test_the_tick_is_what_all_prices_are_multiples_of(tmp_path: Path) -> None:
    """Order books then stand on the file's own grid."""
    assert replay(tmp_path / "a.csv", HEADER, ROW, NEXT).scale.tick == 1_000


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["time,open", ROW], r"line 1: wanted the columns timestamp,open,.*found 'time,open'"),
        ([HEADER], "wanted at least one candle, found none"),
        ([], "line 1: wanted the columns"),
        ([HEADER, "2025-09-01 00:00:00,1,1,1,1"], "line 2: wanted 6 fields; found '5: 2025"),
        ([HEADER, "yesterday,1,1,1,1,1"], "line 2: wanted a timestamp in UTC.*'yesterday'"),
        ([HEADER, "2025-09-01 00:00:30,1,1,1,1,1"], "line 2: wanted the opening time of a 1m"),
        ([HEADER, ROW, ROW], "line 3: wanted a timestamp after that of the row before"),
        ([HEADER, NEXT, ROW], "line 3: wanted a timestamp after that of the row before"),
        ([HEADER, "2025-09-01 00:00:00,1,1,1,x,1"], "line 2: wanted a number for close; found 'x'"),
        ([HEADER, "2025-09-01 00:00:00,1,1,1,nan,1"], "a number for close; found 'nan'"),
        ([HEADER, "2025-09-01 00:00:00,-1,1,1,1,1"], "a number for open; found '-1'"),
        ([HEADER, "2025-09-01 00:00:00,0.0,1,1,1,1"], "open above 0; found '0.0'"),
        ([HEADER, "2025-09-01 00:00:00,1,1,1,1,0.0"], r"volume above 0 \(leave a row without"),
        ([HEADER, "2025-09-01 00:00:00,2,1,1,1,5"], "wanted a low that is lowest"),
        ([HEADER, "2025-09-01 00:00:00,1,3,2,2,5"], "wanted a low that is lowest"),
        ([HEADER, "2025-09-01 00:00:00,1,9,1,8,2e-8"], "a volume that 3 trades can have made"),
        ([HEADER, f"2025-09-01 00:00:00,1,1,1,1,{'9' * 25}"], "a volume that fits 62 bits"),
    ],
)
def test_a_bad_file_is_named_to_the_line(tmp_path: Path, lines: list[str], message: str) -> None:
    """With what was wanted and what is there, so that it can be mended."""
    with pytest.raises(ReplayFileError, match=message) as caught:
        replay(tmp_path / "bad.csv", *lines)
    assert "bad.csv" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"\x1f\x8b\x08\x00garbage",
        gzip.compress(b"timestamp,open" * 99, mtime=0)[:40],
        b"\xff\xfe\x00,,\n",
    ],
)
def test_what_is_no_text_is_said_so(tmp_path: Path, content: bytes) -> None:
    """A truncated download, or not a CSV at all."""
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(ReplayFileError, match=r"bad\.csv"):
        ReplayedSource(path, code="KRW-BTC", timeframe=Timeframe.M1)


def test_a_missing_file_and_weeks_are_refused(tmp_path: Path) -> None:
    """Weeks do not divide into days, of which months are made."""
    with pytest.raises(ReplayFileError, match=r"cannot be read: .*No such file"):
        ReplayedSource(tmp_path / "none.csv", code="KRW-BTC", timeframe=Timeframe.M1)
    with pytest.raises(ReplayFileError, match="wanted 1d or shorter"):
        replay(tmp_path / "w.csv", HEADER, ROW, timeframe=Timeframe.W1)


def test_blank_lines_and_a_byte_order_mark_are_no_matter(tmp_path: Path) -> None:
    """Spreadsheets write both."""
    market = replay(tmp_path / "a.csv", f"\ufeff{HEADER}", ROW, "", NEXT, "")
    buffer = io.StringIO()
    csv.writer(buffer).writerow(as_floats(market, all_rows(market, Timeframe.M1, 10**13)[0]))
    assert buffer.getvalue().strip() == ROW.partition(",")[2]
