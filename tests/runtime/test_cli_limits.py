"""`marketd limits`: what its ways of showing make of one answer."""

from __future__ import annotations

import argparse
import io
import json
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.limit_words import explain_group
from actors.reports import ClassUse, GroupLimits, WindowUse
from runtime.cli import run
from runtime.cli_actors import every, watch
from runtime.cli_limits import add_limits, limits_text
from runtime.render_results import render
from runtime.testing_socket import control_in_thread


def group(name: str, *windows: tuple[int, float, int], **changes: Any) -> GroupLimits:
    """Return a group in which nothing happens; its windows are told as requests, period, used."""
    report = GroupLimits(
        exchange="upbit",
        group=name,
        windows=tuple(
            WindowUse(requests=requests, period_s=period_s, used=used)
            for requests, period_s, used in windows or ((10, 1.0, 0),)
        ),
        classes=(),
        in_flight=0,
        queued=0,
        next_free_s=0.0,
        paused_s=0.0,
        server_remaining=None,
        server_heard_s=None,
        granted=10,
        rejected=0,
        refused=0,
    )
    report = msgspec.structs.replace(report, **changes)
    return msgspec.structs.replace(report, explanation=explain_group(report))


def waiting(priority: str, queued: int, next_free_s: float) -> ClassUse:
    """Return the use of a class in which some wait."""
    return ClassUse(priority=priority, share=0.7, queued=queued, next_free_s=next_free_s, granted=0)


CANDLE = group(
    "candle",
    (10, 1.0, 10),
    (600, 60.0, 123),
    (6000, 3600.0, 4123),
    classes=(waiting("asked", 14, 1.83), waiting("declared", 1031, 120.0)),
    queued=1045,
    in_flight=3,
    next_free_s=1.83,
    server_remaining=4,
    server_heard_s=0.31,
    granted=1_234_567,
    rejected=1,
    refused=2,
)
BANNED = {"paused_s": 58.1, "paused_because": "all requests are paused for 58.1 s more"}


def table(*groups: GroupLimits) -> list[str]:
    """Return the lines that `marketd limits` shows."""
    file = io.StringIO()
    render("limits", {"limits": msgspec.to_builtins(groups)}, file)
    return [line.strip() for line in file.getvalue().splitlines() if line.strip(" ─")]


def shown(*arguments: str, as_json: bool = False) -> str | None:
    """Return what `marketd limits` with `arguments` prints in place of its table."""
    parser = argparse.ArgumentParser()
    add_limits(
        parser.add_subparsers(dest="command"), argparse.ArgumentParser(add_help=False), every
    )
    options = parser.parse_args(["limits", *arguments])
    options.json = as_json
    return limits_text(options, {"limits": msgspec.to_builtins([CANDLE])})


def test_every_group_has_its_windows_and_who_waits() -> None:
    """One below the other; the holder is in the name, the exchange above them all."""
    lines = table(group("ticker"), CANDLE, group("order", holder="me"))
    assert [" ".join(line.split()) for line in lines] == [
        "upbit budget queued in flight next free server left",
        "ticker 0/10 per 1 s - 0 0 s -",
        "candle 10/10 per 1 s 14 asked 3 1.9 s 4, 0.31 s ago",
        "123/600 per 1 min 1,031 declared",
        "4123/6000 per 1 h",
        "order/me 0/10 per 1 s - 0 0 s -",
        "upbit candle: 1 rejected by the exchange, 2 refused by us",
        "since start: 1,234,587 let through, 1 rejected by the exchange, 2 refused by us",
    ]


def test_more_classes_than_windows_have_lines_of_their_own() -> None:
    """None is left out."""
    three = tuple(waiting(name, 1, 1.0) for name in ("asked", "repair", "declared"))
    lines = table(group("ticker", classes=three, queued=3))
    assert [line.split()[-1] for line in lines[2:4]] == ["repair", "declared"]


def test_a_ban_is_said_once_for_all_groups() -> None:
    """It is that of the address."""
    lines = table(group("ticker", **BANNED), group("candle", **BANNED))
    assert lines[-1] == "upbit: all requests are paused for 58.1 s more"
    assert sum("paused" in line for line in lines) == 1


