"""The answer of every command, drawn for people.

Imported only when a person looks: a program that asks for JSON does not wait for rich.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from runtime import render_jobs, render_keys, render_market, render_preload, render_runtime
from runtime.render import Result, draw, screen

_RENDERERS: dict[str, Callable[[Result], Iterable[Any]]] = {
    **render_market.RENDERERS,
    **render_runtime.RENDERERS,
    **render_keys.RENDERERS,
    **render_jobs.RENDERERS,
    **render_preload.RENDERERS,
}


def render(command: str, result: Result, file: TextIO) -> None:
    """Write the result of `command` to `file`: tables, and what else is to be said."""
    draw(_RENDERERS[command](result), file)


@contextmanager
def render_again_and_again(command: str, file: TextIO) -> Iterator[Callable[[Result], None]]:
    """Give what draws one result of `command` after the other, in the same place if it can."""
    with screen(file) as redraw:
        yield lambda result: redraw(_RENDERERS[command](result))
