"""Help with names that somebody misspelt."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str:
    """Return `; did you mean 'X'?` with the known name most like `name`, or nothing.

    Args:
      name: What was written.
      known: What there is.
      likeness: From 0 to 1, how much alike the two must be.
    """
    # Asked for on the way to an error only, so nobody waits for this import otherwise.
    import difflib  # noqa: PLC0415 - a command-line client must start fast

    close = difflib.get_close_matches(name, list(known), n=1, cutoff=likeness)
    return f"; did you mean {close[0]!r}?" if close else ""


def printable(text: str, limit: int = 2_000) -> str:
    """Return `text` without control characters and at most `limit` long, for logs and terminals."""
    cut = text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in cut)
