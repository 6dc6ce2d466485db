"""`marketd need`, `needs`, `preload`: what is sent, what is shown, and waiting for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from actors.errors import UnknownNeed
from actors.preload_messages import (
    PRELOAD_METHODS,
    AwaitNeed,
    DeclareNeed,
    ExplainPreload,
    GetNeeds,
    GetPreload,
    ReleaseNeed,
)
from runtime.cli import run
from runtime.core.errors import CallTimeout
from runtime.core.message import Request
from runtime.testing_socket import control_in_thread, sample_answer

ROOT = Path(__file__).resolve().parents[2]

# Words apart by |, and the last message that is sent.
COMMANDS: list[tuple[str, Request[Any]]] = [
    ("need|KRW-BTC|1d", DeclareNeed(market="KRW-BTC", timeframe="1d")),
    (
        "need|KRW-BTC|1d|ATR(20)|VOLUME|--history|90d|--strategy|momentum",
        DeclareNeed(
            market="KRW-BTC",
            timeframe="1d",
            indicators=("ATR(20)", "VOLUME"),
            history="90d",
            strategy="momentum",
        ),
    ),
    ("need|KRW-BTC|1m|--history|500", DeclareNeed(market="KRW-BTC", timeframe="1m", history=500)),
    ("need|KRW-BTC|1d|--wait", AwaitNeed(market="KRW-BTC", timeframe="1d")),
    (
        "need|KRW-BTC|1d|--strategy|s|--wait|9",
        AwaitNeed(market="KRW-BTC", timeframe="1d", strategy="s"),
    ),
    ("needs", GetNeeds()),
    ("needs|momentum", GetNeeds(strategy="momentum")),
    ("needs|release|momentum", ReleaseNeed(strategy="momentum")),
    ("needs|release|release", ReleaseNeed(strategy="release")),
    ("needs|release|momentum|KRW-BTC", ReleaseNeed(strategy="momentum", market="KRW-BTC")),
    (
        "needs|release|momentum|KRW-BTC|1d",
        ReleaseNeed(strategy="momentum", market="KRW-BTC", timeframe="1d"),
    ),
    ("preload", GetPreload()),
    ("preload|status", GetPreload()),
    ("preload|explain", ExplainPreload()),
    ("preload|explain|KRW-BTC|1d", ExplainPreload(market="KRW-BTC", timeframe="1d")),
]


@dataclass
class Runtime:
    """One that answers from samples and remembers what it was asked.

    Attributes:
      path: Its socket.
      trouble: What it answers with to the next requests to wait, in place of a sample.
      asked: What it was asked.
    """

    path: Path
    trouble: list[Exception] = field(default_factory=list)
    asked: list[Request[Any]] = field(default_factory=list)

    async def answer(self, request: Request[Any]) -> object:
        """Answer from samples."""
        self.asked.append(request)
        if isinstance(request, AwaitNeed) and self.trouble:
            raise self.trouble.pop()
        if isinstance(request, GetNeeds) and request.strategy == "nobody":
            return ()
        if isinstance(request, ReleaseNeed) and request.strategy == "nobody":
            raise UnknownNeed("strategy 'nobody' has declared no need")
        return await sample_answer(request)

    def marketd(self, words: str, *options: str) -> int:
        """Run a command here and return its exit code."""
        return run([*words.split("|"), *options, "--socket", str(self.path)])


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """A runtime that notes what it was asked."""
    runtime = Runtime(tmp_path / "c.sock")
    with control_in_thread(runtime.path, runtime.answer):
        yield runtime


@pytest.mark.parametrize(("words", "sent"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_command_sends_its_message_and_json_is_one_object(
    words: str, sent: Request[Any], runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """With every option where it belongs."""
    assert runtime.marketd(words, "--json") == 0

    out, err = capsys.readouterr()
    assert runtime.asked[-1] == sent
    assert err == ""
    assert out.count("\n") == 1
    assert isinstance(json.loads(out), dict)


@pytest.mark.parametrize("words", [words for words, _ in COMMANDS])
def test_what_people_see_is_plain_text_as_wide_as_a_terminal(
    words: str, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables are, where names are of the usual length; sentences break by themselves."""
    assert runtime.marketd(words) == 0

    out, err = capsys.readouterr()
    assert err == ""
    assert out.strip()
    assert "\x1b" not in out
    assert "…" not in out
    ruled = [line for line in out.splitlines() if "──" in line]
    assert all(len(line) <= 80 for line in ruled)


