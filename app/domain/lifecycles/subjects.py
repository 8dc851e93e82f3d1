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
    authorize(uow, "read", entity_name)
    entity = uow.registry.entity(entity_name)
    if not entity.lifecycle or entity.managed:
        raise Conflict(f"{entity.label_plural} take no steps of a lifecycle by this way.")
    table = uow.table(entity_name)
    wanted = scope(select(table).where(table.c.id.in_(list(ids))), uow, "read", entity_name).order_by(table.c.id)
    rows = (await uow.execute(wanted.with_for_update(of=table) if lock else wanted)).mappings().all()
    if len(rows) != len(set(ids)):
        raise NotFound(f"There is no such {entity.label.lower()}, or you may not see it.")
    codec = codec_of(uow.registry, entity_name)
    found: dict[UUID, Subject] = {}
    for row in rows:
        record = codec.record(row)
        title = str(record.get(entity.title_field) or entity.label)
        if record.get("lifecycle_version") is None:
            raise Conflict(f"“{title}” follows no lifecycle, so it takes no steps.")
        lifecycle = await version_of(uow, record["lifecycle_version"])
        found[record["id"]] = Subject(lifecycle, entity, record, title)
    return found


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
