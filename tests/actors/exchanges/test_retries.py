"""`ThrottledExchange`: what is asked again, how often, when, and what is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from actors.errors import (
    ExchangeUnavailable,
    MalformedPayload,
    OutcomeUnknown,
    RateLimited,
    RequestRejected,
    UnknownMarket,
)
from actors.exchanges.base import ExchangeCall
from actors.exchanges.retries import RetryRules
from actors.exchanges.throttled import SEND_S_MAX
from actors.exchanges.upbit.adapter import UpbitAdapter

if TYPE_CHECKING:
    # Kept by pytest, which brings it to the tests as fixtures; not importable when they run.
    from tests.actors.exchanges.conftest import OpenGate, Server

UPBIT = UpbitAdapter()
TRADES = UPBIT.trades("KRW-BTC", count=1)
ORDER = replace(TRADES, idempotent=False)


async def mend(server: Server, after_s: float) -> None:
    """Let the exchange answer again after some time."""
    await trio.sleep(after_s)
    server.status, server.body, server.error = 200, b"[]", None


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 503},
        {"error": httpx.ReadError("cut")},
        {"error": httpx.ConnectError("refused")},
        {"error": httpx.RemoteProtocolError("gone")},
    ],
)
async def test_what_brought_no_answer_is_asked_again(
    changes: dict[str, Any],
    make_server: type[Server],
    open_gate: OpenGate,
    nursery: trio.Nursery,
) -> None:
    """Most failures are over a second later, and no bot need know of them."""
    server = make_server(**changes)
    async with open_gate(server, tries=3) as opened:
        nursery.start_soon(mend, server, 1.2)
        assert (await opened.gate.fetch(TRADES, timeout_s=20)).value == ()

    # Half a second to a second after the first, one to two after the second.
    assert 2 + 0.5 < trio.current_time() < 2 + 3.5
    assert opened.gate.state.state == "ok"


async def test_three_tries_are_made_and_the_error_says_so(
    make_server: type[Server], open_gate: OpenGate
) -> None:
    """Each with a permit of its own."""
    server = make_server(status=503)
    async with open_gate(server, tries=3) as opened:
        with pytest.raises(ExchangeUnavailable, match=r"status 503.*, the last of 3 tries$") as got:
            await opened.gate.fetch(TRADES, timeout_s=20)
        report = await opened.report()

    assert type(got.value) is ExchangeUnavailable
    assert server.arrivals == report.granted == 3


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"status": 429}, RateLimited),
        ({"status": 418}, RateLimited),
        ({"status": 400}, RequestRejected),
        ({"status": 401}, RequestRejected),
        ({"body": b"<html>"}, MalformedPayload),
    ],
)
async def test_an_answer_is_never_asked_for_again(
    changes: dict[str, Any],
    kind: type[Exception],
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """Going on after a refusal is what earns a block."""
    server = make_server(**changes)
    async with open_gate(server, tries=3) as opened:
        with pytest.raises(kind, match="upbit"):
            await opened.gate.fetch(TRADES, timeout_s=20)

    assert server.arrivals == 1


@pytest.mark.parametrize(
    "changes", [{"status": 503}, {"error": httpx.ReadError("cut")}, {"body": b"<html>"}]
)
async def test_what_must_not_happen_twice_is_not_sent_twice(
    changes: dict[str, Any], make_server: type[Server], open_gate: OpenGate
) -> None:
    """An order of which nobody knows whether it arrived; a program must not repeat it either."""
    server = make_server(**changes)
    async with open_gate(server, tries=3) as opened:
        with pytest.raises(OutcomeUnknown, match=r"upbit.*it may have arrived all the same"):
            await opened.gate.fetch(ORDER, timeout_s=20)

    assert server.arrivals == 1


@pytest.mark.parametrize("sender_s", [10.0, 1000.0])
@pytest.mark.parametrize(("call", "arrivals"), [(TRADES, 2), (ORDER, 1)])
async def test_one_hang_does_not_take_all_of_a_callers_time(
    sender_s: float,
    call: ExchangeCall[Any],
    arrivals: int,
    make_server: type[Server],
    open_gate: OpenGate,
    nursery: trio.Nursery,
) -> None:
    """Whether the sender gives up on it, or we do: what may be asked again is."""

    async def wake(server: Server) -> None:
        await trio.sleep(5)
        server.hangs = False

    server = make_server(hangs=True)
    async with open_gate(server, tries=3, timeout_s=sender_s) as opened:
        nursery.start_soon(wake, server)
        if arrivals == 1:
            with pytest.raises(OutcomeUnknown, match="no whole answer within"):
                await opened.gate.fetch(call, timeout_s=60)
        else:
            assert (await opened.gate.fetch(call, timeout_s=60)).value == ()
        assert trio.current_time() < 2 + min(sender_s, SEND_S_MAX) + 1.1

    assert server.arrivals == arrivals


async def test_what_never_left_may_be_sent_again_in_any_case(
    make_server: type[Server], open_gate: OpenGate, nursery: trio.Nursery
) -> None:
    """Nobody was there to receive it."""
    server = make_server(error=httpx.ConnectError("refused"))
    async with open_gate(server, tries=3) as opened:
        nursery.start_soon(mend, server, 0.2)
        await opened.gate.fetch(ORDER, timeout_s=20)

    assert server.arrivals == 1


@pytest.mark.parametrize("timeout_s", [0.3, 1.0, 2.0, 4.0])
async def test_no_try_begins_after_the_callers_time(
    timeout_s: float, make_server: type[Server], open_gate: OpenGate
) -> None:
    """He is told as soon as it is clear that there is no time for another."""
    server = make_server(status=503)
    async with open_gate(server, tries=10) as opened:
        with pytest.raises(ExchangeUnavailable, match=r"status 503|is tried again"):
            await opened.gate.fetch(TRADES, timeout_s=timeout_s)

    assert trio.current_time() < 2 + timeout_s


async def test_who_is_cancelled_between_two_tries_leaves_nothing_behind(
    make_server: type[Server], open_gate: OpenGate
) -> None:
    """The next try is not made."""
    server = make_server(status=503)
    async with open_gate(server, tries=3) as opened:
        with trio.move_on_after(0.3) as scope:
            await opened.gate.fetch(TRADES, timeout_s=20)
        assert scope.cancelled_caught
        await trio.sleep(20)
        assert (await opened.report()).in_flight == 0

    assert server.arrivals == 1


async def test_what_is_wanted_is_looked_up_anew_for_each_try(
    make_server: type[Server], open_gate: OpenGate
) -> None:
    """It may have changed meanwhile."""
    asked: Counter[str] = Counter()

    def latest() -> Any:
        asked["latest"] += 1
        return TRADES

    async with open_gate(make_server(status=503), tries=3) as opened:
        with pytest.raises(ExchangeUnavailable, match="503"):
            await opened.gate.fetch(TRADES, latest=latest, timeout_s=20)

    assert asked["latest"] == 3


async def test_a_caller_without_patience_is_not_the_exchanges_fault(
    make_server: type[Server], open_gate: OpenGate
) -> None:
    """A bot that allows a millisecond must not make it away for all others."""
    async with open_gate(make_server(travel_s=lambda: 0.2), tries=3) as opened:
        for _ in range(9):
            with pytest.raises(ExchangeUnavailable, match=r"no whole answer within 0\.001 s"):
                await opened.gate.fetch(TRADES, timeout_s=0.001)

        assert opened.gate.state.state == "unknown", "nor is it evidence of anything"
        assert (await opened.gate.fetch(TRADES, timeout_s=5)).value == ()


async def test_a_question_that_cannot_be_asked_any_more_keeps_no_permit(
    make_server: type[Server], open_gate: OpenGate
) -> None:
    """What is wanted by now may be wrong; nothing was sent."""

    def latest() -> Any:
        raise UnknownMarket("gone")

    server = make_server()
    async with open_gate(server) as opened:
        with pytest.raises(UnknownMarket, match="gone"):
            await opened.gate.fetch(TRADES, latest=latest, timeout_s=5)
        report = await opened.report()

    assert (report.in_flight, report.windows[0].used, server.arrivals) == (0, 0, 0)


def test_never_to_ask_is_refused() -> None:
    """Before anybody waits for an answer."""
    with pytest.raises(ValueError, match="tries must be at least 1, was 0"):
        RetryRules(tries=0)
