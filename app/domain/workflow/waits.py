"""Processes that wait for a file, an event or a time: what comes is noted once, and ends the wait when its turn is.

Whatever tells of an arrival only looks for who waits for it (`waiting_for_event` and the like) and leaves the rest to
the job `ARRIVE`, in a transaction of its own: it may hold the lock of another run. The same arrival may be told twice.
"""

import hashlib
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.audit import AuditEntry
from app.core.events import RecordCreated, RecordUpdated
from app.core.filters import FilterError, parse, to_sql
from app.core.filters.nodes import Variables
from app.core.uow import UnitOfWork
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.store import calendar_of_id
from app.domain.lifecycles.events import RecordEventEmitted
from app.domain.workflow.events import RunFinished
from app.domain.workflow.process_row import ProcessRow, lock_process
from app.domain.workflow.states import RESTING, ProcessKind, ProcessState
from app.domain.workflow.transitions import finish_waiting, may_finish
from app.domain.workflow.wait_patterns import event_name, name_matches, run_event

ARRIVE = "workflow.arrive"
RUN = "workflow_run"

# Waits whose turn has come, or for which what comes before counts.
WAITING = """
FROM process_run p JOIN process d ON d.id = p.process_id JOIN workflow_run r ON r.id = p.run_id
WHERE p.kind = 'wait_for' AND p.state NOT IN ('done', 'skipped', 'cancelled') AND p.arrived_at IS NULL
  AND r.state IN ('active', 'on_hold') AND (p.state = 'waiting_external' OR coalesce(d.accept_early, false))
"""
FOR_EVENT = text(
    f"""
SELECT p.id, r.business_date, nullif(d.wait_condition, 'null')::text AS condition {WAITING}
  AND d.wait_kind = 'event' AND d.wait_event = :event ORDER BY r.id, p.id
"""
)
FOR_RUN = text(
    f"""
SELECT p.id, r.business_date, nullif(d.wait_condition, 'null')::text AS condition, f.business_date AS of_date, w.code
{WAITING.replace("WHERE", "JOIN workflow_run f ON f.id = :run_id JOIN workflow w ON w.id = f.workflow_id WHERE")}
  AND d.wait_kind = 'event' AND d.wait_event = 'run:' || w.code AND r.id <> f.id ORDER BY r.id, p.id
"""
)
FOR_ATTACHED = text(
    f"""
SELECT p.id, r.business_date, d.wait_pattern AS pattern, f.name, f.sha256, f.id AS file_id
{WAITING.replace("WHERE", "JOIN file f ON f.id = :file_id JOIN process_run o ON o.id = f.record_id WHERE")}
  AND f.record_entity = 'process_run' AND f.deleted_at IS NULL AND f.sha256 IS NOT NULL AND o.run_id = p.run_id
  AND d.wait_kind = 'file' AND d.wait_from = 'attached' ORDER BY p.id
"""
)
DUE = text(
    """
SELECT p.id, p.wait_until_at, p.arrived_at, d.wait_until, r.business_date, w.calendar_id
FROM process_run p JOIN process d ON d.id = p.process_id JOIN workflow_run r ON r.id = p.run_id
JOIN workflow w ON w.id = r.workflow_id
WHERE p.kind = 'wait_for' AND p.state = 'waiting_external' AND r.state = 'active'
  AND (p.arrived_at IS NOT NULL
       OR (d.wait_kind = 'time' AND (p.wait_until_at IS NULL OR p.wait_until_at <= :now)))
ORDER BY r.id, p.id LIMIT 500
"""
)
NOTE = text(
    """
UPDATE process_run SET arrived_at = :now, arrival = :arrival, row_version = row_version + 1, updated_at = :now,
                       updated_by = :actor_id
WHERE id = :id
"""
).bindparams(bindparam("arrival", type_=JSONB))
SET_UNTIL = text("UPDATE process_run SET wait_until_at = :until WHERE id = :id")


async def arrive(uow: UnitOfWork, *, process_run_id: UUID, arrival: Mapping[str, Any]) -> bool:
    """Note what has come and end the wait where it is its turn; False where it does not count, or came before."""
    row = await lock_process(uow, process_run_id)
    if not counts(row):
        return False
    await note(uow, row, arrival)
    await finish_waiting(uow, (row.id,))
    return True


def counts(row: ProcessRow) -> bool:
    """Whether something that comes now is what it has been waiting for."""
    if row.kind is not ProcessKind.WAIT_FOR or row.state.closed or row.arrived_at is not None:
        return False
    return row.state is ProcessState.WAITING_EXTERNAL or (row.accept_early and row.state in RESTING)


