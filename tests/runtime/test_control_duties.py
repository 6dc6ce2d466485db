"""`ControlActor`: what it answers itself, what it counts, and how it restarts."""

from __future__ import annotations

from typing import Any

import trio

from actors.errors import InvalidRequest
from actors.messages import GetCandles
from runtime.config import ControlSettings
from runtime.control import ControlActor, ControlStatistics
from runtime.core.message import Request
from runtime.testing import open_actor
from runtime.testing_socket import (
    MemoryListener,
    RawBot,
    bot_at,
    open_control,
    sample_answer,
    sample_candles,
    sample_ticker,
)


async def test_check_answers_without_running() -> None:
    """A bot can prove its requests in a test without a runtime doing anything."""
    seen: list[Request[Any]] = []

    async def answer(request: Request[Any]) -> object:
        seen.append(request)
        return None

    async with bot_at(answer) as bot:
        await bot.ask("check", 1, method="ticker", params={"market": "KRW-BTC"})
        await bot.ask("check", 2, method="ticker", params={"markt": "KRW-BTC"})
        await bot.ask("check", 3, method="nope")
        good, bad, unknown = [await bot.hear() for _ in range(3)]

    assert good["result"] == {"method": "ticker"}
    assert bad["error"]["message"] == "ticker has no parameter 'markt'; did you mean 'market'?"
    assert unknown["error"]["code"] == -32601
    assert seen == []


async def test_check_uses_the_validation_it_was_given() -> None:
    """What only the domain can know, such as that a count is too large."""
    listener = MemoryListener()

    def validate(_: Request[Any]) -> None:
        raise InvalidRequest("count must be at most 100000")

    def make() -> ControlActor:
        return ControlActor(
            sample_answer,
            open_listener=lambda: listener,
            settings=ControlSettings(),
            validate=validate,
        )

    async with open_actor(make):
        bot = RawBot(await listener.connect())
        await bot.ask("check", method="status")
        assert (await bot.hear())["error"]["message"] == "count must be at most 100000"


async def test_what_needs_no_waiting_is_answered_first() -> None:
    """Candles in memory do not queue behind candles from the exchange."""
    slow_began = trio.Event()

    def at_once(request: Request[Any]) -> object | None:
        return sample_candles(2) if isinstance(request, GetCandles) else None

    async def answer(_: Request[Any]) -> object:
        slow_began.set()
        await trio.sleep(5)
        return sample_ticker()

    async with bot_at(answer, at_once=at_once) as bot:
        await bot.ask("ticker", 1, market="KRW-BTC")
        await slow_began.wait()
        began_s = trio.current_time()
        for number in (2, 3):
            await bot.ask("candles", number, market="KRW-BTC", timeframe="1m")
            assert (await bot.hear())["id"] == number
        assert trio.current_time() == began_s
        assert (await bot.hear())["id"] == 1


async def test_error_on_the_short_way_is_an_answer_like_any_other() -> None:
    """The short way may say no, and may have a defect; the connection outlives both."""
    errors: list[Exception] = [InvalidRequest("no"), ZeroDivisionError("inside")]

    def at_once(_: Request[Any]) -> object | None:
        if errors:
            raise errors.pop(0)
        return None

    async with bot_at(at_once=at_once) as bot:
        for _ in range(3):
            await bot.ask("status")
        answers = [await bot.hear() for _ in range(3)]

    assert [answer.get("error", {}).get("code") for answer in answers] == [-32602, -32603, None]


async def test_description_comes_over_the_socket() -> None:
    """A program finds out what there is without our documentation."""
    async with bot_at() as bot:
        await bot.ask("rpc.discover")
        document = (await bot.hear())["result"]

    assert document["openrpc"].startswith("1.")
    assert document["info"] == {"title": "marketd", "version": "0.1.0"}


async def test_statistics_count_what_passed() -> None:
    """How one sees that a bot misbehaves."""
    listener = MemoryListener()
    actors: list[ControlActor] = []

    def make() -> ControlActor:
        actors.append(
            ControlActor(sample_answer, open_listener=lambda: listener, settings=ControlSettings())
        )
        return actors[-1]

    async with open_actor(make):
        bot = RawBot(await listener.connect())
        await bot.say(b"x")
        await bot.ask("status")
        await bot.ask("ticker", market="KRW-DEFECT")
        for _ in range(3):
            await bot.hear()
        statistics = actors[0].statistics()
        await trio.aclose_forcefully(bot.stream)
        await trio.sleep(1)
        assert actors[0].statistics().connections == 0

    assert statistics == ControlStatistics(
        connections=1, accepted=1, turned_away=0, cut_off=0, calls=2, refusals=1, defects=1
    )
    assert listener.closed


class FailingOnce:
    """A listener whose accept fails in a way, once.

    Args:
      error: How.
    """

    def __init__(self, error: Exception) -> None:
        self.inner = MemoryListener()
        self._errors = [error]

    async def accept(self) -> trio.abc.Stream:
        """Fail, and from then on do not."""
        if self._errors:
            raise self._errors.pop()
        return await self.inner.accept()

    async def admit(self, stream: trio.abc.Stream) -> None:
        """Let everybody in."""

    def close(self) -> None:
        """Do nothing."""


async def test_out_of_descriptors_is_waited_out() -> None:
    """A shortage of the machine's is a state and no defect."""
    listener = FailingOnce(OSError(24, "Too many open files"))
    async with open_control(listener=listener):
        bot = RawBot(await listener.inner.connect())
        await bot.ask("status")
        assert "result" in await bot.hear()


async def test_crash_of_the_listener_is_a_crash_of_the_actor() -> None:
    """The supervisor is there for it; the next incarnation listens again."""
    listener = FailingOnce(ZeroDivisionError("boom"))
    async with open_control(listener=listener):
        bot = RawBot(await listener.inner.connect())
        await bot.ask("status")
        assert "result" in await bot.hear()
