"""What Upbit promises and demands, as numbers. Each says where it was read, and the day."""

from __future__ import annotations

from actors.exchanges.base import ExchangeRules, GroupRules, RateLimit
from actors.exchanges.streams import StreamRules
from actors.timeframes import Timeframe

# Source: https://docs.upbit.com/kr/reference/rate-limits, read 2026-11-21: 10 a second for each of
# the quotation groups, counted separately and by address. A measurement of the real server
# (2025-09-12) agrees: ten at once pass, the eleventh is refused.
QUOTATION_LIMIT = RateLimit(requests=10, period_s=1.0)

# Source: https://docs.upbit.com/kr/reference/rate-limits, read 2026-11-21: the groups' own names,
# which `Remaining-Req` carries too.
GROUP_MARKET = "market"
GROUP_CANDLE = "candle"
GROUP_TICKER = "ticker"
GROUP_TRADE = "trade"
GROUP_ORDERBOOK = "orderbook"
GROUPS = (GROUP_MARKET, GROUP_CANDLE, GROUP_TICKER, GROUP_TRADE, GROUP_ORDERBOOK)

# Source: https://docs.upbit.com/kr/reference/list-candles-minutes, read 2026-11-21: `count` at most
# 200, and 1 if it is not sent.
PAGE_ROWS = 200

# Source: none by Upbit, looked for 2026-11-21. Clients that asked for every market in one call met
# a URL that was too long, and settled on 100 (sharebook-kr/pyupbit, issue 125).
TICKERS_MAX = 100

# Source: the package upbit-sdk 1.1.0, Upbit's own, read 2026-11-21: `count` of
# trades/ticks at most 500.
TRADES_MAX = 500

# Source: https://docs.upbit.com/kr/reference/list-candles-seconds, read 2026-11-21: seconds go back
# three months at most. The shortest three months have 89 days.
SECONDS_HISTORY_MS = 89 * 24 * 60 * 60 * 1000

# Source: https://docs.upbit.com/kr/reference/rate-limits, read 2026-11-21: a 418 says how long the
# block lasts, in a form that is not documented. This is what we tell callers if it cannot be read.
BAN_S = 60.0

# Source: https://docs.upbit.com/kr/reference/list-candles-minutes, read 2026-11-21, and its
# siblings for seconds, days, weeks and months.
CANDLE_PATHS = {
    Timeframe.S1: "/v1/candles/seconds",
    Timeframe.M1: "/v1/candles/minutes/1",
    Timeframe.M3: "/v1/candles/minutes/3",
    Timeframe.M5: "/v1/candles/minutes/5",
    Timeframe.M10: "/v1/candles/minutes/10",
    Timeframe.M15: "/v1/candles/minutes/15",
    Timeframe.M30: "/v1/candles/minutes/30",
    Timeframe.H1: "/v1/candles/minutes/60",
    Timeframe.H4: "/v1/candles/minutes/240",
    Timeframe.D1: "/v1/candles/days",
    Timeframe.W1: "/v1/candles/weeks",
    Timeframe.MN1: "/v1/candles/months",
}

# Source: https://docs.upbit.com/kr/reference/rate-limits, read 2026-11-21: 5 new connections a
# second, counted by address where nobody is logged in.
GROUP_CONNECT = "websocket-connect"
CONNECT_LIMIT = RateLimit(requests=5, period_s=1.0)

# Source: https://docs.upbit.com/kr/reference/rate-limits, read 2026-11-21: of each connection, 5
# texts a second and 100 a minute. What they ask for does not matter.
GROUP_MESSAGE = "websocket-message"
MESSAGE_LIMITS = (RateLimit(requests=5, period_s=1.0), RateLimit(requests=100, period_s=60.0))

# Source: https://docs.upbit.com/kr/reference/rate-limits, read 2026-11-21, and the change log of
# 2026-08-21, which raised `order` from 8 to 12. Counted by account; `default` is every private
# request that is in no other group.
PRIVATE_LIMITS = {
    "default": RateLimit(requests=30, period_s=1.0),
    "order": RateLimit(requests=12, period_s=1.0),
    "order-test": RateLimit(requests=8, period_s=1.0),
    "order-cancel-all": RateLimit(requests=1, period_s=2.0),
}

LIMITS = {
    **dict.fromkeys(GROUPS, GroupRules((QUOTATION_LIMIT,))),
    GROUP_CONNECT: GroupRules((CONNECT_LIMIT,)),
    GROUP_MESSAGE: GroupRules(MESSAGE_LIMITS, scope="connection"),
    **{name: GroupRules((limit,), scope="account") for name, limit in PRIVATE_LIMITS.items()},
}

# Source: https://docs.upbit.com/kr/reference/websocket-guide, read 2026-11-21: a connection on
# which nothing goes either way for 120 seconds is closed.
IDLE_S = 120.0

# Source: none by Upbit, looked for 2026-11-21. It confirms a subscription by nothing but its first
# snapshot, and says of no time; this one is ours.
CONFIRM_S = 5.0

# Source: https://docs.upbit.com/kr/reference/websocket-orderbook, read 2026-11-21: these numbers
# of levels, written behind the code, as in KRW-BTC.15.
STREAM_DEPTHS = (1, 5, 15, 30)

# Source: https://docs.upbit.com/kr/reference/websocket-candle, read 2026-11-21: no days.
CANDLE_STREAMS = {
    Timeframe.S1: "candle.1s",
    Timeframe.M1: "candle.1m",
    Timeframe.M3: "candle.3m",
    Timeframe.M5: "candle.5m",
    Timeframe.M10: "candle.10m",
    Timeframe.M15: "candle.15m",
    Timeframe.M30: "candle.30m",
    Timeframe.H1: "candle.60m",
    Timeframe.H4: "candle.240m",
}

RULES = ExchangeRules(
    limits=LIMITS,
    timeframes=frozenset(CANDLE_PATHS),
    page_rows=PAGE_ROWS,
    tickers_max=TICKERS_MAX,
    trades_max=TRADES_MAX,
    history_ms={Timeframe.S1: SECONDS_HISTORY_MS},
)

STREAM_RULES = StreamRules(
    connect_group=GROUP_CONNECT,
    message_group=GROUP_MESSAGE,
    message_limits=MESSAGE_LIMITS,
    idle_s=IDLE_S,
    confirm_s=CONFIRM_S,
    timeframes=frozenset(CANDLE_STREAMS),
    depths=STREAM_DEPTHS,
)
