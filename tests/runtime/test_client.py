"""The clients: one set of methods, typed answers, and no trouble that outlives its cause."""

from __future__ import annotations

import asyncio
import inspect
import math
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.errors import (
    ExchangeUnavailable,
    InvalidRequest,
    OutcomeUnknown,
    Overloaded,
)
from actors.key_messages import PlaceOrder
from actors.messages import GetCandles
from runtime.client.base import AsyncClient
from runtime.client.blocking import BlockingClient, connect
from runtime.client.blocking_base import SyncClient
from runtime.client.embedded import EmbeddedClient
from runtime.client.requests import candles_request
from runtime.client.trio_client import TrioClient
from runtime.config import ControlSettings, SettingsError
from runtime.core.errors import CallTimeout
from runtime.core.message import Request
from runtime.messages import OPERATIONS
from runtime.protocol import encode_error
from runtime.testing import NEW_YEAR_MS
from runtime.testing_socket import (
    control_in_thread,
    sample_answer,
    sample_candles,
    sample_status,
    sample_ticker,
)
from runtime.transport import RuntimeUnreachable
from runtime.wire_errors import RemoteError, WireError

METHODS = [
    *("candles", "ticker", "tickers", "orderbook", "trades"),
    *("markets", "limits", "cache", "streams", "gaps", "raw", "status", "stop"),
    *("needs", "preload", "explain_preload"),
    *OPERATIONS,
]


def test_both_kinds_of_client_have_the_same_methods() -> None:
    """A bot that moves to trio changes no name, no argument and no default."""
    for name in METHODS:
        sync, awaited = getattr(SyncClient, name), getattr(AsyncClient, name)
        assert inspect.signature(sync) == inspect.signature(awaited), name
        assert inspect.getdoc(sync) == inspect.getdoc(awaited), name
        assert inspect.iscoroutinefunction(awaited)


def test_all_clients_subscribe_in_the_same_way() -> None:
    """Over the socket or in the same process, waiting or not: the same names and defaults."""
    kinds = (AsyncClient, SyncClient, TrioClient, BlockingClient, EmbeddedClient)
    signatures = {str(inspect.signature(kind.subscribe)) for kind in kinds}

    assert len(signatures) == 1
    assert inspect.getdoc(AsyncClient.subscribe) == inspect.getdoc(SyncClient.subscribe)


@pytest.mark.parametrize(
    "time",
    [
        NEW_YEAR_MS,
        np.int64(NEW_YEAR_MS),
        "2026-01-01",
        "2026-01-01T00:00:00Z",
        datetime(2026, 1, 1, tzinfo=UTC),
    ],
)
def test_times_may_be_given_in_every_usual_form(time: Any) -> None:
    """The runtime gets milliseconds; the bot writes what it has."""
    request = candles_request(
        "KRW-BTC",
        "1m",
        None,
        start=time,
        end=time,
        closed=False,
        max_age_s=None,
        allow_stale=False,
    )

    assert (request.start, request.end) == (NEW_YEAR_MS, NEW_YEAR_MS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a socket can be."""
    return tmp_path / "c.sock"


@pytest.fixture
def market(path: Path) -> Iterator[BlockingClient]:
    """A client of a runtime that answers from samples."""
    with control_in_thread(path), connect(path) as client:
        yield client


def test_every_blocking_method_returns_its_value(market: BlockingClient) -> None:
    """Through a real socket."""
    assert market.candles("KRW-BTC", "1m", 5) == sample_candles(5)
    assert market.candles("KRW-BTC").close[-1] == sample_candles(200).close[-1]
    assert market.ticker("KRW-ETH") == sample_ticker("KRW-ETH")
    assert [each.market for each in market.tickers(("A", "B"))] == ["A", "B"]
    assert market.orderbook("KRW-BTC", 2).asks[0].size == 0.00000001
    assert market.trades("KRW-BTC", 2)[0].side == "buy"
    assert market.markets("KRW")[0].market == "KRW-BTC"
    assert market.limits()[0].granted == 1_234_567
    assert market.cache().store_bytes is None
    assert market.status() == sample_status()
    assert market.stop().pid > 0


def test_blocking_errors_are_the_runtime_s_own(market: BlockingClient) -> None:
    """And the client goes on after each."""
    with pytest.raises(ExchangeUnavailable, match="upbit is away"):
        market.candles("KRW-AWAY")
    with pytest.raises(RemoteError, match="internal error"):
        market.candles("KRW-DEFECT")
    with pytest.raises(InvalidRequest, match="expected `int"):
        market.candles("KRW-BTC", "1m", 1.5)  # type: ignore[arg-type]
    assert len(market.candles("KRW-BTC", "1m", 1)) == 1


def test_blocking_timeout_leaves_the_client_usable(market: BlockingClient) -> None:
    """On the same connection: the late answer is known by its id."""
    market.ticker("KRW-BTC")
    connection = market._connection

    with pytest.raises(CallTimeout, match="no answer to GetTicker within"):
        market.ticker("KRW-HANG", timeout_s=0.01)

    for _ in range(3):
        assert market.ticker("KRW-BTC") == sample_ticker()
    assert market._connection is connection


def test_threads_may_share_a_client(market: BlockingClient) -> None:
    """They take turns, and nobody gets another's answer."""

    def ask(count: int) -> int:
        return len(market.candles("KRW-BTC", "1m", count))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(60))) == list(range(60))


