"""`StreamWatch`: how each wanted stream is doing, and which are to be asked for anew. Plain code.

A stream is `asked` until something of it has come, then `live`. One that says nothing for longer
than its own patience is `silent` and asked for again; the snapshot that answers tells whether the
market was quiet, in which case it is given more time, or the stream had stalled. Where other
streams of a market that move with every trade go on, patience ends sooner.

Asking again costs all streams a snapshot, because only the whole set can be sent. So it is done
once for all that are due, and not again for `RENEW_S` and more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal

from actors.exchanges.streams import StreamKey, StreamRules
from actors.feed_tables import FeedPolicy, StreamState
from actors.series import Market
from runtime.core.table import TableWriter

# The set is not sent again for silence's sake before so many seconds have passed, and not before
# a fiftieth of a second has passed for each stream.
RENEW_S = 5.0
_RENEW_STREAM_S = 0.02
# So long may other streams of a market move alone.
SUSPECT_S = 10.0
# A stream that has been talking for so many times its patience is not a quiet one any more.
_TALKING = 10
# Doubling more often than this leads past any bound.
_DOUBLINGS_MAX = 16
_MOVES_WITH_TRADES = frozenset({"ticker", "trade", "candle"})


class Stream:
    """What is known of one wanted stream; read and written for every frame.

    Attributes:
      key: Which.
      market: Its market's name.
      topic: Under what its updates are published.
      depth: Levels of an order book that are asked for.
      depth_told: Levels that are told; they change with the first snapshot after asking.
      state: See `StreamState`.
      since_s: Since when.
      asked_s: When it was last sent for; None if not on this connection.
      tries: How often it was asked for in vain.
      checked_s: When it was last known to be whole.
      news_s: When it last told something new.
      made_ms: The exchange's time of the newest it told; -1 if nothing was told.
      traded_ms: Of a ticker: when the last trade happened that it told of; -1 if none.
      late_ms: The exchange's time of the last update that was older than that.
      late_s: When that came.
      late: How many such came in a row.
      patience_s: How long it may say nothing.
      quiet_s: When it was last found to have said nothing for half its shortest patience.
      alone_s: Since when other streams of its market move without it; None if they do not.
      told: Whether the cache knows that its rows come without a gap.
      gap: The number of its open gap; None if there is none.
    """

    __slots__ = (
        "alone_s",
        "asked_s",
        "checked_s",
        "depth",
        "depth_told",
        "gap",
        "key",
        "kind",
        "late",
        "late_ms",
        "late_s",
        "made_ms",
        "market",
        "news_s",
        "patience_s",
        "quiet_s",
        "since_s",
        "state",
        "told",
        "topic",
        "traded_ms",
        "tries",
    )

    def __init__(self, key: StreamKey, market: str, depth: int, now_s: float) -> None:
        self.key, self.kind, self.market = key, key.kind, market
        self.topic = ("trades" if key.kind == "trade" else key.kind, market, "")
        self.depth = self.depth_told = depth
        self.state: Literal["asked", "live", "silent"] = "asked"
        self.since_s = self.checked_s = self.news_s = self.quiet_s = now_s
        self.asked_s: float | None = None
        self.tries = 0
        self.made_ms = self.late_ms = self.traded_ms = -1
        self.late_s = float("-inf")
        self.late = 0
        self.patience_s = 0.0
        self.alone_s: float | None = None
        self.told = False
        self.gap: int | None = None


class StreamWatch:
    """The wanted streams of one exchange.

    Bound: as many as `Wants` lets in.

    Args:
      exchange: Its name.
      rules: What it promises of streams.
      policy: How patient we are.
      writer: The right to write the table of streams.
    """

    def __init__(
        self,
        exchange: str,
        rules: StreamRules,
        policy: FeedPolicy,
        writer: TableWriter[StreamKey, StreamState],
    ) -> None:
        self.streams: dict[StreamKey, Stream] = {}
        self._exchange = exchange
        self._rules = rules
        self._policy = policy
        self._writer = writer
        self._renewed_s = float("-inf")

    # -------------------------------------------------------------- what is wanted

    def want(self, wanted: Mapping[StreamKey, int], now_s: float) -> tuple[bool, list[Stream]]:
        """Make `wanted` the whole of what is watched.

        Returns:
          Whether more has to be asked for than before, and the streams that nobody wants any more.
        """
        more = False
        for key, wish in wanted.items():
            depth = self._depth(wish) if key.kind == "orderbook" else 0
            stream = self.streams.get(key)
            if stream is None:
                stream = Stream(key, str(Market(self._exchange, key.code)), depth, now_s)
                stream.patience_s = self._policy.silent_s
                self.streams[key] = stream
                more = True
            elif depth != stream.depth:
                more = more or depth > stream.depth
                stream.depth = depth
            else:
                continue
            self.publish(stream)
        gone = [self.streams.pop(key) for key in self.streams.keys() - wanted.keys()]
        for stream in gone:
            self._writer.delete(stream.key)
        return more, gone

    def subscription(self) -> dict[StreamKey, int]:
        """Return all that can be asked for, with the depths; the exchange may not know it all."""
        streamed = self._rules.timeframes
        return {
            key: stream.depth
            for key, stream in self.streams.items()
            if key.timeframe is None or key.timeframe in streamed
        }

    def _depth(self, wish: int) -> int:
        """Return the levels that are streamed if `wish` levels are asked for."""
        enough = (depth for depth in self._rules.depths if depth >= wish)
        return next(enough, self._rules.depths[-1])

    # -------------------------------------------------------------- what happens to them

    def sent(self, keys: Iterable[StreamKey], now_s: float) -> None:
        """Note that `keys` were asked for."""
        self._renewed_s = now_s
        for key in keys:
            stream = self.streams.get(key)
            if stream is not None and (stream.asked_s is None or stream.state != "live"):
                stream.asked_s = now_s

    def spoke(self, stream: Stream, now_s: float) -> None:
        """Note that a stream that was not live has told something."""
        self._change(stream, "live", now_s)
        stream.tries, stream.checked_s, stream.alone_s = 0, now_s, None

    def quiet(self, stream: Stream) -> None:
        """Note that a stream had nothing to say, and was no worse for it."""
        stream.patience_s = min(2 * stream.patience_s, self._policy.silent_s_max)

    def broke(self, now_s: float, keys: Collection[StreamKey] | None = None) -> list[Stream]:
        """Note that the connection of `keys`, or of all, ended; return those that were live."""
        broken = []
        for stream in self.streams.values():
            if keys is not None and stream.key not in keys:
                continue
            if stream.state != "asked":
                broken.append(stream)
                self._change(stream, "asked", now_s)
            # Where only some have broken, another connection has asked for them already.
            stream.asked_s = None if keys is None else now_s
            stream.tries, stream.alone_s = 0, None
        return broken

    def publish(self, stream: Stream) -> None:
        """Let readers know how `stream` is doing."""
        state = StreamState(stream.state, stream.since_s, stream.depth)
        self._writer.put(stream.key, state)

    def _change(
        self, stream: Stream, state: Literal["asked", "live", "silent"], now_s: float
    ) -> None:
        stream.state, stream.since_s = state, now_s
        self.publish(stream)

    # -------------------------------------------------------------- who is silent

    def renewals(self, now_s: float) -> list[Stream]:
        """Return the streams that are to be asked for again now; they count as asked."""
        self._suspect(now_s)
        spacing_s = max(RENEW_S, _RENEW_STREAM_S * len(self.streams))
        may = now_s - self._renewed_s >= spacing_s
        due = [stream for stream in self.streams.values() if self._is_due(stream, now_s)]
        if not (due and may):
            return []
        for stream in due:
            stream.tries += 1
            stream.asked_s = now_s
            if stream.state == "live":
                self._change(stream, "silent", now_s)
        return due

    def _is_due(self, stream: Stream, now_s: float) -> bool:
        if stream.state == "live":
            silence_s = now_s - stream.checked_s
            self._forgive(stream, silence_s, now_s)
            if silence_s >= stream.patience_s:
                return True
            # Where asking has shown before that nothing was lacking, this too takes longer.
            suspect_s = SUSPECT_S * stream.patience_s / self._policy.silent_s
            return stream.alone_s is not None and now_s - stream.alone_s >= suspect_s
        if stream.asked_s is None or not self._can_be_asked(stream.key):
            return False
        wait_s = self._rules.confirm_s * 2.0 ** min(stream.tries, _DOUBLINGS_MAX)
        return now_s - stream.asked_s >= min(wait_s, self._policy.silent_s_max)

    def _can_be_asked(self, key: StreamKey) -> bool:
        return key.timeframe is None or key.timeframe in self._rules.timeframes

    def _forgive(self, stream: Stream, silence_s: float, now_s: float) -> None:
        """Have the usual patience again with one that has been talking for long."""
        shortest_s = self._policy.silent_s
        if stream.patience_s == shortest_s:
            return
        if silence_s > shortest_s / 2:
            stream.quiet_s = now_s
        elif now_s - stream.quiet_s > _TALKING * shortest_s:
            stream.patience_s = shortest_s

    def _suspect(self, now_s: float) -> None:
        """Find live streams that stand still while others of their market move."""
        newest: dict[str, float] = {}
        moving = [s for s in self.streams.values() if s.kind in _MOVES_WITH_TRADES]
        for stream in moving:
            if stream.state == "live":
                newest[stream.market] = max(stream.news_s, newest.get(stream.market, 0.0))
        for stream in moving:
            if stream.state != "live":
                continue
            since_s = stream.alone_s
            if since_s is not None and max(stream.news_s, stream.checked_s) >= since_s:
                since_s = stream.alone_s = None
            if since_s is None and newest[stream.market] > stream.checked_s + 1.0:
                stream.alone_s = now_s

    # -------------------------------------------------------------- figures

    def of_state(self, *states: str) -> Iterator[Stream]:
        """Return the streams in one of `states`."""
        return (stream for stream in self.streams.values() if stream.state in states)

    def count(self, state: str) -> int:
        """Return how many streams are in `state`."""
        return sum(stream.state == state for stream in self.streams.values())
