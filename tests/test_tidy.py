"""Measures that keep the code small enough to read. Exceptions are named here, or are none."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 400

# Path (or path::function) -> why it may pass. This list may only shrink.
EXCEPTIONS: dict[str, str] = {}

OURS = [*(ROOT / "runtime").rglob("*.py"), *(ROOT / "actors").rglob("*.py")]
TESTS = [*(ROOT / "tests").rglob("*.py")]
ALL = sorted(path.relative_to(ROOT).as_posix() for path in (*OURS, *TESTS))
TEST_FILES = [path for path in ALL if path.startswith("tests/")]

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def text(path: str) -> str:
    """Return what stands in a file."""
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def tree(path: str) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(text(path))


def functions(path: str) -> Iterator[Function]:
    """Return every function and method of a file, inner ones included."""
    for node in ast.walk(tree(path)):
        if isinstance(node, Function):
            yield node


def cases(path: str) -> Iterator[Function]:
    """Return the tests of a file."""
    return (each for each in functions(path) if each.name.startswith("test_"))


def body_lines(function: Function) -> int:
    """Return the length of a function without its decorators and docstring."""
    first, *rest = function.body
    start = rest[0] if ast.get_docstring(function) is not None and rest else first
    return (function.end_lineno or 0) - start.lineno + 1


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for such an expression; empty for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def calls(path: str, *names: str) -> Iterator[ast.Call]:
    """Return every call of one of these functions in a file."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and dotted(node.func) in names:
            yield node


def test_files_and_functions_are_short_enough_to_read() -> None:
    """What is too long is two things, and one of them is hard to find."""
    sizes = {f"{path}::{each.name}": body_lines(each) for path in ALL for each in functions(path)}
    too_long = {name: size for name, size in sizes.items() if size > FUNCTION_LINES_MAX}
    lengths = {path: len(text(path).splitlines()) for path in ALL}
    too_long |= {path: length for path, length in lengths.items() if length > FILE_LINES_MAX}

    assert {name: size for name, size in too_long.items() if name not in EXCEPTIONS} == {}


def test_every_file_says_what_it_is_for() -> None:
    """The first line a reader sees."""
    assert [path for path in ALL if not ast.get_docstring(tree(path))] == []


def test_no_exception_is_left_over() -> None:
    """An exception for something that is gone would cover the next one."""
    assert all(reason for reason in EXCEPTIONS.values())
    assert {name.partition("::")[0] for name in EXCEPTIONS} <= set(ALL)


def test_each_actor_has_a_file_and_a_test_of_its_own() -> None:
    """Whoever knows an actor's name knows where to look: `CacheActor` lives in `cache.py`."""
    wrong = []
    for path in OURS:
        if "core" in path.parts:
            continue
        relative = path.relative_to(ROOT)
        classes = (
            node for node in tree(relative.as_posix()).body if isinstance(node, ast.ClassDef)
        )
        # Messages about actors are called so, too: `GetActor`.
        actors = [
            each.name
            for each in classes
            if each.name.endswith("Actor") and "Actor" in map(dotted, each.bases)
        ]
        expected = "".join(word.capitalize() for word in path.stem.split("_")) + "Actor"
        test = ROOT / "tests" / relative.parent / f"test_{path.name}"
        if actors and (actors != [expected] or not test.is_file()):
            wrong.append(f"{relative}: {actors}, expected {expected} and {test.relative_to(ROOT)}")

    assert wrong == []


def test_nothing_is_mocked() -> None:
    """A mock agrees with whatever the code believes; the fakes that are shipped are checked."""
    mocking = [
        f"{path}:{node.lineno}"
        for path in TEST_FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and "mock" in ast.unparse(node).replace(".", " ").replace(",", " ").split()
    ]
    asking = [
        f"{path}:{each.lineno}"
        for path in TEST_FILES
        for each in functions(path)
        if "mocker" in {argument.arg for argument in each.args.args}
    ]

    assert mocking + asking == []


def test_nothing_sleeps_for_real() -> None:
    """Tests that wait are slow on a good day and fail on a bad one.

    `time.sleep` never; `trio.sleep` only on fake time, which the marker `real_time` takes away.
    Waiting for something to happen in the real world is `wait_for`.
    """
    blocking = [
        f"{path}:{call.lineno}" for path in TEST_FILES for call in calls(path, "time.sleep")
    ]
    asleep = [
        f"{path}:{node.lineno}"
        for path in TEST_FILES
        for each in cases(path)
        if any("real_time" in ast.unparse(mark) for mark in each.decorator_list)
        for node in ast.walk(each)
        if isinstance(node, ast.Call) and dotted(node.func) in {"trio.sleep", "trio.sleep_until"}
    ]

    assert blocking + asleep == []


def test_every_expected_error_is_expected_by_its_message() -> None:
    """Without `match`, the test passes for any error of that type, wherever it comes from."""
    vague = [
        f"{path}:{call.lineno}"
        for path in TEST_FILES
        for call in calls(path, "pytest.raises")
        if "match" not in {keyword.arg for keyword in call.keywords}
    ]

    assert vague == []


def test_every_test_gives_its_reason() -> None:
    """The name says what; the docstring says why anybody would care."""
    silent = [
        f"{path}::{each.name}"
        for path in TEST_FILES
        for each in cases(path)
        if not ast.get_docstring(each)
    ]

    assert silent == []


def test_no_package_below_tests_shadows_a_real_one() -> None:
    """`tests/runtime/__init__.py` would be found as `runtime`."""
    assert [path for path in TEST_FILES if path.endswith("__init__.py")] == []
