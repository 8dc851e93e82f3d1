"""Plans of migration: made, tried without effect, executed by a job run by run, each with its outcome."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, NotFound, StaleVersion, StepsError, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.jobs.context import ActionResult, JobContext
from app.domain.jobs.errors import ActionRefused
from app.domain.jobs.execute import in_words
from app.domain.jobs.runs import queue_job
from app.domain.workflow.definition_reading import read_definition
from app.domain.workflow.migrating import migrate_run, processes_of
from app.domain.workflow.migration_rules import Fate, RunPlan, Way, mapping_of, mapping_problems, plan_run
from app.domain.workflow.states import RunState
from models.base import uuid7

log = logging.getLogger("steps.workflow")

FUNCTION = "workflow.migrate_runs"
MOST_RUNS = 2_000
MOST_REASON = 2_000

READ_VERSIONS = text(
    """
SELECT v.id, v.number, v.state, v.workflow_id, w.code, w.label
FROM workflow_version v JOIN workflow w ON w.id = v.workflow_id WHERE v.id IN (:from_version, :to_version)
"""
)
# Runs are named, or all that are in progress on the version.
CHOOSE_RUNS = text(
    """
SELECT id FROM workflow_run
WHERE version_id = :from_version AND state IN ('active', 'on_hold')
  AND (CAST(:runs AS uuid[]) IS NULL OR id = ANY (:runs))
ORDER BY business_date, id LIMIT :most
"""
).bindparams(bindparam("runs", type_=ARRAY(Uuid)))
INSERT_PLAN = text(
    """
INSERT INTO migration_plan (id, row_version, label, workflow_id, from_version_id, to_version_id, mapping, reason, state,
                            run_count, created_at, created_by, updated_at, updated_by)
VALUES (:id, 1, :label, :workflow_id, :from_version, :to_version, :mapping, :reason, 'draft', :count,
        :now, :by, :now, :by)
"""
).bindparams(bindparam("mapping", type_=JSONB))
INSERT_ITEMS = text(
    """
INSERT INTO migration_item (id, row_version, plan_id, run_id, place, state, attempts,
                            created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), 1, :plan_id, r.id, r.place, 'pending', 0, :now, :by, :now, :by
FROM unnest(:runs) WITH ORDINALITY AS r (id, place)
"""
).bindparams(bindparam("runs", type_=ARRAY(Uuid)))
LOCK_PLAN = text("SELECT * FROM migration_plan WHERE id = :id FOR UPDATE")
READ_PLAN = text(
    """
SELECT p.id, p.row_version, p.label, p.workflow_id, p.from_version_id, p.to_version_id, p.mapping, p.reason, p.state,
       p.run_count, p.started_at, p.finished_at, u.name AS executed_by, w.code, w.label AS workflow,
       a.number AS from_number, b.number AS to_number
FROM migration_plan p
JOIN workflow w ON w.id = p.workflow_id
JOIN workflow_version a ON a.id = p.from_version_id
JOIN workflow_version b ON b.id = p.to_version_id
LEFT JOIN app_user u ON u.id = p.executed_by_id
WHERE p.id = :id
"""
)
READ_ITEMS = text(
    """
SELECT i.id, i.run_id, r.reference, r.label, r.business_date, r.state AS run_state, i.state, i.message, i.outcome, i.at
FROM migration_item i JOIN workflow_run r ON r.id = i.run_id WHERE i.plan_id = :id ORDER BY i.place
"""
)
SET_STATE = text(
    """
UPDATE migration_plan SET
    state = :state, started_at = coalesce(:started_at, started_at), finished_at = coalesce(:finished_at, finished_at),
    executed_by_id = coalesce(:user_id, executed_by_id), row_version = row_version + 1, updated_at = :now,
    updated_by = :by
WHERE id = :id RETURNING row_version
"""
)
# A worker that took over finds what the one before has left; what that one is still at is locked, and passed over.
NEXT_ITEM = text(
    """
SELECT id, run_id FROM migration_item WHERE plan_id = :id AND state = 'pending'
ORDER BY place LIMIT 1 FOR UPDATE SKIP LOCKED
"""
)
FINISH_ITEM = text(
    """
