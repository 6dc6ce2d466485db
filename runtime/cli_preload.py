"""The commands `marketd need`, `needs` and `preload`: what is there before anybody asks for it.

As in `runtime.cli`, what is heavy is imported where it is needed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from actors.errors import InvalidRequest
from actors.limit_words import words_of_s
from actors.preload_messages import (
    DeclareNeed,
    ExplainPreload,
    GetNeeds,
    GetPreload,
    ReleaseNeed,
)
from actors.preload_reports import NeedReport
from runtime.cli_keys import show
from runtime.cli_parts import add_part
from runtime.client.blocking import BlockingClient
from runtime.client.need_blocking import SyncNeed
from runtime.config import load_settings
from runtime.core.errors import CallTimeout
from runtime.core.message import Request
from runtime.names import printable

REFUSED = 1

# How long `--wait` waits if it does not say, and how often it tells how far it is, in seconds.
_WAIT_S, _TELL_S = 600.0, 1.0
# Strategies that are named to who asks for one that is not there.
_NAMES_MAX = 20
# Candles in a page: of Upbit, the exchange that is served.
_PAGE = 200
# Back to the beginning of a terminal's line, with nothing left on it.
_ANEW = "\r\x1b[K"
_NEEDS = "marketd needs [STRATEGY], or marketd needs release STRATEGY [MARKET [TIMEFRAME]]"


def add_need(need: argparse.ArgumentParser) -> None:
    """Add what the command `need` takes."""
    need.add_argument("market", metavar="MARKET", help="such as KRW-BTC")
    need.add_argument(
        "timeframe", metavar="TIMEFRAME", help="1s 1m 3m 5m 10m 15m 30m 1h 4h 1d 1w 1M"
    )
    need.add_argument(
        "indicators",
        metavar="INDICATOR",
        nargs="*",
        help="such as VOLUME or 'ATR(20)', quoted",
    )
    need.add_argument(
        "--history",
        metavar="N",
        type=_history,
        help="so many candles besides, or a length of time such as 90d",
    )
    need.add_argument(
        "--strategy", metavar="NAME", default="default", help="whose need it is; default"
    )
    what_then = need.add_mutually_exclusive_group()
    what_then.add_argument(
        "--wait",
        metavar="S",
        nargs="?",
        type=_wait_s,
        const=_WAIT_S,
        help=f"until it is ready, at most S seconds; {_WAIT_S:g} if not given",
    )
    what_then.add_argument(
        "--dry-run", action="store_true", help="only say how many candles it takes, and why"
    )
    need.set_defaults(run=_need)


def add_needs(needs: argparse.ArgumentParser) -> None:
    """Add what the command `needs` takes."""
    needs.usage = _NEEDS
    needs.add_argument(
        "words",
        metavar="STRATEGY",
        nargs="*",
        help="only those of this one; after the word release: end them, all or those of a series",
    )
    needs.set_defaults(run=_needs)


def add_preload(preload: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Add what stands below the command `preload`, which alone is `preload status`."""
    preload.set_defaults(message=lambda _: GetPreload())
    parts = preload.add_subparsers(dest="part", metavar="WHAT", title="WHAT")
    _part(parts, common, "status", "what is fetched ahead, and what for", lambda _: GetPreload())
    explain = _part(parts, common, "explain", "the same in sentences, and why", _explain)
    explain.add_argument("market", metavar="MARKET", nargs="?", default="", help="only of this one")
    explain.add_argument("timeframe", metavar="TIMEFRAME", nargs="?", default="", help="and this")


def _part(
    parts: Any,
    common: argparse.ArgumentParser,
    name: str,
    help_text: str,
    message: Callable[[argparse.Namespace], Request[Any]],
) -> argparse.ArgumentParser:
    return add_part(parts, [common], name, help_text, message=message, what=f"preload {name}")


def _explain(options: argparse.Namespace) -> ExplainPreload:
    return ExplainPreload(market=options.market, timeframe=options.timeframe)


# ------------------------------------------------------------------ doing it


def _needs(client: BlockingClient, options: argparse.Namespace) -> int:
    message = _of_words(options.words)
    if isinstance(message, ReleaseNeed):
        return show(options, "needs release", client.ask_raw(message, options.timeout).result)
    result = client.ask_raw(message, options.timeout).result
    if message.strategy and not result["needs"] and not options.json:
        # A name that is misspelt looks like a strategy that needs nothing.
        everybody = client.ask_raw(GetNeeds(), options.timeout).result["needs"]
        names = sorted({need["strategy"] for need in everybody})
        result = {"needs": [], "strategy": message.strategy, "strategies": names[:_NAMES_MAX]}
    return show(options, "needs", result)