def test_waiting_for_a_turn_counts_as_waiting(market: BlockingClient) -> None:
    """A thread's own time limit holds whatever the others do."""
    with market._lock, pytest.raises(CallTimeout, match="left no turn within"):
        market.ticker("KRW-BTC", timeout_s=0.01)


def test_client_connects_again_after_the_runtime_was_restarted(path: Path) -> None:
    """A bot outlives many runtimes."""
    with connect(path) as market:
        for _ in range(3):
            with control_in_thread(path):
                assert market.ticker("KRW-BTC") == sample_ticker()
            with pytest.raises(
                RuntimeUnreachable, match=r"no marketd runtime answers at .*c\.sock"
            ):
                market.ticker("KRW-BTC")


def test_asyncio_bots_use_the_blocking_client_in_a_thread(market: BlockingClient) -> None:
    """As its module says they can."""

    async def main() -> int:
        return len(await asyncio.to_thread(market.candles, "KRW-BTC", "1m", 7))

    assert asyncio.run(main()) == 7


def test_child_after_a_fork_opens_its_own_connection(market: BlockingClient) -> None:
    """Two processes on one connection would read each other's answers."""
    market.ticker("KRW-BTC")
    first = market._connection
    market._pid = os.getpid() - 1

    assert market.ticker("KRW-BTC") == sample_ticker()
    assert market._connection is not first


def scripted(path: Path, *answers: bytes) -> threading.Thread:
    """Listen at `path`; answer each connection's first request with bytes, and close."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def run() -> None:
        with listener:
            for answer in answers:
                near, _ = listener.accept()
                with near:
                    near.recv(65_536)
                    near.sendall(answer)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        ([b"", b""], RuntimeUnreachable, "closed the connection"),
        ([b'{"jsonrpc":"2.0","id":1,'], RuntimeUnreachable, "closed the connection"),
        ([b"SSH-2.0-OpenSSH\r\n"], RemoteError, "what answered is no marketd runtime: 'SSH"),
        ([b'{"jsonrpc":"2.0","id":null,"result":1}\n'], RemoteError, "without saying what"),
        (
            [encode_error(None, WireError(-32030, "full", {"type": "Overloaded"}))],
            Overloaded,
            "full",
        ),
    ],
)
def test_what_is_no_answer_becomes_a_typed_error(
    path: Path, answers: list[bytes], error: type[Exception], words: str
) -> None:
    """A half answer is never asked for again; silence is, once."""
    thread = scripted(path, *answers)

    with connect(path) as market, pytest.raises(error, match=words):
        market.ticker("KRW-BTC")

    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, math.nan])
def test_what_there_is_no_time_for_is_not_sent(timeout_s: float, path: Path) -> None:
    """Nobody listens there, and nobody is looked for."""
    with connect(path) as market, pytest.raises(CallTimeout, match="GetTicker was not asked"):
        market.ticker("KRW-BTC", timeout_s=timeout_s)


@pytest.mark.parametrize("answer", [b"", b'{"jsonrpc":"2.0","id":1,'])
def test_order_without_an_answer_may_have_arrived(answer: bytes, path: Path) -> None:
    """It is not sent once more, whether or not half an answer came."""
    thread = scripted(path, answer)
    order = PlaceOrder(account="a", market="KRW-BTC", side="bid", price="1", volume="1")

    with connect(path) as market:
        with pytest.raises(OutcomeUnknown, match=r"closed the connection.*may have arrived"):
            market.ask(order)
        thread.join(5)
        with pytest.raises(RuntimeUnreachable, match="no marketd runtime answers"):
            # Now it was not even sent.
            market.ask(order)


def test_more_connections_than_the_bound_get_the_reason(path: Path) -> None:
    """Overloaded, and the first ones go on."""
    settings = ControlSettings(connections_max=1)
    with control_in_thread(path, settings=settings), connect(path) as first, connect(path) as more:
        assert first.ticker("KRW-BTC") == sample_ticker()
        with pytest.raises(Overloaded, match="1 connections already"):
            more.ticker("KRW-BTC")
        assert first.ticker("KRW-BTC") == sample_ticker()


def test_socket_path_too_long_is_said_when_connecting() -> None:
    """Before anything is tried."""
    with pytest.raises(SettingsError, match=r"control\.socket must be at most"):
        connect("/" + "x" * 200)


def test_large_answers_come_whole(path: Path) -> None:
    """Far more than one read and one write of a socket."""
    candles = sample_candles(50_000)

    async def answer(request: Request[Any]) -> object:
        return candles if isinstance(request, GetCandles) else await sample_answer(request)

    with control_in_thread(path, answer), connect(path) as market:
        assert market.candles("KRW-BTC") == candles
