"""Work that nobody had foreseen: a process added to a run that is under way, between others that have not begun."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Row, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, Forbidden, NotFound, TransitionRefused, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize, decide
from app.domain.jobs.runs import withdraw_jobs
from app.domain.workflow.events import ProcessAdded, ProcessesReleased
from app.domain.workflow.states import Guard, ProcessKind, ProcessState, RunState
from app.domain.workflow.transitions import acting_as
from models.base import uuid7

MAX_LABEL = 200
MAX_REASON = 2_000
MOST_NEIGHBOURS = 50
ACTION = "transition:add_process"
# A successor in one of these has not begun. An approval has, once somebody has signed or sent it back.
NOT_BEGUN = frozenset(
    {ProcessState.BLOCKED, ProcessState.PLANNED, ProcessState.READY, ProcessState.ASSIGNED, ProcessState.IN_REVIEW}
)

# The run is locked first, as by everybody who changes its processes.
LOCK_RUN = text(
    """
SELECT r.id, r.reference, r.state, r.node_id, r.application_id, a.code AS application, n.path AS node_path,
       EXISTS (SELECT FROM role WHERE code = :role) AS role_known
FROM workflow_run r
JOIN application a ON a.id = r.application_id
LEFT JOIN hierarchy_node n ON n.id = r.node_id
WHERE r.id = :id
FOR NO KEY UPDATE OF r
"""
)
READ_NEIGHBOURS = text(
    """
SELECT id, code, label, kind, state, rank, stage_run_id, node_id, round, level, coalesce(signatures, 0) AS signatures,
       makers::text AS makers
FROM process_run WHERE run_id = :run_id AND id = ANY (:ids)
ORDER BY rank, id FOR NO KEY UPDATE
"""
).bindparams(bindparam("ids", type_=ARRAY(Uuid)))
# Whether one of the new predecessors waits for one of the new successors already, over any number of edges.
FIND_CIRCLE = text(
    """
WITH RECURSIVE later AS (
    SELECT unnest(:after) AS id
    UNION
    SELECT e.successor_id FROM process_edge e JOIN later l ON l.id = e.predecessor_id WHERE e.run_id = :run_id
)
SELECT p.label FROM process_run p JOIN later l ON l.id = p.id WHERE p.id = ANY (:before) ORDER BY p.rank LIMIT 1
"""
).bindparams(bindparam("after", type_=ARRAY(Uuid)), bindparam("before", type_=ARRAY(Uuid)))
INSERT = text(
    """
WITH number AS (
    SELECT 'adhoc_' || (count(*) + 1) AS code FROM process_run WHERE run_id = :run_id AND ad_hoc
), definition AS (
    INSERT INTO process (id, row_version, stage_id, code, label, rank, kind, owner_role, instructions, critical,
                         require_comment, skip_allowed, ad_hoc, warn_minutes,
                         created_at, created_by, updated_at, updated_by)
    SELECT :process_id, 1, s.stage_id, number.code, :label, :rank, 'manual', :owner_role, :instructions, false,
           false, true, true, 30, :now, :by, :now, :by
    FROM stage_run s, number WHERE s.id = :stage_run_id
    RETURNING id, code
), work AS (
    INSERT INTO process_run (id, row_version, run_id, stage_run_id, process_id, code, label, kind, state, node_id,
                             application_id, owner_role, critical, rank, waiting_on, finish_waiting_on,
                             soft_waiting_on, round, attempt, level, levels, due_at, ready_at, ad_hoc,
                             created_at, created_by, updated_at, updated_by)
    SELECT :id, 1, :run_id, :stage_run_id, d.id, d.code, :label, 'manual', :state, :node_id,
           :application_id, :owner_role, false, :rank, :waiting_on, 0, 0, 1, 0, 0, 0, :due_at,
           CASE WHEN :state = 'ready' THEN CAST(:now AS timestamptz) END, true, :now, :by, :now, :by
    FROM definition d
    RETURNING id, code
), run AS (
    UPDATE workflow_run SET
        process_count = process_count + 1, open_count = open_count + 1, row_version = row_version + 1,
        due_at = greatest(due_at, :due_at), updated_at = :now, updated_by = :by
    WHERE id = :run_id
), logged AS (
    INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, at, round, attempt, level,
                                    created_at, created_by, updated_at, updated_by)
    SELECT uuidv7(), :id, 'release', 'blocked', :state, :now, 1, 0, 0, :now, :by, :now, :by
    WHERE :state = 'ready'
)
SELECT code FROM work
"""
).bindparams(
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("due_at", type_=DateTime(timezone=True)),
    bindparam("node_id", type_=Uuid),
)
# An edge whose predecessor has closed already is satisfied from the beginning; the others are counted.
INSERT_EDGES = text(
    """
