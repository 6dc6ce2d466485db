"""`python -m runtime`: the same as the command `marketd`."""

from __future__ import annotations

import sys

from runtime.neighbours import check_neighbours


def main() -> int:
    """Do what the command line says, and return the exit code."""
    try:
        check_neighbours()
    except ImportError as error:
        sys.stderr.write(f"marketd: {error}\n")
        return 2
    # Only now: it imports `actors`.
    from runtime.cli import run  # noqa: PLC0415

    return run()


if __name__ == "__main__":
    sys.exit(main())
