"""Whose a key in somebody else's file is, and which of two values: said there, or not taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors.errors import InvalidRequest
from runtime.key_import import FoundKey, read_layout

ACCESS, SECRET, PHRASE = "AccessCanary0123456789", "SecretCanary0123456789", "PhraseCanary-1"
FLASK = "FlaskCanary0123456789"
KEY = {"apiKey": ACCESS, "secret": SECRET}
UPBIT = f"UPBIT_ACCESS_KEY={ACCESS}\nUPBIT_SECRET_KEY={SECRET}\n"


def read(folder: Path, content: Any, **options: Any) -> tuple[list[FoundKey], list[str]]:
    """Return the keys in a file, and what was passed over."""
    path = folder / "keys"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    passed: list[str] = []
    return list(read_layout(path, pass_over=passed.append, **options)), passed


def names(keys: list[FoundKey]) -> list[str]:
    """Return what keys are called."""
    return [f"{key.exchange}:{key.label}" for key in keys]


# ------------------------------------------------------------------ variables


@pytest.mark.parametrize("turned", [False, True])
def test_variables_of_other_programs_are_passed_over(turned: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """Web frameworks sign with `SECRET_KEY`, a user has a `UID` and a database a `PASSWORD`."""
    lines = [*UPBIT.splitlines(), f"SECRET_KEY={FLASK}", "UID=1000", "PASSWORD=postgres"]
    (key,), passed = read(tmp_path, "\n".join(reversed(lines) if turned else lines))

    assert key.secret_key.buffer.decode() == SECRET
    assert (key.uid, key.telegram_id, key.passphrase) == ("", "", None)
    assert passed == ["SECRET_KEY: names no exchange, as others in the file do"]


def test_user_and_database_are_not_the_owner_without_an_exchange_either(tmp_path: Path) -> None:
    """`ACCESS_KEY` may be that of an exchange; `UID` never is."""
    text = f"ACCESS_KEY={ACCESS}\nSECRET_KEY={SECRET}\nUID=1000\nPASSWORD=postgres"
    (key,), passed = read(tmp_path, text)

    assert (key.uid, key.passphrase, passed) == ("", None, [])


def test_owner_is_taken_with_an_exchange(tmp_path: Path) -> None:
    """Whoever writes `UPBIT_UID` means it."""
    (key,), _ = read(tmp_path, f"{UPBIT}UPBIT_UID=7\nUPBIT_TELEGRAM_ID=8\n")
    (other,), _ = read(tmp_path, {**KEY, "uid": 7, "telegram_id": 8})

    assert (key.uid, key.telegram_id) == (other.uid, other.telegram_id) == ("7", "8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{UPBIT}UPBIT_API_KEY={FLASK}", "UPBIT_ACCESS_KEY and UPBIT_API_KEY are different"),
        (f"{UPBIT}UPBIT_SECRET_KEY={FLASK}", "both are the secret key of upbit:main"),
        (
            f"API_KEY={ACCESS}\nAPI_SECRET={SECRET}\nSECRET_KEY={FLASK}",
            "API_SECRET and SECRET_KEY are different",
        ),
    ],
)
def test_two_values_for_one_field_are_refused(text: str, message: str, tmp_path: Path) -> None:
    """Both variables are named, and neither value."""
    with pytest.raises(InvalidRequest, match=message) as raised:
        read(tmp_path, text)

    assert "Canary" not in str(raised.value)


def test_same_value_twice_or_none_is_no_contradiction(tmp_path: Path) -> None:
    """Some keep a key under the names of two programs, or a name without a value."""
    text = f"UPBIT_API_KEY=\n{UPBIT}UPBIT_API_KEY={ACCESS}\nUPBIT_API_SECRET=\n"
    (key,), _ = read(tmp_path, text)

    assert key.access_key.buffer.decode() == ACCESS
    assert key.secret_key.buffer.decode() == SECRET


def test_commands_of_a_shell_are_skipped(tmp_path: Path) -> None:
    """Such a file is often sourced."""
    text = f"set -a\n{UPBIT}export PATH\n. ./other\nsource other\nset +a\n"

    assert names(read(tmp_path, text)[0]) == ["upbit:main"]


def test_line_that_is_something_else_is_named(tmp_path: Path) -> None:
    """By its number: what stands there may be half a secret."""
    with pytest.raises(InvalidRequest, match=r"keys, line 5: wanted NAME=value") as raised:
        read(tmp_path, f"# mine\n\n{UPBIT}{SECRET}\n")

    assert SECRET not in str(raised.value)


# ------------------------------------------------------------------ accounts


@pytest.mark.parametrize(
    ("content", "expected", "passed_over"),
    [
        (
            {"upbit": KEY, "bitstamp": KEY, "foocoin": KEY, "okx_main": {**KEY, "password": "p"}},
            ["upbit:main", "okx:main"],
            ["bitstamp: is of an exchange", "foocoin: does not say of which exchange"],
        ),
        ({"OKX-2": KEY, "okex": KEY}, ["okx:2", "okx:main"], []),
        ({"upbit": KEY, "okxus": KEY}, ["upbit:main"], ["okxus: is of an exchange"]),
        ({"upbit": KEY, "binance_main": KEY}, ["upbit:main"], ["binance_main: is of an exchange"]),
        (
            {
                "a": {**KEY, "exchange": "okx"},
                "b": {**KEY, "exchange": "Binance"},
                "c": {**KEY, "exchange": "foocoin"},
                "d": {**KEY, "exchange": "upbit"},
            },
            ["okx:a", "upbit:d"],
            ["b: is of an exchange", "c: is of an exchange"],
        ),
        ({**KEY, "exchange": "okx"}, ["okx:main"], []),
        (
            {"exchange": "okx", "keys": {"one": KEY, "two": KEY}},
            ["okx:keys-one", "okx:keys-two"],
            [],
        ),
        ({"exchange": {**KEY, "name": "okx"}, "telegram": {"chat": 1}}, ["okx:exchange"], []),
        ({"bot": {**KEY, "name": "my bot"}}, ["upbit:bot"], []),
        ({"upbit": {**KEY, "name": "binance watcher"}}, ["upbit:main"], []),
    ],
)
def test_exchange_is_what_the_file_says(
    content: Any, expected: list[str], passed_over: list[str], tmp_path: Path
) -> None:
    """A key sent to another exchange than its own is a key told to strangers."""
    keys, passed = read(tmp_path, content)

    assert names(keys) == expected
    assert len(passed) == len(passed_over)
    assert all(told.startswith(begun) for told, begun in zip(passed, passed_over, strict=True))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({**KEY, "exchange": "binance"}, "the key: is of an exchange that has no keys here"),
        ({"exchange": {**KEY, "name": "binance"}}, "exchange: is of an exchange"),
        ({"bitstamp": KEY}, "bitstamp: is of an exchange"),
        ({"one": KEY, "two": KEY}, "two: does not say of which exchange it is; --exchange says it"),
    ],
)
def test_file_of_other_exchanges_has_no_keys(content: Any, reason: str, tmp_path: Path) -> None:
    """What was passed over is said there, as nothing else came of it."""
    with pytest.raises(InvalidRequest, match=f"no keys in it; .*{reason}"):
        read(tmp_path, content)


def test_exchange_may_be_said_where_the_file_does_not(tmp_path: Path) -> None:
    """For all of its keys, and not for those beside one that says it."""
    assert names(read(tmp_path, {"a": KEY, "b": KEY}, exchange="okx")[0]) == ["okx:a", "okx:b"]
    assert names(read(tmp_path, KEY, exchange="okx")[0]) == ["okx:main"]
    assert names(read(tmp_path, {"a": KEY, "upbit": KEY}, exchange="okx")[0]) == ["upbit:main"]


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    """With `--replace` the second would be kept in the place of the first."""
    with pytest.raises(InvalidRequest, match="okx and okx_main would both be called okx:main"):
        read(tmp_path, {"okx": KEY, "okx_main": KEY})
