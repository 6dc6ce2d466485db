"""What leaves is masked, whatever holds it; and what is no secret stays as it is."""

from __future__ import annotations

import base64
import json
import logging
import sys
import threading
import timeit
import warnings
from collections.abc import Callable
from io import StringIO
from typing import Any
from urllib.parse import quote, quote_plus

import jwt
import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runtime.mask_patterns import MASK
from runtime.masking import (
    JSON_BYTES_MAX,
    TEXT_CHARS_MAX,
    WITHHELD,
    Masker,
    MaskingFormatter,
    masked_hooks,
)

CANARY = "cAnArY0123456789abcdefXYZ"

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "url-safe base64": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded form": quote_plus,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON of msgspec": lambda text: msgspec.json.encode(text).decode()[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[3:-3],
    "repr": lambda text: repr(text)[1:-1],
    "repr of bytes": lambda text: repr(text.encode())[2:-1],
    "hexadecimal": lambda text: text.encode().hex(),
}

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
secret_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=60)


@settings(max_examples=60, deadline=None)
@given(secret=secret_texts, before=anything, after=anything, spelling=st.sampled_from([*SPELLINGS]))
def test_known_secret_never_leaves_whatever_is_around_it(
    secret: str, before: str, after: str, spelling: str
) -> None:
    """A secret in the middle of a word is as readable as one that stands alone."""
    spelt = SPELLINGS[spelling](secret)
    # What is masked and left together could spell it only if it has the mask itself in it.
    assume("*" not in secret and spelt not in before + MASK + after)
    masker = Masker()
    assert masker.learn(secret)

    assert spelt not in masker.mask(before + spelt + after)
    as_json = masker.mask_json(msgspec.json.encode({"x": [before + spelt + after]}))
    assert spelt not in msgspec.json.decode(as_json)["x"][0]


@given(st.data())
def test_token_goes_whole_where_a_piece_of_it_is_known(data: st.DataObject) -> None:
    """Once the piece is hidden, what is left of the token does not look like one any more."""
    token = jwt.encode({"access_key": CANARY, "nonce": "7"}, CANARY * 3, algorithm="HS512")
    start = data.draw(st.integers(0, len(token) - 8))
    end = data.draw(st.integers(start + 8, len(token)))
    masker = Masker()
    assert masker.learn(token[start:end])

    assert masker.mask(f"got Bearer {token}, and {token}.") == f"got Bearer {MASK}, and {MASK}."


@given(secret=st.binary(min_size=32, max_size=32))
def test_secret_that_is_no_text_is_found_in_base64_and_repr(secret: bytes) -> None:
    """A data key is random bytes."""
    masker = Masker()
    assert masker.learn(bytearray(secret))

    encoded = base64.b64encode(secret).decode()
    assert encoded not in masker.mask(f"a{encoded}z")
    assert repr(secret) not in masker.mask(f"key {secret!r}")


@pytest.mark.parametrize(
    "text",
    [
        f'{{"access_key": "{CANARY}"}}',
        f"{{'secret_key': '{CANARY}'}}",
        f"{{b'api_key': b'{CANARY}'}}",
        f'"{{\\"secret\\": \\"{CANARY}\\"}}"',
        f"?apiKey={CANARY}&market=KRW-BTC",
        f"UPBIT_SECRET_KEY={CANARY}",
        f"UPBIT_OPEN_API_ACCESS_KEY = '{CANARY}'",
        f"secret_key='{CANARY[:9]}\\'{CANARY[9:]}'",
        f"passphrase: {CANARY}",
        f"query_hash%3D{CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"authorization='Bearer {CANARY}'",
        f"[(b'Authorization', b'Bearer {CANARY}')]",
        f"sent Bearer {CANARY} to",
        "Basic " + base64.b64encode(f"user:{CANARY}".encode()).decode(),
        f"OK-ACCESS-SIGN: {CANARY}",
        f"('OK-ACCESS-PASSPHRASE', '{CANARY}')",
        f"[['x-api-key', '{CANARY}']]",
        f"xeyJhbGciOiJIUzUxMiJ9.{CANARY}.{CANARY}y",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----",
        f"-----BEGIN RSA PRIVATE KEY-----\\n{CANARY}",
        f'token="{CANARY} never closed',
    ],
)
def test_what_looks_like_a_secret_is_masked_though_nobody_named_it(text: str) -> None:
    """Keys of a caller who makes a mistake were never learnt."""
    masked = Masker().mask(f"before {text}")

    for part in (CANARY, CANARY[9:], base64.b64encode(f"user:{CANARY}".encode()).decode()):
        assert part not in masked
    assert masked.startswith("before ")
    assert MASK in masked
    assert Masker().mask(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "balance=98765.4321",
        "Balance(currency='KRW', balance='98765.4321', locked='0')",
        '{"avg_buy_price":"98765.4321"}',
        "'availBal': 98765.4321",
        "locked=Decimal('98765.4321')",
        "balances={'KRW': '98765.4321', 'BTC': '1'}",
        "balances={'BTC': {'total': 1}, 'KRW': {'total': 98765.4321}}",
        '{\\"eq\\":\\"98765.4321\\"}',
    ],
)
def test_amounts_of_an_account_are_masked(text: str) -> None:
    """What somebody owns is nobody's business either."""
    assert "98765" not in Masker().mask(text)
    assert MASK in Masker().mask(text)


