"""Markets replayed from a file of real candles, row by row, exactly.

The file is CSV, plain or compressed with gzip, with the columns `timestamp,open,high,low,close,
volume`, oldest first. `timestamp` is the opening time in UTC. Numbers are kept as the decimal text
says, so what a client reads is the same float64 as parsing the file gives.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from actors.errors import InvalidRequest
from actors.sandbox.bars import Bars, Scale
from actors.sandbox.hashing import key_of
from actors.sandbox.market import DAY_MS
from actors.sandbox.trades import bars_of
from actors.timeframes import Timeframe

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
ROWS_MAX = 10_000_000

_GZIP_MAGIC = b"\x1f\x8b"
# Python writes small float64s with an exponent: 6.968e-05.
_NUMBER = re.compile(r"(\d{1,30})(?:\.(\d{0,30}))?(?:[eE]([+-]?\d{1,2}))?", re.ASCII)
_UNITS_END = 1 << 62
_VOLUME_DECIMALS = 8
# A decimal as (digits, how many of them stand behind the point): 1.50 is (15, 1).
_Decimal = tuple[int, int]


class ReplayFileError(InvalidRequest):
    """A file cannot be replayed; the message names file, line, what was wanted and found."""


class ReplayedSource:
    """The base candles of one market, from a file.

    Args:
      path: The file.
      code: The market, e.g. `KRW-BTC`.
      timeframe: What a row lasts; it must divide a day.
      seed: Another seed puts other trades inside the same candles.

    Raises:
      ReplayFileError: The file cannot be read, or a row is not a candle.
    """

    def __init__(self, path: Path, *, code: str, timeframe: Timeframe, seed: int = 1) -> None:
        if timeframe.span_ms > DAY_MS:
            raise ReplayFileError(
                f"{path}: a file of {timeframe.value} candles cannot be replayed, because days "
                "cannot be made of them; wanted 1d or shorter"
            )
        rows = _Rows(path, timeframe)
        self.code = code
        self.base = timeframe
        self.scale = rows.scale
        self.key = key_of("replay", seed, code)
        self._bars = rows.bars(self.key)
        self.first_ms = int(self._bars.open_ms[0])
        self.end_ms = int(self._bars.open_ms[-1]) + timeframe.span_ms
        self.typical_volume = int(np.median(self._bars.volume))

    def bars(self, start_ms: int, end_ms: int) -> Bars:
        """Return the file's candles that open in [start_ms, end_ms)."""
        return self._bars.between(start_ms, end_ms)


