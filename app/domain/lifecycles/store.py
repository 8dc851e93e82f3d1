"""Lifecycle versions in rows: written as drafts, read back as definitions, loaded as what is in force."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Row, delete, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.errors import Conflict, NotFound
from app.core.filters import FilterError
from app.core.uow import UnitOfWork
from app.domain.lifecycles.compiled import CompiledLifecycle, Lifecycles, compile_version, lifecycles_of
from models.base import uuid7
from models.lifecycle import Approvals, Effect, LifecycleDef, StateDef, TransitionDef
from models.registry import Registry

log = logging.getLogger("steps.lifecycles")

_READ = """
SELECT v.id, v.number, v.state, v.initial, l.id AS lifecycle_id, l.code, l.label, l.description, l.entity, l.priority,
       l.applies_when, l.protected, l.active,
       (SELECT coalesce(jsonb_agg(to_jsonb(s) ORDER BY s.position), '[]')
        FROM lifecycle_state s WHERE s.parent_id = v.id) AS states,
       (SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.position), '[]')
        FROM lifecycle_transition t WHERE t.parent_id = v.id) AS transitions
FROM lifecycle_version v JOIN lifecycle l ON l.id = v.lifecycle_id
"""
READ_VERSION = text(f"{_READ} WHERE v.id = :id")
READ_IN_FORCE = text(f"{_READ} WHERE v.state = 'published' AND l.active")
READ_HEAD = text(
    """
