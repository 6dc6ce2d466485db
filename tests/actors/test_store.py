"""`StoreActor`: one database for everybody, and a state, not a crash, when it is away.

On fake time with stores in memory; one test runs it over a real file.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from actors.candles import Candles
from actors.coverage import Coverage, Span
from actors.errors import InvalidRequest, Overloaded, StoreCorrupt, StoreUnavailable
from actors.messages import (
    GetStoreStatistics,
    ReadCoverage,
    ReadStored,
    StoreWrite,
    WriteStored,
)
from actors.series import Series
from actors.store import StoreActor, StoreLimits
from actors.stores.sqlite import open_sqlite_store
from actors.stores.testing import Disk, made_candles, made_write
from runtime.core.errors import ActorDown, ActorRestarted, CallTimeout, UnhandledRequest
from runtime.core.message import Request
from runtime.core.ref import ActorRef
from runtime.testing import open_actor

BTC, ETH = Series.parse("KRW-BTC", "1m"), Series.parse("KRW-ETH", "1m")
MINUTE_MS = 60_000


class Probe:
    """The actor under test, by its insides as well."""

    def __init__(self, disk: Disk, **options: StoreLimits) -> None:
        self.actors: list[StoreActor] = []
        self._make = partial(StoreActor, disk.open, **options)  # type: ignore[arg-type]

    def __call__(self) -> StoreActor:
        """Make one more incarnation."""
        self.actors.append(self._make())
        return self.actors[-1]

    @property
    def state(self) -> tuple[str, str]:
        """State and reason of the present incarnation."""
        figures = self.actors[-1].statistics()
        return (figures.state, figures.reason)


@pytest.fixture
def disk() -> Disk:
    """A disk in good health."""
    return Disk()


def read(series: Series = BTC, **options: int) -> ReadStored:
    """Ask for everything of a series."""
    return ReadStored(series=series, start_ms=0, end_ms=1_000 * MINUTE_MS, **options)


def write(series: Series = BTC, first: int = 0, count: int = 5) -> WriteStored:
    """Ask for some candles to be kept."""
    return WriteStored(write=made_write(series, first * MINUTE_MS, count))


async def all_of(store: ActorRef, requests: Sequence[Request[Any]]) -> list[object]:
    """Send all requests at once and return answers and errors, in the order of the requests."""
    answers: list[object] = [None] * len(requests)

    async def ask(index: int) -> None:
        try:
            answers[index] = await store.call(requests[index], timeout_s=60)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is held against the wanted
            answers[index] = error

    async with trio.open_nursery() as nursery:
        for index in range(len(requests)):
            nursery.start_soon(ask, index)
    return answers


async def test_what_is_written_can_be_read(disk: Disk) -> None:
    """Rows, coverage and figures, all through messages."""
    async with open_actor(Probe(disk)) as store:
        await store.call(write(count=9))
        stored = await store.call(read(count=3))
        coverage = await store.call(ReadCoverage(series=BTC))
        figures = await store.call(GetStoreStatistics())

    assert stored.candles == made_candles(BTC, 0, 9).last(3)
    assert coverage == Coverage((Span(0, 9 * MINUTE_MS),))
    assert figures.series == 0  # the figures are those of the open store, a new one here


async def test_writes_that_wait_share_one_commit(disk: Disk) -> None:
    """Those that come during a commit go together; each is answered after its own."""
    disk.takes_s = 1.0
    async with open_actor(Probe(disk)) as store:
        answers = await all_of(store, [write(first=10 * n) for n in range(40)])

    assert answers == [None] * 40
    assert len(disk.commits) <= 2
    assert sum(disk.commits) == 40
    assert (await disk.store.statistics()).candles == 200


async def test_a_commit_is_bounded_in_rows(disk: Disk) -> None:
    """One transaction must not keep everybody waiting."""
    disk.takes_s = 1.0
    limits = StoreLimits(commit_rows_max=12)
    async with open_actor(Probe(disk, limits=limits)) as store:
        await all_of(store, [write(first=10 * n) for n in range(10)])

    assert sum(disk.commits) == 10
    assert max(disk.commits) == 3  # twelve rows are reached by the third write of five


async def test_reads_are_answered_while_a_commit_takes_its_time(disk: Disk) -> None:
    """And while other reads do; the mailbox is never held up."""
    disk.takes_s = 2.0
    async with open_actor(Probe(disk)) as store:
        started_s = trio.current_time()
        await all_of(store, [write(), read(), read(ETH), ReadCoverage(series=BTC)])

        assert trio.current_time() - started_s == 2.0


async def test_reads_beyond_the_bound_are_refused_at_once(disk: Disk) -> None:
    """A queue without an end would only hide that the disk cannot keep up."""
    disk.takes_s = 1.0
    probe = Probe(disk, limits=StoreLimits(reads_max=3, reads_at_once=1))
    async with open_actor(probe) as store:
        answers = await all_of(store, [read()] * 5)

    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert [str(error) for error in refused] == ["the store has 3 reads waiting; try later"] * 2
    assert probe.actors[0].statistics().refused == 2
    assert probe.actors[0].statistics().reads_waiting == 0


async def test_writes_beyond_the_bound_are_refused_at_once(disk: Disk) -> None:
    """Those that were accepted are kept all the same."""
    disk.takes_s = 1.0
    async with open_actor(Probe(disk, limits=StoreLimits(writes_max=2))) as store:
        answers = await all_of(store, [write(first=10 * n) for n in range(6)])

    kinds = [type(answer) for answer in answers]
    assert kinds.count(Overloaded) >= 2
    assert sum(disk.commits) == kinds.count(type(None))


async def test_a_read_whose_caller_has_gone_is_not_made(disk: Disk) -> None:
    """Behind a slow disk the answers would come for nobody."""
    disk.takes_s = 1.0
    probe = Probe(disk, limits=StoreLimits(reads_at_once=1))
    async with open_actor(probe) as store:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.call, read())
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(CallTimeout, match="did not answer ReadStored"):
                await store.call(read(), timeout_s=0.5)
        await trio.sleep(5)

    assert (await disk.store.statistics()).reads == 1


async def test_a_write_whose_caller_has_gone_is_made(disk: Disk) -> None:
    """Its rows are as true as they were."""
    disk.takes_s = 1.0
    async with open_actor(Probe(disk)) as store:
        with pytest.raises(CallTimeout, match="did not answer WriteStored"):
            await store.call(write(), timeout_s=0.5)
        await trio.sleep(5)

    assert disk.commits == [1]


async def test_a_bad_write_is_the_answer_of_its_caller_alone(disk: Disk) -> None:
    """It never gets into the queue, so nobody's commit fails with it."""
    bad = WriteStored(write=StoreWrite(made_candles(BTC, 0, 5), Span(0, MINUTE_MS)))
    async with open_actor(Probe(disk)) as store:
        answers = await all_of(store, [write(), bad, write(ETH)])

    assert [type(answer) for answer in answers] == [type(None), InvalidRequest, type(None)]


