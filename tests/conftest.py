"""What every test may ask for. Time is fake unless a test is marked `real_time`."""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from runtime.core.clock import TrioClock

RECORDED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def run_in_fake_time(main: Any, *, clock: trio.abc.Clock | None = None, **options: Any) -> Any:
    """Run `main` on a clock that starts at 0 s and skips every wait."""
    fake = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(main, clock=clock or fake, **options)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put every async test on fake time, and skip `recorded` ones where the data is absent."""
    # pytest-trio honours `autojump_clock` only in a test's own signature. Asked for by a fixture
    # it is ignored, and the test silently sleeps for real.
    for item in items:
        is_async = isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj)
        if is_async and not item.get_closest_marker("real_time"):
            item.add_marker(pytest.mark.trio(run=run_in_fake_time))
        if item.get_closest_marker("recorded") and not RECORDED.is_dir():
            assert "CI" not in os.environ, f"recorded data must be there in CI: {RECORDED}"  # noqa: TID251
            item.add_marker(pytest.mark.skip(reason=f"no recorded data at {RECORDED.name}"))


@pytest.fixture(scope="session")
def own_root(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Iterator[int]]:
    """Return where `own_folders` are, and their numbers: pytest's own way lists all of them."""
    return tmp_path_factory.mktemp("own"), itertools.count()


@pytest.fixture(autouse=True)
def own_folders(own_root: tuple[Path, Iterator[int]], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep locks and spent limits of tests from those of a runtime that this user runs."""
    root, numbers = own_root
    folder = root / str(next(numbers))
    # With other rights it would not be taken for the folder of a session.
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
async def clock() -> TrioClock:
    """Wall and monotonic time, both read from the running test's clock."""
    return TrioClock(start_utc_ms=1_767_225_600_000)  # 2026-01-01T00:00:00Z


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of recorded exchange data."""
    return RECORDED / "upbit"
