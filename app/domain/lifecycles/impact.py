"""What publishing a version of a lifecycle means: which records stay on which version, and what new ones get."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize, decide
from app.domain.access.scope import scope
from app.domain.lifecycles.store import definition_of, read_version
from models.lifecycle import LifecycleDef
from models.schema import EntityDef

READ_VERSIONS = text(
    """
SELECT v.id, v.number, v.state, v.notes, v.published_at, v.created_at, v.row_version, u.name AS published_by
FROM lifecycle_version v LEFT JOIN app_user u ON u.id = v.published_by_id
WHERE v.lifecycle_id = :id ORDER BY v.number DESC
"""
)


@dataclass(frozen=True, slots=True)
class Pinned:
    """How many records of a version are in a state, by its label, category and colour there."""

    state: str
    label: str
    category: str
    count: int
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """A version of a lifecycle with the records that follow it."""

    id: UUID
    number: int
    state: str
    notes: str | None
    at: datetime
    published_at: datetime | None
    published_by: str | None
    row_version: int
    pinned: tuple[Pinned, ...]

    @property
    def records(self) -> int:
        return sum(each.count for each in self.pinned)


@dataclass(frozen=True, slots=True)
class Impact:
    """`without`: records that follow no lifecycle, and are left as they are."""

    versions: tuple[VersionSummary, ...]
    without: int


async def impact_of(uow: UnitOfWork, *, lifecycle_id: UUID, entity_name: str) -> Impact:
    """The versions, newest first, with the records of each by state. Two statements and one per version not in memory.

    Whoever publishes counts the records of every part of the bank, others those that they see. Raises Forbidden.
    """
    authorize(uow, "read", "lifecycle_version")
    rows = (await uow.execute(READ_VERSIONS, {"id": lifecycle_id})).all()
    counts: dict[UUID, dict[str, int]] = {}
    without = 0
    entity = uow.registry.entities.get(entity_name)
    if entity is not None and entity.lifecycle and entity.has_field("lifecycle_version"):
        for version_id, state, count in await _counts(uow, entity, [row.id for row in rows]):
            if version_id is None:
                without += count
            else:
                counts.setdefault(version_id, {})[str(state)] = count
    versions = []
    for row in rows:
        definition = await _definition(uow, row.id) if counts.get(row.id) else None
        versions.append(
            VersionSummary(
                id=row.id,
                number=row.number,
                state=row.state,
                notes=row.notes,
                at=row.created_at,
                published_at=row.published_at,
                published_by=row.published_by,
                row_version=row.row_version,
                pinned=_pinned(definition, counts.get(row.id, {})),
            )
        )
    return Impact(tuple(versions), without)


async def _counts(
    uow: UnitOfWork, entity: EntityDef, version_ids: Sequence[UUID]
) -> Sequence[tuple[UUID | None, str | None, int]]:
    table = uow.table(entity.name)
    version, state = table.c.lifecycle_version_id, table.c[entity.state_field]
    statement = select(version.label("version"), state.label("state"), func.count().label("n")).group_by(version, state)
    statement = statement.where(version.in_(version_ids) | version.is_(None))
    if "deleted_at" in table.c:
        statement = statement.where(table.c.deleted_at.is_(None))
    if decide(uow.resources.policy, uow.registry, uow.actor, "configure", "lifecycle") is None:
        statement = scope(statement, uow, "read", entity.name)
    return [tuple(row) for row in await uow.execute(statement)]


def _pinned(definition: LifecycleDef | None, counts: dict[str, int]) -> tuple[Pinned, ...]:
    states = {state.name: state for state in definition.states} if definition is not None else {}
    known = [Pinned(s.name, s.label, s.category, counts[s.name], s.colour) for s in states.values() if s.name in counts]
    other = [Pinned(name, name, "active", count) for name, count in sorted(counts.items()) if name not in states]
    return (*known, *other)


async def _definition(uow: UnitOfWork, version_id: UUID) -> LifecycleDef | None:
    row: Any = await read_version(uow, version_id)
    if row is None:
        raise NotFound("There is no such lifecycle version.")
    try:
        return definition_of(row)
    except ValueError:  # pydantic's among them: what does not make a lifecycle still has records to be counted
        return None
