"""Doing the job of one outbox row: take it under a lease, call its handler, and record how it ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from app.bootstrap import Runtime
from app.core.actor import Actor, system_actor
from app.domain.jobs import outbox
from app.domain.jobs.errors import LeaseLost, Postponed
from app.domain.jobs.execute import in_words
from app.domain.jobs.outbox import OutboxClaim
from jobs.gathering import Gathering
from jobs.leases import Leases
from jobs.trouble import DATABASE_ERRORS

log = logging.getLogger("steps.worker")

Handler = Callable[[Runtime, Mapping[str, Any], OutboxClaim], Awaitable[None]]


class Performer:
    """Does jobs by the table of handlers it is given. A job that is delivered twice is done once."""

    def __init__(self, runtime: Runtime, leases: Leases, handlers: Mapping[str, Handler]) -> None:
        self.done = 0
        self.failed = 0
        self._runtime = runtime
        self._leases = leases
        self._handlers = handlers
        self._claim = Gathering(self._claim_all)
        self._complete = Gathering(self._complete_all)

    async def perform(self, _context: dict[str, Any], outbox_id: str) -> None:
        """Do the job of the row, if it is still to be done and nobody else is at it; the queue calls this."""
        try:
            await self._perform(UUID(outbox_id))
        except DATABASE_ERRORS as error:
            # The row is as it was, or its lease will run out: the relay announces it again.
            log.warning("delivery %s is put off: the database is not reachable (%s)", outbox_id, type(error).__name__)

    async def _perform(self, outbox_id: UUID) -> None:
        claimed = await self._claim(outbox_id)
        if claimed is None:
            return
        actor = system_actor("Worker", correlation_id=claimed.correlation_id)
        try:
            async with self._leases.kept(claimed):
                await self._handler(claimed.job)(self._runtime, claimed.payload, claimed)
        except LeaseLost as error:
            log.warning("%s", error.detail)
        except Postponed as postponed:
            async with self._runtime.uow(actor) as uow:
                await outbox.release(uow, claimed, until=postponed.until)
        except asyncio.CancelledError:
            await asyncio.shield(self._release(claimed, actor))
            raise
        except Exception as error:
            log.exception("attempt %s of job %s (%s) failed", claimed.attempt, claimed.job, claimed.id)
            await self._fail(claimed, actor, error)
        else:
            await self._complete(claimed)
            self.done += 1

    async def _claim_all(self, ids: Sequence[UUID]) -> Sequence[OutboxClaim | None]:
        async with self._runtime.uow(system_actor("Worker")) as uow:
            claims = await outbox.claim(uow, outbox_ids=ids, lease=self._leases.lease)
        return [claims.pop(id_, None) for id_ in ids]  # a row that was delivered twice is given to one of the two

    async def _complete_all(self, claims: Sequence[OutboxClaim]) -> Sequence[None]:
        async with self._runtime.uow(system_actor("Worker")) as uow:
            await outbox.ensure_completed(uow, claims=claims)
        return [None] * len(claims)

    def _handler(self, job: str) -> Handler:
        try:
            return self._handlers[job]
        except KeyError:
            known = ", ".join(sorted(self._handlers))
            raise UnknownJob(f"There is no job {job!r}; the worker knows: {known}.") from None

    async def _fail(self, claimed: OutboxClaim, actor: Actor, error: Exception) -> None:
        self.failed += 1
        message = str(error) if isinstance(error, UnknownJob) else in_words(error)
        async with self._runtime.uow(actor) as uow:
            gone = await outbox.fail(uow, claimed, error=message, final=isinstance(error, UnknownJob))
        if gone:
            log.error("job %s (%s) has failed for good: %s", claimed.job, claimed.id, message)

    async def _release(self, claimed: OutboxClaim, actor: Actor) -> None:
        async with self._runtime.uow(actor) as uow:
            await outbox.release(uow, claimed)


class UnknownJob(LookupError):
    """The outbox asks for a job that this version of the worker does not have."""
