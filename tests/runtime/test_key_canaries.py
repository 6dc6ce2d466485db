"""Secrets planted in a real daemon, and then looked for everywhere that anything can be read.

The daemon is told them in every way there is, good and bad, and is made to fail with them in hand.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from actors.key_messages import KEY_METHODS, AddKey
from actors.vault.secret import Secret
from actors.vault.values import Credential
from actors.vault.vault import Kek, Vault
from actors.vault_messages import SecretRequest
from runtime.client.blocking import connect
from runtime.limit_metrics import limit_metrics
from runtime.testing_keys import open_keys
from runtime.testing_processes import clean_environ

ROOT = Path(__file__).resolve().parents[2]

# No one of them looks like a secret by itself: none is found by its shape alone.
SECRETS = {
    "access": "AxisQueenLemonRiver7401PaperCastleWindow",
    "secret": "MapleGhostOrbitTunnel9152SilverHarborCode",
    "okx access": "bronze-planet-kettle-3380-willow",
    "okx secret": "VelvetAnchorRocketCinnamon2264",
    "okx passphrase": "Tulip Engine 5513 Sparrow",
    "vault": "copper lantern 8846 meadow",
    "new vault": "hollow thunder 1929 basket",
    "wrong": "purple canyon 6672 whistle",
}
# The exchange knows the first key; the vault's costly step is made cheap.
SANDBOX = """
import sys
from actors.sandbox import accounts
accounts.SANDBOX_ACCESS_KEY, accounts.SANDBOX_SECRET_KEY = sys.argv[1:]
from runtime.__main__ import main
sys.argv[1:] = ["sandbox", "--port", "0", "--markets", "1"]
sys.exit(main())
"""
# A defect is planted: asked whether the trail is whole, it fails with an open secret in its words.
DAEMON = """
import sys
from actors.vault import sodium
sodium.COST = sodium.KdfCost(1, 8192)
from actors.key_book import KeyBook
from runtime.__main__ import main

async def audit(self, request):
    secrets = [each.credential.secret_key.buffer for each in self._sessions]
    text = bytes(secrets[0]).decode()
    raise ValueError(f"no room for {text} or {secrets} or {request}")

KeyBook.audit = audit
sys.exit(main())
"""


def spellings(secret: str) -> set[bytes]:
    """Return how a secret could be written; of its own letters a part is enough."""
    raw = secret.encode()
    found = {raw[6:18], raw[-12:], raw.hex().encode(), raw.hex().upper().encode()}
    found |= {quote(secret).encode(), raw[::-1]}
    for encode in (b64encode, urlsafe_b64encode):
        # Inside of something longer, as in a token, it begins at any of three places.
        found |= {encode(b"x" * start + raw)[4:-4] for start in range(3)}
    return found


def leaks(text: bytes) -> list[str]:
    """Return which secrets are in a text, in any spelling."""
    return [name for name, secret in SECRETS.items() if any(s in text for s in spellings(secret))]


def test_search_finds_what_it_looks_for() -> None:
    """Otherwise everything below would show nothing."""
    for name, secret in SECRETS.items():
        raw = secret.encode()
        for shown in (raw, raw[3:], raw.hex().encode(), b64encode(b'{"a":"' + raw + b'"}')):
            assert leaks(b"before " + shown + b" after") == [name]
    assert leaks(b"Axis bron") == []


class Plain:
    """The socket as it is: lines out, lines in, all of them kept.

    Attributes:
      heard: Everything that came back.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        self.heard: list[bytes] = []

    def say(self, line: bytes) -> dict[str, Any]:
        """Send a line; return the answer."""
        self._socket.sendall(line + b"\n")
        self.heard.append(self._lines.readline())
        answer: dict[str, Any] = json.loads(self.heard[-1])
        return answer

    def ask(self, name: str, /, **params: Any) -> dict[str, Any]:
        """Return the answer to a question."""
        call = {"jsonrpc": "2.0", "id": 1, "method": name, "params": params}
        return self.say(json.dumps(call).encode())

    def good(self, name: str, /, **params: Any) -> Any:
        """Return the result of a question."""
        answer = self.ask(name, **params)
        assert "result" in answer, answer
        return answer["result"]

    def bad(self, name: str, /, **params: Any) -> str:
        """Return the name of the error that a question meets."""
        error = self.ask(name, **params)["error"]
        return str(error.get("data", {}).get("type", error["message"]))

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()


