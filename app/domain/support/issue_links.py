"""What an issue is about: processes, runs, jobs, and records of any other entity."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Row, select, text

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision
from app.domain.access.scope import require_in_scope
from app.domain.documents.evidence import place_of
from app.domain.support.issue_holds import sync_holds
from models.base import uuid7
from models.schema import EntityDef, EntityKind

ISSUE = "issue"
LINK = "issue_link"
PROCESS, RUN, JOB = "process_run", "workflow_run", "job_run"
HOLD = "transition:hold"
MOST_LINKS = 500
# Parts of the support itself are no subject of an issue.
NOT_LINKED = frozenset({ISSUE, LINK, "issue_message", "issue_hold", "issue_watcher"})

Record = tuple[str, UUID]  # entity, id

LOCK_ISSUE = text(
    """
SELECT i.id, i.reference, i.title, i.blocking, i.resolved_at, i.closed_at, i.merged_into_id, i.requester_id,
       i.assignee_id, i.lifecycle_state, i.responded_at, i.told, i.application_id, i.node_id
FROM issue i WHERE i.id = :id FOR UPDATE
"""
)
# The process and the run that a record is, or belongs to.
BELONGS = text(
    """
SELECT p.id AS process_run_id, coalesce(p.run_id, r.id) AS run_id
FROM (SELECT CAST(:entity AS text) AS entity, CAST(:id AS uuid) AS id) s
LEFT JOIN job_run j ON s.entity = 'job_run' AND j.id = s.id
LEFT JOIN process_run p ON p.id = CASE s.entity WHEN 'process_run' THEN s.id WHEN 'job_run' THEN j.process_run_id END
LEFT JOIN workflow_run r ON s.entity = 'workflow_run' AND r.id = s.id
"""
)
ADD = text(
    """
INSERT INTO issue_link (id, issue_id, record_entity, record_id, process_run_id, run_id, created_at, created_by,
                        updated_at, updated_by)
VALUES (:id, :issue_id, :entity, :record_id, :process_run_id, :run_id, :now, :by, :now, :by)
ON CONFLICT (issue_id, record_entity, record_id) DO NOTHING RETURNING id
"""
)
REMOVE = text("DELETE FROM issue_link WHERE issue_id = :issue_id AND id = :id RETURNING record_entity, record_id")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an issue about a record belongs."""

    application_id: UUID | None
    node_id: UUID | None
    process_run_id: UUID | None
    run_id: UUID | None


async def lock_issue(uow: UnitOfWork, issue_id: UUID, action: str = "update") -> tuple[Row[tuple[UUID, ...]], Decision]:
    """Lock an issue on which the actor may do this. Raises NotFound, Forbidden."""
    decision = await require_in_scope(uow, action, ISSUE, issue_id)
    row = (await uow.execute(LOCK_ISSUE, {"id": issue_id})).one()
    return row, decision


def require_open(issue: Row[tuple[UUID, ...]]) -> None:
    """Raises: Conflict for an issue that is resolved, closed, merged or cancelled."""
    if issue.resolved_at is not None or issue.closed_at is not None:
        raise Conflict(f"{issue.reference} is not open any more. Reopen it first, or raise another issue.")


def linkable(uow: UnitOfWork, entity: str) -> EntityDef:
    """Raises: ValidationFailed when issues are not about records of this entity."""
    definition = uow.registry.entities.get(entity)
    if definition is None or definition.kind is EntityKind.CHILD or entity in NOT_LINKED:
        raise ValidationFailed([FieldProblem("record", f"issues are not about a {entity!r}"[:200])])
    return definition


async def place_of_record(uow: UnitOfWork, record: Record) -> Place:
    """Where a record lies that the actor may see. Raises NotFound, Forbidden, ValidationFailed."""
    entity, id_ = record
    definition = linkable(uow, entity)
    await require_in_scope(uow, "read", entity, id_)
    belongs = (await uow.execute(BELONGS, {"entity": entity, "id": id_})).one()
    owner = (PROCESS, belongs.process_run_id) if entity == JOB and belongs.process_run_id else None
    where = uow.registry.entity(owner[0]) if owner else definition
    node_id, application_id = await place_of(uow, where, owner[1] if owner else id_)
    return Place(application_id, node_id, belongs.process_run_id, belongs.run_id)


