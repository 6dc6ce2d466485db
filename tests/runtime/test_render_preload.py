"""What people see of needs and preloading."""

from __future__ import annotations

import io
from typing import Any

import msgspec

from actors.preload_messages import GetNeeds, GetPreload, ReleaseNeed
from actors.preload_reports import PreloadReport
from actors.preloading.preload_words import need_sentence
from runtime.core.message import Request
from runtime.render_results import render
from runtime.testing_preload_samples import SAMPLE_NEED, sample_preload_answer
from runtime.wire import result_to_wire

NEEDS = """\
 strategy market timeframe state candles ready in
 momentum KRW-BTC 1d fetching 200 of 400 41 s
 momentum KRW-NEW 1d failing 200 of 400 -
 momentum KRW-BTC 1d ready 400 of 400 now
momentum KRW-BTC 1d: ATR(20), VOLUME(30); the oldest 200 candles are being fetched
momentum KRW-NEW 1d: ATR(20), VOLUME(30); upbit is away: no answer
momentum KRW-BTC 1d: ATR(20), VOLUME(30)
"""

PRELOAD = """\
upbit needs: 3, ready: 1
habits of 12 series, 4,096 bytes
predictions 1,234, acted on 130 (from 45% on, with all of the limit unused)
fetched ahead 125, 100 of them asked for in time (80%)
asked for 500, 400 of them from predictions (80%)
limit 90% unused
memory 1,234,567 of 100,000,000 bytes, up to 400 candles a series
 being fetched timeframe as for candles since
 KRW-BTC 1d declared momentum 400 0.25 s
 expected why in likely fetched
 KRW-ETH 5m every 5 min, 2.0 s after the border 41 s 88% yes
"""


def drawn(command: str, request: Request[Any], answer: Any) -> str:
    """Return what is drawn of an answer that came over the wire, with single blanks."""
    pieces, _ = result_to_wire(request, answer)
    file = io.StringIO()
    render(command, msgspec.json.decode(b"".join(pieces)), file)
    lines = file.getvalue().splitlines()
    lead = [" " if line.startswith(" ") else "" for line in lines]
    told = [first + " ".join(line.split()) for first, line in zip(lead, lines, strict=True)]
    return "".join(f"{line}\n" for line in told if line.strip(" ─"))


def test_needs_are_a_table_and_what_for_stands_below() -> None:
    """Whatever has no usual length would make the table wider than a terminal."""
    assert drawn("needs", GetNeeds(), sample_preload_answer(GetNeeds())) == NEEDS


def test_no_needs_are_said() -> None:
    """An empty table looks like something that went wrong."""
    assert drawn("needs", GetNeeds(), ()).endswith("nothing is declared\n")


def test_need_without_indicators_says_what_it_is_for() -> None:
    """A history, for example."""
    need = msgspec.structs.replace(SAMPLE_NEED, indicators=(), widest="a history of 400 candles")
    assert "1d: a history of 400 candles; the oldest" in drawn("needs", GetNeeds(), (need,))


def test_one_need_is_a_sentence() -> None:
    """The same as in `preload explain`."""
    file = io.StringIO()
    render("need", msgspec.to_builtins(SAMPLE_NEED), file)
    assert file.getvalue() == f"{need_sentence(SAMPLE_NEED)}\n"


def test_what_has_ended_is_counted() -> None:
    """One, or several."""
    request = ReleaseNeed(strategy="momentum")
    several: Any = sample_preload_answer(request)
    one = msgspec.structs.replace(several, needs=1)
    assert drawn("needs release", request, several) == "2 needs ended\n"
    assert drawn("needs release", request, one) == "1 need has ended\n"


def test_preloading_is_shown_with_what_is_fetched_and_expected() -> None:
    """What, for whom, why, and how good it has been."""
    answer = sample_preload_answer(GetPreload())
    assert drawn("preload", GetPreload(), answer) == PRELOAD
    assert drawn("preload status", GetPreload(), answer) == PRELOAD


def test_learning_that_is_switched_off_is_said_with_the_setting() -> None:
    """Figures of nothing look as if it learnt nothing, or had broken."""
    (report,) = msgspec.convert(
        msgspec.to_builtins(sample_preload_answer(GetPreload())), tuple[PreloadReport, ...]
    )
    shown = drawn("preload", GetPreload(), (msgspec.structs.replace(report, learning=False),))
    assert "habits not learnt: preload.learn is false\nlimit 90% unused\n" in shown
    assert "predictions" not in shown


def test_preloading_that_has_done_nothing_divides_by_nothing() -> None:
    """At the start there is no share of anything; a request that is late is expected now."""
    (report,) = msgspec.convert(
        msgspec.to_builtins(sample_preload_answer(GetPreload())), tuple[PreloadReport, ...]
    )
    late = msgspec.structs.replace(report.expected[0], due_in_s=-3.0, worth=False)
    fresh = msgspec.structs.replace(
        report, used=0, wasted=0, asked=0, ready_when_asked=0, fetching=(), expected=(late,)
    )
    shown = drawn("preload", GetPreload(), (fresh,))
    assert "fetched ahead 0, 0 of them asked for in time\n" in shown
    assert "being fetched" not in shown
    assert "after the border 0 s 88% no\n" in shown


def test_what_comes_from_outside_gives_a_terminal_no_orders() -> None:
    """Names of strategies are other people's."""
    need = msgspec.structs.replace(SAMPLE_NEED, strategy="\x1b[31mred", missing="[bold]x")
    shown = drawn("needs", GetNeeds(), (need,))
    assert "\x1b" not in shown
    assert "[bold]x" in shown
