"""What stands below a command: `marketd keys add`, `marketd jobs run`."""

from __future__ import annotations

import argparse
from typing import Any


def add_part(
    parts: Any,
    parents: list[argparse.ArgumentParser],
    name: str,
    help_text: str,
    **defaults: object,
) -> argparse.ArgumentParser:
    """Add one part of a command, and return what reads its arguments.

    Args:
      parts: The command's parts.
      parents: What it takes as others do.
      name: Its name.
      help_text: What it does.
      defaults: What the options say besides, such as `message` or `run`.
    """
    part: argparse.ArgumentParser = parts.add_parser(
        name, help=help_text, description=help_text, parents=parents
    )
    part.set_defaults(**defaults)
    return part
