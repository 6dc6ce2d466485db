"""The chain of the audit trail: whatever is changed, left out or added is found, and where."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import AuditFailed
from actors.key_reports import AuditEntry
from actors.vault.audit import chain, decode, encode, verify

texts = st.text(max_size=40)


def made_chain(count: int) -> list[AuditEntry]:
    """Return so many entries that follow each other."""
    entries: list[AuditEntry] = []
    for number in range(count):
        entries.append(
            chain(
                entries[-1] if entries else None,
                time_ms=number,
                action="sign",
                key="upbit:main",
                detail=f"GET /v1/accounts {number}",
            )
        )
    return entries


def text_of(entries: list[AuditEntry]) -> bytes:
    """Return the lines as they stand in a file."""
    return b"".join(encode(entry) + b"\n" for entry in entries)


@given(st.lists(st.tuples(st.integers(0, 2**53), texts, texts, texts), max_size=8))
def test_what_was_chained_is_whole_and_reads_back(rows: list[tuple[int, str, str, str]]) -> None:
    """Whatever stands in a line: newlines, quotes, half a surrogate's neighbours."""
    entries: list[AuditEntry] = []
    for time_ms, action, key, detail in rows:
        last = entries[-1] if entries else None
        entries.append(chain(last, time_ms=time_ms, action=action, key=key, detail=detail))

    assert [decode(encode(entry)) for entry in entries] == entries
    assert all(b"\n" not in encode(entry) for entry in entries)
    verdict = verify([("audit.jsonl", text_of(entries))])
    assert (verdict.whole, verdict.lines) == (True, len(entries)), verdict.problem


def test_every_flipped_byte_is_found() -> None:
    """One line is enough to hide a signature in."""
    whole = text_of(made_chain(3))
    for place in range(len(whole)):
        for mask in (1, 7, 0x20):
            spoilt = bytearray(whole)
            spoilt[place] ^= mask
            assert not verify([("audit.jsonl", bytes(spoilt))]).whole, place


@pytest.mark.parametrize("gone", range(4))
def test_a_line_that_is_left_out_is_found_by_its_number(gone: int) -> None:
    """The oldest, too; for the newest there is the mark."""
    entries = made_chain(5)
    mark = (entries[-1].number, entries[-1].hash)
    del entries[gone]
    verdict = verify([("audit.jsonl", text_of(entries))], mark)
    assert (
        verdict.problem == f"audit.jsonl, line {gone + 1}: wanted number {gone + 1}, was {gone + 2}"
    )


def test_a_part_that_was_let_go_is_not_missing() -> None:
    """Older parts go at the bound; which part comes first says whether one may have gone."""
    entries = made_chain(5)[2:]
    parts = [("audit-000002.jsonl", text_of(entries[:2])), ("audit.jsonl", text_of(entries[2:]))]
    verdict = verify(parts, (entries[-1].number, entries[-1].hash))

    assert (verdict.whole, verdict.first, verdict.lines) == (True, 3, 3)


def test_lines_missing_at_the_end_are_found_by_the_mark() -> None:
    """Cutting the end off is how one hides what was done last."""
    entries = made_chain(5)
    mark = (entries[4].number, entries[4].hash)
    for left in range(5):
        verdict = verify([("audit.jsonl", text_of(entries[:left]))], mark)
        assert not verdict.whole
        assert "number 5, at which the vault was last changed, is missing" in verdict.problem


def test_a_trail_written_anew_is_found_by_the_mark() -> None:
    """Whoever can write the file can make a chain, too; but not the vault's mark."""
    ours = made_chain(3)
    theirs = [chain(None, time_ms=9, action="x", key="", detail="")]
    for _ in range(2):
        theirs.append(chain(theirs[-1], time_ms=9, action="x", key="", detail=""))
    mark = (ours[1].number, ours[1].hash)

    assert verify([("audit.jsonl", text_of(ours))], mark).whole
    assert verify([("audit.jsonl", text_of(theirs))]).whole
    assert not verify([("audit.jsonl", text_of(theirs))], mark).whole


def test_a_bad_line_is_named_with_its_part() -> None:
    """The parts may be ten, of 16 MB each."""
    entries = made_chain(6)
    entries[4] = msgspec.structs.replace(entries[4], detail="GET /v1/harmless")
    parts = [("audit-000001.jsonl", text_of(entries[:3])), ("audit.jsonl", text_of(entries[3:]))]

    verdict = verify(parts)
    assert verdict.problem == "audit.jsonl, line 2: it was changed"
    assert verdict.lines == 4


def test_parts_that_were_let_go_are_no_damage_and_are_told() -> None:
    """The trail is bounded; whoever looks must see where it begins."""
    entries = made_chain(6)
    verdict = verify([("audit-000002.jsonl", text_of(entries[2:]))], (1, "of a line that is gone"))
    assert (verdict.whole, verdict.lines, verdict.first) == (True, 4, 3)


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"\xff", b'{"number":"1"}', b"1" * 5_000])
def test_what_is_no_line_is_told(line: bytes) -> None:
    """Anything may stand in a file."""
    with pytest.raises(AuditFailed, match="is none"):
        decode(line)
    assert not verify([("audit.jsonl", text_of(made_chain(2)) + line + b"\n")]).whole
