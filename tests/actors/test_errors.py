"""The errors of the domain: drawn as they are, split by who must act."""

from __future__ import annotations

import builtins
import inspect
import pickle
import re

import pytest

from actors import errors
from runtime.core.errors import ActorError, DomainError

NODE = re.compile(r"^([│ ]*)[├└]── (\w+)")
CLASSES = [
    each
    for each in vars(errors).values()
    if inspect.isclass(each) and issubclass(each, errors.KeysError | errors.MarketDataError)
]


def drawn(drawing: str, root: str) -> set[tuple[str, str]]:
    """Return (child, parent) of each node in a drawing whose top is `root`."""
    path, pairs = [root], set()
    for line in drawing.splitlines():
        if node := NODE.match(line):
            depth = len(node[1]) // 4 + 1
            path[depth:] = [node[2]]
            pairs.add((node[2], path[depth - 1]))
    return pairs


def test_the_drawing_is_the_class_tree() -> None:
    """A reader who trusts the drawing must not be misled."""
    assert drawn(errors.__doc__ or "", "DomainError") == {
        (each.__name__, each.__bases__[0].__name__) for each in CLASSES
    }


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_is_an_answer_with_a_name_of_its_own(error: type[Exception]) -> None:
    """It never crashes an actor, and never hides a builtin."""
    assert issubclass(error, DomainError)
    assert not issubclass(error, ActorError)
    assert not hasattr(builtins, error.__name__)
    assert inspect.getdoc(error) != inspect.getdoc(error.__bases__[0])


def test_only_what_may_succeed_later_says_so() -> None:
    """A bot that tries a bad request again only spends its budget."""
    again = {each.__name__ for each in CLASSES if each.retryable}

    assert again == {
        *("AuditFailed", "ExchangeUnavailable", "Overloaded", "RateLimited", "StoreUnavailable")
    }


def test_an_error_carries_what_a_bot_needs_to_act() -> None:
    """How long to wait, and the exchange's own word for its reason."""
    limited = errors.RateLimited("upbit: too many requests", retry_after_s=1.5)
    rejected = errors.RequestRejected("upbit: no such market", code="not_found")

    assert (limited.retry_after_s, rejected.code) == (1.5, "not_found")
    assert (errors.RateLimited("x").retry_after_s, errors.RequestRejected("x").code) == (0.0, "")
    assert str(limited) == "upbit: too many requests"


@pytest.mark.parametrize("error", CLASSES)
def test_an_error_can_be_sent_to_another_process(error: type[Exception]) -> None:
    """A bot's worker pool must not turn it into something else."""
    again = pickle.loads(pickle.dumps(error("why")))  # noqa: S301 - our own

    assert type(again) is error
    assert str(again) == "why"