@contextmanager
def started(
    program: list[str], folder: Path, log: Path, environ: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a program until its first line, with cores allowed and `folder` as where they go."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            ["sh", "-c", 'ulimit -c unlimited; exec "$0" -c "$@"', sys.executable, *program],
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            env={**environ, "PYTHONPATH": str(ROOT)},
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline().strip()
        assert line, log.read_text()
        yield process, line
    finally:
        process.kill()
        process.communicate()


@pytest.mark.real_time
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="what is looked at is Linux's")
def test_no_secret_is_found_anywhere(tmp_path: Path, own_folders: Path) -> None:
    """Replies, log, traceback, metrics, trail, process list, files and a forced core. Processes."""
    key = (SECRETS["access"], SECRETS["secret"])
    work, aside = tmp_path / "work", tmp_path / "aside"
    work.mkdir()
    aside.mkdir()
    with started([SANDBOX, *key], aside, aside / "log", clean_environ()) as (_, line):
        environ = clean_environ(
            RUNTIME__STATE_DIR=str(tmp_path / "state"),
            RUNTIME__LOG_LEVEL="debug",
            CONTROL__SOCKET=str(tmp_path / "run" / "control.sock"),
            EXCHANGES__UPBIT__REST_URL=line.rpartition(" ")[2],
        )
        with started([DAEMON], work, tmp_path / "log", environ) as (process, _):
            heard = tell_everything(tmp_path / "run" / "control.sock")
            shown = {
                "replies": b"".join(heard),
                "metrics": metrics(tmp_path / "run" / "control.sock"),
                "environ": Path(f"/proc/{process.pid}/environ").read_bytes(),
                "cmdline": Path(f"/proc/{process.pid}/cmdline").read_bytes(),
                "limits": Path(f"/proc/{process.pid}/limits").read_bytes(),
            }
            assert strangers_luck(tmp_path) == ["refused", "refused", "refused"]
            process.send_signal(signal.SIGABRT)
            assert process.wait(20) == -signal.SIGABRT
    # The exchange's own output is not ours; everything else in these folders is.
    places = [path for top in (tmp_path, own_folders) for path in top.rglob("*") if path.is_file()]
    ours = [path for path in places if aside not in path.parents]
    shown |= {str(path): path.read_bytes() for path in ours}

    assert [name for name, text in shown.items() if leaks(text)] == []
    # And what was looked at was not empty: the crash is in the log, the calls are in the trail.
    assert b"ValueError" in shown[str(tmp_path / "log")]
    if os.getuid() == 0:
        # The third stranger came as far as the daemon, which saw who he was.
        assert shown[str(tmp_path / "log")].count(b"belongs to user 65534") == 1
    trail = shown[str(tmp_path / "state" / "audit.jsonl")]
    assert b"POST /v1/orders" in trail
    assert b"Max core file size        0                    0" in shown["limits"]
    assert list(work.iterdir()) == []


