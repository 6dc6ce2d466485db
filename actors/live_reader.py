"""`LiveReader`: reads what an exchange's streams keep up to date, and sees to it that they do.

One for each exchange, used by the router in the caller's task: only table reads, and now and then a
lease in `Wants`, which makes the FeedActor subscribe. Whatever is not asked for any more is let go
when its lease ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Literal

from actors.channels import (
    HEARD_S_MAX,
    KEEP_CANDLES_S,
    KEEP_S,
    Choice,
    Question,
    Supply,
    Trust,
    choose,
)
from actors.errors import Overloaded
from actors.exchanges.streams import StreamKey, StreamKind, StreamRules
from actors.feed_tables import LINE, FeedTables, LiveQuote, StreamState
from actors.interest import KEYS_MAX, Interest, candle_streams
from actors.series import Series
from actors.timeframes import Timeframe
from actors.wants import Wants
from runtime.core.clock import Clock

# What streams of candles answer is counted no more often than this for each key, in seconds: reads
# cost a microsecond.
_NOTED_EVERY_S = 5.0
# The lease of a stream that is live is renewed no more often than this, in seconds.
_LEASED_EVERY_S = 5.0


class LiveReader:
    """The streams of one exchange, as the router sees them.

    Args:
      tables: What the FeedActor publishes.
      wants: Where streams are leased.
      rules: What the exchange streams.
      clock: Where time is read.
      spare: Returns how much of the request limit for a kind is unused, 0 to 1.
      auto: Whether to lease streams at all.
    """

    def __init__(
        self,
        tables: FeedTables,
        wants: Wants,
        rules: StreamRules,
        clock: Clock,
        *,
        spare: Callable[[StreamKind], float],
        auto: bool,
    ) -> None:
        self.tables = tables
        self.rules = rules
        self._wants = wants
        self._clock = clock
        self._spare = spare
        self._auto = auto
        self._interest = Interest()
        self._trust = Trust()
        self._leased_s: dict[StreamKey, float] = {}
        # Of each market: which candles were asked for lately, and when.
        self._asked_s: dict[str, dict[Timeframe, float]] = {}

    # -------------------------------------------------------------- quotes

    def quote(
        self,
        key: StreamKey,
        *,
        max_age_s: float | None,
        usual_age_s: float,
        memory_age_s: float | None,
        amount: int = 1,
    ) -> tuple[Choice, LiveQuote | None]:
        """Return which channel answers, and what the stream has if that is the one.

        A request that is made then is counted with `requested`.

        Args:
          key: The stream that could answer.
          max_age_s: How old the answer may be; None if the question does not say.
          usual_age_s: How old it may be then.
          memory_age_s: How old the answer of the last request is; None if there is none.
          amount: Levels of an order book, or how many trades; else 1.
        """
        now_s = self._clock.now_s()
        told = self.tables.quotes.get(key)
        supply = self._supply(key, told, now_s, amount, memory_age_s)
        question = Question(
            max_age_s=max_age_s,
            usual_age_s=usual_age_s,
            rate=self._interest.rate(key, now_s),
            spare=self._spare(key.kind),
        )
        choice = choose(question, supply)
        if choice.channel != "stream":
            return choice, None
        # Memory would have answered whoever asks again within that age, so he needs no request.
        most_s = usual_age_s if max_age_s is None else max_age_s
        if now_s > self._interest.last_s(key) + most_s:
            self._note(key, {key: _depth(key, amount)}, now_s, saved=True)
        return choice, told

    def requested(
        self, key: StreamKey, *, amount: int = 1, share: float = 1.0, most_s: float = 0.0
    ) -> None:
        """Count that `key` needs a request, or would; stream it if that is often.

        Args:
          key: The stream that would save the request.
          amount: As in `quote`.
          share: This key's part of the request.
          most_s: How old the answer might have been.
        """
        now_s = self._clock.now_s()
        told, saved = self.tables.quotes.get(key), None
        if told is not None and _amount(told) >= amount and self._is_whole(key, now_s):
            # The stream is there and was too old for who asked: it does not save such requests.
            saved = False
        if now_s > self._interest.last_s(key) + most_s:
            # A lease that is not enough for this one is taken anew.
            streams, at_once = {key: _depth(key, amount)}, saved is None
            self._note(key, streams, now_s, share=share, saved=saved, at_once=at_once)
        elif saved is False:
            # Without the stream there would have been a request before, and its answer in memory.
            self._interest.lose(key, now_s)

    def _supply(
        self,
        key: StreamKey,
        told: LiveQuote | None,
        now_s: float,
        amount: int,
        memory_age_s: float | None,
    ) -> Supply:
        line = self.tables.line.get(LINE)
        heard_s = float("-inf") if line is None else line.heard_s
        has_enough = told is not None and _amount(told) >= amount
        return Supply(
            stream=self._state(self.tables.streams.get(key)),
            trusted=self._trust.is_trusted(line, now_s),
            heard_age_s=now_s - heard_s,
            told_age_s=now_s - told.received_s if told is not None and has_enough else None,
            memory_age_s=memory_age_s,
        )

    def _is_whole(self, key: StreamKey, now_s: float) -> bool:
        is_live = self._state(self.tables.streams.get(key)) == "live"
        return is_live and self._trust.is_trusted(self.tables.line.get(LINE), now_s)

    def _state(
        self, stream: StreamState | None
    ) -> Literal["none", "asked", "live", "silent", "broken"]:
        line = self.tables.line.get(LINE)
        if stream is None:
            return "none"
        if line is None or line.state != "live":
            return "broken"
        return stream.state

    # -------------------------------------------------------------- candles

    def keeps(self, series: Series, *, now_s: float) -> bool:
        """Return whether a stream keeps the candles of `series` up to date; counts the question."""
        code, timeframe = series.market.code, series.timeframe
        if now_s > self._interest.last_s(StreamKey("candle", code)) + _NOTED_EVERY_S:
            self.want(series, now_s=now_s)
        line = self.tables.line.get(LINE)
        if not self._trust.is_trusted(line, now_s) or line is None:
            return False
        state = self.tables.streams.get(_main_stream(code, timeframe, self.rules))
        is_live = state is not None and state.state == "live"
        return is_live and now_s - line.heard_s <= HEARD_S_MAX

    def heard_s(self, series: Series) -> float | None:
        """Return when the stream of a series was last heard; None if that is too long ago."""
        code, timeframe = series.market.code, series.timeframe
        heard_s = self.tables.heard_s(_main_stream(code, timeframe, self.rules))
        is_recent = heard_s is not None and self._clock.now_s() - heard_s <= HEARD_S_MAX
        return heard_s if is_recent else None

    @contextmanager
    def hold(self, series: Series) -> Iterator[None]:
        """Want the streams of a series for as long as the block runs, if streams are to be used.

        Where there are as many streams as there can be, the block runs without.
        """
        with ExitStack() as stack:
            if self._auto:
                streams = candle_streams(series.market.code, series.timeframe, self.rules)
                with suppress(Overloaded):
                    stack.enter_context(self._wants.hold(streams))
            yield

    def want(self, series: Series, *, now_s: float) -> None:
        """Count that candles of `series` need a request, or would; stream them if that is often."""
        code = series.market.code
        asked_s = self._asked_s.setdefault(code, {})
        is_new = series.timeframe not in asked_s
        asked_s[series.timeframe] = now_s
        streams: dict[StreamKey, int] = {}
        for timeframe, at_s in list(asked_s.items()):
            if at_s + KEEP_CANDLES_S < now_s:
                del asked_s[timeframe]
            else:
                streams |= candle_streams(code, timeframe, self.rules)
        if len(self._asked_s) > KEYS_MAX:
            del self._asked_s[next(iter(self._asked_s))]
        # All timeframes of a market hang on the same streams, so it is the market that is wanted.
        self._note(
            StreamKey("candle", code),
            streams,
            now_s,
            told_by=StreamKey("candle", code, Timeframe.M1),
            keep_s=KEEP_CANDLES_S,
            at_once=is_new,
        )

    def reason(self, series: Series) -> str:
        """Return in words how the stream of candles is doing."""
        key = _main_stream(series.market.code, series.timeframe, self.rules)
        supply = self._supply(key, None, self._clock.now_s(), 1, None)
        return choose(Question(None, 0.0, 0.0), supply).reason

    # -------------------------------------------------------------- interest

    def _note(
        self,
        key: StreamKey,
        streams: Mapping[StreamKey, int],
        now_s: float,
        *,
        share: float = 1.0,
        saved: bool | None = None,
        told_by: StreamKey | None = None,
        keep_s: float = KEEP_S,
        at_once: bool = False,
    ) -> None:
        """Count a need of `key`, and lease its streams if a stream saves many."""
        rate = self._interest.note(key, now_s, share=share, saved=saved)
        stream = self._state(self.tables.streams.get(told_by or key))
        leased_s = self._leased_s.get(key, float("-inf"))
        is_leased = stream == "live" and now_s < leased_s + _LEASED_EVERY_S
        if not self._auto or (is_leased and not at_once):
            return
        question = Question(None, 0.0, rate, self._spare(key.kind))
        if choose(question, Supply(stream)).subscribe:
            self._wants.lease(streams, until_s=now_s + keep_s)
            self._leased_s.pop(key, None)
            self._leased_s[key] = now_s
            if len(self._leased_s) > KEYS_MAX:
                del self._leased_s[next(iter(self._leased_s))]


def _amount(told: LiveQuote) -> int:
    """Return how much of it the stream has: levels a side, trades, or one."""
    if isinstance(told.value, tuple):
        return len(told.value)
    return told.depth or 1


def _depth(key: StreamKey, amount: int) -> int:
    return amount if key.kind == "orderbook" else 0


def _main_stream(code: str, timeframe: Timeframe, rules: StreamRules) -> StreamKey:
    """Return the stream without which candles of a timeframe are not up to date."""
    if timeframe in rules.timeframes:
        return StreamKey("candle", code, timeframe)
    return StreamKey("ticker", code)