WORDS = st.one_of(
    st.from_regex(r"[A-Z]{3,4}-[A-Z0-9]{2,8}", fullmatch=True),
    st.uuids().map(str),
    st.from_regex(r"[a-z]{1,12}", fullmatch=True),
    st.integers().map(str),
    st.floats(allow_nan=False).map(repr),
    st.datetimes().map(lambda time: time.isoformat()),
    st.sampled_from(
        (
            *("equal to", "sequence=5", "the key upbit:main", "Basic settings", "tokens: 5"),
            *("no secret", "unlock: passphrase", "market=KRW-BTC", "token=None", "a,b"),
            *('"balances":["KRW","BTC"]', '{"name":"invalid_access_key","message":"no"}'),
            *("expired_access_key: renew it", '["no_authorization_i_p", "token"]'),
        )
    ),
)


@settings(deadline=None)
@given(words=st.lists(WORDS, max_size=30))
def test_ordinary_text_stays_as_it_is(words: list[str]) -> None:
    """A log that hides half of itself helps nobody."""
    masker = Masker()
    masker.learn(CANARY)
    text = " ".join(words)

    assert masker.mask(text) == text


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "market": st.sampled_from(["KRW-BTC", "KRW-ETH"]),
                "opening_price": st.floats(allow_nan=False, allow_infinity=False),
                "timestamp": st.integers(0, 2**53),
                "key": st.text(max_size=20).filter(lambda text: Masker().mask(text) == text),
            }
        )
    )
)
def test_json_without_secrets_is_the_same_bytes(rows: list[dict[str, Any]]) -> None:
    """Not one digit of a price is rewritten."""
    masker = Masker()
    masker.learn(CANARY)
    data = msgspec.json.encode(rows)

    assert masker.mask_json(data) == data


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just(CANARY),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["secret", "balance", "a", CANARY, "token"]) | st.text(max_size=9),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(value=JSON, is_ascii=st.booleans(), indent=st.sampled_from([None, 1]))
def test_masked_json_is_json_of_the_same_shape(value: Any, is_ascii: bool, indent: int) -> None:  # noqa: FBT001
    """A client that cannot decode the answer sees nothing of it."""
    masker = Masker()
    masker.learn(CANARY)
    data = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()

    masked = masker.mask_json(data)

    assert CANARY.encode() not in masked
    assert type(json.loads(masked)) is type(value) or isinstance(value, int)


def test_json_below_a_secret_name_is_hidden_and_the_rest_is_not() -> None:
    """Names tell what the values are; currencies are no amounts."""
    data = (
        b'{"secret": {"a": ["x1", null, 7]}, "n": 1.50, "balances": ["KRW", "1.5", 2],'
        b' "api_key": "", "token": "t", "\\u0073ecret_key": "x2"}'
    )

    assert Masker().mask_json(data) == (
        b'{"secret": {"a": ["***", null, "***"]}, "n": 1.50, "balances": ["KRW", "***", "***"],'
        b' "api_key": "", "token": "***", "\\u0073ecret_key": "***"}'
    )


def test_secret_shorter_than_eight_characters_is_not_learnt() -> None:
    """It would be found in ordinary words; whoever tries is told."""
    masker = Masker()

    assert not masker.learn("1234567")
    assert not masker.learn("비밀번호".encode())
    assert masker.learn("12345678")
    assert masker.mask("1234567 12345678") == "1234567 ***"


def test_one_secret_too_many_is_refused_and_those_before_stay_hidden() -> None:
    """Forgetting an old one for a new one would let the old one out."""
    masker = Masker(secrets_max=2)
    learnt = [masker.learn(secret) for secret in ("first-secret", "second-secret", "third-secret")]

    assert learnt == [True, True, False]
    assert masker.learn("first-secret")
    assert masker.mask("first-secret second-secret third-secret") == "*** *** third-secret"
    masker.forget_all()
    assert len(masker) == 0
    assert masker.mask("first-secret") == "first-secret"


