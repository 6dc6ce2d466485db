"""Needs through the clients: the same by all three doors, and what happens to one that is lost."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import InvalidRequest, UnknownNeed
from actors.preload_messages import (
    PRELOAD_METHODS,
    AwaitNeed,
    DeclareNeed,
    GetNeeds,
    ReleaseNeed,
)
from actors.sandbox.market import SandboxMarket
from actors.series import Series
from runtime import Series as ExportedSeries
from runtime.client.base import AsyncClient
from runtime.client.blocking import connect
from runtime.client.blocking_base import SyncClient
from runtime.client.need import Need
from runtime.client.need_blocking import SyncNeed
from runtime.client.need_requests import WAIT_S, declare_request
from runtime.client.trio_client import open_client
from runtime.core.clock import TrioClock
from runtime.core.errors import ActorDown, ActorRestarted, CallTimeout
from runtime.core.message import Request
from runtime.indicators import ATR, HIGH, SAREXT
from runtime.preload_settings import PreloadSettings
from runtime.testing_preload_samples import (
    PRELOAD_SAMPLES,
    READY_NEED,
    SAMPLE_NEED,
    sample_preload_answer,
)
from runtime.testing_rehearsal import generated, rehearse
from runtime.testing_socket import MemoryListener, control_in_thread, open_control

METHODS = ("need", "needs", "preload", "explain_preload")
DECLARED = DeclareNeed(**PRELOAD_SAMPLES["need"], history="90d", strategy="momentum")
WHICH: dict[str, Any] = {"market": "KRW-BTC", "timeframe": "1d", "strategy": "momentum"}
SERIES = Series.parse("KRW-BTC", "1d")


# ------------------------------------------------------------------ twins


def test_both_kinds_of_client_have_the_same_methods() -> None:
    """A bot that moves to trio changes no name, no argument and no default."""
    for name in METHODS:
        blocking, on_trio = getattr(SyncClient, name), getattr(AsyncClient, name)
        ours, theirs = inspect.signature(blocking), inspect.signature(on_trio)
        assert ours.parameters == theirs.parameters, name
        assert inspect.getdoc(blocking) == inspect.getdoc(on_trio), name
        assert inspect.iscoroutinefunction(on_trio), name


def test_both_kinds_of_need_have_the_same_methods() -> None:
    """The same words as well: who reads about one has read about the other."""
    found = dict(inspect.getmembers(Need, inspect.isfunction))
    assert {name for name in found if name[0] != "_"} == {"wait_ready", "state", "release"}
    for name, method in found.items():
        twin = getattr(SyncNeed, name)
        ours, theirs = (list(inspect.signature(each).parameters) for each in (twin, method))
        assert ours == theirs, name
        assert inspect.getdoc(method) == inspect.getdoc(twin), name
        assert inspect.iscoroutinefunction(method) == (name != "__init__"), name
    words = inspect.getdoc(Need) or ""
    assert words.replace("AsyncClient", "SyncClient") == inspect.getdoc(SyncNeed)


def test_every_field_of_a_need_can_be_given() -> None:
    """An option that only the socket knows is one that no bot finds."""
    parameters = set(inspect.signature(SyncClient.need).parameters) - {"self", "timeout_s"}
    assert (parameters - {"what"}) | {"indicators"} == set(DeclareNeed.__struct_fields__)


def test_blocking_client_gets_values_back(tmp_path: Path) -> None:
    """Through a real socket: the sample's own values, and every request of preloading is sent."""
    asked: list[Request[Any]] = []

    async def answer(request: Request[Any]) -> object:
        asked.append(request)
        return sample_preload_answer(request)

    path = tmp_path / "c.sock"
    with control_in_thread(path, answer), connect(path) as market:
        need = market.need(
            ["ATR(20)", "VOLUME(30)"],
            market="KRW-BTC",
            timeframe="1d",
            history="90d",
            strategy="momentum",
        )
        assert need.report == SAMPLE_NEED
        assert need.wait_ready() == need.report == READY_NEED
        assert need.state() == need.report == SAMPLE_NEED
        need.release()
        assert market.needs("momentum") == sample_preload_answer(GetNeeds())
        (report,) = market.preload()
        assert (report.exchange, report.used) == ("upbit", 100)
        assert market.explain_preload("KRW-BTC", "1d")[0] == "Nothing is needed."
    assert asked[:4] == [DECLARED, AwaitNeed(**WHICH), GetNeeds(**WHICH), ReleaseNeed(**WHICH)]
    assert {type(each) for each in asked} == set(PRELOAD_METHODS.values())


# ------------------------------------------------------------------ a real runtime


@pytest.fixture(scope="module")
def markets() -> tuple[SandboxMarket, ...]:
    """Generated markets, of which a day has 1,440 minutes."""
    return generated(history_days=2)


