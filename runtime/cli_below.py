"""Commands that have commands below them: loaded only if somebody names one.

Each of them brings messages and parsers of its own, for which no other command should wait.
"""

from __future__ import annotations

import argparse
from collections.abc import Container
from typing import Any


def add_below(commands: Any, common: argparse.ArgumentParser, named: Container[str]) -> None:
    """Add `keys`, `account` and `sandbox`, and what is below those that are among `named`."""
    keys = commands.add_parser(
        "keys", help="API keys: sealed, and signing inside", parents=[common]
    )
    account = commands.add_parser(
        "account", help="an account at an exchange: balances, orders", parents=[common]
    )
    sandbox = commands.add_parser("sandbox", help="run the made-up exchange alone")
    if "keys" in named:
        from runtime.cli_keys import add_keys  # noqa: PLC0415 - see the module

        add_keys(keys, common)
    if "account" in named:
        from runtime.cli_account import add_account  # noqa: PLC0415 - see the module

        add_account(account, common)
    if "sandbox" in named:
        from actors.sandbox.main import add_arguments  # noqa: PLC0415 - trio and everything

        add_arguments(sandbox)