async def link_records(uow: UnitOfWork, *, issue_id: UUID, records: Sequence[Record]) -> list[UUID]:
    """Say that an issue is about these records; one that is linked already stays as it is. Returns the new links.

    Processes that are linked to a blocking issue are on hold after it.

    Raises:
        NotFound, Forbidden: the issue or a record; also where the actor may not put a process on hold.
        Conflict: the issue is not open any more, or is linked to as much as it can be.
        ValidationFailed: issues are not about this kind of record.
    """
    issue, decision = await lock_issue(uow, issue_id)
    require_open(issue)
    added: list[UUID] = []
    processes: list[UUID] = []
    for record in dict.fromkeys(records):
        place = await place_of_record(uow, record)
        if issue.blocking and record[0] == PROCESS and not uow.actor.is_system:
            await require_in_scope(uow, HOLD, PROCESS, record[1])
        values = {"id": uuid7(), "issue_id": issue_id, "entity": record[0], "record_id": record[1], "now": uow.now}
        values |= {"process_run_id": place.process_run_id, "run_id": place.run_id, "by": uow.actor.id}
        link_id = await uow.scalar(ADD, values)
        if link_id is None:
            continue
        added.append(link_id)
        if record[0] == PROCESS:
            processes.append(record[1])
        _tell(uow, issue_id, record, decision, command="link", place=place)
    if added:
        await _require_room(uow, issue_id)
    if issue.blocking:
        await sync_holds(uow, processes)
    return added


async def unlink_record(uow: UnitOfWork, *, issue_id: UUID, link_id: UUID) -> None:
    """Take a link away; a process that no other issue holds goes on. Raises NotFound, Forbidden."""
    _, decision = await lock_issue(uow, issue_id)
    row = (await uow.execute(REMOVE, {"issue_id": issue_id, "id": link_id})).first()
    if row is None:
        raise NotFound("The issue has no such link.")
    _tell(uow, issue_id, (row.record_entity, row.record_id), decision, command="unlink")
    if row.record_entity == PROCESS:
        uow.touch(f"{PROCESS}:{row.record_id}")
        await sync_holds(uow, (row.record_id,))


async def _require_room(uow: UnitOfWork, issue_id: UUID) -> None:
    count = await uow.scalar(text("SELECT count(*) FROM issue_link WHERE issue_id = :id"), {"id": issue_id})
    if count > MOST_LINKS:
        raise Conflict(f"An issue is linked to at most {MOST_LINKS} records. Link it to their run instead.")


async def require_holds(uow: UnitOfWork, issue_id: UUID) -> None:
    """Whether the actor may hold what the issue is linked to. Raises Forbidden, NotFound."""
    if uow.actor.is_system:
        return
    table = uow.table(LINK)
    linked = select(table.c.record_id).where(table.c.issue_id == issue_id, table.c.record_entity == PROCESS)
    for process_id in (await uow.execute(linked)).scalars().all():
        await require_in_scope(uow, HOLD, PROCESS, process_id)


def _tell(
    uow: UnitOfWork,
    issue_id: UUID,
    record: Record,
    decision: Decision,
    *,
    command: str,
    place: Place | None = None,
) -> None:
    uow.audit(
        AuditEntry(
            command=f"{ISSUE}.{command}",
            entity=ISSUE,
            record_id=issue_id,
            after={"record_entity": record[0], "record_id": str(record[1])},
            grant_id=decision.grant_id,
            allowed_by=decision.allowed_by,
        )
    )
    uow.touch(f"{ISSUE}:{issue_id}", f"entity:{LINK}")
    if place is not None and place.process_run_id is not None:
        uow.touch(f"{PROCESS}:{place.process_run_id}")
    if place is not None and place.run_id is not None:
        uow.touch(f"run:{place.run_id}")
