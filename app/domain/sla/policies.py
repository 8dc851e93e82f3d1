"""SLA policies that come with the product, or with the definition of an entity."""

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.actor import SYSTEM_ID
from app.core.uow import UnitOfWork
from app.domain.sla.publishing import policy_digest
from models.base import uuid7
from models.registry import Registry
from models.sla import OWN_DEADLINE, PolicyDef

PROCESS_DEADLINE = "process-deadline"
DEFAULT_WARN_MINUTES = 30
SHIPPED_LOCK = 7_302_119

# The row may be an administrator's by now: what it says stays.
_ENSURE = text("""
WITH made AS (
    INSERT INTO sla_policy (id, code, label, entity, measure, pause_on_hold, warn_minutes, protected, active,
                            row_version, created_at, created_by, updated_at, updated_by)
    VALUES (uuidv7(), :code, :label, 'process_run', :measure, false, :warn_minutes, true, true, 1, :at, :by, :at, :by)
    ON CONFLICT (code) DO UPDATE SET entity = 'process_run', protected = true
    RETURNING id, warn_minutes
), versioned AS (
    INSERT INTO sla_policy_version (id, policy_id, number, state, definition, digest, published_at, row_version,
                                    created_at, created_by, updated_at, updated_by)
    SELECT uuidv7(), made.id, 1, 'published',
           CAST(:definition AS jsonb) || jsonb_build_object('thresholds', CASE WHEN warn_minutes > 0 THEN
               jsonb_build_array(jsonb_build_object('code', 'warning', 'before', 'PT' || warn_minutes || 'M'))
               ELSE '[]' END),
           'shipped', :at, 1, :at, :by, :at, :by
    FROM made WHERE NOT EXISTS (SELECT FROM sla_policy_version v WHERE v.policy_id = made.id)
    ON CONFLICT (policy_id, number) DO NOTHING  -- of two that find none, one comes first
)
SELECT id FROM made
""").bindparams(bindparam("definition", type_=JSONB))


def process_deadline() -> PolicyDef:
    """The policy of the deadlines that workflows give their processes."""
    return PolicyDef(
        code=PROCESS_DEADLINE,
        label="Process deadline",
        protected=True,
        measure="deadline",
        targets=({"by": OWN_DEADLINE},),
    )


async def ensure_shipped_policies(uow: UnitOfWork) -> UUID:
    """Create the policy of process deadlines where there is none; return its id."""
    definition = process_deadline()
    found: UUID = await uow.scalar(
        _ENSURE,
        {
            "code": definition.code,
            "label": definition.label,
            "measure": definition.measure,
            "warn_minutes": DEFAULT_WARN_MINUTES,
            "definition": definition.plain(),
            "at": uow.now,
            "by": uow.actor.id,
        },
    )
    return found


_SEEN = text("SELECT digest FROM sla_policy_version WHERE digest = ANY (:digests)")
_UPSERT = text("""
INSERT INTO sla_policy (id, code, label, description, entity, measure, target, calendar_id, pause_on_hold, warn_minutes,
                        protected, active, row_version, created_at, created_by, updated_at, updated_by)
VALUES (uuidv7(), :code, :label, :description, :entity, :measure, :target,
        (SELECT id FROM calendar WHERE code = :calendar), false, 0, :protected, true, 1, :at, :by, :at, :by)
ON CONFLICT (code) DO UPDATE SET
    label = excluded.label, description = excluded.description, measure = excluded.measure, target = excluded.target,
    calendar_id = excluded.calendar_id, row_version = sla_policy.row_version + 1, updated_at = excluded.updated_at
RETURNING id
""")
_RETIRE = text("UPDATE sla_policy_version SET state = 'retired' WHERE policy_id = :policy_id AND state = 'published'")
_PUBLISH = text("""
INSERT INTO sla_policy_version (id, policy_id, number, state, definition, digest, published_at, row_version,
                                created_at, created_by, updated_at, updated_by)
SELECT :id, :policy_id, coalesce(max(number), 0) + 1, 'published', :definition, :digest, :at, 1, :at, :by, :at, :by
FROM sla_policy_version WHERE policy_id = :policy_id
""").bindparams(bindparam("definition", type_=JSONB))


def _shipped(registry: Registry) -> Iterator[tuple[str, PolicyDef]]:
    for entity in registry.entities.values():
        for definition in entity.sla_policies:
            yield entity.name, definition


async def publish_shipped_policies(engine: AsyncEngine, registry: Registry) -> None:
    """Publish the policies of the definitions that this database has not seen yet; once, whoever comes first.

    One that was published before and has been replaced since is not brought back by a process of an older release.
    """
    shipped = {policy_digest(definition): (entity, definition) for entity, definition in _shipped(registry)}
    if not shipped:
        return
    async with engine.connect() as connection:
        if await connection.scalar(text("SELECT to_regclass('sla_policy_version')")) is None:
            return
        known = set((await connection.execute(_SEEN, {"digests": list(shipped)})).scalars())
    if known >= shipped.keys():
        return
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SHIPPED_LOCK})
        known = set((await connection.execute(_SEEN, {"digests": list(shipped)})).scalars())
        now = await connection.scalar(text("SELECT steps_now()"))
        for digest, (entity, definition) in shipped.items():
            if digest in known:
                continue
            stamp = {"at": now, "by": SYSTEM_ID}
            values = {
                "code": definition.code,
                "label": definition.label,
                "description": definition.description or None,
                "entity": entity,
                "measure": definition.measure,
                "target": definition.targets[0].within,
                "calendar": definition.calendar,
                "protected": definition.protected,
                **stamp,
            }
            policy_id = await connection.scalar(_UPSERT, values)
            await connection.execute(_RETIRE, {"policy_id": policy_id})
            version = {"id": uuid7(), "policy_id": policy_id, "definition": definition.plain(), "digest": digest}
            await connection.execute(_PUBLISH, {**version, **stamp})
