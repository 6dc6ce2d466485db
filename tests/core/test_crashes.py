"""What a crash was, however it was wrapped on its way."""

from __future__ import annotations

import pytest

from runtime.core.crashes import crash_beside_cancellation, one_line, unwrap


def test_groups_of_one_are_unwrapped_and_groups_of_more_are_kept() -> None:
    """One error says more on its own; of two, neither may be lost."""
    boom = ValueError("boom")
    two = ExceptionGroup("two", [boom, OSError()])

    assert unwrap(boom) is boom
    assert unwrap(ExceptionGroup("a", [ExceptionGroup("b", [boom])])) is boom
    assert unwrap(ExceptionGroup("a", [two])) is two


def test_a_line_is_one_line_of_bounded_length() -> None:
    """It goes into logs and tables."""
    assert one_line(ValueError("a\nb\rc\x1b[0m")) == "ValueError: a b c [0m"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("x" * 1_000_000))) == 300


def test_an_error_that_cannot_be_printed_is_still_named() -> None:
    """A supervisor must not fall over the text of the error it handles."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    assert one_line(Mute()) == "Mute: (its message cannot be printed)"


def test_what_is_no_crash_goes_on() -> None:
    """Ctrl-C is meant for the process, whatever it is mixed with."""
    group = BaseExceptionGroup("mixed", [KeyboardInterrupt(), ValueError("boom")])

    with pytest.raises(BaseExceptionGroup, match=r"mixed"):
        crash_beside_cancellation(group)
