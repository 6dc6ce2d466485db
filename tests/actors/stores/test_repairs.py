"""What `StoreActor` does about damage: an answer at once, one repair, one word about it.

On fake time with stores in memory; one test runs it over a real file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.coverage import Coverage, Span
from actors.errors import StoreCorrupt, StoreError, StoreUnavailable
from actors.messages import GetHealth, ReadStored, StoredCandles, WriteStored
from actors.series import Series
from actors.store import StoreActor
from actors.stores.base import OpenStore
from actors.stores.sqlite import open_sqlite_store
from actors.stores.testing import Disk, made_candles, made_write
from runtime.core.message import Request
from runtime.core.ref import ActorRef
from runtime.testing import open_actor

BTC, ETH = Series.parse("KRW-BTC", "1m"), Series.parse("KRW-ETH", "1m")
MINUTE_MS = 60_000


class Probe:
    """The actor under test, by its insides as well."""

    def __init__(self, open_store: OpenStore) -> None:
        self.actors: list[StoreActor] = []
        self._make = partial(StoreActor, open_store)

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


def read(series: Series = BTC) -> ReadStored:
    """Ask for everything of a series."""
    return ReadStored(series=series, start_ms=0, end_ms=1_000 * MINUTE_MS)


def write(series: Series = BTC, count: int = 5) -> WriteStored:
    """Ask for some candles to be kept."""
    return WriteStored(write=made_write(series, 0, count))


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


async def test_a_damaged_series_is_repaired_once_and_said_once(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """Everybody in hand is told of the damage; whoever comes after the repair meets none."""
    disk.takes_s, disk.damaged = 1.0, BTC
    probe = Probe(disk.open)
    async with open_actor(probe, name="store") as store:
        answers = await all_of(store, [read(), read(), write(), read(ETH)])
        assert probe.state == ("failing", "KRW-BTC 1m: damaged")
        assert (await store.call(GetHealth())).state == "degraded"
        later = await all_of(store, [write(), write(ETH)])
        assert probe.state == ("open", "")
        assert (await store.call(GetHealth())).state == "ok"
        assert len((await store.call(read())).candles) == 5

    kinds = [type(answer) for answer in answers]
    assert kinds == [StoreCorrupt, StoreCorrupt, StoreCorrupt, StoredCandles]
    assert later == [None, None]
    assert disk.repairs == [BTC]
    assert probe.actors[0].statistics().repaired == 1
    texts = [(record.levelname, record.getMessage()) for record in caplog.records]
    dropped = "1970-01-01T00:00:00Z..1970-01-01T00:01:00Z"
    assert texts == [
        ("ERROR", "store: KRW-BTC 1m: damaged"),
        (
            "WARNING",
            f"store: KRW-BTC 1m was damaged: dropped {dropped}; it will be fetched anew",
        ),
    ]


async def test_a_list_of_dropped_spans_is_not_endless(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    """A whole year may be damaged."""
    disk.damaged = BTC
    disk.dropped = tuple(Span(n * MINUTE_MS, (n + 1) * MINUTE_MS) for n in range(50))
    probe = Probe(disk.open)
    async with open_actor(probe) as store:
        await all_of(store, [read()])
        await store.call(write())

    assert probe.actors[0].statistics().repaired == 50
    assert caplog.records[-1].getMessage().endswith(" and 45 more; it will be fetched anew")


@pytest.mark.parametrize("error", [StoreCorrupt, StoreUnavailable])
async def test_a_repair_that_fails_is_tried_again_now_and_then(
    disk: Disk, caplog: pytest.LogCaptureFixture, error: type[StoreError]
) -> None:
    """Not with every request; it is said once, and the store is degraded until it is done."""
    disk.damaged, disk.cannot_repair = BTC, error("candles.db: no room")
    probe = Probe(disk.open)
    async with open_actor(probe) as store:
        for _ in range(25):
            assert [type(a) for a in await all_of(store, [read(), write()])] == [StoreCorrupt] * 2
            assert await all_of(store, [write(ETH)]) == [None]
            await trio.sleep(1)
        reason = "KRW-BTC 1m is damaged and could not be repaired: candles.db: no room"
        assert probe.state == ("failing", reason)
        assert len(disk.repairs) == 3
        disk.cannot_repair = None
        await trio.sleep(10)
        await all_of(store, [read()])
        await store.call(write())
        assert probe.state == ("open", "")

    levels = [record.levelname for record in caplog.records]
    assert levels == ["ERROR", "ERROR", "WARNING"]


async def test_a_store_that_is_opened_anew_forgets_a_repair_that_failed(disk: Disk) -> None:
    """It may be another file."""
    disk.damaged, disk.cannot_repair = BTC, StoreUnavailable("candles.db: the file was moved")
    probe = Probe(disk.open)
    async with open_actor(probe) as store:
        await all_of(store, [read()])
        disk.lost, disk.cannot_write = True, StoreUnavailable("candles.db: the file was moved")
        await all_of(store, [write(ETH)])
        disk.damaged = disk.cannot_write = None
        await trio.sleep(2)
        assert probe.state == ("open", "")


async def test_damage_met_while_stopping_does_not_keep_the_rest_from_being_written(
    disk: Disk,
) -> None:
    """There is no task left to repair in; the next incarnation does it."""
    disk.takes_s, disk.damaged = 1.0, BTC
    async with trio.open_nursery() as nursery:
        async with open_actor(Probe(disk.open)) as store:
            nursery.start_soon(all_of, store, [write(BTC), write(ETH), write(BTC)])
            await trio.sleep(0.5)
        assert (await disk.store.statistics()).candles == 5
    assert disk.repairs == []
    assert disk.closed == 1


@pytest.mark.real_time
async def test_over_a_real_file_flipped_bytes_heal(tmp_path: Path) -> None:
    """The request that meets them is refused; the next page is stored and read back whole."""
    path = tmp_path / "candles.db"
    probe = Probe(partial(open_sqlite_store, path))
    async with open_actor(probe) as store:
        await store.call(write(count=1_000))
        with closing(sqlite3.connect(path)) as file:
            file.execute("UPDATE chunk SET data = CAST(zeroblob(9) || substr(data, 10) AS BLOB)")
            file.commit()
        assert [type(answer) for answer in await all_of(store, [read()])] == [StoreCorrupt]
        await store.call(write(count=700))
        assert not (await store.call(read())).coverage.covers(Span(0, 720 * MINUTE_MS))
        await store.call(write(count=1_000))
        stored = await store.call(read())
        assert probe.state == ("open", "")
        assert probe.actors[0].statistics().repaired == 3

    assert stored.candles == made_candles(BTC, 0, 1_000)
    assert stored.coverage == Coverage((Span(0, 1_000 * MINUTE_MS),))
