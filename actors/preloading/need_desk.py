"""`NeedDesk`: declared needs, who keeps them, and who waits for them. Inside the PreloaderActor."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import trio

from actors.cache_tables import candles_key
from actors.errors import InvalidRequest, Overloaded, UnknownNeed
from actors.preload_messages import AwaitNeed, DeclareNeed, GetNeeds, ReleaseNeed
from actors.preload_reports import FetchReport, NeedReport, Released
from actors.preloading.keeping import KeepParts, SeriesKeeper
from actors.preloading.need_forecast import Outlook, outlook
from actors.preloading.needs import Declared, KeptNeed, NeedBook, declared, history_candles
from actors.preloading.policy import PreloadPolicy
from actors.series import Market, Series
from runtime.core.errors import CallTimeout
from runtime.core.mailbox import Reply
from runtime.core.ref import ActorRef

# Those who wait for needs at once; beyond it they are told to come back later.
WAITING_MAX = 1_000


class NeedDesk:
    """The declared needs of one exchange.

    Args:
      book: The needs; it outlives the actor.
      parts: What the keepers share.
      policy: How needs are kept.
      limiter: Knows when slots are free.
      nursery: Where keepers run.
      changed: Told when a need has come or gone.
    """

    def __init__(
        self,
        book: NeedBook,
        parts: KeepParts,
        policy: PreloadPolicy,
        *,
        limiter: ActorRef,
        nursery: trio.Nursery,
        changed: Callable[[], None],
    ) -> None:
        self.keepers: dict[Series, SeriesKeeper] = {}
        self._book = book
        self._parts = parts
        self._policy = policy
        self._limiter = limiter
        self._nursery = nursery
        self._changed = changed
        # Who waits, for whose need of what; who goes away is taken out at once.
        self._waiting: dict[Reply, tuple[str, Series]] = {}
        for need in book:
            self._sync(need.series)

    def used_ms(self, need: Declared) -> int | None:
        """Return when the series of a need was last asked for, in UTC milliseconds."""
        used_s, clock = self._parts.used_s(need.series), self._parts.clock
        if math.isinf(used_s):
            return need.used_ms
        return clock.utc_ms() - round((clock.now_s() - used_s) * 1000)

    # -------------------------------------------------------------- what is asked

    async def declare(self, request: DeclareNeed) -> NeedReport:
        """Take a need up; return how far it is already.

        Raises:
          UnknownNeed: Somebody has ended it meanwhile.
        """
        need = self.take_up(request, now_ms=self._parts.clock.utc_ms(), kept=True)
        self._changed()
        for report in await self.report([need]):
            return report
        raise self._unknown(need.strategy, str(need.series))

    def take_up(
        self, request: DeclareNeed, *, now_ms: int, kept: bool, used_ms: int | None = None
    ) -> Declared:
        """Take a need up; errors as in `declared` and `NeedBook.put`.

        Args:
          request: As it was declared.
          now_ms: When that was, in UTC milliseconds.
          kept: Whether it ends if it is not used.
          used_ms: When its series was asked for in an earlier process; None if that is not known.
        """
        policy, clock = self._policy, self._parts.clock
        need = declared(
            request,
            now_ms=now_ms,
            margin=policy.margin,
            page=policy.page,
            kept=kept,
            used_ms=used_ms,
        )
        before = self._book.get(need.strategy, need.series)
        if before is not None and not before.kept:
            # What the configuration declares does not end because a bot declares it as well.
            need = replace(need, kept=False)
        # From now on time is what has passed: wall clocks jump.
        age_s = max(0, clock.utc_ms() - max(now_ms, used_ms or 0)) / 1000
        need = replace(need, since_s=clock.now_s(), last_s=clock.now_s() - age_s)
        self._book.put(need)
        self._sync(need.series)
        return need

    def recall(self, kept: KeptNeed) -> None:
        """Take up what an earlier process was told; errors as in `take_up`.

        Raises:
          InvalidRequest: The settings declare the same; they may have changed meanwhile.
        """
        asked = kept.asked
        series = Series.parse(asked.market, asked.timeframe)
        before = self._book.get(asked.strategy, series)
        if before is not None and not before.kept:
            raise InvalidRequest(
                f"strategy {asked.strategy!r} is declared in the settings to need {series}, which "
                "takes the place of what was declared before"
            )
        self.take_up(asked, now_ms=kept.declared_ms, kept=True, used_ms=kept.used_ms)

    def await_ready(self, request: AwaitNeed, reply: Reply) -> None:
        """Answer when a need is ready, or never will be; at once if it is."""
        market = str(Market.parse(request.market))
        found = self._book.find(
            strategy=request.strategy, market=market, timeframe=request.timeframe
        )
        if not found:
            reply.fail(self._unknown(request.strategy, f"{market} {request.timeframe}"))
        elif not self._decide(found[0], reply):
            self._wait(found[0], reply)

    def _wait(self, need: Declared, reply: Reply) -> None:
        if len(self._waiting) >= WAITING_MAX:
            reply.fail(Overloaded(f"{WAITING_MAX} requests wait for needs already"))
            return

        def leave() -> None:
            if self._waiting.pop(reply, None) is not None:
                # A reply that is never used would be remembered for ever.
                reply.fail(CallTimeout("the caller has gone"))

        self._waiting[reply] = (need.strategy, need.series)
        reply.on_abandoned = leave
        if reply.abandoned:
            leave()

    async def find(self, request: GetNeeds) -> tuple[NeedReport, ...]:
        """Return the needs that are asked for."""
        market = str(Market.parse(request.market)) if request.market else ""
        return await self.report(
            self._book.find(strategy=request.strategy, market=market, timeframe=request.timeframe)
        )

    def release(self, request: ReleaseNeed) -> Released:
        """End needs.

        Raises:
          UnknownNeed: There are none such.
          InvalidRequest: They are of the settings.
        """
        market = str(Market.parse(request.market)) if request.market else ""
        found = self._book.find(
            strategy=request.strategy, market=market, timeframe=request.timeframe
        )
        if not found:
            raise self._unknown(request.strategy, f"{market} {request.timeframe}".strip())
        ending = [need for need in found if need.kept]
        if not ending:
            raise InvalidRequest(
                f"strategy {request.strategy!r} is declared in the settings, below strategies: it "
                "ends when it is taken out there"
            )
        self.drop(ending)
        return Released(needs=len(ending))

    # -------------------------------------------------------------- what happens

    def series_changed(self, series: Series) -> None:
        """Answer those who waited for a series that is ready now, or never will be."""
        for reply, (strategy, waited) in list(self._waiting.items()):
            need = self._book.get(strategy, series) if waited == series else None
            if need is not None and self._decide(need, reply):
                self._waiting.pop(reply, None)

    def _decide(self, need: Declared, reply: Reply) -> bool:
        """Answer if a need is ready, or never will be; return whether that was so."""
        keeper = self.keepers[need.series]
        if keeper.is_ready_for(need.need.candles):
            reply.send(self._report(need, keeper, Outlook({})))
        elif keeper.refusal is not None:
            # A copy each: a raised exception collects the traceback of whoever raised it.
            reply.fail(copy.copy(keeper.refusal))
        return reply.answered

    def drop_unused(self) -> None:
        """End the needs whose series were not asked for in a long while."""
        lefts_s = [(need, self._left_s(need)) for need in self._book]
        self.drop(need for need, left_s in lefts_s if left_s is not None and left_s <= 0)

    def _left_s(self, need: Declared) -> float | None:
        """Return when a need ends if its series is not asked for, in seconds; None for never."""
        if not need.kept:
            return None
        keep_s = max(self._policy.keep_need_s, 3 * need.series.timeframe.span_ms / 1000)
        last_s = max(need.last_s, self._parts.used_s(need.series))
        return last_s + keep_s - self._parts.clock.now_s()

    def drop(self, needs: Iterable[Declared]) -> None:
        """End needs; who waits for one of them is told."""
        gone = list(needs)
        if not gone:
            return
        self._book.drop(gone)
        ended = {(need.strategy, need.series) for need in gone}
        for reply, (strategy, series) in list(self._waiting.items()):
            if (strategy, series) in ended:
                self._waiting.pop(reply)
                reply.fail(self._unknown(strategy, str(series)))
        for need in gone:
            self._sync(need.series)
        self._changed()

    def _sync(self, series: Series) -> None:
        """Have a keeper for a series if it is needed, and none else."""
        sizes, keeper = self._book.sizes(series), self.keepers.get(series)
        if keeper is not None and not sizes:
            self.keepers.pop(series).scope.cancel()
        elif keeper is not None:
            keeper.want(sizes)
            # Less may be needed now than somebody waits for.
            self.series_changed(series)
        elif sizes:
            keeper = self.keepers[series] = SeriesKeeper(series, sizes, self._parts)
            self._nursery.start_soon(keeper.run)

    # -------------------------------------------------------------- telling

    def ready(self) -> int:
        """Return how many needs are ready."""
        return sum(self.keepers[need.series].is_ready_for(need.need.candles) for need in self._book)

    def fetching(self) -> tuple[FetchReport, ...]:
        """Return what is being fetched for needs."""
        now_s, found = self._parts.clock.now_s(), []
        for keeper in self.keepers.values():
            if keeper.state == "fetching":
                market, timeframe = candles_key(keeper.series)
                whom = ", ".join(
                    need.strategy
                    for need in self._book.of(keeper.series)
                    if not keeper.is_ready_for(need.need.candles)
                )
                found.append(
                    FetchReport(
                        market=market,
                        timeframe=timeframe,
                        candles=keeper.wanted,
                        priority="declared",
                        whom=whom,
                        since_s=now_s - keeper.since_s,
                    )
                )
        return tuple(found)

    async def report(self, needs: Iterable[Declared]) -> tuple[NeedReport, ...]:
        """Return how far needs are."""
        needs = [need for need in needs if need.series in self.keepers]
        expected = await outlook(
            self.keepers,
            {(need.series, need.need.candles) for need in needs},
            turns=self._parts.turns.total_tokens,
            cache=self._parts.cache,
            limiter=self._limiter,
            group=self._policy.group,
        )
        # Some may have ended while the others were asked.
        return tuple(
            self._report(need, self.keepers[need.series], expected)
            for need in needs
            if need.series in self.keepers
        )

    def _report(self, need: Declared, keeper: SeriesKeeper, expected: Outlook) -> NeedReport:
        wanted = need.need.candles
        # Others may need more of the series, and that may fail: neither concerns this one.
        is_ready = keeper.is_ready_for(wanted)
        covered, left_s = min(wanted, keeper.covered), self._left_s(need)
        market, timeframe = candles_key(need.series)
        ready_in_s = expected.ready_in_s.get((need.series, wanted))
        now_ms = self._parts.clock.utc_ms()
        return NeedReport(
            strategy=need.strategy,
            market=market,
            timeframe=timeframe,
            indicators=need.indicators,
            state="ready" if is_ready else keeper.state,
            needed=wanted,
            covered=covered,
            widest=_widest(need),
            missing=_missing(keeper, wanted - covered, expected.away, is_ready=is_ready),
            whole=not is_ready or covered >= wanted,
            ready_in_s=0.0 if is_ready else ready_in_s,
            took_s=keeper.took_s(wanted, need.since_s),
            declared_ms=need.declared_ms,
            used_ms=self.used_ms(need),
            ends_ms=None if left_s is None else now_ms + round(left_s * 1000),
        )

    def _unknown(self, strategy: str, what: str) -> UnknownNeed:
        known = ", ".join(sorted({need.strategy for need in self._book})[:20]) or "none"
        return UnknownNeed(
            f"strategy {strategy[:80]!r} has declared no need{' of ' + what if what else ''}; "
            f"strategies with needs: {known}"
        )


def _widest(need: Declared) -> str:
    if need.need.widest is not None:
        return f"{need.need.widest}: {need.need.widest.why}"
    history = history_candles(need.asked.history, need.series.timeframe)
    return f"a history of {history} candles" if history else "one page"


def _missing(keeper: SeriesKeeper, lacking: int, away: str, *, is_ready: bool) -> str:
    if is_ready:
        nobody = "candles do not exist: nobody traded before, or the exchange has no more"
        return f"{lacking} {nobody}" if lacking > 0 else ""
    if keeper.state == "failing":
        # While it is away that is known better by now than when it was tried last.
        return keeper.problem if keeper.refusal is not None else away or keeper.problem
    what = f"the oldest {lacking} candles are" if lacking > 0 else "the newest candles are"
    if away:
        return f"{what} not there: {away}"
    where = "being fetched" if keeper.state == "fetching" else "about to be fetched"
    after = f", after this: {keeper.problem}" if keeper.problem else ""
    return f"{what} {where}{after}"
