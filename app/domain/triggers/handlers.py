"""What triggers hear, inside the transaction in which it happens: records, runs, schedules; and changes of triggers."""

import secrets
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from app.core.errors import FieldProblem, ValidationFailed
from app.core.events import RecordCreated, RecordDeleted, RecordUpdated
from app.core.filters import FilterError, parse, to_sql
from app.core.uow import UnitOfWork
from app.domain.entities.codec import codec_of
from app.domain.entities.queries import variables
from app.domain.schedules.events import RunScheduled
from app.domain.triggers.definitions import (
    DateRule,
    FileSource,
    Trigger,
    TriggerKind,
    name_pattern,
    placeholders,
    trigger_of,
)
from app.domain.triggers.firing import set_off
from app.domain.triggers.index import TOPIC, triggers_in_force
from app.domain.triggers.signature import SHORTEST_SECRET, key_of
from app.domain.workflow.events import RunCreated, RunFinished, RunStateChanged
from models.schema import EntityDef, EntityKind, FieldType

TRIGGER = "event_trigger"
FILE = "file"
RUN = "workflow_run"


async def on_record_written(uow: UnitOfWork, event: RecordCreated | RecordUpdated) -> None:
    """Set off what waits for a record of this kind. Without such a trigger it costs a look into a dictionary."""
    if event.entity == TRIGGER:
        await _check(uow, event.record_id)
    index = triggers_in_force(uow)
    if index is None:
        return
    created = isinstance(event, RecordCreated)
    for trigger in index.of("event", event.entity):
        if trigger.change == "saved" or (trigger.change == "created") is created:
            await _about_record(uow, trigger, event.entity, event.record_id)
    if event.entity == FILE:
        for trigger in index.of("file", FileSource.DOCUMENT):
            await _about_record(uow, trigger, FILE, event.record_id)


async def on_trigger_deleted(uow: UnitOfWork, event: RecordDeleted) -> None:
    if event.entity == TRIGGER:
        uow.touch(TOPIC)


async def on_run_created(uow: UnitOfWork, event: RunCreated) -> None:
    await _about_run(uow, event.run_id, "active")


async def on_run_finished(uow: UnitOfWork, event: RunFinished) -> None:
    await _about_run(uow, event.run_id, "done")


async def on_run_state_changed(uow: UnitOfWork, event: RunStateChanged) -> None:
    if event.to_state in ("on_hold", "cancelled"):
        await _about_run(uow, event.run_id, event.to_state)


async def on_run_scheduled(uow: UnitOfWork, event: RunScheduled) -> None:
    index = triggers_in_force(uow)
    for trigger in index.of("schedule", event.schedule_id) if index is not None else ():
        record = await _matching(uow, trigger, RUN, event.run_id)
        if record is not None:
            delivery = f"schedule:{event.schedule_id}:{event.run_id}"
            await set_off(uow, trigger, delivery=delivery, values=record, source_run=event.run_id)


async def _about_run(uow: UnitOfWork, run_id: UUID, state: str) -> None:
    index = triggers_in_force(uow)
    if index is None or not any(key[0] == "run_state" for key in index.by_key):
        return
    runs = uow.table(RUN)
    workflow_id = await uow.scalar(select(runs.c.workflow_id).where(runs.c.id == run_id))
    for trigger in index.of("run_state", (workflow_id, state)):
        record = await _matching(uow, trigger, RUN, run_id)
        if record is not None:
            delivery = f"run:{run_id}:{state}:{uow.now.isoformat()}"
            await set_off(uow, trigger, delivery=delivery, values=record, source_run=run_id)


async def _about_record(uow: UnitOfWork, trigger: Trigger, entity: str, record_id: UUID) -> None:
    record = await _matching(uow, trigger, entity, record_id)
    if record is None:
        return
    if trigger.kind is TriggerKind.FILE:
        match = name_pattern(trigger.file_name).fullmatch(record["name"])
        if match is None:
            return
        record = {**record, **match.groupdict()}
    delivery = f"{entity}:{record_id}:{record['row_version']}"
    await set_off(uow, trigger, delivery=delivery, values=record)


