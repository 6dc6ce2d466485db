"""`LaneBook`: every lane of one exchange, made as it is needed and forgotten when it is idle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

from actors.errors import InvalidRequest, Overloaded, UnknownGroup
from actors.exchanges.base import GroupRules
from actors.lanes import Desk, Lane, LaneKey
from actors.limit_tables import LimitTables
from actors.messages import Priority
from actors.pauses import Pause, PauseRules
from actors.slots import GroupLedger, Journal, SlotRules, Spend
from actors.turns import Turns
from runtime.core.table import TableWriter

_log = logging.getLogger("marketd.rate_limiter")

# Key of the pause of the whole address; no group has this name.
ADDRESS: LaneKey = ("*", "")

# Most accounts, and most connections, that are remembered at once.
HOLDERS_MAX = 1_000

# A budget whose past is not known counts as spent. Nobody would wait an hour for that: of windows
# longer than this, what was before is taken to be so far back. A window of a minute is shorter than
# this, with all that is added to it.
UNKNOWN_PAST_S_MAX = 61.0

# Refusals of one group in a row: a window, then twice that, and so on up to this.
_PAUSE_S_MAX = 60.0


def check_limits(limits: Mapping[str, GroupRules]) -> None:
    """Refuse limits that cannot be kept.

    Raises:
      ValueError: A name is taken, or a pool is not there, has pools, or is counted for others.
    """
    if ADDRESS[0] in limits:
        raise ValueError(f"no group may be called {ADDRESS[0]!r}")
    for name, rules in limits.items():
        for pool in rules.pools:
            if pool not in limits:
                raise ValueError(f"group {name} wants a pool {pool!r}, there is none of that name")
            if limits[pool].pools:
                raise ValueError(f"group {name} wants the pool {pool}, which has pools itself")
            if limits[pool].scope not in {"address", rules.scope}:
                raise ValueError(
                    f"group {name} is counted by {rules.scope} and its pool {pool} by "
                    f"{limits[pool].scope}; a pool is counted by address, or as its group is"
                )


class LaneBook:
    """The lanes of one exchange.

    Bound: `HOLDERS_MAX` lanes besides those of the address; idle ones make room, and where none is
    idle one more is `Overloaded`.

    Args:
      exchange: Its name, for errors.
      limits: The groups.
      rules: How long slots are held.
      shares: What part of a group each priority gets at least.
      tables: What an earlier incarnation left; its `began_s` is set.
      owner: Who writes the tables from now on.
      past_is_known: Whether a lane of which the tables know nothing has spent nothing.
      left: Called when somebody who waited goes away.
    """

    def __init__(
        self,
        exchange: str,
        limits: Mapping[str, GroupRules],
        *,
        rules: SlotRules,
        shares: Mapping[Priority, float],
        tables: LimitTables,
        owner: str,
        past_is_known: bool,
        left: Callable[[], None],
    ) -> None:
        self._exchange = exchange
        self._limits = limits
        self._rules = rules
        self._shares = shares
        self._tables = tables
        self._past_is_known = past_is_known
        self._left = left
        self._spends: TableWriter[tuple[LaneKey, int], Spend] = tables.spends.claim(owner)
        self._pauses: TableWriter[LaneKey, Pause] = tables.pauses.claim(owner)
        self._left_behind = _by_lane(tables)
        self._lanes: dict[LaneKey, Lane] = {}
        self._desks: dict[frozenset[str] | LaneKey, Desk] = {}
        self._pooled = _linked(limits)

    def __iter__(self) -> Iterator[Lane]:
        """Return all lanes there are."""
        return iter(list(self._lanes.values()))

    def open_all(self, now_s: float) -> None:
        """Make the lanes of the address, and those of others that the tables know of."""
        for group, rules in self._limits.items():
            if rules.scope == "address":
                self.lane(group, "", now_s)
        known = [key for key, _ in self._tables.pauses.items()]
        for group, holder in known:
            if group in self._limits and (group, holder) not in self._lanes:
                self.lane(group, holder, now_s)

    def lane(self, group: str, holder: str, now_s: float) -> Lane:
        """Return the lane of a group for a holder, made if it is not there.

        Raises:
          UnknownGroup: There is no such group.
          InvalidRequest: The group is counted by holders and none is named, or the reverse.
          Overloaded: There are too many holders.
        """
        lane = self._lanes.get((group, holder))
        return self._open(group, holder, now_s) if lane is None else lane

    def desk(self, lane: Lane) -> Desk:
        """Return the desk before which a lane stands."""
        group, _ = lane.key
        return self._desks[self._pooled.get(group, lane.key)]

    def keep_pause(self, key: LaneKey, pause: Pause) -> None:
        """Note a pause where the next incarnation finds it."""
        self._pauses.put(key, pause)

    def sweep(self, now_s: float, *, accounts: bool = False) -> None:
        """Forget idle lanes of connections, which never come back; of accounts too if asked to."""
        drawn_on = {pool.key for lane in self for pool in lane.pools}
        for lane in self:
            group, holder = lane.key
            is_account = self._limits[group].scope == "account"
            if not holder or lane.key in drawn_on or (is_account and not accounts):
                continue
            lane.ledger.tidy(now_s)
            if lane.is_idle:
                self._close(lane)

    # -------------------------------------------------------------- small things

    def _open(self, group: str, holder: str, now_s: float) -> Lane:
        rules = self._limits.get(group)
        if rules is None:
            raise UnknownGroup(
                f"{self._exchange}: no limit is kept for group {group!r}, there are "
                f"{', '.join(self._limits)}"
            )
        if bool(holder) == (rules.scope == "address"):
            wanted = "no holder" if holder else f"the name of the {rules.scope}"
            raise InvalidRequest(
                f"{self._exchange}: group {group} is counted by {rules.scope}, so it wants "
                f"{wanted}, was {holder!r}"
            )
        if holder:
            self._make_room(group, now_s)
        key = (group, holder)
        pools = tuple(
            self.lane(pool, "" if self._limits[pool].scope == "address" else holder, now_s)
            for pool in rules.pools
        )
        ledger = self._ledger(key, rules, now_s)
        first_s = ledger.hold_s
        pause_rules = PauseRules(first_s=first_s, longest_s=max(_PAUSE_S_MAX, first_s))
        lane = self._lanes[key] = Lane(key, ledger, pause_rules, pools)
        desk_key = self._pooled.get(group, key)
        if desk_key not in self._desks:
            self._desks[desk_key] = Desk(Turns(self._shares), left=self._left)
        self._desks[desk_key].lanes.append(lane)
        return lane

    def _ledger(self, key: LaneKey, rules: GroupRules, now_s: float) -> GroupLedger:
        journal = self._journal(key)
        ledger = GroupLedger(rules.windows, self._rules, journal=journal)
        spends, pause = self._left_behind.pop(key, {}), self._tables.pauses.get(key)
        if pause is not None and ledger.take_over(spends, pause, now_s):
            return ledger
        for spend_id in spends:
            self._spends.delete((key, spend_id))
        if pause is not None:
            _log.error("%s: the ledger of group %s makes no sense", self._exchange, key[0])
            # It was ours, and what was sent may still be under way.
            ledger.spend_all(now_s + self._rules.transit_s, hold_s_max=UNKNOWN_PAST_S_MAX)
        elif rules.scope != "connection" and not self._past_is_known:
            # Whoever was here before us may have spent everything a moment before we began.
            assert self._tables.began_s is not None, "set before there are lanes"
            ledger.spend_all(self._tables.began_s, hold_s_max=UNKNOWN_PAST_S_MAX)
        # So that a crash before the first request does not start the same wait again.
        self._pauses.put(key, ledger.pause)
        ledger.tidy(now_s)
        return ledger

    def _journal(self, key: LaneKey) -> Journal:
        put, delete = self._spends.put, self._spends.delete

        def note(spend_id: int, spend: Spend | None) -> None:
            if spend is None:
                delete((key, spend_id))
            else:
                put((key, spend_id), spend)

        return note

    def _make_room(self, group: str, now_s: float) -> None:
        if self._holders() < HOLDERS_MAX:
            return
        self.sweep(now_s, accounts=True)
        if self._holders() >= HOLDERS_MAX:
            raise Overloaded(
                f"{self._exchange}: {HOLDERS_MAX} accounts and connections already have limits in "
                f"use, which is the most there may be, so group {group} takes no other"
            )

    def _holders(self) -> int:
        return sum(bool(holder) for _, holder in self._lanes)

    def _close(self, lane: Lane) -> None:
        del self._lanes[lane.key]
        desk_key = self._pooled.get(lane.key[0], lane.key)
        desk = self._desks[desk_key]
        desk.lanes.remove(lane)
        if not desk.lanes:
            del self._desks[desk_key]
        self._pauses.delete(lane.key)


def _by_lane(tables: LimitTables) -> dict[LaneKey, dict[int, object]]:
    found: dict[LaneKey, dict[int, object]] = {}
    for (key, spend_id), spend in tables.spends.items():
        found.setdefault(key, {})[spend_id] = spend
    return found


def _linked(limits: Mapping[str, GroupRules]) -> dict[str, frozenset[str]]:
    """Return for each group that shares a pool all groups it is linked with, over any pools."""
    linked: dict[str, frozenset[str]] = {}
    for name, rules in limits.items():
        if rules.pools:
            together = frozenset({name, *rules.pools})
            together = together.union(*(linked.get(each, ()) for each in together))
            linked.update(dict.fromkeys(together, together))
    return linked