def test_a_strategy_without_needs_is_told_with_those_that_have_some(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that is misspelt must not look like a strategy that needs nothing."""
    assert runtime.marketd("needs|nobody") == 0
    assert capsys.readouterr().out == (
        "strategy nobody has declared no need; strategies with needs: momentum\n"
    )
    assert runtime.marketd("needs|nobody", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"needs": []}


def test_every_request_has_a_command() -> None:
    """What bots can ask and declare, people can, too."""
    assert {type(sent) for _, sent in COMMANDS} == set(PRELOAD_METHODS.values())


# ------------------------------------------------------------------ waiting


def test_waiting_tells_news_on_standard_error_and_the_end_on_standard_output(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """A log gets a line when something has come, not one a second."""
    runtime.trouble = [CallTimeout("not yet"), CallTimeout("not yet")]

    assert runtime.marketd("need|KRW-BTC|1d|--wait|--json") == 0

    out, err = capsys.readouterr()
    assert err == "200 of 400 candles are there, ready in 41 s\n"
    assert json.loads(out)["state"] == "ready"
    assert sum(isinstance(each, GetNeeds) for each in runtime.asked) == 2


def test_need_that_was_released_meanwhile_is_not_declared_again(runtime: Runtime) -> None:
    """Somebody wanted it to end; whoever waits is told."""
    runtime.trouble = [UnknownNeed("declared no need")]

    assert runtime.marketd("need|KRW-BTC|1d|--wait") == 1
    assert [type(each) for each in runtime.asked] == [DeclareNeed, AwaitNeed]


@pytest.mark.parametrize(
    "line", ["need|KRW-BTC|1d|--strategy|mine|ATR(20)|RSI(14)", "need|KRW-BTC|1d|ATR(20)|RSI(14)"]
)
def test_indicators_may_stand_behind_options(runtime: Runtime, line: str) -> None:
    """A shell's user adds them at the end of the line."""
    assert runtime.marketd(line) == 0

    (asked,) = runtime.asked
    assert isinstance(asked, DeclareNeed)
    assert asked.indicators == ("ATR(20)", "RSI(14)")


def test_what_is_not_ready_in_time_is_no_success(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """`marketd need … --wait 2 && start-bot` must not start the bot; data stays off the output."""
    runtime.trouble = [CallTimeout("not yet")] * 2

    assert runtime.marketd("need|KRW-BTC|1d|--wait|1.5") == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == (
        "marketd: not ready within 1.5 s: 200 of 400 candles are there, ready in 41 s; "
        "it goes on all the same"
    )


@pytest.mark.real_time
def test_in_a_terminal_one_line_is_drawn_over(runtime: Runtime) -> None:
    """Nobody wants six hundred lines of how far it is."""
    runtime.trouble = [CallTimeout("not yet")] * 2
    near, far = os.openpty()
    program = [sys.executable, "-m", "runtime", "need", "KRW-BTC", "1d", "--wait"]

    done = subprocess.run(
        [*program, "--socket", str(runtime.path)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=far,
        timeout=30,
        check=True,
    )

    os.close(far)
    shown = os.read(near, 10_000).decode()
    os.close(near)
    told = "\r\x1b[K200 of 400 candles are there, ready in 41 s"
    assert (done.returncode, shown) == (0, f"{told}{told}\r\x1b[K")


# ------------------------------------------------------------------ trial


def test_dry_run_says_what_each_indicator_takes_without_a_runtime(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is set up."""
    words = ["need", "KRW-BTC", "1d", "HIGH(60)", "VOLUME(30)", "--history", "500", "--dry-run"]

    assert run([*words, "--socket", str(tmp_path / "absent.sock")]) == 0

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "HIGH(60) 60" in lines
    assert "VOLUME(30): 30 hold all that it is computed from" in lines
    assert lines[-1] == (
        "600 candles of KRW-BTC 1d: 60 for HIGH(60), 50 to spare, at least the 500 of the history, "
        "in 3 full pages"
    )


def test_dry_run_without_indicators_speaks_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    """No empty table, no margin of nothing."""
    assert run(["need", "KRW-BTC", "1d", "--dry-run"]) == 0
    assert capsys.readouterr().out == "200 candles of KRW-BTC 1d: in 1 full page\n"


def test_dry_run_promises_no_candles_to_spare_where_there_are_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At the bound the margin gives way."""
    assert run(["need", "KRW-BTC", "1d", "SMA(100000)", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "100,000 candles of KRW-BTC 1d: 100,000 for SMA(100000), in 500 full pages"
    )


def test_dry_run_as_json_is_what_a_program_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures, reasons, and the margin that is set."""
    config = tmp_path / "m.toml"
    config.write_text("[preload]\nmargin = 150\n")

    assert run(["need", "KRW-BTC", "1d", "high(60)", "--dry-run", "--json"]) == 0
    assert (
        run(["need", "KRW-BTC", "1d", "OBV", "--dry-run", "--json", "--config", str(config)]) == 0
    )

    usual, other = map(json.loads, capsys.readouterr().out.splitlines())
    assert usual == {
        "market": "KRW-BTC",
        "timeframe": "1d",
        "strategy": "default",
        "indicators": [
            {
                "indicator": "HIGH(60)",
                "candles": 60,
                "why": "60 hold all that it is computed from",
                "relative": False,
            }
        ],
        "widest": "HIGH(60)",
        "exact": 60,
        "margin": 50,
        "history": 0,
        "candles": 200,
        "pages": 1,
    }
    assert (other["margin"], other["indicators"][0]["relative"]) == (150, True)


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("need|KRW-BTC|1d|ATX(3)|--dry-run", "no indicator 'ATX' is known"),
        ("need|KRW-BTC|7m|--dry-run", "timeframe must be"),
        (
            "need|KRW-BTC|1d|--history|soon|--dry-run",
            "history must be a number of candles, or a length of time such as 90d or 4h; was",
        ),
        (
            "need|KRW-BTC|1d|--history|-5|--dry-run",
            "history, in candles, must be 1 to 100000, was -5",
        ),
        ("need|KRW-BTC|1d|--strategy||--dry-run", "strategy must be a name of 1 to 64"),
        ("needs|release", "it is marketd needs [STRATEGY], or marketd needs release STRATEGY"),
        ("needs|momentum|KRW-BTC", "it is marketd needs [STRATEGY], or marketd needs release"),
        ("needs|release|a|b|c|d", "it is marketd needs [STRATEGY], or marketd needs release"),
    ],
)
def test_wrong_usage_is_said_before_anybody_is_asked(
    words: str, problem: str, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what was wanted."""
    assert runtime.marketd(words) == 2
    assert runtime.asked == []
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "ATR(20)"])
def test_what_follows_wait_is_a_time_or_nothing(
    seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An indicator behind `--wait` is taken for its seconds: the error says how to say it."""
    with pytest.raises(SystemExit, match="2"):
        run(["need", "KRW-BTC", "1d", f"--wait={seconds}"])
    assert "say it last if it has none" in capsys.readouterr().err


def test_need_that_is_not_there_is_no_mistake_in_the_command(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may just have ended: the runtime says no, and scripts see 1."""
    assert runtime.marketd("needs|release|nobody") == 1
    assert "has declared no need" in capsys.readouterr().err


# ------------------------------------------------------------------ as a process


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["need", "KRW-BTC", "1d", "ATR(20)", "--dry-run", "--json"], {"trio", "numpy", "rich"}),
        (["--help"], {"runtime.cli_preload", "actors.preloading.indicator_table"}),
        (["need", "--help"], {"trio", "numpy", "rich", "actors.preloading.indicator_table"}),
    ],
    ids=["dry-run", "help", "help of need"],
)
def test_nothing_heavy_is_loaded(words: list[str], unwanted: set[str]) -> None:
    """A command must not feel slower than the interpreter that runs it."""
    program = (
        "import contextlib, sys; from runtime.cli import run\n"
        f"with contextlib.suppress(SystemExit): assert run({words!r}) == 0\n"
        f"print(sorted({unwanted!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=30,
    )
    assert done.stderr.strip() == "[]"
