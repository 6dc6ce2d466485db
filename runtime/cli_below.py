"""Commands that have commands below them: loaded only if somebody names one.

Each of them brings messages and parsers of its own, for which no other command should wait.
"""

from __future__ import annotations

import argparse
from collections.abc import Container
from typing import Any


def add_below(commands: Any, common: argparse.ArgumentParser, named: Container[str]) -> None:
    """Add these commands, and of those in `named` what is below them."""
    keys = commands.add_parser(
        "keys", help="API keys: sealed, and signing inside", parents=[common]
    )
    account = commands.add_parser(
        "account", help="an account at an exchange: balances, orders", parents=[common]
    )
    jobs = commands.add_parser("jobs", help="collection of candles on a schedule", parents=[common])
    need = commands.add_parser("need", help="have at hand what a strategy needs", parents=[common])
    needs = commands.add_parser("needs", help="what strategies need", parents=[common])
    preload = commands.add_parser(
        "preload", help="what is fetched before anybody asks", parents=[common]
    )
    sandbox = commands.add_parser("sandbox", help="run the made-up exchange alone")
    if "keys" in named:
        from runtime.cli_keys import add_keys  # noqa: PLC0415 - see the module

        add_keys(keys, common)
    if "account" in named:
        from runtime.cli_account import add_account  # noqa: PLC0415 - see the module

        add_account(account, common)
    if "jobs" in named:
        from runtime.cli_jobs import add_jobs  # noqa: PLC0415 - see the module

        add_jobs(jobs, common)
    if "need" in named or "needs" in named or "preload" in named:
        from runtime.cli_preload import add_need, add_needs, add_preload  # noqa: PLC0415

        add_need(need)
        add_needs(needs)
        add_preload(preload, common)
    if "sandbox" in named:
        from actors.sandbox.main import add_arguments  # noqa: PLC0415 - trio and everything

        add_arguments(sandbox)
