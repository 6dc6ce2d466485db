"""`SimulatedTime`: the market's clock follows the run's."""

from __future__ import annotations

import pytest
import trio

from actors.sandbox.simulated_time import SimulatedTime
from runtime.core.clock import TrioClock


async def test_time_passes_at_the_given_speed(clock: TrioClock) -> None:
    """A day of candles unfolds in a minute and a half."""
    time = SimulatedTime(clock, start_ms=5_000, speed=960)
    await trio.sleep(90)
    assert time.now_ms() == 5_000 + 86_400_000


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf"), 1e9])
async def test_a_speed_that_is_none_is_refused(clock: TrioClock, speed: float) -> None:
    """Time neither stands nor runs back."""
    with pytest.raises(ValueError, match="speed must be above 0"):
        SimulatedTime(clock, start_ms=0, speed=speed)
