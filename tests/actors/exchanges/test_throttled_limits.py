"""`ThrottledExchange` and its limiter against servers that keep real rules: never refused."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.errors import RateLimited
from actors.exchanges.base import ExchangeCall
from actors.exchanges.upbit.adapter import UpbitAdapter
from actors.messages import Priority
from actors.sandbox.exchange import SandboxExchange
from actors.sandbox.generated import generated_markets
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.transport import SandboxTransport
from actors.series import Series
from runtime.core.clock import TrioClock
from runtime.core.mailbox import MailboxSpec
from runtime.testing import NEW_YEAR_MS

if TYPE_CHECKING:
    # Kept by pytest, which brings it to the tests as fixtures; not importable when they run.
    from tests.actors.exchanges.conftest import OpenGate, Server

UPBIT = UpbitAdapter()
TRADES = UPBIT.trades("KRW-BTC", count=1)

LIMIT, PERIOD_S = 10, 1.0


def sliding() -> Callable[[float], bool]:
    """Return a server's rule: at most the limit in any period that ends now."""
    seen: deque[float] = deque(maxlen=LIMIT)

    def admit(now_s: float) -> bool:
        is_full = len(seen) == LIMIT and seen[0] + PERIOD_S > now_s
        seen.append(now_s)
        return not is_full

    return admit


def fixed() -> Callable[[float], bool]:
    """Return a server's rule: at most the limit in each period of its own grid."""
    counts: dict[int, int] = {}

    def admit(now_s: float) -> bool:
        window = int((now_s + 0.37) / PERIOD_S)
        counts[window] = counts.get(window, 0) + 1
        return counts[window] <= LIMIT

    return admit


def bucket() -> Callable[[float], bool]:
    """Return a server's rule: a bucket of tokens that fills evenly."""
    tokens, last_s = float(LIMIT), 0.0

    def admit(now_s: float) -> bool:
        nonlocal tokens, last_s
        tokens = min(LIMIT, tokens + (now_s - last_s) * LIMIT / PERIOD_S)
        last_s = now_s
        if tokens < 1 - 1e-9:
            return False
        tokens -= 1
        return True

    return admit


# ------------------------------------------------------------------ saturation


