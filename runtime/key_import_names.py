"""Of which exchange a key in somebody else's file is: what the file says, and never a guess."""

from __future__ import annotations

import re

_EXCHANGES = ("upbit", "okx", "okex")
_ALIASES = {"okex": "okx"}
# Files of other programs have keys of other exchanges, too; they are passed over. The usual ones,
# as ccxt calls them: what is missing here is not taken either, unless it is alone in its file.
_ELSEWHERE = (
    *("ascendex", "backpack", "bequant", "bigone", "binance", "binancecoinm", "binanceus"),
    *("binanceusdm", "bingx", "bitbank", "bitfinex", "bitflyer", "bitget", "bithumb", "bitmart"),
    *("bitmex", "bitopro", "bitrue", "bitso", "bitstamp", "bitvavo", "bybit", "coinbase"),
    *("coinbaseadvanced", "coinbaseexchange", "coinbaseinternational", "coinbasepro", "coincheck"),
    *("coinex", "coinone", "coinspot", "cryptocom", "deribit", "digifinex", "exmo", "gate"),
    *("gateio", "gemini", "gopax", "hashkey", "hitbtc", "htx", "huobi", "hyperliquid"),
    *("independentreserve", "indodax", "korbit", "kraken", "krakenfutures", "kucoin"),
    *("kucoinfutures", "latoken", "lbank", "luno", "mexc", "myokx", "okcoin", "okxus", "phemex"),
    *("poloniex", "probit", "upbitid", "upbitsg", "upbitth", "whitebit", "woo", "woofipro", "xt"),
    *("zaif", "zebpay"),
)

# What is said of such a key.
ELSEWHERE = "is of an exchange that has no keys here"


def _beginning(names: tuple[str, ...]) -> re.Pattern[str]:
    # Whole words only: `okxus` is another exchange than `okx`, and `gateway` is none.
    return re.compile(rf"({'|'.join(names)})(?![a-z])[\s_-]*(.*)\Z", re.IGNORECASE | re.DOTALL)


_OURS, _OTHERS = _beginning(_EXCHANGES), _beginning(_ELSEWHERE)


def exchange_of(word: str) -> tuple[str, str] | None:
    """Return the exchange a word begins with, and the rest of it: `okx_main` is `okx` and `main`.

    Args:
      word: What an entry is called, or what it says of its exchange.

    Returns:
      None if it begins with no exchange that keys are kept of.
    """
    match = _OURS.match(word)
    if match is None:
        return None
    name = match[1].lower()
    return _ALIASES.get(name, name), match[2]


def is_elsewhere(word: str) -> bool:
    """Return whether a word begins with an exchange that no keys are kept of."""
    return _OTHERS.match(word) is not None


def exchange_within(name: str) -> tuple[str, str]:
    """Return the exchange that is a word of the lower-case name of a variable, and that word.

    Words are what stands between `_`: `upbitsg` is another exchange than `upbit`.

    Returns:
      Twice nothing if there is none.
    """
    word = next((each for each in name.split("_") if each in _EXCHANGES), "")
    return _ALIASES.get(word, word), word


def is_elsewhere_within(name: str) -> bool:
    """Return whether a word of the lower-case name of a variable is an exchange without keys here.

    Also one that only begins like an exchange that has keys: whose it is, nobody can tell.
    """
    words = name.split("_")
    begun = (each for each in words if each not in _EXCHANGES and each.startswith(_EXCHANGES))
    return any(each in _ELSEWHERE for each in words) or any(begun)
