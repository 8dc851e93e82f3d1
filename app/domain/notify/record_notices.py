"""Notices about records of any entity: the effect `notify` of a lifecycle's step, and rules about records."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Boolean, DateTime, Text, Uuid, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.core.uow import UnitOfWork
from app.domain.lifecycles.events import RecordNoticeWanted
from app.domain.notify.conditions import matching
from app.domain.notify.giving import after_given, common_values, rule_values
from app.domain.notify.giving_sql import WISHES, WRITE
from app.domain.notify.rule_book import NotificationRule, rules_in_force
from app.domain.notify.rules import LEAD_ROLE, Event
from app.domain.notify.wording import word_by_templates
from models.schema import EntityDef

# Holders of the roles whose grant covers the node of the record, where it has one; the users who were named; groups;
# and who follows the record and still has a role there.
GIVE_ABOUT_RECORD = text(f"""
WITH asked AS MATERIALIZED (
    SELECT 1 AS n, q.* FROM jsonb_to_record(:rule) AS q (code text, filed text, user_ids uuid[], group_ids uuid[],
        endpoint_ids uuid[], watchers boolean, critical boolean, mandatory boolean, channels jsonb)
), covering AS (
    SELECT g.user_id, o.code AS role
    FROM role o JOIN role_grant g ON g.role_id = o.id AND g.revoked_at IS NULL AND g.valid_from <= :now
         AND (g.valid_until IS NULL OR g.valid_until > :now)
    JOIN application a ON a.id = g.application_id AND a.active
         AND (CAST(:application AS text) IS NULL OR a.code = :application
              OR (a.code = :platform AND o.code = ANY (:wide)))
    LEFT JOIN hierarchy_node within ON within.id = g.node_id
    LEFT JOIN hierarchy_node place ON place.id = CAST(:node_id AS uuid)
    WHERE g.node_id IS NULL OR place.id IS NULL OR place.path <@ within.path
), people AS (
    SELECT user_id FROM covering WHERE role = ANY (:roles)
    UNION SELECT unnest(user_ids) FROM asked
    UNION SELECT m.user_id FROM asked JOIN user_group_member m ON m.parent_id = ANY (group_ids)
    UNION SELECT w.user_id FROM asked JOIN record_watch w ON w.record_entity = :entity AND w.record_id = :record_id
          WHERE asked.watchers AND w.user_id IN (SELECT user_id FROM covering)
), targets AS (
    SELECT user_id, CAST(NULL AS uuid) AS endpoint_id FROM people
    UNION ALL SELECT NULL, e.id FROM asked CROSS JOIN LATERAL unnest(endpoint_ids) AS e (id)
), given AS (
    SELECT a.n, a.code, a.filed, u.id AS user_id, t.endpoint_id, u.email, CAST(:title AS text) AS title,
           CAST(:body AS text) AS body, CAST(:key AS text) AS key, CAST(:entity AS text) AS record_entity,
           CAST(:record_id AS uuid) AS record_id, CAST(:link AS text) AS link, w.channels, w.digest,
           (w.quiet OR w.digest <> 'now') AND NOT a.critical AS held
    FROM targets t CROSS JOIN asked a
    LEFT JOIN app_user u ON u.id = t.user_id AND u.active AND u.deleted_at IS NULL AND u.account_kind = 'person'
         AND (:actor_too OR u.id <> :actor)
    {WISHES}
    WHERE (u.id IS NOT NULL OR t.endpoint_id IS NOT NULL) AND w.channels IS NOT NULL
), {WRITE}""").bindparams(
    bindparam("rule", type_=JSONB),
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("roles", type_=ARRAY(Text)),
    bindparam("wide", type_=ARRAY(Text)),
    bindparam("by", type_=Uuid),
    bindparam("actor", type_=Uuid),
    bindparam("actor_too", type_=Boolean),
    bindparam("record_id", type_=Uuid),
    bindparam("mails", type_=Boolean),
    bindparam("calls", type_=Boolean),
)


# Records that people know by a page of their own; every other one is shown by the generated page.
_PAGES = {"process_run": "/processes", "process_query": "/queries", "workflow_run": "/runs", "job_run": "/jobs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordNotice:
    """What is said about a record. `occurrence` tells it from the same at another time."""

    entity: str
    record_id: UUID
    subject: str
    text: str
    occurrence: str
    roles: tuple[str, ...] = ()
    user_ids: tuple[UUID, ...] = ()


async def on_record_notice_wanted(uow: UnitOfWork, event: RecordNoticeWanted) -> None:
    """Notify whom the event names; each once for this step of the record."""
    notice = RecordNotice(
        entity=event.entity,
        record_id=event.record_id,
        subject=event.subject,
        text=event.text,
        occurrence=f"{event.at.isoformat()}:{event.subject}",
        roles=event.roles,
        user_ids=event.user_ids,
    )
    for rule in rules_in_force(uow).of(Event.RECORD_NOTICE):
        if rule.entity in (None, "", event.entity):
            await give_about_record(uow, rule, notice)


async def give_about_record(uow: UnitOfWork, rule: NotificationRule, notice: RecordNotice) -> None:
    """Tell whom the rule names, and whom the notice names where the rule says so, if its condition holds."""
    if rule.condition and not await matching(uow, rule, notice.entity, [notice.record_id]):
        return
    entity = uow.registry.entity(notice.entity)
    named = "named" in rule.to
    people = {**rule_values(rule)}
    people["user_ids"] = [*people["user_ids"], *(str(id_) for id_ in (notice.user_ids if named else ()))]
    roles = [*rule.roles, *(notice.roles if named else ()), *((LEAD_ROLE,) if "lead" in rule.to else ())]
    prefix = "step" if rule.code == Event.RECORD_NOTICE else rule.code
    node_id, application = await place_of(uow, notice.entity, notice.record_id)
    values = {
        **common_values(uow),
        "rule": people,
        "application": application,
        "roles": roles,
        "node_id": node_id,
        "title": " ".join(notice.subject.split())[:300],
        "body": notice.text,
        "link": f"{_PAGES.get(entity.name, f'/data/{entity.slug}')}/{notice.record_id}",
        "entity": notice.entity,
        "record_id": notice.record_id,
        "key": f"{prefix}:{notice.record_id}:{notice.occurrence}"[:300],
        "actor": uow.actor.id,
        "actor_too": rule.telling.actor,
    }
    given = (await uow.execute(GIVE_ABOUT_RECORD, values)).one()
    if rule.template_id is not None:
        await word_by_templates(uow, given, {rule.code: rule.template_id})
    await after_given(uow, given)


async def place_of(uow: UnitOfWork, entity_name: str, record_id: UUID) -> tuple[UUID | None, str | None]:
    """The node where a record lies and the application it belongs to, by itself or by what it refers to.

    A message lies nowhere: it may have been about anything.
    """
    entity = uow.registry.entity(entity_name)
    if entity_name == "mail_message":
        return None, None
    node_id = await _along(uow, entity, record_id, entity.scope_field)
    application = entity.application
    application_id = await _along(uow, entity, record_id, entity.application_field)
    if application_id is not None:
        table = uow.table("application")
        application = await uow.scalar(select(table.c.code).where(table.c.id == application_id))
    return node_id, application


async def _along(uow: UnitOfWork, entity: EntityDef, record_id: UUID | None, path: str | None) -> UUID | None:
    """The id at the end of a path of references, such as `process_run.node`; None where it leads nowhere."""
    for name in path.split(".") if path else ():
        if record_id is None or (name != "id" and not entity.has_field(name)):
            return None
        if name == "id":
            return record_id
        field, table = entity.field(name), uow.table(entity.name)
        record_id = await uow.scalar(select(table.c[field.column]).where(table.c.id == record_id))
        if field.target is not None:
            entity = uow.registry.entity(field.target)
    return record_id if path else None
