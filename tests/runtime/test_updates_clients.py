"""Subscriptions as bots have them: on trio, blocking, and from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.errors import InvalidRequest, UnknownMarket
from actors.messages import GetCandles
from actors.updates import Missed, TickerUpdate
from runtime.cli import run
from runtime.cli_watch import describe
from runtime.client.blocking import connect
from runtime.client.blocking_updates import BlockingUpdates
from runtime.client.requests import raw_request
from runtime.client.trio_client import open_client
from runtime.core.errors import CallTimeout
from runtime.messages import GetRaw
from runtime.raw import RAW_METHODS, answer_raw, raw_question
from runtime.testing_socket import (
    MemoryListener,
    control_in_thread,
    open_control,
    sample_answer,
    sample_ticker,
)
from runtime.testing_updates import SampleFeed, UpdateFeed, sample_update, ticker_update
from runtime.transport import RuntimeUnreachable

KINDS = ("ticker", "trades", "orderbook", "candles", "gaps", "health")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a socket can be."""
    return tmp_path / "c.sock"


@contextmanager
def serving(path: Path) -> Iterator[None]:
    """Run a runtime that tells samples without end."""
    with control_in_thread(path, subscribe=SampleFeed().subscribe):
        yield


# ------------------------------------------------------------------ trio, without a network


async def test_trio_updates_are_typed_and_in_order() -> None:
    """Each of its own class, as in the same process."""
    feed, listener = UpdateFeed(), MemoryListener()
    async with (
        open_control(listener=listener, subscribe=feed.subscribe),
        open_client(dial=listener.connect) as market,
    ):
        for kind in KINDS:
            async with market.subscribe(kind, "KRW-BTC") as updates:  # type: ignore[arg-type]
                feed.publish(sample_update(kind), kind)
                assert await anext(updates) == sample_update(kind)


async def test_trio_subscription_outlives_a_restart_and_says_so() -> None:
    """How much there was meanwhile nobody can tell, and it does not pretend to."""
    feed, listeners = UpdateFeed(), [MemoryListener()]

    async def dial() -> trio.abc.Stream:
        if listeners[-1].closed:
            raise RuntimeUnreachable("away")
        return await listeners[-1].connect()

    async with open_client(dial=dial) as market, trio.open_nursery() as nursery:
        async with open_control(listener=listeners[0], subscribe=feed.subscribe):
            subscription = market.subscribe("ticker", "KRW-BTC")
            updates = await subscription.__aenter__()
            feed.publish(ticker_update(1.0))
            assert await anext(updates) == ticker_update(1.0)

        async def restart() -> None:
            await trio.sleep(5)
            listeners.append(MemoryListener())
            async with open_control(listener=listeners[1], subscribe=feed.subscribe):
                await trio.sleep(5)
                feed.publish(ticker_update(2.0))
                await trio.sleep(5)

        nursery.start_soon(restart)
        assert await anext(updates) == Missed(count=None, why="reconnected")
        assert await anext(updates) == ticker_update(2.0)
        await subscription.__aexit__(None, None, None)
        with pytest.raises(StopAsyncIteration, match=r"^$"):
            await anext(updates)


async def test_trio_subscription_gives_up_when_the_runtime_stays_away() -> None:
    """After the time it was given; a bot that waits for ever would be no better than one dead."""
    feed, listener = UpdateFeed(), MemoryListener()

    async def dial() -> trio.abc.Stream:
        if listener.closed:
            raise RuntimeUnreachable("away")
        return await listener.connect()

    async with open_client(dial=dial) as market:
        async with open_control(listener=listener, subscribe=feed.subscribe):
            subscription = market.subscribe("ticker", "KRW-BTC", timeout_s=7)
            updates = await subscription.__aenter__()
        before_s = trio.current_time()
        with pytest.raises(RuntimeUnreachable, match="away"):
            await anext(updates)
        assert trio.current_time() - before_s == pytest.approx(7, abs=0.5)
        await subscription.__aexit__(None, None, None)


async def test_trio_errors_of_subscribing_are_the_runtime_s_own() -> None:
    """And the time to begin is bounded."""
    feed, listener = UpdateFeed(), MemoryListener()

    async def never() -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    async with open_control(listener=listener, subscribe=feed.subscribe):
        async with open_client(dial=listener.connect) as market:
            with pytest.raises(UnknownMarket, match="no market KRW-NONE"):
                async with market.subscribe("ticker", "KRW-NONE"):
                    pytest.fail("must not run")
            with pytest.raises(InvalidRequest, match="markets go one by one"):
                market.subscribe("ticker", ["KRW-BTC"])  # type: ignore[arg-type]
        async with open_client(dial=never) as market:
            with pytest.raises(CallTimeout, match="no answer to Subscribe within 3 s"):
                async with market.subscribe("ticker", "KRW-BTC", timeout_s=3):
                    pytest.fail("must not run")


# ------------------------------------------------------------------ blocking, over a real socket


