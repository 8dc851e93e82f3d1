"""Attempts of a job run: who may work on it, for how long, and how an attempt ends.

A job run is taken under a lease in real time. `attempt` grows with every claim and is the fencing token: an attempt
ends in the transaction that writes its effects, and only while the run still carries its token, so a worker that was
thought dead and comes back changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Double, Integer, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.audit import plain_mapping
from app.core.uow import UnitOfWork
from app.domain.jobs.backoff import backoff
from app.domain.jobs.context import ActionResult
from app.domain.jobs.errors import JobAborted, LeaseLost
from app.domain.jobs.events import JobFailed
from models.base import uuid7
from models.types import UtcDateTime

RUN_JOB = "run_job"  # the outbox job that delivers a job run
LOST = "The worker was lost: it was killed, cut off or too slow to say that it is alive."
ERROR_LENGTH = 4_000


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"  # an attempt failed or was lost; the next one comes by itself
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # all attempts used up
    ABORTED = "aborted"


class AttemptState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    ABORTED = "aborted"


class Hindrance(StrEnum):
    """Why a job run cannot be taken now."""

    FINISHED = "finished"  # also when there is no such job run any more
    BUSY = "busy"  # another worker holds the lease
    PAUSED = "paused"  # the pause before the next attempt is not over
    EXHAUSTED = "exhausted"  # its worker was lost during the last attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to run one attempt; `attempt` is the fencing token."""

    job_run_id: UUID
    attempt: int
    failures: int
    max_attempts: int
    backoff_seconds: int
    function: str
    arguments: Mapping[str, Any]
    process_run_id: UUID | None

    @property
    def is_last(self) -> bool:
        """Whether the job run fails for good if this attempt fails."""
        return self.failures + 1 >= self.max_attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class NotClaimed:
    """`until` (real time): when to try again, where that makes sense. `claim`: the attempt that was lost."""

    why: Hindrance
    until: datetime | None = None
    claim: Claim | None = None


_LOCK = text(
    """
SELECT id AS job_run_id, attempt, failures, max_attempts, backoff_seconds, function, arguments, process_run_id, state,
       lease_until, clock_timestamp() AS real_now
FROM job_run WHERE id = :id FOR NO KEY UPDATE
"""
).bindparams(bindparam("id", type_=Uuid))

_BEGIN = text(
    """
WITH lost AS (
    UPDATE job_attempt SET state = 'lost', finished_at = :now, error = :lost_error, updated_at = :now
    WHERE job_run_id = :id AND state = 'running' AND number < :attempt
), attempt AS (
    INSERT INTO job_attempt (id, created_at, created_by, updated_at, updated_by, job_run_id, number, state, worker,
                             started_at)
    VALUES (:attempt_id, :now, :actor, :now, :actor, :id, :attempt, 'running', :worker, :now)
)
UPDATE job_run
SET state = 'running', attempt = :attempt, failures = :failures, worker = :worker, error = NULL, finished_at = NULL,
    lease_until = clock_timestamp() + make_interval(secs => :lease), started_at = coalesce(started_at, :now),
    updated_at = :now, updated_by = :actor, row_version = row_version + 1
WHERE id = :id
"""
).bindparams(
    bindparam("id", type_=Uuid),
    bindparam("attempt_id", type_=Uuid),
    bindparam("actor", type_=Uuid),
    bindparam("now", type_=UtcDateTime),
    bindparam("attempt", type_=Integer),
    bindparam("worker", type_=Text),
    bindparam("lost_error", type_=Text),
    bindparam("lease", type_=Double),
)

# Every end of an attempt is this one statement; no row means that the token is not the current one any more.
_END = text(
    """
WITH fenced AS (
    UPDATE job_run
    SET state = :state, failures = failures + :failed, error = :error, result = coalesce(:result, result),
        output_fingerprint = coalesce(:output, output_fingerprint),
        input_fingerprint = coalesce(:input, input_fingerprint),
        lease_until = clock_timestamp() + make_interval(secs => :pause),
        finished_at = CASE WHEN :finished THEN :now END,
        updated_at = :now, updated_by = :actor, row_version = row_version + 1
    WHERE id = :id AND attempt = :attempt AND state = 'running'
      AND (NOT :only_expired OR lease_until < clock_timestamp())
    RETURNING id, attempt)
UPDATE job_attempt
SET state = :attempt_state, finished_at = :now, error = :error, updated_at = :now
FROM fenced WHERE job_run_id = fenced.id AND number = fenced.attempt
RETURNING job_attempt.id
"""
).bindparams(
    bindparam("id", type_=Uuid),
    bindparam("actor", type_=Uuid),
    bindparam("now", type_=UtcDateTime),
    bindparam("attempt", type_=Integer),
    bindparam("failed", type_=Integer),
    bindparam("state", type_=Text),
    bindparam("attempt_state", type_=Text),
    bindparam("error", type_=Text),
    bindparam("output", type_=Text),
    bindparam("input", type_=Text),
    bindparam("result", type_=JSONB(none_as_null=True)),
    bindparam("pause", type_=Double),
    bindparam("finished", type_=Boolean),
    bindparam("only_expired", type_=Boolean),
)

