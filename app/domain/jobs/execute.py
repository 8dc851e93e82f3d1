"""One attempt of a job run from claim to end: in a worker, or in this process under a simulated clock.

Three transactions: claim; tell the workflow that it begins; do the action, close the process and end the attempt. The
last one is fenced, so the effects of an action are there exactly once, however often it was delivered or killed.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import select

from app.core.actor import Actor, system_actor
from app.core.errors import StepsError, TransitionRefused
from app.core.uow import UnitOfWork
from app.domain.jobs import attempts
from app.domain.jobs.attempts import Claim, Hindrance, NotClaimed
from app.domain.jobs.context import Action, ActionResult, JobContext, Platform
from app.domain.jobs.errors import ActionRefused, JobAborted, LeaseLost
from app.domain.jobs.heartbeat import Heartbeat
from app.domain.jobs.job_log import JobLog, Level, Line

log = logging.getLogger("steps.jobs")

LEASE = timedelta(seconds=20)
ACTIONS = "actions"  # the service that maps a function's name to its action


class ProcessHooks(Protocol):
    """What the workflow does around the job of an automatic process; wired above, since jobs are below it."""

    async def begin(self, uow: UnitOfWork, process_run_id: UUID) -> None: ...
    async def finish(self, uow: UnitOfWork, process_run_id: UUID, output_fingerprint: str) -> None: ...
    async def fail(self, uow: UnitOfWork, process_run_id: UUID, error: str) -> None: ...


class Ending(StrEnum):
    SUCCEEDED = "succeeded"
    RETRYING = "retrying"
    FAILED = "failed"
    ABORTED = "aborted"
    LOST = "lost"  # another worker has taken it over
    NOT_RUN = "not_run"  # finished before, or not to be taken now


@dataclass(frozen=True, slots=True)
class Execution:
    """How it went. `until` (real time): when to deliver a job run again that could not be taken now."""

    ending: Ending
    error: str | None = None
    until: datetime | None = None


async def execute_job_run(
    platform: Platform,
    job_run_id: UUID,
    *,
    worker: str = "in process",
    now: datetime | None = None,
    finished: datetime | None = None,
    hooks: ProcessHooks,
    actor: Actor | None = None,
    lease: timedelta = LEASE,
) -> Execution:
    """Run one attempt of the job run, unless another worker does or has done it.

    `now` and `finished`: when it begins and ends under a simulated clock. Errors of the action end in the job run and
    in the returned value; only those of the database itself are raised.
    """
    actor = actor or system_actor()
    async with platform.uow(actor, now=now) as uow:
        found = await attempts.claim(uow, job_run_id, worker=worker, lease=lease)
        began = uow.now
    if isinstance(found, NotClaimed):
        if found.why is Hindrance.EXHAUSTED and found.claim is not None:
            return await lose_attempt(platform, found.claim, hooks=hooks, actor=actor, now=now)
        waits = found.why in (Hindrance.BUSY, Hindrance.PAUSED)
        return Execution(Ending.NOT_RUN, until=found.until if waits else None)
    attempt = _Attempt(platform, found, hooks, actor, lease=lease, now=now, finished=finished, began=began)
    return await attempt.run()


async def lose_attempt(
    platform: Platform, claim: Claim, *, hooks: ProcessHooks, actor: Actor, now: datetime | None = None
) -> Execution:
    """End an attempt whose lease is over; its job run comes back, or fails with its process if that was the last."""
    try:
        async with platform.uow(actor, now=now) as uow:
            if claim.is_last and claim.process_run_id is not None:
                await hooks.fail(uow, claim.process_run_id, attempts.LOST)
            await attempts.lose(uow, claim, final=claim.is_last)
    except (LeaseLost, JobAborted):
        return Execution(Ending.LOST)
    return Execution(Ending.FAILED if claim.is_last else Ending.RETRYING, error=attempts.LOST)


class _Attempt:
    def __init__(
        self,
        platform: Platform,
        claim: Claim,
        hooks: ProcessHooks,
        actor: Actor,
        *,
        lease: timedelta,
        now: datetime | None,
        finished: datetime | None,
        began: datetime,
    ) -> None:
        self._platform = platform
        self._claim = claim
        self._hooks = hooks
        self._actor = actor
        self._lease = lease
        self._now = now
        self._finished = finished
        self._heartbeat = Heartbeat(self._beat, lease=lease)
        self._log = JobLog(self._append, began=began)

    async def run(self) -> Execution:
        try:
            async with self._heartbeat.beating(), self._log.writing():
                try:
                    await self._begin()
                    await self._work()
                except Exception as error:
                    self._explain(error)
                    raise
        except LeaseLost as error:
            log.warning("%s", error.detail)
            return Execution(Ending.LOST)
        except JobAborted as error:
            return Execution(Ending.ABORTED, error=error.detail)
        except _NotWanted as refusal:
            return await self._close(Ending.ABORTED, refusal.detail)
        except asyncio.CancelledError:
            await asyncio.shield(self._release())
            raise
        except Exception as error:
            final = self._claim.is_last or isinstance(error, ActionRefused)
            return await self._close(Ending.FAILED if final else Ending.RETRYING, in_words(error))
        return Execution(Ending.SUCCEEDED)

    async def _begin(self) -> None:
        process_run_id = self._claim.process_run_id
        if process_run_id is None:
            return
        try:
            async with self._platform.uow(self._actor, now=self._now) as uow:
                await self._hooks.begin(uow, process_run_id)
                await attempts.require_held(uow, self._claim)
        except TransitionRefused as error:
            raise _NotWanted(error.detail) from error

    async def _work(self) -> None:
        claim = self._claim
        async with self._platform.uow(self._actor, now=self._now) as uow:
            action = _action(uow, claim.function)
            context = await self._context(uow)
            result: ActionResult = await self._heartbeat.guard(_run(action, context))
            await self._heartbeat.stop()
            await self._log.flush()
            if self._finished is not None:
                uow.now = self._finished
            # The workflow run is locked before the job run, as by every other command.
            if claim.process_run_id is not None:
                await self._hooks.finish(uow, claim.process_run_id, result.output_fingerprint)
            await attempts.succeed(uow, claim, result)

    async def _context(self, uow: UnitOfWork) -> JobContext:
        process_run = run = None
        if self._claim.process_run_id is not None:
            process_run = await _row(uow, "process_run", self._claim.process_run_id)
            run = await _row(uow, "workflow_run", process_run["run_id"])
            uow.business_date = run["business_date"]
        return JobContext(
            uow=uow,
            job_run_id=self._claim.job_run_id,
            attempt=self._claim.attempt,
            arguments=self._claim.arguments,
            process_run=process_run,
            run=run,
            job_log=self._log,
            cancelled=lambda: self._heartbeat.verdict,
        )

    # -- how an attempt ends that did not succeed -------------------------------------------------------------------

    def _explain(self, error: Exception) -> None:
        """Say in the job's own log why it ends; what its readers cannot use goes to the worker's log."""
        if not isinstance(error, StepsError):
            log.exception("attempt %s of %s failed", self._claim.attempt, self._claim.function)
        called_off = isinstance(error, _NotWanted | JobAborted)
        self._log.add(Level.WARNING if called_off else Level.ERROR, in_words(error))

    async def _close(self, ending: Ending, error: str) -> Execution:
        claim = self._claim
        try:
            async with self._platform.uow(self._actor, now=self._finished or self._now) as uow:
                if ending is Ending.ABORTED:
                    await attempts.withdraw(uow, claim, reason=error)
                else:
                    if ending is Ending.FAILED and claim.process_run_id is not None:
                        await self._hooks.fail(uow, claim.process_run_id, error)
                    await attempts.fail(uow, claim, error=error, final=ending is Ending.FAILED)
        except LeaseLost:
            return Execution(Ending.LOST)
        except JobAborted:
            return Execution(Ending.ABORTED, error=error)
        return Execution(ending, error=error)

    async def _release(self) -> None:
        try:
            async with self._platform.uow(self._actor, now=self._now) as uow:
                await attempts.release(uow, self._claim, reason="The worker was shut down.")
        except (LeaseLost, JobAborted):
            return

    # -- beside the attempt's own transaction ------------------------------------------------------------------------

    async def _beat(self) -> None:
        async with self._platform.uow(self._actor, now=self._now) as uow:
            await attempts.heartbeat(uow, self._claim, lease=self._lease)

    async def _append(self, lines: Sequence[Line]) -> None:
        async with self._platform.uow(self._actor, now=self._now) as uow:
            await attempts.append_log(uow, self._claim, lines)


class _NotWanted(StepsError):
    """The process is in no state to be worked on: somebody has decided otherwise meanwhile."""


def in_words(error: BaseException) -> str:
    """Return what a reader of the job run may see: our own errors in words, of others only the kind."""
    if isinstance(error, StepsError):
        return error.detail
    return f"Something unexpected went wrong ({type(error).__name__}); the worker's log has the details."


def _action(uow: UnitOfWork, function: str) -> Action:
    actions: Mapping[str, Action] = uow.resources.services.get(ACTIONS, {})
    try:
        return actions[function]
    except KeyError:
        known = ", ".join(sorted(actions)) or "none"
        raise ActionRefused(f"There is no action {function!r}. The actions there are: {known}.") from None


async def _run(action: Action, context: JobContext) -> ActionResult:
    return await action(context)


async def _row(uow: UnitOfWork, entity: str, record_id: UUID) -> Mapping[str, Any]:
    table = uow.table(entity)
    return dict((await uow.execute(select(table).where(table.c.id == record_id))).mappings().one())
