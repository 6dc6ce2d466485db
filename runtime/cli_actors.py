"""The commands of `marketd` for operators: the tree, one actor, a restart.

As in `runtime.cli`, what is heavy is imported where it is needed.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import msgspec

from runtime.cli_limits import limits_text
from runtime.client.blocking import BlockingClient
from runtime.messages import (
    GetActor,
    GetEvents,
    GetState,
    GetStatistics,
    GetTree,
    RestartActor,
    ResumeActor,
    SuspendActor,
    TraceActor,
)

_EVERY_S = 1.0
_EVERY_S_LEAST = 0.05


def add_actors(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `tree`, `actor` and `restart` to the commands."""
    tree = _add(commands, common, "tree", "every actor: state, mailbox, work, last crash")
    tree.add_argument(
        "--watch",
        metavar="S",
        nargs="?",
        type=every,
        const=_EVERY_S,
        help=f"again every S seconds, until Ctrl-C; {_EVERY_S:g} if not given",
    )
    tree.set_defaults(message=lambda _: GetTree())
    actor = _add(commands, common, "actor", "one actor: everything about it, or WHAT")
    actor.add_argument("name", metavar="NAME", help="its path in the tree, such as upbit.cache")
    actor.set_defaults(message=lambda options: GetActor(name=options.name))
    _add_parts(actor.add_subparsers(dest="what", metavar="WHAT", title="WHAT"), common)
    restart = _add(commands, common, "restart", "stop and start one actor, or a supervisor")
    restart.add_argument("name", metavar="NAME", help="its path in the tree")
    restart.set_defaults(message=lambda options: RestartActor(name=options.name))


def _add_parts(parts: Any, common: argparse.ArgumentParser) -> None:
    for name, help_text, kind in (
        ("state", "what it is doing", GetState),
        ("statistics", "its own figures", GetStatistics),
        ("suspend", "let it leave its mailbox alone", SuspendActor),
        ("resume", "let it go on", ResumeActor),
    ):
        part = _add(parts, common, name, help_text)
        part.set_defaults(message=_about(kind))
    events = _add(parts, common, "events", "what happened to it lately")
    events.add_argument("--count", metavar="N", type=int, default=50, help="the newest so many; 50")
    events.set_defaults(message=lambda each: GetEvents(name=each.name, count=each.count))
    trace = _add(parts, common, "trace", "its messages, by type, as they come")
    trace.add_argument("--count", metavar="N", type=int, default=100, help="at most so many; 100")
    trace.add_argument(
        "--for", metavar="S", type=float, default=10.0, dest="for_s", help="at most so long; 10"
    )
    trace.set_defaults(
        message=lambda each: TraceActor(name=each.name, count=each.count, for_s=each.for_s)
    )


def watch(client: BlockingClient, options: argparse.Namespace) -> None:
    """Ask and show again and again, until interrupted or until there is no answer.

    In a terminal each answer takes the place of the one before; else they follow one another, as
    JSON one object a line.
    """
    explain = options.command == "limits" and options.words
    with ExitStack() as stack:
        if options.json:
            show: Callable[[Any], object] = partial(_print_explained, options)
            show = show if explain else _print_json
        else:
            from runtime.render_results import render_again_and_again  # noqa: PLC0415 - rich

            drawn = render_again_and_again(explain or options.command, sys.stdout)
            show = stack.enter_context(drawn)
        pause = threading.Event()
        while True:
            show(client.ask_raw(options.message(options), options.timeout).result)
            sys.stdout.flush()
            pause.wait(options.watch)


def _print_explained(options: argparse.Namespace, result: object) -> None:
    sys.stdout.write(limits_text(options, result) or "")


def _print_json(result: object) -> None:
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


def _add(
    commands: Any, common: argparse.ArgumentParser, name: str, help_text: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=help_text, description=help_text, parents=[common]
    )
    return command


def _about(kind: Callable[..., Any]) -> Callable[[argparse.Namespace], Any]:
    return lambda options: kind(name=options.name)


def every(text: str) -> float:
    """Return the pause between two looks, in seconds."""
    seconds = float(text)
    if not _EVERY_S_LEAST <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"must be at least {_EVERY_S_LEAST:g}, was {text}")
    return seconds
