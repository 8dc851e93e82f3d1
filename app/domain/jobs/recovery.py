"""Finding work whose worker is gone."""

import logging
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.core.actor import system_actor
from app.core.errors import StepsError
from app.core.uow import UnitOfWork
from app.domain.jobs import outbox
from app.domain.jobs.attempts import RUN_JOB, Claim
from app.domain.jobs.context import Platform
from app.domain.jobs.execute import ProcessHooks, lose_attempt

log = logging.getLogger("steps.jobs")

MOST_AT_ONCE = 200
STRANDED_AFTER = timedelta(minutes=10)

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
