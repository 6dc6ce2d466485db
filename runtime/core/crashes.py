"""What a crash was: the one error that says it, however it was wrapped on its way."""

from __future__ import annotations

import trio

_LINE_MAX = 300


def crash_beside_cancellation(error: BaseException) -> Exception:
    """Return the crash that came mixed with a cancellation.

    The child's own scope has caught every cancellation meant for the child, so one that is left
    was kept from somewhere else and raised again: a defect of the child like any other. What is
    no crash at all, such as Ctrl-C, is raised.
    """
    rest = error.split(trio.Cancelled)[1] if isinstance(error, BaseExceptionGroup) else None
    if rest is None:
        return RuntimeError("the child raised a cancellation that was not its own")
    if not isinstance(rest, ExceptionGroup):
        raise error
    return unwrap(rest)


def unwrap(error: Exception) -> Exception:
    """Return the one error inside groups that hold nothing else."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def one_line(error: BaseException) -> str:
    """Return type and message of `error` in one printable line of at most 300 characters."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a supervisor must not fall over how an error prints itself
        text = "(its message cannot be printed)"
    kind = type(error).__name__
    line = f"{kind}: {text[:_LINE_MAX]}" if text else kind
    # Not only line feeds: a terminal obeys other characters as well.
    return "".join(c if c.isprintable() else " " for c in line)[:_LINE_MAX]