_HEARTBEAT = text(
    """
UPDATE job_run SET lease_until = clock_timestamp() + make_interval(secs => :lease)
WHERE id = :id AND attempt = :attempt AND state = 'running'
"""
).bindparams(bindparam("id", type_=Uuid), bindparam("lease", type_=Double))

_NOW_IS = text("SELECT state, attempt FROM job_run WHERE id = :id").bindparams(bindparam("id", type_=Uuid))

_APPEND_LOG = text(
    """
UPDATE job_attempt SET log = coalesce(log, '[]') || :lines
WHERE job_run_id = :id AND number = :attempt
"""
).bindparams(bindparam("id", type_=Uuid), bindparam("lines", type_=JSONB))


async def claim(uow: UnitOfWork, job_run_id: UUID, *, worker: str, lease: timedelta) -> Claim | NotClaimed:
    """Take the job run for `lease` and record the attempt; a running one whose lease is over is taken over.

    Under a simulated clock the pause before the next attempt is not waited for.
    """
    found = (await uow.execute(_LOCK, {"id": job_run_id})).mappings().one_or_none()
    if found is None:
        return NotClaimed(why=Hindrance.FINISHED)
    row = dict(found)
    state, lease_until, real_now = JobState(row.pop("state")), row.pop("lease_until"), row.pop("real_now")
    previous = Claim(**{**row, "arguments": row["arguments"] or {}})
    hindrance = may_be_taken(previous, state=state, held=_later(lease_until, real_now), patient=not uow.simulated)
    if hindrance is not None:
        return NotClaimed(why=hindrance, until=lease_until, claim=previous)
    failures = previous.failures + (1 if state is JobState.RUNNING else 0)
    taken = Claim(**{**row, "arguments": previous.arguments, "attempt": previous.attempt + 1, "failures": failures})
    await uow.execute(
        _BEGIN,
        {
            "id": job_run_id,
            "attempt_id": uuid7(),
            "actor": uow.actor.id,
            "now": uow.now,
            "attempt": taken.attempt,
            "failures": failures,
            "worker": worker,
            "lost_error": LOST,
            "lease": lease.total_seconds(),
        },
    )
    touch(uow, taken)
    return taken


def may_be_taken(previous: Claim, *, state: JobState, held: bool, patient: bool) -> Hindrance | None:
    """Decide who may take a job run; None means it may be taken. `held`: its lease or pause is not over."""
    match state:
        case JobState.RUNNING if held:
            return Hindrance.BUSY
        case JobState.RUNNING:
            return Hindrance.EXHAUSTED if previous.is_last else None
        case JobState.QUEUED | JobState.RETRYING:
            return Hindrance.PAUSED if held and patient else None
        case _:
            return Hindrance.FINISHED


async def heartbeat(uow: UnitOfWork, claimed: Claim, *, lease: timedelta) -> None:
    """Renew the lease.

    Raises:
        JobAborted: the job has been called off.
        LeaseLost: another worker has it.
    """
    values = {"id": claimed.job_run_id, "attempt": claimed.attempt, "lease": lease.total_seconds()}
    if not (await uow.execute(_HEARTBEAT, values)).rowcount:
        raise await _why_not_ours(uow, claimed)


async def require_held(uow: UnitOfWork, claimed: Claim) -> None:
    """Make sure, and keep it so until the commit, that the claim is the current one.

    Raises:
        JobAborted: the job has been called off.
        LeaseLost: another worker has it.
    """
    row = (await uow.execute(_LOCK, {"id": claimed.job_run_id})).one_or_none()
    if row is None or row.attempt != claimed.attempt or row.state != JobState.RUNNING:
        raise await _why_not_ours(uow, claimed)


async def succeed(uow: UnitOfWork, claimed: Claim, result: ActionResult) -> None:
    """End the attempt and the job run, in the transaction of the action's effects.

    Raises:
        JobAborted, LeaseLost: the claim is not the current one; nothing of this transaction may stay.
    """
    await _end(
        uow,
        claimed,
        JobState.SUCCEEDED,
        AttemptState.SUCCEEDED,
        result=plain_mapping(result.summary) or {},
        output=result.output_fingerprint,
        input_=result.input_fingerprint,
    )


