"""Options that several of the commands `marketd keys …` take."""

from __future__ import annotations

import argparse

from runtime.cli_times import time


def add_name(part: argparse.ArgumentParser) -> None:
    """Let it take the name of a key."""
    part.add_argument("name", metavar="NAME", help="exchange:label, such as upbit:main")


def add_fd(part: argparse.ArgumentParser, option: str, help_text: str) -> None:
    """Let it take the number of a descriptor that a secret comes through."""
    part.add_argument(option, metavar="N", type=int, help=f"{help_text}: file descriptor N")


def add_rules(
    part: argparse.ArgumentParser, *, allow: str, per_minute: str, expires: str = ""
) -> None:
    """Let it take what a key may do, and whose it is.

    Args:
      part: What reads the arguments.
      allow: What holds where no rule is named.
      per_minute: How to have no bound.
      expires: How to take the end away, where there may be one.
    """
    part.add_argument(
        "--allow",
        metavar="RULE",
        action="append",
        help=f"what it may sign, such as 'GET /v1/*'; again for more; {allow}",
    )
    part.add_argument(
        "--per-minute", metavar="N", type=int, help=f"most signatures in a minute; {per_minute}"
    )
    part.add_argument(
        "--expires", metavar="TIME", type=time, help=f"when the exchange ends it{expires}"
    )
    part.add_argument(
        "--uid", metavar="ID", help="who the owner is at the exchange; shares limits with that uid"
    )
    part.add_argument("--telegram-id", metavar="ID", help="who the owner is on Telegram")