def tell_everything(path: Path) -> list[bytes]:
    """Do all that can be done with keys; return every line that came back."""
    plain = Plain(path)
    main = {"exchange": "upbit", "label": "main", "access_key": SECRETS["access"]}
    main["secret_key"] = SECRETS["secret"]
    say_badly(plain, main)
    plain.good("keys.create", passphrase=SECRETS["vault"])
    plain.good("keys.add", **main, test=True)
    plain.good(
        "keys.add",
        exchange="okx",
        label="main",
        access_key=SECRETS["okx access"],
        secret_key=SECRETS["okx secret"],
        passphrase=SECRETS["okx passphrase"],
    )
    say_badly(plain, main)
    trade(plain)
    for method in ("keys.list", "keys.status", "keys.verify", "keys.rotate", "status", "tree"):
        plain.good(method)
    plain.good("keys.passphrase", passphrase=SECRETS["vault"], new_passphrase=SECRETS["new vault"])
    fail(plain)
    plain.good("keys.unlock", passphrase=SECRETS["new vault"])
    plain.good("keys.remove", key="upbit:main")
    plain.good("keys.restore", key="upbit:main")
    plain.good("keys.lock")
    assert plain.bad("keys.unlock", passphrase=SECRETS["wrong"]) == "UnlockFailed"
    plain.close()
    return plain.heard


def trade(plain: Plain) -> None:
    """Use an account, for what it may do and for what it may not."""
    account = plain.good("account.open", exchange="upbit", label="main")["account"]
    order = {"market": "KRW-BTC", "side": "bid", "price": "5000", "volume": "1"}
    plain.good("account.balances", account=account)
    uuid = plain.good("account.place", account=account, **order)["uuid"]
    plain.good("account.cancel", account=account, uuid=uuid)
    plain.good("account.keys", account=account)
    plain.good("keys.test", key="upbit:main")
    wanted = {"account": account, "method": "POST", "path": "/v1/withdraws/coin"}
    assert plain.bad("account.request", **wanted, params={"currency": "BTC"}) == "KeyRefused"
    path = f"/v1/{SECRETS['secret']}"
    plain.ask("account.request", account=account, method="GET", path=path)


def say_badly(plain: Plain, main: dict[str, str]) -> None:
    """Say secrets in lines that are none, of wrong types, under names that are unknown."""
    secret = SECRETS["secret"]
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "keys.add", "params": main})
    for line in (call[:-3], call.replace('"jsonrpc"', "jsonrpc"), call + "}", f'"{secret}"'):
        assert "error" in plain.say(line.encode())
    wrong: list[dict[str, Any]]
    wrong = [{"secret_key": [secret]}, {"label": secret * 3}, {"label": secret}]
    # Then it is known, whatever became of it, and is not said again.
    wrong += [{secret: 1}, {"expires": secret}, {"uid": secret}]
    for more in wrong:
        assert "error" in plain.ask("keys.add", **{**main, **more})
    for allow in ([f"GET {secret}"], [secret], secret):
        assert "error" in plain.ask("keys.add", **{**main, "label": "x", "allow": allow})
    for method in ("keys.add", f"keys.{secret}", "keys.unlock", "keys.test", "account.open"):
        plain.ask(method, exchange=secret, label=secret, key=secret, passphrase=SECRETS["wrong"])
    plain.ask("keys.test", key=f"upbit:{secret}")
    plain.ask("account.balances", account=f"upbit:{secret}#{secret}")


def fail(plain: Plain) -> None:
    """Let the KeyActor fail with a secret in hand, and look at all that is told of that."""
    plain.good("account.open", exchange="upbit", label="main")
    assert plain.bad("keys.audit", key=SECRETS["secret"]) == "ActorRestarted"
    plain.good("actor", name="keys")
    for method in ("tree", "status"):
        plain.good(method)
    for method in ("events", "state", "statistics"):
        plain.good(method, name="keys")
    plain.good("restart", name="keys")


def metrics(path: Path) -> bytes:
    """Return what a collector of metrics is told."""
    with connect(path) as market:
        return limit_metrics(market.limits()).encode()


