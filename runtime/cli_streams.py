"""Standard input, output and error of a command, whatever state they were handed over in."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO

from actors.errors import InvalidRequest

_ESCAPING = "marketd.escape"
_UNIT_BYTES = 2


def prepare_streams() -> None:
    """Let no answer fail because of the letters in it, nor anything because of a closed stream.

    What the terminal's encoding has no letter for is written as JSON escapes it. Streams that were
    closed, by `<&-` for example, lead nowhere; otherwise the next socket that is opened would be
    taken for one of them.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest number that is free: this one.
            os.open(os.devnull, os.O_RDWR)
    # Without it, `print` would write errors to standard output.
    if sys.stderr is None:
        sys.stderr = _nowhere()
    codecs.register_error(_ESCAPING, _escaped)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_ESCAPING)


def prepare_output(*, for_answer: bool) -> None:
    """Do without a standard output that is closed, if it is not for an answer.

    Raises:
      InvalidRequest: The answer could not be written.
    """
    if sys.stdout is not None:
        return
    if for_answer:
        raise InvalidRequest(
            "standard output is closed, so the answer could not be written and nothing was asked; "
            f"`>{os.devnull}` throws it away"
        )
    sys.stdout = _nowhere()


def drop_output() -> None:
    """Let standard output lead nowhere: the interpreter would flush it once more and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    places = range(0, len(letters), _UNIT_BYTES)
    units = (int.from_bytes(letters[place : place + _UNIT_BYTES], "big") for place in places)
    return "".join(f"\\u{unit:04x}" for unit in units), error.end


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - for the whole process
