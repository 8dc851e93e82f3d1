"""Messages in the words of templates. A template that cannot be filled in never holds a message up: the product's own
words, which every message has from the start, stay, and the version says what was wrong.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.core.uow import UnitOfWork
from app.domain.entities.codec import codec_of
from app.domain.notify.mail import mail_transport
from app.domain.notify.messages import localise, zone_of
from app.domain.notify.templates import TemplateRefused, word
from models.schema import EntityDef, FieldType

log = logging.getLogger("steps.notify")

PROCESS = "process_run"
RUN = "workflow_run"
LONGEST_VALUE = 10_000
_HIDDEN = (FieldType.SECRET, FieldType.LINES)

_WRITTEN = text("""
SELECT n.id AS notification_id, m.id AS delivery_id, coalesce(n.rule, m.rule) AS rule,
       coalesce(n.record_entity, m.record_entity) AS record_entity, coalesce(n.record_id, m.record_id) AS record_id,
       coalesce(n.title, m.subject) AS title, coalesce(n.body, '') AS body, coalesce(n.link, m.link) AS link,
       u.name, u.email, u.time_zone
FROM (SELECT unnest(CAST(:notifications AS uuid[])) AS notification_id) given
FULL JOIN (SELECT * FROM mail_message WHERE id = ANY (:deliveries)) m ON m.notification_id = given.notification_id
LEFT JOIN notification n ON n.id = given.notification_id
LEFT JOIN app_user u ON u.id = n.user_id
WHERE coalesce(n.rule, m.rule) = ANY (:rules)
""").bindparams(
    bindparam("notifications", type_=ARRAY(Uuid)),
    bindparam("deliveries", type_=ARRAY(Uuid)),
    bindparam("rules", type_=ARRAY(Text)),
)
_PUBLISHED = text("""
SELECT v.id, v.template_id, v.subject, v.text_body, v.html_body, v.in_app_body, t.entity
FROM notification_template_version v JOIN notification_template t ON t.id = v.template_id
WHERE v.template_id = ANY (:ids) AND v.state = 'published'
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))
_WORD = text("""
WITH given AS (
    SELECT * FROM jsonb_to_recordset(:words) AS w (notification_id uuid, delivery_id uuid, subject text,
                                                   text_body text, html_body text, in_app_body text)
), told AS (
    UPDATE notification n
    SET title = coalesce(g.subject, n.title), body = coalesce(g.in_app_body, n.body)
    FROM (SELECT DISTINCT ON (notification_id) * FROM given WHERE notification_id IS NOT NULL) g
    WHERE n.id = g.notification_id
)
UPDATE mail_message m
SET subject = coalesce(g.subject, m.subject), text_body = coalesce(g.text_body, m.text_body), html_body = g.html_body
FROM given g WHERE m.id = g.delivery_id
""").bindparams(bindparam("words", type_=JSONB))
_TROUBLE = text("UPDATE notification_template_version SET trouble = :trouble, updated_at = :now WHERE id = :id")


async def word_by_templates(
    uow: UnitOfWork, given: Any, templates: Mapping[str, UUID], *, default_entity: str | None = None
) -> None:
    """Word what was given by rules that have a template, each for its recipient. Summaries keep the built-in words."""
    if not templates or not (given.notifications or given.deliveries):
        return
    versions = {
        row["template_id"]: dict(row)
        for row in (await uow.execute(_PUBLISHED, {"ids": list(set(templates.values()))})).mappings()
    }
    if not versions:
        return
    rows = (
        (
            await uow.execute(
                _WRITTEN,
                {
                    "notifications": list(given.notifications),
                    "deliveries": list(given.deliveries),
                    "rules": list(templates),
                },
            )
        )
        .mappings()
        .all()
    )
    words: list[dict[str, Any]] = []
    known: dict[tuple[str, UUID], Mapping[str, Any]] = {}
    for row in rows:
        version = versions.get(templates[row["rule"]])
        if version is None or row["record_entity"] != version["entity"]:
            continue
        key = (row["record_entity"], row["record_id"])
        if key not in known:
            known[key] = await context_of(uow, *key)
        made = await _words(uow, version, {**known[key], **_of_recipient(uow, row)})
        if made is not None:
            words.append(
                {"notification_id": _id(row["notification_id"]), "delivery_id": _id(row["delivery_id"]), **made}
            )
    if words:
        await uow.execute(_WORD, {"words": words})


async def _words(uow: UnitOfWork, version: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        made = word(version, context)
    except TemplateRefused as error:
        log.warning("the template version %s cannot be used: %s", version["id"], error)
        await uow.execute(_TROUBLE, {"id": version["id"], "trouble": str(error)[:2_000], "now": uow.now})
        return None
    return {
        "subject": made.subject,
        "text_body": made.text_body,
        "html_body": made.html_body,
        "in_app_body": made.in_app_body,
    }


def _of_recipient(uow: UnitOfWork, row: Mapping[Any, Any]) -> dict[str, Any]:
    zone = zone_of(row["time_zone"])
    return {
        "event": row["rule"],
        "title": row["title"],
        "text": localise(row["body"], zone),
        "link": f"{mail_transport(uow).address}{row['link'] or ''}",
        "now": uow.now.astimezone(zone),
        "recipient": {"name": row["name"] or "", "email": row["email"] or ""},
    }


async def context_of(uow: UnitOfWork, entity_name: str, record_id: UUID) -> dict[str, Any]:
    """What a template is given about a record: `record`, and `process` and `run` where it is or belongs to one."""
    record = await _record(uow, entity_name, record_id)
    context: dict[str, Any] = {
        "record": record, "process": {}, "run": {}, "actor": {"name": uow.actor.name}, "now": uow.now,
        "event": "", "title": "", "text": "", "link": "", "recipient": {"name": "", "email": ""},
    }  # fmt: skip
    if entity_name == PROCESS:
        context["process"] = record
        context["run"] = await _record(uow, RUN, record["run"]) if record.get("run") else {}
    elif entity_name == RUN:
        context["run"] = record
    return context


async def _record(uow: UnitOfWork, entity_name: str, record_id: UUID) -> dict[str, Any]:
    table = uow.table(entity_name)
    row = (await uow.execute(select(table).where(table.c.id == record_id))).mappings().one_or_none()
    entity = uow.registry.entity(entity_name)
    if row is None:
        return dict.fromkeys(_names(entity))
    record = codec_of(uow.registry, entity_name).record(row)
    return {name: _plain(record.get(name)) for name in _names(entity)}


def names_of(uow: UnitOfWork, entity_name: str) -> Sequence[str]:
    """The fields of an entity that a template may name."""
    return _names(uow.registry.entity(entity_name))


def _names(entity: EntityDef) -> Sequence[str]:
    """The fields that a message may carry: what everybody with the record may see, and no secrets."""
    shown = [f.name for f in entity.fields if f.type not in _HIDDEN and f.access_group == "standard"]
    return [*shown, "id"]


def _plain(value: Any) -> Any:
    """Values without methods worth reaching; times and numbers stay what they are, for filters."""
    if isinstance(value, str):
        return value[:LONGEST_VALUE]
    if value is None or isinstance(value, bool | int | float | datetime | date):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)


def _id(value: UUID | None) -> str | None:
    return None if value is None else str(value)
