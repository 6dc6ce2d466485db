"""A process that does not give its memory away.

For any process that holds secrets, an embedding bot as well: `from runtime import harden_process`,
called before the first secret is read. The daemon and the command line do it by themselves.

What this does not cover: root, a debugger that was attached before, swap, and hibernation.
"""

from __future__ import annotations

import sys

# Source: prctl(2), https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html, read
# 2026-11-21. Without it a core goes to a handler (`core_pattern` with a pipe) in spite of the
# limit.
_PR_SET_DUMPABLE = 4


def harden_process() -> tuple[str, ...]:
    """Let no core be dumped of this process, and nobody of the same user read its memory.

    Both end with `exec`; forks inherit them. On Linux `/proc/PID/mem`, `environ` and the like
    belong to root afterwards, and debuggers and profilers cannot attach. A second call does
    nothing.

    Returns:
      What could not be done, each in a sentence; empty where all was done.
    """
    return tuple(problem for problem in (_forbid_core(), _forbid_reading()) if problem)


def _forbid_core() -> str:
    if sys.platform == "win32":
        return "core dumps cannot be forbidden by a process on Windows; see Windows Error Reporting"
    import resource  # noqa: PLC0415 - not there on Windows

    try:
        # The hard limit as well, so that nothing in this process can lift it again.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:
        return f"core dumps could not be forbidden: {error}"
    return ""


def _forbid_reading() -> str:
    if sys.platform != "linux":
        return f"other processes of this user may read the memory: {sys.platform} has no prctl"
    import ctypes  # noqa: PLC0415 - slow, and only here
    import os  # noqa: PLC0415

    try:
        # An argument for each that the kernel reads: prctl has a variable number of them.
        failed = ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (OSError, AttributeError) as error:
        return f"other processes of this user may read the memory: no prctl in libc: {error}"
    if failed:
        reason = os.strerror(ctypes.get_errno())
        return f"other processes of this user may read the memory: prctl: {reason}"
    return ""
