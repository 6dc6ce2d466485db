"""`NeedDesk`: declared needs, who keeps them, and who waits for them. Inside the PreloaderActor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace

import trio

from actors.cache_tables import candles_key
from actors.errors import InvalidRequest, MarketDataError, Overloaded, UnknownNeed
from actors.messages import Priority
from actors.preload_messages import AwaitNeed, DeclareNeed, ForecastSlots, GetNeeds, ReleaseNeed
from actors.preload_reports import FetchReport, NeedReport, Released
from actors.preloading.keeping import KeepParts, SeriesKeeper, pages_ahead
from actors.preloading.needs import Declared, NeedBook, declared, history_candles
from actors.preloading.policy import PreloadPolicy
from actors.series import Market, Series
from runtime.core.errors import ActorError
from runtime.core.mailbox import Reply
from runtime.core.ref import ActorRef

# Those who wait for needs at once; beyond it they are told to come back later.
WAITING_MAX = 1_000
_FORECAST_S = 2.0


class NeedDesk:
    """The declared needs of one exchange.

    Args:
      book: The needs; it outlives the actor.
      parts: What the keepers share.
      policy: How needs are kept.
      limiter: Knows when slots are free.
      nursery: Where keepers run.
      used_ms: Returns when a series was last asked for, in UTC milliseconds; None if never.
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
        used_ms: Callable[[Series], int | None],
        changed: Callable[[], None],
    ) -> None:
        self.keepers: dict[Series, SeriesKeeper] = {}
        self._book = book
        self._parts = parts
        self._policy = policy
        self._limiter = limiter
        self._nursery = nursery
        self._used_ms = used_ms
        self._changed = changed
        self._waiting: list[tuple[Declared, Reply]] = []
        for need in book:
            self._sync(need.series)

    def used_ms(self, need: Declared) -> int | None:
        """Return when the series of a need was last asked for, in UTC milliseconds."""
        return self._used_ms(need.series) or need.used_ms

    # -------------------------------------------------------------- what is asked

    async def declare(self, request: DeclareNeed, *, kept: bool = True) -> NeedReport:
        """Take a need up; return how far it is already."""
        need = self.take_up(request, now_ms=self._parts.clock.utc_ms(), kept=kept)
        self._changed()
        (report,) = await self.report([need])
        return report

    def take_up(
        self, request: DeclareNeed, *, now_ms: int, kept: bool, used_ms: int | None = None
    ) -> Declared:
        """Take a need up; errors as in `declared` and `NeedBook.put`."""
        policy = self._policy
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
        self._book.put(need)
        self._sync(need.series)
        return need

    def await_ready(self, request: AwaitNeed, reply: Reply) -> None:
        """Answer when a need is ready, or never will be; at once if it is."""
        market = str(Market.parse(request.market))
        found = self._book.find(
            strategy=request.strategy, market=market, timeframe=request.timeframe
        )
        if not found:
            reply.fail(self._unknown(request.strategy, f"{market} {request.timeframe}"))
        elif self._is_decided(self.keepers[found[0].series]):
            self._nursery.start_soon(self._answer, found[0], reply)
        elif len(self._waiting) >= WAITING_MAX:
            reply.fail(Overloaded(f"{WAITING_MAX} requests wait for needs already"))
        else:
            self._waiting.append((found[0], reply))

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
        keeper = self.keepers.get(series)
        decided = keeper is not None and self._is_decided(keeper)
        still: list[tuple[Declared, Reply]] = []
        for need, reply in self._waiting:
            if reply.abandoned:
                continue
            if decided and need.series == series:
                self._nursery.start_soon(self._answer, need, reply)
            else:
                still.append((need, reply))
        self._waiting = still

    def drop_unused(self) -> None:
        """End the needs whose series were not asked for in a long while."""
        now_ms = self._parts.clock.utc_ms()
        self.drop([need for need in self._book if (self._ends_ms(need) or now_ms + 1) <= now_ms])

    def _ends_ms(self, need: Declared) -> int | None:
        """Return when a need ends if its series is not asked for; None for one that does not."""
        if not need.kept:
            return None
        keep_ms = max(round(self._policy.keep_need_s * 1000), 3 * need.series.timeframe.span_ms)
        return max(need.declared_ms, self.used_ms(need) or 0) + keep_ms

    def drop(self, needs: Iterable[Declared]) -> None:
        """End needs; who waits for one of them is told."""
        gone = list(needs)
        if not gone:
            return
        self._book.drop(gone)
        ended = {(need.strategy, need.series) for need in gone}
        for need, reply in self._waiting:
            if (need.strategy, need.series) in ended:
                reply.fail(self._unknown(need.strategy, str(need.series)))
        self._waiting = [
            each for each in self._waiting if (each[0].strategy, each[0].series) not in ended
        ]
        for need in gone:
            self._sync(need.series)
        self._changed()

    def _sync(self, series: Series) -> None:
        """Have a keeper for a series if it is needed, and none else."""
        candles, keeper = self._book.candles(series), self.keepers.get(series)
        if keeper is not None and not candles:
            self.keepers.pop(series).scope.cancel()
        elif keeper is not None:
            keeper.want(candles)
        elif candles:
            keeper = self.keepers[series] = SeriesKeeper(series, candles, self._parts)
            self._nursery.start_soon(keeper.run)

    # -------------------------------------------------------------- telling

    def fetching(self) -> tuple[FetchReport, ...]:
        """Return what is being fetched for needs."""
        now_s, found = self._parts.clock.now_s(), []
        for keeper in self.keepers.values():
            if keeper.state == "fetching":
                market, timeframe = candles_key(keeper.series)
                whom = ", ".join(need.strategy for need in self._book.of(keeper.series))
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
        ready_in_s = await self._forecast({need.series for need in needs})
        # Some may have ended while the limiter was asked.
        return tuple(
            self._report(need, self.keepers[need.series], ready_in_s.get(need.series))
            for need in needs
            if need.series in self.keepers
        )

    async def _forecast(self, series: set[Series]) -> dict[Series, float]:
        """Return when the last page of each series will be there, as the limiter's schedule stands.

        Nothing is said of those that fail, nor if the limiter does not answer.
        """
        ahead = pages_ahead(self.keepers.values())
        asked = {
            each: pages
            for each, pages in ahead.items()
            if each in series and self.keepers[each].state != "failing"
        }
        numbers = tuple(sorted(set(asked.values())))
        if not numbers:
            return {}
        left = {each: self.keepers[each].pages_left for each in asked}
        ask = ForecastSlots(group=self._policy.group, priority=Priority.DECLARED, requests=numbers)
        try:
            forecast = await self._limiter.call(ask, timeout_s=_FORECAST_S)
        except (MarketDataError, ActorError):
            return {}
        answered_s = dict(zip(numbers, forecast.answered_s, strict=True))
        # Of one series a page is asked for when the one before it is there.
        return {
            each: max(answered_s[pages], left[each] * forecast.journey_s)
            for each, pages in asked.items()
        }

    @staticmethod
    def _is_decided(keeper: SeriesKeeper) -> bool:
        return keeper.state == "ready" or keeper.refusal is not None

    async def _answer(self, need: Declared, reply: Reply) -> None:
        keeper = self.keepers.get(need.series)
        if keeper is not None and keeper.refusal is not None:
            # A copy each: a raised exception collects the traceback of whoever raised it.
            reply.fail(copy.copy(keeper.refusal))
            return
        for report in await self.report([need]):
            reply.send(report)
            return
        reply.fail(self._unknown(need.strategy, str(need.series)))

    def _report(self, need: Declared, keeper: SeriesKeeper, ready_in_s: float | None) -> NeedReport:
        is_ready = keeper.state == "ready"
        wanted = need.need.candles
        covered = min(wanted, keeper.covered)
        market, timeframe = candles_key(need.series)
        return NeedReport(
            strategy=need.strategy,
            market=market,
            timeframe=timeframe,
            indicators=need.indicators,
            state=keeper.state,
            needed=wanted,
            covered=covered,
            widest=_widest(need),
            missing=_missing(keeper, wanted - covered),
            whole=not is_ready or covered >= wanted,
            ready_in_s=0.0 if is_ready else ready_in_s,
            took_s=keeper.took_s,
            declared_ms=need.declared_ms,
            used_ms=self.used_ms(need),
            ends_ms=self._ends_ms(need),
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


def _missing(keeper: SeriesKeeper, lacking: int) -> str:
    if keeper.state == "failing":
        return keeper.problem
    if lacking <= 0:
        return ""
    if keeper.state == "ready":
        return f"{lacking} candles do not exist: nobody traded before, or the exchange has no more"
    where = "being fetched" if keeper.state == "fetching" else "about to be fetched"
    return f"the oldest {lacking} candles are {where}"
