"""What records of a lifecycle offer to whom, and what was done to them: decided by the same code as the commands."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.core.errors import Conflict
from app.core.uow import UnitOfWork
from app.domain.access.decisions import decide
from app.domain.access.fields import writable_fields
from app.domain.access.scope import require_in_scope
from app.domain.entities.queries import variables
from app.domain.lifecycles.asking import asking_for, people_of
from app.domain.lifecycles.compiled import CompiledLifecycle, lifecycles_of
from app.domain.lifecycles.decisions import (
    Acting,
    Approval,
    Refusal,
    Subject,
    approvals_for,
    missing_approvals,
    missing_fields,
    needs_fields,
)
from app.domain.lifecycles.store import version_of
from app.domain.lifecycles.subjects import allowed_steps, lock_subjects, read_people, steppable, visible_subjects
from models.lifecycle import StateDef, TransitionDef

LOG_LIMIT = 200

# Steps, and the approvals that were not yet enough: each of them is something that somebody did.
READ_LOG = text(
    """
SELECT * FROM (
    SELECT t.id, t.at, t.name, t.label, t.from_state, t.to_state, t.actor_id, t.actor_name, t.on_behalf_of_id,
           b.name AS on_behalf_of, t.comment, t.approvers, t.version_id, true AS taken, false AS ended, t.sequence
    FROM record_transition t LEFT JOIN app_user b ON b.id = t.on_behalf_of_id
    WHERE t.record_entity = :entity AND t.record_id = :id
    UNION ALL
    SELECT a.id, a.at, a.transition, NULL, a.state, a.state, a.actor_id, a.actor_name, a.on_behalf_of_id,
           b.name, a.comment, NULL, a.version_id, false, a.done_at IS NULL AND a.ended_at IS NOT NULL, NULL
    FROM record_approval a LEFT JOIN app_user b ON b.id = a.on_behalf_of_id
    WHERE a.record_entity = :entity AND a.record_id = :id AND a.done_at IS DISTINCT FROM a.at
) log
WHERE CAST(:before AS timestamptz) IS NULL OR (at, id) < (:before, :before_id)
ORDER BY at DESC, id DESC LIMIT :limit
"""
)


@dataclass(frozen=True, slots=True)
class StepOffer:
    """A step that leaves the record's state, for this actor. `refusal` None: they may take it.

    `missing`: fields that they fill in with it; `given`: who has approved it already; `waits_for`: how many more people
    it takes once they have.
    """

    step: TransitionDef
    to: StateDef
    refusal: Refusal | None
    missing: tuple[str, ...]
    given: tuple[Approval, ...]
    waits_for: int

    @property
    def allowed(self) -> bool:
        return self.refusal is None


@dataclass(frozen=True, slots=True)
class RecordSteps:
    """Where a record stands in its lifecycle, and what it offers."""

    record_id: UUID
    title: str
    row_version: int
    lifecycle: CompiledLifecycle
    state: StateDef
    offers: tuple[StepOffer, ...]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One step, or (`taken` False) an approval that was not yet enough; `ended`: it came to nothing."""

    id: UUID
    at: datetime
    name: str
    label: str
    from_state: str
    to_state: str
    from_label: str
    to_label: str
    category: str
    colour: str | None
    actor_id: UUID | None
    actor_name: str
    on_behalf_of: str | None
    comment: str | None
    approvers: tuple[str, ...]
    taken: bool
    ended: bool


async def steps_of(uow: UnitOfWork, *, entity: str, record_id: UUID) -> RecordSteps:
    """The steps of one record. Raises Forbidden, NotFound, and Conflict for a record without a lifecycle."""
    subjects = await lock_subjects(uow, entity, {record_id}, lock=False)
    return (await _offered(uow, subjects))[record_id]


async def steps_of_many(uow: UnitOfWork, *, entity: str, record_ids: Collection[UUID]) -> dict[UUID, RecordSteps]:
    """The same for many, with a number of statements that does not grow with them.

    Those that the actor does not see, and those without a lifecycle, are left out.
    """
    subjects, _ = await visible_subjects(uow, entity, record_ids)
    return await _offered(uow, subjects)


