"""Records: figures that anybody can check, in a form that can be read again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.job_reports import JobRun, JobSpec
from actors.scheduling.records import KeptJob, decode, encode, percentile

runs = st.builds(
    JobRun,
    job=st.text(max_size=5),
    start_ms=st.integers(0, 2**53),
    duration_ms=st.integers(0, 10**9),
    success=st.booleans(),
    error=st.text(max_size=5),
    tries=st.integers(0, 3),
    caught_up=st.booleans(),
    candles=st.integers(0, 10**6),
    complete=st.booleans(),
)
kept = st.builds(
    KeptJob,
    spec=st.builds(JobSpec, every_s=st.floats(1, 1e6), markets=st.just(("KRW-BTC",))),
    added=st.booleans(),
    due_ms=st.integers(0, 2**53),
    runs=st.integers(0, 2**53),
    failures=st.integers(0, 2**53),
    history=st.lists(runs, max_size=3).map(tuple),
)


@given(
    values=st.lists(st.integers(0, 10**9), min_size=1, max_size=100),
    percent=st.sampled_from((50, 95)),
)
def test_percentiles_are_those_of_numpy(values: list[int], percent: int) -> None:
    """Nearest rank: a value that was measured, and no mean of two."""
    wanted = np.percentile(values, percent, method="inverted_cdf")
    assert percentile(values, percent) == wanted


def test_percentiles_of_a_hundred_are_read_off() -> None:
    """The plainest case, and none."""
    assert percentile(range(1, 101), 50) == 50
    assert percentile(range(1, 101), 95) == 95
    assert percentile([], 50) is None


@given(jobs=st.dictionaries(st.text(max_size=5), kept, max_size=3))
def test_what_is_kept_can_be_read_again(jobs: dict[str, KeptJob]) -> None:
    """To the last field."""
    assert decode(encode(jobs)) == jobs


@pytest.mark.parametrize("data", [b"", b"[]", b'{"a": 1}', b'{"a": {"spec": {}}}', b"\xff"])
def test_anything_else_is_refused(data: bytes) -> None:
    """It may come from another version."""
    with pytest.raises(ValueError, match=r"truncated|Expected|missing|malformed"):
        decode(data)