@pytest.mark.parametrize("rule", [sliding, fixed, bucket])
async def test_at_saturation_no_server_refuses_whatever_the_jitter(
    rule: Callable[[], Callable[[float], bool]],
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """A limiter that reasons in the times of sending is refused here again and again."""
    rng = random.Random(7)
    server = make_server(
        admit=rule(), travel_s=lambda: rng.choice([0.001, 0.02, 0.2]) * rng.random()
    )
    async with open_gate(server) as opened:
        answers = await opened.ask_for(40)

    assert server.refusals == 0
    assert answers > 40 * LIMIT / (PERIOD_S + 0.4)


@pytest.mark.parametrize("rtt_s", [0.002, 0.05, 0.3])
async def test_at_saturation_almost_all_of_the_limit_is_used(
    rtt_s: float,
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """Of what a window and a round trip allow, 99 in 100."""
    server = make_server(admit=sliding(), travel_s=lambda: rtt_s / 2)
    async with open_gate(server) as opened:
        # The server's own figure is heeded, and must not slow down those who are alone with it.
        server.headers["Remaining-Req"] = "group=trade; min=600; sec=0"
        answers = await opened.ask_for(60)

    assert server.refusals == 0
    assert answers >= 0.99 * 60 * LIMIT / (PERIOD_S + rtt_s)


@pytest.mark.parametrize("seed", range(3))
async def test_callers_who_leave_at_any_moment_neither_overrun_nor_lose_slots(
    seed: int,
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """A cancelled request may still arrive; its slot comes back, but not before it may."""
    rng = random.Random(seed)
    server = make_server(admit=sliding(), travel_s=lambda: rng.random() * 0.3)
    async with open_gate(server) as opened, trio.open_nursery() as nursery:

        async def ask_and_leave() -> None:
            with trio.move_on_after(rng.random() * 1.5):
                await opened.gate.fetch(TRADES, timeout_s=5)

        for _ in range(200):
            nursery.start_soon(ask_and_leave)
            await trio.sleep(rng.random() * 0.1)
        await trio.sleep(10)
        report = await opened.report()

    assert server.refusals == 0
    assert (report.in_flight, report.windows[0].used, report.queued) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(3))
async def test_a_limiter_that_crashes_under_load_neither_overruns_nor_fails_anybody(
    seed: int,
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """What was spent before the crash is still spent after it; who waited asks again."""
    rng = random.Random(seed)
    server = make_server(admit=sliding(), travel_s=lambda: rng.random() * 0.2)
    async with open_gate(server) as opened, trio.open_nursery() as nursery:

        async def crash_now_and_then() -> None:
            for _ in range(4):
                await trio.sleep(2 + 4 * rng.random())
                opened.crash()

        nursery.start_soon(crash_now_and_then)
        answers = await opened.ask_for(30)

    assert server.refusals == 0
    assert answers > 150


async def test_a_mailbox_that_is_far_too_small_loses_no_release(
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """What finds no room is told with the next request."""
    server = make_server(admit=sliding())
    async with open_gate(server, mailbox=MailboxSpec(capacity=1)) as opened:
        answers = await opened.ask_for(20, tasks=100)
        await opened.gate.fetch(TRADES, timeout_s=60)
        await trio.sleep(5)
        report = await opened.report()

    assert server.refusals == 0
    assert answers > 100
    assert report.in_flight == 0


async def test_the_more_urgent_question_is_asked_first(
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """What a bot waits for goes before what it may want later."""
    order: list[Priority] = []
    async with open_gate(make_server(admit=sliding()), past_s=0) as opened:

        async def ask(priority: Priority) -> None:
            await opened.gate.fetch(TRADES, priority=priority, timeout_s=60)
            order.append(priority)

        async with trio.open_nursery() as asking:
            for _ in range(10):
                for priority in (Priority.PREDICTED, Priority.ASKED):
                    asking.start_soon(ask, priority)

    assert order == [Priority.ASKED] * 10 + [Priority.PREDICTED] * 10


# ------------------------------------------------------------------ refusals


async def test_a_429_is_told_to_the_caller_and_stops_the_group(
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """In this case somebody else at this address spends from the limit."""
    server = make_server(admit=lambda _now_s: False)
    async with open_gate(server) as opened:
        with pytest.raises(RateLimited, match=r"^upbit: trades KRW-BTC: too many .*trade \(429"):
            await opened.gate.fetch(TRADES, timeout_s=5)
        with pytest.raises(RateLimited, match=r"requests of group trade are paused for 1\.0 s"):
            await opened.gate.fetch(TRADES, timeout_s=0.5)
        report = await opened.report()

    assert server.arrivals == 1, "the second was not sent"
    assert report.rejected == 1
    assert report.paused_s == pytest.approx(1.005, abs=0.01)
    assert opened.gate.state.state == "away"


async def test_a_418_stops_everything_for_as_long_as_the_exchange_says(
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """Each request during a block makes it longer."""
    server = make_server(status=418, body=b"Blocked for 300 seconds.")
    async with open_gate(server) as opened:
        with pytest.raises(RateLimited, match="this address is blocked") as caught:
            await opened.gate.fetch(TRADES, timeout_s=5)
        assert caught.value.retry_after_s == 300
        calls: list[ExchangeCall[Any]] = [TRADES, UPBIT.markets()]
        for call in calls:
            with pytest.raises(RateLimited, match=r"all requests are paused for 300\.0 s more"):
                await opened.gate.fetch(call, timeout_s=5)
        server.status, server.body = 200, b"[]"
        await opened.gate.fetch(TRADES, timeout_s=400)

    assert server.arrivals == 2
    assert trio.current_time() == pytest.approx(302, abs=0.5)


async def test_a_server_with_less_left_slows_us_down(
    make_server: type[Server],
    open_gate: OpenGate,
) -> None:
    """`Remaining-Req` counts what others at this address have spent, too."""
    server = make_server(headers={"Remaining-Req": "group=trade; min=600; sec=2"})
    async with open_gate(server) as opened:
        await opened.gate.fetch(TRADES, timeout_s=5)
        report = await opened.report()

    assert (report.server_remaining, report.windows[0].used) == (2, 8)


# ------------------------------------------------------------------ the sandbox


@pytest.mark.parametrize("jitter_s", [0.0, 0.2])
async def test_the_sandbox_never_refuses_us(
    jitter_s: float,
    open_gate: OpenGate,
) -> None:
    """The whole of it together: real format, real limits, every kind of question."""
    clock = TrioClock(start_utc_ms=NEW_YEAR_MS)
    sandbox = SandboxExchange(
        generated_markets(seed=1, now_ms=NEW_YEAR_MS, history_days=3),
        clock=clock,
        time=SimulatedTime(clock, start_ms=NEW_YEAR_MS, speed=60.0),
    )
    transport = SandboxTransport(sandbox, latency_s=0.02, jitter_s=jitter_s, rng=random.Random(3))
    async with open_gate(transport) as opened:
        await opened.ask_for(3, call=UPBIT.trades("KRW-BTC", count=10))
        page = await opened.gate.fetch(
            UPBIT.candles(Series.parse("KRW-BTC", "1m"), to_ms=None), timeout_s=5
        )
        tickers = await opened.gate.fetch(UPBIT.tickers(["KRW-ETH", "KRW-BTC"]), timeout_s=5)
        books = await opened.gate.fetch(UPBIT.order_books(["KRW-BTC"]), timeout_s=5)
        markets = await opened.gate.fetch(UPBIT.markets(), timeout_s=5)
        assert opened.clock.utc_ms() <= sandbox.time.now_ms()

    assert not sandbox.rules.refusals
    assert sandbox.calls() > 25
    assert page.value.full
    assert [ticker.market for ticker in tickers.value] == ["KRW-ETH", "KRW-BTC"]
    (book,) = books.value
    assert book.bids[0].price < book.asks[0].price
    assert {"KRW-BTC", "KRW-ETH"} <= {market.market for market in markets.value}