async def _matching(uow: UnitOfWork, trigger: Trigger, entity: str, record_id: UUID) -> dict[str, Any] | None:
    """The record, where the condition holds for it now; decided in SQL, through references too."""
    table = uow.table(entity)
    statement = select(table).where(table.c.id == record_id)
    if trigger.condition:
        node = parse(trigger.condition, uow.registry.entity(entity), uow.registry)
        statement = statement.where(to_sql(node, uow.registry, variables(uow)))
    row = (await uow.execute(statement)).mappings().first()
    return None if row is None else codec_of(uow.registry, entity).record(row)


# -- a trigger is entered or changed -----------------------------------------------------------------------------------


async def _check(uow: UnitOfWork, trigger_id: UUID) -> None:
    """Refuse a trigger that could never work; give a call from outside its address.

    Raises:
        ValidationFailed: with the field and what to write instead.
    """
    table = uow.table(TRIGGER)
    row = (await uow.execute(select(table).where(table.c.id == trigger_id))).mappings().one()
    trigger = trigger_of(dict(row))
    subject = _subject(uow, trigger)
    if trigger.kind is TriggerKind.FILE:
        name_pattern(trigger.file_name)
    if trigger.condition:
        try:
            node = parse(trigger.condition, subject, uow.registry)
            if trigger.subject is not None:
                to_sql(node, uow.registry, variables(uow))
        except FilterError as error:
            raise ValidationFailed([FieldProblem("condition", str(error))]) from None
    _check_fields(trigger, subject)
    if trigger.kind is TriggerKind.WEBHOOK:
        _check_secret(uow, row["secret"])
        if row["token"] is None:
            token = secrets.token_urlsafe(24)
            await uow.execute(update(table).where(table.c.id == trigger_id).values(token=token))
    uow.touch(TOPIC)


def _subject(uow: UnitOfWork, trigger: Trigger) -> EntityDef:
    if trigger.subject is None:
        return trigger.payload_entity
    found = uow.registry.entities.get(trigger.subject)
    if found is None or found.kind is EntityKind.CHILD or found.name in (TRIGGER, "trigger_firing"):
        raise _refused("entity", f"There is no entity {trigger.subject!r} whose records set off a trigger.")
    return found


def _check_fields(trigger: Trigger, subject: EntityDef) -> None:
    """What the business date, the node and the variant are taken from has to be there."""
    names = {field.name for field in subject.fields} | set(placeholders(trigger.file_name))
    wanted = {"node_field": trigger.node_field, "variant_field": trigger.variant_field}
    if trigger.date_rule is DateRule.PAYLOAD:
        wanted["date_field"] = trigger.date_field
    for field, name in wanted.items():
        if name is not None and name not in names:
            raise _refused(field, f"There is no field {name!r}; there are {', '.join(sorted(names)) or 'none'}.")
    if trigger.date_rule is DateRule.PAYLOAD and subject.has_field(trigger.date_field):
        type_ = subject.field(trigger.date_field).type
        if type_ not in (FieldType.DATE, FieldType.DATETIME, FieldType.TEXT):
            raise _refused("date_field", f"{trigger.date_field} is no date.")


def _check_secret(uow: UnitOfWork, stored: bytes | None) -> None:
    box = uow.resources.services.get("secret_box")
    if stored is None or box is None:
        raise _refused("secret", "A call from outside needs a secret, and the platform its secret key.")
    try:
        key = key_of(box.decrypt(stored))
    except ValueError as error:
        raise _refused("secret", str(error).capitalize()) from None
    if len(key) < SHORTEST_SECRET:
        raise _refused("secret", f"At least {SHORTEST_SECRET} characters.")


def _refused(field: str, message: str) -> ValidationFailed:
    return ValidationFailed([FieldProblem(field, message)])
