"""Take steps: one record or thousands by the same code. Lock, decide in pure Python, write in one statement, tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from app.core.audit import AuditEntry
from app.core.errors import (
    FieldProblem,
    Forbidden,
    NotFound,
    StaleVersion,
    StepsError,
    TransitionRefused,
    ValidationFailed,
)
from app.core.filters import Variables
from app.core.uow import UnitOfWork
from app.domain.access.decisions import SYSTEM
from app.domain.entities.queries import variables
from app.domain.entities.service import update_record
from app.domain.lifecycles import effects
from app.domain.lifecycles.asking import Asking, asking_for, people_of
from app.domain.lifecycles.decisions import (
    Acting,
    Approval,
    Guard,
    Refusal,
    Subject,
    approvals_for,
    missing_approvals,
)
from app.domain.lifecycles.events import RecordTransitioned
from app.domain.lifecycles.rulings import keep_rulings
from app.domain.lifecycles.subjects import allowed_steps, decision_on, lock_subjects, read_people
from app.domain.lifecycles.writing import Signature, Step, write
from models.lifecycle import TransitionDef

MAX_COMMENT = 4_000


@dataclass(frozen=True, slots=True)
class StepCommand:
    """A step that is asked for. `name` or `activity`; `at`: when, in a replay (else the unit of work's now)."""

    record_id: UUID
    name: str = ""
    activity: str = ""
    comment: str | None = None
    expected_version: int | None = None
    at: datetime | None = None
    source: str | None = None
    source_index: int | None = None
    performer: str | None = None  # who did it, as the log of a replay names them


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What became of a command. `refusal` None: done, or (`waiting_for` > 0) approved and waiting for more people."""

    record_id: UUID
    name: str
    from_state: str
    to_state: str
    row_version: int
    waiting_for: int = 0
    refusal: Refusal | None = None
    label: str = ""  # of the step
    to_label: str = ""


@dataclass(slots=True)
class _Work:
    """What the commands have come to so far."""

    steps: list[Step] = field(default_factory=list)
    signatures: list[Signature] = field(default_factory=list)
    later: effects.Later = field(default_factory=effects.Later)
    fields: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    moved: set[UUID] = field(default_factory=set)


async def transition_record(
    uow: UnitOfWork,
    *,
    entity: str,
    record_id: UUID,
    name: str,
    expected_version: int | None,
    comment: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> StepOutcome:
    """Take one step of one record. `values`: fields the step requires, written with it.

    Raises:
        Forbidden, NotFound: the record or the step is not for the actor.
        StaleVersion: the record has changed since it was read.
        ValidationFailed: a comment or a required field is missing.
        TransitionRefused: a rule refuses; `context` says which, and what would satisfy it.
    """
    if values:
        expected_version = await _write_required(
            uow, entity, record_id, name=name, values=values, expected_version=expected_version
        )
    command = StepCommand(record_id, name, comment=read_comment(comment), expected_version=expected_version)
    outcome = (await transition_records(uow, entity=entity, commands=[command]))[0]
    if outcome.refusal is not None:
        raise error_of(outcome.refusal, outcome.from_state)
    return outcome


async def transition_records(uow: UnitOfWork, *, entity: str, commands: Sequence[StepCommand]) -> list[StepOutcome]:
    """Take many steps with a fixed number of statements; several of one record follow each other in their order.

    A step that is refused leaves its record as it is and holds back nothing else; the outcome says why.

    Raises:
        Forbidden, NotFound, Conflict: a record that the actor may not see, or without a lifecycle.
        StaleVersion: one of the records has changed since it was read.
    """
    if not commands:
        return []
    subjects = await lock_subjects(uow, entity, {command.record_id for command in commands})
    for command in commands:
        _require_version(subjects[command.record_id], command)
    steps = _steps_named(subjects, commands)
    await read_people(uow, subjects, steps)
    may = None if uow.actor.is_system else await allowed_steps(uow, subjects, steps)
    asking = await asking_for(uow, subjects, steps)
    people, now_variables, work = people_of(uow), variables(uow), _Work()
    outcomes = []
    for command in commands:
        subject = subjects[command.record_id]
        acting = Acting(people, uow.actor.is_system, may[command.record_id] if may is not None else None)
        at = command.at or uow.now
        known = now_variables if command.at is None else replace(now_variables, now=at, today=at.date())
        outcomes.append(_decide(uow, command, subject, acting, at=at, known=known, asking=asking, work=work))
    if work.steps or work.signatures:
        definition = uow.registry.entity(entity)
        await write(uow, definition, work.steps, work.signatures, people=not uow.actor.is_system)
        _tell(uow, entity, work)
        await effects.perform(uow, work.later, now_variables)
    await keep_rulings(uow, asking.rulings)
    return outcomes


def _decide(
    uow: UnitOfWork,
    command: StepCommand,
    subject: Subject,
    acting: Acting,
    *,
    at: datetime,
    known: Variables,
    asking: Asking,
    work: _Work,
) -> StepOutcome:
    before = subject.state
    step, refusal = _choose(command, subject, acting, known, asking)
    if step is None or refusal is not None:
        name = step.name if step is not None else command.name or command.activity
        return StepOutcome(command.record_id, name, before, before, subject.record["row_version"], refusal=refusal)
    waiting = missing_approvals(step, subject, acting)
    if not acting.is_system and (step.approvals.count > 1 or step.approvals.distinct_from):
        work.signatures.append(Signature(subject, step, at, command.comment, completes=waiting == 0))
    if waiting:
        me = Approval(step.name, uow.actor.id or UUID(int=0), uow.actor.name, uow.actor.on_behalf_of, done=False)
        subject.approvals.append(me)
        return StepOutcome(
            command.record_id, step.name, before, before, subject.record["row_version"], waiting, label=step.label
        )
    changed = effects.apply_fields(step, subject, known)
    all_changed = work.fields.setdefault(command.record_id, {})
    all_changed |= changed
    others = [{"id": str(a.actor_id), "name": a.actor_name} for a in approvals_for(step, subject)]
    title = subject.title
    subject.record[subject.entity.state_field] = step.to
    if command.record_id not in work.moved:  # several steps of one record are one write
        work.moved.add(command.record_id)
        subject.record["row_version"] += 1
    if subject.lifecycle.states[step.to].category == "draft":
        subject.approvals.clear()
    work.steps.append(
        Step(
            subject=subject,
            step=step,
            from_state=before,
            at=at,
            title=title,
            label=command.activity or step.known_as[0],
            comment=command.comment,
            fields=tuple(all_changed.items()),
            approvers=tuple(others),
            source=command.source,
            source_index=command.source_index,
            performer=command.performer,
        )
    )
    work.later.effects += [(effect, subject, at) for effect in step.effects if effect.kind != "set_field"]
    label, to_label = step.label, subject.lifecycle.label(step.to)
    version = subject.record["row_version"]
    return StepOutcome(command.record_id, step.name, before, step.to, version, label=label, to_label=to_label)


def _choose(
    command: StepCommand, subject: Subject, acting: Acting, known: Variables, asking: Asking
) -> tuple[TransitionDef | None, Refusal | None]:
    """The step that is meant. An activity of a log can stand for several: the first that is possible is taken."""

    def refuses(step: TransitionDef) -> Refusal | None:
        return asking.check(step, subject, acting, known, comment=command.comment)

    if command.name:
        step = subject.lifecycle.transitions.get(command.name)
        if step is None:
            there = ", ".join(subject.lifecycle.transitions) or "none"
            raise NotFound(f"“{subject.title}” has no step {command.name!r}; its lifecycle has {there}.")
        return step, refuses(step)
    candidates = subject.lifecycle.by_activity.get((subject.state, command.activity), ())
    first: tuple[TransitionDef | None, Refusal | None] = (None, None)
    for step in candidates:
        refusal = refuses(step)
        if refusal is None:
            return step, None
        if first[0] is None:
            first = (step, refusal)
    if first[0] is not None:
        return first
    label = subject.lifecycle.label(subject.state)
    return None, Refusal(Guard.STATE, f"“{label}” has no step {command.activity!r}.")


def _steps_named(subjects: Mapping[UUID, Subject], commands: Sequence[StepCommand]) -> list[TransitionDef]:
    """Every step that one of the commands can mean, each once."""
    found: dict[tuple[UUID, str], TransitionDef] = {}
    for command in commands:
        lifecycle = subjects[command.record_id].lifecycle
        for step in lifecycle.definition.transitions:
            if step.name == command.name or (command.activity and command.activity in step.known_as):
                found[lifecycle.version_id, step.name] = step
    return list(found.values())


def _require_version(subject: Subject, command: StepCommand) -> None:
    version = subject.record["row_version"]
    if command.expected_version is not None and command.expected_version != version:
        raise StaleVersion(
            f"“{subject.title}” has changed since you read it: it is “{subject.lifecycle.label(subject.state)}” now "
            f"(version {version}). Read it again and decide anew.",
            context={"current_version": version, "expected_version": command.expected_version, "state": subject.state},
        )


async def _write_required(
    uow: UnitOfWork,
    entity: str,
    record_id: UUID,
    *,
    name: str,
    values: Mapping[str, Any],
    expected_version: int | None,
) -> int:
    """Write the fields that the step requires, though the state may not let anybody edit the rest of the record."""
    subject = (await lock_subjects(uow, entity, {record_id}))[record_id]
    step = subject.lifecycle.transitions.get(name)
    wanted = set(step.require_fields) if step is not None else set()
    problems = [
        FieldProblem(field, "is not asked for by this step; change the record itself", "read_only")
        for field in values
        if field not in wanted
    ]
    if problems:
        raise ValidationFailed(problems)
    version = subject.record["row_version"] if expected_version is None else expected_version
    written = await update_record(
        uow, entity, record_id, values, expected_version=version, open_fields=frozenset(wanted)
    )
    after: int = written["row_version"]
    return after


def read_comment(comment: str | None) -> str | None:
    """The comment without blanks around it, None for an empty one. Raises ValidationFailed for one that is too long."""
    comment = (comment or "").strip() or None
    if comment is not None and len(comment) > MAX_COMMENT:
        raise ValidationFailed([FieldProblem("comment", f"At most {MAX_COMMENT} characters.", "too_long")])
    return comment


def error_of(refusal: Refusal, state: str) -> StepsError:
    """The error a single command is answered with."""
    if refusal.guard in (Guard.COMMENT, Guard.FIELDS):
        return ValidationFailed([FieldProblem(name, refusal.satisfy, "required") for name in refusal.fields])
    if refusal.forbidden:
        return Forbidden(refusal.detail, context={"guard": refusal.guard.value, "satisfy": refusal.satisfy})
    context = {"state": state}
    return TransitionRefused(refusal.detail, guard=refusal.guard.value, satisfy=refusal.satisfy, context=context)


def _tell(uow: UnitOfWork, entity: str, work: _Work) -> None:
    definition = uow.registry.entity(entity)
    for step in work.steps:
        record_id = step.subject.record["id"]
        uow.emit(
            RecordTransitioned(
                at=step.at,
                entity=entity,
                record_id=record_id,
                name=step.step.name,
                from_state=step.from_state,
                to_state=step.step.to,
            )
        )
        uow.audit(_entry(uow, step, definition.state_field))
    for signature in work.signatures:
        if not signature.completes:
            uow.audit(_signature_entry(uow, signature))
    subjects = [step.subject for step in work.steps] + [signature.subject for signature in work.signatures]
    uow.touch(f"entity:{entity}", *dict.fromkeys(f"{entity}:{subject.record['id']}" for subject in subjects))


def _entry(uow: UnitOfWork, step: Step, state_field: str) -> AuditEntry:
    decision = None if uow.actor.is_system else decision_on(uow, step.subject.entity, step.step)
    return AuditEntry(
        command=f"transition:{step.step.name}",
        entity=step.subject.entity.name,
        record_id=step.subject.record["id"],
        before={state_field: step.from_state},
        after={state_field: step.step.to, **dict(step.fields)},
        reason=step.comment,
        context={"lifecycle": step.subject.lifecycle.definition.code, "version": step.subject.lifecycle.number},
        allowed_by=SYSTEM if decision is None else decision.allowed_by,
        grant_id=None if decision is None else decision.grant_id,
        at=step.at,
    )


def _signature_entry(uow: UnitOfWork, signature: Signature) -> AuditEntry:
    decision = decision_on(uow, signature.subject.entity, signature.step)
    return AuditEntry(
        command=f"approve:{signature.step.name}",
        entity=signature.subject.entity.name,
        record_id=signature.subject.record["id"],
        reason=signature.comment,
        context={"needed": signature.step.approvals.count},
        allowed_by=decision.allowed_by if decision is not None else None,
        grant_id=decision.grant_id if decision is not None else None,
    )
