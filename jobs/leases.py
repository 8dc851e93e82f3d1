"""Keeps the outbox leases of one worker alive, all in one statement, and stops jobs that are not its own any more."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.domain.jobs import outbox
from app.domain.jobs.errors import LeaseLost
from app.domain.jobs.outbox import OutboxClaim
from jobs.trouble import DATABASE_ERRORS, Trouble, pause

log = logging.getLogger("steps.worker")

BEATS_PER_LEASE = 4


class Leases:
    """The claims that this process works on."""

    def __init__(self, runtime: Runtime, *, lease: timedelta) -> None:
        self.lease = lease
        self._runtime = runtime
        self._held: dict[UUID, tuple[OutboxClaim, asyncio.Task[Any]]] = {}
        self._since: dict[UUID, datetime] = {}
        self._lost: set[UUID] = set()

    @asynccontextmanager
    async def kept(self, claimed: OutboxClaim) -> AsyncIterator[None]:
        """Keep the claim while the block runs.

        Raises:
            LeaseLost: another worker has taken the row over; the block was cancelled.
        """
        task = asyncio.current_task()
        assert task is not None
        self._held[claimed.id] = (claimed, task)
        self._since[claimed.id] = self._runtime.clock.now()
        try:
            yield
        except asyncio.CancelledError:
            if claimed.id not in self._lost:
                raise
            task.uncancel()
            raise LeaseLost(f"Job {claimed.job} has been taken over by another worker.") from None
        finally:
            self._held.pop(claimed.id, None)
            self._since.pop(claimed.id, None)
            self._lost.discard(claimed.id)

    def running(self) -> list[dict[str, Any]]:
        """What this process works on: the job, since when, and the job run where it is one."""
        return [
            {
                "job": claimed.job,
                "since": self._since[id_].isoformat(),
                "attempt": claimed.attempt,
                **({"job_run": str(claimed.payload["job_run_id"])} if "job_run_id" in claimed.payload else {}),
            }
            for id_, (claimed, _) in list(self._held.items())
        ]

    async def run(self, stopped: asyncio.Event) -> None:
        """Renew the leases until `stopped` is set."""
        trouble = Trouble("the database is not reachable: leases are not renewed")
        while not stopped.is_set():
            await pause(self.lease.total_seconds() / BEATS_PER_LEASE, stopped)
            held = list(self._held.values())
            if not held:
                continue
            try:
                async with self._runtime.uow(system_actor("Worker")) as uow:
                    kept = await outbox.keep(uow, claims=[claimed for claimed, _ in held], lease=self.lease)
            except DATABASE_ERRORS as error:
                await trouble.met(error, stopped)
                continue
            except Exception:
                log.exception("leases were not renewed")
                continue
            trouble.over()
            for claimed, task in held:
                if claimed.id not in kept and self._held.get(claimed.id, (None,))[0] is claimed:
                    self._lost.add(claimed.id)
                    task.cancel()
