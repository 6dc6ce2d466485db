"""The commands for operators: what they show, what they refuse, and watching."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.errors import Overloaded
from runtime.cli import run
from runtime.core.message import Request
from runtime.render import duration
from runtime.testing_operations import sample_operation
from runtime.testing_socket import control_in_thread, sample_answer

ROOT = Path(__file__).resolve().parents[2]

# The columns' widths are rich's business, so blanks in a row count as two.
TREE = """\
 actor  state  last crash  life  up  restarts  queued  peak  handled  in handlers  longest  in hand
 upbit  running, not ready  2  1 min 1 s  1
  limiter  restarting  ValueError: [bold]boom[/bold]  2  0 s  1  3  4,096  1,234,000  12 s  50 µs
  cache  running, suspended  ValueError: [bold]boom[/bold]  2  1 min 1 s  1  3  4,096  1,234,000  \
12 s  50 µs  GetCandles for 7 s
3 in all, at 2026-01-01 00:00:00 UTC
store ignored its cancellation and still lives, beside its successor
"""

ACTOR = """\
upbit.cache  actor, permanent
state  running
up  1 min 1 s, incarnation 2, 1 restarts
last crash  ValueError: [bold]boom[/bold]
mailbox  3 queued, peak 4,096
messages  1,234,567 received, 1 refused, 2 dropped, 1,234,000 handled, 5 failed
handlers  12 s in all, longest 50 µs
in hand  GetCandles for 7 s
CacheActor, incarnation 2
unanswered  1
pages  1,234
waiting  0
by group candles  0.0000005
reason  -
2026-01-01 00:00:00 UTC, incarnation 1 ended after 1 min 30 s: crash: ValueError: \
[bold]boom[/bold]; it is started again
  Traceback (most recent call last):
  File "actors/cache.py", line 1, in handle_call
  ValueError: [bold]boom[/bold]
 time (UTC)  actor  what  detail
 2026-01-01 00:00:00  upbit.cache  crashed  ValueError: boom
"""


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The socket of a runtime that answers from samples."""
    socket = tmp_path / "c.sock"
    with control_in_thread(socket):
        yield socket


def bare(text: str) -> str:
    """Return text without rules and empty lines, and with at most two blanks in a row."""
    kept = [re.sub("   *", "  ", line.rstrip()) for line in text.splitlines() if line.strip(" ─")]
    return "\n".join(kept) + "\n"


@pytest.mark.parametrize(
    ("command", "shown"),
    [(["tree"], TREE), (["actor", "upbit.cache"], ACTOR)],
    ids=["tree", "actor"],
)
def test_people_see_this(
    command: list[str], shown: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Word for word: what is in the messages of errors is text, and no order to the terminal."""
    assert run([*command, "--socket", str(path)]) == 0

    assert bare(capsys.readouterr().out) == shown


def test_parts_of_an_actor_are_requests_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the numbers as given, and the name where it was."""
    asked: list[Any] = []

    async def answer(request: Request[Any]) -> object:
        asked.append(request)
        return await sample_answer(request)

    with control_in_thread(tmp_path / "c.sock", answer):
        for words in ("actor a.b events --count 7", "actor a.b trace --count 8 --for 0.5"):
            assert run([*words.split(), "--json", "--socket", str(tmp_path / "c.sock")]) == 0
        assert run(["actor", "--socket", str(tmp_path / "c.sock"), "a.b", "state", "--json"]) == 0

    events, trace, state = asked
    assert (events.name, events.count) == ("a.b", 7)
    assert (trace.name, trace.count, trace.for_s) == ("a.b", 8, 0.5)
    assert state.name == "a.b"
    assert len(json.loads(capsys.readouterr().out.splitlines()[0])["events"]) == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["actor"], "required: NAME"),
        (["actor", "a", "explode"], "invalid choice: 'explode'"),
        (["actor", "a", "suspend", "--count", "5"], "unrecognized arguments: --count"),
        (["tree", "--watch", "0"], "must be at least 0.05, was 0"),
        (["restart"], "required: NAME"),
    ],
)
def test_wrong_usage_of_them_is_explained_with_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anybody is asked."""
    with pytest.raises(SystemExit, match="2"):
        run(arguments)

    assert words in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "table"])
def test_watching_prints_again_until_there_is_no_answer(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into a pipe one after the other, with no order to a terminal among it."""
    left = [1, 2, 3]

    async def answer(request: Request[Any]) -> object:
        if not left:
            raise Overloaded("enough")
        left.pop()
        return sample_operation(request)

    with control_in_thread(tmp_path / "c.sock", answer):
        watch = ["tree", "--watch", "0.05", "--socket", str(tmp_path / "c.sock")]
        assert run([*watch, *options]) == 1

    out, err = capsys.readouterr()
    assert err == "marketd: enough\n"
    assert "\x1b" not in out
    if options:
        assert len({json.loads(line)["time_ms"] for line in out.splitlines()}) == 1
        assert out.count("\n") == 3
    else:
        assert bare(out) == TREE * 3


# As a shell starts it for somebody who sits there; in the background Ctrl-C is ignored.
AT_A_TERMINAL = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from runtime.__main__ import main
raise SystemExit(main())
"""


@pytest.mark.real_time
def test_watching_ends_well_by_ctrl_c(path: Path) -> None:
    """It is the way to end it."""
    watch = ["tree", "--watch", "0.05", "--json", "--socket", str(path)]
    with subprocess.Popen(
        [sys.executable, "-c", AT_A_TERMINAL, *watch],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert json.loads(process.stdout.readline())["actors"]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)

    assert (process.returncode, err) == (0, "")


def test_short_times_have_no_exponent() -> None:
    """A handler takes microseconds, and 5e-05 s says that to nobody."""
    assert [duration(s) for s in (0.00005, 1.5e-7, 0.0009994)] == ["50 µs", "0.15 µs", "999 µs"]