# As another user, from inside the folder: past the rights of the folders above it.
STRANGER = """
import os, socket, sys
os.chdir(sys.argv[1])
os.setgid(65534); os.setuid(65534)
def read(path):
    open(path, "rb").read()
def ask(path):
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(10)
        plain.connect(path)
        plain.sendall(b'{"jsonrpc":"2.0","id":1,"method":"keys.status","params":{}}\\n')
        if not plain.recv(1000):
            raise ConnectionError("closed")
try:
    print((read if sys.argv[2] == "read" else ask)(sys.argv[3]) or "in")
except OSError as error:
    print("refused")
"""


def strangers_luck(folder: Path) -> list[str]:
    """Return how another user fares: with the files, with the socket, and with one left open."""
    if os.getuid() != 0:
        return ["refused"] * 3  # Only root can be somebody else.
    (folder / "run").chmod(0o711)
    (folder / "state").chmod(0o711)
    found = [stranger(folder / "state", "read", "keys.sealed")]
    found.append(stranger(folder / "run", "ask", "control.sock"))
    # Somebody was careless with the rights: now the peer's own identity decides.
    (folder / "run" / "control.sock").chmod(0o666)
    return [*found, stranger(folder / "run", "ask", "control.sock")]


def stranger(folder: Path, *what: str) -> str:
    """Return what another user was told."""
    program = [sys.executable, "-c", STRANGER, str(folder), *what]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip()


# ------------------------------------------------------------------ what values show of themselves


def secret_messages() -> list[type[SecretRequest[Any]]]:
    """Return the messages that carry a secret, by their fields."""
    secret = {"access_key", "secret_key", "passphrase", "new_passphrase"}
    return [kind for kind in KEY_METHODS.values() if secret & set(kind.__struct_fields__)]  # type: ignore[misc]


@pytest.mark.parametrize("kind", secret_messages(), ids=lambda kind: kind.__name__)
def test_messages_do_not_show_their_secrets(kind: type[SecretRequest[Any]]) -> None:
    """They are written to logs and crash reports like any other message."""
    assert issubclass(kind, SecretRequest)
    canary = SECRETS["secret"]
    fields = {
        field.name: canary
        for field in msgspec.structs.fields(kind)
        if field.name in {"access_key", "secret_key", "passphrase", "new_passphrase"}
    }
    needed = {"exchange": "upbit", "label": "main"} if kind is AddKey else {}
    message = kind(**needed, **fields)
    for text in (repr(message), str(message), f"{message!r:>5}", repr([message]), repr((message,))):
        assert leaks(text.encode()) == []
        assert "***" in text
    assert leaks(repr(message.__rich_repr__()).encode()) == []


async def test_values_do_not_show_their_secrets() -> None:
    """What holds an open secret is named in tracebacks, debuggers and logs."""
    async with open_keys() as room:
        await room.create()
        await room.add(access_key=SECRETS["access"], secret_key=SECRETS["secret"])
        account = await room.open()
        actor = room.actors[-1]
        session = actor._sessions.get(account, room.clock.now_s())
        vault: Vault = actor._desk.vault
        shown: list[object] = [
            *(session, session.credential, session.cap, session.info, vault, vault._state),
            *(actor, room.accounts.get(account), room.memory.store.kept, actor.statistics()),
            *(vars(actor), vars(actor._sessions), vars(actor._book), vars(actor._desk)),
        ]
        for value in shown:
            assert leaks(f"{value!r} {value!s}".encode()) == [], type(value)
        for line in room.memory.log.lines:
            assert leaks(line) == []


def test_pieces_of_a_vault_do_not_show_theirs() -> None:
    """Nor do those that are made and gone within one call."""
    secret = Secret.of_text(SECRETS["secret"])
    credential = Credential(secret, Secret.of_text("x"), Secret.of_text(SECRETS["access"]))
    kek = Kek.__new__(Kek)
    object.__setattr__(kek, "params", None)
    object.__setattr__(kek, "key", secret)
    for value in (secret, credential, kek, [credential], {"a": kek}):
        assert leaks(f"{value!r} {value!s}".encode()) == []