SELECT v.id, v.number, v.state, v.row_version, l.id AS lifecycle_id, l.code, l.label, l.entity, l.protected, l.active
FROM lifecycle_version v JOIN lifecycle l ON l.id = v.lifecycle_id WHERE v.id = :id
"""
)
NEXT_NUMBER = text("SELECT coalesce(max(number), 0) + 1 FROM lifecycle_version WHERE lifecycle_id = :lifecycle_id")


async def load_in_force(engine: AsyncEngine, registry: Registry, into: Lifecycles) -> None:
    """Read every published version anew. A database that has not been migrated yet has none."""
    async with engine.connect() as connection:
        if await connection.scalar(text("SELECT to_regclass('lifecycle_version')")) is None:
            return
        rows = (await connection.execute(READ_IN_FORCE)).all()
    into.replace(_readable(rows, registry))


def _readable(rows: Sequence[Row[Any]], registry: Registry) -> Iterator[CompiledLifecycle]:
    """Those that fit their entity as it is now. One that does not must not keep the whole platform from starting."""
    for row in rows:
        try:
            if row.entity in registry.entities:
                yield _compiled(row, registry)
        except (ValidationError, FilterError) as error:
            log.error("lifecycle_not_readable", extra={"lifecycle": row.code, "version": row.number, "why": str(error)})


async def version_of(uow: UnitOfWork, version_id: UUID) -> CompiledLifecycle:
    """The version a record is pinned to: from memory, or read once. Raises NotFound, Conflict for a broken one."""
    known = lifecycles_of(uow.resources.services)
    version = known.versions.get(version_id)
    if version is None:
        row = await read_version(uow, version_id)
        if row is None:
            raise NotFound("There is no such lifecycle version.")
        try:
            version = _compiled(row, uow.registry)
        except (ValidationError, FilterError, KeyError) as error:
            raise Conflict(
                f"Version {row.number} of the lifecycle {row.label} cannot be read: it does not fit "
                f"{row.entity} as that is defined now. An administrator has to correct the definition."
            ) from error
        if row.state != "draft":
            known.versions[version_id] = version
    return version


async def read_version(uow: UnitOfWork, version_id: UUID) -> Row[Any] | None:
    """A version with its lifecycle, states and transitions as rows hold them; `definition_of` reads it."""
    return (await uow.execute(READ_VERSION, {"id": version_id})).first()


@dataclass(frozen=True, slots=True)
class VersionHead:
    """Which lifecycle a version is of."""

    id: UUID
    number: int
    state: str
    row_version: int
    lifecycle_id: UUID
    code: str
    label: str
    entity: str
    protected: bool
    active: bool


async def head_of(uow: UnitOfWork, version_id: UUID) -> VersionHead:
    """Raises NotFound."""
    row = (await uow.execute(READ_HEAD, {"id": version_id})).first()
    if row is None:
        raise NotFound("There is no such lifecycle version.")
    return VersionHead(**row._mapping)


async def read_definition(uow: UnitOfWork, version_id: UUID) -> tuple[LifecycleDef, str]:
    """A version, draft or not, as a definition, and the entity it is for. Raises NotFound, pydantic.ValidationError."""
    row = await read_version(uow, version_id)
    if row is None:
        raise NotFound("There is no such lifecycle version.")
    return definition_of(row), row.entity


def _compiled(row: Row[Any], registry: Registry) -> CompiledLifecycle:
    definition = definition_of(row)
    return compile_version(definition, registry.entity(row.entity), registry, version_id=row.id, number=row.number)


def definition_of(row: Row[Any]) -> LifecycleDef:
    return LifecycleDef(
        code=row.code,
        label=row.label,
        description=row.description or "",
        applies_when=row.applies_when or None,
        priority=row.priority,
        protected=row.protected,
        initial=row.initial,
        states=tuple(_state(values) for values in row.states),
        transitions=tuple(_transition(values) for values in row.transitions),
    )


def _state(values: Mapping[str, Any]) -> StateDef:
    editable = {"anyone": None, "nobody": ()}.get(values["editing"], _names(values["editing_roles"]))
    return StateDef(
        name=values["name"],
        label=values["label"],
        colour=values["colour"],
        category=values["category"],
        editable_by=editable,
    )


def _transition(values: Mapping[str, Any]) -> TransitionDef:
    return TransitionDef(
        name=values["name"],
        label=values["label"],
        sources=_names(values["from_states"]),
        to=values["to_state"],
        or_to=_names(values["or_to_states"]),
        roles=_names(values["roles"]),
        guard=values["guard"] or None,
        rule=values["rule"] or None,
        require_comment=values["require_comment"],
        require_fields=_names(values["require_fields"]),
        approvals=Approvals(count=values["approvals"], distinct_from=tuple(values["distinct_from"] or ())),
        effects=tuple(Effect.model_validate(effect) for effect in values["effects"] or ()),
        activities=tuple(line.strip() for line in (values["activities"] or "").splitlines() if line.strip()),
        tone=values["tone"],
    )


def _names(value: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (value or "").replace("\n", ",").split(",") if part.strip())


async def insert_version(
    target: UnitOfWork | AsyncConnection,
    registry: Registry,
    definition: LifecycleDef,
    *,
    lifecycle_id: UUID,
    stamp: Mapping[str, Any],
    values: Mapping[str, Any],
) -> UUID:
    """Write a version with its states and transitions; `values`: state, notes and what publishing adds."""
    version_id = uuid7()
    number = (await target.execute(NEXT_NUMBER, {"lifecycle_id": lifecycle_id})).scalar_one()
    row = {"id": version_id, "lifecycle_id": lifecycle_id, "number": number, "initial": definition.initial}
    await target.execute(insert(registry.table("lifecycle_version")).values({**row, **values, **stamp}))
    await write_parts(target, registry, definition, version_id=version_id, stamp=stamp)
    return version_id


async def write_parts(
    target: UnitOfWork | AsyncConnection,
    registry: Registry,
    definition: LifecycleDef,
    *,
    version_id: UUID,
    stamp: Mapping[str, Any],
) -> None:
    """Write the states and transitions of a version in place of those it has."""
    for entity, rows in (
        ("lifecycle_state", _state_rows(definition)),
        ("lifecycle_transition", _step_rows(definition)),
    ):
        table = registry.table(entity)
        await target.execute(delete(table).where(table.c.parent_id == version_id))
        numbered: Sequence[dict[str, Any]] = [
            {"id": uuid7(), "parent_id": version_id, "position": position, **row, **stamp}
            for position, row in enumerate(rows)
        ]
        if numbered:
            await target.execute(insert(table), list(numbered))


def _state_rows(definition: LifecycleDef) -> list[dict[str, Any]]:
    return [
        {
            "name": state.name,
            "label": state.label,
            "category": state.category,
            "colour": state.colour,
            "editing": "anyone" if state.editable_by is None else "roles" if state.editable_by else "nobody",
            "editing_roles": ", ".join(state.editable_by or ()) or None,
        }
        for state in definition.states
    ]


def _step_rows(definition: LifecycleDef) -> list[dict[str, Any]]:
    return [
        {
            "name": step.name,
            "label": step.label,
            "from_states": ", ".join(step.sources),
            "to_state": step.to,
            "or_to_states": ", ".join(step.or_to) or None,
            "roles": ", ".join(step.roles) or None,
            "guard": step.guard,
            "rule": step.rule,
            "require_comment": step.require_comment,
            "require_fields": ", ".join(step.require_fields) or None,
            "approvals": step.approvals.count,
            "distinct_from": list(step.approvals.distinct_from),
            "effects": [effect.model_dump(mode="json", exclude_defaults=True) for effect in step.effects] or None,
            "activities": "\n".join(step.activities) or None,
            "tone": step.tone,
        }
        for step in definition.transitions
    ]


async def versions_of(uow: UnitOfWork, lifecycle_id: UUID, state: str) -> UUID | None:
    """The id of the lifecycle's draft, or of its published version."""
    table = uow.table("lifecycle_version")
    found: UUID | None = await uow.scalar(
        select(table.c.id).where(table.c.lifecycle_id == lifecycle_id, table.c.state == state)
    )
    return found
