"""Commands on a whole run: hold, resume, cancel. What a run is otherwise follows from its processes."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, Forbidden, NotFound, StaleVersion, TransitionRefused, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize, decide
from app.domain.jobs.runs import withdraw_jobs
from app.domain.workflow import across, work_queue
from app.domain.workflow.acting import MAX_REASON
from app.domain.workflow.events import RunFinished, RunStateChanged
from app.domain.workflow.released import RELEASED, released_from
from app.domain.workflow.states import Guard, RunState
from app.domain.workflow.transitions import acting_as

LOCK_RUN = text(
    """
SELECT r.id, r.reference, r.label, r.state, r.row_version, r.open_count, a.code AS application, n.path AS node_path
FROM workflow_run r
JOIN application a ON a.id = r.application_id
LEFT JOIN hierarchy_node n ON n.id = r.node_id
WHERE r.id = :id
FOR NO KEY UPDATE OF r
"""
)
SET_STATE = text(
    """
UPDATE workflow_run SET
    state = :state, finished_at = CASE WHEN :finished THEN :now ELSE finished_at END,
    open_count = CASE WHEN :state = 'cancelled' THEN 0 ELSE open_count END,
    row_version = row_version + 1, updated_at = :now, updated_by = :actor_id
WHERE id = :id
RETURNING row_version
"""
)
CANCEL_PROCESSES = text(
    """
WITH open AS (
    SELECT id, kind, state, round, attempt, level FROM process_run
    WHERE run_id = :id AND state NOT IN ('done', 'skipped', 'cancelled')
), changed AS (
    UPDATE process_run p SET state = 'cancelled', reason = :reason, finished_at = :now,
                             row_version = p.row_version + 1, updated_at = :now, updated_by = :actor_id
    FROM open o WHERE p.id = o.id
), logged AS (
    INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, actor_id, at, round, attempt, level,
                                    reason, created_at, created_by, updated_at, updated_by)
    SELECT uuidv7(), id, 'cancel', state, 'cancelled', :user_id, :now, round, attempt, level,
           :reason, :now, :actor_id, :now, :actor_id
    FROM open
)
SELECT id FROM open WHERE kind = 'automatic' AND state IN ('ready', 'in_progress')
"""
)
# Jobs that came while the run was on hold were called off, also those that followed a worker that was lost.
UNQUEUED = text(
    f"""
SELECT {RELEASED.format("p", "'ready'")}
FROM process_run p JOIN process d ON d.id = p.process_id
WHERE p.run_id = :id AND p.kind = 'automatic' AND p.state IN ('ready', 'in_progress')
  AND NOT EXISTS (SELECT FROM job_run j
                  WHERE j.process_run_id = p.id AND j.state IN ('queued', 'running', 'retrying'))
"""
)


@dataclass(frozen=True, slots=True)
class _Run:
    id: UUID
    reference: str
    label: str
    state: RunState
    row_version: int
    open_count: int
    application: str
    node_path: str | None


async def hold_run(uow: UnitOfWork, *, run_id: UUID, expected_version: int, reason: str) -> int:
    """Stop the run: nobody can go on with its processes until it is resumed. Returns the new row version."""
    decision, run = await _locked(uow, "hold", run_id, expected_version)
    _require_state(run, "hold", RunState.ACTIVE)
    return await _change(uow, run, decision, "hold", RunState.ON_HOLD, reason=_reason(reason))


async def resume_run(uow: UnitOfWork, *, run_id: UUID, expected_version: int) -> int:
    """Let the run go on; automatic processes that became ready meanwhile go to the workers. Returns the row version."""
    decision, run = await _locked(uow, "resume", run_id, expected_version)
    _require_state(run, "resume", RunState.ON_HOLD)
    finished = run.open_count == 0
    version = await _change(uow, run, decision, "resume", RunState.DONE if finished else RunState.ACTIVE, reason=None)
    await work_queue.queue(uow, released_from(await uow.scalar(UNQUEUED, {"id": run.id})))
    if finished:
        uow.emit(RunFinished(at=uow.now, run_id=run.id))
        await across.announce(uow, run_id=run.id)
    return version


async def cancel_run(uow: UnitOfWork, *, run_id: UUID, expected_version: int, reason: str) -> int:
    """Give the run up: its open processes are cancelled with it, closed ones stay. Returns the new row version."""
    decision, run = await _locked(uow, "cancel", run_id, expected_version)
    _require_state(run, "cancel", RunState.ACTIVE, RunState.ON_HOLD)
    why = _reason(reason)
    user_id = None if uow.actor.is_system else uow.actor.id
    values = {"id": run.id, "reason": why, "now": uow.now, "actor_id": uow.actor.id, "user_id": user_id}
    running = (await uow.execute(CANCEL_PROCESSES, values)).scalars().all()
    for process_run_id in running:
        await withdraw_jobs(uow, process_run_id=process_run_id, reason=f"The run is cancelled: {why}")
    await across.announce(uow, run_id=run.id)
    return await _change(uow, run, decision, "cancel", RunState.CANCELLED, reason=why)


async def _locked(uow: UnitOfWork, name: str, run_id: UUID, expected_version: int) -> tuple[Decision, _Run]:
    decision = authorize(uow, f"transition:{name}", "workflow_run")
    row = (await uow.execute(LOCK_RUN, {"id": run_id})).mappings().first()
    reading = decide(uow.resources.policy, uow.registry, uow.actor, "read", "workflow_run")
    if row is None:
        raise NotFound("There is no such run.")
    run = _Run(**{**row, "state": RunState(row["state"])})
    if not acting_as(uow, reading).sees(run):
        raise NotFound("There is no such run.")
    if not uow.actor.is_system and acting_as(uow, decision).grant_for(run) is None:
        detail = f"You may not {name} the run {run.reference}: none of your grants for that reaches its node."
        raise Forbidden(detail, context={"guard": Guard.LEAD_SCOPE.value})
    if expected_version != run.row_version:
        raise StaleVersion(
            f"The run {run.reference} has changed since you read it: it is {run.state.value.replace('_', ' ')} now.",
            context={"row_version": run.row_version, "state": run.state.value},
        )
    return decision, run


def _require_state(run: _Run, name: str, *states: RunState) -> None:
    if run.state in states:
        return
    possible = " or ".join(state.value.replace("_", " ") for state in states)
    detail = (
        f"The run {run.reference} is {run.state.value.replace('_', ' ')}; {name} is possible when it is {possible}."
    )
    raise TransitionRefused(detail, guard=Guard.STATE.value)


def _reason(reason: str) -> str:
    reason = reason.strip()
    if not reason or len(reason) > MAX_REASON:
        raise ValidationFailed([FieldProblem("reason", f"Say why, in at most {MAX_REASON} characters.", "required")])
    return reason


async def _change(
    uow: UnitOfWork, run: _Run, decision: Decision, name: str, state: RunState, *, reason: str | None
) -> int:
    finished = state in (RunState.DONE, RunState.CANCELLED)
    values = {"id": run.id, "state": state.value, "finished": finished, "now": uow.now, "actor_id": uow.actor.id}
    version: int = await uow.scalar(SET_STATE, values)
    uow.emit(RunStateChanged(at=uow.now, run_id=run.id, from_state=run.state.value, to_state=state.value, name=name))
    uow.touch("runs", f"run:{run.id}")
    uow.audit(
        AuditEntry(
            command=f"transition:{name}",
            entity="workflow_run",
            record_id=run.id,
            before={"state": run.state.value},
            after={"state": state.value},
            reason=reason,
            context={"run": run.reference, "open": run.open_count},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    return version
