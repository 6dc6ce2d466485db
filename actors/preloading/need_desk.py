"""`NeedDesk`: declared needs, who keeps them, and who waits for them. Inside the PreloaderActor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import trio

from actors.cache_tables import candles_key
from actors.errors import InvalidRequest, MarketDataError, Overloaded, UnknownNeed
from actors.messages import Priority
from actors.preload_messages import AwaitNeed, DeclareNeed, ForecastSlots, GetNeeds, ReleaseNeed
from actors.preload_reports import FetchReport, NeedReport, Released
from actors.preloading.keeping import KeepParts, SeriesKeeper, forecast_pages
from actors.preloading.needs import Declared, NeedBook, declared
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
        self._waiting: list[tuple[Declared, Reply]] = []
        self._sync()

    # -------------------------------------------------------------- what is asked

    async def declare(self, request: DeclareNeed, *, kept: bool = True) -> NeedReport:
        """Take a need up; return how far it is already."""
        need = self.take_up(request, now_ms=self._parts.clock.utc_ms(), kept=kept)
        self._changed()
        (report,) = await self.report([need])
        return report

    def take_up(self, request: DeclareNeed, *, now_ms: int, kept: bool) -> Declared:
        """Take a need up; errors as in `declared`."""
        policy = self._policy
        need = declared(request, now_ms=now_ms, margin=policy.margin, page=policy.page, kept=kept)
        before = self._book.find(
            strategy=need.strategy,
            market=str(need.series.market),
            timeframe=need.series.timeframe.value,
        )
        if before and not before[0].kept:
            # What the configuration declares does not end because a bot declares it as well.
            need = declared(
                request, now_ms=now_ms, margin=policy.margin, page=policy.page, kept=False
            )
        self._book.put(need)
        self._sync()
        return need

    def await_ready(self, request: AwaitNeed, reply: Reply) -> None:
        """Answer when a need is ready; at once if it is."""
        market = str(Market.parse(request.market))
        found = self._book.find(
            strategy=request.strategy, market=market, timeframe=request.timeframe
        )
        if not found:
            reply.fail(self._unknown(request.strategy, f"{market} {request.timeframe}"))
        elif self.keepers[found[0].series].state == "ready":
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
        """Answer those who waited for a series that is ready now."""
        keeper = self.keepers.get(series)
        ready = keeper is not None and keeper.state == "ready"
        still: list[tuple[Declared, Reply]] = []
        for need, reply in self._waiting:
            if reply.abandoned:
                continue
            if ready and need.series == series:
                self._nursery.start_soon(self._answer, need, reply)
            else:
                still.append((need, reply))
        self._waiting = still

    def drop_unused(self, used_ms: Callable[[Series], int | None]) -> None:
        """End the needs whose series were not asked for in a long while."""
        now_ms = self._parts.clock.utc_ms()
        self.drop([n for n in self._book if (e := self.ends_ms(n, used_ms)) and e <= now_ms])

    def ends_ms(self, need: Declared, used_ms: Callable[[Series], int | None]) -> int | None:
        """Return when a need ends if its series is not asked for; None for one that does not."""
        if not need.kept:
            return None
        keep_ms = max(round(self._policy.keep_need_s * 1000), 3 * need.series.timeframe.span_ms)
        return max(need.declared_ms, used_ms(need.series) or 0) + keep_ms

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
        self._sync()
        self._changed()

    def _sync(self) -> None:
        """Have one keeper for each series that is needed, and none else."""
        wanted = self._book.candles()
        for series in self.keepers.keys() - wanted.keys():
            self.keepers.pop(series).scope.cancel()
        for series, candles in wanted.items():
            keeper = self.keepers.get(series)
            if keeper is None:
                keeper = self.keepers[series] = SeriesKeeper(series, candles, self._parts)
                self._nursery.start_soon(keeper.run)
            else:
                keeper.want(candles)

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
        return tuple([await self._report(need) for need in needs if need.series in self.keepers])

    async def _answer(self, need: Declared, reply: Reply) -> None:
        for report in await self.report([need]):
            reply.send(report)
            return
        reply.fail(self._unknown(need.strategy, str(need.series)))

    async def _report(self, need: Declared) -> NeedReport:
        keeper = self.keepers[need.series]
        is_ready = keeper.state == "ready"
        wanted = need.need.candles
        covered = min(wanted, keeper.covered)
        market, timeframe = candles_key(need.series)
        used_s = self._parts.used_s(need.series)
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
            ready_in_s=0.0 if is_ready else await self._ready_in_s(keeper),
            took_s=keeper.took_s,
            declared_ms=need.declared_ms,
            used_ms=None if math.isinf(used_s) else self._wall_ms(used_s),
            ends_ms=self.ends_ms(
                need, lambda _: None if math.isinf(used_s) else self._wall_ms(used_s)
            ),
        )

    def _wall_ms(self, at_s: float) -> int:
        clock = self._parts.clock
        return clock.utc_ms() - round((clock.now_s() - at_s) * 1000)

    async def _ready_in_s(self, keeper: SeriesKeeper) -> float | None:
        """Return when the last page of a need will be there, as the limiter's schedule stands."""
        if keeper.state == "failing":
            return None
        pages = forecast_pages(keeper, self.keepers)
        ask = ForecastSlots(group=self._policy.group, priority=Priority.DECLARED, requests=pages)
        try:
            forecast = await self._limiter.call(ask, timeout_s=_FORECAST_S)
        except (MarketDataError, ActorError):
            return None
        # Of one series a page is asked for when the one before it is there.
        return max(forecast.answered_s, keeper.pages_left * forecast.journey_s)

    def _unknown(self, strategy: str, what: str) -> UnknownNeed:
        known = ", ".join(sorted({need.strategy for need in self._book})[:20]) or "none"
        return UnknownNeed(
            f"strategy {strategy[:80]!r} has declared no need{' of ' + what if what else ''}; "
            f"strategies with needs: {known}"
        )


def _widest(need: Declared) -> str:
    if need.need.widest is not None:
        return f"{need.need.widest}: {need.need.widest.why}"
    return f"a history of {need.need.candles} candles" if need.asked.history else "one page"


def _missing(keeper: SeriesKeeper, lacking: int) -> str:
    if keeper.state == "failing":
        return keeper.problem
    if lacking <= 0:
        return ""
    if keeper.state == "ready":
        return f"{lacking} candles do not exist: nobody traded before, or the exchange has no more"
    where = "being fetched" if keeper.state == "fetching" else "waiting for other needs"
    return f"the oldest {lacking} candles are {where}"
