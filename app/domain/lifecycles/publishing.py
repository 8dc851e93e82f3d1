"""Drafts and versions of lifecycles: written, checked, published once and never changed after that."""

import hashlib
from typing import Any
from uuid import UUID

import orjson
from pydantic import ValidationError
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.core.actor import SYSTEM_ID
from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, Forbidden, NotFound, StaleVersion, ValidationFailed
from app.core.events import RecordCreated, RecordDeleted, RecordUpdated
from app.core.findings import Finding, Severity
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.lifecycles.events import LifecyclePublished
from app.domain.lifecycles.linter import Surroundings, lint
from app.domain.lifecycles.store import insert_version, read_definition, versions_of, write_parts
from models.base import uuid7
from models.lifecycle import LifecycleDef
from models.registry import Registry

TOPIC = "lifecycles"
SHIPPED_LOCK = 0x6C696665  # any number of its own; here the first letters of "lifecycle"

LOCK_VERSION = text(
    """
SELECT v.state, v.number, v.row_version, l.id AS lifecycle_id, l.code, l.label, l.entity, l.protected
FROM lifecycle l JOIN lifecycle_version v ON v.lifecycle_id = l.id WHERE v.id = :id FOR UPDATE OF l, v
"""
)
RETIRE = text(
    """
UPDATE lifecycle_version SET state = 'retired', row_version = row_version + 1, updated_at = :now, updated_by = :by
WHERE lifecycle_id = :lifecycle_id AND state = 'published'
"""
)
PUBLISH = text(
    """
UPDATE lifecycle_version SET state = 'published', digest = :digest, published_at = :now, published_by_id = :user_id,
    notes = coalesce(:notes, notes), row_version = row_version + 1, updated_at = :now, updated_by = :by
WHERE id = :id
"""
)
SURROUNDINGS = text(
    """
SELECT ARRAY(SELECT code FROM role) AS roles, ARRAY(SELECT code FROM workflow) AS workflows,
       ARRAY(SELECT code FROM rule WHERE active) AS rules
"""
)
UPSERT = text(
    """
INSERT INTO lifecycle (id, code, label, entity, priority, applies_when, active, protected, description,
                       created_at, created_by, updated_at, updated_by)
VALUES (:id, :code, :label, :entity, :priority, CAST(:applies_when AS jsonb), true, :protected, :description,
        :now, :by, :now, :by)
ON CONFLICT (code) DO UPDATE SET
    label = excluded.label, priority = excluded.priority, applies_when = excluded.applies_when,
    protected = excluded.protected, description = excluded.description, row_version = lifecycle.row_version + 1,
    updated_at = excluded.updated_at, updated_by = excluded.updated_by
RETURNING id, entity
"""
)


