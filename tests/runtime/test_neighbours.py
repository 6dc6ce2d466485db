"""A package named like one of ours must be named, not fail in some odd way later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.neighbours import check_neighbours

ROOT = Path(__file__).resolve().parent.parent.parent


def test_our_own_neighbour_is_accepted() -> None:
    """The usual case."""
    check_neighbours()


@pytest.mark.real_time
@pytest.mark.parametrize(
    "words", [["-m", "runtime", "status"], ["-c", "from runtime import connect"]]
)
def test_a_stranger_s_actors_is_named(words: list[str], tmp_path: Path) -> None:
    """The command line and the import both say which file is in the way."""
    stranger = tmp_path / "actors" / "__init__.py"
    stranger.parent.mkdir()
    stranger.touch()
    program = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; "
    if words[0] == "-m":
        program += "from runtime.__main__ import main; sys.exit(main())"
    else:
        program += words[1]
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert str(stranger) in done.stderr
    assert "marketd needs its own package `actors`" in done.stderr
