"""Our two packages must lie side by side; `runtime` and `actors` are names others use, too.

A distribution that also ships `actors`, or a package of that name beside the bot's script, would be
imported in place of ours and fail in some odd way much later.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def check_neighbours() -> None:
    """Make sure that `import actors` means ours.

    Raises:
      ImportError: It does not; the message names the file in the way and what to do.
    """
    ours = Path(__file__).resolve().parent.parent / "actors" / "__init__.py"
    spec = find_spec("actors")
    found = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
    if found != ours:
        raise ImportError(
            f"marketd needs its own package `actors` at {ours.parent}, but Python finds "
            f"{found or 'none'}; if that is beside your script, run it with `python -P`, and if "
            "another distribution installed it, give marketd an environment of its own"
        )
