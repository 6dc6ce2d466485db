"""Which channel answers a question about a market: the stream, memory, or a request. Plain code.

Fixed rules come first: a stream that is not there, not confirmed or not trusted answers nothing,
and neither does one that told nothing yet, or less than is asked for. Where both could answer, the
stream does, because that costs nothing more; its answer is as fresh as can be. What is left to
weigh is whether to *have* a stream of something, and that is a matter of cost:

- a request costs one slot of its group, and more the fewer are spare;
- a stream costs `CARRY` a second, in slots: its frames are received and decoded whether anybody
  asks or not;
- a question that memory would answer anyway costs nothing on either channel, and does not count.

So the score is the requests that a stream would save in a second, over what it costs in a second.
From `BEGIN_SCORE` on the stream is worth subscribing to, and from `GO_ON_SCORE` on worth keeping.
It is kept for `KEEP_S` after the last question: as long as it may be carried for the cost of
letting it go and subscribing anew, which are two texts. Whoever waits just so long never pays more
than twice what he would who knows when the next question comes. Measured against such a one
(`tests/benchmarks/test_router_benchmark.py`) none of these numbers is delicate: half or twice as
much changes less than one choice in a hundred.

A stream that broke is left at once, and trusted again only after it has been whole for a while,
which doubles with every break and is forgiven in time: one that comes and goes would be worse than
none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from actors.feed_tables import LineState

Channel: TypeAlias = Literal["stream", "memory", "request"]

# What a stream costs in a second, in requests: it pays from one request in 50 seconds on.
CARRY = 0.02
BEGIN_SCORE = 1.0
GO_ON_SCORE = 0.6
KEEP_S = 100.0
# Candles whose stream was let go take a page for each timeframe to go on.
KEEP_CANDLES_S = 600.0
# Where slots are scarce a request is dearer, up to so many times.
DEAREST = 5.0
# A connection says at least this often that it is up, when nothing else is told.
HEARD_S_MAX = 15.0

_TRUST_S = 2.0
_TRUST_S_MAX = 120.0
_FORGIVEN_S = 600.0


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, as far as the choice of a channel goes.

    Attributes:
      max_age_s: How old the answer may be, if the question says so; None if it does not.
      usual_age_s: How old an answer from memory may be where a question does not say.
      rate: How many requests it needs without a stream, in requests a second.
      spare: How much of the request limit is unused, 0 to 1.
    """

    max_age_s: float | None
    usual_age_s: float
    rate: float
    spare: float = 1.0


@dataclass(frozen=True, slots=True)
class Supply:
    """What there is to answer with.

    Attributes:
      stream: How the stream is doing: `none` if nobody wants it, `asked` until it is confirmed,
        `live`, `silent`, or `broken` if the connection is not up.
      trusted: Whether it has been whole for long enough.
      heard_age_s: How long ago the connection was heard, in seconds.
      told_age_s: How long ago the stream told what it has; None if it has not enough.
      memory_age_s: How old the answer of the last request is; None if there is none.
    """

    stream: Literal["none", "asked", "live", "silent", "broken"]
    trusted: bool = True
    heard_age_s: float = math.inf
    told_age_s: float | None = None
    memory_age_s: float | None = None


class Choice(NamedTuple):
    """The channel, and why.

    Attributes:
      channel: Which.
      subscribe: Whether the stream is worth having from now on.
      reason: In words.
    """

    channel: Channel
    subscribe: bool
    reason: str


def choose(question: Question, supply: Supply) -> Choice:
    """Return which channel answers `question`, and whether to have a stream of it."""
    begins = supply.stream == "none"
    subscribe = score(question) >= (BEGIN_SCORE if begins else GO_ON_SCORE)
    why_not = _why_no_stream(question, supply)
    if not why_not:
        return Choice("stream", subscribe, f"the stream told it {supply.told_age_s:.1f} s ago")
    most_s = question.usual_age_s if question.max_age_s is None else question.max_age_s
    if supply.memory_age_s is not None and supply.memory_age_s <= most_s:
        reason = f"{why_not}; asked {supply.memory_age_s:.1f} s ago for somebody else"
        return Choice("memory", subscribe, reason)
    return Choice("request", subscribe, why_not)


def score(question: Question) -> float:
    """Return the requests that a stream would save, over what it costs."""
    dearness = min(DEAREST, 1.0 / max(question.spare, 1.0 / DEAREST))
    return question.rate * dearness / CARRY


_NOT_THERE = {
    "none": "not streamed, because it is not asked for often enough",
    "asked": "the stream has just been asked for",
    "broken": "the stream's connection is not up",
    "silent": "the stream has fallen silent",
}


def _why_no_stream(question: Question, supply: Supply) -> str:
    """Return why the stream cannot answer; empty if it can."""
    told_s, most_s, why = supply.told_age_s, question.max_age_s, ""
    if supply.stream != "live":
        why = _NOT_THERE[supply.stream]
    elif not supply.trusted:
        why = "the stream is up again, but not for long enough to be relied on"
    elif told_s is None:
        why = "the stream has not told so much yet"
    elif most_s is not None and told_s > most_s:
        why = f"the stream last told something {told_s:.1f} s ago"
    elif supply.heard_age_s > HEARD_S_MAX:
        why = f"the stream's connection was last heard {supply.heard_age_s:.1f} s ago"
    return why


class Trust:
    """Whether the streams of one exchange may be relied on, by how they have been."""

    def __init__(self) -> None:
        self._breaks = 0
        self._up_since_s: float | None = None
        self._was_up = False

    def is_trusted(self, line: LineState | None, now_s: float) -> bool:
        """Take note of how the connection is, and return whether its streams can be relied on."""
        if line is None or line.state != "live":
            self._breaks += self._was_up
            self._was_up, self._up_since_s = False, None
            return False
        if self._up_since_s != line.since_s:
            # It may have gone and come back while nobody looked.
            self._breaks += self._was_up
            self._was_up, self._up_since_s = True, line.since_s
        whole_s = now_s - line.since_s
        if whole_s >= _FORGIVEN_S:
            self._breaks = 0
        return whole_s >= self._wait_s()

    def _wait_s(self) -> float:
        if not self._breaks:
            return 0.0
        return min(_TRUST_S_MAX, _TRUST_S * 2.0 ** min(self._breaks - 1, 20))
