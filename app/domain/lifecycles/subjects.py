"""Lock the records that steps are asked for, and read what the decisions need: a fixed number of statements."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from app.core.errors import Conflict, NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize, decide
from app.domain.access.scope import condition_of, scope, viewer_of
from app.domain.entities.codec import codec_of
from app.domain.lifecycles.decisions import Approval, Subject
from app.domain.lifecycles.store import version_of
from models.lifecycle import TransitionDef
from models.schema import EntityDef

READ_APPROVALS = text(
    """
SELECT record_id, transition, actor_id, actor_name, on_behalf_of_id, done_at IS NOT NULL AS done
FROM record_approval WHERE record_entity = :entity AND record_id = ANY (:ids) AND ended_at IS NULL ORDER BY at, id
"""
)
READ_LAST_EDITORS = text(
    """
SELECT DISTINCT ON (record_id) record_id, actor_id FROM audit_entry
WHERE entity = :entity AND record_id = ANY (:ids) AND command = ANY (:commands) AND outcome = 'ok'
ORDER BY record_id, sequence DESC
"""
)


async def lock_subjects(
    uow: UnitOfWork, entity_name: str, ids: Collection[UUID], *, lock: bool = True
) -> dict[UUID, Subject]:
    """The records that the actor sees, by id, locked in one order. Those without a lifecycle are refused.

    Raises:
        Forbidden: the actor may read no record of the entity.
        NotFound: one of them does not exist, or the actor may not see it.
        Conflict: one of them follows no lifecycle.
    """
    entity = steppable(uow, entity_name)
    records = await _read(uow, entity, ids, lock=lock)
    if len(records) != len(set(ids)):
        raise NotFound(f"There is no such {entity.label.lower()}, or you may not see it.")
    found: dict[UUID, Subject] = {}
    for record in records:
        if record.get("lifecycle_version") is None:
            raise Conflict(f"“{_title(entity, record)}” follows no lifecycle, so it takes no steps.")
        found[record["id"]] = await _subject(uow, entity, record)
    return found


async def visible_subjects(
    uow: UnitOfWork, entity_name: str, ids: Collection[UUID], *, lock: bool = False
) -> tuple[dict[UUID, Subject], dict[UUID, str]]:
    """Those of the records that the actor sees: with their lifecycle, and the titles of those that follow none.

    Raises Forbidden where the actor may read no record of the entity.
    """
    entity = steppable(uow, entity_name)
    found: dict[UUID, Subject] = {}
    without: dict[UUID, str] = {}
    for record in await _read(uow, entity, ids, lock=lock):
        if record.get("lifecycle_version") is None:
            without[record["id"]] = _title(entity, record)
        else:
            found[record["id"]] = await _subject(uow, entity, record)
    return found, without


def steppable(uow: UnitOfWork, entity_name: str) -> EntityDef:
    """The entity, whose records can take steps. Raises Forbidden to who may not read it, Conflict for other kinds."""
    authorize(uow, "read", entity_name)
    entity = uow.registry.entity(entity_name)
    if not entity.takes_steps:
        raise Conflict(f"{entity.label_plural} take no steps of a lifecycle by this way.")
    return entity


async def _read(uow: UnitOfWork, entity: EntityDef, ids: Collection[UUID], *, lock: bool) -> list[dict[str, Any]]:
    table = uow.table(entity.name)
    wanted = scope(select(table).where(table.c.id.in_(list(ids))), uow, "read", entity.name).order_by(table.c.id)
    if entity.soft_delete:
        wanted = wanted.where(table.c.deleted_at.is_(None))
    codec = codec_of(uow.registry, entity.name)
    rows = await uow.execute(wanted.with_for_update(of=table) if lock else wanted)
    return [codec.record(row) for row in rows.mappings()]


async def _subject(uow: UnitOfWork, entity: EntityDef, record: dict[str, Any]) -> Subject:
    return Subject(await version_of(uow, record["lifecycle_version"]), entity, record, _title(entity, record))


def _title(entity: EntityDef, record: Mapping[str, Any]) -> str:
    return str(record.get(entity.title_field) or entity.label)


async def read_people(uow: UnitOfWork, subjects: Mapping[UUID, Subject], steps: Collection[TransitionDef]) -> None:
    """Read approvals and last editors, where one of these steps asks for them; nothing for the platform itself."""
    if uow.actor.is_system or not subjects:
        return
    entity = next(iter(subjects.values())).entity
    values: dict[str, Any] = {"entity": entity.name, "ids": list(subjects)}
    if any(step.approvals.count > 1 or step.approvals.distinct_from for step in steps):
        for row in await uow.execute(READ_APPROVALS, values):
            approval = Approval(row.transition, row.actor_id, row.actor_name, row.on_behalf_of_id, row.done)
            subjects[row.record_id].approvals.append(approval)
    if any("last_editor" in step.approvals.distinct_from for step in steps):
        commands = [f"{entity.name}.create", f"{entity.name}.update"]
        for row in await uow.execute(READ_LAST_EDITORS, {**values, "commands": commands}):
            subjects[row.record_id].last_editor = row.actor_id


def decision_on(uow: UnitOfWork, entity: EntityDef, step: TransitionDef) -> Decision | None:
    """By which grants the actor may take the step on some record: those of its roles, or of who may update."""
    policy = uow.resources.policy
    if not step.roles:
        return decide(policy, uow.registry, uow.actor, "update", entity.name)
    decision = decide(policy, uow.registry, uow.actor, f"transition:{step.name}", entity.name)
    if decision is None or decision.is_system:
        return decision
    wanted = frozenset(step.roles)
    grants = tuple(grant for grant in decision.grants if policy.acts_as(grant.role) & wanted)
    return Decision(grants, decision.allowed_by) if grants else None


async def allowed_steps(
    uow: UnitOfWork, subjects: Mapping[UUID, Subject], steps: Sequence[TransitionDef]
) -> dict[UUID, dict[str, bool]]:
    """Record -> step -> whether the actor's grants reach the record for it; at most one statement."""
    entity = next(iter(subjects.values())).entity
    table, viewer = uow.table(entity.name), viewer_of(uow)
    everywhere: dict[str, bool] = {}
    conditions = {}
    for step in {step.name: step for step in steps}.values():
        decision = decision_on(uow, entity, step)
        if decision is None:
            everywhere[step.name] = False
            continue
        action = f"transition:{step.name}" if step.roles else "update"
        condition = condition_of(viewer, action, entity, decision, table)
        if condition is None:
            everywhere[step.name] = True
        else:
            conditions[step.name] = condition
    result = {id_: dict(everywhere) for id_ in subjects}
    if conditions:
        columns = [condition.label(f"may_{name}") for name, condition in conditions.items()]
        rows = await uow.execute(select(table.c.id, *columns).where(table.c.id.in_(list(subjects))))
        for row in rows.mappings():
            result[row["id"]] |= {name: bool(row[f"may_{name}"]) for name in conditions}
    return result