async def fail(uow: UnitOfWork, claimed: Claim, *, error: str, final: bool) -> None:
    """End the attempt as failed. Unless `final`, the next one is queued after a pause that doubles.

    Raises:
        JobAborted, LeaseLost: the claim is not the current one.
    """
    await _end_badly(uow, claimed, AttemptState.FAILED, error=error, final=final)


async def lose(uow: UnitOfWork, claimed: Claim, *, final: bool) -> None:
    """End an attempt whose lease is over as lost; the next one is queued without a pause.

    Raises:
        JobAborted, LeaseLost: its worker has come back, or another one was quicker.
    """
    await _end_badly(uow, claimed, AttemptState.LOST, error=LOST, final=final)


async def release(uow: UnitOfWork, claimed: Claim, *, reason: str) -> None:
    """Give the job run back because the worker shuts down; this is no failure.

    Raises:
        JobAborted, LeaseLost: the claim is not the current one.
    """
    await _end(uow, claimed, JobState.QUEUED, AttemptState.LOST, error=reason, pause=timedelta(0))
    uow.enqueue(RUN_JOB, {"job_run_id": claimed.job_run_id})


async def withdraw(uow: UnitOfWork, claimed: Claim, *, reason: str) -> None:
    """End the attempt and the job run without a result, because nobody wants it any more.

    Raises:
        JobAborted, LeaseLost: the claim is not the current one.
    """
    await _end(uow, claimed, JobState.ABORTED, AttemptState.ABORTED, error=reason)


async def append_log(uow: UnitOfWork, claimed: Claim, lines: Sequence[Mapping[str, str]]) -> None:
    """Add lines to the attempt's log."""
    values = {"id": claimed.job_run_id, "attempt": claimed.attempt, "lines": [dict(line) for line in lines]}
    await uow.execute(_APPEND_LOG, values)
    uow.touch(f"job_run:{claimed.job_run_id}")


def touch(uow: UnitOfWork, claimed: Claim) -> None:
    """Refresh the pages that show the job run."""
    uow.touch(f"job_run:{claimed.job_run_id}", "entity:job_run")


async def _end_badly(uow: UnitOfWork, claimed: Claim, attempt: AttemptState, *, error: str, final: bool) -> None:
    if final:
        await _end(uow, claimed, JobState.FAILED, attempt, error=error, failed=1)
        uow.emit(JobFailed(at=uow.now, job_run_id=claimed.job_run_id, process_run_id=claimed.process_run_id))
        return
    pause = backoff(base_seconds=claimed.backoff_seconds, failures=claimed.failures + 1)
    if attempt is AttemptState.LOST:
        pause = timedelta(0)
    await _end(uow, claimed, JobState.RETRYING, attempt, error=error, failed=1, pause=pause)
    uow.enqueue(RUN_JOB, {"job_run_id": claimed.job_run_id}, delay=pause)


async def _end(
    uow: UnitOfWork,
    claimed: Claim,
    state: JobState,
    attempt_state: AttemptState,
    *,
    error: str | None = None,
    failed: int = 0,
    pause: timedelta | None = None,
    result: Mapping[str, Any] | None = None,
    output: str | None = None,
    input_: str | None = None,
) -> None:
    ended = await uow.execute(
        _END,
        {
            "id": claimed.job_run_id,
            "attempt": claimed.attempt,
            "actor": uow.actor.id,
            "now": uow.now,
            "state": state.value,
            "attempt_state": attempt_state.value,
            "error": None if error is None else error[:ERROR_LENGTH],
            "failed": failed,
            "pause": None if pause is None else pause.total_seconds(),
            "finished": state in (JobState.SUCCEEDED, JobState.FAILED, JobState.ABORTED),
            "result": result,
            "output": output,
            "input": input_,
            "only_expired": attempt_state is AttemptState.LOST and failed > 0,
        },
    )
    if ended.one_or_none() is None:
        raise await _why_not_ours(uow, claimed)
    touch(uow, claimed)


async def _why_not_ours(uow: UnitOfWork, claimed: Claim) -> JobAborted | LeaseLost:
    row = (await uow.execute(_NOW_IS, {"id": claimed.job_run_id})).one_or_none()
    if row is not None and row.attempt == claimed.attempt and row.state == JobState.ABORTED:
        return JobAborted(f"Attempt {claimed.attempt} of {claimed.function} was called off while it ran.")
    return LeaseLost(f"Attempt {claimed.attempt} of {claimed.function} is not the current one any more.")


def _later(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment > now