async def _offered(uow: UnitOfWork, subjects: Mapping[UUID, Subject]) -> dict[UUID, RecordSteps]:
    if not subjects:
        return {}
    steps = _leaving(subjects.values())
    await read_people(uow, subjects, steps)
    asking = await asking_for(uow, subjects, steps)
    may = None if uow.actor.is_system else await allowed_steps(uow, subjects, steps)
    known, people = variables(uow), people_of(uow)
    fillable = _fillable(uow, next(iter(subjects.values())))
    found: dict[UUID, RecordSteps] = {}
    for id_, subject in subjects.items():
        lifecycle, acting = subject.lifecycle, Acting(people, uow.actor.is_system, None if may is None else may[id_])
        offers = []
        for step in lifecycle.leaving.get(subject.state, ()):
            refusal = asking.check(step, subject, acting, known, inputs_follow=True)
            missing = missing_fields(step, subject)
            if refusal is None and not set(missing) <= fillable:
                refusal = needs_fields(step, subject)
            offers.append(
                StepOffer(
                    step=step,
                    to=lifecycle.states[step.to],
                    refusal=refusal,
                    missing=missing,
                    given=tuple(approvals_for(step, subject)),
                    waits_for=missing_approvals(step, subject, acting),
                )
            )
        found[id_] = RecordSteps(
            record_id=id_,
            title=subject.title,
            row_version=subject.record["row_version"],
            lifecycle=lifecycle,
            state=state_of(lifecycle, subject.state),
            offers=tuple(offers),
        )
    return found


def _leaving(subjects: Collection[Subject]) -> list[TransitionDef]:
    """Every step that one of the records offers, each once."""
    found: dict[tuple[UUID, str], TransitionDef] = {}
    for subject in subjects:
        for step in subject.lifecycle.leaving.get(subject.state, ()):
            found[subject.lifecycle.version_id, step.name] = step
    return list(found.values())


def _fillable(uow: UnitOfWork, subject: Subject) -> frozenset[str]:
    """The fields that the actor may fill in with a step: those they may write, where they may change records at all."""
    policy, entity = uow.resources.policy, subject.entity
    if decide(policy, uow.registry, uow.actor, "update", entity.name) is None:
        return frozenset()
    return frozenset(field.name for field in writable_fields(policy, uow.actor, entity))


def state_of(lifecycle: CompiledLifecycle, name: str) -> StateDef:
    """The state; one that the version does not have (data from elsewhere) is shown by its name."""
    return lifecycle.states.get(name) or StateDef.model_construct(
        name=name, label=name.replace("_", " ").capitalize(), colour=None, category="active", editable_by=None
    )


async def log_of(
    uow: UnitOfWork, *, entity: str, record_id: UUID, before: tuple[datetime, UUID] | None = None, limit: int = 50
) -> list[LogEntry]:
    """What was done to a record, newest first; read with the record. `before`: `at` and `id` of the last one seen.

    Raises Forbidden, NotFound.
    """
    steppable(uow, entity)
    await require_in_scope(uow, "read", entity, record_id)
    values: dict[str, Any] = {"entity": entity, "id": record_id, "limit": min(limit, LOG_LIMIT)}
    at, id_ = before or (None, None)
    rows = (await uow.execute(READ_LOG, {**values, "before": at, "before_id": id_})).all()
    versions = {version_id: await _version(uow, version_id) for version_id in {row.version_id for row in rows}}
    return [_entry(row, versions[row.version_id]) for row in rows]


async def _version(uow: UnitOfWork, version_id: UUID) -> CompiledLifecycle | None:
    """None for a version that does not fit the entity any more: its log is still there to be read."""
    try:
        return await version_of(uow, version_id)
    except Conflict:
        return None


def _entry(row: Any, lifecycle: CompiledLifecycle | None) -> LogEntry:
    """States are called what they are called in the version in which it happened, where the process knows that."""

    def label(name: str) -> str:
        return state_of(lifecycle, name).label if lifecycle is not None else name.replace("_", " ").capitalize()

    step = lifecycle.transitions.get(row.name) if lifecycle is not None else None
    return LogEntry(
        id=row.id,
        at=row.at,
        name=row.name,
        label=row.label or (step.label if step is not None else row.name.replace("_", " ").capitalize()),
        from_state=row.from_state,
        to_state=row.to_state,
        from_label=label(row.from_state),
        to_label=label(row.to_state),
        category=state_of(lifecycle, row.to_state).category if lifecycle is not None else "active",
        colour=state_of(lifecycle, row.to_state).colour if lifecycle is not None else None,
        actor_id=row.actor_id,
        actor_name=row.actor_name,
        on_behalf_of=row.on_behalf_of,
        comment=row.comment,
        approvers=tuple(str(each["name"]) for each in row.approvers or ()),
        taken=row.taken,
        ended=row.ended,
    )


def in_force(uow: UnitOfWork, entity: str) -> Sequence[CompiledLifecycle]:
    """The lifecycles that new records of the entity can get; none where it has none."""
    return lifecycles_of(uow.resources.services).in_force.get(entity, ())
