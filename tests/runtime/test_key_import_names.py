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


@pytest.mark.parametrize(
    "other",
    [
        ("UPBITSG_ACCESS_KEY", "UPBITSG_SECRET_KEY"),
        ("UPBIT2_ACCESS_KEY", "UPBIT2_SECRET_KEY"),
        ("OKXUS_API_KEY", "OKXUS_API_SECRET", "OKXUS_PASSPHRASE"),
        ("MYOKX_API_KEY", "MYOKX_API_SECRET"),
        ("BINANCE_API_KEY", "BINANCE_SECRET"),
        ("MY_BINANCE_API_KEY_2", "MY_BINANCE_SECRET_KEY_2"),
    ],
)
def test_variables_of_another_exchange_are_told(other: tuple[str, ...], tmp_path: Path) -> None:
    """A name that is only a part of another word is another exchange's."""
    text = "".join(f"{name}={FLASK}\n" for name in other)
    told = [f"{name}: is of an exchange that has no keys here" for name in other]
    keys, passed = read(tmp_path, text + UPBIT)

    assert (names(keys), passed) == (["upbit:main"], told)
    assert names(read(tmp_path, text + f"ACCESS_KEY={ACCESS}\nSECRET_KEY={SECRET}\n")[0]) == [
        "upbit:main"
    ]
    with pytest.raises(InvalidRequest, match=f"no keys in it; {'; '.join(told)}"):
        read(tmp_path, text)


@pytest.mark.parametrize("name", ["UPBIT_ACCESS_KEY", "ACCESS_KEY_UPBIT", "MY_UPBIT_ACCESS_KEY"])
def test_exchange_of_a_variable_is_a_whole_word(name: str, tmp_path: Path) -> None:
    """Wherever it stands; a name without a value says nothing of another one."""
    secret = name.replace("ACCESS", "SECRET")
    (key,), passed = read(tmp_path, f"{name}={ACCESS}\n{secret}={SECRET}\nBINANCE_API_KEY=\n")

    assert (key.exchange, key.label) == ("upbit", "my" if "MY" in name else "main")
    assert passed == []


def test_numbered_variables_without_an_exchange_are_keys_of_their_own(tmp_path: Path) -> None:
    """Any other word there is told: it may be the name of somebody else's program."""
    pair = f"ACCESS_KEY={ACCESS}\nSECRET_KEY={SECRET}\n"
    second = f"ACCESS_KEY_2={FLASK}\nSECRET_KEY_2={FLASK}\n"
    keys, passed = read(tmp_path, f"{pair}{second}ACCESS_KEY_BOT={FLASK}\nOPENAI_API_KEY=no")

    assert names(keys) == ["upbit:main", "upbit:2"]
    assert [key.access_key.buffer.decode() for key in keys] == [ACCESS, FLASK]
    assert passed == ["ACCESS_KEY_BOT: names no exchange"]
    assert names(read(tmp_path, second + UPBIT)[0]) == ["upbit:main"]


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
        ({**KEY, "id": "okx"}, ["okx:main"], []),
        ({**KEY, "id": 17}, ["upbit:main"], []),
        ({**KEY, "id": "bot-17"}, ["upbit:main"], []),
        ({"id": "okx", "credentials": KEY}, ["okx:credentials"], []),
        (
            {"a": {**KEY, "id": "binance"}, "b": {**KEY, "id": "upbit"}},
            ["upbit:b"],
            ["a: is of an exchange"],
        ),
        ({"bot": {**KEY, "id": "binance", "exchange": "okx"}}, ["okx:bot"], []),
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
        ({**KEY, "id": "binance"}, "the key: is of an exchange that has no keys here"),
        ({"id": "binance", "credentials": KEY}, "credentials: is of an exchange"),
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


# ------------------------------------------------------------------ keys that are not whole


@pytest.mark.parametrize(
    ("content", "name", "why"),
    [
        ({"upbit": KEY, "okx": {**KEY, "secret": ""}}, "okx:main", "the secret key is missing"),
        ({"upbit": KEY, "okx": {**KEY, "apiKey": 7}}, "okx:main", "must be text, was int"),
        ({"okx": {**KEY, "secret": "s" * 2000}, "upbit": KEY}, "okx:main", "more than 1024"),
        (f"{UPBIT}UPBIT_ACCESS_KEY_B={ACCESS}", "upbit:b", "the secret key is missing"),
    ],
)
def test_key_that_is_not_whole_is_refused_and_the_others_are_read(
    content: Any, name: str, why: str, tmp_path: Path
) -> None:
    """By its name and with the reason; alone in its file it is an error."""
    path = tmp_path / "keys"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    refused: list[tuple[str, str]] = []
    keys = read_layout(path, refuse=lambda *what: refused.append(what))

    assert names(list(keys)) == ["upbit:main"]
    ((found, said),) = refused
    assert found == name
    assert said.startswith(f"{path} ({name}): ")
    assert why in said
    assert "Canary" not in said


def test_file_with_only_keys_that_are_not_whole_is_refused(tmp_path: Path) -> None:
    """With the reason of each, and with what else is in it."""
    half = {"apiKey": ACCESS}
    wanted = r"\(upbit:main\): .* is missing or empty; .*\(okx:main\): .*; binance: is of"
    with pytest.raises(InvalidRequest, match=wanted) as raised:
        read(tmp_path, {"upbit": half, "okx": half, "binance": KEY})

    assert "Canary" not in str(raised.value)
