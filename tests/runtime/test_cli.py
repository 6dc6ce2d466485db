"""The command line: data on standard output, the rest on standard error, and the right exit code.

Most run in this process, because starting one costs a tenth of a second; what is about the process
itself starts one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.cli import run
from runtime.core.message import Request
from runtime.messages import Stop, Stopping
from runtime.render import duration, number, time_utc
from runtime.testing import NEW_YEAR_MS
from runtime.testing_socket import control_in_thread, sample_answer

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    ["candles", "KRW-BTC", "1m", "3"],
    ["ticker", "KRW-BTC"],
    ["ticker", "KRW-BTC", "KRW-ETH"],
    ["orderbook", "KRW-BTC", "--depth", "2"],
    ["trades", "KRW-BTC", "2"],
    ["markets", "--quote", "KRW"],
    ["limits"],
    ["cache"],
    ["status"],
    ["tree"],
    ["actor", "upbit.cache"],
    ["actor", "upbit.cache", "state"],
    ["actor", "upbit.cache", "statistics"],
    ["actor", "upbit.cache", "events", "--count", "2"],
    ["actor", "upbit.cache", "trace", "--for", "1"],
    ["actor", "upbit.cache", "suspend"],
    ["actor", "upbit.cache", "resume"],
    ["restart", "upbit.cache"],
    ["stop"],
]


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The socket of a runtime that answers from samples."""
    socket = tmp_path / "c.sock"
    with control_in_thread(socket):
        yield socket