@asynccontextmanager
async def open_market(
    door: str, folder: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> AsyncIterator[AsyncClient]:
    """Run a whole runtime that preloads, and give a client of it: inside, or over a socket."""
    async with rehearse(folder, markets, clock=clock, preload=PreloadSettings()) as stage:
        if door == "embedded":
            yield stage.market
            return
        listener = MemoryListener()
        async with (
            open_control(stage.application.answer, listener=listener),
            open_client("unused", dial=listener.connect) as client,
        ):
            yield client


@pytest.fixture(params=["embedded", "socket"])
async def market(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    markets: tuple[SandboxMarket, ...],
    clock: TrioClock,
) -> AsyncIterator[AsyncClient]:
    """A client of a real runtime."""
    async with open_market(request.param, tmp_path, markets, clock) as client:
        yield client


async def test_need_becomes_ready_and_is_at_hand(market: AsyncClient) -> None:
    """As the README has it: indicators by name, then candles without the exchange."""
    need = await market.need([ATR(20), "HIGH(60)"], market="KRW-BTC", timeframe="1m")
    assert need.report.needed == 400
    assert need.report.state in ("waiting", "fetching")

    ready = await need.wait_ready(timeout_s=30)

    assert (ready.state, ready.covered, ready.whole) == ("ready", 400, True)
    assert ready.indicators == ("ATR(20)", "HIGH(60)")
    assert ready.widest.startswith("ATR(20): ")
    candles = await market.candles("KRW-BTC", "1m", 390, closed=True)
    assert (len(candles), candles.source) == (390, "memory")
    assert await market.needs() == (await need.state(),)
    assert (await market.preload())[0].ready == 1
    assert any("default needs 400" in text for text in await market.explain_preload("KRW-BTC"))


async def test_series_with_a_history_is_a_need_as_well(market: AsyncClient) -> None:
    """For who computes something of his own."""
    need = await market.need(Series.parse("KRW-BTC", "1h"), history="1d", strategy="own")

    report = await need.wait_ready(timeout_s=30)

    # Two days old, of which the last hour may still change: ready with what exists.
    assert (report.state, report.needed, report.covered, report.whole) == ("ready", 200, 47, False)
    assert "do not exist" in report.missing
    assert [each.strategy for each in await market.needs("own")] == ["own"]
    assert await market.needs("other") == ()


async def test_released_need_is_gone_and_can_be_released_again(market: AsyncClient) -> None:
    """A bot that ends twice is not in the way of anybody."""
    need = await market.need([HIGH(60)], market="KRW-BTC", timeframe="1m")

    await need.release()
    await need.release()

    assert await market.needs() == ()


@pytest.mark.parametrize("how", ["wait_ready", "state"])
async def test_need_that_was_released_is_not_declared_again(how: str, market: AsyncClient) -> None:
    """Somebody wanted it to end; whoever still holds it is told."""
    need = await market.need([HIGH(60)], market="KRW-BTC", timeframe="1m")
    await need.release()

    with pytest.raises(UnknownNeed, match="'default'"):
        await getattr(need, how)(timeout_s=30)

    assert await market.needs() == ()


@pytest.mark.parametrize(
    ("what", "named", "problem"),
    [
        ("ATR(20)", {}, r"indicators must be a list, such as \[ATR\(20\)\], was 'ATR\(20\)'"),
        (SERIES, {"market": "KRW-BTC"}, "KRW-BTC 1d already: market and timeframe are too much"),
        (SERIES, {"timeframe": "1d"}, "KRW-BTC 1d already: market and timeframe are too much"),
        ([ATR(20)], {"market": "KRW-BTC"}, "a need is of a series: give market and timeframe"),
        ([ATR(20)], {"timeframe": "1d"}, "a need is of a series: give market and timeframe"),
        (["ATX(3)"], {"market": "KRW-BTC", "timeframe": "1d"}, "no indicator 'ATX' is known"),
        ([], {"market": "KRW-BTC", "timeframe": "1d", "history": "soon"}, "history must be"),
        ([], {"market": "KRW-BTC", "timeframe": "7m"}, "timeframe must be"),
        (5, {"market": "KRW-BTC", "timeframe": "1d"}, "indicators must be a list, .* was 5"),
        ([], {"market": 5, "timeframe": "1d"}, "market must be text, was 5"),
        ([], {"market": "KRW-BTC", "timeframe": 1}, "timeframe must be text, was 1"),
        (SERIES, {"strategy": None}, "strategy must be text, was None"),
        (["VOLUME"] * 101, {"market": "KRW-BTC", "timeframe": "1d"}, "at most 100, were 101"),
        ([], {"market": "okx:BTC-USDT", "timeframe": "1d"}, "no exchange called 'okx'"),
    ],
)
async def test_what_cannot_be_needed_is_refused(
    what: Any, named: dict[str, Any], problem: str, market: AsyncClient
) -> None:
    """With what was wanted and what was there; nothing is declared by it."""
    with pytest.raises(InvalidRequest, match=problem):
        await market.need(what, **named)
    assert await market.needs() == ()


async def test_runtime_that_does_not_preload_says_which_setting(
    tmp_path: Path, markets: tuple[SandboxMarket, ...], clock: TrioClock
) -> None:
    """Whoever wonders finds it in the file."""
    off = PreloadSettings(enabled=False)
    async with rehearse(tmp_path, markets, clock=clock, preload=off) as stage:
        for ask in (stage.market.need(SERIES), stage.market.needs(), stage.market.preload()):
            with pytest.raises(InvalidRequest, match=r"preload\.enabled is false"):
                await ask


async def test_what_the_names_of_indicators_make_is_accepted(market: AsyncClient) -> None:
    """However many parameters are named."""
    sar = SAREXT(
        startvalue=0.0123456789,
        offsetonreverse=0.0123456789,
        accelerationinitlong=0.0123456789,
        accelerationmaxshort=0.2123456789,
    )
    need = await market.need([sar], market="KRW-BTC", timeframe="1m")
    assert need.report.indicators == (str(sar),)


# ------------------------------------------------------------------ waiting


class Slow:
    """A runtime in which nothing becomes ready.

    Attributes:
      waits_s: How long it was let wait, each time.
      lost: Whether it has forgotten the need.
      silent: Whether it does not even say how far it is.
    """

    def __init__(self) -> None:
        self.waits_s: list[float] = []
        self.lost = self.silent = False

    def answer(self, message: Any, timeout_s: float) -> Any:
        """Answer at once; with `CallTimeout` to who waits."""
        if isinstance(message, AwaitNeed):
            self.waits_s.append(timeout_s)
            if self.lost:
                raise UnknownNeed("declared no need")
            raise CallTimeout(f"no answer to AwaitNeed within {timeout_s:g} s")
        if self.silent:
            raise CallTimeout("no answer to GetNeeds")
        return (msgspec.structs.replace(SAMPLE_NEED, covered=300),)

    async def later(self, message: Any, timeout_s: float) -> Any:
        """Answer after as long as it would take."""
        if isinstance(message, AwaitNeed) and not self.lost:
            await trio.sleep(timeout_s)
        return self.answer(message, timeout_s)


@given(timeout_s=st.floats(min_value=0.01, max_value=5_000))
def test_waiting_ends_in_time(timeout_s: float) -> None:
    """In pieces, because the runtime works no longer on one request; together they are the time."""
    slow = Slow()
    need = SyncNeed(slow.answer, DECLARED, SAMPLE_NEED)

    with pytest.raises(CallTimeout, match="not ready within"):
        need.wait_ready(timeout_s=timeout_s)

    assert all(0 < wait_s <= WAIT_S for wait_s in slow.waits_s)
    assert sum(slow.waits_s) == pytest.approx(timeout_s)


@pytest.mark.parametrize("timeout_s", [0.5, 60, 150])
async def test_waiting_on_trio_ends_in_time(timeout_s: float) -> None:
    """On fake time: neither before nor after."""
    slow = Slow()
    began_s = trio.current_time()

    with pytest.raises(CallTimeout, match="not ready within"):
        await Need(slow.later, DECLARED, SAMPLE_NEED).wait_ready(timeout_s=timeout_s)

    assert trio.current_time() - began_s == pytest.approx(timeout_s)


@pytest.mark.parametrize(("silent", "covered"), [(False, 300), (True, 200)])
def test_who_has_waited_in_vain_hears_how_far_it_is_and_why(*, silent: bool, covered: int) -> None:
    """Of the whole time and not of its last piece; as was heard last, if nobody says more."""
    slow = Slow()
    slow.silent = silent
    told = (
        rf"^momentum's need of KRW-BTC 1d was not ready within 70 s: {covered} of 400 candles, "
        "because the oldest 200 candles are being fetched$"
    )

    with pytest.raises(CallTimeout, match=told):
        SyncNeed(slow.answer, DECLARED, SAMPLE_NEED).wait_ready(timeout_s=70)


def test_who_waits_for_a_need_hears_that_it_was_released() -> None:
    """It is not declared again: somebody wanted it to end."""
    slow = Slow()
    slow.lost = True
    need = SyncNeed(slow.answer, DECLARED, SAMPLE_NEED)

    with pytest.raises(UnknownNeed, match="declared no need"):
        need.wait_ready(timeout_s=5)


def test_who_waits_for_a_need_outlasts_a_restart_but_not_without_end() -> None:
    """The need goes on in the next life of who keeps it."""
    lives = [ActorRestarted("ended"), ActorDown("ended"), READY_NEED]

    def answer(_: Request[Any], __: float) -> Any:
        life = lives.pop(0)
        if isinstance(life, Exception):
            raise life
        return life

    assert SyncNeed(answer, DECLARED, SAMPLE_NEED).wait_ready() == READY_NEED
    lives[:] = [ActorDown("ended")] * 9
    with pytest.raises(ActorDown, match="ended"):
        SyncNeed(answer, DECLARED, SAMPLE_NEED).wait_ready(timeout_s=5)
    assert len(lives) == 4


# ------------------------------------------------------------------ what is handed in


def test_series_is_exported_for_bots() -> None:
    """`from runtime import Series` is all that a bot has to know."""
    assert ExportedSeries is Series


def test_indicators_may_be_values_or_text_and_of_any_iterable() -> None:
    """What is sent is their text."""
    request = declare_request(
        (each for each in (ATR(20), "atr(20)")),
        market="KRW-BTC",
        timeframe="1d",
        history=None,
        strategy="s",
    )
    assert request.indicators == ("ATR(20)", "atr(20)")
