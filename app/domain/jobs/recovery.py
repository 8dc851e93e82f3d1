"""Finding work whose worker is gone, and clearing away what is long done."""

import logging
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.exc import SQLAlchemyError

from app.core.actor import system_actor
from app.core.errors import StepsError
from app.core.uow import UnitOfWork
from app.domain.jobs import outbox
from app.domain.jobs.attempts import RUN_JOB, Claim
from app.domain.jobs.context import Platform
from app.domain.jobs.execute import ProcessHooks, lose_attempt
from models.types import UtcDateTime

log = logging.getLogger("steps.jobs")

MOST_AT_ONCE = 200
STRANDED_AFTER = timedelta(minutes=10)
KEEP_DONE = timedelta(days=7)
KEEP_FAILED = timedelta(days=90)
KEEP_ANSWERS = timedelta(days=2)
PORTION = 5_000

_LOST = text(
    """
SELECT id AS job_run_id, attempt, failures, max_attempts, backoff_seconds, function, arguments, process_run_id
FROM job_run WHERE state = 'running' AND lease_until < clock_timestamp() ORDER BY lease_until LIMIT :most
"""
)

# Queued, but no delivery is on its way: its outbox row has used up its own attempts.
_STRANDED = text(
    """
SELECT id FROM job_run
WHERE state IN ('queued', 'retrying')
  AND coalesce(lease_until, created_at) < clock_timestamp() - make_interval(secs => :after)
  AND NOT EXISTS (SELECT FROM outbox WHERE job = :job AND payload ->> 'job_run_id' = job_run.id::text
                                       AND done_at IS NULL AND failed_at IS NULL)
ORDER BY id LIMIT :most
FOR NO KEY UPDATE SKIP LOCKED
"""
)

# Ids grow with the real time, so what is old stands at the beginning of the primary key.
_CLEAR_OUTBOX = text(
    """
DELETE FROM outbox WHERE id IN (
    SELECT id FROM outbox
    WHERE id < :done_boundary AND (done_at IS NOT NULL OR failed_at IS NOT NULL AND id < :failed_boundary)
    ORDER BY id LIMIT :portion FOR UPDATE SKIP LOCKED)
"""
).bindparams(bindparam("done_boundary", type_=Uuid), bindparam("failed_boundary", type_=Uuid))

_CLEAR_ANSWERS = text(
    """
DELETE FROM idempotency_key WHERE (actor_id, key) IN (
    SELECT actor_id, key FROM idempotency_key WHERE created_at < :before
    ORDER BY created_at LIMIT :portion FOR UPDATE SKIP LOCKED)
"""
).bindparams(bindparam("before", type_=UtcDateTime))


async def reap_lost(platform: Platform, *, hooks: ProcessHooks) -> int:
    """End the attempts whose lease is over and bring their job runs back; return how many.

    Each has a transaction of its own, so that one that cannot be ended does not keep the others.
    """
    actor = system_actor()
    async with platform.uow(actor) as uow:
        found = [
            Claim(**{**row, "arguments": row["arguments"] or {}})
            for row in (await uow.execute(_LOST, {"most": MOST_AT_ONCE})).mappings()
        ]
        await outbox.give_up_lost(uow)
    for claim in found:
        try:
            await lose_attempt(platform, claim, hooks=hooks, actor=actor)
        except (StepsError, SQLAlchemyError, OSError) as error:
            log.warning("the lost attempt of job run %s was not ended: %s", claim.job_run_id, error)
    return len(found)


async def deliver_stranded(uow: UnitOfWork) -> int:
    """Queue a delivery for the job runs that wait for one that will not come; return how many."""
    rows = await uow.execute(_STRANDED, {"job": RUN_JOB, "after": STRANDED_AFTER.total_seconds(), "most": MOST_AT_ONCE})
    ids = list(rows.scalars())
    for job_run_id in ids:
        uow.enqueue(RUN_JOB, {"job_run_id": job_run_id})
    return len(ids)


async def clear_done(uow: UnitOfWork) -> int:
    """Delete what nobody needs any more, in portions that are committed one by one; return how many rows.

    Deliveries that were done are kept for a week, those that failed for 90 days, answers to commands for two days.
    """
    real = datetime.now(UTC)
    cleared = 0
    while True:
        values = {
            "done_boundary": first_id_at(real - KEEP_DONE),
            "failed_boundary": first_id_at(real - KEEP_FAILED),
            "portion": PORTION,
        }
        deleted = (await uow.execute(_CLEAR_OUTBOX, values)).rowcount
        answers = (await uow.execute(_CLEAR_ANSWERS, {"before": uow.now - KEEP_ANSWERS, "portion": PORTION})).rowcount
        await uow.checkpoint()
        cleared += deleted + answers
        if max(deleted, answers) < PORTION:
            return cleared


def first_id_at(moment: datetime) -> UUID:
    """Return the smallest time-ordered id (version 7) that could have been made at the moment."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (0b10 << 62))
