"""`ThrottledExchange`: what comes out of it when things go wrong, and what it knows afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from actors.errors import (
    ExchangeError,
    ExchangeUnavailable,
    MalformedPayload,
    Overloaded,
    RateLimited,
    RequestRejected,
    UnknownGroup,
)
from actors.exchanges.throttled import SEND_S_MAX
from actors.exchanges.upbit.adapter import UpbitAdapter
from actors.series import Series
from actors.slots import SlotRules
from runtime.core.errors import ActorError
from runtime.testing import NEW_YEAR_MS

if TYPE_CHECKING:
    # Kept by pytest, which brings it to the tests as fixtures; not importable when they run.
    from tests.actors.exchanges.conftest import OpenGate, Server

UPBIT = UpbitAdapter()
TRADES = UPBIT.trades("KRW-BTC", count=1)

# ------------------------------------------------------------------ failures

HTML = b"<html>Bad Gateway</html>"


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"status": 500, "body": HTML}, ExchangeUnavailable, "status 500, '<html>"),
        ({"status": 200, "body": HTML}, MalformedPayload, "wanted JSON, was '<html>"),
        ({"status": 200, "body": b'[{"market'}, MalformedPayload, "wanted JSON, was .*truncated"),
        ({"status": 302, "body": b""}, ExchangeUnavailable, "status 302"),
        ({"status": 403, "body": b""}, RequestRejected, "status 403"),
        (
            {"error": httpx.RemoteProtocolError("peer closed connection")},
            ExchangeUnavailable,
            "api.invalid: peer closed connection",
        ),
        ({"error": httpx.ConnectError("refused")}, ExchangeUnavailable, "api.invalid: refused"),
        ({"error": httpx.ReadError("")}, ExchangeUnavailable, "api.invalid: ReadError"),
        ({"error": OSError(5, "boo")}, ExchangeUnavailable, "api.invalid: .*boo"),
        ({"headers": {"Content-Encoding": "br"}, "body": b"\x0b"}, MalformedPayload, "wanted"),
    ],
)
async def test_each_failure_is_an_error_that_names_exchange_and_question(
    changes: dict[str, Any],
    kind: type[ExchangeError],
    message: str,
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """Only errors of ours come out; the gate works on, and its slot comes back."""
    server = make_server()
    async with open_gate(server) as opened:
        for name, value in changes.items():
            setattr(server, name, value)
        with pytest.raises(kind, match=f"^upbit: trades KRW-BTC: {message}") as caught:
            await opened.gate.fetch(TRADES, timeout_s=5)
        assert type(caught.value) is kind
        assert (await opened.report()).in_flight == 0
        server.status, server.body, server.error, server.headers = 200, b"[]", None, {}
        assert (await opened.gate.fetch(TRADES, timeout_s=5)).value == ()


@pytest.mark.parametrize(("timeout_s", "sender_s"), [(3.0, 20.0), (10.0, 3.0)])
async def test_a_hang_is_given_up_on_in_time(
    timeout_s: float,
    sender_s: float,
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """The caller's time is for everything; the sender's for one request."""
    async with open_gate(make_server(hangs=True), timeout_s=sender_s) as opened:
        with pytest.raises(ExchangeUnavailable, match=r"^upbit: trades KRW-BTC: .*3 s"):
            await opened.gate.fetch(TRADES, timeout_s=timeout_s)
        report = await opened.report()

    assert trio.current_time() == pytest.approx(5.0, abs=0.01)
    assert (report.in_flight, report.windows[0].used) == (0, 1)


async def test_no_request_outlives_its_permit(
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """The limiter takes a permit for lost some time; a request must have ended by then."""
    async with open_gate(make_server(hangs=True), timeout_s=1000) as opened:
        with pytest.raises(ExchangeUnavailable, match=r"no whole answer within 25 s"):
            await opened.gate.fetch(TRADES, timeout_s=1000)

    assert SEND_S_MAX + SlotRules().transit_s < SlotRules().lost_s


async def test_an_exchange_that_is_away_costs_no_slots(
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """Nothing was sent, so asking again is limited by nothing of theirs."""
    server = make_server(error=httpx.ConnectError("refused"))
    async with open_gate(server) as opened:
        for _ in range(50):
            with pytest.raises(ExchangeUnavailable, match="refused"):
                await opened.gate.fetch(TRADES, timeout_s=0.01)
        assert (await opened.report()).windows[0].used == 0

    assert trio.current_time() < 2.1


async def test_who_gets_no_slot_in_time_is_told_so(
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """It is our own ledger that says no, and nothing was sent."""
    server = make_server(travel_s=lambda: 3.0)
    async with open_gate(server) as opened, trio.open_nursery() as asking:
        for _ in range(10):
            asking.start_soon(lambda: opened.gate.fetch(TRADES, timeout_s=20))
        await trio.sleep(0.1)
        with pytest.raises(
            RateLimited, match=r"no slot of group trade is free for 1\.0 s at least"
        ):
            await opened.gate.fetch(TRADES, timeout_s=2)

    assert server.arrivals == 10


async def test_too_many_who_wait_are_turned_away(
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """With the figure, so that somebody can do something about it."""
    async with (
        open_gate(make_server(), waiting_max=5, past_s=0) as opened,
        trio.open_nursery() as asking,
    ):
        for _ in range(5):
            asking.start_soon(lambda: opened.gate.fetch(TRADES, timeout_s=20))
        await trio.sleep(0.1)
        with pytest.raises(Overloaded, match="upbit: 5 requests already wait"):
            await opened.gate.fetch(TRADES, timeout_s=20)


async def test_a_question_in_an_unknown_group_is_not_sent(
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """Without a limit there is no leave."""
    server = make_server()
    async with open_gate(server) as opened:
        with pytest.raises(UnknownGroup, match="orders"):
            await opened.gate.fetch(replace(TRADES, group="orders"), timeout_s=5)

    assert server.arrivals == 0


async def test_without_a_limiter_nothing_is_sent(
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """There is no way around it, not even when it is gone."""
    server = make_server()
    async with open_gate(server) as opened:
        pass
    with pytest.raises(ActorError, match="limiter"):
        await opened.gate.fetch(TRADES, timeout_s=5)

    assert server.arrivals == 0


# ------------------------------------------------------------------ state and time


async def test_the_state_says_when_and_why(
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """Health shows it: away since when, and because of what."""
    server = make_server()
    async with open_gate(server) as opened:
        gate = opened.gate
        assert (gate.state.state, gate.name) == ("unknown", "upbit")
        await gate.fetch(TRADES, timeout_s=5)
        good = gate.state
        await trio.sleep(60)
        server.status = 503
        with pytest.raises(ExchangeUnavailable, match="503"):
            await gate.fetch(TRADES, timeout_s=5)
        bad = gate.state
        server.status, server.body = 404, b'{"error":{"name":404,"message":"Code not found"}}'
        with pytest.raises(Exception, match="no such market"):
            await gate.fetch(TRADES, timeout_s=5)

    assert (good.state, good.last_failure_ms, good.last_error) == ("ok", None, "")
    assert bad.last_success_ms == good.last_success_ms
    assert bad.last_failure_ms is not None
    assert bad.last_failure_ms - (good.last_success_ms or 0) == pytest.approx(60_000, abs=100)
    assert (bad.state, bad.last_error) == ("away", "upbit: trades KRW-BTC: status 503, '[]'")
    assert gate.state.state == "ok", "it answered; that there is no such market is our mistake"


async def test_the_exchanges_time_is_learned_from_each_answer(
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """Ours is a day ahead here; candle borders follow theirs."""
    server = make_server()
    call = UPBIT.candles(Series.parse("KRW-BTC", "1m"), to_ms=None)
    async with open_gate(server) as opened:
        assert not opened.clock.observed
        await trio.sleep(0.7)
        page = (await opened.gate.fetch(call, timeout_s=5)).value
        assert opened.clock.utc_ms() == page.observed_ms == NEW_YEAR_MS + 2_000
        server.headers["Date"] = "sometime"
        await trio.sleep(5)
        page = (await opened.gate.fetch(call, timeout_s=5)).value

    assert page.observed_ms == NEW_YEAR_MS + 7_000, "our estimate when we asked"
