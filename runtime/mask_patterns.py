"""What looks like a secret or an amount, whether or not anybody told us of it.

Every pattern is linear in the text: stretches are possessive or bounded, and whatever is opened
and not closed reaches to the end.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

MASK = "***"

# Names of fields, as the end of a longer one too: `UPBIT_SECRET_KEY`, `openai-token`.
_NAMES_OF_SECRETS = (
    r"(?:access|secret|api|private|signing)[_-]?(?:key|secret)"
    r"|secret|password|passphrase|passwd|token|authorization|query_hash|ok-access-[a-z]{1,20}"
)
_NAMES_OF_AMOUNTS = r"balances?|locked|avg_buy_price|cashbal|availbal|eq"

IS_SECRET_NAME = re.compile(rf"(?:{_NAMES_OF_SECRETS})\Z", re.IGNORECASE)
IS_AMOUNT_NAME = re.compile(rf"(?:{_NAMES_OF_AMOUNTS})\Z", re.IGNORECASE)
IS_AMOUNT = re.compile(r"[-+]?\d[\d_,]*+(?:\.\d*+)?(?:[eE][-+]?\d++)?\Z")

_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{1,40}-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)", re.DOTALL
)
_RUN = re.compile(r"[A-Za-z0-9_.\-]{16,}+")
_SCHEME = re.compile(r"(?i:(bearer|basic))(\s{1,8}|%20|\+)([A-Za-z0-9._~+/=%\-]{8,}+)")

_QUOTED = (
    r"(?:\"(?:\\.|[^\"\\])*+(?:\"|\\?\Z)"
    r"|'(?:\\.|[^'\\])*+(?:'|\\?\Z)"
    # A quote that is escaped itself: the value ends at the next one escaped as often.
    r"|(?P<escaped>\\{1,8}[\"']).*?(?:(?P=escaped)|\Z))"
)
_VALUE = (
    rf"(?:[bru]{{1,2}}(?=[\"']))?(?P<value>{_QUOTED}"
    r"|(?:(?:bearer|basic)(?:\s{1,8}|%20|\+))?[^\s&,;\"'{}()\[\]<>\\]++)"
)
_SECRET_FIELD = re.compile(
    # Upbit's own words for what is wrong with a key are no names of fields.
    rf"(?P<name>(?<!invalid_)(?<!expired_)(?<!no_authorization_)(?:{_NAMES_OF_SECRETS})"
    r"(?:\\{0,8}[\"'])?\s{0,8}(?:=>|%3D|[:=])\s{0,8})" + _VALUE,
    re.IGNORECASE | re.DOTALL,
)
# As in a list of headers: `(b'Authorization', b'Bearer ...')`.
_SECRET_PAIR = re.compile(
    rf"(?P<name>[(\[][bru]{{0,2}}[\"'][\w-]{{0,40}}?(?:{_NAMES_OF_SECRETS})[\"'],\s{{0,8}})"
    + _VALUE,
    re.IGNORECASE | re.DOTALL,
)
_AMOUNT_FIELD = re.compile(
    rf"(?<![A-Za-z0-9_])(?P<name>(?:{_NAMES_OF_AMOUNTS})(?:\\{{0,8}}[\"'])?\s{{0,8}}[:=]\s{{0,8}}"
    r"(?:Decimal\()?(?:\\{0,8}[\"'])?)"
    r"(?P<value>[-+]?\d[\d_,.]*+(?:e[-+]?\d++)?"
    # Something with amounts in it, and one level deeper.
    r"|[\[{(](?:[^\[\](){}]|[\[{(][^\[\](){}]*+[\])}])*+)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![A-Za-z0-9_.])[-+]?\d[\d_.]*+(?:[eE][-+]?\d++)?")
# Names of Python and JSON for nothing, yes and no.
_SAYS_NOTHING = frozenset({"none", "null", "true", "false", MASK})


def is_suspicious(text: str) -> bool:
    """Return whether `mask_patterns` may change the text; quickly, for most lines of a log."""
    lower = text.lower()
    return any(hint in lower for hints, _, _ in _STEPS for hint in hints)


def token_spans(text: str) -> list[tuple[int, int]]:
    """Return where tokens and private keys stand, each whole.

    What is known of may stand inside of one: once that is hidden, the rest looks like nothing.
    """
    lower = text.lower()
    spans: list[tuple[int, int]] = []
    if "-----begin" in lower:
        spans += [match.span() for match in _PEM.finditer(text)]
    if "eyj" in lower:
        spans += [span for match in _RUN.finditer(text) if (span := _token_span(match))]
    if "bearer" in lower:
        spans += [match.span(3) for match in _SCHEME.finditer(text) if match[1].lower() == "bearer"]
    return spans


def mask_patterns(text: str) -> str:
    """Return the text without what looks like a secret or an amount."""
    lower = text.lower()
    for hints, pattern, replace in _STEPS:
        if any(hint in lower for hint in hints):
            text = pattern.sub(replace, text)
    return text


def _token_span(match: re.Match[str]) -> tuple[int, int] | None:
    """Return where in a run of its characters a JSON web token is, with whatever hangs on it."""
    run = match[0]
    start = run.find("eyJ")
    if start < 0 or "." not in run[start:].rstrip("."):
        return None
    return match.start() + start, match.start() + len(run.rstrip("."))


def _in_run(match: re.Match[str]) -> str:
    span = _token_span(match)
    if span is None:
        return match[0]
    start, end = span[0] - match.start(), span[1] - match.start()
    return match[0][:start] + MASK + match[0][end:]


def _in_scheme(match: re.Match[str]) -> str:
    # "Basic settings" is English; name and password in base64 have a colon between them.
    if match[1].lower() == "basic" and not _holds_colon(match[3]):
        return match[0]
    return match[1] + match[2] + MASK


def _holds_colon(encoded: str) -> bool:
    core = encoded.replace("%3D", "").rstrip("=.")
    try:
        return b":" in base64.b64decode(core + "=" * (-len(core) % 4), altchars=b"-_")
    except binascii.Error:
        # Cut off in the middle, or no base64 at all.
        return False


def _in_secret_field(match: re.Match[str]) -> str:
    value = match["value"]
    quote = match["escaped"] or (value[0] if value[0] in "\"'" else "")
    inner = value.removeprefix(quote).removesuffix(quote) if quote else value
    if not inner or inner.lower() in _SAYS_NOTHING:
        return match[0]
    return f"{match['name']}{quote}{MASK}{quote}"


def _in_amount_field(match: re.Match[str]) -> str:
    value = match["value"]
    inner = _NUMBER.sub(MASK, value) if value[0] in "[{(" else MASK
    return match["name"] + inner


_HINTS = (
    *("secret", "_key", "-key", "accesskey", "apikey", "privatekey", "signingkey"),
    *("passw", "passp", "token", "authorization", "query_hash", "ok-access"),
)
# For each pattern words of which one, in lower case, is in every text that it changes: looking for
# them is many times faster than the pattern is.
_STEPS: tuple[
    tuple[tuple[str, ...], re.Pattern[str], Callable[[re.Match[str]], str] | str], ...
] = (
    (("-----begin",), _PEM, MASK),
    (("eyj",), _RUN, _in_run),
    (("bearer", "basic"), _SCHEME, _in_scheme),
    (_HINTS, _SECRET_FIELD, _in_secret_field),
    (_HINTS, _SECRET_PAIR, _in_secret_field),
    (
        (
            *("balance", "locked", "avg_buy", "cashbal", "availbal"),
            *('eq"', "eq'", "eq\\", "eq=", "eq:", "eq "),
        ),
        _AMOUNT_FIELD,
        _in_amount_field,
    ),
)