INSERT INTO process_edge (id, row_version, run_id, predecessor_id, successor_id, edge_type, hardness, accepts, met_at,
                          satisfied_at, outcome, created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), 1, :run_id, x.before, x.after, 'FS', 'hard', ARRAY['done', 'skipped'],
       CASE WHEN x.closed THEN CAST(:now AS timestamptz) END, CASE WHEN x.closed THEN CAST(:now AS timestamptz) END,
       CASE WHEN x.closed THEN 'met' END, :now, :by, :now, :by
FROM (SELECT p.id AS before, CAST(:id AS uuid) AS after, p.state IN ('done', 'skipped') AS closed
      FROM process_run p WHERE p.id = ANY (:before)
      UNION ALL
      SELECT CAST(:id AS uuid), s, false FROM unnest(:after) AS s) x
"""
).bindparams(bindparam("before", type_=ARRAY(Uuid)), bindparam("after", type_=ARRAY(Uuid)))
BLOCK_SUCCESSORS = text(
    """
WITH moved AS (
    UPDATE process_run SET
        waiting_on = waiting_on + 1, state = 'blocked',
        level = CASE WHEN state = 'in_review' THEN 0 ELSE level END,
        submitted_at = CASE WHEN state = 'in_review' THEN NULL ELSE submitted_at END,
        row_version = row_version + 1, updated_at = :now, updated_by = :by
    WHERE id = ANY (:after)
    RETURNING id, round, attempt
)
INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, actor_id, at, round, attempt, level,
                                reason, created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), m.id, 'block', o.state, 'blocked', :user_id, :now, m.round, m.attempt, o.level, :reason,
       :now, :by, :now, :by
