"""Keys out of the files that other programs keep them in.

What a file is, is seen from what it holds, not from its name. Nothing is written, and no value is
ever part of a message. Sealed layouts (Fernet, AES-256-GCM) need the package `cryptography`, which
`pip install "marketd[import]"` brings.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from actors.errors import InvalidRequest
from actors.vault.secret import Secret
from runtime.key_import_ciphers import open_aes_gcm, open_fernet
from runtime.key_import_env import env_accounts, env_pairs
from runtime.key_import_files import parse_json, read_file
from runtime.key_import_names import ELSEWHERE, exchange_of, is_elsewhere
from runtime.key_import_sqlite import SQLITE_MAGIC, candidate_keys

LayoutKind = Literal["fernet", "aes_gcm", "env", "lines", "ccxt"]
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
# Whose a key is, if neither the file says it nor who imports it.
_USUAL_EXCHANGE = "upbit"
# Stands for every exchange that has no keys here.
_ELSEWHERE = "elsewhere"


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
      telegram_id: Who the owner is on Telegram; empty if not told.
      where: Where it was found, for people.
    """

    exchange: str
    label: str
    access_key: Secret
    secret_key: Secret
    passphrase: Secret | None
    uid: str
    telegram_id: str
    where: str


def read_layout(
    path: Path,
    *,
    kind: LayoutKind | None = None,
    second: Path | None = None,
    exchange: str = "",
    pass_over: Callable[[str], object] = lambda _: None,
    refuse: Callable[[str, str], object] = lambda _, __: None,
) -> tuple[FoundKey, ...]:
    """Return the keys in a file.

    Args:
      path: The file with the keys. Of a sealed layout either file may be named first.
      kind: What it must be; anything known if None.
      second: For sealed layouts the SQLite file, or the file, with the key that opens them.
      exchange: For which exchange keys are, where the file does not say. If empty, too, the only
        key of a file is one of upbit, and of several none is guessed.
      pass_over: Told what is left where it is, by name and with the reason, where others are read.
      refuse: Told the name of a key that is not whole, and the reason, where others are read.

    Raises:
      InvalidRequest: There is none, or the file is not what it should be; says where and what,
        never a value.
    """
    if kind is not None and kind not in get_args(LayoutKind):
        raise InvalidRequest(f"kind: wanted one of {', '.join(get_args(LayoutKind))}, was {kind!r}")
    data = read_file(path)
    if second is not None and data.startswith(SQLITE_MAGIC):
        path, second, data = second, path, read_file(second)
    if data.startswith(SQLITE_MAGIC):
        raise InvalidRequest(f"{path}: is a SQLite file; name the JSON file with the keys as well")
    text = _text(path, data)
    found_kind, content = _detect(path, text)
    if kind is not None and kind != found_kind:
        raise InvalidRequest(f"{path}: wanted the layout {kind}, was {found_kind}")
    source = _Source(path, second, exchange)
    keys = tuple(_READERS[found_kind](source, content))
    if not keys and source.refused:
        raise InvalidRequest("; ".join([*(why for _, why in source.refused), *source.passed]))
    if not keys:
        raise InvalidRequest(f"{path}: no keys in it; {'; '.join(source.passed) or _LAYOUTS}")
    for each in source.passed:
        pass_over(each)
    for name, why in source.refused:
        refuse(name, why)
    return keys


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    second: Path | None
    # Empty if nobody has said it.
    exchange: str
    passed: list[str] = dataclasses.field(default_factory=list)
    # Names and reasons.
    refused: list[tuple[str, str]] = dataclasses.field(default_factory=list)


# ---------------------------------------------------------------- what is it


def _detect(path: Path, text: str) -> tuple[LayoutKind, Any]:
    if text.lstrip()[:1] in {"{", "["}:
        content = parse_json(path, text)
        if not isinstance(content, dict):
            raise InvalidRequest(f"{path}: JSON, but no object; {_LAYOUTS}")
        return _detect_json(content), content
    numbered = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    numbered = [(number, line) for number, line in numbered if line and not line.startswith("#")]
    lines = [line for _, line in numbered]
    # No key has a space in it; a letter has. One in base64 may end with `=`.
    if len(lines) in (2, 3) and not any(re.search(r"[\s:{}]|=(?!=*\Z)", line) for line in lines):
        return "lines", lines
    if pairs := env_pairs(path, numbered):
        return "env", pairs
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
        content = parse_json(source.path, opened(content))
    if not isinstance(content, dict):
        raise InvalidRequest(f"{source.path}: sealed JSON, but no object")
    yield from _found(source, _mapped(content, opened))


def _read_env(source: _Source, pairs: list[tuple[str, str]]) -> Iterator[FoundKey]:
    usual = source.exchange or _USUAL_EXCHANGE
    accounts = env_accounts(source.path, pairs, exchange=usual, pass_over=source.passed.append)
    for (exchange, label), account in accounts.items():
        yield from _key(source, exchange, label, account)


