"""Answers: what the runtime says is what the client gets, values and errors alike."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import errors as domain
from actors.candles import Candles, Missing
from actors.messages import GetCandles, GetTicker
from actors.series import Series
from runtime.client.answers import Answer, AnswerParser, encode_call
from runtime.core import errors as core
from runtime.messages import METHODS, OPERATIONS, Checked
from runtime.protocol import Call, encode_error, encode_result, parse_line
from runtime.testing_job_samples import JOB_SAMPLES
from runtime.testing_key_samples import KEY_SAMPLES
from runtime.testing_preload_samples import PRELOAD_SAMPLES
from runtime.testing_socket import sample_answer, sample_candles, sample_ticker
from runtime.wire import ROWS_PER_PIECE, result_from_wire
from runtime.wire_errors import (
    RemoteError,
    WireError,
    error_from_wire,
    error_to_wire,
    protocol_error,
)

ASK = GetCandles(market="KRW-BTC", timeframe="1m")

SAMPLES: dict[str, dict[str, Any]] = {
    "candles": {"market": "KRW-BTC", "timeframe": "1m", "count": 3},
    "ticker": {"market": "KRW-BTC"},
    "tickers": {"markets": ("KRW-BTC", "KRW-ETH")},
    "orderbook": {"market": "KRW-BTC"},
    "trades": {"market": "KRW-BTC"},
    "raw": {"method": "ticker", "params": {"market": "KRW-BTC"}},
    "subscribe": {"kind": "ticker", "markets": ("KRW-BTC",)},
    "unsubscribe": {"subscription": 7},
    **{name: {"name": "upbit.cache"} for name in OPERATIONS if name != "tree"},
    **KEY_SAMPLES,
    **JOB_SAMPLES,
    **PRELOAD_SAMPLES,
}


def travel(call: Call, value: object, *, step: int = 1 << 20) -> Any:
    """Return what a client gets when the runtime answers `call` with `value`."""
    stream = b"".join(encode_result(call, value))
    parser = AnswerParser()
    answers = []
    for start in range(0, len(stream), step):
        parser.feed(stream[start : start + step])
        while (answer := parser.next()) is not None:
            answers.append(answer)
    assert len(answers) == 1
    assert parser.empty
    assert answers[0].id == call.id
    return result_from_wire(call.message, answers[0].result, answers[0].payload)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "check"])
async def test_every_result_survives_the_wire(method: str) -> None:
    """A client's value equals the runtime's, type and all."""
    if method == "rpc.discover":
        assert travel(Call(1, METHODS[method]()), {"a": [1]}) == {"a": [1]}
        return
    message = METHODS[method](**SAMPLES.get(method, {}))
    value = await sample_answer(message)

    assert travel(Call(1, message), value) == value


def test_result_of_check_survives_the_wire() -> None:
    """It is made by the control actor and not by who answers."""
    call = Call(1, METHODS["check"](method="status"))

    assert travel(call, Checked(method="status")) == Checked(method="status")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("count", [0, 1, 3, ROWS_PER_PIECE, 2 * ROWS_PER_PIECE + 1])
def test_candles_survive_the_wire_in_both_forms(count: int, packed: bool) -> None:  # noqa: FBT001
    """Every float to the last bit, and where they came from."""
    candles = sample_candles(count)

    got = travel(Call(1, ASK, packed=packed), candles)

    assert got == candles
    assert (got.source, got.as_of_ms, got.missing) == (
        candles.source,
        candles.as_of_ms,
        candles.missing,
    )
    assert isinstance(got.missing[0], Missing)
    assert got.close.dtype == np.float64
    assert not got.close.flags.writeable


def test_candles_as_json_look_as_documented() -> None:
    """Programs in other languages and the command line read exactly this."""
    stream = b"".join(encode_result(Call("x", ASK), sample_candles(2)))

    result = json.loads(stream)["result"]
    assert list(result) == [
        "series",
        "complete",
        "missing",
        "source",
        "as_of_ms",
        "reason",
        "candles",
        "filled",
    ]
    assert result["series"] == {"exchange": "upbit", "market": "KRW-BTC", "timeframe": "1m"}
    assert list(result["missing"][0]) == ["start_ms", "end_ms", "reason"]
    assert " ".join(result["candles"][0]) == "open_time_ms open high low close volume value closed"
    assert [row["closed"] for row in result["candles"]] == [True, False]


def test_lists_stand_in_an_object() -> None:
    """So that something can be added beside them one day."""
    message = METHODS["tickers"](markets=("KRW-BTC",))

    line = b"".join(encode_result(Call(1, message), (sample_ticker(),)))

    assert json.loads(line)["result"]["tickers"][0]["market"] == "KRW-BTC"


@given(st.integers(1, 400), st.integers(0, 50))
def test_answer_may_come_in_any_pieces(step: int, count: int) -> None:
    """Also with the cut inside the packed columns."""
    assert len(travel(Call(1, ASK, packed=True), sample_candles(count), step=step)) == count


@given(
    st.lists(
        st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 6, st.booleans()),
        max_size=20,
    )
)
def test_every_float_survives_both_forms(rows: list[tuple[Any, ...]]) -> None:
    """Text costs no digit: what the exchange published is what the strategy computes with."""
    numbered = [(place * 60_000, *row) for place, row in enumerate(rows)]
    candles = Candles.from_rows(Series.parse("KRW-BTC", "1m"), numbered)

    assert travel(Call(1, ASK), candles) == candles
    assert travel(Call(1, ASK, packed=True), candles) == candles


ERRORS: list[Exception] = [
    domain.InvalidRequest("a"),
    domain.UnknownMarket("b"),
    domain.UnknownTimeframe("c"),
    domain.MarketDataError("d"),
    domain.ExchangeError("e"),
    domain.ExchangeUnavailable("f"),
    domain.RateLimited("g", retry_after_s=1.5),
    domain.RequestRejected("h", code="no_such"),
    domain.MalformedPayload("i"),
    domain.StoreError("j"),
    domain.StoreUnavailable("k"),
    domain.StoreCorrupt("l"),
    domain.Overloaded("m"),
    core.ActorError("n"),
    core.ActorNotFound("o"),
    core.ActorDown("p"),
    core.ActorRestarted("q"),
    core.CallTimeout("r"),
    core.MailboxFull("s"),
    core.MessageDropped("t"),
    core.UnhandledRequest("u"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_is_the_same_class_on_the_other_side(error: Exception) -> None:
    """A bot catches the same names whichever client it uses."""
    wire = error_to_wire(error)
    assert wire is not None
    line = encode_error(1, wire)
    parser = AnswerParser()
    parser.feed(line)
    answer = parser.next()
    assert answer is not None
    assert answer.error is not None

    got = error_from_wire(answer.error)

    assert type(got) is type(error)
    assert str(got) == str(error)
    assert vars(got) == vars(error)
    assert answer.error.data["retryable"] == getattr(error, "retryable", False)


def test_every_error_of_the_domain_has_a_code_of_its_own() -> None:
    """A new error class must not travel as its parent without anybody having decided so."""
    kinds = [kind for kind in vars(domain).values() if isinstance(kind, type)]
    public = [kind for kind in kinds if issubclass(kind, core.DomainError)]

    for kind in public:
        wire = error_to_wire(kind("x"))
        assert wire is not None
        if kind is not core.DomainError:
            assert wire.data["type"] == kind.__name__


def test_subclass_unknown_to_the_wire_travels_as_its_parent() -> None:
    """A client that knows less still gets the right kind."""

    class UpbitMaintenance(domain.ExchangeUnavailable):
        pass

    wire = error_to_wire(UpbitMaintenance("upbit is closed"))

    assert wire is not None
    assert type(error_from_wire(wire)) is domain.ExchangeUnavailable


def test_defect_has_no_form_on_the_wire() -> None:
    """What went wrong inside is for the log and not for whoever asked."""
    assert error_to_wire(ZeroDivisionError("inside")) is None


def test_error_of_an_unknown_type_is_a_remote_error() -> None:
    """A runtime newer than its client may raise what the client has never heard of."""
    error = error_from_wire(WireError(-32099, "new", {"type": "Brandnew", "retryable": True}))

    assert isinstance(error, RemoteError)
    assert (error.code, error.retryable, str(error)) == (-32099, True, "new")
    passed_on = error_to_wire(error)
    assert passed_on is not None
    assert passed_on.code == -32099


@pytest.mark.parametrize("data", [{}, {"type": 7}, {"type": ["x"]}, {"type": "object"}])
def test_error_without_a_usable_type_is_a_remote_error(data: dict[str, Any]) -> None:
    """Nothing the other side writes can name a class that is no error of ours."""
    assert isinstance(error_from_wire(WireError(-1, "odd", data)), RemoteError)


def test_parameter_error_arrives_as_invalid_request() -> None:
    """The protocol's own refusal of a parameter is caught like the domain's."""
    error = error_from_wire(protocol_error(-32602, "count: expected `int`"))

    assert isinstance(error, domain.InvalidRequest)


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b'{"jsonrpc":"1.0","id":1,"result":{}}\n',
        b'{"jsonrpc":"2.0","id":{},"result":{}}\n',
        b'{"jsonrpc":"2.0","id":1,"result":{"binary_bytes":-1}}\n',
        b'{"jsonrpc":"2.0","id":1,"result":{"binary_bytes":99999999999999}}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_what_is_no_answer_is_said_so(line: bytes) -> None:
    """Something else may listen at the path; the bot must not wait for it for ever."""
    parser = AnswerParser()
    parser.feed(line)

    with pytest.raises(RemoteError, match=r"no marketd runtime|bytes of candles"):
        parser.next()


@pytest.mark.parametrize(
    ("message", "result", "payload"),
    [
        (GetTicker(market="A"), {"market": "A"}, b""),
        (GetTicker(market="A"), [], b""),
        (METHODS["tickers"](markets=("A",)), {}, b""),
        (METHODS["tickers"](markets=("A",)), None, b""),
        (ASK, {}, b""),
        (ASK, None, b""),
        (ASK, {"rows": 2, "binary_bytes": 57}, b"x" * 57),
    ],
)
def test_result_of_the_wrong_shape_is_a_remote_error(
    message: Any, result: Any, payload: bytes
) -> None:
    """A runtime of another version must not surface as a KeyError in the bot."""
    with pytest.raises(RemoteError, match=r"answer to .* is malformed"):
        result_from_wire(message, result, payload)


def test_packed_candles_that_contradict_themselves_are_refused() -> None:
    """Reading past the end, or beside the columns, would give prices that never were."""
    head = json.loads(
        b"".join(encode_result(Call(1, ASK, packed=True), sample_candles(2))).split(b"\n")[0]
    )
    result = {**head["result"], "rows": 3}

    with pytest.raises(RemoteError, match="3 rows in 114 bytes"):
        result_from_wire(ASK, result, b"\0" * 114)


def test_numbers_of_numpy_are_taken_as_numbers() -> None:
    """Bots compute counts and times with numpy and hand them in as they are."""
    count: Any = np.int64(7)
    line = encode_call(1, GetCandles(market="KRW-BTC", timeframe="1m", count=count))

    call = parse_line(line)

    assert isinstance(call, Call)
    assert call.message == GetCandles(market="KRW-BTC", timeframe="1m", count=7)


@pytest.mark.parametrize("market", ["\ud800", object()])
def test_parameter_without_a_form_in_json_is_an_invalid_request(market: Any) -> None:
    """An error of the caller, named so, before anything is sent."""
    with pytest.raises(domain.InvalidRequest, match="parameter"):
        encode_call(1, GetTicker(market=market))


def test_answer_of_another_request_can_be_told_by_its_id() -> None:
    """How a late answer is known and dropped."""
    parser = AnswerParser()
    parser.feed(b"".join(encode_result(Call(7, ASK, packed=True), sample_candles(5))))
    parser.feed(encode_error(8, WireError(-1, "x")))

    first, second = parser.next(), parser.next()

    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert (first.id, second.id) == (7, 8)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rows", [0, 3, ROWS_PER_PIECE + 1])
def test_filled_candles_and_their_reason_survive_the_wire(rows: int, packed: bool) -> None:  # noqa: FBT001 - a case
    """A strategy must be able to tell a made-up candle from a traded one."""
    plain = sample_candles(rows)
    marks = np.arange(rows) % 3 == 1
    candles = Candles(
        plain.series,
        plain.open_time_ms,
        plain.floats,
        plain.closed,
        filled=marks,
        source="live",
        reason="the stream has it",
    )

    answer = travel(Call(1, ASK, packed=packed), candles, step=1_000)

    assert answer == candles
    assert answer.filled is not None
    assert answer.filled.tolist() == marks.tolist()
    assert (answer.source, answer.reason) == ("live", "the stream has it")


def test_marks_that_do_not_fit_are_refused() -> None:
    """As with every answer that makes no sense."""
    result = json.loads(b"".join(encode_result(Call(1, ASK), sample_candles(2))))["result"]
    with pytest.raises(RemoteError, match="1 marks for 2 candles"):
        result_from_wire(ASK, {**result, "filled": [True]}, b"")
