"""What the KeyActor tells: about keys, never a key."""

from __future__ import annotations

from typing import Literal

import msgspec

from actors.vault.values import UnlockKind

VaultState = Literal["none", "sealed", "open", "damaged"]
KeyState = Literal["active", "expired", "removed"]


class KeyReport(msgspec.Struct, frozen=True, kw_only=True):
    """One key, masked.

    Attributes:
      name: `exchange:label`, by which it is asked for.
      exchange: The exchange it is for.
      label: What its owner calls it.
      hint: The first 4 characters of the access key.
      host: The only host it may be used at.
      state: `active`, `expired` or `removed`.
      created_ms: When it was added, UTC milliseconds.
      expires_ms: When the exchange ends it; None if not known.
      last_used_ms: When it last signed; None if it never did.
      removed_ms: When it was removed; None if it was not.
      allow: What it may sign.
      requests_per_minute: Most signatures in any minute; None for no bound.
      uid: Who the owner is at the exchange.
      telegram_id: Who the owner is on Telegram.
      account: Whether an account client of it is open.
    """

    name: str
    exchange: str
    label: str
    hint: str
    host: str
    state: KeyState
    created_ms: int
    expires_ms: int | None
    last_used_ms: int | None
    removed_ms: int | None
    allow: tuple[str, ...]
    requests_per_minute: int | None
    uid: str
    telegram_id: str
    account: bool


class KeyChange(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the keys, or would become of them.

    Attributes:
      done: Whether it was done; False for a dry run.
      what: What was changed, or would be, in a sentence.
      keys: The keys it is about, as they are afterwards, or would be.
    """

    done: bool
    what: str
    keys: tuple[KeyReport, ...] = ()


class KeyTest(msgspec.Struct, frozen=True, kw_only=True):
    """What the exchange says of a key.

    Attributes:
      name: The key.
      works: Whether it could read what it should.
      currencies: Of which there is something; None if that could not be read. Amounts are not told
        here.
      permissions: What was tried, and how that went: `ok`, or the exchange's word for why not.
      expires_ms: When the exchange ends it; None if it did not say.
      problems: What is wrong, in sentences.
    """

    name: str
    works: bool
    currencies: tuple[str, ...] | None
    permissions: dict[str, str]
    expires_ms: int | None
    problems: tuple[str, ...]


class VaultStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the vault is.

    Attributes:
      state: `none` before the first key, or where the vault is gone; `sealed`, `open`, or
        `damaged`.
      unlock: How it is unlocked: `passphrase`, `key_file` or `credential`.
      reason: Why it is as it is, and what to do about it, in a sentence.
      keys: How many keys there are, removed ones not counted; None while it is sealed.
      accounts: How many account clients are open.
      retry_after_s: How long the next try to unlock is refused, in seconds; 0 if it is not.
      generation: How often it was changed; None while that is not known.
      signatures: How many were given since start.
      refused: How many were refused since start.
      places: Where its parts are kept.
    """

    state: VaultState
    unlock: UnlockKind
    reason: str
    keys: int | None
    accounts: int
    retry_after_s: float
    generation: int | None
    signatures: int
    refused: int
    places: tuple[str, ...]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit trail.

    Attributes:
      number: Its place, from 1.
      time_ms: When, UTC milliseconds.
      action: What was going to be done, in one word; with `.done` or `.failed` what became of it.
      key: Of which key; empty if of none.
      detail: Method and path, or what was changed; never a secret, nor an amount.
      before: The hash of the line before; empty for the first.
      hash: SHA-256 over this line without it, hexadecimal.
    """

    number: int
    time_ms: int
    action: str
    key: str
    detail: str
    before: str
    hash: str


class AuditVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the audit trail is whole.

    Attributes:
      whole: Whether every line follows from the one before, up to where the vault says it was.
      lines: How many were looked at.
      first: Number of the first of them; above 1 if older ones were let go on purpose.
      problem: What is wrong and where; empty if nothing is.
    """

    whole: bool
    lines: int
    first: int
    problem: str


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An open account client.

    Attributes:
      account: Names it in the calls of the account: `exchange:label#number`.
      exchange: The exchange.
      key: The key, `exchange:label`.
      idle_s: It ends when it was not used for so long, in seconds.
      ends_in_s: It ends in any case after so long, in seconds.
      holder: Whom the exchange counts its requests for.
    """

    account: str
    exchange: str
    key: str
    idle_s: float
    ends_in_s: float
    holder: str


class OpenedAccount(msgspec.Struct, frozen=True):
    """What everybody may know of an account client; published by the KeyActor.

    Attributes:
      holder: Whom the exchange counts its requests for.
      access_sha256: Digest of the access key, hexadecimal: tells one's own key from others.
      closed: Why it is not open any more; empty if it is.
    """

    holder: str
    access_sha256: str
    closed: str = ""


class KeyStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the KeyActor has done since it was started.

    Attributes:
      state: How the vault is.
      keys: Keys that are not removed.
      accounts: Account clients that are open.
      opened: Account clients opened, each with one decryption.
      expired: Account clients that came to their end by time.
      signatures: Signatures given.
      refused: Signatures refused.
      unlock_failures: Tries to unlock that failed.
      audit_lines: Lines written to the audit trail.
    """

    state: VaultState
    keys: int
    accounts: int
    opened: int
    expired: int
    signatures: int
    refused: int
    unlock_failures: int
    audit_lines: int


class AccountStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What an AccountActor has done since it was started.

    Attributes:
      requests: Calls that were answered by the exchange.
      failures: Calls that were not, or were refused.
      in_hand: Calls that are under way.
    """

    requests: int
    failures: int
    in_hand: int