def test_each_exchange_has_a_table() -> None:
    """Their names are its titles."""
    other = group("weight", exchange="binance")
    lines = table(group("ticker"), other)
    assert [line.split()[0] for line in lines] == ["upbit", "ticker", "binance", "weight", "since"]


def test_the_usual_groups_fit_into_a_hundred_columns() -> None:
    """Half a screen, or a terminal beside an editor."""
    limits = [
        CANDLE,
        group("websocket-connect", (5, 1.0, 5)),
        group("websocket-message", (5, 1.0, 5), (100, 60.0, 100), holder="1"),
        group("order-cancel-all", (1, 2.0, 1), holder="main"),
    ]
    assert max(map(len, table(*limits))) <= 100


def test_names_of_an_exchange_give_a_terminal_no_orders() -> None:
    """They are text from elsewhere."""
    lines = table(group("a\x1b[31m", exchange="x\x1b[2J", **BANNED, rejected=1))
    assert "\x1b" not in "".join(lines)


def test_without_any_group_there_is_no_table() -> None:
    """No exchange is switched on."""
    assert table() == [
        "since start: 0 let through, 0 rejected by the exchange, 0 refused by us",
    ]


def test_without_more_words_the_table_is_wanted() -> None:
    """Watching is the table again and again."""
    assert shown() is None
    assert shown("--watch", "2") is None


def test_explain_says_it_in_sentences() -> None:
    """For people a line each, for programs a list."""
    text = shown("explain")
    assert text is not None
    assert text.startswith("upbit candle: 1045 requests wait (14 asked and 1031 declared). ")
    found = shown("explain", as_json=True)
    assert found is not None
    assert json.loads(found) == {"explain": [text.strip()]}


def test_metrics_are_those_of_prometheus() -> None:
    """A scraper's file can be written by a pipe."""
    text = shown("--metrics")
    assert text is not None
    labels = 'exchange="upbit",group="candle",holder="",class="asked"'
    assert f"marketd_limit_queued{{{labels}}} 14\n" in text


def test_metrics_are_not_watched(capsys: pytest.CaptureFixture[str]) -> None:
    """Two ways of showing at once are a mistake."""
    with pytest.raises(SystemExit, match="2"):
        shown("--metrics", "--watch")
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "3 asked"),
        (["--json"], '"holder":""'),
        (["explain"], "upbit candles: 3 requests wait (asked). The window is full: 10/10 per 1 s"),
        (["explain", "--json"], '{"explain":["upbit candles: 3 requests wait'),
        (["--metrics"], "# TYPE marketd_limit_granted_total counter"),
    ],
)
def test_a_runtime_is_asked_for_it(
    tmp_path: Path, arguments: list[str], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over its socket."""
    with control_in_thread(tmp_path / "c.sock"):
        assert run(["limits", *arguments, "--socket", str(tmp_path / "c.sock")]) == 0
    assert wanted in capsys.readouterr().out


class _EnoughError(Exception):
    """The test has seen enough."""


class _Client:
    """Answers twice, then ends the watching."""

    def __init__(self) -> None:
        self.left = 2

    def ask_raw(self, _message: object, _timeout_s: float) -> argparse.Namespace:
        """Return the same limits as before."""
        if self.left == 0:
            raise _EnoughError("enough")
        self.left -= 1
        return argparse.Namespace(result={"limits": msgspec.to_builtins([CANDLE])})


@pytest.mark.parametrize(
    ("words", "as_json", "start"),
    [
        (None, False, "upbit"),
        (None, True, '{"limits"'),
        ("explain", False, "upbit candle: 1045 requests wait"),
        ("explain", True, '{"explain":["upbit candle: 1045'),
    ],
)
def test_watching_shows_it_again_and_again(
    words: str | None,
    as_json: bool,  # noqa: FBT001 - a parameter of the test
    start: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In every way of showing it that can be watched."""
    monkeypatch.setattr(threading.Event, "wait", lambda *_: None)
    options = argparse.Namespace(
        command="limits",
        words=words,
        json=as_json,
        metrics=False,
        watch=1.0,
        timeout=1.0,
        message=lambda _: None,
    )
    with pytest.raises(_EnoughError, match="enough"):
        watch(_Client(), options)  # type: ignore[arg-type]
    assert capsys.readouterr().out.count(start) >= 2
