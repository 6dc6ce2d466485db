"""What a RateLimiterActor writes down for the next process, and how it takes that up again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from actors.exchanges.base import GroupRules
from actors.lane_book import ADDRESS
from actors.lanes import Lane, LaneKey
from actors.limit_file import WEIGHT_MAX, KeptGroup, KeptLimits, KeptSpend
from actors.limit_tables import LimitTables
from actors.pauses import Pause
from actors.slots import GroupLedger, SlotRules, Spend

# How much of the end of a process that did not end in order may be missing from what it wrote
# down: a few times the pause between two writings.
UNSEEN_S = 3.0


def write_down(
    lanes: Iterable[Lane], ban: Pause, *, now_s: float, utc_ms: int, clean: bool
) -> KeptLimits:
    """Return all that the next process must know.

    Args:
      lanes: All lanes.
      ban: The pause of the whole address.
      now_s: The time, monotonic.
      utc_ms: The time, wall.
      clean: Whether nothing will be sent any more.
    """
    groups = {_name(lane.key): _kept(lane.ledger, now_s) for lane in lanes}
    if ban.strikes:
        groups[_name(ADDRESS)] = _kept_pause((), ban, now_s)
    return KeptLimits(saved_ms=utc_ms, saved_s=now_s, clean=clean, groups=groups)


def take_up(
    kept: KeptLimits,
    limits: Mapping[str, GroupRules],
    tables: LimitTables,
    *,
    rules: SlotRules,
    owner: str,
    now_s: float,
) -> None:
    """Put into `tables` what the last process wrote down, as if it were this one's own past.

    Args:
      kept: What it wrote, aged to now.
      limits: The groups there are now; what is kept of others is forgotten.
      tables: Empty tables.
      rules: How long slots are held.
      owner: Who writes the tables.
      now_s: The time.
    """
    spends, pauses = tables.spends.claim(owner), tables.pauses.claim(owner)
    for name, group in kept.groups.items():
        key = _key(name)
        pause = Pause()
        if group.strikes:
            pause = Pause(now_s + group.paused_left_s, now_s, group.strikes)
        if key == ADDRESS:
            pauses.put(key, pause)
        elif _fits(key, limits):
            ledger = _recalled(group, limits[key[0]], rules, now_s, clean=kept.clean)
            for spend_id, spend in ledger.spends().items():
                spends.put((key, spend_id), spend)
            pauses.put(key, pause)


def _kept(ledger: GroupLedger, now_s: float) -> KeptGroup:
    ledger.tidy(now_s)
    windows = ledger.windows
    spends = tuple(
        KeptSpend(
            weight=spend.weight,
            age_s=_age_s(spend, now_s),
            period_s=None if spend.window is None else windows[spend.window].period_s,
        )
        for spend in ledger.spends().values()
    )
    return _kept_pause(spends, ledger.pause, now_s)


def _age_s(spend: Spend, now_s: float) -> float | None:
    """Return how long ago a request was answered; None if it may not have arrived yet."""
    if spend.settled_s is None or spend.settled_s > now_s:
        return None
    return now_s - spend.settled_s


def _kept_pause(spends: tuple[KeptSpend, ...], pause: Pause, now_s: float) -> KeptGroup:
    left_s = max(0.0, pause.until_s - now_s)
    return KeptGroup(spends=spends, paused_left_s=left_s, strikes=pause.strikes)


def _recalled(
    group: KeptGroup, group_rules: GroupRules, rules: SlotRules, now_s: float, *, clean: bool
) -> GroupLedger:
    """Return the ledger of a group; what no longer fits its windows is made to."""
    ledger = GroupLedger(group_rules.windows, rules)
    periods = [limit.period_s for limit in group_rules.windows]
    largest = max(limit.requests for limit in group_rules.windows)
    spends: dict[int, Spend] = {}
    for number, kept in enumerate(group.spends, start=1):
        window = None
        if kept.period_s is not None:
            if kept.period_s not in periods:
                continue
            window = periods.index(kept.period_s)
        # Whatever was under way may still arrive.
        settled_s = now_s + rules.transit_s if kept.age_s is None else now_s - kept.age_s
        weight = min(kept.weight, largest)
        spends[-number] = Spend(min(settled_s, now_s), weight, settled_s, window)
    ledger.take_over(spends, Pause(), now_s)
    if any(kept.weight >= WEIGHT_MAX for kept in group.spends):
        # Nobody knows what; also where requests count, and not their weight.
        ledger.spend_all(now_s + rules.transit_s)
    if not clean:
        ledger.spend_unseen(UNSEEN_S, now_s + rules.transit_s)
    return ledger


def _name(key: LaneKey) -> str:
    group, holder = key
    return f"{group}/{holder}" if holder else group


def _key(name: str) -> LaneKey:
    group, _, holder = name.partition("/")
    return group, holder


def _fits(key: LaneKey, limits: Mapping[str, GroupRules]) -> bool:
    """Return whether such a lane can be; those of connections end with their process."""
    group, holder = key
    if group not in limits or limits[group].scope == "connection":
        return False
    return bool(holder) == (limits[group].scope == "account")