UPDATE migration_item SET
    state = :state, message = :message, outcome = :outcome, attempts = attempts + 1, at = :now,
    row_version = row_version + 1, updated_at = :now, updated_by = :by
WHERE id = :id
"""
).bindparams(bindparam("outcome", type_=JSONB(none_as_null=True)))
RETRY_ITEMS = text(
    """
UPDATE migration_item SET state = 'pending', message = NULL, row_version = row_version + 1, updated_at = :now
WHERE plan_id = :id AND state IN ('refused', 'failed')
"""
)
COUNT_ITEMS = text("SELECT state, count(*) AS number FROM migration_item WHERE plan_id = :id GROUP BY state")


@dataclass(frozen=True, slots=True)
class Plan:
    id: UUID
    row_version: int
    label: str
    workflow_id: UUID
    from_version_id: UUID
    to_version_id: UUID
    mapping: tuple[Mapping[str, Any], ...]
    reason: str | None
    state: str
    run_count: int
    started_at: datetime | None
    finished_at: datetime | None
    executed_by: str | None
    code: str
    workflow: str
    from_number: int
    to_number: int


@dataclass(frozen=True, slots=True)
class Item:
    """One run of a plan. `trial`: what would become of it now, in a plan that is not executed yet."""

    id: UUID
    run_id: UUID
    reference: str
    label: str
    business_date: Any
    run_state: RunState
    state: str
    message: str | None
    outcome: Mapping[str, Any] | None
    at: datetime | None
    trial: RunPlan | None = None


async def create_plan(
    uow: UnitOfWork,
    *,
    from_version: UUID,
    to_version: UUID,
    mapping: Sequence[Mapping[str, Any]] = (),
    run_ids: Sequence[UUID] | None = None,
    reason: str = "",
) -> UUID:
    """Plan to take runs over: those named, or all in progress on the version. Nothing happens to them yet.

    Raises:
        NotFound: no such version.
        Conflict: they are not of one workflow, the new one is not in force, or no run is in progress.
        ValidationFailed: the mapping names what is not there, or two processes would become one.
    """
    decision = authorize(uow, "configure", "workflow_version")
    old, new = await _versions(uow, from_version, to_version)
    way = await way_of(uow, from_version, to_version, mapping)
    problems = mapping_problems(way)
    if len(reason) > MOST_REASON:
        problems.append(FieldProblem("reason", f"At most {MOST_REASON} characters.", "too_long"))
    if problems:
        raise ValidationFailed(problems)
    wanted = None if run_ids is None else list(run_ids)
    chosen = {"from_version": from_version, "runs": wanted, "most": MOST_RUNS}
    runs = list((await uow.execute(CHOOSE_RUNS, chosen)).scalars())
    if not runs:
        raise Conflict(f"No run that you have chosen is in progress on version {old.number}; there is nothing to do.")
    plan_id = uuid7()
    stamp = {"now": uow.now, "by": uow.actor.id}
    values = {
        "id": plan_id,
        "label": f"{old.label}: version {old.number} to {new.number}",
        "workflow_id": old.workflow_id,
        "from_version": from_version,
        "to_version": to_version,
        "mapping": [dict(item) for item in mapping],
        "reason": reason.strip() or None,
        "count": len(runs),
    }
    await uow.execute(INSERT_PLAN, {**values, **stamp})
    await uow.execute(INSERT_ITEMS, {"plan_id": plan_id, "runs": runs, **stamp})
    uow.touch("entity:migration_plan")
    uow.audit(
        AuditEntry(
            command="create",
            entity="migration_plan",
            record_id=plan_id,
            after={"from": old.number, "to": new.number, "mapping": values["mapping"], "runs": len(runs)},
            reason=values["reason"],
            context={"workflow": old.code},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    return plan_id


async def read_plan(uow: UnitOfWork, *, plan_id: UUID) -> Plan:
    """Raises NotFound."""
    authorize(uow, "read", "migration_plan")
    row = (await uow.execute(READ_PLAN, {"id": plan_id})).mappings().first()
    if row is None:
        raise NotFound("There is no such migration plan.")
    return Plan(**{**row, "mapping": tuple(row["mapping"] or ())})


async def read_items(uow: UnitOfWork, *, plan: Plan) -> list[Item]:
    """The runs of a plan with their outcome; before it is executed with what would become of each of them now."""
    authorize(uow, "read", "migration_plan")
    rows = (await uow.execute(READ_ITEMS, {"id": plan.id})).mappings().all()
    trials: dict[UUID, RunPlan] = {}
    if plan.state == "draft":
        way = await way_of(uow, plan.from_version_id, plan.to_version_id, plan.mapping)
        now = await processes_of(uow, [row["run_id"] for row in rows])
        trials = {
            row["run_id"]: plan_run(way, now.get(row["run_id"], []), run_state=RunState(row["run_state"]))
            for row in rows
        }
    return [Item(**{**row, "run_state": RunState(row["run_state"])}, trial=trials.get(row["run_id"])) for row in rows]


async def execute_plan(uow: UnitOfWork, *, plan_id: UUID, expected_version: int) -> UUID:
    """Hand the plan to a worker; returns the job run. A plan that is done tries again what was refused or failed.

    Raises:
        StaleVersion: somebody has changed or executed it since.
        Conflict: it is under way or was called off, or has nothing left to do.
    """
    decision = authorize(uow, "configure", "workflow_version")
    plan = await _locked(uow, plan_id, expected_version)
    if plan.state not in ("draft", "done"):
        raise Conflict(f"The plan is {plan.state}; only one that waits, or has left something undone, is executed.")
    if plan.state == "done":
        again = await uow.execute(RETRY_ITEMS, {"id": plan_id, "now": uow.now})
        if not again.rowcount:
            raise Conflict("Every run of the plan has gone over; there is nothing left to do.")
    await _set(uow, plan_id, "running", started=True)
    job = await queue_job(uow, function=FUNCTION, arguments={"plan_id": plan_id}, max_attempts=5)
    uow.audit(
        AuditEntry(
            command="execute",
            entity="migration_plan",
            record_id=plan_id,
            before={"state": plan.state},
            after={"state": "running"},
            context={"job_run": job},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    return job


async def cancel_plan(uow: UnitOfWork, *, plan_id: UUID, expected_version: int) -> None:
    """Call a plan off that has not been executed. Raises Conflict, StaleVersion."""
    decision = authorize(uow, "configure", "workflow_version")
    plan = await _locked(uow, plan_id, expected_version)
    if plan.state != "draft":
        raise Conflict(f"The plan is {plan.state}; what it has done is not undone.")
    await _set(uow, plan_id, "cancelled", finished=True)
    uow.audit(
        AuditEntry(
            command="cancel",
            entity="migration_plan",
            record_id=plan_id,
            before={"state": "draft"},
            after={"state": "cancelled"},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )


async def way_of(uow: UnitOfWork, from_version: UUID, to_version: UUID, mapping: Sequence[Mapping[str, Any]]) -> Way:
    """The two definitions with a mapping. Raises NotFound, ValidationFailed."""
    try:
        mapped = mapping_of(mapping)
    except (KeyError, ValueError):
        message = 'Each is {"from": code, "to": code} or {"from": code, "rule": "skip" or "cancel"}.'
        raise ValidationFailed([FieldProblem("mapping", message)]) from None
    return Way(await read_definition(uow, from_version), await read_definition(uow, to_version), mapped)


# -- the job -----------------------------------------------------------------------------------------------------------


async def migrate_runs(context: JobContext) -> ActionResult:
    """Take the runs of a plan over that are still to be, each in a transaction of its own."""
    if context.process_run is not None or "plan_id" not in context.arguments:
        raise ActionRefused("This action executes a migration plan; it is no work of a process.")
    uow, plan_id = context.uow, UUID(str(context.arguments["plan_id"]))
    row = (await uow.execute(READ_PLAN, {"id": plan_id})).mappings().first()
    if row is None:
        raise ActionRefused("There is no such migration plan any more.")
    plan = Plan(**{**row, "mapping": tuple(row["mapping"] or ())})
    way = await way_of(uow, plan.from_version_id, plan.to_version_id, plan.mapping)
    while True:
        await context.check_cancelled()
        if not uow.simulated:
            uow.now = uow.resources.clock.now()
        item = (await uow.execute(NEXT_ITEM, {"id": plan_id})).first()
        if item is None:
            break
        outcome = await _one(uow, plan, way, item.run_id)
        await uow.execute(FINISH_ITEM, {"id": item.id, "now": uow.now, "by": uow.actor.id, **outcome})
        uow.touch(f"migration_plan:{plan_id}")
        await uow.checkpoint()
    await _set(uow, plan_id, "done", finished=True)
    counts = {row.state: row.number for row in await uow.execute(COUNT_ITEMS, {"id": plan_id})}
    fingerprint = hashlib.sha256(orjson.dumps([str(plan_id), counts], option=orjson.OPT_SORT_KEYS)).hexdigest()
    return ActionResult(output_fingerprint=fingerprint, summary=counts)


async def _one(uow: UnitOfWork, plan: Plan, way: Way, run_id: UUID) -> dict[str, Any]:
    """One run under a savepoint; its refusal is its outcome, and a fault of one run does not stop the others."""
    try:
        async with uow.connection.begin_nested():
            done = await migrate_run(
                uow,
                run_id=run_id,
                from_version=plan.from_version_id,
                to_version=plan.to_version_id,
                way=way,
                reason=plan.reason or plan.label,
                context={"plan": plan.id, "executed_by": plan.executed_by},
            )
            await uow.dispatch()
    except StepsError as error:
        uow.forget()
        return {"state": "refused", "message": error.detail[:MOST_REASON], "outcome": None}
    except (TypeError, ValueError, LookupError) as error:
        uow.forget()
        log.exception("run %s of migration plan %s failed", run_id, plan.id)
        return {"state": "failed", "message": in_words(error)[:MOST_REASON], "outcome": None}
    return {"state": "migrated", "message": done.in_words(), "outcome": kept_outcome(done)}


def kept_outcome(plan: RunPlan) -> dict[str, Any]:
    """What is kept of it: the counts, and every process that did not simply stay as it was."""
    told = [line for line in plan.lines if line.fate is not Fate.KEPT or line.notes or line.lost]
    return {
        "counts": {fate.value: number for fate in Fate if (number := plan.count(fate))},
        "lines": [line.plain() for line in told],
    }


# -- steps that they share ---------------------------------------------------------------------------------------------


async def _versions(uow: UnitOfWork, from_version: UUID, to_version: UUID) -> tuple[Any, Any]:
    rows = await uow.execute(READ_VERSIONS, {"from_version": from_version, "to_version": to_version})
    found = {row.id: row for row in rows}
    if from_version not in found or to_version not in found:
        raise NotFound("There is no such workflow version.")
    old, new = found[from_version], found[to_version]
    if old.workflow_id != new.workflow_id:
        raise Conflict("The two versions are of different workflows; runs stay within their own.")
    if from_version == to_version:
        raise Conflict("Runs are on this version already; choose another one to take them to.")
    if new.state != "published":
        raise Conflict(f"Version {new.number} is {new.state}; runs go over to the version that is in force only.")
    return old, new


async def _locked(uow: UnitOfWork, plan_id: UUID, expected_version: int) -> Any:
    plan = (await uow.execute(LOCK_PLAN, {"id": plan_id})).first()
    if plan is None:
        raise NotFound("There is no such migration plan.")
    if plan.row_version != expected_version:
        raise StaleVersion(
            f"The plan has changed since you looked at it: it is {plan.state} now. Look at it again.",
            context={"current_version": plan.row_version, "expected_version": expected_version},
        )
    return plan


async def _set(uow: UnitOfWork, plan_id: UUID, state: str, *, started: bool = False, finished: bool = False) -> None:
    values = {
        "id": plan_id,
        "state": state,
        "started_at": uow.now if started else None,
        "finished_at": uow.now if finished else None,
        "user_id": None if uow.actor.is_system or not started else uow.actor.id,
        "now": uow.now,
        "by": uow.actor.id,
    }
    await uow.execute(SET_STATE, values)
    uow.touch(f"migration_plan:{plan_id}", "entity:migration_plan")
