"""Job runs: queue one, and what a person of operations can do with it."""

import hashlib
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Integer, Text, Uuid, bindparam, insert, select, text

from app.core.audit import AuditEntry, plain_value
from app.core.errors import FieldProblem, TransitionRefused, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize, refusal
from app.domain.access.scope import condition_of, require_in_scope, viewer_of
from app.domain.jobs.attempts import RUN_JOB, AttemptState, JobState
from app.domain.jobs.events import JobRetried, JobWasAborted
from models.base import uuid7
from models.types import UtcDateTime

LIVE = (JobState.QUEUED, JobState.RUNNING, JobState.RETRYING)
RETRYABLE = (JobState.FAILED, JobState.ABORTED)
REASON_LENGTH = 2_000

# Workflow commands lock the run before its jobs; so does everything here, or the two could wait for each other.
_LOCK_WORKFLOW_RUN = text(
    """
SELECT 1 FROM workflow_run WHERE id = (
    SELECT process_run.run_id FROM job_run JOIN process_run ON process_run.id = job_run.process_run_id
    WHERE job_run.id = :id)
FOR NO KEY UPDATE
"""
).bindparams(bindparam("id", type_=Uuid))

_REQUEUE = text(
    """
UPDATE job_run SET state = 'queued', failures = 0, error = NULL, finished_at = NULL, lease_until = NULL,
                   updated_at = :now, updated_by = :actor, row_version = row_version + 1
WHERE id = :id
"""
).bindparams(bindparam("id", type_=Uuid), bindparam("actor", type_=Uuid), bindparam("now", type_=UtcDateTime))

_CALL_OFF = text(
    """
WITH called_off AS (
    UPDATE job_run SET state = 'aborted', error = :reason, finished_at = :now, lease_until = NULL,
                       updated_at = :now, updated_by = :actor, row_version = row_version + 1
    WHERE (id = :id OR process_run_id = :process_run_id) AND state IN ('queued', 'running', 'retrying')
    RETURNING id
), attempts AS (
    UPDATE job_attempt SET state = :attempt_state, finished_at = :now, error = :reason, updated_at = :now
    FROM called_off WHERE job_run_id = called_off.id AND job_attempt.state = 'running')
SELECT id FROM called_off
"""
).bindparams(
    bindparam("id", type_=Uuid),
    bindparam("process_run_id", type_=Uuid),
    bindparam("actor", type_=Uuid),
    bindparam("now", type_=UtcDateTime),
    bindparam("reason", type_=Text),
    bindparam("attempt_state", type_=Text),
)

_OTHER_LIVE = text(
    """
SELECT 1 FROM job_run
WHERE process_run_id = :process_run_id AND id <> :id AND state IN ('queued', 'running', 'retrying') LIMIT 1
"""
).bindparams(bindparam("id", type_=Uuid), bindparam("process_run_id", type_=Uuid))

