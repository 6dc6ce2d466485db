"""What tests of the sandbox exchange ask it, without a socket."""

from __future__ import annotations

import json
from typing import Any

from actors.sandbox.exchange import Answer, SandboxExchange


def ask(exchange: SandboxExchange, target: str, **headers: str) -> Answer:
    """Return the answer to a GET."""
    return exchange.handle("GET", target, list(headers.items()), "127.0.0.1")


def rows(exchange: SandboxExchange, target: str) -> list[dict[str, Any]]:
    """Return the rows of a good answer."""
    answer = ask(exchange, target)
    assert answer.status == 200, answer.body  # noqa: PLR2004 - a test
    found: list[dict[str, Any]] = json.loads(answer.body)
    return found