@pytest.mark.parametrize("kind", KINDS)
def test_blocking_updates_are_typed(path: Path, kind: Any) -> None:
    """Over a connection of their own, beside which the client goes on."""
    with (
        serving(path),
        connect(path) as market,
        market.subscribe(kind, "KRW-BTC") as updates,
    ):
        assert next(updates) == sample_update(kind)
        assert market.ticker("KRW-BTC") == sample_ticker()
        assert next(updates) == sample_update(kind)


def test_blocking_iteration_ends_with_the_block(path: Path) -> None:
    """As with a file."""
    with serving(path), connect(path) as market:
        with market.subscribe("ticker", "KRW-BTC", "KRW-ETH") as updates:
            names = [next(updates) for _ in range(2)]
        assert [each.ticker.market for each in names if isinstance(each, TickerUpdate)] == [
            "KRW-BTC",
            "KRW-ETH",
        ]
        assert list(updates) == []


def test_blocking_subscription_outlives_a_restart_and_says_so(path: Path) -> None:
    """It looks for the runtime until its time is over."""
    feed = UpdateFeed()
    with ExitStack() as client, connect(path) as market:
        with control_in_thread(path, subscribe=feed.subscribe):
            updates = client.enter_context(market.subscribe("ticker", "KRW-BTC", timeout_s=20))
            assert isinstance(updates, BlockingUpdates)
            assert updates.next_within(0.01) is None
        assert updates.next_within(0.01) is None
        with serving(path):
            assert next(updates) == Missed(count=None, why="reconnected")
            assert isinstance(next(updates), TickerUpdate)


def test_blocking_errors_of_subscribing_are_the_runtime_s_own(path: Path) -> None:
    """Also when there is no runtime."""
    with connect(path) as market:
        with pytest.raises(RuntimeUnreachable, match="no marketd"), market.subscribe("health"):
            pytest.fail("must not run")
        with (
            serving(path),
            pytest.raises(UnknownMarket, match="NONE"),
            market.subscribe("ticker", "KRW-NONE"),
        ):
            pytest.fail("must not run")


# ------------------------------------------------------------------ command line


@pytest.mark.parametrize("kind", KINDS)
def test_watch_shows_a_line_an_update(
    path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """For people, and for programs as JSON."""
    markets = [] if kind == "health" else ["KRW-BTC"]
    with serving(path):
        arguments = ["watch", kind, *markets, "--count", "3", "--socket", str(path)]
        assert run(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines == [describe(sample_update(kind))] * 3
        assert run([*arguments, "--json"]) == 0
        events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
        assert len(events) == 3
        assert events[0] in kind


def test_watch_ends_after_a_time(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With nothing to show as well."""
    with control_in_thread(path, subscribe=UpdateFeed().subscribe):
        assert run(["watch", "gaps", "--for", "0.05", "--socket", str(path)]) == 0
    assert capsys.readouterr().out == ""


def test_what_was_missed_is_shown() -> None:
    """With a number where there is one."""
    assert describe(Missed(count=3, why="dropped")) == "-- missed 3 updates: dropped"
    assert "unknown number" in describe(Missed(count=None, why="reconnected"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["streams"], "live"),
        (["gaps", "KRW-BTC"], "1 gaps, 1 of them open"),
        (["trades", "KRW-BTC"], "from live: the stream has it"),
        (["ticker", "KRW-BTC", "--raw"], '"trade_price":137000000.0'),
        (["candles", "KRW-BTC", "1m", "--fill", "flat", "--raw"], '"asked":"candles"'),
        (["trades", "KRW-BTC", "--raw", "--json"], '"source":"live"'),
    ],
)
def test_reports_and_the_raw_view_are_shown(
    path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    """Each in a form that people, or the code that expects the exchange, can read."""
    with serving(path):
        assert run([*arguments, "--socket", str(path)]) == 0
    assert words in capsys.readouterr().out


# ------------------------------------------------------------------ the raw view


@pytest.mark.parametrize("method", RAW_METHODS)
async def test_raw_asks_as_usual_and_says_where_it_came_from(method: str) -> None:
    """Only the form differs."""
    params: dict[str, Any] = {"market": "KRW-BTC"}
    if method == "candles":
        params |= {"timeframe": "1m", "count": 2}
    if method == "tickers":
        params = {"markets": ["KRW-BTC", "KRW-ETH"]}
    request = GetRaw(method=method, params=params)  # type: ignore[arg-type]

    answer = await answer_raw(request, sample_answer, lambda question, _: [{"of": str(question)}])

    assert answer.source in {"exchange", "live"}
    assert len(answer.data) == 1


def test_raw_refuses_what_has_no_such_form() -> None:
    """With the words of the question itself."""
    with pytest.raises(InvalidRequest, match="method must be one of candles"):
        raw_question(GetRaw(method="limits"))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="no parameter 'cuont'; did you mean 'count'"):
        raw_question(GetRaw(method="trades", params={"market": "KRW-BTC", "cuont": 1}))
    request = raw_request("candles", {"market": "KRW-BTC", "timeframe": "1m", "end": "2026-01-01"})
    question = raw_question(request)
    assert isinstance(question, GetCandles)
    assert question.end == 1_767_225_600_000