_IDS_OF_PROCESS = text(
    "SELECT id FROM job_run WHERE process_run_id = :id ORDER BY created_at DESC, id DESC LIMIT :most"
).bindparams(bindparam("id", type_=Uuid), bindparam("most", type_=Integer))


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a value in canonical JSON: equal values have equal fingerprints."""
    plain = orjson.dumps(plain_value(value), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(plain).hexdigest()


async def queue_job(
    uow: UnitOfWork,
    *,
    function: str,
    arguments: Mapping[str, Any],
    process_run_id: UUID | None = None,
    max_attempts: int = 3,
    backoff_seconds: int = 10,
) -> UUID:
    """Record a job run and have it delivered after the commit; return its id.

    A step of the engine inside somebody's command: whoever may do what leads here needs no permission of their own.
    """
    plain = plain_value(arguments)
    job_run_id = uuid7()
    await uow.execute(
        insert(uow.table("job_run")).values(
            id=job_run_id,
            created_at=uow.now,
            created_by=uow.actor.id,
            updated_at=uow.now,
            updated_by=uow.actor.id,
            function=function,
            state=JobState.QUEUED.value,
            process_run_id=process_run_id,
            arguments=plain,
            attempt=0,
            failures=0,
            max_attempts=max_attempts,
            backoff_seconds=backoff_seconds,
            input_fingerprint=fingerprint({"function": function, "arguments": plain}),
        )
    )
    uow.enqueue(RUN_JOB, {"job_run_id": job_run_id})
    uow.touch("entity:job_run")
    return job_run_id


async def retry(uow: UnitOfWork, job_run_id: UUID) -> None:
    """Send a failed or aborted job run off again, with all of its attempts; the old ones stay on record.

    Raises:
        Forbidden, NotFound: as for any record.
        TransitionRefused: it has not failed.
    """
    decision = authorize(uow, "retry", "job")
    row = await _locked(uow, job_run_id, "retry", decision)
    if row["state"] not in RETRYABLE:
        raise TransitionRefused(
            f"The job is {row['state']}: only a failed or aborted one can be retried.",
            guard="state",
            satisfy="Wait until it has failed, or abort it first.",
        )
    if await uow.scalar(_OTHER_LIVE, {"id": job_run_id, "process_run_id": row["process_run_id"]}):
        raise TransitionRefused(
            "The process has a newer job already.", guard="newer_job", satisfy="Look at the newest job of the process."
        )
    await uow.execute(_REQUEUE, {"id": job_run_id, "actor": uow.actor.id, "now": uow.now})
    uow.enqueue(RUN_JOB, {"job_run_id": job_run_id})
    uow.emit(JobRetried(at=uow.now, job_run_id=job_run_id, process_run_id=row["process_run_id"]))
    _record(uow, "retry", job_run_id, decision, before=row["state"], after=JobState.QUEUED, reason=None)


async def abort(uow: UnitOfWork, job_run_id: UUID, *, reason: str) -> None:
    """Call a job run off; an attempt that is running stops within seconds and what it did does not count.

    Raises:
        Forbidden, NotFound: as for any record.
        ValidationFailed: there is no reason.
        TransitionRefused: it is finished.
    """
    decision = authorize(uow, "abort", "job")
    reason = reason.strip()
    if not reason or len(reason) > REASON_LENGTH:
        raise ValidationFailed([FieldProblem("reason", f"Say why, in at most {REASON_LENGTH} characters.", "required")])
    row = await _locked(uow, job_run_id, "abort", decision)
    if row["state"] not in LIVE:
        raise TransitionRefused(
            f"The job is {row['state']} already.", guard="state", satisfy="There is nothing left to abort."
        )
    await _call_off(uow, job_run_id=job_run_id, reason=f"Aborted by {uow.actor.name}: {reason}")
    uow.emit(JobWasAborted(at=uow.now, job_run_id=job_run_id, process_run_id=row["process_run_id"], reason=reason))
    _record(uow, "abort", job_run_id, decision, before=row["state"], after=JobState.ABORTED, reason=reason)


async def withdraw_jobs(uow: UnitOfWork, *, process_run_id: UUID, reason: str) -> int:
    """Call off whatever is queued or running for a process that nobody wants done any more; return how many.

    A step of the engine inside a workflow command, which has locked the run and authorized.
    """
    return await _call_off(uow, process_run_id=process_run_id, reason=reason)


async def job_runs_of(uow: UnitOfWork, *, process_run_id: UUID, most: int = 20) -> list[UUID]:
    """Return the ids of the job runs of a process, newest first; whoever sees the process sees them."""
    return list((await uow.execute(_IDS_OF_PROCESS, {"id": process_run_id, "most": most})).scalars())


async def _call_off(
    uow: UnitOfWork, *, reason: str, job_run_id: UUID | None = None, process_run_id: UUID | None = None
) -> int:
    rows = await uow.execute(
        _CALL_OFF,
        {
            "id": job_run_id,
            "process_run_id": process_run_id,
            "actor": uow.actor.id,
            "now": uow.now,
            "reason": reason,
            "attempt_state": AttemptState.ABORTED.value,
        },
    )
    ids = list(rows.scalars())
    uow.touch(*(f"job_run:{id_}" for id_ in ids), "entity:job_run")
    return len(ids)


async def _locked(uow: UnitOfWork, job_run_id: UUID, action: str, decision: Decision) -> Mapping[str, Any]:
    """Lock the job run, if the grants that allow the action cover it."""
    await uow.execute(_LOCK_WORKFLOW_RUN, {"id": job_run_id})
    table = uow.table("job_run")
    statement = select(table.c.state, table.c.process_run_id).where(table.c.id == job_run_id)
    covered = condition_of(viewer_of(uow), action, uow.registry.entity("job_run"), decision, table)
    if covered is not None:
        statement = statement.where(covered)
    row = (await uow.execute(statement.with_for_update(of=table, key_share=True))).mappings().one_or_none()
    if row is None:
        await require_in_scope(uow, "read", "job_run", job_run_id)
        raise refusal(uow.resources.policy, uow.registry, uow.actor, action, "job", on_record=True)
    return dict(row)


def _record(
    uow: UnitOfWork,
    command: str,
    job_run_id: UUID,
    decision: Decision,
    *,
    before: str,
    after: str,
    reason: str | None,
) -> None:
    uow.touch(f"job_run:{job_run_id}", "entity:job_run")
    uow.audit(
        AuditEntry(
            command=command,
            entity="job_run",
            record_id=job_run_id,
            before={"state": str(before)},
            after={"state": str(after)},
            reason=reason,
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
