"""How many open queries a process has, kept on its row, so that the engine knows with the row that it locks.

Whoever changes what counts locks the run, then the process, and counts anew in a statement of its own: of two that come
at once the second sees what the first has written. The order of locks is: query, run, process.
"""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.workflow.states import ProcessState
from app.domain.workflow.transitions import finish_waiting

LOCK = text(
    """
SELECT p.id, p.run_id, p.label, p.state, r.business_date, w.calendar_id
FROM process_run p JOIN workflow_run r ON r.id = p.run_id JOIN workflow w ON w.id = r.workflow_id
WHERE p.id = :id FOR NO KEY UPDATE OF r, p
"""
)
# The row version stays: who decides on the process decides on what was handed in, and is told of queries by a reason.
COUNT = text(
    """
UPDATE process_run p SET open_queries = x.open, blocking_queries = x.blocking
FROM (SELECT count(*) AS open, count(*) FILTER (WHERE q.blocking AND q.answered_at IS NULL) AS blocking
      FROM process_query q WHERE q.process_run_id = :id AND q.closed_at IS NULL) x
WHERE p.id = :id
RETURNING p.blocking_queries, p.state
"""
)


@dataclass(frozen=True, slots=True)
class LockedProcess:
    id: UUID
    run_id: UUID
    label: str
    state: ProcessState
    business_date: date
    calendar_id: UUID


async def lock_process_of(uow: UnitOfWork, process_run_id: UUID) -> LockedProcess:
    """Lock the run and the process, in that order. Raises NotFound."""
    row = (await uow.execute(LOCK, {"id": process_run_id})).first()
    if row is None:
        raise NotFound("There is no such process run.")
    return LockedProcess(row.id, row.run_id, row.label, ProcessState(row.state), row.business_date, row.calendar_id)


async def recount(uow: UnitOfWork, process: LockedProcess) -> None:
    """Count the queries of a locked process anew; one that has waited for nothing else ends now."""
    found = (await uow.execute(COUNT, {"id": process.id})).one()
    uow.touch(f"process_run:{process.id}", f"run:{process.run_id}")
    if not found.blocking_queries and found.state in (ProcessState.WAITING_EXTERNAL, ProcessState.STALE):
        await finish_waiting(uow, (process.id,))
