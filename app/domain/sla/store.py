"""Policy versions in rows: read as definitions, loaded as what is in force, found again for the clocks they drive."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.errors import Conflict, FieldProblem, NotFound, ValidationFailed
from app.core.filters import FilterError
from app.core.uow import UnitOfWork
from app.domain.sla.compiled import CompiledPolicy, SlaPolicies, compile_policy, policies_of
from models.registry import Registry
from models.sla import PolicyDef

log = logging.getLogger("steps.sla")

_READ = """
SELECT v.id, v.number, v.state, v.definition, v.row_version, v.notes, v.changed_by_id, v.submitted_at, v.published_at,
       p.id AS policy_id, p.code, p.label, p.entity, p.active, p.protected
FROM sla_policy_version v JOIN sla_policy p ON p.id = v.policy_id
"""
READ_VERSION = text(f"{_READ} WHERE v.id = :id")
LOCK_VERSION = text(f"{_READ} WHERE v.id = :id FOR UPDATE OF v, p")
READ_IN_FORCE = text(f"{_READ} WHERE v.state = 'published' AND p.active AND NOT p.protected")
READ_WATCHED = text(
    """
SELECT DISTINCT p.entity FROM sla_policy p
WHERE NOT p.protected AND p.entity IS NOT NULL
  AND EXISTS (SELECT FROM sla_policy_version v WHERE v.policy_id = p.id AND v.state IN ('published', 'retired'))
"""
)


async def load_in_force(engine: AsyncEngine, registry: Registry, into: SlaPolicies) -> None:
    """Read every version in force anew. A database that has not been migrated yet has none."""
    async with engine.connect() as connection:
        if await connection.scalar(text("SELECT to_regclass('sla_policy_version')")) is None:
            return
        rows = (await connection.execute(READ_IN_FORCE)).all()
        watched = (await connection.execute(READ_WATCHED)).scalars().all()
    into.replace(_readable(rows, registry), watched)


def _readable(rows: Sequence[Row[Any]], registry: Registry) -> Iterator[CompiledPolicy]:
    """Those that fit their entity as it is now. One that does not must not keep the whole platform from starting."""
    for row in rows:
        try:
            if row.entity in registry.entities:
                yield compiled(row, registry)
        except (ValidationError, FilterError) as error:
            log.error("sla_policy_not_readable", extra={"policy": row.code, "version": row.number, "why": str(error)})


async def version_of(uow: UnitOfWork, version_id: UUID) -> CompiledPolicy:
    """The version that a clock is pinned to: from memory, or read once. Raises NotFound, Conflict for a broken one."""
    known = policies_of(uow.resources.services)
    version = known.versions.get(version_id)
    if version is None:
        row = await read_version(uow, version_id)
        try:
            version = compiled(row, uow.registry)
        except (ValidationError, FilterError, KeyError) as error:
            raise Conflict(
                f"Version {row.number} of the SLA policy {row.label} cannot be read: it does not fit {row.entity} as "
                "that is defined now. An administrator has to correct the definition."
            ) from error
        if row.state not in ("draft", "in_review"):
            known.versions[version_id] = version
    return version


async def read_version(uow: UnitOfWork, version_id: UUID, *, lock: bool = False) -> Row[Any]:
    """A version with its policy, as the rows hold them. Raises NotFound."""
    row = (await uow.execute(LOCK_VERSION if lock else READ_VERSION, {"id": version_id})).first()
    if row is None:
        raise NotFound("There is no such version of an SLA policy.")
    return row


def definition_of(row: Row[Any]) -> PolicyDef:
    """Raises pydantic.ValidationError."""
    return PolicyDef.model_validate(row.definition)


def compiled(row: Row[Any], registry: Registry) -> CompiledPolicy:
    """Raises pydantic.ValidationError, FilterError."""
    return compile_policy(
        definition_of(row),
        registry.entity(row.entity),
        registry,
        policy_id=row.policy_id,
        version_id=row.id,
        number=row.number,
    )


def read_policy(given: Any) -> PolicyDef:
    """A policy out of what was entered. Raises ValidationFailed with each problem at its place."""
    try:
        return PolicyDef.model_validate(given)
    except ValidationError as error:
        problems = [
            FieldProblem(
                ".".join(str(part) for part in each["loc"]) or "policy", each["msg"].removeprefix("Value error, ")
            )
            for each in error.errors()
        ]
        raise ValidationFailed(problems) from error
