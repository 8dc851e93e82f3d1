"""What the record of a file has to say about it: where it stands, and whether its files may still change."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Null, null, select, text

from app.core.errors import Conflict, FieldProblem, ValidationFailed
from app.core.uow import UnitOfWork
from models.registry import Registry
from models.schema import EntityDef, EntityKind

PROCESS: Final = "process_run"

# `submitted`: somebody decides, or is about to decide, on what was handed in; a process on hold keeps that.
READ_PROCESS = """
SELECT p.run_id, p.label, p.state,
       p.state IN ('done', 'skipped', 'cancelled', 'rejected') AS closed,
       p.snapshot_hash IS NOT NULL AND coalesce(CASE WHEN p.state = 'on_hold' THEN p.state_before_hold END, p.state)
           IN ('submitted', 'in_review') AS submitted,
       (SELECT e.file_types FROM process_evidence e
        WHERE e.parent_id = p.process_id AND e.code = :purpose) AS file_types
FROM process_run p WHERE p.id = :id
"""
LOOK = text(READ_PROCESS)
# Held until the commit, so that nothing is handed in while its evidence is being changed.
HOLD_STILL = text(READ_PROCESS + " FOR SHARE OF p")


@dataclass(frozen=True, slots=True)
class ProcessFiles:
    """A process run as its files see it. `endings` None: every kind that is accepted at all."""

    run_id: UUID
    label: str
    state: str
    closed: bool
    submitted: bool
    endings: frozenset[str] | None

    def require_changeable(self) -> None:
        """Raises: Conflict when the process has closed, or what was submitted is being decided on."""
        if self.closed:
            state = self.state.replace("_", " ")
            raise Conflict(f"“{self.label}” is {state}: its files do not change any more.")
        if self.submitted:
            raise Conflict(
                f"“{self.label}” has been submitted: its files stay as they were handed in. "
                "They can change again after a rejection."
            )


async def process_files(uow: UnitOfWork, record: tuple[str, UUID], purpose: str, *, lock: bool) -> ProcessFiles | None:
    """The process run that the record is; None for any other record."""
    entity, id_ = record
    if entity != PROCESS:
        return None
    row = (await uow.execute(HOLD_STILL if lock else LOOK, {"id": id_, "purpose": purpose})).one()
    endings = frozenset(part.strip().lower() for part in (row.file_types or "").split(",") if part.strip())
    return ProcessFiles(row.run_id, row.label, row.state, row.closed, row.submitted, endings or None)


def attachable(registry: Registry, entity: str) -> EntityDef:
    """Raises: ValidationFailed when records of the entity take no files."""
    definition = registry.entities.get(entity)
    if definition is None or definition.kind is EntityKind.CHILD or not (definition.attachments or entity == PROCESS):
        label = definition.label_plural if definition else entity
        raise ValidationFailed([FieldProblem("record", f"{label} take no files")])
    return definition


async def place_of(uow: UnitOfWork, definition: EntityDef, record_id: UUID) -> tuple[UUID | None, UUID | None]:
    """Node and application of a record, by which its files are found in lists. One statement."""
    table = uow.table(definition.name)
    node = _along(uow.registry, definition, table, definition.scope_field)
    application: ColumnElement[Any] | Null
    if definition.application is not None:
        applications = uow.table("application")
        application = select(applications.c.id).where(applications.c.code == definition.application).scalar_subquery()
    else:
        application = _along(uow.registry, definition, table, definition.application_field)
    row = (await uow.execute(select(node.label("node"), application.label("app")).where(table.c.id == record_id))).one()
    return row.node, row.app


def _along(registry: Registry, definition: EntityDef, table: FromClause, path: str | None) -> ColumnElement[Any] | Null:
    """The value at the end of a path through references."""
    if path is None:
        return null()
    step, _, rest = path.partition(".")
    field = definition.field(step) if definition.has_field(step) else None
    column = table.c[field.column if field is not None else step]
    if not rest or field is None:
        return column
    target = registry.entity(field.target or "")
    there = registry.table(target.name).alias()
    return select(_along(registry, target, there, rest)).where(there.c.id == column).scalar_subquery()
