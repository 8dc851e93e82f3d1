"""Creating a run: a handful of set-based statements, whatever its size, and once per occurrence."""

from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, Forbidden, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.store import calendar_of_id
from app.domain.workflow import across, work_queue
from app.domain.workflow.conditions import not_binding
from app.domain.workflow.edges import GATES_START
from app.domain.workflow.events import RunCreated
from app.domain.workflow.graph import ENTRY_STATE
from app.domain.workflow.released import RELEASED, Released, may_begin, released_from
from app.domain.workflow.releasing import pass_edges, tell
from app.domain.workflow.states import ProcessState
from app.domain.workflow.transitions import acting_as
from app.domain.workflow.writing import SETTLE_ACROSS
from models.base import uuid7

MAX_VARIANT = 32

FIND_WORKFLOW = text(
    """
SELECT w.id, w.code, w.label, w.active, w.application_id, a.code AS application, w.calendar_id, n.id AS node_id,
       n.code AS node_code, n.path AS node_path, n.id IS DISTINCT FROM w.node_id AS elsewhere, v.id AS version_id,
       ARRAY(SELECT DISTINCT p.earliest_start FROM process p
             WHERE p.version_id = v.id AND p.earliest_start IS NOT NULL) AS start_formulas,
       EXISTS (SELECT FROM process_dependency e WHERE e.version_id = v.id AND e.condition IS NOT NULL) AS conditional,
       EXISTS (SELECT FROM process_dependency e
               WHERE e.version_id = v.id AND e.other_workflow_id IS NOT NULL) AS awaiting,
       EXISTS (SELECT FROM process_dependency e WHERE e.other_workflow_id = w.id) AS awaited
FROM workflow w
JOIN application a ON a.id = w.application_id
LEFT JOIN workflow_version v ON v.workflow_id = w.id AND v.state = 'published'
LEFT JOIN hierarchy_node n ON n.id = coalesce(CAST(:node_id AS uuid), w.node_id)
WHERE w.id = :workflow_id OR w.code = :code
"""
)
# The reference follows from the occurrence, so that it holds back a second run also where the node is empty.
INSERT_RUN = text(
    """
INSERT INTO workflow_run (id, reference, label, workflow_id, version_id, application_id, business_date, node_id,
                          variant, state, process_count, open_count, started_at,
                          created_at, created_by, updated_at, updated_by)
SELECT :id, :reference, :label, :workflow_id, :version_id, :application_id, :business_date, :node_id, :variant,
       'active', n.count, n.count, :now, :now, :actor_id, :now, :actor_id
FROM (SELECT count(*) AS count FROM process WHERE version_id = :version_id) n
ON CONFLICT DO NOTHING
RETURNING id
"""
)
FIND_RUN = text(
    """
SELECT id FROM workflow_run
WHERE workflow_id = :workflow_id AND business_date = :business_date AND node_id IS NOT DISTINCT FROM :node_id
  AND variant = :variant
"""
)
INSERT_STAGES = text(
    """
WITH made AS MATERIALIZED (
    SELECT uuidv7() AS run_stage_id, s.* FROM stage s WHERE s.version_id = :version_id
)
INSERT INTO stage_run (id, run_id, stage_id, parent_stage_id, code, label, depth, rank,
                       created_at, created_by, updated_at, updated_by)
SELECT m.run_stage_id, :id, m.id, above.run_stage_id, m.code, m.label, nlevel(m.path) - 1, m.rank,
       :now, :actor_id, :now, :actor_id
FROM made m LEFT JOIN made above ON above.id = m.parent_id
"""
)
INSERT_PROCESSES = text(
    f"""
WITH made AS (
    INSERT INTO process_run (id, run_id, stage_run_id, process_id, code, label, kind, state, node_id, application_id,
                             owner_role, critical, rank, waiting_on, finish_waiting_on, soft_waiting_on, round, attempt,
                             level, levels, earliest_start, expected_minutes, ready_at, submitted_at,
                             created_at, created_by, updated_at, updated_by)
    SELECT uuidv7(), :id, s.id, p.id, p.code, p.label, p.kind, p.state, coalesce(p.node_id, :node_id), :application_id,
           p.owner_role, p.critical, p.rank, p.waiting_on, p.finishes, p.softs, 1, 0,
           CASE WHEN p.state = 'in_review' THEN 1 ELSE 0 END,
           p.levels, p.start_at, p.expected_minutes,
           CASE WHEN p.state IN ('ready', 'in_review', 'waiting_external') THEN :now END,
           CASE WHEN p.state = 'in_review' THEN :now END, :now, :actor_id, :now, :actor_id
    FROM (
        SELECT w.*, {ENTRY_STATE.format(waiting_on="w.waiting_on", earliest_start="w.start_at", kind="w.kind")} AS state
        FROM (
            SELECT d.*, coalesce(e.starts, 0) AS waiting_on, coalesce(e.finishes, 0) AS finishes,
                   coalesce(e.softs, 0) AS softs, coalesce(l.count, 0) AS levels,
                   CAST(:start_times ->> d.earliest_start AS timestamptz) AS start_at
            FROM process d
            LEFT JOIN (SELECT successor_id, count(*) FILTER (WHERE hardness = 'hard' AND {GATES_START}) AS starts,
                              count(*) FILTER (WHERE hardness = 'hard' AND NOT {GATES_START}) AS finishes,
                              count(*) FILTER (WHERE hardness = 'soft') AS softs
                       FROM process_dependency WHERE version_id = :version_id GROUP BY successor_id) e
                   ON e.successor_id = d.id
            LEFT JOIN (SELECT l.parent_id, count(*) FROM process_approval_level l
                       JOIN process o ON o.id = l.parent_id WHERE o.version_id = :version_id GROUP BY l.parent_id) l
                   ON l.parent_id = d.id
            WHERE d.version_id = :version_id
        ) w
    ) p
    JOIN stage_run s ON s.run_id = :id AND s.stage_id = p.stage_id
    ORDER BY p.rank
    RETURNING id, process_id, code, kind, state, level
), logged AS (
    INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, at, round, attempt, level,
                                    created_at, created_by, updated_at, updated_by)
    SELECT uuidv7(), id, 'release', 'blocked', state, :now, 1, 0, level, :now, :actor_id, :now, :actor_id
    FROM made WHERE state <> 'blocked'
)
SELECT {RELEASED.format("m", "m.state")}
FROM made m JOIN process d ON d.id = m.process_id WHERE m.state <> 'blocked'
"""
).bindparams(bindparam("start_times", type_=JSONB))
INSERT_EDGES = text(
    """
INSERT INTO process_edge (id, run_id, predecessor_id, successor_id, edge_type, hardness, accepts, lag_amount, lag_unit,
                          condition, created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), :id, a.id, b.id, d.edge_type, d.hardness, d.accepts, d.lag_amount, d.lag_unit,
       d.condition, :now, :actor_id, :now, :actor_id
FROM process_dependency d
JOIN process_run a ON a.run_id = :id AND a.process_id = d.predecessor_id
JOIN process_run b ON b.run_id = :id AND b.process_id = d.successor_id
WHERE d.version_id = :version_id
"""
)


