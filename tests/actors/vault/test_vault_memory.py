"""What is left in memory of a secret that was used and wiped: nothing that is ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

# Counts how often a secret is in the memory of a fresh interpreter, after it was added, read,
# sealed anew and wiped; and in that of one that has never used it. The secret is made at run time,
# so that no source text, constant or argument holds it.
COUNT = """
import gc, sys
from actors.vault.secret import Secret
from actors.vault.testing import CHEAP, MARK, made_info
from actors.vault.values import Credential
from actors.vault.vault import Vault, derive, fresh_params

def canary():
    return bytearray((place * 37 + 11) % 251 for place in range(48))

def use():
    kek = derive(Secret(canary()), fresh_params("passphrase", CHEAP))
    vault, _ = Vault.create(kek)
    credential = Credential(Secret(canary()), Secret(canary()), Secret(canary()))
    vault.adopt(vault.put(made_info(), credential, now_ms=1, audit=MARK))
    credential.wipe()
    for _ in range(5):
        vault.credential(made_info().id).wipe()
    vault.adopt(vault.put(made_info(), None, now_ms=1, audit=MARK))
    vault.adopt(vault.rotate(audit=MARK))
    vault.wipe()

def count():
    found = 0
    # Compared piece by piece, so that looking for it makes no copy of it.
    wanted = canary()
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            words = line.split()
            if "r" not in words[1] or "w" not in words[1]:
                continue
            start, end = (int(word, 16) for word in words[0].split("-"))
            memory.seek(start)
            try:
                data = memory.read(end - start)
            except (OSError, ValueError):
                continue
            place = data.find(wanted[8:24])
            while place >= 0:
                found += data[place + 16 : place + 32] == wanted[24:40]
                place = data.find(wanted[8:24], place + 1)
    return found

if sys.argv[1] == "used":
    use()
gc.collect()
print(count())
"""


def copies(how: str) -> int:
    """Return how often the secret is in the memory of a process."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT, how],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="only Linux shows a process itself")
@pytest.mark.real_time
@pytest.mark.slow
def test_no_copy_of_a_secret_outlives_its_wiping() -> None:
    """Locked means gone: who reads memory or a core afterwards finds what was never secret.

    Slow because it looks through the memory of two processes. Their own search has copies, too.
    """
    assert copies("used") <= copies("unused")
