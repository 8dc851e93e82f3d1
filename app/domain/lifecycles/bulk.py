"""One step for many records that somebody has chosen: each is decided by itself, and each has its own result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from app.core.errors import FieldProblem, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.entities.queries import variables
from app.domain.lifecycles.asking import asking_for, people_of
from app.domain.lifecycles.decisions import Acting, Refusal, Subject, missing_approvals
from app.domain.lifecycles.queries import in_force
from app.domain.lifecycles.subjects import allowed_steps, read_people, visible_subjects
from app.domain.lifecycles.transitions import StepCommand, read_comment, transition_records
from models.lifecycle import TransitionDef

MOST = 10_000


class Result(StrEnum):
    DONE = "done"
    APPROVED = "approved"  # it counts, and the step takes more people
    REFUSED = "refused"
    STALE = "stale"  # somebody changed the record since it was read
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of one record, or would become of it in a dry run. Labels of states, empty where it has none."""

    record_id: UUID
    title: str
    result: Result
    from_state: str = ""
    to_state: str = ""
    row_version: int | None = None
    waiting_for: int = 0
    refusal: Refusal | None = None
    said: str = ""

    @property
    def fits(self) -> bool:
        return self.result in (Result.DONE, Result.APPROVED)


async def step_many(
    uow: UnitOfWork,
    *,
    entity: str,
    name: str,
    record_ids: Sequence[UUID],
    comment: str | None = None,
    versions: Mapping[UUID, int] | None = None,
    dry_run: bool = False,
) -> list[RowResult]:
    """Take the step `name` of each record, or say what would happen; one result a record, in the order given.

    A number of statements that does not grow with the records. An effect that is not possible undoes it all.

    Raises:
        Forbidden: the actor may read no record of the entity. NotFound: no lifecycle of it has the step.
        ValidationFailed: too many records, or too long a comment. TransitionRefused: an effect is not possible.
    """
    ids = list(dict.fromkeys(record_ids))
    if not 1 <= len(ids) <= MOST:
        raise ValidationFailed([FieldProblem("ids", f"Choose from 1 to {MOST:,} records; these are {len(ids):,}.")])
    comment = read_comment(comment)
    subjects, without = await visible_subjects(uow, entity, ids, lock=not dry_run)
    known = any(name in version.transitions for version in in_force(uow, entity))
    if not known and not any(name in subject.lifecycle.transitions for subject in subjects.values()):
        label = uow.registry.entity(entity).label_plural.lower()
        raise NotFound(f"No lifecycle of {label} has a step {name!r}.")
    found = {id_: RowResult(id_, title, Result.REFUSED, said="It follows no lifecycle.")
             for id_, title in without.items()}  # fmt: skip
    for id_, subject in subjects.items():
        said = _unfit(subject, name, (versions or {}).get(id_))
        if said is not None:
            found[id_] = said
    fitting = {id_: subject for id_, subject in subjects.items() if id_ not in found}
    if dry_run:
        found |= await _foreseen(uow, fitting, name, comment)
    else:
        found |= await _taken(uow, entity, fitting, name, comment)
    missing = "There is no such record, or you may not see it."
    return [found.get(id_) or RowResult(id_, "", Result.NOT_FOUND, said=missing) for id_ in ids]


def _unfit(subject: Subject, name: str, expected: int | None) -> RowResult | None:
    id_, version = subject.record["id"], subject.record["row_version"]
    state = subject.lifecycle.label(subject.state)
    if name not in subject.lifecycle.transitions:
        said = f"Version {subject.lifecycle.number} of its lifecycle has no such step."
        return RowResult(id_, subject.title, Result.REFUSED, state, state, version, said=said)
    if expected is not None and expected != version:
        said = f"It has changed since you read it (version {version})."
        return RowResult(id_, subject.title, Result.STALE, state, state, version, said=said)
    return None


async def _foreseen(
    uow: UnitOfWork, subjects: Mapping[UUID, Subject], name: str, comment: str | None
) -> dict[UUID, RowResult]:
    """What would happen, by the decisions that the step itself is taken by; nothing is written."""
    if not subjects:
        return {}
    steps = _steps(subjects, name)
    await read_people(uow, subjects, steps)
    asking = await asking_for(uow, subjects, steps)
    may = None if uow.actor.is_system else await allowed_steps(uow, subjects, steps)
    known, people = variables(uow), people_of(uow)
    found = {}
    for id_, subject in subjects.items():
        acting = Acting(people, uow.actor.is_system, None if may is None else may[id_])
        step = subject.lifecycle.transitions[name]
        refusal = asking.check(step, subject, acting, known, comment=comment)
        waiting = 0 if refusal is not None else missing_approvals(step, subject, acting)
        found[id_] = _row(
            subject, step, refusal, before=subject.state, waiting=waiting, version=subject.record["row_version"]
        )
    return found


async def _taken(
    uow: UnitOfWork, entity: str, subjects: Mapping[UUID, Subject], name: str, comment: str | None
) -> dict[UUID, RowResult]:
    commands = [StepCommand(id_, name, comment=comment) for id_ in subjects]
    outcomes = await transition_records(uow, entity=entity, commands=commands)
    found = {}
    for outcome in outcomes:
        subject = subjects[outcome.record_id]
        step = subject.lifecycle.transitions[name]
        found[outcome.record_id] = _row(
            subject,
            step,
            outcome.refusal,
            before=outcome.from_state,
            waiting=outcome.waiting_for,
            version=outcome.row_version,
        )
    return found


def _row(
    subject: Subject, step: TransitionDef, refusal: Refusal | None, *, before: str, waiting: int, version: int
) -> RowResult:
    label = subject.lifecycle.label
    moved = refusal is None and not waiting
    return RowResult(
        record_id=subject.record["id"],
        title=subject.title,
        result=Result.DONE if moved else Result.REFUSED if refusal is not None else Result.APPROVED,
        from_state=label(before),
        to_state=label(step.to if moved else before),
        row_version=version,
        waiting_for=waiting,
        refusal=refusal,
        said=_said(refusal, waiting),
    )


def _said(refusal: Refusal | None, waiting: int) -> str:
    if refusal is not None:
        return refusal.detail
    return f"Approved; it takes {waiting} more." if waiting else ""


def _steps(subjects: Mapping[UUID, Subject], name: str) -> list[TransitionDef]:
    found = {subject.lifecycle.version_id: subject.lifecycle.transitions[name] for subject in subjects.values()}
    return list(found.values())