def test_masker_holds_no_secret() -> None:
    """What it keeps are hashes; a dump of the object shows nothing."""
    masker = Masker()
    masker.learn(CANARY)

    held = repr([vars(masker._known)])
    assert CANARY not in held
    assert CANARY[:6] not in held


def test_long_text_is_cut_and_no_half_of_a_secret_stays() -> None:
    """The end of the part that is kept is where a secret would be cut in two."""
    masker = Masker(text_chars_max=1_000)
    masker.learn(CANARY)
    for cut in range(len(CANARY) + 2):
        text = "x " * ((1_000 - cut) // 2) + "-" * (cut % 2) + CANARY + " y" * 100
        masked = masker.mask(text)
        assert masked.endswith(f"[cut: it had {len(text)} characters]")
        assert len(masked) < 1_100
        assert CANARY[:4] not in masked


def test_what_cannot_be_masked_is_withheld() -> None:
    """Better no line than one that nobody has looked at."""
    wrong: Any = 5

    assert Masker().mask(wrong) == WITHHELD
    for data in (b"\xff", b'"' + b"x" * JSON_BYTES_MAX + b'"', b"]secret"):
        assert json.loads(Masker().mask_json(data)) == WITHHELD


@pytest.mark.real_time
@pytest.mark.parametrize(
    "piece", ["eyJ", "eyJ.", "secret='", "token=\\'", "-----BEGIN A-----", "balances=[", "Basic a"]
)
def test_hostile_text_takes_no_longer_than_its_size(piece: str) -> None:
    """An exchange, or whoever writes to us, must not be able to stop the loop."""
    text = piece * (TEXT_CHARS_MAX // len(piece))
    masker = Masker()
    masker.learn(CANARY)

    assert timeit.timeit(lambda: masker.mask(text), number=1) < 0.5


def log_of(masker: Masker, log: Callable[[logging.Logger], None]) -> str:
    """Return what a logger writes through the formatter."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(MaskingFormatter(masker, "%(levelname)s %(message)s"))
    logger = logging.Logger("test")  # noqa: LOG001 - one that nobody else has
    logger.addHandler(handler)
    log(logger)
    return stream.getvalue()


def test_log_lines_are_masked_with_their_tracebacks() -> None:
    """A secret is in an exception's text more often than in a message."""
    masker = Masker()
    masker.learn(CANARY)

    def log(logger: logging.Logger) -> None:
        try:
            fail()
        except ValueError:
            logger.exception("failed for %s", CANARY)

    written = log_of(masker, log)
    assert "ValueError: ***" in written
    assert written.startswith("ERROR failed for ***")
    assert CANARY not in written


def test_log_line_that_cannot_be_written_shows_no_arguments() -> None:
    """The standard library prints them as they are."""
    written = log_of(Masker(), lambda logger: logger.error("%d", CANARY))

    assert written == "ERROR test: [a line that cannot be written: TypeError]\n"


def fail() -> None:
    """Fail as a thread does that nobody looks after."""
    raise ValueError(CANARY)


def test_what_python_prints_by_itself_is_masked_and_put_back_afterwards() -> None:
    """Uncaught exceptions, warnings and logs of other libraries go to standard error, too."""
    stream = StringIO()
    masker = Masker()
    masker.learn(CANARY)
    before = (sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning)
    with warnings.catch_warnings(), masked_hooks(masker, stream):
        warnings.simplefilter("always")
        sys.excepthook(ValueError, ValueError(f"main {CANARY}"), None)
        thread = threading.Thread(target=fail, name="worker")
        thread.start()
        thread.join()
        warnings.showwarning(f"warned {CANARY}", UserWarning, "file.py", 1)
        assert logging.lastResort is not None
        logging.lastResort.handle(
            logging.LogRecord("lib", logging.ERROR, "f", 1, "said %s", (CANARY,), None)
        )

    written = stream.getvalue()
    assert CANARY not in written
    for line in ("ValueError: main ***", "thread worker", "warned ***", "said ***"):
        assert line in written
    after = (sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning)
    assert after == before


@pytest.mark.real_time
def test_log_line_is_masked_in_microseconds() -> None:
    """Every line pays it; 30 us are wanted, and the bound leaves room for a busy machine."""
    masker = Masker()
    for number, length in enumerate((40, 40, 40, 36, 36, 36, 32, 32, 16, 16)):
        masker.learn(base64.b85encode(bytes([number]) * 40).decode()[:length])
    line = "INFO marketd.feed: subscribed to KRW-BTC,KRW-ETH; last message 0.3 s ago; " * 3

    taken_s = min(timeit.repeat(lambda: masker.mask(line[:200]), number=100, repeat=5)) / 100
    assert taken_s < 100e-6
