"""Notices about records of any entity: the effect `notify` of a lifecycle's step."""

from sqlalchemy import Text, Uuid, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.uow import UnitOfWork
from app.domain.access.policy import AccessPolicy
from app.domain.access.policy_files import PLATFORM
from app.domain.lifecycles.events import RecordNoticeWanted
from app.domain.notify.mail import MailState, mail_transport
from app.domain.notify.notices import MAIL_ATTEMPTS, SEND_MAIL
from app.domain.notify.rules import Kind

# Holders of the roles whose grant covers the node of the record, where it has one; and the users who were named.
_GIVE = text("""
WITH people AS (
    SELECT g.user_id
    FROM role o JOIN role_grant g ON g.role_id = o.id AND g.revoked_at IS NULL AND g.valid_from <= :now
         AND (g.valid_until IS NULL OR g.valid_until > :now)
    JOIN application a ON a.id = g.application_id AND a.active
         AND (CAST(:application AS text) IS NULL OR a.code = :application
              OR (a.code = :platform AND o.code = ANY (:wide)))
    LEFT JOIN hierarchy_node within ON within.id = g.node_id
    LEFT JOIN hierarchy_node place ON place.id = CAST(:node_id AS uuid)
    WHERE o.code = ANY (:roles) AND (g.node_id IS NULL OR place.id IS NULL OR place.path <@ within.path)
    UNION SELECT unnest(:user_ids)
), notified AS (
    INSERT INTO notification (id, row_version, created_at, created_by, updated_at, updated_by, user_id, kind, title,
                              body, link, record_entity, record_id, at, dedup_key)
    SELECT uuidv7(), 1, :now, :by, :now, :by, u.id, :kind, :title, :body, :link, :entity, :record_id, :now, :key
    FROM people p JOIN app_user u ON u.id = p.user_id AND u.active AND u.deleted_at IS NULL
         AND u.account_kind = 'person'
    ON CONFLICT (user_id, dedup_key) DO NOTHING
    RETURNING user_id, dedup_key
), mailed AS (
    INSERT INTO mail_message (id, row_version, created_at, created_by, updated_at, updated_by, recipient, subject,
                              text_body, state, attempts, dedup_key)
    SELECT uuidv7(), 1, :now, :by, :now, :by, u.email, :title,
           concat(CAST(:title AS text), E'\\n\\n', CAST(:body AS text), E'\\n\\n', CAST(:address AS text),
                  CAST(:link AS text), E'\\n'), :mail_state, 0, :key
    FROM notified d JOIN app_user u ON u.id = d.user_id
    ON CONFLICT (recipient, dedup_key) DO NOTHING
    RETURNING id
)
SELECT ARRAY(SELECT user_id FROM notified) AS users, ARRAY(SELECT id FROM mailed) AS mails
""").bindparams(
    bindparam("roles", type_=ARRAY(Text)),
    bindparam("wide", type_=ARRAY(Text)),
    bindparam("user_ids", type_=ARRAY(Uuid)),
)


async def on_record_notice_wanted(uow: UnitOfWork, event: RecordNoticeWanted) -> None:
    """Notify, and mail, whom the effect names; each once for this step of the record."""
    policy: AccessPolicy = uow.resources.policy
    transport = mail_transport(uow)
    sends = transport.sends and not uow.simulated
    entity = uow.registry.entity(event.entity)
    values = {
        "now": uow.now,
        "by": uow.actor.id,
        "application": entity.application,
        "platform": PLATFORM,
        "wide": [role.code for role in policy.roles if policy.reaches(role.code)],
        "roles": list(event.roles),
        "user_ids": list(event.user_ids),
        "node_id": await _node_of(uow, event),
        "kind": Kind.SYSTEM.value,
        "title": " ".join(event.subject.split())[:300],
        "body": event.text,
        "link": f"/records/{entity.slug}/{event.record_id}",
        "entity": event.entity,
        "record_id": event.record_id,
        "key": f"step:{event.record_id}:{event.at.isoformat()}:{event.subject}"[:300],
        "address": transport.address,
        "mail_state": (MailState.QUEUED if sends else MailState.KEPT).value,
    }
    given = (await uow.execute(_GIVE, values)).one()
    uow.touch(*(f"user:{user_id}" for user_id in given.users))
    for mail_id in given.mails if sends else ():
        uow.enqueue(SEND_MAIL, {"mail_id": mail_id}, max_attempts=MAIL_ATTEMPTS)


async def _node_of(uow: UnitOfWork, event: RecordNoticeWanted) -> object:
    """The node of the record, where the record itself names it."""
    entity, table = uow.registry.entity(event.entity), uow.table(event.entity)
    if not entity.scope_field or not entity.has_field(entity.scope_field):
        return None
    column = table.c[entity.field(entity.scope_field).column]
    return await uow.scalar(select(column).where(table.c.id == event.record_id))
