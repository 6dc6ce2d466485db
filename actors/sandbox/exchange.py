"""The sandbox exchange without any I/O: a request goes in, the answer comes out.

`server.py` puts it behind a socket and `transport.py` behind httpx; both only carry bytes. Its
streams (`stream_desk.py`) stand beside it on the same markets, rules and time.
"""

from __future__ import annotations

import gzip
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from urllib.parse import parse_qsl

import msgspec

from actors.sandbox.accounts import SandboxAccount
from actors.sandbox.faults import Fault, Faults
from actors.sandbox.maintenance import Maintenance
from actors.sandbox.market import SandboxMarket
from actors.sandbox.parameters import BadQuery, Query
from actors.sandbox.private import PrivateDesk, find_route, is_private
from actors.sandbox.private_auth import Visitor
from actors.sandbox.private_words import PrivateRefusal
from actors.sandbox.quotation import Endpoint, View, route
from actors.sandbox.rules import RateRules, Verdict
from actors.sandbox.simulated_time import SimulatedTime
from actors.sandbox.stream_desk import StreamDesk
from actors.sandbox.stream_faults import StreamFaults
from runtime.core.clock import Clock

LOG_ROWS_MAX = 20_000

_OK = 200
_JSON = "application/json;charset=UTF-8"
_TEXT = "text/plain;charset=UTF-8"
_GARBAGE = b'[{"market":"KRW-BTC","trade_price":\xff\x00 <html>'
# Smaller bodies do not gain from it.
_GZIP_FROM_BYTES = 500

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a shell must send.

    Attributes:
      status: The HTTP status.
      headers: Header fields, without those that frame the body.
      body: The whole body.
      delivery: None to send it; else the fault in sending it: `HANG` sends nothing ever,
        `HALF_BODY` cuts the connection after half of the body, `AWAY` cuts it at once.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    delivery: Fault | None = None


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request that arrived.

    Attributes:
      now_s: When, in monotonic seconds.
      now_ms: The market's time then, UTC milliseconds.
      client: The address it came from.
      method: The HTTP method.
      path: The path without the query.
      query: The query as it was sent, percent-encoded; see `params`.
      status: What it was answered, or was going to be where a fault kept the answer back.
    """

    now_s: float
    now_ms: int
    client: str
    method: str
    path: str
    query: str
    status: int

    @property
    def params(self) -> dict[str, str]:
        """Return the query's parameters; of a repeated one the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


