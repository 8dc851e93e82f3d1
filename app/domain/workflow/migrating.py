"""Migration of runs in progress: one run goes over to another version of its workflow, or is refused with the reason.

The whole decision is `migration_rules.plan_run`; a dry run takes it on what stands, the migration takes it again under
the lock of the run and then writes it.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.audit import AuditEntry
from app.core.errors import NotFound, TransitionRefused
from app.core.uow import UnitOfWork
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.store import calendar_of_id
from app.domain.jobs.runs import withdraw_jobs
from app.domain.workflow import across, work_queue
from app.domain.workflow.across import OpenAcross, met_at
from app.domain.workflow.conditions import not_binding
from app.domain.workflow.edges import EdgeType
from app.domain.workflow.events import RunFinished, RunMigrated
from app.domain.workflow.gates import BEGUN
from app.domain.workflow.lags import lag_over
from app.domain.workflow.migration_rules import Fate, ProcessNow, RunPlan, Way, plan_run
from app.domain.workflow.migration_sql import JOB_STANDS, MISSING_ACROSS, READ_OPEN_EDGES, SET_RUN
from app.domain.workflow.migration_writing import move_parts, pass_quietly, rebuild_edges, stand
from app.domain.workflow.released import released_from
from app.domain.workflow.releasing import Passing, Releases, tell
from app.domain.workflow.states import ProcessKind, ProcessState, RunState
from app.domain.workflow.transitions import finish_waiting

LOCK_RUN = text(
    """
SELECT r.id, r.reference, r.state, r.version_id, r.business_date, r.node_id, r.application_id, w.calendar_id,
       v.number AS version_number
FROM workflow_run r
JOIN workflow w ON w.id = r.workflow_id
JOIN workflow_version v ON v.id = r.version_id
WHERE r.id = :id FOR NO KEY UPDATE OF r
"""
)
READ_PROCESSES = text(
    f"""
SELECT q.run_id, q.id, q.code, q.label, q.kind, q.state, {BEGUN} AS begun, q.level, coalesce(q.ad_hoc, false) AS ad_hoc,
       q.assignee_id IS NOT NULL AS assigned,
       ARRAY(SELECT x.item FROM checklist_answer x WHERE x.process_run_id = q.id AND x.done) AS answers,
       ARRAY(SELECT DISTINCT f.purpose FROM file f
             WHERE f.record_entity = 'process_run' AND f.record_id = q.id AND f.deleted_at IS NULL
               AND f.purpose IS NOT NULL) AS evidence