def _of_words(words: list[str]) -> GetNeeds | ReleaseNeed:
    """Return what is asked; a strategy that is itself called `release` is only in the whole list.

    Raises:
      InvalidRequest: There are too many words, or nobody is named whose needs are to end.
    """
    match words:
        case ["release", strategy]:
            return ReleaseNeed(strategy=strategy)
        case ["release", strategy, market]:
            return ReleaseNeed(strategy=strategy, market=market)
        case ["release", strategy, market, timeframe]:
            return ReleaseNeed(strategy=strategy, market=market, timeframe=timeframe)
        case [] | [_] if words != ["release"]:
            return GetNeeds(strategy="".join(words))
    raise InvalidRequest(f"it is {_NEEDS}")


def _need(client: BlockingClient, options: argparse.Namespace) -> int:
    if options.dry_run:
        return show(options, "need --dry-run", _planned(options))
    need = client.need(
        options.indicators,
        market=options.market,
        timeframe=options.timeframe,
        history=options.history,
        strategy=options.strategy,
        timeout_s=options.timeout,
    )
    if options.wait is not None and not _wait_ready(need, options.wait):
        return REFUSED
    return show(options, "need", msgspec.to_builtins(need.report))


def _planned(options: argparse.Namespace) -> dict[str, Any]:
    """Return how many candles a need takes, and why; nobody is asked."""
    # Hundreds of indicators, which only this has to know here.
    from actors.preloading.indicators import indicator  # noqa: PLC0415
    from actors.preloading.needs import declared, history_candles  # noqa: PLC0415

    asked = DeclareNeed(
        market=options.market,
        timeframe=options.timeframe,
        indicators=tuple(options.indicators),
        history=options.history,
        strategy=options.strategy,
    )
    margin = load_settings(options.config).preload.margin
    planned = declared(asked, now_ms=0, margin=margin, page=_PAGE)
    need = planned.need
    return {
        "market": str(planned.series.market),
        "timeframe": planned.series.timeframe.value,
        "strategy": planned.strategy,
        "indicators": [
            {"indicator": text, "candles": each.candles, "why": each.why, "relative": each.relative}
            for text, each in ((text, indicator(text)) for text in planned.indicators)
        ],
        "widest": "" if need.widest is None else str(need.widest),
        "exact": need.exact,
        "margin": need.margin,
        "history": history_candles(asked.history, planned.series.timeframe),
        "candles": need.candles,
        "pages": -(-need.candles // _PAGE),
    }


def _wait_ready(need: SyncNeed, wait_s: float) -> bool:
    """Return whether it was ready in time; tell meanwhile how far it is."""
    # In a terminal a line takes the place of the one before; elsewhere only news is a line.
    anew, end = (_ANEW, "") if sys.stderr.isatty() else ("", "\n")
    told = -1
    left_s = wait_s
    while left_s > 0:
        try:
            need.wait_ready(timeout_s=min(left_s, _TELL_S))
        except CallTimeout:
            left_s -= _TELL_S
        else:
            sys.stderr.write(anew)
            return True
        report = need.report
        if anew or report.covered != told:
            sys.stderr.write(f"{anew}{_progress(report)}{end}")
            sys.stderr.flush()
        told = report.covered
    problem = f"not ready within {wait_s:g} s: {_progress(need.report)}; it goes on all the same"
    sys.stderr.write(f"{anew}marketd: {problem}\n")
    return False


def _progress(report: NeedReport) -> str:
    text = f"{report.covered:,} of {report.needed:,} candles are there"
    if report.ready_in_s is not None:
        return f"{text}, ready in {words_of_s(report.ready_in_s)}"
    return printable(f"{text}, {report.missing}")


# ------------------------------------------------------------------ reading arguments


def _history(text: str) -> int | str:
    # Below zero it is still meant as a number, and refused as one.
    return int(text) if text.removeprefix("-").isdecimal() else text


def _wait_s(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        # What stands after it is taken for its own.
        raise argparse.ArgumentTypeError(
            f"must be seconds, more than 0, was {text!r}; say it last if it has none"
        )
    return seconds