class _Rows:
    """A file's rows, checked one by one and turned into whole numbers of one scale."""

    def __init__(self, path: Path, timeframe: Timeframe) -> None:
        self._path = path
        self._timeframe = timeframe
        self._open_ms: list[int] = []
        self._lines: list[int] = []
        self._numbers: list[tuple[_Decimal, ...]] = []
        for line, cells in self._read():
            self._add(line, cells)
        if not self._open_ms:
            raise ReplayFileError(f"{path}: wanted at least one candle, found none")
        price_decimals = max(n[1] for row in self._numbers for n in row[:4])
        volume_decimals = self._volume_decimals()
        self._columns = [
            self._scaled(index, decimals)
            for index, decimals in enumerate((*(price_decimals,) * 4, volume_decimals))
        ]
        self._numbers.clear()
        tick = int(np.gcd.reduce([np.gcd.reduce(column) for column in self._columns[:4]]))
        self.scale = Scale(price_decimals, volume_decimals, tick)

    def bars(self, key: int) -> Bars:
        """Return the rows as candles, once they have been found to be possible."""
        open_, high, low, close, volume = self._columns
        for wrong in np.flatnonzero(volume < 4).tolist():  # noqa: PLR2004 - fewer units than prices
            four = {int(column[wrong]) for column in (open_, high, low, close)}
            needed = len(four) + (open_[wrong] == close[wrong] and len(four) > 1)
            if int(volume[wrong]) < needed:
                raise self._error(
                    self._lines[wrong],
                    f"a volume that {needed} trades can have made",
                    self.scale.volume(int(volume[wrong])),
                )
        open_ms = np.array(self._open_ms, np.int64)
        span_ms = self._timeframe.span_ms
        return bars_of(open_ms, (open_, high, low, close), volume, span_ms=span_ms, key=key)

    def _read(self) -> Iterator[tuple[int, list[str]]]:
        try:
            with self._path.open("rb") as raw:
                zipped = raw.read(2) == _GZIP_MAGIC
            opener = gzip.open if zipped else open
            with opener(self._path, "rt", encoding="utf-8-sig", newline="") as text:
                reader = csv.reader(text)
                self._check_header(next(reader, []))
                for cells in reader:
                    yield reader.line_num, cells
        except (OSError, EOFError, zlib.error) as error:
            raise ReplayFileError(f"{self._path}: cannot be read: {error}") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise ReplayFileError(f"{self._path}: wanted CSV in UTF-8; {error}") from error

    def _check_header(self, cells: Sequence[str]) -> None:
        if tuple(cell.strip().lower() for cell in cells) != COLUMNS:
            raise self._error(1, f"the columns {','.join(COLUMNS)}", ",".join(cells))

    def _add(self, line: int, cells: Sequence[str]) -> None:
        if not cells:
            return
        if len(self._open_ms) >= ROWS_MAX:
            raise self._error(line, f"at most {ROWS_MAX} rows", "one more")
        if len(cells) != len(COLUMNS):
            raise self._error(line, f"{len(COLUMNS)} fields", f"{len(cells)}: {','.join(cells)}")
        self._open_ms.append(self._time(line, cells[0]))
        self._lines.append(line)
        numbers = tuple(map(self._number, [line] * 5, COLUMNS[1:], cells[1:]))
        open_, high, low, close, _ = map(float, cells[1:])
        if not low <= min(open_, close) <= max(open_, close) <= high:
            wanted = "a low that is lowest and a high that is highest"
            raise self._error(line, wanted, f"{','.join(cells[1:5])} for open,high,low,close")
        self._numbers.append(numbers)

    def _time(self, line: int, text: str) -> int:
        try:
            moment = datetime.fromisoformat(text.strip())
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
            time_ms = round(moment.timestamp() * 1000)
        except (ValueError, OverflowError):
            wanted = "a timestamp in UTC such as 2025-09-01 00:00:00"
            raise self._error(line, wanted, text) from None
        if time_ms < 0 or not self._timeframe.is_open_time(time_ms):
            raise self._error(line, f"the opening time of a {self._timeframe.value} candle", text)
        if self._open_ms and time_ms <= self._open_ms[-1]:
            raise self._error(line, "a timestamp after that of the row before", text)
        return time_ms

    def _number(self, line: int, column: str, text: str) -> _Decimal:
        match = _NUMBER.fullmatch(text.strip())
        if match is None:
            raise self._error(line, f"a number for {column}", text)
        fraction = (match[2] or "").rstrip("0")
        digits, decimals = int(match[1] + fraction), len(fraction) - int(match[3] or "0")
        if digits == 0:
            hint = " (leave a row without trades out: Upbit has no candle for it)"
            wanted = f"{column} above 0{hint if column == 'volume' else ''}"
            raise self._error(line, wanted, text)
        return (digits, decimals) if decimals >= 0 else (digits * int(10**-decimals), 0)

    def _volume_decimals(self) -> int:
        # A volume of 5 must be divisible among trades, so the unit is Upbit's if there is room.
        decimals = max(row[4][1] for row in self._numbers)
        largest = max(digits * 10.0**-behind for *_, (digits, behind) in self._numbers)
        fits = largest * 10.0**_VOLUME_DECIMALS < _UNITS_END
        return _VOLUME_DECIMALS if fits and decimals < _VOLUME_DECIMALS else decimals

    def _scaled(self, index: int, decimals: int) -> np.typing.NDArray[np.int64]:
        units = [row[index][0] * 10 ** (decimals - row[index][1]) for row in self._numbers]
        for line, number in zip(self._lines, units, strict=True):
            if number >= _UNITS_END:
                wanted = f"a {COLUMNS[index + 1]} that fits 62 bits at {decimals} decimals"
                raise self._error(line, wanted, number / 10**decimals)
        return np.array(units, np.int64)

    def _error(self, line: int, wanted: str, found: object) -> ReplayFileError:
        return ReplayFileError(
            f"{self._path}, line {line}: wanted {wanted}; found {str(found)[:200]!r}"
        )
