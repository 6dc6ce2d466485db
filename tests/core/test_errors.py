"""The errors of the core: drawn as they are, and never called like a builtin."""

from __future__ import annotations

import builtins
import inspect
import re

from runtime.core import errors

NODE = re.compile(r"^([│ ]*)[├└]── (\w+)")


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
    classes = [
        each
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if each.__module__ == errors.__name__
    ]

    assert errors.__doc__ is not None
    assert drawn(errors.__doc__, "Exception") == {
        (each.__name__, each.__bases__[0].__name__) for each in classes
    }


def test_no_error_is_named_like_a_builtin() -> None:
    """`except TimeoutError` must mean what Python says it means."""
    ours = {name for name, each in vars(errors).items() if inspect.isclass(each)}

    assert not {name for name in ours if hasattr(builtins, name)}


def test_an_answer_is_never_a_failure_of_delivery() -> None:
    """The line between the two families is what callers decide by."""
    assert not issubclass(errors.DomainError, errors.ActorError)
    assert not issubclass(errors.ActorError, errors.DomainError)


def test_only_what_may_be_tried_again_says_so() -> None:
    """Where trying again can never help, nobody should be invited to."""
    again = {
        name
        for name, each in vars(errors).items()
        if inspect.isclass(each) and getattr(each, "retryable", False)
    }

    assert again == {"ActorRestarted", "CallTimeout", "MailboxFull", "MessageDropped"}
