"""The command `marketd limits`: every group live, in sentences, or for Prometheus."""

from __future__ import annotations

import argparse
from typing import Any

import msgspec

from actors.limit_words import explain_limits
from actors.messages import GetLimits
from actors.reports import GroupLimits
from runtime.limit_metrics import limit_metrics
from runtime.names import printable


def add_limits(commands: Any, common: argparse.ArgumentParser, every: Any) -> None:
    """Add `limits` to the commands; `every` reads the pause of `--watch`."""
    help_text = "rate limits and their use"
    command = commands.add_parser("limits", help=help_text, description=help_text, parents=[common])
    command.add_argument(
        "words",
        metavar="explain",
        nargs="?",
        choices=("explain",),
        help="say in sentences why requests wait, and until when",
    )
    shown = command.add_mutually_exclusive_group()
    shown.add_argument(
        "--watch",
        metavar="S",
        nargs="?",
        type=every,
        const=1.0,
        help="again every S seconds, until Ctrl-C; 1 if not given",
    )
    shown.add_argument("--metrics", action="store_true", help="in the text format of Prometheus")
    command.set_defaults(message=lambda _: GetLimits())


def limits_text(options: argparse.Namespace, result: Any) -> str | None:
    """Return what to print for `explain` and `--metrics`; None if the table is wanted."""
    if options.command != "limits" or not (options.words or options.metrics):
        return None
    reports = msgspec.convert(result["limits"], tuple[GroupLimits, ...])
    if options.metrics:
        return limit_metrics(reports)
    sentences = explain_limits(reports)
    if options.json:
        return msgspec.json.encode({"explain": sentences}).decode() + "\n"
    return "".join(f"{printable(text)}\n" for text in sentences)
