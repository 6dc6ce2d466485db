"""Upbit's numbers: each says where it comes from."""

from __future__ import annotations

import ast
import inspect

import pytest

from actors.exchanges.upbit import limits


def constants() -> list[str]:
    """Return the names of the constants that state a fact, not one made of others."""
    return [
        name
        for name in vars(limits)
        if name.isupper() and name not in {"RULES", "STREAM_RULES", "GROUPS", "LIMITS"}
    ]


@pytest.mark.parametrize("name", constants())
def test_every_number_has_a_source_and_a_day_beside_it(name: str) -> None:
    """A limit without a source cannot be checked when the exchange changes it."""
    lines = inspect.getsource(limits).splitlines()
    targets = {
        target.id: node.lineno - 1
        for node in ast.parse(inspect.getsource(limits)).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    start = targets[name]
    # Names that belong together share the comment above the first of them.
    while lines[start - 1].strip():
        start -= 1
    above = " ".join(lines[start : targets[name]])
    assert "# Source: " in above
    assert " 2026-" in above
