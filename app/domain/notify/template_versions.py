"""Templates of messages: a draft is written, shown for a real record, and published; what was published stays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize
from app.domain.access.scope import require_in_scope, scope
from app.domain.notify.messages import mail_html
from app.domain.notify.templates import PARTS, TemplateRefused, Words, check_parts, word
from app.domain.notify.wording import context_of
from models.base import uuid7

TEMPLATE = "notification_template"
VERSION = "notification_template_version"


@dataclass(frozen=True, slots=True)
class Preview:
    """What a version makes of a record. `problem`: why it makes nothing of it."""

    words: Words | None
    html: str
    problem: str = ""


async def save_draft(uow: UnitOfWork, *, template_id: UUID, given: Mapping[str, str]) -> UUID:
    """Write the template's draft, the first or the one there is; return its id.

    Raises:
        ValidationFailed: a part cannot be read, names what is not there, or would not be shown.
        NotFound: there is no such template.
    """
    decision = authorize(uow, "update", TEMPLATE)
    template = await _template(uow, template_id)
    parts = {name: (given.get(name) or "").strip() or None for name in PARTS}
    check_parts(parts, await sample_of(uow, template["entity"]))
    table = uow.table(VERSION)
    draft = await uow.scalar(
        select(table.c.id).where(table.c.template_id == template_id, table.c.state == "draft").with_for_update()
    )
    stamp = {"updated_at": uow.now, "updated_by": uow.actor.id}
    if draft is None:
        latest = await uow.scalar(select(func.max(table.c.number)).where(table.c.template_id == template_id))
        draft = uuid7()
        values = {"id": draft, "template_id": template_id, "number": (latest or 0) + 1, "state": "draft", **parts}
        created = {"row_version": 1, "created_at": uow.now, "created_by": uow.actor.id}
        await uow.execute(insert(table).values(**values, **created, **stamp))
    else:
        changed = {**parts, "row_version": table.c.row_version + 1, "trouble": None}
        await uow.execute(update(table).where(table.c.id == draft).values(**changed, **stamp))
    _record(uow, decision, "save_draft", template_id, parts)
    return UUID(str(draft))


async def publish_draft(uow: UnitOfWork, *, template_id: UUID) -> int:
    """Use the draft from now on and return its number. Raises Conflict where there is none."""
    decision = authorize(uow, "update", TEMPLATE)
    template = await _template(uow, template_id)
    table = uow.table(VERSION)
    found = select(table).where(table.c.template_id == template_id, table.c.state == "draft").with_for_update()
    draft = (await uow.execute(found)).mappings().one_or_none()
    if draft is None:
        raise Conflict("There is no draft to publish: save one first.")
    check_parts(dict(draft), await sample_of(uow, template["entity"]))  # the entity may have changed since it was saved
    stamp = {"updated_at": uow.now, "updated_by": uow.actor.id}
    old = (table.c.template_id == template_id) & (table.c.state == "published")
    await uow.execute(update(table).where(old).values(state="retired", **stamp))
    by = None if uow.actor.is_system else uow.actor.id
    published = {"state": "published", "published_at": uow.now, "published_by_id": by, "trouble": None}
    await uow.execute(update(table).where(table.c.id == draft["id"]).values(**published, **stamp))
    _record(uow, decision, "publish", template_id, {"number": draft["number"]})
    return int(draft["number"])


async def discard_draft(uow: UnitOfWork, *, template_id: UUID) -> None:
    """Throw the draft away. Raises Conflict where there is none."""
    decision = authorize(uow, "update", TEMPLATE)
    table = uow.table(VERSION)
    gone = await uow.execute(
        delete(table).where(table.c.template_id == template_id, table.c.state == "draft").returning(table.c.number)
    )
    number = gone.scalar()
    if number is None:
        raise Conflict("There is no draft to discard.")
    _record(uow, decision, "discard", template_id, {"number": number})


async def preview(
    uow: UnitOfWork, *, template_id: UUID, given: Mapping[str, str], record_id: UUID | None = None
) -> Preview:
    """What these words would make of a record, the latest one that the actor may see unless one is named.

    Raises:
        NotFound: there is no such template, or no such record for the actor.
    """
    authorize(uow, "read", TEMPLATE)
    template = await _template(uow, template_id)
    entity = template["entity"]
    if record_id is not None:
        await require_in_scope(uow, "read", entity, record_id)
    else:
        record_id = await latest_record(uow, entity)
    label = uow.registry.entity(entity).label
    if record_id is None:
        return Preview(None, "", f"There is no {label.lower()} that you may see to show it with.")
    context = {
        **await context_of(uow, entity, record_id),
        "event": "example",
        "title": f"Ready for you: {label}",
        "text": "The words of the product for this message.",
        "link": "https://steps.example/",
        "recipient": {"name": uow.actor.name, "email": uow.actor.email or ""},
    }
    parts = {name: (given.get(name) or "").strip() or None for name in PARTS}
    try:
        check_parts(parts, context)
        words = word(parts, context)
    except (ValidationFailed, TemplateRefused) as error:
        return Preview(None, "", getattr(error, "detail", str(error)))
    subject = words.subject or context["title"]
    return Preview(words, words.html_body or mail_html(subject, words.text_body or context["text"]))


async def latest_record(uow: UnitOfWork, entity: str) -> UUID | None:
    """The record that was created last, of those that the actor may see."""
    table = uow.table(entity)
    statement = scope(select(table.c.id), uow, "read", entity, table)
    found: UUID | None = await uow.scalar(statement.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(1))
    return found


async def sample_of(uow: UnitOfWork, entity: str) -> dict[str, Any]:
    """What a template is tried with when it is saved: a record with every field, and nothing in most of them."""
    if entity not in uow.registry.entities:
        raise ValidationFailed([FieldProblem("entity", f"There is no entity {entity!r}.")])
    # An id that no record has: the fields are there, and each is empty.
    return {**await context_of(uow, entity, uuid7()), **await _run_of(uow, entity)}


async def _run_of(uow: UnitOfWork, entity: str) -> dict[str, Any]:
    if entity != "process_run":
        return {}
    return {"run": (await context_of(uow, "workflow_run", uuid7()))["run"]}


async def _template(uow: UnitOfWork, template_id: UUID) -> Mapping[Any, Any]:
    table = uow.table(TEMPLATE)
    row = (await uow.execute(select(table).where(table.c.id == template_id).with_for_update(key_share=True))).mappings()
    template = row.one_or_none()
    if template is None:
        raise NotFound("There is no such template.")
    return template


def _record(uow: UnitOfWork, decision: Decision, name: str, template_id: UUID, after: Mapping[str, Any]) -> None:
    uow.audit(
        AuditEntry(
            command=f"{TEMPLATE}.{name}",
            entity=TEMPLATE,
            record_id=template_id,
            after=after,
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    uow.touch(f"{TEMPLATE}:{template_id}", f"entity:{VERSION}")
