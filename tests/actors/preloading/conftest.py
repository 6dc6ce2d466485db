"""What tests of needs share."""

from __future__ import annotations

import pytest

from actors.sandbox.market import SandboxMarket
from runtime.testing_rehearsal import generated


@pytest.fixture(scope="package")
def markets() -> tuple[SandboxMarket, ...]:
    """Return markets with ten days of history."""
    return generated(history_days=10)