async def test_a_bad_window_is_an_answer(disk: Disk) -> None:
    """The actor lives on."""
    async with open_actor(Probe(disk)) as store:
        with pytest.raises(InvalidRequest, match="must not end before it starts"):
            await store.call(ReadStored(series=BTC, start_ms=5, end_ms=4))


async def test_a_damaged_series_spares_the_others_in_its_commit(disk: Disk) -> None:
    """Only the caller of the damaged one is told of it."""
    disk.takes_s, disk.damaged = 1.0, BTC
    async with open_actor(Probe(disk)) as store:
        requests = [write(ETH, 0), write(ETH, 10), write(BTC), write(ETH, 20)]
        answers = await all_of(store, requests)

    assert [type(answer) for answer in answers] == [
        type(None),
        type(None),
        StoreCorrupt,
        type(None),
    ]
    assert (await disk.store.statistics()).candles == 15


async def test_a_store_that_cannot_be_opened_is_an_answer_and_tried_again(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """After 1, 2, 4 s and so on to 60, each with a little chance; logged once, not each time."""
    caplog.set_level(logging.INFO, "marketd.store")
    disk.cannot_open = StoreUnavailable("/data/candles.db: its folder does not exist; create it")
    probe = Probe(disk)
    async with open_actor(probe, name="store") as store:
        requests: list[Request[Any]] = [read(), write(), ReadCoverage(series=BTC)]
        for request in (*requests, GetStoreStatistics()):
            with pytest.raises(StoreUnavailable, match=r"is away: /data/candles\.db: its"):
                await store.call(request)
        assert probe.state == ("away", str(disk.cannot_open))
        await trio.sleep(400)
        disk.cannot_open = None
        await trio.sleep(70)
        assert probe.state == ("open", "")
        await store.call(write())

    waits_s = [b - a for a, b in zip(disk.opened_at_s, disk.opened_at_s[1:], strict=False)]
    nominal_s = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 60][: len(waits_s)]
    assert len(waits_s) >= 11
    for waited_s, wanted_s in zip(waits_s, nominal_s, strict=True):
        assert waited_s == pytest.approx(wanted_s, rel=0.11)
    assert waits_s != nominal_s
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_failing_write_does_not_keep_anybody_from_reading(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk is said once, and its end is said once."""
    caplog.set_level(logging.INFO, "marketd.store")
    probe = Probe(disk)
    async with open_actor(probe, name="store") as store:
        await store.call(write())
        disk.cannot_write = StoreUnavailable("candles.db: the disk is full")
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="the disk is full"):
                await store.call(write())
            assert len((await store.call(read())).candles) == 5
        assert probe.state == ("failing", "candles.db: the disk is full")
        disk.cannot_write = None
        await store.call(write())
        assert probe.state == ("open", "")

    texts = [record.getMessage() for record in caplog.records]
    assert texts[1:] == [
        "store: cannot write: candles.db: the disk is full",
        "store: can write again",
    ]
    assert disk.opened == 1


async def test_a_lost_store_is_opened_again(disk: Disk) -> None:
    """Callers hear of it at once, and are served again after the back-off."""
    probe = Probe(disk)
    async with open_actor(probe) as store:
        disk.lost, disk.cannot_write = True, StoreUnavailable("candles.db: the file was moved")
        with pytest.raises(StoreUnavailable, match="the file was moved"):
            await store.call(write())
        disk.cannot_write = None
        with pytest.raises(StoreUnavailable, match=r"the store is away: .*the file was moved"):
            await store.call(read())
        await trio.sleep(1.2)
        await store.call(write())

    assert (disk.opened, disk.closed) == (2, 2)


async def test_damage_is_an_answer_and_no_trouble_of_the_store(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """Other series are fine; the log says the same thing once."""
    disk.cannot_read = StoreCorrupt("KRW-BTC 1m: chunk 5 is damaged")
    probe = Probe(disk)
    async with open_actor(probe) as store:
        for _ in range(3):
            with pytest.raises(StoreCorrupt, match="chunk 5 is damaged"):
                await store.call(read())

    assert probe.state[0] == "away"  # closed by now
    assert probe.actors[0].statistics().last_corrupt == str(disk.cannot_read)
    assert probe.actors[0].statistics().failures == 3
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


async def test_a_stop_writes_what_was_accepted_and_closes(disk: Disk) -> None:
    """The callers are told that the actor ended; their rows are there all the same."""
    disk.takes_s = 1.0
    answers: list[object] = []
    async with trio.open_nursery() as nursery, open_actor(Probe(disk)) as store:

        async def ask() -> None:
            answers.extend(await all_of(store, [write(first=10 * n) for n in range(5)]))

        nursery.start_soon(ask)
        await trio.sleep(0.5)

    assert {type(answer) for answer in answers} == {ActorDown}
    assert sum(disk.commits) == 5
    assert (disk.opened, disk.closed) == (1, 1)


async def test_a_defect_is_a_crash_that_loses_nothing_that_was_answered(disk: Disk) -> None:
    """The next incarnation opens the store again and goes on."""
    async with open_actor(Probe(disk)) as store:
        await store.call(write())
        disk.cannot_read = LookupError("a defect")
        with pytest.raises(ActorRestarted, match="ended before it answered"):
            await store.call(read())
        disk.cannot_read = None
        await trio.sleep(1)
        assert len((await store.call(read())).candles) == 5

    assert disk.opened == disk.closed == 2


async def test_an_unknown_request_is_refused_by_name(disk: Disk) -> None:
    """Nobody should wait for an answer that cannot come."""

    class Nonsense(Request[None], frozen=True):
        pass

    async with open_actor(Probe(disk)) as store:
        with pytest.raises(UnhandledRequest, match="StoreActor has no handler for Nonsense"):
            await store.call(Nonsense())


@pytest.mark.parametrize("name", StoreLimits.__struct_fields__)
def test_a_limit_that_lets_nothing_through_is_refused(name: str) -> None:
    """By its name."""
    with pytest.raises(ValueError, match=f"{name} must be at least 1, was 0"):
        StoreLimits(**{name: 0})


@pytest.mark.real_time
async def test_over_a_real_file_hundreds_of_writes_need_a_handful_of_commits(
    tmp_path: Path,
) -> None:
    """And everything is there in the next life of the actor."""
    factory = partial(StoreActor, partial(open_sqlite_store, tmp_path / "candles.db"))
    async with open_actor(factory) as store:
        answers = await all_of(store, [write(first=5 * n) for n in range(300)])
        figures = await store.call(GetStoreStatistics())
    async with open_actor(factory) as store:
        stored = await store.call(ReadStored(series=BTC, start_ms=0, end_ms=1_500 * MINUTE_MS))

    assert answers == [None] * 300
    assert figures.writes == 300
    assert figures.commits < 60
    assert isinstance(stored.candles, Candles)
    assert len(stored.candles) == 1_500
    assert stored.coverage.covers(Span(0, 1_500 * MINUTE_MS))
