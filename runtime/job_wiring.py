"""How jobs are run and kept, assembled from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from actors.exchanges.clock import ExchangeClock
from actors.keeper import BlobKeeper, MemoryKeeper
from actors.scheduler import SchedulerActor
from runtime.blob_store import FileBlobKeeper
from runtime.config import Settings
from runtime.core.child import ChildSpec
from runtime.core.mailbox import MailboxSpec
from runtime.core.ref import ActorRef

# The name of whoever runs jobs.
SCHEDULER = "scheduler"

JOBS_FILE = "jobs.blob"

# It only takes note and answers; runs go on in tasks of their own.
_HANG_S = 5.0
# A run takes candles for settled so much later than the cache, in seconds: what is known of the
# exchange's clock is cut to the second.
_SKEW_S = 1.0
# A run that is broken off may have to be written to a slow disk.
_SHUTDOWN_S = 10.0


def job_keeper(settings: Settings, folder: Path) -> BlobKeeper:
    """Return what keeps jobs and their records over restarts: a file in the state folder, or none.

    Args:
      settings: The settings: a store in memory keeps nothing, so neither does this.
      folder: The state folder.
    """
    return MemoryKeeper() if settings.store.kind == "memory" else FileBlobKeeper(folder / JOBS_FILE)


def scheduler_child(
    settings: Settings,
    caches: Mapping[str, ActorRef],
    keeper: BlobKeeper,
    exchange_clocks: Mapping[str, ExchangeClock] | None = None,
) -> ChildSpec:
    """Return the SchedulerActor's place in the tree.

    Args:
      settings: The settings, with the jobs of the file.
      caches: The CacheActor of each exchange.
      keeper: What keeps jobs and their records; it outlives the actor.
      exchange_clocks: What is known of the clock of each exchange.
    """
    return ChildSpec(
        SCHEDULER,
        lambda: SchedulerActor(
            settings.jobs,
            caches=caches,
            keeper=keeper,
            settle_s=settings.cache.settle_s + _SKEW_S,
            exchange_clocks=exchange_clocks,
        ),
        mailbox=MailboxSpec(capacity=1_000),
        hang_s=_HANG_S,
        shutdown_s=_SHUTDOWN_S,
    )
