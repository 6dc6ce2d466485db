"""`python -m runtime sandbox`: arguments to an exchange, and what is printed."""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from trio_websocket import open_websocket_url

from actors.errors import InvalidRequest
from actors.sandbox.main import add_arguments, build_exchange, open_default_sandbox, serve
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.stream_faults import StreamFault
from actors.sandbox.testing import wish
from runtime.core.clock import SystemClock, TrioClock

FIRST_MS = 1_756_684_800_000  # 2025-09-01T00:00:00Z
MINUTE_MS = 60_000


def parse(*words: str) -> argparse.Namespace:
    """Return the arguments of a command line."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(list(words))


def write(path: Path, *, first: int = 0, minutes: int = 300) -> str:
    """Write a file of flat minutes, `first` minutes into September 2025."""
    rows = [
        f"2025-09-01 {minute // 60:02}:{minute % 60:02}:00,5,7,4,6,1.5"
        for minute in range(first, first + minutes)
    ]
    path.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]), encoding="utf-8")
    return str(path)


async def test_by_default_markets_are_made_up_and_time_is_now(clock: TrioClock) -> None:
    """Nothing needs to be given."""
    exchange = build_exchange(parse(), clock=clock)
    assert len(exchange.markets) == 6
    assert exchange.time.now_ms() == clock.utc_ms()
    assert exchange.time.speed == 1


async def test_a_seed_and_a_start_make_the_same_market_again(clock: TrioClock) -> None:
    """For a bot's own continuous integration."""
    words = ("--seed", "9", "--start", "2026-02-03T04:05:06Z")
    one, two = (build_exchange(parse(*words), clock=clock) for _ in range(2))
    target = "/v1/candles/minutes/1?market=KRW-XRP&count=50"
    first = one.handle("GET", target, [], "a")
    assert first == two.handle("GET", target, [], "a")
    other = build_exchange(parse("--seed", "8", *words[2:]), clock=clock)
    assert other.handle("GET", target, [], "a").body != first.body


@pytest.mark.parametrize(
    ("words", "start_minute"),
    [
        ((), 351),
        (("--start", "last"), 350),
        (("--start", "first"), 0),
        (("--start", "2025-09-01T01:00:00"), 60),
        (("--speed", "60"), 200),
        (("--speed", "60", "--start", "last"), 350),
    ],
)
async def test_a_replay_starts_where_it_is_wanted(
    tmp_path: Path, clock: TrioClock, words: tuple[str, ...], start_minute: int
) -> None:
    """A minute after the latest file, or 200 candles into the earliest where it unfolds."""
    files = (write(tmp_path / "a.csv"), write(tmp_path / "b.csv", first=50))
    replays = ("--replay", files[0], "--replay", files[1], "--market", "KRW-A", "--market", "KRW-B")
    exchange = build_exchange(parse(*replays, *words), clock=clock)
    assert list(exchange.markets) == ["KRW-A", "KRW-B"]
    assert exchange.time.now_ms() == FIRST_MS + start_minute * MINUTE_MS


