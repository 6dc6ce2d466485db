"""Keys out of the files that other programs keep them in.

What a file is, is seen from what it holds, not from its name. Nothing is written, and no value is
ever part of a message. Sealed layouts (Fernet, AES-256-GCM) need the package `cryptography`, which
`pip install "marketd[import]"` brings.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from actors.errors import InvalidRequest
from actors.vault.secret import Secret
from runtime.key_import_ciphers import open_aes_gcm, open_fernet
from runtime.key_import_sqlite import SQLITE_MAGIC, candidate_keys

LayoutKind = Literal["fernet", "aes_gcm", "env", "lines", "ccxt"]
FILE_BYTES_MAX = 1024 * 1024
KEY_CHARS_MAX = 1_024
_LAYOUTS = (
    "wanted one of: fernet (JSON with access_key and secret_key, and the SQLite file or the file "
    "with its key), aes_gcm (JSON with nonce and ciphertext, and the same), env (NAME=value), "
    "lines (access key, then secret key), ccxt (JSON with apiKey and secret)"
)

# What a field may be called, in lower case without `_` and `-`. Source: ccxt's `Exchange` class
# (apiKey, secret, password, uid) and the examples of pyupbit and python-okx, read 2026-11-21.
_ACCESS = ("accesskey", "apikey", "access", "key", "openapiaccesskey", "apiaccesskey")
_SECRET = ("secretkey", "apisecret", "secret", "openapisecretkey", "apisecretkey")
_PHRASE = ("passphrase", "apipassphrase", "password")
_EXCHANGES = ("upbit", "okx")
_ALIASES = {"okex": "okx"}
# Files of other programs have keys of other exchanges, too; they are passed over.
_ELSEWHERE = frozenset(
    (
        *("binance", "bitget", "bithumb", "bitmex", "bybit", "coinbase", "coinone", "gate"),
        *("gateio", "htx", "huobi", "korbit", "kraken", "kucoin", "mexc"),
    )
)
_ENV_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*\Z")


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key that was found. Its `repr` shows no secret.

    Attributes:
      exchange: The exchange it is for.
      label: What the file calls it; `main` if it does not.
      access_key: The public half.
      secret_key: The secret half.
      passphrase: The third secret; None where there is none.
      uid: Who the owner is at the exchange; empty if not told.
      where: Where it was found, for people.
    """

    exchange: str
    label: str
    access_key: Secret
    secret_key: Secret
    passphrase: Secret | None
    uid: str
    where: str


def read_layout(
    path: Path,
    *,
    kind: LayoutKind | None = None,
    second: Path | None = None,
    exchange: str = "upbit",
) -> tuple[FoundKey, ...]:
    """Return the keys in a file.

    Args:
      path: The file with the keys. Of a sealed layout either file may be named first.
      kind: What it must be; anything known if None.
      second: For sealed layouts the SQLite file, or the file, with the key that opens them.
      exchange: For which exchange keys are, where the file does not say.

    Raises:
      InvalidRequest: There is none, or the file is not what it should be; says where and what,
        never a value.
    """
    if kind is not None and kind not in get_args(LayoutKind):
        raise InvalidRequest(f"kind: wanted one of {', '.join(get_args(LayoutKind))}, was {kind!r}")
    data = _read(path)
    if second is not None and data.startswith(SQLITE_MAGIC):
        path, second, data = second, path, _read(second)
    if data.startswith(SQLITE_MAGIC):
        raise InvalidRequest(f"{path}: is a SQLite file; name the JSON file with the keys as well")
    text = _text(path, data)
    found_kind, content = _detect(path, text)
    if kind is not None and kind != found_kind:
        raise InvalidRequest(f"{path}: wanted the layout {kind}, was {found_kind}")
    read = _READERS[found_kind]
    keys = tuple(read(_Source(path, second, exchange), content))
    if not keys:
        raise InvalidRequest(f"{path}: no keys in it; {_LAYOUTS}")
    return keys


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    second: Path | None
    exchange: str


# ---------------------------------------------------------------- what is it


def _detect(path: Path, text: str) -> tuple[LayoutKind, Any]:
    if text.lstrip()[:1] in {"{", "["}:
        content = _parse(path, text)
        if not isinstance(content, dict):
            raise InvalidRequest(f"{path}: JSON, but no object; {_LAYOUTS}")
        return _detect_json(content), content
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    # No key has a space in it; a letter has. One in base64 may end with `=`.
    if len(lines) in (2, 3) and not any(re.search(r"[\s:{}]|=(?!=*\Z)", line) for line in lines):
        return "lines", lines
    if lines and all(_ENV_LINE.match(line) for line in lines):
        return "env", lines
    raise InvalidRequest(f"{path}: no layout that is known; {_LAYOUTS}")