async def note(uow: UnitOfWork, row: ProcessRow, arrival: Mapping[str, Any]) -> None:
    """Write down what has come. The process is locked."""
    kept = {**arrival, "fingerprint": arrival.get("fingerprint") or _fingerprint(arrival)}
    await uow.execute(NOTE, {"id": row.id, "arrival": kept, "now": uow.now, "actor_id": uow.actor.id})
    uow.touch(f"process_run:{row.id}", f"run:{row.run_id}")
    uow.audit(
        AuditEntry(
            command="arrive",
            entity="process_run",
            record_id=row.id,
            after=dict(arrival),
            context={"run": row.run_reference, "process": row.code, "early": row.state in RESTING},
        )
    )


def _fingerprint(arrival: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(dict(arrival), option=orjson.OPT_SORT_KEYS)).hexdigest()


# -- who hears of it ---------------------------------------------------------------------------------------------------


async def on_record_event(uow: UnitOfWork, event: RecordEventEmitted) -> None:
    """A lifecycle has emitted an event: tell those who wait for it and whose condition its record meets."""
    named = event_name(event.entity, event.name)
    for waiting in (await uow.execute(FOR_EVENT, {"event": named})).mappings().all():
        if await _meets(uow, event.entity, event.record_id, waiting["condition"], waiting["business_date"]):
            _tell(uow, waiting["id"], {"kind": "event", "event": named, "record_id": str(event.record_id)})


async def on_run_finished(uow: UnitOfWork, event: RunFinished) -> None:
    """A run has ended: without a condition it is waited for by runs of the same business date."""
    for waiting in (await uow.execute(FOR_RUN, {"run_id": event.run_id})).mappings().all():
        if waiting["condition"] is None and waiting["of_date"] != waiting["business_date"]:
            continue
        if await _meets(uow, RUN, event.run_id, waiting["condition"], waiting["business_date"]):
            come = {"kind": "event", "event": run_event(waiting["code"]), "record_id": str(event.run_id)}
            _tell(uow, waiting["id"], come)


async def on_file_written(uow: UnitOfWork, event: RecordCreated | RecordUpdated) -> None:
    """A file has been attached: it may be the one that a process of the same run waits for."""
    if event.entity != "file":
        return
    for waiting in (await uow.execute(FOR_ATTACHED, {"file_id": event.record_id})).mappings():
        if name_matches(waiting["pattern"] or "", waiting["name"], waiting["business_date"]):
            _tell(uow, waiting["id"], file_arrival(waiting["name"], waiting["sha256"], waiting["file_id"]))


def file_arrival(name: str, sha256: str, file_id: UUID) -> dict[str, Any]:
    return {"kind": "file", "name": name, "sha256": sha256, "file_id": str(file_id), "fingerprint": sha256}


def _tell(uow: UnitOfWork, process_run_id: UUID, arrival: Mapping[str, Any]) -> None:
    uow.enqueue(ARRIVE, {"process_run_id": process_run_id, "arrival": dict(arrival)})


async def _meets(uow: UnitOfWork, entity: str, record_id: UUID, condition: str | None, business_date: date) -> bool:
    """Whether the record is the one that is meant. A filter that fits the entity no more lets nothing pass."""
    table = uow.table(entity)
    statement = select(table.c.id).where(table.c.id == record_id)
    if condition is not None:
        variables = Variables(now=uow.now, today=uow.now.date(), business_date=business_date)
        try:
            node = parse(orjson.loads(condition), uow.registry.entity(entity), uow.registry)
            statement = statement.where(to_sql(node, uow.registry, variables))
        except FilterError:
            return False
    elif "business_date" in table.c:
        statement = statement.where(table.c.business_date == business_date)
    return (await uow.execute(statement)).first() is not None


# -- time --------------------------------------------------------------------------------------------------------------


async def end_due_waits(uow: UnitOfWork) -> int:
    """End the waits whose time has come, and those whose file or event came before their turn; returns how many."""
    count = 0
    for waiting in (await uow.execute(DUE, {"now": uow.now})).mappings().all():
        until = waiting["wait_until_at"]
        if waiting["arrived_at"] is None and until is None:
            calendar = await calendar_of_id(uow, waiting["calendar_id"])
            until = parse_deadline(waiting["wait_until"]).resolve(waiting["business_date"], calendar)
            await uow.execute(SET_UNTIL, {"id": waiting["id"], "until": until})
        if waiting["arrived_at"] is None and until is not None and until > uow.now:
            continue
        count += await _end(uow, waiting["id"], until)
    return count


async def _end(uow: UnitOfWork, process_run_id: UUID, until: datetime | None) -> bool:
    row = await lock_process(uow, process_run_id)
    if row.arrived_at is None and counts(row) and until is not None:
        await note(uow, row, {"kind": "time", "until": until.isoformat()})
        row = await lock_process(uow, process_run_id)
    if not may_finish(row):
        return False
    await finish_waiting(uow, (row.id,))
    return True
