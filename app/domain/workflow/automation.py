"""What a worker reports about an automatic process, and the release of those that waited for their earliest start."""

from uuid import UUID

from sqlalchemy import text

from app.core.uow import UnitOfWork
from app.domain.jobs.events import JobWasAborted
from app.domain.workflow import work_queue
from app.domain.workflow.acting import MAX_REASON
from app.domain.workflow.process_row import lock_process
from app.domain.workflow.released import RELEASED, may_begin, released_from
from app.domain.workflow.releasing import pass_due, tell
from app.domain.workflow.states import DECIDED, TRANSITIONS, Name
from app.domain.workflow.transitions import TransitionResult, engine_transition, finish_waiting

BATCH = 1_000

# The runs are locked first and in one order, like everywhere; one that is busy is left to the next round.
LOCK_DUE_RUNS = text(
    """
SELECT r.id FROM workflow_run r
WHERE r.state = 'active' AND r.id IN (
    SELECT p.run_id FROM process_run p
    WHERE p.state = 'planned' AND p.waiting_on = 0 AND p.earliest_start <= :now
    ORDER BY p.earliest_start LIMIT :batch)
ORDER BY r.id
FOR NO KEY UPDATE SKIP LOCKED
"""
)
RELEASE_DUE = text(
    f"""
WITH due AS (
    UPDATE process_run SET
        state = CASE WHEN kind {DECIDED} THEN 'in_review' WHEN kind = 'wait_for' THEN 'waiting_external'
                     ELSE 'ready' END,
        level = CASE WHEN kind {DECIDED} THEN 1 ELSE level END,
        submitted_at = CASE WHEN kind {DECIDED} THEN :now ELSE submitted_at END,
        ready_at = :now, row_version = row_version + 1, updated_at = :now, updated_by = :actor_id
    WHERE run_id = ANY (:runs) AND state = 'planned' AND waiting_on = 0 AND earliest_start <= :now
    RETURNING id, run_id, process_id, code, kind, state, round, attempt, level
), logged AS (
    INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, at, round, attempt, level,
                                    created_at, created_by, updated_at, updated_by)
    SELECT uuidv7(), id, 'release', 'planned', state, :now, round, attempt, level, :now, :actor_id, :now, :actor_id
    FROM due
)
SELECT due.run_id, {RELEASED.format("due", "due.state")} AS found
FROM due JOIN process d ON d.id = due.process_id
GROUP BY due.run_id ORDER BY due.run_id
"""
)


# Edges that wait out a lag; what of it is due passes in `releasing`. In runs that are closed as well, where it changes
# nothing any more, so that nothing is left that each sweep would look at again.
LOCK_LAGGED_RUNS = text(
    """
SELECT r.id FROM workflow_run r
WHERE r.state <> 'on_hold' AND r.id IN (
    SELECT e.run_id FROM process_edge e JOIN workflow_run o ON o.id = e.run_id AND o.state <> 'on_hold'
    WHERE e.due_at <= :now ORDER BY e.due_at LIMIT :batch)
ORDER BY r.id
FOR NO KEY UPDATE SKIP LOCKED
"""
)


async def begin_automatic(uow: UnitOfWork, process_run_id: UUID) -> None:
    """Note that a worker is at it.

    Raises:
        TransitionRefused: the process does not want the job any more; it must not run.
    """
    row = await lock_process(uow, process_run_id)
    await engine_transition(uow, row, Name.BEGIN)


async def finish_automatic(
    uow: UnitOfWork, process_run_id: UUID, output_fingerprint: str | None = None
) -> TransitionResult:
    """Close the process in the transaction that holds the job's effects.

    Raises:
        TransitionRefused: it was cancelled or skipped meanwhile; the effects must not stay.
    """
    row = await lock_process(uow, process_run_id)
    return await engine_transition(uow, row, Name.FINISH, fingerprint=output_fingerprint)


async def fail_automatic(uow: UnitOfWork, process_run_id: UUID, error: str) -> bool:
    """Note that the job has used up its attempts; False when the process has been closed or held meanwhile."""
    row = await lock_process(uow, process_run_id)
    if row.state not in TRANSITIONS[Name.FAIL].sources:
        return False
    reason = error.strip()[:MAX_REASON] or "The job failed without a message."
    await engine_transition(uow, row, Name.FAIL, reason=reason)
    return True


async def on_job_aborted(uow: UnitOfWork, event: JobWasAborted) -> None:
    """The work of the process has been called off by hand: it has failed until somebody retries or skips it."""
    if event.process_run_id is not None:
        await fail_automatic(uow, event.process_run_id, event.reason)


async def release_planned(uow: UnitOfWork) -> int:
    """Release the processes whose earliest start has been reached; any number of workers may do this at once."""
    runs = [row.id for row in await uow.execute(LOCK_DUE_RUNS, {"now": uow.now, "batch": BATCH})]
    if not runs:
        return 0
    values = {"runs": runs, "now": uow.now, "actor_id": uow.actor.id}
    count = 0
    for row in (await uow.execute(RELEASE_DUE, values)).all():
        run_id, released = row.run_id, released_from(row.found)
        count += len(released)
        uow.touch(f"run:{run_id}", *(f"process_run:{item.id}" for item in released))
        uow.emit(may_begin(released, run_id=run_id, at=uow.now))
        await work_queue.queue(uow, released)
    return count


async def release_lagged(uow: UnitOfWork) -> int:
    """Let pass what has waited out its lag; returns how many processes that has released or let end.

    Any number of workers may do this at once.
    """
    runs = [row.id for row in await uow.execute(LOCK_LAGGED_RUNS, {"now": uow.now, "batch": BATCH})]
    if not runs:
        return 0
    releases = await pass_due(uow, runs)
    await tell(uow, releases)
    for each in releases:
        await finish_waiting(uow, each.finishable)
    return sum(len(each.released) + len(each.finishable) for each in releases)
