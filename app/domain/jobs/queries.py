"""What is waiting and what has failed, for operations, the metrics and the health check."""

from dataclasses import dataclass

from sqlalchemy import text

from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize

_BACKLOG = text(
    """
SELECT count(*) FILTER (WHERE failed_at IS NULL AND available_at <= clock_timestamp()) AS due,
       count(*) FILTER (WHERE failed_at IS NULL AND lease_until >= clock_timestamp()) AS running,
       coalesce(extract(epoch FROM clock_timestamp() - min(available_at)
           FILTER (WHERE failed_at IS NULL AND available_at <= clock_timestamp()
                     AND (lease_until IS NULL OR lease_until < clock_timestamp()))), 0)::float8 AS oldest_seconds,
       (SELECT count(*) FROM outbox WHERE failed_at IS NOT NULL) AS failed
FROM outbox WHERE done_at IS NULL AND failed_at IS NULL
"""
)


@dataclass(frozen=True, slots=True)
class Backlog:
    """`due`: deliveries that may run now; `oldest_seconds`: how long the oldest that nobody runs has waited."""

    due: int
    running: int
    oldest_seconds: float
    failed: int


async def backlog(uow: UnitOfWork) -> Backlog:
    """Count the outbox, in one statement."""
    return Backlog(**(await uow.execute(_BACKLOG)).mappings().one())


@dataclass(frozen=True, slots=True)
class JobBacklog:
    """The deliveries of one job: those that are due and wait, run, wait for their time, and have failed for good."""

    job: str
    waiting: int
    running: int
    later: int
    failed: int
    oldest_seconds: float


_BY_JOB = text(
    """
SELECT job,
       count(*) FILTER (WHERE free AND available_at <= clock_timestamp()) AS waiting,
       count(*) FILTER (WHERE failed_at IS NULL AND NOT free) AS running,
       count(*) FILTER (WHERE free AND available_at > clock_timestamp()) AS later,
       count(*) FILTER (WHERE failed_at IS NOT NULL) AS failed,
       coalesce(extract(epoch FROM clock_timestamp() - min(available_at)
           FILTER (WHERE free AND available_at <= clock_timestamp())), 0)::float8 AS oldest_seconds
FROM (SELECT job, available_at, failed_at,
             failed_at IS NULL AND (lease_until IS NULL OR lease_until < clock_timestamp()) AS free
      FROM outbox WHERE done_at IS NULL) AS open
GROUP BY job
ORDER BY 6 DESC, job
"""
)


async def backlog_by_job(uow: UnitOfWork) -> list[JobBacklog]:
    """The open and the failed deliveries by job, the one that waits longest first. Raises: Forbidden."""
    authorize(uow, "read", "worker")
    return [JobBacklog(**row) for row in (await uow.execute(_BY_JOB)).mappings()]
