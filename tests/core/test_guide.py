"""The guide in `runtime.core` is code that runs."""

from __future__ import annotations

import inspect
import logging
import textwrap

import pytest
import trio
import trio.testing

import runtime.core
from runtime.core.supervisor import Supervisor


def program(guide: str) -> str:
    """Return the program in the guide: what is indented from its first import on."""
    lines = inspect.cleandoc(guide).splitlines()
    first = lines.index("    import random")
    last = next(
        number
        for number, line in enumerate(lines)
        if number > first and line and not line.startswith("    ")
    )
    return textwrap.dedent("\n".join(lines[first:last]))


def test_the_program_in_the_guide_does_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever copies it must get what was promised."""
    assert runtime.core.__doc__ is not None
    names: dict[str, object] = {"__name__": "guide"}
    exec(compile(program(runtime.core.__doc__), "guide", "exec"), names)  # noqa: S102 - our own
    logging.disable(logging.CRITICAL)
    try:
        trio.run(names["main"], clock=trio.testing.MockClock(autojump_threshold=0))  # type: ignore[arg-type]
    finally:
        logging.disable(logging.NOTSET)

    assert capsys.readouterr().out.splitlines() == [
        "2 cups, 2 so far",
        "refused: no cups were given",
        "it boiled over, and another one stands there",
        "3 cups, 3 so far",
        "a guest got 1 cups, 4 so far",
        "a guest got 1 cups, 5 so far",
        "kitchen.kettle: RuntimeError: it boiled over; it is started again",
    ]


def test_the_guide_names_only_what_there_is() -> None:
    """A reader who looks for a word of it must find it."""
    operations = ["start_child", "terminate_child", "restart_child", "delete_child"]
    operations += ["which_children", "count_children", "get_child_spec", "change", "wait_ready"]

    assert runtime.core.__doc__ is not None
    for operation in operations:
        assert f"{operation}" in runtime.core.__doc__
        assert hasattr(Supervisor, operation)
