"""The raw view: a question asked as usual, and answered as the exchange itself would write it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from actors.errors import InvalidRequest
from runtime.core.message import Request
from runtime.messages import GetRaw, RawAnswer
from runtime.protocol import Malformed, parse_message


def raw_question(request: GetRaw) -> Request[Any]:
    """Return the question that `request` is about.

    Raises:
      InvalidRequest: There is no raw view of it, or a parameter is wrong.
    """
    if request.method not in RAW_METHODS:
        names = " ".join(RAW_METHODS)
        raise InvalidRequest(f"raw: method must be one of {names}, was {request.method!r:.60}")
    try:
        return parse_message(request.method, request.params)
    except Malformed as error:
        raise InvalidRequest(f"raw: {error}") from None


RAW_METHODS = ("candles", "ticker", "tickers", "orderbook", "trades")


async def answer_raw(
    request: GetRaw,
    ask: Callable[[Request[Any]], Awaitable[Any]],
    write: Callable[[Request[Any], Any], list[dict[str, Any]]],
) -> RawAnswer:
    """Return the answer to `request`.

    Args:
      request: What is asked.
      ask: Answers the question itself, or raises the error that is the answer.
      write: Turns question and answer into what the exchange would send.

    Raises:
      InvalidRequest: As in `raw_question`.
    """
    question = raw_question(request)
    answer = await ask(question)
    parts = answer if isinstance(answer, tuple) else (answer,)
    return RawAnswer(
        data=write(question, answer),
        source=", ".join(dict.fromkeys(part.source for part in parts)),
        reason="; ".join(dict.fromkeys(part.reason for part in parts if part.reason)),
    )