FROM process_run q WHERE q.run_id = ANY (:runs) ORDER BY q.rank, q.id
"""
).bindparams(bindparam("runs", type_=ARRAY(Uuid)))
OPEN_EDGES = text(READ_OPEN_EDGES.format(begun=BEGUN))


async def processes_of(uow: UnitOfWork, run_ids: Sequence[UUID]) -> dict[UUID, list[ProcessNow]]:
    """The processes of these runs as they stand, in one statement."""
    found: defaultdict[UUID, list[ProcessNow]] = defaultdict(list)
    for row in (await uow.execute(READ_PROCESSES, {"runs": list(run_ids)})).mappings():
        values = {name: row[name] for name in ("id", "code", "label", "begun", "level", "ad_hoc", "assigned")}
        found[row["run_id"]].append(
            ProcessNow(
                **values,
                kind=ProcessKind(row["kind"]),
                state=ProcessState(row["state"]),
                answers=frozenset(row["answers"]),
                evidence=frozenset(row["evidence"]),
            )
        )
    return dict(found)


async def migrate_run(
    uow: UnitOfWork,
    *,
    run_id: UUID,
    from_version: UUID,
    to_version: UUID,
    way: Way,
    reason: str,
    context: dict[str, Any] | None = None,
) -> RunPlan:
    """Take one run over; a step of a plan that somebody was allowed to execute. Returns what became of its processes.

    Raises:
        NotFound: there is no such run.
        TransitionRefused: it cannot go over; the detail says what stands against it.
    """
    run = (await uow.execute(LOCK_RUN, {"id": run_id})).first()
    if run is None:
        raise NotFound("There is no such run any more.")
    if run.version_id != from_version:
        detail = f"The run {run.reference} is on version {run.version_number}, not on the one that the plan is about."
        raise TransitionRefused(detail, guard="version")
    now = (await processes_of(uow, [run_id])).get(run_id, [])
    plan = plan_run(way, now, run_state=RunState(run.state))
    if not plan.possible:
        raise TransitionRefused(plan.in_words(), guard="work_in_progress")
    values = await _values(uow, run, way, from_version=from_version, to_version=to_version, reason=reason)
    queued = [p.id for p in now if p.kind is ProcessKind.AUTOMATIC and p.state is ProcessState.READY]
    closed = await _write_parts(uow, values, plan)
    await rebuild_edges(uow, values)
    await pass_quietly(uow, values, await _passing(uow, run))
    coming = (await uow.execute(MISSING_ACROSS, values)).scalars().all()
    stood = await stand(uow, values, coming=coming)
    done = (await uow.execute(SET_RUN, values)).one()
    state = RunState(done.state)
    await _requeue(uow, queued, state, reason=reason)
    await tell(uow, [Releases(run_id, state, stood.released, ())])
    if coming:
        await across.await_runs(uow, run_id=run_id, only=set(coming))
    await finish_waiting(uow, stood.finishable)
    _report(uow, run, plan, values, closed=closed, context=context or {})
    if state is RunState.DONE and RunState(run.state) is not RunState.DONE:
        uow.emit(RunFinished(at=uow.now, run_id=run_id))
    return plan


async def _values(uow: UnitOfWork, run: Row[Any], way: Way, **more: Any) -> dict[str, Any]:
    """What every statement of the migration may use."""
    return {
        "run_id": run.id,
        "application_id": run.application_id,
        "node_id": run.node_id,
        "start_times": await _start_times(uow, run.calendar_id, run.business_date, way),
        "now": uow.now,
        "actor_id": uow.actor.id,
        "user_id": None if uow.actor.is_system else uow.actor.id,
        **more,
    }


async def _start_times(uow: UnitOfWork, calendar_id: UUID, day: date, way: Way) -> dict[str, str]:
    formulas = {process.earliest_start for process, _ in way.after.processes() if process.earliest_start}
    if not formulas:
        return {}
    calendar = await calendar_of_id(uow, calendar_id)
    return {formula: parse_deadline(formula).resolve(day, calendar).isoformat() for formula in formulas}


async def _write_parts(uow: UnitOfWork, values: dict[str, Any], plan: RunPlan) -> list[UUID]:
    kept = [(line.process_run_id, line.to_code) for line in plan.lines if line.fate in (Fate.KEPT, Fate.RENAMED)]
    closed = [(line.process_run_id, line.rule.state.value) for line in plan.lines if line.rule is not None]
    ids = [id_ for id_, _ in closed if id_ is not None]
    for id_ in ids:
        await withdraw_jobs(uow, process_run_id=id_, reason=f"The new version does not have it: {values['reason']}")
    await move_parts(
        uow,
        values,
        kept=[(id_, code) for id_, code in kept if id_ is not None and code is not None],
        closed=[(id_, state) for id_, state in closed if id_ is not None],
        added=[line.code for line in plan.lines if line.fate is Fate.ADDED],
    )
    return ids


async def _passing(uow: UnitOfWork, run: Row[Any]) -> list[Passing]:
    """The open edges within the run whose predecessor is as far by now, and those that do not bind."""
    loose = await not_binding(uow, business_date=run.business_date, run_id=run.id)
    settled = {edge.id for edge in loose}
    passing = list(loose)
    calendar = None
    for row in (await uow.execute(OPEN_EDGES, {"run_id": run.id})).mappings():
        values = dict(row)
        edge_type, accepts = EdgeType(values.pop("edge_type")), frozenset(values.pop("accepts"))
        edge = OpenAcross(type=edge_type, accepts=accepts, **values)
        since = met_at(edge)
        if since is None or edge.id in settled:
            continue
        due = None
        if edge.lag_amount is not None and edge.lag_unit is not None:
            calendar = calendar or await calendar_of_id(uow, run.calendar_id)
            due = lag_over(edge.lag_amount, edge.lag_unit, since, calendar)
        passing.append(Passing(edge.id, since, due))
    return passing


async def _requeue(uow: UnitOfWork, queued: Sequence[UUID], state: RunState, *, reason: str) -> None:
    """Jobs that waited for a worker wait again, as the new version wants them; while a run is held they do not."""
    for id_ in queued:
        await withdraw_jobs(uow, process_run_id=id_, reason=f"The run goes over to another version: {reason}")
    if queued and state is RunState.ACTIVE:
        await work_queue.queue(uow, released_from(await uow.scalar(JOB_STANDS, {"ids": list(queued)})))


def _report(
    uow: UnitOfWork,
    run: Row[Any],
    plan: RunPlan,
    values: dict[str, Any],
    *,
    closed: list[UUID],
    context: dict[str, Any],
) -> None:
    uow.emit(RunMigrated(at=uow.now, run_id=run.id, version_id=values["to_version"], closed=tuple(closed)))
    uow.touch("runs", f"run:{run.id}", *(f"process_run:{p.process_run_id}" for p in plan.lines if p.process_run_id))
    uow.audit(
        AuditEntry(
            command="migrate",
            entity="workflow_run",
            record_id=run.id,
            before={"version_id": run.version_id},
            after={"version_id": values["to_version"]},
            reason=values["reason"],
            context={"run": run.reference, "outcome": plan.in_words(), **context},
        )
    )
