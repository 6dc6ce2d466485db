"""What is kept of spent limits and bans, so that a new process does not begin with a clear record.

Values and plain functions; who reads and writes them is a `LimitKeeper`. All times are ages and
rests, not moments, because the moments of one process mean nothing to the next. How much time has
passed in between is the one thing that must be judged, by `age`.
"""

from __future__ import annotations

from typing import Annotated, Protocol

import msgspec
from msgspec import Meta, Struct

from actors.pauses import PAUSE_S_MAX

# The key of the pause of the whole address; no group has this name.
EVERYTHING = "*"

# Larger figures than these are mistakes, or somebody's mischief.
WEIGHT_MAX = 1_000_000
AGE_S_MAX = 366 * 86_400.0
_STRIKES_MAX = 1_000_000
_CLOCK_S_MAX = 1e10
_CLOCK_MS_MAX = 10_000_000_000_000

# A window of 6,000 requests is 150 kB; what is larger than this is not ours.
BYTES_MAX = 8_000_000

_Age = Annotated[float, Meta(ge=0, le=AGE_S_MAX)]
_Period = Annotated[float, Meta(gt=0, le=AGE_S_MAX)]
_Name = Annotated[str, Meta(min_length=1, max_length=500)]


class KeptSpend(Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """One request that counts, or may count, in the windows of its group.

    Attributes:
      weight: How much it counts for.
      age_s: How long ago its answer came, in seconds; its windows run from then. None if it was
        under way, so that it may have reached the exchange until its process ended.
      period_s: The one window it counts in, by its length in seconds; None for all of them.
    """

    weight: Annotated[int, Meta(ge=1, le=WEIGHT_MAX)]
    age_s: _Age | None
    period_s: _Period | None = None


class KeptGroup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One group of one holder.

    Attributes:
      spends: What counts in it.
      paused_left_s: How long it is still paused, in seconds; 0 if it is not.
      strikes: How many refusals there were in a row.
    """

    spends: tuple[KeptSpend, ...] = ()
    paused_left_s: Annotated[float, Meta(ge=0, le=PAUSE_S_MAX)] = 0.0
    strikes: Annotated[int, Meta(ge=0, le=_STRIKES_MAX)] = 0


class KeptLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of one exchange.

    Attributes:
      saved_ms: When it was so, on the wall clock, in UTC milliseconds.
      saved_s: The same moment on the monotonic clock of whoever holds this value; a keeper
        translates it from process to process. It may lie in the future if the machine has been
        started anew since: then it means nothing.
      clean: Whether nothing was sent after that. If not, the last requests may be missing.
      groups: By `group` or `group/holder`; the pause of the whole address is under `*`.
    """

    saved_ms: Annotated[int, Meta(ge=0, le=_CLOCK_MS_MAX)]
    saved_s: Annotated[float, Meta(ge=-_CLOCK_S_MAX, le=_CLOCK_S_MAX)]
    clean: bool
    groups: dict[_Name, KeptGroup]


class LimitKeeper(Protocol):
    """Keeps the limits of one exchange from one process to the next.

    Neither call fails for want of room or rights: it says so in the log, and the limits go on.
    """

    def load(self) -> KeptLimits | None:
        """Return what the last process left, as it was then.

        It is asked once, before anything is saved. What is loaded counts as used up: should this
        process never manage to save, the next one is told that everything is spent.

        Returns:
          None if nothing is known, or nothing that makes sense: everything counts as spent.
        """

    async def save(self, kept: KeptLimits, *, durable: bool) -> None:
        """Replace what is kept, as a whole, or leave it as it was.

        Args:
          kept: What to keep, as it is now.
          durable: Whether it must outlive a power cut at once, as a ban must. A pause that is not
            over always does.
        """


def age(kept: KeptLimits, *, now_s: float, utc_ms: int) -> KeptLimits:
    """Return what is left of `kept` now.

    Two clocks say how long ago it was saved, and each may be wrong: the wall clock can have been
    set, and the monotonic one begins anew with the machine. So the shorter time is believed, and
    none below zero. Within one run of the machine the monotonic clock is right, therefore nothing
    ends early, whatever is done to the wall clock. Set back, or begun anew, a clock lets things be
    held longer than they would have been, but never longer than was left when they were saved.
    What cannot be told is a machine that was started anew and whose wall clock was set forward
    meanwhile: that ends a ban early by as much.

    Args:
      kept: What was saved.
      now_s: The time on the monotonic clock in which `kept.saved_s` is told.
      utc_ms: The time on the wall clock.

    Returns:
      The same as of now, so that aging it once more at once changes nothing.
    """
    # One less, because both ends were rounded down to whole milliseconds.
    passed_s = (utc_ms - kept.saved_ms - 1) / 1000.0
    if now_s >= kept.saved_s:
        passed_s = min(passed_s, now_s - kept.saved_s)
    passed_s = max(0.0, passed_s)
    groups = {name: _aged(group, passed_s) for name, group in kept.groups.items()}
    return msgspec.structs.replace(kept, saved_ms=utc_ms, saved_s=now_s, groups=groups)


def _aged(group: KeptGroup, passed_s: float) -> KeptGroup:
    return KeptGroup(
        spends=tuple(
            spend
            if spend.age_s is None
            # No older than may be written down again; no window is that long.
            else msgspec.structs.replace(spend, age_s=min(spend.age_s + passed_s, AGE_S_MAX))
            for spend in group.spends
        ),
        paused_left_s=max(0.0, group.paused_left_s - passed_s),
        strikes=group.strikes,
    )


def all_spent(kept: KeptLimits) -> KeptLimits:
    """Return `kept` for who knows that others came after it, and nothing of what they sent.

    The pauses still hold; of each group that is known, everything is spent.
    """
    everything = (KeptSpend(weight=WEIGHT_MAX, age_s=0.0),)
    groups = {
        name: group if name == EVERYTHING else msgspec.structs.replace(group, spends=everything)
        for name, group in kept.groups.items()
    }
    return msgspec.structs.replace(kept, clean=False, groups=groups)


def encode(kept: KeptLimits) -> tuple[bytes | None, str]:
    """Return `kept` as JSON, or None and why it cannot be kept.

    Whatever is written here can be read again.
    """
    try:
        data = msgspec.json.encode(kept)
    except (TypeError, ValueError, OverflowError) as error:
        return None, str(error)
    # There and back: msgspec holds nobody to the bounds when a value is made, only when it is read.
    found, why = decode(data)
    return (None, why) if found is None else (data, "")


def decode(data: bytes) -> tuple[KeptLimits | None, str]:
    """Return what `encode` wrote, or None and what is wrong with it."""
    if len(data) > BYTES_MAX:
        return None, f"it is {len(data)} bytes long, and may be {BYTES_MAX}"
    try:
        return msgspec.json.decode(data, type=KeptLimits), ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return None, str(error)
