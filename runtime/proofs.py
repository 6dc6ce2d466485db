"""`Proofs`: whether the actors that matter still do their work, shown by asking them.

An actor that is up may still be stuck, and only its own answer proves that it is not. So each is
sent a small request through its mailbox, like any caller's, again and again; whatever it answers,
an error included, its own task has dealt with it.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio

from actors.messages import GetHealth
from runtime.core.clock import Clock
from runtime.core.errors import ActorError, ActorNotFound, DomainError, UnhandledRequest
from runtime.core.ref import ActorRef
from runtime.core.registry import Registry
from runtime.core.supervisor import Supervisor

# While one of these, a supervisor is at work on it, within limits of its own.
_UNDER_REPAIR = ("starting", "restarting")


class Proofs:
    """Collects signs of life of `names`.

    Excused are actors that an operator has suspended, and those that are being started again:
    ending the whole process would undo what the operator wants, or what a supervisor is doing.

    Args:
      names: The actors that matter.
      root: The tree they are in.
      registry: Where they are found.
      clock: The tree's clock.
      within_s: How old a proof may be, in seconds. Each is asked four times as often.
    """

    def __init__(
        self,
        names: Iterable[str],
        *,
        root: Supervisor,
        registry: Registry,
        clock: Clock,
        within_s: float,
    ) -> None:
        self._root = root
        self._registry = registry
        self._now_s = clock.now_s
        self._within_s = within_s
        self._every_s = within_s / 4
        self._proved_s = dict.fromkeys(names, clock.now_s())

    async def collect(self) -> None:
        """Ask all of them, until cancelled."""
        async with trio.open_nursery() as nursery:
            for name in self._proved_s:
                nursery.start_soon(self._ask, name, name=f"proof of {name}")

    def missing(self) -> tuple[str, ...]:
        """Return who has not proved work lately and is not excused."""
        now_s = self._now_s()
        for name in self._proved_s:
            if self._is_excused(name):
                # So that it has time for a proof once it is back.
                self._proved_s[name] = now_s
        return tuple(name for name, at_s in self._proved_s.items() if now_s - at_s > self._within_s)

    def alive(self) -> bool:
        """Return whether everybody that matters has proved work lately, or is excused."""
        return not self.missing()

    async def _ask(self, name: str) -> None:
        ref = self._registry.ref(name)
        while True:
            # Not even asked while it is suspended: nobody takes the requests out of its mailbox.
            if self._is_excused(name) or await self._answers(ref):
                self._proved_s[name] = self._now_s()
            await trio.sleep(self._every_s)

    async def _answers(self, ref: ActorRef) -> bool:
        try:
            await ref.call(GetHealth(), timeout_s=self._every_s)
        except (DomainError, UnhandledRequest):
            return True
        except ActorError:
            # Too late, crashed or not there; what to do about that is not our business.
            return False
        return True

    def _is_excused(self, name: str) -> bool:
        """Return whether it, or a supervisor above it, is meant not to answer at present."""
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            try:
                info = self._root.info(".".join(parts[:depth]))
            except ActorNotFound:
                return False
            if info.suspended or info.state in _UNDER_REPAIR:
                return True
        return False
