"""What a key may do, and what a change of it changes, as people read it."""

from __future__ import annotations

import msgspec
import pytest

from actors.exchanges.upbit.signer import UpbitSigner
from actors.key_words import may_sign, told_changes
from actors.vault.testing import made_info


@pytest.mark.parametrize(
    ("allow", "wanted"),
    [
        (("* /*",), "may sign * /*, but no withdrawals"),
        (("GET /*", "POST /v1/*"), "may sign GET /*, POST /v1/*, but no withdrawals"),
        (("GET /*",), "may sign GET /*"),
        (("POST /v1/orders",), "may sign POST /v1/orders"),
        (("POST /v1/withdraws/coin",), "may sign POST /v1/withdraws/coin"),
        (
            ("* /*", "* /v1/withdraws/coin"),
            "may sign * /*, * /v1/withdraws/coin, but no withdrawals other than those named",
        ),
    ],
)
def test_what_a_pattern_does_not_hold_is_said(allow: tuple[str, ...], wanted: str) -> None:
    """`* /*` alone reads as if it were everything."""
    assert may_sign(msgspec.structs.replace(made_info(), allow=allow), UpbitSigner()) == wanted


def test_every_field_that_differs_is_told_with_both_values() -> None:
    """And no other."""
    before = made_info()
    after = msgspec.structs.replace(
        before,
        allow=("GET /*",),
        requests_per_minute=7,
        expires_ms=1_767_225_600_000,
        uid="u",
        telegram_id="t",
    )
    assert told_changes(before, before) == ""
    assert told_changes(before, after) == (
        "allow * /* → GET /*; requests per minute any → 7; expires none → 2026-01-01T00:00:00Z; "
        "uid none → u; telegram id none → t"
    )
    assert told_changes(after, before).startswith(
        "allow GET /* → * /*; requests per minute 7 → any"
    )
