"""Secrets come in through a terminal that does not show them, a pipe, or a file descriptor.

Never through arguments, which every process may read, nor through the environment, which children
inherit. They are read into buffers that can be wiped, byte by byte, so that what stands after one
is left to the next reader.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

import msgspec

from actors.errors import InvalidRequest

SECRET_BYTES_MAX = 4_096
_STDIN = 0
_TERMINAL = "/dev/tty"
_LINE_END = ord("\n")
# The largest number that a descriptor can have.
_FD_MAX = 2**31 - 1
# Some programs begin with it whatever they write into a file or a pipe.
_MARK = b"\xef\xbb\xbf"


def read_secret(
    prompt: str,
    *,
    fd: int | None = None,
    stdin: int = _STDIN,
    tty: str | None = _TERMINAL,
) -> bytearray:
    """Return one secret, without the end of its line and without a mark (BOM) before it.

    It is read from `fd` if that is given; else from the terminal, where the prompt is shown and
    what is typed is not; else, if standard input is no terminal, it is the next line of that.

    Args:
      prompt: What to show at a terminal.
      fd: A file descriptor, as of `--passphrase-fd`; only its first line is read.
      stdin: Standard input.
      tty: Path of the terminal; None to speak with the one on standard input.

    Raises:
      InvalidRequest: There was nothing, too much (4096 bytes), or nowhere to read from.
      KeyboardInterrupt: Ctrl-C; the terminal is as it was before.
    """
    if fd is None and _is_terminal(stdin):
        return _ask(prompt, stdin, tty)
    source, where = (stdin, "standard input") if fd is None else (fd, f"file descriptor {fd}")
    return _read_line(source, where, _first(source, where))


def refuse_more(fd: int | None = None, *, stdin: int = _STDIN) -> None:
    """Refuse what stands behind a secret that was read, unless it is only empty lines.

    Args:
      fd: As for `read_secret`.
      stdin: As for `read_secret`.

    Raises:
      InvalidRequest: There are more lines; does not quote them.
    """
    source, where = (stdin, "standard input") if fd is None else (fd, f"file descriptor {fd}")
    # What was typed ahead at a terminal is for others.
    if not _is_terminal(source):
        _refuse_more(source, f"{where}: wanted a secret in one line")


def read_fields(
    names: Sequence[str],
    *,
    optional: Sequence[str] = (),
    stdin: int = _STDIN,
    tty: str | None = _TERMINAL,
) -> dict[str, bytearray]:
    """Return several secrets by name.

    At a terminal each is asked for. Otherwise standard input has either a line for each, in the
    order of the names, or one JSON object with them.

    Args:
      names: The fields wanted.
      optional: Fields that may be there as well, after the others: lines may end before them, and
        at a terminal an empty answer leaves one out.
      stdin: Standard input.
      tty: Path of the terminal, as in `read_secret`.

    Raises:
      InvalidRequest: One is missing, empty or too long, or there is something else, or more; never
        names what was read.
    """
    if _is_terminal(stdin):
        return _ask_fields(names, optional, stdin, tty)
    first = _first(stdin, "standard input")
    if not first:
        raise InvalidRequest(f"standard input: {_wanted(names)}, was empty")
    if first == b"{":
        return _from_json(first, names, optional, stdin)
    fields = _from_lines(first, names, optional, stdin)
    _refuse_more(stdin, f"standard input: {_wanted(names)}")
    return fields


def _ask_fields(
    names: Sequence[str], optional: Sequence[str], stdin: int, tty: str | None
) -> dict[str, bytearray]:
    fields = {}
    for name in (*names, *optional):
        left_out = name in optional
        hint = " (Enter for none)" if left_out else ""
        value = _ask(f"{name}{hint}: ", stdin, tty, may_be_empty=left_out)
        if value:
            fields[name] = value
    return fields


def _from_lines(
    first: bytearray, names: Sequence[str], optional: Sequence[str], stdin: int
) -> dict[str, bytearray]:
    fields: dict[str, bytearray] = {}
    for name in (*names, *optional):
        line = _read_line(stdin, f"standard input, line for {name}", first, may_be_empty=True)
        first = bytearray()
        if line:
            fields[name] = line
        elif name in names:
            raise InvalidRequest(
                f"standard input: {_wanted(names)}, but {name} was empty or missing"
            )
    return fields


def _first(fd: int, where: str) -> bytearray:
    """Return how a pipe or a file begins: one byte that is not of its mark, or a broken mark."""
    begun = bytearray()
    byte = bytearray(1)
    while _read_into(fd, memoryview(byte), where):
        begun += byte
        if begun == _MARK:
            begun.clear()
        elif not _MARK.startswith(begun):
            break
    return begun


def _refuse_more(fd: int, wanted: str) -> None:
    """Refuse what stands after the last line: whoever wrote it means something else by the rest.

    Without waiting: who has said everything may keep a pipe open.
    """
    byte = bytearray(1)
    while _has_more(fd) and _read_into(fd, memoryview(byte), wanted):
        if not byte.isspace():
            byte[:] = b"\0"
            raise InvalidRequest(f"{wanted}, were more lines")


def _has_more(fd: int) -> bool:
    # Windows can ask so of sockets only.
    with contextlib.suppress(OSError, ValueError):
        return bool(select.select([fd], [], [], 0)[0])
    return False


def _from_json(
    first: bytearray, names: Sequence[str], optional: Sequence[str], stdin: int
) -> dict[str, bytearray]:
    text = bytearray((len(names) + len(optional)) * 2 * SECRET_BYTES_MAX)
    size = len(first)
    text[:size] = first
    # Up to its end, whatever that costs in system calls: JSON does not say where it ends.
    while size < len(text) and (more := _read_into(stdin, memoryview(text)[size:], "input")):
        size += more
    try:
        # The decoder makes text of its own, which nobody can wipe: lines are the better way.
        found = msgspec.json.decode(memoryview(text)[:size], type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # The reason would quote what stands there.
        raise InvalidRequest(
            f"standard input: {_wanted(names)}, was something else that begins with {{"
        ) from None
    finally:
        text[:] = bytes(len(text))
    if not set(names) <= {name for name, value in found.items() if value} or not set(found) <= {
        *names,
        *optional,
    }:
        raise InvalidRequest(f"standard input: {_wanted(names)}, was JSON with other fields")
    if any(len(value.encode()) > SECRET_BYTES_MAX for value in found.values()):
        raise InvalidRequest(f"standard input: a field has more than {SECRET_BYTES_MAX} bytes")
    return {name: bytearray(value.encode()) for name, value in found.items() if value}


def _wanted(names: Sequence[str]) -> str:
    fields = ", ".join(f'"{name}": "..."' for name in names)
    return f"wanted {len(names)} lines ({', '.join(names)}) or {{{fields}}}"


# ---------------------------------------------------------------------- reading


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _read_line(
    fd: int, where: str, begun: bytearray | None = None, *, may_be_empty: bool = False
) -> bytearray:
    # As large as it may get from the start: a buffer that grows leaves copies behind.
    buffer = bytearray(SECRET_BYTES_MAX + len(b"\r\n"))
    view = memoryview(buffer)
    size = len(begun or b"")
    buffer[:size] = begun or b""
    while size < len(buffer) and not (size and buffer[size - 1] == _LINE_END):
        if not _read_into(fd, view[size : size + 1], where):
            break
        size += 1
    for end in b"\n\r":
        size -= bool(size and buffer[size - 1] == end)
    line = bytearray(view[:size])
    view[:] = bytes(len(buffer))
    if size > SECRET_BYTES_MAX:
        line[:] = bytes(size)
        raise InvalidRequest(f"{where}: at most {SECRET_BYTES_MAX} bytes, were more")
    if not size and not may_be_empty:
        raise InvalidRequest(f"{where}: wanted a secret in one line, was empty")
    return line


def _read_into(fd: int, buffer: memoryview, where: str) -> int:
    if not 0 <= fd <= _FD_MAX:
        raise InvalidRequest(f"{where}: is no file descriptor")
    try:
        return io.FileIO(fd, closefd=False).readinto(buffer) or 0
    except OSError as error:
        raise InvalidRequest(f"{where}: cannot be read: {error.strerror}") from error


if sys.platform == "win32":

    def _ask(
        prompt: str,
        stdin: int,  # noqa: ARG001 - the console is the only one there
        tty: str | None,  # noqa: ARG001
        *,
        may_be_empty: bool = False,
    ) -> bytearray:
        from getpass import getpass  # noqa: PLC0415 - reads the console without echo

        line = bytearray(getpass(prompt).encode())
        if len(line) > SECRET_BYTES_MAX or not (line or may_be_empty):
            raise InvalidRequest(f"the console: wanted 1 to {SECRET_BYTES_MAX} bytes")
        return line

else:
    import termios

    def _ask(prompt: str, stdin: int, tty: str | None, *, may_be_empty: bool = False) -> bytearray:
        with _terminal(stdin, tty) as fd, _without_echo(fd):
            os.write(fd, prompt.encode())
            try:
                return _read_line(fd, "the terminal", may_be_empty=may_be_empty)
            finally:
                # The Enter that was typed has not been shown either.
                os.write(fd, b"\n")

    @contextlib.contextmanager
    def _terminal(stdin: int, tty: str | None) -> Iterator[int]:
        """Give the terminal of the session, which redirected output does not hide the prompt of."""
        fd = None
        if tty is not None:
            with contextlib.suppress(OSError):
                fd = os.open(tty, os.O_RDWR | os.O_NOCTTY)
        try:
            yield stdin if fd is None else fd
        finally:
            if fd is not None:
                os.close(fd)

    @contextlib.contextmanager
    def _without_echo(fd: int) -> Iterator[None]:
        before = termios.tcgetattr(fd)
        quiet = list(before)
        quiet[3] &= ~(termios.ECHO | termios.ECHONL)
        with _ended_by_signals():
            try:
                # What was typed ahead is thrown away: it has been shown.
                termios.tcsetattr(fd, termios.TCSAFLUSH, quiet)
                yield
            finally:
                termios.tcsetattr(fd, termios.TCSADRAIN, before)

    @contextlib.contextmanager
    def _ended_by_signals() -> Iterator[None]:
        """Let the signals that end a process pass through us, or the terminal would stay mute."""

        def end(number: int, _: FrameType | None) -> NoReturn:
            raise SystemExit(128 + number)

        before = {}
        for number in (signal.SIGTERM, signal.SIGHUP):
            # Only the main thread may, and only where nobody else has plans.
            with contextlib.suppress(ValueError):
                if signal.getsignal(number) is signal.SIG_DFL:
                    before[number] = signal.signal(number, end)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
