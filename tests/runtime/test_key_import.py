"""Keys come out of the files of other programs, and no value ever comes out in a message."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import InvalidRequest
from runtime.key_import import FoundKey, LayoutKind, read_layout
from runtime.key_import_files import FILE_BYTES_MAX

ACCESS, SECRET, PHRASE = "AccessCanary0123456789", "SecretCanary0123456789", "PhraseCanary-1"
ROOT = Path(__file__).resolve().parents[2]

Found = tuple[str, str, str, str, str | None]


def as_text(key: FoundKey) -> Found:
    """Return a key with its secrets in the open, to compare."""
    phrase = key.passphrase.buffer.decode() if key.passphrase else None
    access, secret = key.access_key.buffer.decode(), key.secret_key.buffer.decode()
    return key.exchange, key.label, access, secret, phrase


def found(*arguments: Any, **options: Any) -> list[Found]:
    """Return what is read."""
    return [as_text(key) for key in read_layout(*arguments, **options)]


def put(folder: Path, content: Any, name: str = "keys") -> Path:
    """Write a file: text, bytes, or JSON of anything else."""
    path = folder / name
    if not isinstance(content, bytes):
        content = (content if isinstance(content, str) else json.dumps(content)).encode()
    path.write_bytes(content)
    return path


def table(folder: Path, key: Any, sql: str = "CREATE TABLE settings (name, value)") -> Path:
    """Make a database with an encryption key among other things."""
    path = folder / "old ?#.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('CREATE TABLE "odd "" name" (id INTEGER, note TEXT, data BLOB)')
        connection.execute("""INSERT INTO "odd "" name" VALUES (1, 'text', x'00'), (2, NULL, 5)""")
        connection.execute(sql)
        connection.execute("INSERT INTO settings VALUES ('other', ?)", (Fernet.generate_key(),))
        connection.execute("INSERT INTO settings VALUES ('key', ?)", (key,))
    return path


MAIN = ("upbit", "main", ACCESS, SECRET, None)


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (f"{ACCESS}\n{SECRET}\n", "lines", [MAIN]),
        (
            f"\ufeff# mine\r\n{ACCESS}\r\n{SECRET}==\r\n",
            "lines",
            [(*MAIN[:3], SECRET + "==", None)],
        ),
        (f"UPBIT_ACCESS_KEY={ACCESS}\nUPBIT_SECRET_KEY={SECRET}\nDEBUG=1", "env", [MAIN]),
        (
            (
                f"export UPBIT_OPEN_API_ACCESS_KEY='{ACCESS}' # mine\n"
                f'UPBIT_OPEN_API_SECRET_KEY = "{SECRET}"\nUPBIT_OPEN_API_SERVER_URL=https://x\n'
            ),
            "env",
            [MAIN],
        ),
        (
            (
                f"OKX_API_KEY={ACCESS} # mine\nOKX_SECRET_KEY={SECRET}\nOKX_PASSPHRASE={PHRASE}\n"
                f"UPBIT_ACCESS_KEY_2={ACCESS}\nUPBIT_SECRET_KEY_2={SECRET}\nOPENAI_API_KEY=no"
            ),
            "env",
            [("okx", "main", ACCESS, SECRET, PHRASE), ("upbit", "2", ACCESS, SECRET, None)],
        ),
        (f"ACCESS_KEY={ACCESS}\nSECRET_KEY={SECRET}\nA=1", "env", [MAIN]),
        ({"access": ACCESS, "secret": SECRET}, "ccxt", [MAIN]),
        (
            {
                "upbit": {"apiKey": ACCESS, "secret": SECRET, "enableRateLimit": True},
                "okx": {"apiKey": ACCESS, "secret": SECRET, "password": PHRASE, "uid": 7},
                "binance": {"apiKey": "no", "secret": "no"},
            },
            "ccxt",
            [MAIN, ("okx", "main", ACCESS, SECRET, PHRASE)],
        ),
        (
            {"exchanges": {"upbit": {"bot": {"access_key": ACCESS, "secret_key": SECRET}}}},
            "ccxt",
            [("upbit", "exchanges-bot", ACCESS, SECRET, None)],
        ),
    ],
)
def test_plain_layouts_are_told_by_what_they_hold(
    content: Any, kind: LayoutKind, expected: list[Found], tmp_path: Path
) -> None:
    """Nobody should have to know what his own file is called."""
    path = put(tmp_path, content)

    assert found(path) == expected
    assert found(path, kind=kind) == expected
    others: set[LayoutKind] = {"fernet", "aes_gcm", "env", "lines", "ccxt"}
    for other in others - {kind}:
        with pytest.raises(InvalidRequest, match=f"wanted the layout {other}, was {kind}"):
            read_layout(path, kind=other)


@pytest.mark.parametrize("in_table", [True, False])
def test_fernet_layout_is_opened_with_the_key_beside_it(in_table: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """The oldest layout: a key in some table, two tokens in a JSON file."""
    key = Fernet.generate_key()
    fernet = Fernet(key)
    names = {"access_key": ACCESS, "secret_key": SECRET}
    sealed = {name: fernet.encrypt(value.encode()).decode() for name, value in names.items()}
    path = put(tmp_path, {**sealed, "created": "2024"})
    second = table(tmp_path, key.decode()) if in_table else put(tmp_path, key + b"\n", "key")

    assert found(path, second=second) == [MAIN]
    if in_table:
        assert found(second, second=path, kind="fernet") == [MAIN]
    nested = put(tmp_path, {"okx": {**sealed, "passphrase": PHRASE}})
    assert found(nested, second=second) == [("okx", "main", ACCESS, SECRET, PHRASE)]


def hexadecimal(data: bytes) -> str:
    """Return `data` in hexadecimal."""
    return data.hex()


def in_base64(data: bytes) -> str:
    """Return `data` in base64."""
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("write", [hexadecimal, in_base64])
@pytest.mark.parametrize("layout", ["nonce", "iv and tag", "each", "named"])
def test_aes_gcm_layout_is_opened(
    layout: str, write: Callable[[bytes], str], tmp_path: Path
) -> None:
    """As a whole or field by field, with the tag apart or at the end."""
    key, nonce = bytes(range(32)), bytes(range(12))

    def sealed(text: str) -> dict[str, str]:
        data = AESGCM(key).encrypt(nonce, text.encode(), None)
        if layout == "iv and tag":
            return {"iv": write(nonce), "data": write(data[:-16]), "tag": write(data[-16:])}
        return {"nonce": write(nonce), "ciphertext": write(data)}

    plain = {"access_key": ACCESS, "secret_key": SECRET}
    if layout == "each":
        content: Any = {name: sealed(value) for name, value in plain.items()}
    elif layout == "named":
        content = {"upbit": {name: sealed(value) for name, value in plain.items()}}
    else:
        content = sealed(json.dumps(plain))
    path = put(tmp_path, content)

    for second in (put(tmp_path, key, "raw"), put(tmp_path, write(key), "key")):
        assert found(path, second=second, kind="aes_gcm") == [MAIN]
    assert found(path, second=table(tmp_path, key)) == [MAIN]


def test_wrong_key_or_changed_token_is_said_with_its_places(tmp_path: Path) -> None:
    """Where to look is half of the repair."""
    fernet = Fernet(Fernet.generate_key())
    path = put(tmp_path, {"access_key": fernet.encrypt(b"x").decode(), "secret_key": "y"})
    second = table(tmp_path, Fernet.generate_key())

    with pytest.raises(InvalidRequest, match=r"sealed with another key .*settings\.value"):
        read_layout(path, second=second)
    with pytest.raises(InvalidRequest, match="is sealed; name the file with its key as well"):
        read_layout(path)
    with pytest.raises(InvalidRequest, match="is a SQLite file; name the JSON file"):
        read_layout(second)
    with pytest.raises(InvalidRequest, match="no table has a key in it"):
        read_layout(path, second=empty_table(tmp_path))
    with pytest.raises(InvalidRequest, match="cannot be read as SQLite"):
        read_layout(path, second=put(tmp_path, b"SQLite format 3\0" + b"x" * 200, "damaged"))


def empty_table(folder: Path) -> Path:
    """Make a database with no key in it."""
    path = folder / "empty.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE settings (name, value)")
    return path


def test_database_is_not_written(tmp_path: Path) -> None:
    """It belongs to another program, which may run."""
    key = Fernet.generate_key()
    fernet = Fernet(key)
    sealed = {name: fernet.encrypt(b"v").decode() for name in ("access_key", "secret_key")}
    second = table(tmp_path, key)
    before = second.read_bytes()
    path = put(tmp_path, sealed)
    names = {each.name for each in tmp_path.iterdir()}

    read_layout(path, second=second)
    assert second.read_bytes() == before
    assert {each.name for each in tmp_path.iterdir()} == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no layout that is known"),
        (f"{ACCESS}\n", "no layout that is known"),
        (f"dear {ACCESS}\nhow are you", "no layout that is known"),
        (f'{{"access_key": "{ACCESS}"', "begins like JSON and is none"),
        ([ACCESS, SECRET], "JSON, but no object"),
        ({"access_key": ACCESS}, "the secret key is missing"),
        ({"upbit": {"apiKey": "", "secret": SECRET}}, "the access key is missing"),
        ({"access_key": [ACCESS], "secret_key": SECRET}, "must be text, was list"),
        ({"access_key": ACCESS * 50, "secret_key": SECRET}, "more than 1024 characters"),
        ({"other": ACCESS}, "no keys in it"),
        ({"binance": {"apiKey": ACCESS, "secret": SECRET}}, "no keys in it"),
        (f"OPENAI_API_KEY={ACCESS}", "no keys in it"),
        (f"UPBIT_ACCESS_KEY={ACCESS}", "the secret key is missing"),
        (b"\xff" + ACCESS.encode(), "no text in UTF-8"),
        (b"x" * (FILE_BYTES_MAX + 1), "at most 1048576 bytes"),
        ("[" * 100_000, "begins like JSON and is none"),
    ],
)
def test_anything_else_is_named_without_a_value(content: Any, message: str, tmp_path: Path) -> None:
    """What was wanted, what was there and where; a half-right file has a real secret in it."""
    path = put(tmp_path, content)

    with pytest.raises(InvalidRequest, match=message) as raised:
        read_layout(path)
    assert str(path) in str(raised.value)
    for canary in (ACCESS, SECRET):
        assert canary not in str(raised.value)
    assert raised.value.__cause__ is None


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_rubbish_is_refused_and_nothing_worse(data: bytes) -> None:
    """Whatever is named on a command line."""
    path = Path(os.environ["XDG_RUNTIME_DIR"]) / "rubbish"  # noqa: TID251 - the test's own folder
    path.write_bytes(data)
    try:
        read_layout(path)
    except InvalidRequest as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - two lines may be keys, too


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    """A pipe would be waited for, and a device would never end."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(InvalidRequest, match="is no ordinary file"):
            read_layout(path)
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_layout(tmp_path / "absent")
    wrong: Any = "yaml"
    with pytest.raises(InvalidRequest, match="kind: wanted one of fernet"):
        read_layout(tmp_path, kind=wrong)


def test_found_key_shows_no_secret(tmp_path: Path) -> None:
    """It is printed by whoever debugs."""
    (key,) = read_layout(put(tmp_path, {"access": ACCESS, "secret": SECRET, "password": PHRASE}))

    for canary in (ACCESS, SECRET, PHRASE):
        assert canary not in repr(key)
    assert key.where.endswith("keys (upbit:main)")


@pytest.mark.real_time
def test_without_cryptography_the_extra_is_named(tmp_path: Path) -> None:
    """It is needed once in a life, so nobody has it by default; plain layouts do without."""
    sealed = put(tmp_path, {"access_key": "gAAAAA", "secret_key": "gAAAAA"})
    put(tmp_path, Fernet.generate_key(), "key")
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from pathlib import Path; from runtime.key_import import read_layout\n"
        "folder = Path(sys.argv[1])\n"
        "try: read_layout(folder / 'keys', second=folder / 'key')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "assert 'trio' not in sys.modules"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(sealed.parent)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )

    assert run.stdout.startswith("InvalidRequest ")
    assert "pip install 'marketd[import]'" in run.stdout
