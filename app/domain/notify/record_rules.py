"""Rules about records of any entity: created, changed, taken a step, or with an event of their own; jobs and messages.

Without such a rule an event costs one look into a dictionary.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from app.core.errors import FieldProblem, Forbidden, ValidationFailed
from app.core.events import DeliveryFailed, RecordCreated, RecordDeleted, RecordUpdated
from app.core.filters import FilterError, parse, to_sql
from app.core.uow import UnitOfWork
from app.domain.entities.queries import variables
from app.domain.jobs.events import JobFailed
from app.domain.lifecycles.events import RecordEventEmitted, RecordTransitioned
from app.domain.notify.endpoints import check_endpoint
from app.domain.notify.record_notices import RecordNotice, give_about_record
from app.domain.notify.rule_book import READ, RULES, NotificationRule, rule_of, rules_in_force
from app.domain.notify.rules import Event, Rule
from models.registry import Registry
from models.schema import EntityKind

RULE = "notification_rule"
ENDPOINT = "notification_endpoint"
# Nothing is told about the messages themselves by way of rules on records: it would never end.
_OWN = ("notification", "mail_message", RULE, "notification_recipient", "record_watch")


async def on_record_written(uow: UnitOfWork, event: RecordCreated | RecordUpdated) -> None:
    """Tell of a record that was entered or changed."""
    if event.entity == RULE:
        await _check(uow, event.record_id)
    elif event.entity == ENDPOINT:
        await _check_endpoint(uow, event.record_id)
    elif event.entity == "notification_template":
        await _check_template(uow, event.record_id)
    created = isinstance(event, RecordCreated)
    changed = frozenset() if created else frozenset(getattr(event, "fields", ()))
    for rule in rules_in_force(uow).of(Event.RECORD_CREATED if created else Event.RECORD_CHANGED):
        if rule.entity == event.entity and (created or not rule.changed_fields or rule.changed_fields & changed):
            words = "was created" if created else "was changed"
            await _tell(
                uow,
                rule,
                event.entity,
                event.record_id,
                said=f"It {words} by {uow.actor.name}.",
                occurrence=str(event.at),
            )


async def on_record_deleted(uow: UnitOfWork, event: RecordDeleted) -> None:
    """Keep the rules that come with the product."""
    if event.entity != RULE:
        return
    if event.record_id in rules_in_force(uow).protected:
        raise Forbidden("This rule is part of the product: switch it off instead of deleting it.")
    uow.touch(RULES)


async def on_record_transitioned(uow: UnitOfWork, event: RecordTransitioned) -> None:
    """Tell of a step that a record took."""
    for rule in rules_in_force(uow).of(Event.RECORD_STEP):
        if rule.entity == event.entity and rule.name in (None, "", event.name):
            said = f"{uow.actor.name} took it from {_words(event.from_state)} to {_words(event.to_state)}."
            await _tell(uow, rule, event.entity, event.record_id, said=said, occurrence=f"{event.at}:{event.name}")


async def on_record_event(uow: UnitOfWork, event: RecordEventEmitted) -> None:
    """Tell of an event that a lifecycle has emitted."""
    for rule in rules_in_force(uow).of(Event.RECORD_EVENT):
        if rule.entity == event.entity and rule.name in (None, "", event.name):
            await _tell(
                uow,
                rule,
                event.entity,
                event.record_id,
                said=f"{_words(event.name)}.",
                occurrence=f"{event.at}:{event.name}",
            )


async def on_job_failed(uow: UnitOfWork, event: JobFailed) -> None:
    """Tell of a job whose attempts are used up."""
    for rule in rules_in_force(uow).of(Event.JOB_FAILED):
        await _tell(
            uow, rule, "job_run", event.job_run_id, said="All of its attempts have failed.", occurrence=str(event.at)
        )


async def on_delivery_failed(uow: UnitOfWork, event: DeliveryFailed) -> None:
    """Tell of a message that did not reach somebody; of one that told exactly that, nothing more is said."""
    if event.rule == Event.DELIVERY_FAILED:
        return
    for rule in rules_in_force(uow).of(Event.DELIVERY_FAILED):
        await _tell(uow, rule, "mail_message", event.delivery_id, said=f"{event.error}.", occurrence=str(event.at))


async def _tell(
    uow: UnitOfWork, rule: NotificationRule, entity: str, record_id: UUID, *, said: str, occurrence: str
) -> None:
    definition = uow.registry.entity(entity)
    title = None
    if definition.has_field(definition.title_field):
        table = uow.table(entity)
        column = definition.field(definition.title_field).column
        title = await uow.scalar(select(table.c[column]).where(table.c.id == record_id)) if column in table.c else None
    about = f"{definition.label} {title}" if title is not None else definition.label
    await give_about_record(
        uow,
        rule,
        RecordNotice(
            entity=entity,
            record_id=record_id,
            subject=f"{rule.telling.head}: {about}",
            text=said,
            occurrence=occurrence,
        ),
    )


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


# -- a rule is entered or changed --------------------------------------------------------------------------------------


async def _check(uow: UnitOfWork, rule_id: UUID) -> None:
    """Refuse a rule that could never tell anybody anything."""
    rows = (await uow.execute(READ)).mappings().all()
    row = next(row for row in rows if row["id"] == rule_id)
    rule = rule_of(row)
    problems: list[FieldProblem] = []
    subject = subject_of(rule)
    if subject is None or subject not in uow.registry.entities:
        problems.append(FieldProblem("entity", f"There is no entity {rule.entity!r}; write a name such as trade."))
    elif subject in _OWN and rule.event != Event.DELIVERY_FAILED:
        problems.append(FieldProblem("entity", "Nothing can be told about messages themselves."))
    elif uow.registry.entity(subject).kind is EntityKind.CHILD:
        problems.append(FieldProblem("entity", "Name the record that these lines belong to."))
    else:
        problems += _of_condition(uow, rule, subject)
        problems += _of_fields(uow.registry, rule, subject)
    if row["active"] and not rule.tells_somebody:
        problems.append(FieldProblem("recipients", "Say at least one who is told.", "required"))
    if rule.event not in set(Rule):
        depends = sorted(rule.to & {"waiting", "makers", "owner"})
        if depends:
            problems.append(FieldProblem("recipients", f"{', '.join(depends)}: only work of a run has them."))
    problems += await _of_people(uow, rule)
    if problems:
        raise ValidationFailed(problems)
    uow.touch(RULES)


async def _check_endpoint(uow: UnitOfWork, endpoint_id: UUID) -> None:
    """Refuse an endpoint that could never be called."""
    table, box = uow.table(ENDPOINT), uow.resources.services.get("secret_box")
    row = (await uow.execute(select(table).where(table.c.id == endpoint_id))).mappings().one()
    if box is None:
        raise ValidationFailed([FieldProblem("address", "The platform has no secret key to keep it with.")])
    secret = box.decrypt(row["secret"]) if row["secret"] is not None else None
    check_endpoint(row["kind"], box.decrypt(row["address"]), secret)


async def _check_template(uow: UnitOfWork, template_id: UUID) -> None:
    table = uow.table("notification_template")
    entity = await uow.scalar(select(table.c.entity).where(table.c.id == template_id))
    if entity not in uow.registry.entities or entity in _OWN:
        raise ValidationFailed([FieldProblem("entity", f"There is no entity {entity!r}; write one such as trade.")])


def subject_of(rule: NotificationRule) -> str | None:
    """The entity whose records the rule is about; None where none is named."""
    if rule.event in set(Rule):
        return "process_run"
    match rule.event:
        case Event.JOB_FAILED:
            return "job_run"
        case Event.DELIVERY_FAILED:
            return "mail_message"
        case Event.RECORD_NOTICE if not rule.entity:
            return "process_run"
        case _:
            return rule.entity


def _of_condition(uow: UnitOfWork, rule: NotificationRule, subject: str) -> list[FieldProblem]:
    if not rule.condition:
        return []
    if rule.event == Event.RECORD_NOTICE and not rule.entity:
        return [FieldProblem("entity", "A condition needs the entity that it is about.")]
    try:
        to_sql(parse(rule.condition, uow.registry.entity(subject), uow.registry), uow.registry, variables(uow))
    except FilterError as error:
        return [FieldProblem("condition", str(error))]
    return []


def _of_fields(registry: Registry, rule: NotificationRule, subject: str) -> list[FieldProblem]:
    names = {field.name for field in registry.entity(subject).fields}
    unknown = sorted(rule.changed_fields - names)
    if not unknown:
        return []
    return [FieldProblem("changed_fields", f"There is no field {', '.join(unknown)}.")]


async def _of_people(uow: UnitOfWork, rule: NotificationRule) -> list[FieldProblem]:
    if not rule.roles:
        return []
    roles = uow.table("role")
    known: Sequence[str] = (await uow.execute(select(roles.c.code).where(roles.c.code.in_(rule.roles)))).scalars().all()
    missing = sorted(set(rule.roles) - set(known))
    return [FieldProblem("recipients", f"There is no role {', '.join(missing)}.")] if missing else []