FROM moved m JOIN unnest(:after, :states, :levels) AS o (id, state, level) ON o.id = m.id
WHERE o.state <> 'blocked'
"""
).bindparams(
    bindparam("after", type_=ARRAY(Uuid)),
    bindparam("states", type_=ARRAY(Text)),
    bindparam("levels", type_=ARRAY(BigInteger)),
    bindparam("user_id", type_=Uuid),
)


@dataclass(frozen=True, slots=True)
class Added:
    """The process that was added. `held_back`: those that were free to begin and wait for it now."""

    process_run_id: UUID
    code: str
    state: ProcessState
    held_back: tuple[UUID, ...]


async def add_process(
    uow: UnitOfWork,
    *,
    run_id: UUID,
    label: str,
    owner_role: str,
    reason: str,
    due_at: datetime | None = None,
    instructions: str | None = None,
    predecessors: Sequence[UUID] = (),
    successors: Sequence[UUID] = (),
) -> Added:
    """Add a manual process to an active run, after and before others of the run; it may be skipped by a lead.

    Raises:
        Forbidden, NotFound: not a lead of the run; no such run or process, or none in sight.
        ValidationFailed: what was entered cannot be so, or would let processes wait for each other in a circle.
        TransitionRefused: the run is not active, or a successor has begun.
    """
    decision = authorize(uow, ACTION, "workflow_run")
    run = await _locked(uow, run_id, owner_role)
    acting = acting_as(uow, decision)
    if not uow.actor.is_system and acting.grant_for(run) is None:
        raise Forbidden(f"You may not add work to the run {run.reference}: none of your grants for that reaches it.")
    if run.state != RunState.ACTIVE:
        words = str(run.state).replace("_", " ")
        raise TransitionRefused(f"The run {run.reference} is {words}.", guard=Guard.RUN_IS_ACTIVE.value)
    label, reason = label.strip(), reason.strip()
    before, after = list(dict.fromkeys(predecessors)), list(dict.fromkeys(successors))
    _check(uow, run, label=label, reason=reason, owner_role=owner_role, due_at=due_at, before=before, after=after)
    found = (await uow.execute(READ_NEIGHBOURS, {"run_id": run.id, "ids": [*before, *after]})).all()
    neighbours = {row.id: row for row in found}
    if set(neighbours) != {*before, *after}:
        raise NotFound("One of the processes that it stands between is not part of this run.")
    circle = await uow.scalar(FIND_CIRCLE, {"run_id": run.id, "before": before, "after": after})
    if circle is not None:
        message = f"“{circle}” waits for one of the processes that would wait for it: they would wait in a circle."
        raise ValidationFailed([FieldProblem("predecessors", message, "cycle")])
    _require_not_begun([neighbours[id_] for id_ in after])
    _require_ahead([neighbours[id_] for id_ in before])
    open_before = [id_ for id_ in before if not ProcessState(neighbours[id_].state).closed]
    beside = neighbours[before[-1]] if before else neighbours[after[0]]
    state = ProcessState.BLOCKED if open_before else ProcessState.READY
    id_ = uuid7()
    values: dict[str, Any] = {
        "id": id_,
        "process_id": uuid7(),
        "run_id": run.id,
        "stage_run_id": beside.stage_run_id,
        "rank": beside.rank,
        "node_id": beside.node_id,
        "application_id": run.application_id,
        "label": label,
        "owner_role": owner_role,
        "instructions": instructions,
        "due_at": due_at,
        "state": state.value,
        "waiting_on": len(open_before),
        "now": uow.now,
        "by": uow.actor.id,
    }
    code = await uow.scalar(INSERT, values)
    await _connect(uow, values, before, [neighbours[other] for other in after], reason)
    held_back = tuple(other for other in after if neighbours[other].state != ProcessState.BLOCKED)
    uow.emit(ProcessAdded(at=uow.now, run_id=run.id, process_run_id=id_))
    if state is ProcessState.READY:
        uow.emit(ProcessesReleased(at=uow.now, run_id=run.id, process_run_ids=(id_,)))
    uow.touch("runs", f"run:{run.id}", *(f"process_run:{other}" for other in (*before, *after)))
    uow.audit(
        AuditEntry(
            command="add_process",
            entity="process_run",
            record_id=id_,
            after={
                "label": label,
                "owner_role": owner_role,
                "due_at": due_at,
                "predecessors": before,
                "successors": after,
            },
            reason=reason,
            context={"run": run.reference, "process": code, "held_back": held_back},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    return Added(id_, str(code), state, held_back)


async def _locked(uow: UnitOfWork, run_id: UUID, role: str) -> Row[Any]:
    row = (await uow.execute(LOCK_RUN, {"id": run_id, "role": role})).first()
    reading = decide(uow.resources.policy, uow.registry, uow.actor, "read", "workflow_run")
    if row is None or not acting_as(uow, reading).sees(row):
        raise NotFound("There is no such run, or you may not see it.")
    return row


def _check(
    uow: UnitOfWork,
    run: Row[Any],
    *,
    label: str,
    reason: str,
    owner_role: str,
    due_at: datetime | None,
    before: Sequence[UUID],
    after: Sequence[UUID],
) -> None:
    problems: list[FieldProblem] = []
    if not label or len(label) > MAX_LABEL:
        problems.append(
            FieldProblem("label", f"Say what is to be done, in at most {MAX_LABEL} characters.", "required")
        )
    if not reason or len(reason) > MAX_REASON:
        problems.append(FieldProblem("reason", f"Say why, in at most {MAX_REASON} characters.", "required"))
    if not run.role_known:
        problems.append(FieldProblem("owner_role", f"There is no role {owner_role or '(none)'}.", "unknown"))
    if due_at is not None and (due_at.tzinfo is None or due_at <= uow.now):
        problems.append(FieldProblem("due_at", "Choose a time with its zone that is still ahead.", "past"))
    if not before and not after:
        message = "Say after or before which processes it is done, so that it has a place in the run."
        problems.append(FieldProblem("predecessors", message, "required"))
    if len(before) + len(after) > MOST_NEIGHBOURS:
        problems.append(FieldProblem("predecessors", f"At most {MOST_NEIGHBOURS} neighbours.", "count"))
    if set(before) & set(after):
        problems.append(FieldProblem("successors", "A process cannot be both before and after it.", "cycle"))
    if problems:
        raise ValidationFailed(problems)


def _require_not_begun(after: Sequence[Row[Any]]) -> None:
    for row in after:
        begun = row.state not in NOT_BEGUN
        begun |= row.state == ProcessState.IN_REVIEW and (
            not ProcessKind(row.kind).decided or row.level > 1 or row.round > 1 or row.signatures > 0
        )
        begun |= row.state in (ProcessState.READY, ProcessState.ASSIGNED) and row.round > 1
        if begun:
            state = ProcessState(row.state).label
            detail = f"“{row.label}” is {state}: work can be added before what has not begun yet."
            raise TransitionRefused(detail, guard="successor_not_begun", satisfy="Add it before a later process.")


def _require_ahead(before: Sequence[Row[Any]]) -> None:
    for row in before:
        if row.state == ProcessState.CANCELLED:
            detail = f"“{row.label}” is cancelled, so what waits for it would wait for ever."
            raise TransitionRefused(detail, guard="predecessor_open", satisfy="Leave it out.")


async def _connect(
    uow: UnitOfWork, values: dict[str, Any], before: Sequence[UUID], after: Sequence[Row[Any]], reason: str
) -> None:
    """Draw the edges; what was free to begin waits again, and a worker that was asked to is told to leave it."""
    shared = {"id": values["id"], "run_id": values["run_id"], "now": uow.now, "by": uow.actor.id}
    ids = [row.id for row in after]
    await uow.execute(INSERT_EDGES, {**shared, "before": before, "after": ids})
    if not after:
        return
    user_id = None if uow.actor.is_system else uow.actor.id
    moved: dict[str, Any] = {
        "after": ids,
        "states": [row.state for row in after],
        "levels": [row.level for row in after],
    }
    moved |= {"now": uow.now, "by": uow.actor.id, "user_id": user_id, "reason": reason}
    await uow.execute(BLOCK_SUCCESSORS, moved)
    for row in after:
        if row.kind == ProcessKind.AUTOMATIC and row.state == ProcessState.READY:
            await withdraw_jobs(uow, process_run_id=row.id, reason=f"Work was added before it: {reason}")
