"""The audit trail as text: each line is chained to the one before by a hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import msgspec

from actors.errors import AuditFailed
from actors.key_reports import AuditEntry, AuditVerdict

LINE_BYTES_MAX = 4_096
_DETAIL_MAX = 500

_decoder = msgspec.json.Decoder(AuditEntry)
_encode = msgspec.json.Encoder().encode


def chain(
    previous: AuditEntry | None, *, time_ms: int, action: str, key: str, detail: str
) -> AuditEntry:
    """Return the line that follows `previous`.

    Args:
      previous: The line before; None for the first.
      time_ms: When, UTC milliseconds.
      action: What is going to be done.
      key: Of which key.
      detail: More of it; cut to 500 characters.
    """
    entry = AuditEntry(
        number=1 if previous is None else previous.number + 1,
        time_ms=time_ms,
        action=action,
        key=key,
        detail=detail[:_DETAIL_MAX],
        before="" if previous is None else previous.hash,
        hash="",
    )
    return msgspec.structs.replace(entry, hash=_hash(entry))


def encode(entry: AuditEntry) -> bytes:
    """Return the line, without its newline."""
    return _encode(entry)


def decode(line: bytes) -> AuditEntry:
    """Return what a line says.

    Raises:
      AuditFailed: It is none.
    """
    try:
        entry = _decoder.decode(line)
        whole = _encode(entry) == line
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise AuditFailed(f"a line of the audit trail is none: {error}") from error
    if not whole:
        # The hash is over values: blanks and unknown names would be nowhere in it.
        raise AuditFailed("a line of the audit trail is none: it is not written as we write it")
    return entry


def check_chain(entries: Sequence[AuditEntry]) -> None:
    """Refuse lines that do not follow from each other.

    Args:
      entries: Lines as they stand there, oldest first; older ones may come before them.

    Raises:
      AuditFailed: Names the first that does not, and how.
    """
    previous: AuditEntry | None = None
    for entry in entries:
        problem = _problem(previous, entry)
        if problem:
            raise AuditFailed(
                f"number {entry.number} of the audit trail, {entry.action!r:.40}: {problem}; "
                "`marketd keys audit --verify` looks at all of it"
            )
        previous = entry


def verify(
    segments: Sequence[tuple[str, bytes]], mark: tuple[int, str] | None = None
) -> AuditVerdict:
    """Return whether every line follows from the one before.

    Args:
      segments: Everything there is, oldest first, each with its name.
      mark: Number and hash of a line that must be there, from the vault; 0 for none.
    """
    first = lines = 0
    previous: AuditEntry | None = None
    marked = None
    for name, text in segments:
        for place, line in enumerate(text.removesuffix(b"\n").split(b"\n") if text else (), 1):
            try:
                entry = decode(line)
                problem = _problem(previous, entry)
            except AuditFailed as error:
                problem = str(error)
            if problem:
                return _broken(lines, first, f"{name}, line {place}: {problem}")
            if not first and entry.number != 1 and _is_first_part(name):
                return _broken(0, 0, f"{name}, line 1: wanted number 1, was {entry.number}")
            first = first or entry.number
            lines += 1
            previous = entry
            if mark is not None and entry.number == mark[0]:
                marked = entry.hash
    if mark is not None and mark[0] >= max(first, 1) and marked != mark[1]:
        return _broken(
            lines,
            first,
            f"number {mark[0]}, at which the vault was last changed, is missing or other",
        )
    return AuditVerdict(whole=True, lines=lines, first=first, problem="")


def _is_first_part(name: str) -> bool:
    """Return whether no older part can have been let go before this one."""
    numbers = re.findall(r"[0-9]+", name)
    return not numbers or int(numbers[-1]) == 1


def _broken(lines: int, first: int, problem: str) -> AuditVerdict:
    return AuditVerdict(whole=False, lines=lines, first=first, problem=problem)


def _problem(previous: AuditEntry | None, entry: AuditEntry) -> str:
    """Return what is wrong with a line; empty if nothing is."""
    if entry.hash != _hash(entry):
        return "it was changed"
    if previous is None:
        # Older lines may have been let go on purpose; then the first is not number 1.
        return "it has nothing before it, and says so otherwise" if _lies(entry) else ""
    if entry.number != previous.number + 1:
        return f"wanted number {previous.number + 1}, was {entry.number}"
    return "" if entry.before == previous.hash else "it does not follow from the line before"


def _lies(entry: AuditEntry) -> bool:
    return (entry.number == 1) != (entry.before == "")


def _hash(entry: AuditEntry) -> str:
    return hashlib.sha256(_encode(msgspec.structs.replace(entry, hash=""))).hexdigest()