async def test_timeframes_go_with_their_files(tmp_path: Path, clock: TrioClock) -> None:
    """One for all, or one each, by position."""
    file = tmp_path / "h.csv"
    file.write_text("timestamp,open,high,low,close,volume\n2025-09-01 00:00:00,5,7,4,6,1.5\n")
    both = ("--replay", str(file), "--market", "KRW-H", "--replay", write(tmp_path / "a.csv"))
    words = (*both, "--market", "KRW-A", "--timeframe", "1h", "--timeframe", "1m")
    exchange = build_exchange(parse(*words), clock=clock)
    spans = [market.source.base.value for market in exchange.markets.values()]
    assert spans == ["1h", "1m"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--replay", "FILE"), "each --replay needs its --market: 1 files, 0 markets"),
        (("--market", "KRW-A"), "--market and --timeframe say what a --replay FILE holds"),
        (("--replay", "FILE", "--market", "A/B"), "market must be written"),
        (("--replay", "FILE", "--market", "BTC"), "--market must be written as in KRW-BTC"),
        (("--replay", "FILE", "--market", "KRW-A", "--timeframe", "2m"), "timeframe must be one"),
        (
            ("--replay", "FILE", "--market", "KRW-A", "--timeframe", "1m", "--timeframe", "1h"),
            "one --timeframe for all files or one for each: 1 files, 2",
        ),
        (
            ("--replay", "FILE", "--market", "KRW-A", "--replay", "FILE", "--market", "KRW-A"),
            "each --market can be replayed once",
        ),
        (("--replay", "none.csv", "--market", "KRW-A"), r"none\.csv: cannot be read"),
        (("--start", "first"), "--start first needs a --replay FILE"),
        (("--start", "soon"), "--start must be milliseconds"),
        (("--speed", "0"), "--speed must be above 0"),
        (("--port", "70000"), "--port must be 0 to 65535, was 70000"),
        (("--markets", "0"), "--markets: there can be 1 to 1000 markets, was 0"),
        (("--markets", "9", "--replay", "FILE", "--market", "KRW-A"), "goes with no --replay"),
        (("--fault", "flood:3"), "--fault must be one of cut half_open"),
        (("--fault", "lose:7"), "--fault lose needs a probability"),
    ],
)
async def test_what_cannot_be_meant_is_said(
    tmp_path: Path,
    clock: TrioClock,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    """One line on standard error, and exit code 2."""
    file = write(tmp_path / "a.csv")
    arguments = parse(*(file if word == "FILE" else word for word in words))
    with pytest.raises(InvalidRequest, match=message):
        build_exchange(arguments, clock=clock)

    assert await serve(arguments, clock=clock) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("sandbox: ")


@pytest.mark.real_time
async def test_serving_says_where_and_what(
    tmp_path: Path, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    """Programs read the first line, people the others."""
    words = ("--replay", write(tmp_path / "a.csv"), "--market", "KRW-A", "--port", "0")
    nursery.start_soon(partial(serve, parse(*words), clock=SystemClock()))
    with trio.fail_after(5):
        out, err = "", ""
        while "REST_URL" not in err:
            await trio.lowlevel.checkpoint()
            printed = capsys.readouterr()
            out, err = out + printed.out, err + printed.err
    head, _, url = out.strip().rpartition(" ")
    assert head == "sandbox exchange listening on"
    assert "markets: KRW-A" in err
    assert "market time: 2025-09-01T05:01:00" in err
    assert f"MARKETD_EXCHANGES__UPBIT__REST_URL={url}" in err
    assert f"MARKETD_EXCHANGES__UPBIT__STREAM_URL=ws{url[4:]}/websocket/v1\n" in err
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{url}/v1/candles/minutes/1?market=KRW-A&count=200")
        assert len(response.json()) == 200
        port = url.rpartition(":")[2]
        assert await serve(parse("--port", port), clock=SystemClock()) == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err
    nursery.cancel_scope.cancel()


@pytest.mark.real_time
async def test_the_default_sandbox_is_one_line() -> None:
    """What `--sandbox` runs on."""
    async with open_default_sandbox(clock=SystemClock()) as url, httpx.AsyncClient() as client:
        response = await client.get(f"{url}/v1/candles/minutes/1?market=KRW-BTC&count=200")
        assert len(response.json()) == 200
        async with open_websocket_url(f"ws{url[4:]}/websocket/v1") as stream:
            await stream.send_message(wish("ticker"))
            assert b"KRW-BTC" in await stream.get_message()


async def test_faults_are_switched_on_by_name(clock: TrioClock) -> None:
    """Of requests, streams and time, with a seed."""
    words = ("cut:60", "lose:0.5:KRW-BTC", "garbage:candle", "maintenance:2026-01-02/2026-01-03")
    options = [part for word in words for part in ("--fault", word)]
    exchange = build_exchange(parse(*options, "--fault-seed", "4"), clock=clock)
    faults = exchange.stream_faults
    assert [len(faults.all_of(fault)) for fault in StreamFault][:2] == [1, 0]
    assert [switch.code for switch in faults.all_of(StreamFault.LOSE)] == ["KRW-BTC"]
    assert exchange.faults.strike("candle") is not None
    assert len(exchange.maintenance.spans) == 1


async def test_there_can_be_many_markets(clock: TrioClock) -> None:
    """For load tests; each with a name and a character of its own."""
    exchange = build_exchange(parse("--markets", "250"), clock=clock)
    assert len(exchange.markets) == 250
    assert list(exchange.markets)[:6] == list(build_exchange(parse(), clock=clock).markets)
    codes = list(exchange.markets)
    for code in (codes[6], codes[99], codes[-1]):
        assert code.startswith("KRW-")
        answer = exchange.handle("GET", f"/v1/candles/minutes/1?market={code}&count=200", [], "a")
        assert answer.body.count(b'"trade_price"') == 200


def test_reading_arguments_needs_nothing_heavy() -> None:
    """A wrong option must be said at once."""
    code = (
        "import argparse, sys; from actors.sandbox.main import add_arguments;"
        "add_arguments(argparse.ArgumentParser());"
        "print([m for m in ('numpy', 'httpx', 'h11') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert found.stdout.strip() == "[]"


async def test_a_fast_market_unfolds(tmp_path: Path, clock: TrioClock) -> None:
    """At speed 60 a minute of the file takes a second."""
    words = ("--replay", write(tmp_path / "a.csv"), "--market", "KRW-A", "--speed", "60")
    exchange = build_exchange(parse(*words), clock=clock)
    assert isinstance(exchange.time, SimulatedTime)
    market = exchange.markets["KRW-A"]
    seen = []
    for _ in range(3):
        await trio.sleep(10)
        now_ms = exchange.time.now_ms()
        seen.append(len(market.between(FIRST_MS, now_ms)))
    assert seen == [210, 220, 230]
