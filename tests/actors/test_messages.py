"""Messages: frozen, documented field by field, strict about what they do not know."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_type_hints

import msgspec
import pytest

from actors import messages, quotes, reports
from actors.candles import Candles
from actors.coverage import Coverage
from runtime.core.message import Event, Request

STRUCTS = [
    each
    for module in (messages, quotes, reports)
    for each in vars(module).values()
    if inspect.isclass(each)
    and issubclass(each, msgspec.Struct)
    and each.__module__ == module.__name__
]
REQUESTS = sorted(messages.METHODS.items())


def documented(struct: type) -> list[str]:
    """Return the names in the `Attributes` section of a class, in order."""
    _, _, section = (inspect.getdoc(struct) or "").partition("Attributes:\n")
    return re.findall(r"^  (\w+): ", section, flags=re.MULTILINE)


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_message_is_frozen(struct: type[msgspec.Struct]) -> None:
    """It is in two actors' hands at once."""
    assert struct.__struct_config__.frozen


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_field_is_documented_in_its_order(struct: type[msgspec.Struct]) -> None:
    """The reference of the socket and the help of the commands are made of these lines."""
    assert documented(struct) == list(struct.__struct_fields__)


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_message_says_what_it_is(struct: type[msgspec.Struct]) -> None:
    """In a sentence of its own, not in the one that msgspec makes up."""
    summary = (inspect.getdoc(struct) or "").partition("\n")[0]

    assert summary.endswith(".")
    assert " " in summary


def test_everything_a_bot_can_ask_has_a_method() -> None:
    """Nothing exists on one side only: what a bot asks is what the socket offers."""
    asked = [
        each for name, each in vars(messages).items() if name.startswith("Get") and each in STRUCTS
    ]
    strict = {each for each in asked if each.__struct_config__.forbid_unknown_fields}

    assert set(messages.METHODS.values()) == strict
    assert all(re.fullmatch(r"[a-z]+", name) for name in messages.METHODS)


@pytest.mark.parametrize("name", sorted(messages.METHODS))
def test_a_misspelt_option_is_an_error(name: str) -> None:
    """Otherwise it would be a default, and nobody would notice."""
    known = messages.METHODS[name].__struct_fields__
    asked: dict[str, Any] = {"market": "KRW-BTC", "markets": ["KRW-BTC"], "timeframe": "1m"}
    asked = {field: value for field, value in asked.items() if field in known}
    msgspec.convert(asked, messages.METHODS[name])

    with pytest.raises(msgspec.ValidationError, match=r"contains unknown field `cuont`"):
        msgspec.convert({**asked, "cuont": 5}, messages.METHODS[name])


@pytest.mark.parametrize(("name", "request_type"), REQUESTS)
def test_a_request_has_a_json_schema(name: str, request_type: type[Request[Any]]) -> None:
    """From which discovery, help and fuzz cases are made."""
    schema = msgspec.json.schema(request_type)

    assert name in messages.METHODS
    assert schema["$ref"] == f"#/$defs/{request_type.__name__}"


def reply_type(request_type: type[Request[Any]]) -> object:
    """Return the type of a request's answer, with names resolved."""
    (base,) = request_type.__orig_bases__  # type: ignore[attr-defined]
    holder = type("Holder", (), {"__annotations__": {"reply": base.__args__[0]}})
    known = {**vars(messages), "Candles": Candles, "Coverage": Coverage}
    return get_type_hints(holder, known)["reply"]


@pytest.mark.parametrize("struct", [each for each in STRUCTS if issubclass(each, Request)])
def test_every_request_names_the_type_of_its_answer(struct: type[Request[Any]]) -> None:
    """So that a call is typed without a wrapper; a name in quotes must name something."""
    reply = reply_type(struct)

    assert reply is not Any
    assert not isinstance(reply, str)


def test_a_message_is_a_request_or_an_event() -> None:
    """Whether somebody waits for an answer is never in doubt."""
    for struct in STRUCTS:
        assert not (issubclass(struct, Request) and issubclass(struct, Event))


def test_messages_do_not_load_numpy_types_into_their_fields() -> None:
    """A command-line client reads these messages and must not wait for numpy."""
    assert "Candles" not in vars(messages)
    assert "Coverage" not in vars(messages)
