"""The protocol: whatever the bytes, an answer in JSON-RPC and never an exception."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import GetCandles, GetStoreStatistics, GetTicker, GetTickers
from runtime.discover import discover
from runtime.masking import Masker
from runtime.messages import METHODS, Check, GetStatus
from runtime.protocol import (
    REFUSALS_MAX,
    SKIP_FACTOR,
    Call,
    Malformed,
    Refusal,
    RequestParser,
    encode_error,
    parse_line,
    parse_message,
)
from runtime.wire import RESULTS

LIMIT = 64


def request(**members: Any) -> bytes:
    """Return the line of a `status` request with some members changed."""
    line = {"jsonrpc": "2.0", "id": 1, "method": "status", **members}
    return json.dumps({name: value for name, value in line.items() if value is not ...}).encode()


def parse_all(parser: RequestParser, *chunks: bytes) -> list[Call | Refusal]:
    """Return everything the parser makes of the chunks."""
    parsed = []
    for chunk in chunks:
        parser.feed(chunk)
        while (one := parser.next()) is not None:
            parsed.append(one)
    return parsed


def refused(line: bytes) -> Refusal:
    """Return the refusal of a line that must be refused."""
    refusal = parse_line(line)
    assert isinstance(refusal, Refusal)
    return refusal


def test_request_becomes_its_message() -> None:
    """The messages are the API; the socket only carries them."""
    line = request(
        id="a", method="candles", params={"market": "KRW-BTC", "timeframe": "1m", "count": 5}
    )

    call = parse_line(line)

    message = GetCandles(market="KRW-BTC", timeframe="1m", count=5)
    assert call == Call("a", message, answered=True, packed=False, timeout_s=None)


def test_own_members_stand_beside_the_parameters() -> None:
    """How an answer travels and how long it is waited for is not what is asked."""
    params = {"market": "KRW-BTC", "timeframe": "1m"}
    line = request(method="candles", params=params, encoding="binary", timeout_s=2)

    call = parse_line(line)

    assert isinstance(call, Call)
    assert (call.packed, call.timeout_s) == (True, 2.0)


def test_parameters_may_be_left_out_where_none_are_needed() -> None:
    """JSON-RPC makes `params` optional."""
    assert parse_line(request()) == Call(1, GetStatus())


def test_request_without_an_id_wants_no_answer() -> None:
    """JSON-RPC calls it a notification; even its errors are kept to ourselves."""
    call = parse_line(request(id=...))
    refusal = refused(request(id=..., method="nonsense"))

    assert isinstance(call, Call)
    assert not call.answered
    assert not refusal.answered


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (b"{", -32700, "the line is not JSON"),
        (b"\xff\xfe", -32700, "the line is not JSON"),
        (b"[" * 100_000, -32700, "the line is not JSON"),
        (b'"\\ud800"', -32700, "the line is not JSON"),
        (b"1e999", -32700, "the line is not JSON"),
        (b"7", -32600, "it is not an object"),
        (b"[]", -32600, "batches are not served"),
        (b"{}", -32600, 'needs "jsonrpc": "2.0" and a "method"'),
        (request(jsonrpc="1.0"), -32600, 'needs "jsonrpc": "2.0"'),
        (request(method=7), -32600, 'and a "method"'),
        (request(id=1.5), -32600, "id must be a whole number"),
        (request(id=True), -32600, "id must be a whole number"),
        (request(id=[1]), -32600, "id must be a whole number"),
        (request(id="x" * 129), -32600, "at most 128 characters"),
        (request(id=2**53 + 1), -32600, "id must be a whole number"),
        (request(parms={}), -32600, "no member 'parms'; did you mean 'params'?"),
        (request(encoding="xml"), -32600, 'encoding must be "json" or "binary"'),
        (request(encoding="binary"), -32600, "only candles come in binary"),
        (request(timeout_s=0), -32600, "timeout_s must be a number above 0"),
        (request(timeout_s="1"), -32600, "timeout_s must be a number above 0"),
        (request(timeout_s=True), -32600, "timeout_s must be a number above 0"),
        (request(method="candels"), -32601, "no method 'candels'; did you mean 'candles'?"),
        (request(params=[1]), -32602, "they go by name"),
        (request(params=None), -32602, "they go by name"),
        (request(params={"x": 1}), -32602, "status has no parameter 'x'"),
        (request(method="ticker"), -32602, "ticker needs the parameter 'market'"),
        (
            request(method="ticker", params={"markt": "A"}),
            -32602,
            "ticker has no parameter 'markt'; did you mean 'market'?",
        ),
        (
            request(method="ticker", params={"market": 7}),
            -32602,
            "ticker has a wrong parameter, market (expected `str`, got `int`)",
        ),
        (
            request(method="tickers", params={"markets": ["A", None]}),
            -32602,
            "tickers has a wrong parameter, markets[1] (expected `str`, got `null`)",
        ),
        (
            request(method="orderbook", params={"market": "A", "depth": True}),
            -32602,
            "orderbook has a wrong parameter, depth (expected `int`, got `bool`)",
        ),
    ],
)
def test_what_is_wrong_is_said_by_code_and_in_words(line: bytes, code: int, message: str) -> None:
    """Programs go by the code; the person who wrote the bot goes by the words."""
    refusal = refused(line)

    assert refusal.error.code == code
    assert message in refusal.error.message


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("keys.add", {"exchange": "upbit", "label": "a", "access_key": "a", "secret_key": 7}),
        ("keys.passphrase", {"kind": "none"}),
    ],
)
def test_what_is_wrong_can_be_read_behind_the_mask(method: str, params: dict[str, object]) -> None:
    """Names of secrets are in it, and no secret."""
    message = refused(request(method=method, params=params)).error.message

    assert method in message
    assert Masker().mask(message) == message


def test_refusal_of_a_parameter_names_it_for_programs_too() -> None:
    """A form that sends requests can mark the field."""
    error = refused(request(method="ticker", params={"market": 7})).error

    assert error.data == {"type": "InvalidRequest", "retryable": False, "parameter": "market"}


def test_message_between_actors_is_no_method() -> None:
    """The socket reaches what bots may ask and nothing behind it."""
    assert GetStoreStatistics not in METHODS.values()
    with pytest.raises(Malformed, match="there is no method 'GetStoreStatistics'"):
        parse_message("GetStoreStatistics", {})


def test_line_may_come_in_pieces_and_lines_together() -> None:
    """A stream of bytes knows nothing of lines."""
    line = request()
    parser = RequestParser(LIMIT)

    assert parse_all(parser, line[:7], line[7:]) == []
    assert parse_all(parser, b"\r\n\n  \n" + line + b"\n" + line) == [Call(1, GetStatus())] * 2
    assert parse_all(parser, b"\n") == [Call(1, GetStatus())]


def test_line_too_long_is_refused_once_and_the_next_one_is_served() -> None:
    """A mistake in one request does not cost the bot its connection."""
    parser = RequestParser(LIMIT)

    parsed = parse_all(parser, *[b"x" * 50] * 20, b"x\n" + request() + b"\n")

    assert [type(one) for one in parsed] == [Refusal, Call]
    assert isinstance(parsed[0], Refusal)
    assert (
        parsed[0].error.message
        == "a request must be at most 64 bytes long; the rest of the line is skipped"
    )


def test_line_of_exactly_the_bound_is_served() -> None:
    """The bound is part of what is allowed."""
    line = request().ljust(LIMIT)

    assert len(line) == LIMIT
    assert parse_all(RequestParser(LIMIT), line, b"\n") == [Call(1, GetStatus())]
    assert isinstance(parse_all(RequestParser(LIMIT), line + b" \n")[0], Refusal)


def test_line_without_end_ends_the_connection() -> None:
    """Somewhere a mistake becomes an attack; memory stays bounded on the way there."""
    parser = RequestParser(LIMIT)
    chunk = b"x" * LIMIT

    for _ in range(SKIP_FACTOR + 1):
        assert not parser.flooded
        parse_all(parser, chunk)

    assert parser.flooded
    assert parse_all(parser, b"\n" + request() + b"\n") == []


def test_garbage_without_end_ends_the_connection() -> None:
    """Each line of it costs an answer, so it must not go on for ever."""
    parser = RequestParser(LIMIT)

    parsed = parse_all(parser, b"x\n" * (REFUSALS_MAX + 5))

    assert len(parsed) == REFUSALS_MAX
    assert parser.flooded


def test_sensible_request_between_garbage_shows_a_client() -> None:
    """A clumsy bot is not a flood."""
    parser = RequestParser(LIMIT)

    for _ in range(REFUSALS_MAX):
        parse_all(parser, b"x\nx\n" + request() + b"\n")

    assert not parser.flooded


def test_name_from_outside_is_cut_and_cleaned_before_it_is_repeated() -> None:
    """Errors go to logs and terminals, which take orders from control characters."""
    message = refused(request(method="\x1b[31m" + "x" * 10_000)).error.message

    assert len(message) < 200
    assert message.isprintable()


LINES = st.one_of(
    st.binary(max_size=100),
    st.dictionaries(
        st.sampled_from(["jsonrpc", "id", "method", "params", "encoding", "timeout_s", "x"]),
        st.recursive(
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.floats(allow_nan=False),
                st.text(max_size=5),
                st.sampled_from(["2.0", *METHODS]),
            ),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(["market", "timeframe", "count", "markets", "y"]), inner
                ),
            ),
            max_leaves=5,
        ),
    ).map(lambda members: json.dumps(members).encode()),
    st.sampled_from([request(), request(method="candles"), b"", b"\r"]),
)


@given(st.lists(LINES), st.lists(st.integers(0, 200)))
def test_any_bytes_in_any_pieces_give_calls_and_valid_json(
    lines: list[bytes], cuts: list[int]
) -> None:
    """Nothing that can be sent makes the parser raise, and how it was cut makes no difference."""
    stream = b"".join(line + b"\n" for line in lines)
    chunks, rest = [], stream
    for cut in cuts:
        chunks.append(rest[:cut])
        rest = rest[cut:]

    whole = parse_all(RequestParser(LIMIT), stream)
    pieces = parse_all(RequestParser(LIMIT), *chunks, rest)

    assert pieces == whole
    for one in whole:
        if isinstance(one, Refusal):
            answer = encode_error(one.id, one.error)
            assert answer.endswith(b"\n")
            assert answer.count(b"\n") == 1
            assert json.loads(answer)["error"]["code"] <= -32600


@given(
    st.builds(
        GetCandles,
        market=st.text(max_size=20),
        timeframe=st.text(max_size=5),
        count=st.none() | st.integers(-(2**63), 2**63 - 1),
        start=st.none() | st.integers(0, 2**63 - 1) | st.text(max_size=20),
        closed=st.booleans(),
        max_age_s=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    )
    | st.builds(GetTicker, market=st.text(max_size=20))
    | st.builds(GetTickers, markets=st.lists(st.text(max_size=5)).map(tuple))
    | st.builds(Check, method=st.text(), params=st.dictionaries(st.text(), st.integers(0, 9)))
)
def test_every_message_survives_the_wire(message: Any) -> None:
    """What the bot wrote is what the runtime reads, to the last bit."""
    method = next(name for name, kind in METHODS.items() if kind is type(message))
    params = json.loads(msgspec.json.encode(message))

    assert parse_message(method, params) == message


def test_every_method_has_a_result_and_a_description() -> None:
    """`rpc.discover` is made from the types, so a new method cannot be left out of it."""
    document = discover("1.2.3")

    assert set(RESULTS) == set(METHODS.values())
    assert [method["name"] for method in document["methods"]] == list(METHODS)
    for method in document["methods"]:
        assert method["summary"]
        assert all(each["description"] and each["schema"] for each in method["params"])
    assert document["info"]["version"] == "1.2.3"
    json.dumps(document)


def test_every_reference_of_the_description_leads_somewhere() -> None:
    """A code generator stops at the first one that does not."""
    document = discover("")
    text = json.dumps(document)
    named = {piece.split('"')[0] for piece in text.split("#/components/schemas/")[1:]}

    assert named
    assert named <= set(document["components"]["schemas"])