async def save_draft(
    uow: UnitOfWork,
    *,
    entity: str,
    definition: LifecycleDef,
    notes: str | None = None,
    expected_version: int | None = None,
) -> UUID:
    """Write a lifecycle's draft, in place of the one there is; return the version's id.

    `expected_version`: the row_version of the draft on which the changes were made; None to write over whatever it is.

    Raises:
        Forbidden: the lifecycle is the platform's own.
        Conflict: its code belongs to a lifecycle of another entity.
        StaleVersion: somebody else has saved, published or discarded the draft meanwhile.
    """
    decision = authorize(uow, "configure", "lifecycle")
    await _refuse_protected(uow, definition)
    lifecycle_id = await _upsert(uow, definition, entity, now=uow.now, by=uow.actor.id)
    stamp = {"created_at": uow.now, "created_by": uow.actor.id, "updated_at": uow.now, "updated_by": uow.actor.id}
    draft = await versions_of(uow, lifecycle_id, "draft")
    if draft is None:
        if expected_version is not None:
            raise StaleVersion("The draft is not there any more: somebody has published or discarded it meanwhile.")
        values = {"state": "draft", "notes": notes}
        draft = await insert_version(
            uow, uow.registry, definition, lifecycle_id=lifecycle_id, stamp=stamp, values=values
        )
    else:
        await _rewrite(uow, draft, definition, notes, expected_version=expected_version)
        await write_parts(uow, uow.registry, definition, version_id=draft, stamp=stamp)
    uow.touch("entity:lifecycle_version", f"lifecycle_version:{draft}")
    uow.audit(
        AuditEntry(
            command="save_draft",
            entity="lifecycle_version",
            record_id=draft,
            after={"lifecycle": definition.code, "states": len(definition.states)},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    return draft


async def _rewrite(
    uow: UnitOfWork, draft: UUID, definition: LifecycleDef, notes: str | None, *, expected_version: int | None
) -> None:
    table = uow.table("lifecycle_version")
    here = (table.c.id == draft) & (table.c.state == "draft")
    if expected_version is not None:
        here &= table.c.row_version == expected_version
    stamp = {"row_version": table.c.row_version + 1, "updated_at": uow.now, "updated_by": uow.actor.id}
    written = await uow.execute(table.update().where(here).values(initial=definition.initial, notes=notes, **stamp))
    if not written.rowcount:
        raise StaleVersion("Somebody else has saved this draft since you opened it. Look at theirs, then save again.")


async def new_draft_from(uow: UnitOfWork, *, version_id: UUID) -> UUID:
    """Copy a version, published or not, to a new draft; return its id. Raises Conflict where there is a draft."""
    authorize(uow, "configure", "lifecycle")
    definition, entity = await read_checked(uow, version_id)
    table = uow.table("lifecycle_version")
    lifecycle_id = await uow.scalar(select(table.c.lifecycle_id).where(table.c.id == version_id))
    if await versions_of(uow, lifecycle_id, "draft") is not None:
        raise Conflict(f"{definition.label} has a draft already; publish or discard it first.")
    return await save_draft(uow, entity=entity, definition=definition)


async def source_of_draft(uow: UnitOfWork, *, lifecycle_id: UUID) -> UUID:
    """The version that a new draft is a copy of: the published one, else the latest. Raises Forbidden, NotFound."""
    authorize(uow, "read", "lifecycle_version")
    table = uow.table("lifecycle_version")
    of = select(table.c.id).where(table.c.lifecycle_id == lifecycle_id)
    found: UUID | None = await uow.scalar(of.order_by((table.c.state == "published").desc(), table.c.number.desc()))
    if found is None:
        raise NotFound("There is no such lifecycle, or it has no version yet to copy.")
    return found


async def check_version(uow: UnitOfWork, *, version_id: UUID) -> list[Finding]:
    """What the linter says about a version, errors first."""
    authorize(uow, "read", "lifecycle_version")
    definition, entity = await read_checked(uow, version_id)
    return await findings_in(uow, definition, entity)


async def publish(uow: UnitOfWork, *, version_id: UUID, notes: str | None = None) -> str:
    """Make the draft what new records get; records keep the version they have. Returns the digest.

    Raises:
        Conflict: it is no draft.
        ValidationFailed: the linter has found errors; each problem is one, with its place and what to do.
    """
    decision = authorize(uow, "configure", "lifecycle")
    row = (await uow.execute(LOCK_VERSION, {"id": version_id})).first()
    if row is None:
        raise NotFound("There is no such lifecycle version.")
    if row.state != "draft":
        raise Conflict(f"Version {row.number} of {row.label} is {row.state}; only a draft can be published.")
    definition, entity = await read_checked(uow, version_id)
    findings = await findings_in(uow, definition, entity)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise ValidationFailed(
            [FieldProblem(f.place or "lifecycle", f"{f.message} {f.satisfy}", f.rule) for f in errors]
        )
    by, digest = uow.actor.id, definition_digest(definition)
    await uow.execute(RETIRE, {"lifecycle_id": row.lifecycle_id, "now": uow.now, "by": by})
    values: dict[str, Any] = {"id": version_id, "digest": digest, "notes": notes, "now": uow.now, "by": by}
    await uow.execute(PUBLISH, {**values, "user_id": None if uow.actor.is_system else by})
    uow.emit(LifecyclePublished(at=uow.now, lifecycle_id=row.lifecycle_id, version_id=version_id, entity=entity))
    uow.touch(TOPIC, "policy", "entity:lifecycle_version", "entity:lifecycle")
    uow.audit(
        AuditEntry(
            command="publish",
            entity="lifecycle_version",
            record_id=version_id,
            before={"state": "draft"},
            after={"state": "published", "number": row.number, "digest": digest},
            reason=notes,
            context={"lifecycle": row.code, "warnings": len(findings)},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    return digest


async def discard_draft(uow: UnitOfWork, *, version_id: UUID) -> None:
    """Delete a draft. Raises Conflict for a version that was published: records may be pinned to it."""
    decision = authorize(uow, "configure", "lifecycle")
    row = (await uow.execute(LOCK_VERSION, {"id": version_id})).first()
    if row is None:
        raise NotFound("There is no such lifecycle version.")
    if row.state != "draft":
        raise Conflict("This version has been published: it never changes and is never deleted.")
    table = uow.table("lifecycle_version")
    await uow.execute(table.delete().where(table.c.id == version_id))
    uow.touch("entity:lifecycle_version")
    uow.audit(
        AuditEntry(
            command="discard_draft",
            entity="lifecycle_version",
            record_id=version_id,
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )


def definition_digest(definition: LifecycleDef) -> str:
    """SHA-256 of the definition: equal definitions have equal digests."""
    return hashlib.sha256(orjson.dumps(definition.plain(), option=orjson.OPT_SORT_KEYS)).hexdigest()


async def refuse_change_of_version(uow: UnitOfWork, event: RecordCreated | RecordUpdated | RecordDeleted) -> None:
    """Hold back what would change a published version, or the platform's own lifecycles, by forms and the API.

    Raises:
        Conflict: the version is not a draft. Forbidden: the lifecycle is protected.
        ValidationFailed: the states and transitions do not fit together.
    """
    if uow.actor.is_system or event.entity not in ("lifecycle", "lifecycle_version"):
        return
    if isinstance(event, RecordDeleted):
        raise Forbidden(
            "Lifecycles and their versions are not deleted: discard a draft, or make the lifecycle inactive."
        )
    if event.entity == "lifecycle":
        await _check_lifecycle(uow, event)
        return
    row = (await uow.execute(LOCK_VERSION, {"id": event.record_id})).one()
    if row.protected:
        raise Forbidden(f"{row.label} is the platform's own lifecycle and is changed by nobody.")
    if row.state != "draft":
        raise Conflict(
            f"Version {row.number} is {row.state} and never changes; make a new draft of it and change that."
        )
    if isinstance(event, RecordCreated):
        await _number_draft(uow, event.record_id, row.lifecycle_id)
    await read_checked(uow, event.record_id)


async def _check_lifecycle(uow: UnitOfWork, event: RecordCreated | RecordUpdated) -> None:
    table = uow.table("lifecycle")
    row = (await uow.execute(select(table).where(table.c.id == event.record_id))).one()
    if row.protected:
        raise Forbidden(f"{row.label} is the platform's own lifecycle and is changed by nobody.")
    entity = uow.registry.entities.get(row.entity)
    if entity is None or not entity.takes_steps:
        there = ", ".join(sorted(e.name for e in uow.registry.entities.values() if e.takes_steps))
        said = f"{row.entity} takes no lifecycle; choose one of: {there}"
        raise Conflict(f"{said}.", problems=[FieldProblem("entity", said)])
    if row.applies_when:
        probe = LifecycleDef(code=row.code, label=row.label, applies_when=row.applies_when, initial="x",
                             states=({"name": "x", "category": "final"},))  # fmt: skip
        wrong = [f for f in lint(probe, Surroundings(entity, uow.registry)) if f.rule == "condition"]
        if wrong:
            raise ValidationFailed([FieldProblem("applies_when", wrong[0].message)])
    uow.touch(TOPIC)


async def _number_draft(uow: UnitOfWork, version_id: UUID, lifecycle_id: UUID) -> None:
    table = uow.table("lifecycle_version")
    others = select(table.c.number).where(table.c.lifecycle_id == lifecycle_id, table.c.id != version_id)
    numbers = (await uow.execute(others)).scalars().all()
    number = max(numbers, default=0) + 1
    await uow.execute(table.update().where(table.c.id == version_id).values(number=number))


async def read_checked(uow: UnitOfWork, version_id: UUID) -> tuple[LifecycleDef, str]:
    """A version as a definition, and its entity. Raises NotFound, ValidationFailed where its rows make no lifecycle."""
    try:
        return await read_definition(uow, version_id)
    except ValidationError as error:
        problems = [
            FieldProblem(
                ".".join(str(part) for part in e["loc"]) or "lifecycle", e["msg"].removeprefix("Value error, ")
            )
            for e in error.errors()
        ]
        raise ValidationFailed(problems) from error


async def findings_in(uow: UnitOfWork, definition: LifecycleDef, entity: str) -> list[Finding]:
    """What the linter says about a lifecycle of this entity, with the roles, workflows and rules there are."""
    row = (await uow.execute(SURROUNDINGS)).one()
    around = Surroundings(
        uow.registry.entity(entity),
        uow.registry,
        roles=frozenset(row.roles),
        workflows=frozenset(row.workflows),
        rules=frozenset(row.rules),
    )
    return lint(definition, around)


async def _refuse_protected(uow: UnitOfWork, definition: LifecycleDef) -> None:
    table = uow.table("lifecycle")
    protected = await uow.scalar(select(table.c.protected).where(table.c.code == definition.code))
    if (protected or definition.protected) and not uow.actor.is_system:
        raise Forbidden(f"{definition.label} is the platform's own lifecycle and is changed by nobody.")


async def _upsert(target: UnitOfWork | AsyncConnection, definition: LifecycleDef, entity: str, **stamp: Any) -> UUID:
    condition = orjson.dumps(definition.applies_when).decode() if definition.applies_when else None
    values = {
        "id": uuid7(),
        "code": definition.code,
        "label": definition.label,
        "entity": entity,
        "priority": definition.priority,
        "applies_when": condition,
        "protected": definition.protected,
        "description": definition.description or None,
    }
    row = (await target.execute(UPSERT, {**values, **stamp})).one()
    if row.entity != entity:
        raise Conflict(f"The code {definition.code} belongs to a lifecycle of {row.entity}; choose another.")
    lifecycle_id: UUID = row.id
    return lifecycle_id


async def publish_shipped(engine: AsyncEngine, registry: Registry) -> None:
    """Publish the lifecycles of the definitions that this database has not seen yet; once, whoever comes first.

    One that was published before and has been replaced since is not brought back by a process of an older release.
    """
    shipped = {
        definition_digest(definition): (entity.name, definition)
        for entity in registry.entities.values()
        for definition in entity.lifecycles
    }
    if not shipped:
        return
    seen = text("SELECT digest FROM lifecycle_version WHERE digest = ANY (:digests)")
    async with engine.connect() as connection:
        if await connection.scalar(text("SELECT to_regclass('lifecycle_version')")) is None:
            return
        known = set((await connection.execute(seen, {"digests": list(shipped)})).scalars())
    if known >= shipped.keys():
        return
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SHIPPED_LOCK})
        known = set((await connection.execute(seen, {"digests": list(shipped)})).scalars())
        now = await connection.scalar(text("SELECT steps_now()"))
        for digest, (entity_name, definition) in shipped.items():
            if digest in known:
                continue
            lifecycle_id = await _upsert(connection, definition, entity_name, now=now, by=SYSTEM_ID)
            await connection.execute(RETIRE, {"lifecycle_id": lifecycle_id, "now": now, "by": SYSTEM_ID})
            stamp = {"created_at": now, "created_by": SYSTEM_ID, "updated_at": now, "updated_by": SYSTEM_ID}
            values = {"state": "published", "digest": digest, "published_at": now}
            await insert_version(
                connection, registry, definition, lifecycle_id=lifecycle_id, stamp=stamp, values=values
            )