def _read_lines(source: _Source, lines: list[str]) -> Iterator[FoundKey]:
    names = ("access_key", "secret_key", "passphrase")
    exchange = source.exchange or _USUAL_EXCHANGE
    yield from _key(source, exchange, "main", dict(zip(names, lines, strict=False)))


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
    accounts = [(name, account, _place(name, account)) for name, account in _accounts(content, "")]
    usual, hint = source.exchange, "; --exchange says it"
    if len(accounts) == 1:
        usual = usual or _USUAL_EXCHANGE
    elif any(exchange for _, _, (exchange, _) in accounts):
        # Who says nothing among others who do may be of any exchange.
        usual = hint = ""
    names: dict[tuple[str, str], str] = {}
    for name, account, (said, label) in accounts:
        exchange = said or usual
        if exchange == _ELSEWHERE:
            source.passed.append(f"{name or 'the key'}: {ELSEWHERE}")
        elif not exchange:
            source.passed.append(f"{name}: does not say of which exchange it is{hint}")
        elif (same := names.setdefault((exchange, label), name)) != name:
            raise InvalidRequest(
                f"{source.path}: {same} and {name} would both be called {exchange}:{label}; "
                "give one another name, or a file of its own"
            )
        else:
            yield from _key(source, exchange, label, account)


def _place(name: str, account: Mapping[str, Any]) -> tuple[str, str]:
    """Return exchange and label of an account; no exchange if nothing says it."""
    exchange = ""
    labels: list[str] = []
    for word in name.split(".") if name else ():
        if is_elsewhere(word):
            exchange = _ELSEWHERE
        elif ours := exchange_of(word):
            exchange = exchange or ours[0]
            labels += ours[1:] if ours[1] else ()
        else:
            labels.append(word)
    fields = _fields(account)
    # In ccxt it is the exchange, and elsewhere a number or anything else.
    if isinstance(called := fields.get("id"), str):
        exchange = _said(called) or exchange
    for field in ("exchange", "exchangeid"):
        if isinstance(said := fields.get(field), str) and said:
            exchange = _said(said) or _ELSEWHERE
    # Some write `name` for it, and some write anything else there.
    if not exchange and isinstance(called := fields.get("name"), str):
        exchange = _said(called)
    return exchange, "-".join(labels) or "main"


def _said(word: str) -> str:
    """Return which exchange a word means; empty if none that is known."""
    ours = exchange_of(word)
    return ours[0] if ours else _ELSEWHERE if is_elsewhere(word) else ""


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
                # What is said above is said of all that is below.
                said = {each: content.get(each) for each in ("exchange", "id")}
                above: dict[str, Any] = {
                    each: what for each, what in said.items() if isinstance(what, str)
                }
                yield from _accounts({**above, **value}, f"{name}.{key}" if name else key)


def _fields(account: Mapping[str, Any]) -> dict[str, Any]:
    return {re.sub("[_-]", "", str(name)).lower(): value for name, value in account.items()}


def _key(
    source: _Source, exchange: str, label: str, account: Mapping[str, Any]
) -> Iterator[FoundKey]:
    try:
        found = _whole(source, exchange, label, _fields(account))
    except InvalidRequest as error:
        # It is about this key; the others may be taken.
        source.refused.append((f"{exchange}:{label}", str(error)))
    else:
        yield from () if found is None else (found,)


def _whole(
    source: _Source, exchange: str, label: str, fields: Mapping[str, Any]
) -> FoundKey | None:
    where = f"{source.path} ({exchange}:{label})"
    access = _secret(fields, _ACCESS, "access key", where)
    secret = _secret(fields, _SECRET, "secret key", where)
    if access is None and secret is None:
        return None
    if access is None or secret is None:
        missing = "access key" if access is None else "secret key"
        raise InvalidRequest(f"{where}: wanted both keys, but the {missing} is missing or empty")
    return FoundKey(
        exchange=exchange,
        label=label,
        access_key=access,
        secret_key=secret,
        passphrase=_secret(fields, _PHRASE, "passphrase", where),
        uid=_owner(fields, "uid"),
        telegram_id=_owner(fields, "telegramid"),
        where=where,
    )


def _owner(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return str(value) if isinstance(value, str | int) else ""


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


# ---------------------------------------------------------------- files


def _opening_keys(source: _Source) -> list[tuple[str, bytes]]:
    """Return what may open a sealed layout, with where it was found."""
    second = source.second
    if second is None:
        raise InvalidRequest(
            f"{source.path}: is sealed; name the file with its key as well (SQLite, or the key "
            "itself)"
        )
    data = read_file(second)
    if data.startswith(SQLITE_MAGIC):
        return candidate_keys(second)
    return [(str(second), data.strip() if len(data) != 32 else data)]  # noqa: PLR2004 - a raw key


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path}: is no text in UTF-8; {_LAYOUTS}") from None
