"""What is waiting and what has failed, for operations, the metrics and the health check."""

from dataclasses import dataclass

from sqlalchemy import text

from app.core.uow import UnitOfWork

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
