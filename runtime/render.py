"""Tables for people: plain text in a pipe, coloured in a terminal. What they say is elsewhere.

Imported only when a person looks: a program that asks for JSON does not wait for rich.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from actors.timeframes import format_time_ms
from runtime.names import printable

Result = Mapping[str, Any]

_MILLISECOND_S = 0.001
# Wide enough for every table: what reads from a pipe wants whole lines.
_PIPE_WIDTH = 1_000


def draw(parts: Iterable[Any], file: TextIO) -> None:
    """Write tables and lines to `file`, one below the other."""
    console = _console(file)
    for part in parts:
        console.print(part)


@contextmanager
def screen(file: TextIO) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Give what draws parts in place of those before, for as long as the block runs.

    A terminal's screen is as it was when the block ends. Elsewhere nothing can be drawn over, so
    the parts follow one another.
    """
    console = _console(file)
    if not console.is_terminal:
        yield lambda parts: draw(parts, file)
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield lambda parts: live.update(Group(*parts), refresh=True)


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
    if 0 < seconds < _MILLISECOND_S:
        return f"{seconds * 1e6:.3g} µs"
    if whole < 1:
        return f"{seconds:.3g} s" if seconds else "0 s"
    parts = [(whole // 86_400, "d"), (whole // 3_600 % 24, "h"), (whole // 60 % 60, "min")]
    parts.append((whole % 60, "s"))
    first = next(place for place, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> Table:
    """Return a table; its first `left` columns are words, the others numbers."""
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        drawn.add_column(name, justify="left" if place < left else "right", no_wrap=True)
    for row in rows:
        # Names come from exchanges: as text, so that nothing in them is taken for an order.
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    return drawn


def pairs(named: Iterable[tuple[str, str]]) -> Table:
    """Return names with their values, one pair a line."""
    drawn = Table.grid(padding=(0, 2))
    for name, value in named:
        drawn.add_row(Text(name, style="bold"), Text(printable(value)))
    return drawn


def words(text: str) -> Text:
    """Return text of several lines, in which nothing is taken for an order."""
    return Text(printable(text, 20_000))


def _console(file: TextIO) -> Console:
    width = None if file.isatty() else _PIPE_WIDTH
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)