def _detect_json(content: dict[str, Any]) -> LayoutKind:
    fields = _fields(content)
    if _sealed_part(fields) is not None:
        return "aes_gcm"
    values = [value for _, account in _accounts(content, "") for value in account.values()]
    values = values or list(content.values())
    if any(isinstance(value, dict) and _sealed_part(_fields(value)) for value in values):
        return "aes_gcm"
    # Every Fernet token begins with version 0x80 and four bytes of time that are zero until 2106.
    if any(isinstance(value, str) and value.startswith("gAAAA") for value in values):
        return "fernet"
    return "ccxt"


def _sealed_part(fields: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return nonce, ciphertext and tag of a sealed object; None if it is none."""
    nonce = fields.get("nonce") or fields.get("iv")
    sealed = fields.get("ciphertext") or fields.get("data") or fields.get("encrypted")
    tag = fields.get("tag") or fields.get("authtag") or ""
    if isinstance(nonce, str) and isinstance(sealed, str) and isinstance(tag, str):
        return nonce, sealed, tag
    return None


# ---------------------------------------------------------------- reading each


def _read_fernet(source: _Source, content: dict[str, Any]) -> Iterator[FoundKey]:
    keys = _opening_keys(source)

    def opened(value: Any) -> Any:
        sealed = isinstance(value, str) and value.startswith("gAAAA")
        return open_fernet(value, keys, source.path) if sealed else value

    yield from _found(source, _mapped(content, opened))


def _read_aes_gcm(source: _Source, content: dict[str, Any]) -> Iterator[FoundKey]:
    keys = _opening_keys(source)

    def opened(value: Any) -> Any:
        part = _sealed_part(_fields(value)) if isinstance(value, dict) else None
        return open_aes_gcm(*part, keys, source.path) if part else value

    if _sealed_part(_fields(content)):
        content = _parse(source.path, opened(content))
    if not isinstance(content, dict):
        raise InvalidRequest(f"{source.path}: sealed JSON, but no object")
    yield from _found(source, _mapped(content, opened))


def _read_env(source: _Source, lines: list[str]) -> Iterator[FoundKey]:
    accounts: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines:
        match = _ENV_LINE.match(line)
        assert match, "the layout is one of such lines"
        name, value = match[1].lower(), _unquoted(match[2])
        exchange = next((each for each in (*_EXCHANGES, *_ALIASES) if each in name), "")
        field = next((each for each in _ENV_FIELDS if f"_{each}_" in f"_{name}_"), "")
        rest = name.replace(field, "", 1).replace(exchange, "", 1).replace("__", "_").strip("_")
        # `UPBIT_ACCESS_KEY_2` and the like: what is neither exchange nor field is the label.
        if field and (exchange or not rest):
            exchange = _ALIASES.get(exchange, exchange) or source.exchange
            accounts.setdefault((exchange, rest or "main"), {})[field] = value
    for (exchange, label), account in accounts.items():
        yield from _key(source, exchange, label, account)


_ENV_FIELDS = (
    *("open_api_access_key", "open_api_secret_key", "api_access_key", "api_secret_key"),
    *("access_key", "secret_key", "api_passphrase", "passphrase", "api_secret", "api_key"),
    *("secret", "access", "password", "uid"),
)


def _read_lines(source: _Source, lines: list[str]) -> Iterator[FoundKey]:
    names = ("access_key", "secret_key", "passphrase")
    yield from _key(source, source.exchange, "main", dict(zip(names, lines, strict=False)))


def _read_ccxt(source: _Source, content: dict[str, Any]) -> Iterator[FoundKey]:
    yield from _found(source, content)


_READERS: dict[LayoutKind, Callable[[_Source, Any], Iterator[FoundKey]]] = {
    "fernet": _read_fernet,
    "aes_gcm": _read_aes_gcm,
    "env": _read_env,
    "lines": _read_lines,
    "ccxt": _read_ccxt,
}


# ---------------------------------------------------------------- fields


def _found(source: _Source, content: dict[str, Any]) -> Iterator[FoundKey]:
    for name, account in _accounts(content, ""):
        words = name.split(".") if name else []
        known = [word.lower() for word in words]
        if _ELSEWHERE.intersection(known):
            continue
        exchange = next((_ALIASES.get(each, each) for each in known if _is_exchange(each)), "")
        others = [word for word in words if not _is_exchange(word.lower())]
        yield from _key(source, exchange or source.exchange, "-".join(others) or "main", account)


def _is_exchange(word: str) -> bool:
    return word in _EXCHANGES or word in _ALIASES


def _accounts(content: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every object that has an access or a secret key, with its dotted name."""
    fields = _fields(content)
    if any(fields.get(each) for each in (*_ACCESS, *_SECRET)):
        yield name, content
        return
    # Three levels: exchanges, exchange, account.
    if name.count(".") < 2:  # noqa: PLR2004
        for key, value in content.items():
            if isinstance(value, dict):
                yield from _accounts(value, f"{name}.{key}" if name else key)


def _fields(account: Mapping[str, Any]) -> dict[str, Any]:
    return {re.sub("[_-]", "", str(name)).lower(): value for name, value in account.items()}


def _key(
    source: _Source, exchange: str, label: str, account: Mapping[str, Any]
) -> Iterator[FoundKey]:
    where = f"{source.path} ({exchange}:{label})"
    fields = _fields(account)
    access = _secret(fields, _ACCESS, "access key", where)
    secret = _secret(fields, _SECRET, "secret key", where)
    if access is None and secret is None:
        return
    if access is None or secret is None:
        missing = "access key" if access is None else "secret key"
        raise InvalidRequest(f"{where}: wanted both keys, but the {missing} is missing or empty")
    uid = fields.get("uid")
    yield FoundKey(
        exchange=exchange,
        label=label,
        access_key=access,
        secret_key=secret,
        passphrase=_secret(fields, _PHRASE, "passphrase", where),
        uid=str(uid) if isinstance(uid, str | int) else "",
        where=where,
    )


def _secret(
    fields: Mapping[str, Any], names: tuple[str, ...], what: str, where: str
) -> Secret | None:
    value = next((fields[name] for name in names if fields.get(name)), None)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidRequest(f"{where}: the {what} must be text, was {type(value).__name__}")
    if len(value) > KEY_CHARS_MAX:
        raise InvalidRequest(f"{where}: the {what} has more than {KEY_CHARS_MAX} characters")
    return Secret.of_text(value)


def _mapped(content: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the object with every value changed that `change` knows, three levels deep."""

    def below(value: Any, depth: int) -> Any:
        changed = change(value)
        if changed is not value or not isinstance(value, dict) or not depth:
            return changed
        return {name: below(each, depth - 1) for name, each in value.items()}

    return {name: below(value, 3) for name, value in content.items()}


def _unquoted(value: str) -> str:
    quote = value[:1]
    if quote in {'"', "'"} and (end := value.find(quote, 1)) > 0:
        return value[1:end]
    return re.split(r"\s+#", value, maxsplit=1)[0]


# ---------------------------------------------------------------- files


def _opening_keys(source: _Source) -> list[tuple[str, bytes]]:
    """Return what may open a sealed layout, with where it was found."""
    second = source.second
    if second is None:
        raise InvalidRequest(
            f"{source.path}: is sealed; name the file with its key as well (SQLite, or the key "
            "itself)"
        )
    data = _read(second)
    if data.startswith(SQLITE_MAGIC):
        return candidate_keys(second)
    return [(str(second), data.strip() if len(data) != 32 else data)]  # noqa: PLR2004 - a raw key


def _read(path: Path) -> bytes:
    try:
        # Before it is opened: a pipe would be waited for.
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidRequest(f"{path}: is no ordinary file")
        with path.open("rb") as file:
            # Of a database only what it is: SQLite reads it by itself.
            if (magic := file.read(len(SQLITE_MAGIC))) == SQLITE_MAGIC:
                return magic
            data = magic + file.read(FILE_BYTES_MAX)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path}: cannot be read: {error}") from error
    if len(data) > FILE_BYTES_MAX:
        raise InvalidRequest(f"{path}: at most {FILE_BYTES_MAX} bytes, were more")
    return data


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path}: is no text in UTF-8; {_LAYOUTS}") from None


def _parse(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        # The error would carry the text.
        raise InvalidRequest(f"{path}: begins like JSON and is none") from None