class SandboxExchange:
    """An exchange that speaks Upbit's REST format and keeps its rules.

    Attributes:
      markets: The markets by code, in the order they are listed.
      time: The market's time.
      rules: The request limits; counts refusals.
      faults: What is to go wrong with requests.
      stream_faults: What is to go wrong with streams and with time.
      maintenance: When the exchange is away.
      streams: Where streams are opened.
      private: Where accounts are served.
      log: The newest `LOG_ROWS_MAX` requests, oldest first.

    Args:
      markets: What is traded.
      clock: Where real time is read, for the request limits.
      time: The market's time.
      rules: The request limits; Upbit's at their strictest by default.
      row_lag_ms: How late trades show up in candles, in milliseconds of the market's time.
      stream_faults: What is to go wrong with streams and with time; nothing by default.
      maintenance: When nobody trades and nothing is answered; [start, end) in milliseconds of the
        market's time.
      accounts: Who may ask for more than market data.
    """

    def __init__(
        self,
        markets: Iterable[SandboxMarket],
        *,
        clock: Clock,
        time: SimulatedTime,
        rules: RateRules | None = None,
        row_lag_ms: int = 0,
        stream_faults: StreamFaults | None = None,
        maintenance: Iterable[tuple[int, int]] = (),
        accounts: Iterable[SandboxAccount] = (),
    ) -> None:
        self.maintenance = Maintenance(maintenance)
        self.markets = {market.code: self.maintenance.close(market) for market in markets}
        self.time = time
        self.rules = rules or RateRules()
        self.faults = Faults()
        self.stream_faults = stream_faults or StreamFaults()
        self.streams = StreamDesk(
            self.markets,
            clock=clock,
            time=time,
            rules=self.rules,
            faults=self.stream_faults,
            maintenance=self.maintenance,
        )
        self.private = PrivateDesk(accounts, self.markets)
        self.log: deque[RequestRecord] = deque(maxlen=LOG_ROWS_MAX)
        self._clock = clock
        self._row_lag_ms = row_lag_ms

    def calls(self, path: str = "") -> int:
        """Return how many of the logged requests went to paths that begin with `path`."""
        return sum(record.path.startswith(path) for record in self.log)

    def handle(
        self, method: str, target: str, headers: Headers, client: str, body: bytes = b""
    ) -> Answer:
        """Return the answer to one request.

        Args:
          method: The HTTP method.
          target: Path and query as sent, percent-encoded.
          headers: Header fields, in any case.
          client: The address the request came from; limits are kept per address, those of private
            requests per account.
          body: What came with it.
        """
        now_s, now_ms = self._clock.now_s(), self.time.now_ms()
        path, _, query_text = target.partition("?")
        fields = {name.lower(): value for name, value in headers}
        asked = _Asked(now_s, now_ms, method, path, query_text, body, fields, client)
        if self.maintenance.goes_on(now_ms):
            answer = self._away(now_s)
        else:
            answer = self._serve(asked) if is_private(path) else self._tell(asked)
        if answer.delivery is Fault.AWAY:
            # Nobody was there, so nothing is remembered.
            return answer
        self.log.append(
            RequestRecord(now_s, now_ms, client, method, path, query_text, answer.status)
        )
        dated_ms = now_ms + self.stream_faults.skew_ms
        date = ("Date", formatdate(dated_ms // 1000, usegmt=True))
        answer = replace(answer, headers=(date, *answer.headers))
        return _compressed(answer) if _accepts_gzip(fields) else answer

    def _tell(self, asked: _Asked) -> Answer:
        """Answer with market data."""
        found = route(asked.path)
        if found is None:
            return _error(404, "Not found")
        group, endpoint = found
        fault = self.faults.strike(group)
        if fault is Fault.AWAY:
            return Answer(503, (), b"", fault)
        verdict = self.rules.admit(
            group, asked.client, asked.now_s, origin="origin" in asked.fields
        )
        if verdict.status != _OK:
            answer = _refusal(verdict)
        elif asked.method != "GET":
            answer = _error(405, "Method not allowed")
        else:
            answer = self._ask(endpoint, asked.query_text, asked.now_ms, fault)
        return replace(answer, headers=(*answer.headers, verdict.header))

    def _serve(self, asked: _Asked) -> Answer:
        """Answer the holder of an account."""
        found = find_route(asked.method, asked.path)
        if found is None:
            return _named_error(PrivateRefusal(405, "method_not_allowed", "Method not allowed"))
        fault = self.faults.strike(found.group)
        if fault is Fault.AWAY:
            return Answer(503, (), b"", fault)
        visitor: Visitor | PrivateRefusal
        try:
            visitor = self.private.let_in(asked.fields, asked.now_ms)
            # Not an address: nobody else's requests may count as this account's.
            counted = f"account {visitor.account.name}"
        except PrivateRefusal as refused:
            visitor, counted = refused, asked.client
        verdict = self.rules.admit(found.group, counted, asked.now_s)
        if verdict.status != _OK:
            answer = _refusal(verdict)
        elif isinstance(visitor, PrivateRefusal):
            answer = _named_error(visitor)
        elif fault is Fault.STATUS_500:
            answer = _named_error(PrivateRefusal(500, "server_error", "Internal server error"))
        else:
            said = (asked.method, asked.query_text, asked.body)
            try:
                payload = self.private.serve(found, visitor, said, asked.now_ms)
                answer = _json(found.status, payload)
            except PrivateRefusal as refused:
                answer = _named_error(refused)
            # What was asked has happened, whether or not its answer arrives.
            answer = _spoilt(answer, fault)
        return replace(answer, headers=(*answer.headers, verdict.header))

    def _away(self, now_s: float) -> Answer:
        self.stream_faults.strike(now_s, "maintenance", 0, "request refused")
        return Answer(503, (("Content-Type", _TEXT),), b"Service Unavailable")

    def _ask(self, endpoint: Endpoint, query_text: str, now_ms: int, fault: Fault | None) -> Answer:
        if fault is Fault.STATUS_500:
            return _error(500, "Internal server error")
        swapped = fault is Fault.OTHER_MARKET
        view = View(
            self.markets,
            now_ms,
            now_ms - self._row_lag_ms,
            swapped=swapped,
            faults=self.stream_faults,
        )
        try:
            answer = _json(_OK, endpoint(view, Query(query_text)))
        except BadQuery as error:
            answer = _error(error.status, error.message)
        return _spoilt(answer, fault)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request in its parts, and when it came."""

    now_s: float
    now_ms: int
    method: str
    path: str
    query_text: str
    body: bytes
    fields: Mapping[str, str]
    client: str


def _spoilt(answer: Answer, fault: Fault | None) -> Answer:
    """Return what a fault leaves of an answer."""
    if fault is Fault.GARBAGE:
        return replace(answer, body=_GARBAGE)
    is_held_back = fault in (Fault.HANG, Fault.HALF_BODY)
    return replace(answer, delivery=fault) if is_held_back else answer


def _json(status: int, payload: object) -> Answer:
    return Answer(status, (("Content-Type", _JSON),), msgspec.json.encode(payload))


def _error(status: int, message: str) -> Answer:
    # The envelope of the quotation API, whose `name` is the status as a number.
    return _json(status, {"error": {"name": status, "message": message}})


def _named_error(refused: PrivateRefusal) -> Answer:
    # The envelope of the other endpoints, whose `name` is a word.
    envelope = {"name": refused.name, "message": refused.message}
    return _json(refused.status, {"error": envelope})


def _refusal(verdict: Verdict) -> Answer:
    # The words of a 429 are Upbit's. Those of a 418 are ours: all that is known is that they
    # state how long the block lasts.
    text = "Too many API requests."
    if verdict.block_s:
        text = f"Too many API requests. Blocked for {math.ceil(verdict.block_s)} seconds."
    return Answer(verdict.status, (("Content-Type", _TEXT),), text.encode())


def _accepts_gzip(fields: dict[str, str]) -> bool:
    for offer in fields.get("accept-encoding", "").lower().split(","):
        name, _, quality = offer.partition(";")
        if name.strip() in ("gzip", "*") and quality.replace(" ", "") not in ("q=0", "q=0.0"):
            return True
    return False


def _compressed(answer: Answer) -> Answer:
    if len(answer.body) < _GZIP_FROM_BYTES:
        return answer
    # Without a modification time, so that equal answers are equal bytes.
    body = gzip.compress(answer.body, compresslevel=1, mtime=0)
    return replace(answer, headers=(*answer.headers, ("Content-Encoding", "gzip")), body=body)
