"""The one filter for every text that leaves: log lines, errors, crash reports, answers.

It hides secrets it was told of, wherever and however they are spelt, and whatever looks like a
secret or an amount of money. It is an object, made by whoever opens the runtime and handed round;
the process has no other.

What it cannot do: hide a secret of fewer than 8 characters (half of a log would go with it), or
one that nobody told it of and that stands alone, without a name beside it.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO

from runtime.mask_json import mask_json_text
from runtime.mask_known import SECRETS_MAX, KnownSecrets
from runtime.mask_patterns import MASK, is_suspicious, mask_patterns, token_spans

TEXT_CHARS_MAX = 256 * 1024
JSON_BYTES_MAX = 4 * 1024 * 1024

WITHHELD = "[withheld: it could not be masked]"
_CUT = "[cut: it had {} characters]"
# How much of the last word goes as well where a text is cut: it may be half a secret.
_WORD_CHARS_MAX = 4_096


class Masker:
    """Hides what must not leave.

    Error handling: never raises. What cannot be masked is replaced as a whole, by `WITHHELD`.
    Bounds: `secrets_max` secrets are known; `text_chars_max` characters of a text pass, the rest
    is cut with a note; of JSON, `JSON_BYTES_MAX` bytes or nothing.

    Args:
      secrets_max: How many secrets it may be told of.
      text_chars_max: Longest text, in characters.
    """

    def __init__(
        self, *, secrets_max: int = SECRETS_MAX, text_chars_max: int = TEXT_CHARS_MAX
    ) -> None:
        self._known = KnownSecrets(secrets_max)
        self._text_chars_max = text_chars_max

    def __len__(self) -> int:
        """Return how many secrets it was told of."""
        return len(self._known)

    def learn(self, secret: bytes | bytearray | str) -> bool:
        """Hide this secret from now on; no copy of it is kept.

        Its usual spellings are hidden, too: in base64 and hexadecimal as a whole, percent-encoded,
        escaped for JSON or by Python's `repr`.

        Returns:
          Whether it will be hidden: False if it has fewer than 8 characters, or `secrets_max` are
          known already.
        """
        return self._known.learn(secret)

    def forget_all(self) -> None:
        """Forget every secret, as when the vault is sealed; what looks like one stays hidden."""
        self._known.forget_all()

    def mask(self, text: str) -> str:
        """Return the text without what must not leave."""
        try:
            limit = self._text_chars_max
            if len(text) <= limit:
                return mask_patterns(self._without_known(text))
            return self._cut(text, limit)
        except Exception:  # noqa: BLE001 - whatever it is, a text that is not masked must not leave
            return WITHHELD

    def mask_json(self, data: bytes) -> bytes:
        """Return the JSON without what must not leave; valid JSON comes out as valid JSON.

        Strings stay strings. A number that must be hidden becomes a string.
        """
        try:
            if len(data) > JSON_BYTES_MAX:
                return f'"{WITHHELD}"'.encode()
            text = data.decode()
            # Escapes could spell a secret in a way that is not looked for.
            plain = "\\" not in text and not is_suspicious(text) and not self._known.spans(text)
            return data if plain else mask_json_text(text, self.mask).encode()
        except Exception:  # noqa: BLE001 - as above
            return f'"{WITHHELD}"'.encode()

    def _cut(self, text: str, limit: int) -> str:
        # A known secret across the limit is seen whole; of anything else the last word goes.
        head = text[: limit + self._known.longest]
        kept = limit
        for start, end in self._known.spans(head):
            if start < limit < end:
                kept = start
        spaces = (head.rfind(space, kept - _WORD_CHARS_MAX, kept) for space in " \t\n")
        last = max(spaces)
        kept = last if last >= 0 else max(0, kept - _WORD_CHARS_MAX)
        masked = mask_patterns(self._without_known(head[:kept]))
        return f"{masked} {_CUT.format(len(text))}"

    def _without_known(self, text: str) -> str:
        spans = self._known.spans(text)
        if not spans:
            return text
        parts, at = [], 0
        for start, end in sorted([*spans, *token_spans(text)]):
            if start >= at:
                parts += [text[at:start], MASK]
            at = max(at, end)
        return "".join([*parts, text[at:]])


class MaskingFormatter(logging.Formatter):
    """Masks the finished line: message, arguments, traceback and all.

    Args:
      masker: Masks.
      fmt: As for `logging.Formatter`.
      datefmt: As for `logging.Formatter`.
    """

    def __init__(self, masker: Masker, fmt: str | None = None, datefmt: str | None = None) -> None:
        super().__init__(fmt, datefmt)
        self._masker = masker

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; never raises, as `logging` would print the arguments as they are."""
        try:
            line = super().format(record)
        except Exception as error:  # noqa: BLE001 - wrong arguments, or a repr that raises
            kind = type(error).__name__
            return f"{record.levelname} {record.name}: [a line that cannot be written: {kind}]"
        finally:
            # `logging` keeps the traceback's text for other handlers, which may not mask.
            record.exc_text = None
        return self._masker.mask(line)


@contextmanager
def masked_hooks(masker: Masker, stream: TextIO | None = None) -> Iterator[None]:
    """Mask what Python itself prints: uncaught exceptions, warnings, logs that nobody handles.

    For a process of one's own only: the hooks are the process's. They are put back at the end.

    Args:
      masker: Masks.
      stream: Where Python prints; standard error if not given.
    """
    hooks = _Hooks(masker, stream)
    before = sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning
    last_resort = logging.lastResort
    sys.excepthook = hooks.uncaught
    threading.excepthook = hooks.in_thread
    sys.unraisablehook = hooks.unraisable
    warnings.showwarning = hooks.warning
    logging.lastResort = hooks.last_resort
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning = before
        logging.lastResort = last_resort


class _Hooks:
    def __init__(self, masker: Masker, stream: TextIO | None) -> None:
        self._masker = masker
        self._stream = stream
        self.last_resort = logging.StreamHandler(stream)
        self.last_resort.setLevel(logging.WARNING)
        self.last_resort.setFormatter(MaskingFormatter(masker))

    def uncaught(
        self, _: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        self._print("", error, trace)

    def in_thread(self, what: threading.ExceptHookArgs) -> None:
        if what.exc_type is SystemExit or what.exc_value is None:
            return
        name = what.thread.name if what.thread else "unknown"
        self._print(f"Exception in thread {name}:\n", what.exc_value, what.exc_traceback)

    def unraisable(self, what: Any) -> None:
        # Not the object itself: its repr would be made in the middle of its end.
        note = what.err_msg or "Exception ignored in"
        self._print(f"{note} {type(what.object).__name__}:\n", what.exc_value, what.exc_traceback)

    def warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        self._write(text, file)

    def _print(self, head: str, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            lines = traceback.format_exception(None, error, trace)
        except Exception:  # noqa: BLE001 - an exception whose text cannot be made
            lines = [f"{type(error).__name__}: {WITHHELD}\n"]
        self._write(head + "".join(lines))

    def _write(self, text: str, file: TextIO | None = None) -> None:
        stream = file or self._stream or sys.stderr
        stream.write(self._masker.mask(text))
        stream.flush()
