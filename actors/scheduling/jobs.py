"""Jobs, checked and made plain: what they ask for, and when."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from actors.errors import InvalidRequest
from actors.job_reports import JobSpec
from actors.lengths import length_s
from actors.messages import GetCandles
from actors.queries import CANDLES_DEFAULT, CANDLES_MAX, check_count
from actors.scheduling.times import Every, Schedule, parse_cron
from actors.series import Market, Series
from actors.timeframes import Timeframe

EVERY_S_MIN, EVERY_S_MAX = 1.0, 31 * 86_400.0
JITTER_S_MAX = 3_600.0
# Who wants more names a currency.
MARKETS_MAX = 200

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CURRENCY = re.compile(r"[A-Za-z0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Job:
    """A job that can be run.

    Attributes:
      name: What it is called.
      spec: What it collects, and when; it has been checked.
      schedule: When it is due.
    """

    name: str
    spec: JobSpec
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class Beginnings:
    """When the runs of a job begin, if they take no time: a schedule, but for its jitter.

    Attributes:
      job: The job.
      settle_ms: How long after its end a candle may still change.
    """

    job: Job
    settle_ms: int

    def next_ms(self, after_ms: int) -> int:
        """Return the first moment after `after_ms`; both UTC milliseconds."""
        due_ms = self.job.schedule.next_ms(after_ms)
        return settled_ms(self.job.spec, due_ms, self.settle_ms)


def parse_job(name: str, spec: JobSpec) -> Job:
    """Return the job that `spec` describes.

    Raises:
      InvalidRequest: It cannot be run as it stands; the message says what was wanted.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"name must be 1 to 64 letters, digits, '.', '_' or '-'; was {name[:80]!r}"
        )
    try:
        # Whoever makes one in Python can put anything anywhere.
        spec = msgspec.convert(msgspec.structs.asdict(spec), JobSpec)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"job {name}: {error}") from None
    _check_markets(spec)
    _check_series(spec)
    return Job(name, spec, _schedule(spec))


def settled_ms(spec: JobSpec, time_ms: int, settle_ms: int) -> int:
    """Return when a run that is due at `time_ms` finds the newest candles settled.

    That is a little later if a candle has just ended: a job on the hour wants that one, too.
    """
    for timeframe in map(Timeframe.parse, spec.timeframes):
        # Of one that is as short there is always one that has just ended.
        if timeframe.span_ms > settle_ms:
            time_ms = max(time_ms, timeframe.floor_ms(time_ms) + settle_ms)
    return time_ms


def newest_settled_ms(spec: JobSpec, time_ms: int, settle_ms: int) -> int:
    """Return when the newest candles have settled that a run at `time_ms` finds settled."""
    frames = map(Timeframe.parse, spec.timeframes)
    # As above: of one that is as short there is always one that has just ended.
    long = [each for each in frames if each.span_ms > settle_ms]
    return max((each.floor_ms(time_ms - settle_ms) + settle_ms for each in long), default=0)


def series_of(spec: JobSpec, markets: Iterable[str]) -> Iterator[Series]:
    """Return what is collected: each market in each timeframe."""
    for market in markets:
        for timeframe in spec.timeframes:
            yield Series.parse(market, timeframe)


def question(spec: JobSpec, series: Series, now_ms: int, settle_ms: int) -> GetCandles:
    """Return what a run asks for one series: candles that cannot change any more.

    Args:
      spec: The job.
      series: The series.
      now_ms: The time at the exchange, UTC milliseconds.
      settle_ms: How long after its end a candle may still change.
    """
    end_ms = series.timeframe.floor_ms(now_ms - settle_ms)
    start_ms = None
    if spec.history:
        start_ms = max(0, end_ms - length_s(spec.history, name="history") * 1_000)
    return GetCandles(
        market=str(series.market),
        timeframe=series.timeframe.value,
        count=None if spec.history else spec.count or CANDLES_DEFAULT,
        start=start_ms,
        end=end_ms,
        closed=True,
    )


def _schedule(spec: JobSpec) -> Schedule:
    if spec.every_s is None and not spec.cron:
        raise InvalidRequest("a job must have either every_s or cron, had neither")
    if spec.every_s is not None and spec.cron:
        raise InvalidRequest("a job must have either every_s or cron, had both")
    _check_number("jitter_s", spec.jitter_s, 0.0, JITTER_S_MAX)
    if spec.every_s is None:
        cron = parse_cron(spec.cron, spec.timezone)
        # Raises if it never comes; from a moment on that every machine's clock is past.
        cron.next_ms(0)
        return cron
    _check_number("every_s", spec.every_s, EVERY_S_MIN, EVERY_S_MAX)
    if spec.timezone != "UTC":
        raise InvalidRequest(f"timezone goes with cron; with every_s it was {spec.timezone[:40]!r}")
    if spec.jitter_s >= spec.every_s:
        raise InvalidRequest(f"jitter_s must be less than every_s, was {spec.jitter_s:.15g}")
    return Every(round(spec.every_s * 1_000))


def _check_number(name: str, value: float, least: float, most: float) -> None:
    if not (math.isfinite(value) and least <= value <= most):
        raise InvalidRequest(f"{name} must be {least:g} to {most:.0f}, was {value:.15g}")


def _check_markets(spec: JobSpec) -> None:
    if not spec.markets and not spec.quote:
        raise InvalidRequest("a job must have either markets or quote, had neither")
    if spec.markets and spec.quote:
        raise InvalidRequest("a job must have either markets or quote, had both")
    if spec.quote and not _CURRENCY.fullmatch(spec.quote):
        raise InvalidRequest(f"quote must be a currency such as KRW, was {spec.quote[:40]!r}")
    if len(spec.markets) > MARKETS_MAX:
        raise InvalidRequest(f"markets must be at most {MARKETS_MAX}, were {len(spec.markets)}")
    for market in spec.markets:
        found = Market.parse(market)
        if found.exchange != spec.exchange:
            raise InvalidRequest(
                f"markets must be of {spec.exchange[:40]}, {market} is one of {found.exchange}"
            )
    _check_distinct("markets", spec.markets)


def _check_series(spec: JobSpec) -> None:
    if not spec.timeframes:
        raise InvalidRequest("a job must have timeframes, such as 1m or 1d")
    timeframes = [Timeframe.parse(text) for text in spec.timeframes]
    _check_distinct("timeframes", spec.timeframes)
    if spec.count is not None:
        check_count(spec.count, most=CANDLES_MAX)
        if spec.history:
            raise InvalidRequest("a job may have count or history, not both")
    if spec.history:
        length_ms = length_s(spec.history, name="history") * 1_000
        finest = min(timeframes, key=lambda timeframe: timeframe.span_ms)
        if length_ms // finest.span_ms > CANDLES_MAX:
            raise InvalidRequest(
                f"history must span at most {CANDLES_MAX} candles, {spec.history} of "
                f"{finest.value} has {length_ms // finest.span_ms}"
            )


def _check_distinct(name: str, texts: tuple[str, ...]) -> None:
    if len(set(texts)) != len(texts):
        again = next(text for text in texts if texts.count(text) > 1)
        raise InvalidRequest(f"{name} must be named once each, {again} was named again")
