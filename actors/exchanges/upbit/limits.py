"""What Upbit promises and demands, as numbers. Each says where it was read, and the day."""

from __future__ import annotations

from actors.exchanges.base import ExchangeRules, RateLimit
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

RULES = ExchangeRules(
    limits=dict.fromkeys(GROUPS, QUOTATION_LIMIT),
    timeframes=frozenset(CANDLE_PATHS),
    page_rows=PAGE_ROWS,
    tickers_max=TICKERS_MAX,
    trades_max=TRADES_MAX,
    history_ms={Timeframe.S1: SECONDS_HISTORY_MS},
)
