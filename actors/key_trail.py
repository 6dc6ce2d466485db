"""`AuditTrail`: every line written, chained, before what it is about is done.

Who writes while others are being written joins the next batch: one write for all of it. Either the
line is there when `write` returns, or `AuditFailed` is raised and nothing may be done.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import outcome
import trio

from actors.errors import AuditFailed
from actors.key_reports import AuditEntry, AuditVerdict
from actors.stores.keys import AuditLog
from actors.vault.audit import chain, check_chain, decode, encode, verify

_log = logging.getLogger("marketd.keys")

_MISSING = (
    "the audit trail ends at line {}, and was at line {} when the vault {}: lines are missing or "
    "were changed. Put the trail back, or begin from what is there with `marketd keys recover`"
)
# Newest lines of which the hash is remembered, and how many are searched for the last change.
_RECENT_MAX = 1_000
_SEARCHED_MAX = 20_000
_CHANGE = re.compile(r"(?:^|, )change ([0-9]{1,18})$")
# Lines that wait for the disk. More than every key can sign in a second at any exchange.
WAITING_MAX = 4_096


# Not equal to another that says the same: each has a writer of its own.
@dataclass(slots=True, eq=False)
class _Line:
    action: str
    key: str
    detail: str
    durable: bool
    result: outcome.Outcome[AuditEntry] | None = None


class AuditTrail:
    """The one writer of an audit log.

    Args:
      log: Where lines go.
      utc_ms: Returns UTC milliseconds.

    Attributes:
      lines: How many this writer has written.
      trouble: Why nothing can be written, as far as is known; empty if it can.
    """

    def __init__(self, log: AuditLog, utc_ms: Callable[[], int]) -> None:
        self._log = log
        self._utc_ms = utc_ms
        self._waiting: list[_Line] = []
        self._turn = trio.Lock()
        self._last: AuditEntry | None = None
        self._recent: OrderedDict[int, str] = OrderedDict()
        self._change = 0
        self._is_long = False
        self.lines = 0
        self.trouble = ""

    @property
    def end(self) -> tuple[int, str]:
        """Return number and hash of the last line; 0 and empty if there is none."""
        return (0, "") if self._last is None else (self._last.number, self._last.hash)

    @property
    def tells_of_vault(self) -> bool:
        """Return whether its lines say that a vault was made."""
        # Nobody signs as often as there are lines searched without having one.
        return self._change > 0 or self._is_long

    async def read_end(self) -> None:
        """Learn where the log ends.

        Raises:
          AuditFailed: It cannot be read, or one of its last lines is none.
        """
        entries = await self.tail(_SEARCHED_MAX)
        self._last = entries[-1] if entries else None
        self._recent = OrderedDict((entry.number, entry.hash) for entry in entries[-_RECENT_MAX:])
        self._change = next((found for found in map(_change, reversed(entries)) if found), 0)
        self._is_long = bool(entries) and entries[0].number > 1

    async def look(self) -> None:
        """Look whether the log is as it was left.

        Raises:
          AuditFailed: It is not, so nothing can be written; `trouble` says so from now on.
        """
        try:
            await self._log.tail(0)
        except AuditFailed as error:
            self._troubled(error)
            raise

    async def begin(self) -> tuple[str, ...]:
        """Go on from where the log ends; put it aside if that makes no sense, and say where it is.

        Raises:
          AuditFailed: It can be neither read nor moved.
        """
        try:
            await self.read_end()
        except AuditFailed:
            places = await self._log.put_aside()
            await self.read_end()
            return places
        return ()

    async def tail(self, count: int) -> tuple[AuditEntry, ...]:
        """Return the newest lines; raises `AuditFailed` if they cannot be read."""
        return tuple(map(decode, await self._log.tail(count)))

    async def listed(self, count: int) -> tuple[AuditEntry, ...]:
        """Return the newest lines, if each follows from the one before.

        Raises:
          AuditFailed: One does not, or they cannot be read; says which.
        """
        # One more, for the first of them to follow from.
        entries = await self.tail(count + 1)
        check_chain(entries)
        for entry in entries:
            self._check_remembered(entry)
        return entries[-count:]

    async def verify(self, mark: tuple[int, str] | None) -> AuditVerdict:
        """Return whether it is whole; errors as in `tail`.

        Args:
          mark: Number and hash of a line that must be there.
        """
        return verify(await self._log.segments(), mark)

    def check(self, number: int, hashed: str, when: str) -> None:
        """Refuse a trail from which lines are missing, as far as can be told from its end.

        Args:
          number: A line that there was; 0 for none.
          hashed: Its hash.
          when: What the vault did then, for the error.

        Raises:
          AuditFailed: It is not there any more, or another.
        """
        last, _ = self.end
        if number > last or self._recent.get(number, hashed) != hashed:
            raise AuditFailed(_MISSING.format(last, number, when))

    def check_change(self, generation: int) -> None:
        """Refuse a vault that is older than what the trail says of it.

        Args:
          generation: Of which change the vault is.

        Raises:
          AuditFailed: The trail knows of a later change.
        """
        if self._change > generation:
            raise AuditFailed(
                f"an old copy of the vault was put back: it is of change {generation}, and the "
                f"audit trail tells of change {self._change}. Put the newer one back, or go on "
                "with this one with `marketd keys recover`"
            )

    async def write(
        self, action: str, key: str = "", detail: str = "", *, durable: bool = True
    ) -> AuditEntry:
        """Write a line, and return it when it is written.

        Args:
          action: What is going to be done.
          key: Of which key.
          detail: More of it; no secret, no amount.
          durable: Whether it must survive the power going away, too.

        Raises:
          AuditFailed: It could not be written.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise AuditFailed(f"{WAITING_MAX} lines wait for the audit trail already")
        line = _Line(action, key, detail, durable)
        self._waiting.append(line)
        try:
            # In turn. Whoever comes first takes along all that wait; these find it done.
            async with self._turn:
                if line.result is None:
                    batch, self._waiting = self._waiting, []
                    # Half a batch must not be left behind by a caller that goes away.
                    with trio.CancelScope(shield=True):
                        await self._write_batch(batch)
        finally:
            # Whoever gives up while others write it has left the list already.
            if line.result is None and line in self._waiting:
                self._waiting.remove(line)
        assert line.result is not None, "written by whoever had the turn"
        return line.result.unwrap()

    async def _write_batch(self, batch: list[_Line]) -> None:
        entries: list[AuditEntry] = []
        last = self._last
        for line in batch:
            last = chain(
                last,
                time_ms=self._utc_ms(),
                action=line.action,
                key=line.key,
                detail=line.detail,
            )
            entries.append(last)
        results: list[outcome.Outcome[AuditEntry]] = [outcome.Value(entry) for entry in entries]
        try:
            durable = any(line.durable for line in batch)
            await self._log.append([encode(entry) for entry in entries], durable=durable)
        except AuditFailed as error:
            self._troubled(error)
            # One error for each: what is raised gets a traceback of its own.
            results = [outcome.Error(AuditFailed(str(error))) for _ in batch]
        else:
            self._last = last
            self.trouble = ""
            self.lines += len(batch)
            self._remember(entries)
            # Told with the next lines there are.
            gone = [_Line("audit.deleted", "", name, durable=False) for name in self._log.deleted()]
            self._waiting.extend(gone)
        for line, result in zip(batch, results, strict=True):
            line.result = result

    def _check_remembered(self, entry: AuditEntry) -> None:
        """Refuse a line that is not the one that was written."""
        if self._recent.get(entry.number, entry.hash) != entry.hash:
            raise AuditFailed(
                f"number {entry.number} of the audit trail, {entry.action!r:.40}: it is not the "
                "line that was written there"
            )

    def _troubled(self, error: AuditFailed) -> None:
        if not self.trouble:
            _log.error("nothing can be signed: %s", error)
        self.trouble = str(error)

    def _remember(self, entries: list[AuditEntry]) -> None:
        self._recent.update((entry.number, entry.hash) for entry in entries)
        for entry in entries:
            self._change = _change(entry) or self._change
        while len(self._recent) > _RECENT_MAX:
            self._recent.popitem(last=False)


def _change(entry: AuditEntry) -> int:
    """Return of which change of the vault a line tells; 0 if of none."""
    found = _CHANGE.search(entry.detail) if entry.action.endswith(".done") else None
    return int(found[1]) if found else 0
