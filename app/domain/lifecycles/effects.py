"""What a step does beside changing the state: fields of the record now, everything else once the step is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from app.core.errors import StepsError, TransitionRefused
from app.core.filters import Variables
from app.core.uow import UnitOfWork
from app.domain.entities.service import create_record
from app.domain.lifecycles.decisions import Subject
from app.domain.lifecycles.events import RecordEventEmitted, RecordNoticeWanted, RunWanted
from app.domain.lifecycles.recipients import people_among, role_names
from models.fieldtypes import FIELD_TYPES
from models.lifecycle import Effect, TransitionDef
from models.schema import FieldType

RECORD = "$record."


@dataclass(slots=True)
class Later:
    """Effects of steps that have been decided, in their order, for after the write."""

    effects: list[tuple[Effect, Subject, datetime]] = field(default_factory=list)


def apply_fields(step: TransitionDef, subject: Subject, variables: Variables) -> dict[str, Any]:
    """Set the fields of the record in memory; returns what changed, for the write and the trail."""
    changed: dict[str, Any] = {}
    for effect in step.effects:
        if effect.kind == "set_field" and effect.field is not None:
            definition = subject.entity.field(effect.field)
            value = value_of(effect.value, subject.record, variables)
            if isinstance(value, str | int | float | bool | list | dict) and not _is_variable(effect.value):
                value = FIELD_TYPES[definition.type].parse(definition, value)
            elif definition.type is FieldType.DATE and isinstance(value, datetime):
                value = value.date()
            if subject.record.get(effect.field) != value:
                changed[effect.field] = value
    subject.record |= changed
    return changed


def value_of(value: Any, record: Mapping[str, Any], variables: Variables) -> Any:
    """A plain value, what a variable stands for, or `$record.<field>`."""
    if not _is_variable(value):
        return value
    if value.startswith(RECORD):
        return record.get(value.removeprefix(RECORD))
    known = {"$now": variables.now, "$today": variables.today, "$business_date": variables.business_date}
    return known.get(value, variables.me if value == "$me" else value)


def _is_variable(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("$")


async def perform(uow: UnitOfWork, later: Later, variables: Variables) -> None:
    """Do what was left for after the write; the platform does it, whoever took the step."""
    for effect, subject, at in later.effects:
        match effect.kind:
            case "emit":
                uow.emit(RecordEventEmitted(at=at, entity=subject.entity.name, record_id=subject.record["id"],
                                            name=effect.event or ""))  # fmt: skip
            case "notify":
                uow.emit(_notice(effect, subject, at, uow.actor.id))
            case "create_record":
                await _create(uow, effect, subject, variables)
            case "start_run":
                uow.emit(_run(effect, subject, at, variables))


def _notice(effect: Effect, subject: Subject, at: datetime, actor_id: UUID | None) -> RecordNoticeWanted:
    words = {"title": subject.title, "state": subject.lifecycle.label(subject.state), "entity": subject.entity.label}
    return RecordNoticeWanted(
        at=at,
        entity=subject.entity.name,
        record_id=subject.record["id"],
        title=subject.title,
        roles=role_names(effect.to, subject.entity),
        user_ids=people_among(effect.to, subject.entity, subject.record, actor_id=actor_id),
        subject=_filled(effect.subject or "", words),
        text=_filled(effect.text or "", words),
    )


def _filled(template: str, words: Mapping[str, str]) -> str:
    """`{title}`, `{state}` and `{entity}`; any other brace stays as it is."""
    for name, value in words.items():
        template = template.replace(f"{{{name}}}", value)
    return template


async def _create(uow: UnitOfWork, effect: Effect, subject: Subject, variables: Variables) -> None:
    given = {name: _plain(value_of(value, subject.record, variables)) for name, value in effect.values.items()}
    label = uow.registry.entity(effect.entity or "").label
    try:
        with uow.by_platform():
            await create_record(uow, effect.entity or "", given)
    except StepsError as error:
        raise TransitionRefused(
            f"The step on “{subject.title}” is to create a {label.lower()}, and that is not possible: {error.detail}",
            guard="effect",
            satisfy="Correct the record, or the effect in the lifecycle.",
        ) from error


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else str(value) if isinstance(value, UUID) else value


def _run(effect: Effect, subject: Subject, at: datetime, variables: Variables) -> RunWanted:
    day = value_of(effect.business_date, subject.record, variables)
    if isinstance(day, str):
        day = subject.record.get(day)
    if isinstance(day, datetime):
        day = day.date()
    if not isinstance(day, date):
        day = variables.business_date or at.date()
    return RunWanted(
        at=at,
        entity=subject.entity.name,
        record_id=subject.record["id"],
        workflow=effect.workflow or "",
        business_date=day,
        values={name: _plain(value_of(value, subject.record, variables)) for name, value in effect.values.items()},
    )
