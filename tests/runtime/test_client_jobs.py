"""Jobs through the clients: the same on both sides, and over a real socket."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from actors.errors import InvalidRequest
from actors.job_messages import JOB_METHODS
from actors.job_reports import JobSpec
from runtime.client.base import AsyncClient
from runtime.client.blocking import connect
from runtime.client.blocking_base import SyncClient
from runtime.client.jobs import JobsClient
from runtime.client.jobs_blocking import SyncJobsClient
from runtime.client.trio_client import open_client
from runtime.core.message import Request
from runtime.messages import MASKED, SENT_ONCE
from runtime.testing_job_samples import JOB_SAMPLES, sample_job_answer
from runtime.testing_socket import control_in_thread, open_control


def methods(kind: type) -> dict[str, Callable[..., Any]]:
    """Return the public methods of a class."""
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: method for name, method in found if not name.startswith("_")}


def client_method(method: str) -> str:
    """Return what a method of the socket is called in the clients."""
    return method.partition(".")[2] or "list"


def arguments(method: str) -> dict[str, Any]:
    """Return what has to be handed in: of a job, its fields one by one."""
    given = dict(JOB_SAMPLES.get(method, {}))
    job = given.pop("job", None)
    return given if job is None else given | msgspec.structs.asdict(job)


def asked(method: str, **given: Any) -> Request[Any]:
    """Return what the blocking client sends for a method of the socket."""
    sent: list[Request[Any]] = []

    def ask(message: Any, _: float) -> Any:
        sent.append(message)
        return None

    getattr(SyncJobsClient(ask), client_method(method))(**(arguments(method) | given))
    return sent[0]


async def asked_on_trio(method: str) -> Request[Any]:
    """Return what the client for trio sends."""
    sent: list[Request[Any]] = []

    async def ask(message: Any, _: float) -> Any:
        sent.append(message)
        return None

    await getattr(JobsClient(ask), client_method(method))(**arguments(method))
    return sent[0]


def test_both_kinds_have_the_same_methods() -> None:
    """Who reads about one has read about the other: names, parameters, defaults, words."""
    theirs, ours = methods(JobsClient), methods(SyncJobsClient)
    assert set(theirs) == set(ours) == {client_method(method) for method in JOB_METHODS}
    for name, method in theirs.items():
        assert inspect.signature(method).parameters == inspect.signature(ours[name]).parameters
        assert inspect.getdoc(method) == inspect.getdoc(ours[name]), name
    assert isinstance(inspect.getattr_static(AsyncClient, "jobs"), property)
    assert isinstance(inspect.getattr_static(SyncClient, "jobs"), property)


@pytest.mark.parametrize("method", JOB_METHODS)
async def test_every_request_has_a_method_in_both_kinds(method: str) -> None:
    """A new one cannot be forgotten, nor sent differently by one of them."""
    message = asked(method)
    assert message == JOB_METHODS[method](**JOB_SAMPLES.get(method, {}))
    assert message == await asked_on_trio(method)


def test_every_field_of_a_job_can_be_handed_in() -> None:
    """Under its own name."""
    parameters = set(inspect.signature(JobsClient.add).parameters)
    assert parameters == {"self", "name", "dry_run", "timeout_s", *JobSpec.__struct_fields__}


@pytest.mark.parametrize("name", ["markets", "timeframes"])
def test_a_text_in_place_of_a_list_is_refused(name: str) -> None:
    """To Python it is a list of letters."""
    with pytest.raises(InvalidRequest, match=f"{name} must be a list of texts, was '1m'"):
        asked("jobs.add", **{name: "1m"})


def test_what_changes_something_is_sent_once_and_errors_are_masked() -> None:
    """A run that is asked for twice would be refused; errors are words of the exchange."""
    sent_once = {name for name, kind in JOB_METHODS.items() if kind in SENT_ONCE}
    assert sent_once == {"jobs.add", "jobs.remove", "jobs.run"}
    assert set(JOB_METHODS.values()) <= MASKED


@pytest.mark.real_time
def test_blocking_client_gets_every_answer(tmp_path: Path) -> None:
    """Over a socket, with all fields."""
    path = tmp_path / "s"
    with control_in_thread(path), connect(path) as market:
        for method in JOB_METHODS:
            answer = getattr(market.jobs, client_method(method))(**arguments(method))
            assert answer == sample_job_answer(asked(method)), method


@pytest.mark.real_time
async def test_client_on_trio_gets_every_answer(tmp_path: Path) -> None:
    """The same, in a task."""
    path = tmp_path / "s"
    async with open_control(path=path), open_client(path) as market:
        for method in JOB_METHODS:
            answer = await getattr(market.jobs, client_method(method))(**arguments(method))
            assert answer == sample_job_answer(asked(method)), method