@dataclass(frozen=True, slots=True)
class _Workflow:
    id: UUID
    code: str
    label: str
    active: bool
    application_id: UUID
    application: str
    calendar_id: UUID
    node_id: UUID | None
    node_code: str | None
    node_path: str | None
    elsewhere: bool
    version_id: UUID | None
    start_formulas: list[str]
    conditional: bool  # it has dependencies with a condition
    awaiting: bool  # it has dependencies on runs of other workflows
    awaited: bool  # others have dependencies on its runs


async def create_run(
    uow: UnitOfWork,
    *,
    workflow: UUID | str,
    business_date: date,
    node_id: UUID | None = None,
    variant: str = "",
) -> UUID:
    """Create the run of an occurrence from the published version, or return the one there is.

    `workflow` is its id or its code; without `node_id` the run is about the workflow's own node.

    Raises:
        NotFound, Forbidden: no such workflow; not within the actor's grants.
        Conflict: the workflow is not active, or has no published version.
    """
    decision = authorize(uow, "create", "workflow_run")
    found = await _find(uow, workflow, node_id)
    if not uow.actor.is_system and acting_as(uow, decision).grant_for(found) is None:
        raise Forbidden(f"You may not create runs of {found.label} there: none of your grants reaches its node.")
    variant = _variant(variant)
    run_id = uuid7()
    values: dict[str, Any] = {
        "id": run_id,
        "workflow_id": found.id,
        "version_id": found.version_id,
        "application_id": found.application_id,
        "business_date": business_date,
        "node_id": found.node_id,
        "variant": variant,
        "reference": _reference(found, business_date, variant),
        "label": f"{found.label}, {found.node_code}" if found.elsewhere and found.node_code else found.label,
        "now": uow.now,
        "actor_id": uow.actor.id,
    }
    if (await uow.execute(INSERT_RUN, values)).first() is None:
        return await _existing(uow, values)
    await _fill(uow, found, values)
    uow.emit(RunCreated(at=uow.now, run_id=run_id))
    uow.touch("runs", f"run:{run_id}")
    uow.audit(
        AuditEntry(
            command="create",
            entity="workflow_run",
            record_id=run_id,
            after={key: values[key] for key in ("reference", "business_date", "node_id", "variant", "version_id")},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    return run_id


async def _find(uow: UnitOfWork, workflow: UUID | str, node_id: UUID | None) -> _Workflow:
    code, id_ = (workflow, None) if isinstance(workflow, str) else (None, workflow)
    row = (await uow.execute(FIND_WORKFLOW, {"code": code, "workflow_id": id_, "node_id": node_id})).mappings().first()
    if row is None:
        raise NotFound(f"There is no workflow {workflow}.")
    found = _Workflow(**row)
    if node_id is not None and found.node_id is None:
        raise ValidationFailed([FieldProblem("node", "There is no such hierarchy node; choose another.")])
    if not found.active:
        raise Conflict(f"The workflow {found.label} is not active; activate it before it runs.")
    if found.version_id is None:
        raise Conflict(f"The workflow {found.label} has no published version; publish its draft before it runs.")
    return found


async def _fill(uow: UnitOfWork, found: _Workflow, values: dict[str, Any]) -> None:
    starts = await _start_times(uow, found, values["business_date"])
    await uow.execute(INSERT_STAGES, values)
    released = released_from(await uow.scalar(INSERT_PROCESSES, {**values, "start_times": starts}))
    await uow.execute(INSERT_EDGES, values)
    begin_now: tuple[Released, ...] = tuple(item for item in released if item.state is not ProcessState.PLANNED)
    if begin_now:
        uow.emit(may_begin(begin_now, run_id=values["id"], at=uow.now))
    await work_queue.queue(uow, begin_now)
    if found.conditional:
        loose = await not_binding(uow, business_date=values["business_date"], run_id=values["id"])
        await tell(uow, await pass_edges(uow, loose))
    if found.awaiting:
        await across.await_runs(uow, run_id=values["id"])
    if found.awaited:
        uow.enqueue(SETTLE_ACROSS, {"target_run_id": values["id"]})


async def _start_times(uow: UnitOfWork, found: _Workflow, business_date: date) -> dict[str, str]:
    """Each distinct earliest start once, as an instant."""
    if not found.start_formulas:
        return {}
    calendar = await calendar_of_id(uow, found.calendar_id)
    return {
        formula: parse_deadline(formula).resolve(business_date, calendar).isoformat()
        for formula in found.start_formulas
    }


async def _existing(uow: UnitOfWork, values: dict[str, Any]) -> UUID:
    found: UUID | None = await uow.scalar(FIND_RUN, values)
    if found is None:
        raise Conflict(f"Another run has the reference {values['reference']} already; give this one a variant.")
    return found


def _variant(variant: str) -> str:
    variant = variant.strip()
    if len(variant) > MAX_VARIANT or not all(c.isalnum() or c in "-_" for c in variant):
        message = f"At most {MAX_VARIANT} letters, digits, - and _."
        raise ValidationFailed([FieldProblem("variant", message)])
    return variant


def _reference(found: _Workflow, business_date: date, variant: str) -> str:
    """`DFX-20261030`; with the node where it is not the workflow's own, and the variant where there is one."""
    node = (found.node_code or "") if found.elsewhere else ""
    return "-".join(part for part in (found.code, f"{business_date:%Y%m%d}", node, variant) if part)