def marketd(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from runtime.cli import run; "
    return subprocess.run(
        [sys.executable, "-c", f"{program}sys.exit(run())", str(ROOT), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=30,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_json_is_one_object_on_one_line(
    command: list[str], path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a program reads; nothing else may be among it."""
    code = run([*command, "--json", "--socket", str(path)])

    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    assert isinstance(json.loads(out), dict)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_table_is_plain_text_in_a_pipe(
    command: list[str], path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No colours, no cut columns, no exponents."""
    assert run([*command, "--socket", str(path)]) == 0

    out, err = capsys.readouterr()
    assert err == ""
    assert out.strip()
    assert "\x1b" not in out
    assert "e-" not in out.replace("re-", "")
    assert "…" not in out


def test_candles_as_json_are_what_bots_rely_on(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The names are an interface."""
    run(["candles", "KRW-BTC", "1m", "2", "--json", "--socket", str(path)])

    result = json.loads(capsys.readouterr().out)
    head = {"series", "complete", "missing", "source", "as_of_ms", "reason"}
    assert set(result) == head | {"candles", "filled"}
    assert result["candles"][1] == {
        "open_time_ms": NEW_YEAR_MS + 60_000,
        "open": 137_000_001.0,
        "high": 137_000_001.00000003,
        "low": 0.1 + 0.2,
        "close": 2e-8,
        "volume": 5e-324,
        "value": 1.7976931348623157e308,
        "closed": False,
    }


def test_one_ticker_is_itself_and_several_are_a_list(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`.price` for the usual case."""
    run(["ticker", "KRW-BTC", "--json", "--socket", str(path)])
    run(["ticker", "A", "B", "--json", "--socket", str(path)])

    one, several = map(json.loads, capsys.readouterr().out.splitlines())
    assert one["price"] == 137_000_000.0
    assert [ticker["market"] for ticker in several["tickers"]] == ["A", "B"]


def test_table_of_candles_says_what_it_is_and_what_is_missing(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A person must see that an answer is not whole."""
    run(["candles", "KRW-BTC", "1m", "2", "--socket", str(path)])

    out = capsys.readouterr().out
    assert "open time (UTC)" in out
    assert "137,000,001.00000003" in out
    rows = [line for line in out.splitlines() if line.startswith(" 2026-01-01")]
    assert [line.endswith("open ") for line in rows] == [False, True]
    assert "upbit KRW-BTC 1m: 2 candles, not complete, from exchange" in out
    assert "missing 2025-12-31 23:59:00 to 2026-01-01 00:00:00 UTC: the exchange is away" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["candles", "KRW-NONE", "1m"], 1, "upbit lists no market KRW-NONE"),
        (["candles", "KRW-AWAY", "1m"], 1, "upbit is away"),
        (["candles", "KRW-DEFECT", "1m"], 1, "internal error"),
        (["candles", "KRW-HANG", "1m", "--timeout", "0.02"], 1, "no answer to GetCandles within"),
        (["candles", "KRW-BTC", "99m"], 2, "timeframe must be one of"),
        (["candles", "KRW-BTC", "1m", "--config", "/absent.toml"], 0, ""),
    ],
)
def test_errors_go_to_standard_error_with_their_exit_code(
    arguments: list[str],
    code: int,
    words: str,
    path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Scripts go by the code, people by the one line, which gives a terminal no orders."""
    assert run([*arguments, "--socket", str(path)]) == code

    out, err = capsys.readouterr()
    assert words in err
    assert "Traceback" not in err
    assert "\x1b" not in err
    assert (out == "") is (code != 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["candles"], "MARKET, TIMEFRAME"),
        (["candles", "KRW-BTC", "1m", "many"], "invalid int value: 'many'"),
        (["candles", "KRW-BTC", "1m", "--max-age", "nan"], "must be 0 or more, was nan"),
        (["status", "--timeout", "-1"], "must be above 0, was -1"),
        (["--sandbox", "status"], "--sandbox starts the runtime"),
        (["ticker", "\udcff"], "must be text in UTF-8"),
        (["nonsense"], "invalid choice: 'nonsense'"),
    ],
)
def test_wrong_usage_is_explained_with_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anybody is asked."""
    with pytest.raises(SystemExit, match="2") as caught:
        run(arguments)

    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_wrong_settings_are_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Named in one line."""
    config = tmp_path / "x.toml"
    config.write_text("[cache]\nmemory_mb = 0\n")

    assert run(["status", "--config", str(config)]) == 2
    assert "cache.memory_mb must be at least 1, was 0" in capsys.readouterr().err


def test_no_runtime_is_code_3_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script can tell "not running" from "said no"."""
    assert run(["status", "--socket", str(tmp_path / "c.sock")]) == 3
    assert "start one with `marketd`" in capsys.readouterr().err


def test_socket_may_be_named_by_a_settings_file(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the command or after it."""
    config = tmp_path / "x.toml"
    config.write_text(f'[control]\nsocket = "{path}"\n')

    assert run(["--config", str(config), "limits", "--json"]) == 0
    assert run(["limits", "--json", "--config", str(config)]) == 0
    assert len(set(capsys.readouterr().out.splitlines())) == 1


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("1767225600000", 1_767_225_600_000),
        ("2026-01-01", "2026-01-01"),
        ("20260101", "20260101"),
        ("2026-01-01T00:00+09:00", "2026-01-01T00:00+09:00"),
    ],
)
def test_times_are_numbers_or_text_for_the_runtime_to_read(
    text: str, sent: int | str, tmp_path: Path
) -> None:
    """Eight digits are a date to everybody; thirteen are milliseconds."""
    asked: list[Any] = []

    async def answer(request: Request[Any]) -> object:
        asked.append(request)
        return await sample_answer(request)

    with control_in_thread(tmp_path / "c.sock", answer):
        arguments = ["candles", "KRW-BTC", "1m", "--start", text, "--end", text, "--closed"]
        run(
            [
                *arguments,
                "--max-age",
                "0",
                "--stale",
                "--json",
                "--socket",
                str(tmp_path / "c.sock"),
            ]
        )

    [request] = asked
    assert (request.start, request.end) == (sent, sent)
    assert (request.closed, request.max_age_s, request.allow_stale) == (True, 0.0, True)


def test_stop_waits_until_the_process_has_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`marketd stop && marketd` must find everything put away."""
    # It ends by itself when its input does.
    daemon = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )

    async def answer(request: Request[Any]) -> object:
        assert isinstance(request, Stop)
        return Stopping(pid=daemon.pid)

    with control_in_thread(tmp_path / "c.sock", answer):
        stop = ["stop", "--socket", str(tmp_path / "c.sock")]
        assert run([*stop, "--timeout", "0.05"]) == 1
        assert f"process {daemon.pid} has begun to stop, and still is" in capsys.readouterr().err
        daemon.communicate()
        assert run(stop) == 0
    assert f"process {daemon.pid} has stopped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (137_000_000.0, "137,000,000"),
        (0.00000001, "0.00000001"),
        (1e22, "10,000,000,000,000,000,000,000"),
        (1234.5, "1,234.5"),
        (0.0, "0"),
        (7, "7"),
        (None, "-"),
    ],
)
def test_numbers_are_readable(value: float | None, shown: str) -> None:
    """Thousands apart, no exponent, all digits."""
    assert number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (0.25, "0.25 s"), (61.5, "1 min 1 s"), (3_600, "1 h"), (90_061, "1 d 1 h")],
)
def test_lengths_of_time_are_readable(seconds: float, shown: str) -> None:
    """Two units are enough for anybody."""
    assert duration(seconds) == shown
    assert time_utc(NEW_YEAR_MS) == "2026-01-01 00:00:00"


# ------------------------------------------------------------------ as a process


def test_command_for_programs_loads_nothing_heavy(path: Path) -> None:
    """It must not feel slower than the interpreter; each of these costs more than all the rest."""
    program = (
        "import sys; from runtime.cli import run\n"
        f"assert run(['candles', 'KRW-BTC', '1m', '--json', '--socket', {str(path)!r}]) == 0\n"
        "heavy = {'trio', 'numpy', 'rich', 'httpx', 'asyncio', 'platformdirs', 'logging'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
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
    assert len(json.loads(done.stdout)["candles"]) == 200


def test_exit_code_is_the_process_s(path: Path, tmp_path: Path) -> None:
    """What the shell sees."""
    refused = marketd("ticker", "KRW-AWAY", "--socket", str(path), cwd=tmp_path)

    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr == "marketd: upbit is away\ufffd[31m\n"


def test_reader_that_has_seen_enough_is_no_error(path: Path) -> None:
    """`marketd candles ... | head -1` must end in silence."""
    command = f"{sys.executable} -m runtime candles KRW-BTC 1m 5000 --json --socket {path}"

    done = subprocess.run(
        ["sh", "-c", f"{command} | head -c 9"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=30,
    )

    assert done.stdout == '{"series"'
    assert done.stderr == ""


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """The first thing a stranger types."""
    with pytest.raises(SystemExit, match="0") as caught:
        run(["--help"])

    out = capsys.readouterr().out
    assert caught.value.code == 0
    assert all(command[0] in out for command in COMMANDS)
    assert "3 no runtime reachable" in " ".join(out.split())
    assert "sandbox" in out


def test_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """For bug reports."""
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("marketd 0.")


@pytest.mark.real_time
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_answer_that_cannot_be_written_is_an_error() -> None:
    """A script whose disk is full must not take silence for data."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "runtime", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "the answer cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
