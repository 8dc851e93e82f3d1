"""Notices: asked for by handlers, given once at the end of the transaction, to whom the rule names at that moment.

Two statements, however many notices a transaction gives: one finds the recipients, one writes notifications and mails.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy import DateTime, Row, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.core.uow import UnitOfWork
from app.domain.access.policy import AccessPolicy
from app.domain.access.policy_files import PLATFORM
from app.domain.notify.events import NoticesWanted
from app.domain.notify.mail import MailState, mail_transport
from app.domain.notify.messages import Facts, Message, compose, mail_html, mail_text, summarise, zone_of
from app.domain.notify.rules import LEAD_ROLE, TARGETS, Rule

STORM = 10  # more than this of one rule, for one person, in one run, at once: one summary instead
SEND_MAIL = "send_mail"
MAIL_ATTEMPTS = 20  # with doubling pauses of at most an hour: a mail server may be down for half a day


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell about a process. `occurrence` tells it from the same at another time; "" = this version."""

    rule: Rule
    process_run_id: UUID
    occurrence: str = ""


_waiting: WeakKeyDictionary[UnitOfWork, list[Notice]] = WeakKeyDictionary()

_RECIPIENTS = text("""
WITH asked AS (
    SELECT q.n, q.waiting, q.makers AS to_makers, q.lead, p.id, p.process_id, p.run_id, p.label, p.kind, p.state,
           p.application_id, p.node_id, coalesce(p.owner_role, :lead) AS owner_role, p.assignee_id, p.maker_id,
           p.makers, p.signers, p.round, p.level, p.row_version, p.due_at, p.reason
    FROM jsonb_to_recordset(:notices)
         AS q (n int, id uuid, waiting boolean, makers boolean, lead boolean, human boolean)
    JOIN process_run p ON p.id = q.id AND NOT (q.human AND p.kind = 'automatic')
), roles AS (
    SELECT a.n, l.role, true AS decides
    FROM asked a JOIN process_approval_level l ON l.parent_id = a.process_id AND l.level = a.level
    WHERE a.waiting AND a.state = 'in_review'
    UNION ALL
    SELECT n, owner_role, false FROM asked WHERE waiting AND state <> 'in_review' AND assignee_id IS NULL
    UNION ALL
    SELECT n, :lead, false FROM asked WHERE lead
), places AS (
    SELECT DISTINCT a.application_id, a.node_id, r.role FROM roles r JOIN asked a ON a.n = r.n
), holders AS (
    SELECT p.application_id, p.node_id, p.role, g.user_id
    FROM places p
    JOIN role o ON o.code = p.role
    JOIN role_grant g ON g.role_id = o.id AND g.revoked_at IS NULL AND g.valid_from <= :now
         AND (g.valid_until IS NULL OR g.valid_until > :now)
    JOIN application a ON a.id = g.application_id AND a.active
         AND (a.id = p.application_id OR (a.code = :platform AND p.role = ANY(:wide)))
    LEFT JOIN hierarchy_node within ON within.id = g.node_id
    LEFT JOIN hierarchy_node place ON place.id = p.node_id
    WHERE g.node_id IS NULL OR place.path <@ within.path
), people AS (
    SELECT a.n, h.user_id
    FROM roles r
    JOIN asked a ON a.n = r.n
    JOIN holders h ON h.role = r.role AND h.application_id = a.application_id
         AND h.node_id IS NOT DISTINCT FROM a.node_id
    WHERE NOT r.decides OR NOT coalesce(a.makers @> to_jsonb(h.user_id::text), false)
          AND NOT coalesce(a.signers @> to_jsonb(h.user_id::text), false)
    UNION
    SELECT n, assignee_id FROM asked WHERE to_makers OR (waiting AND state <> 'in_review')
    UNION
    SELECT n, maker_id FROM asked WHERE to_makers
    UNION
    SELECT n, m.id::uuid FROM asked CROSS JOIN LATERAL jsonb_array_elements_text(makers) AS m (id)
    WHERE to_makers AND jsonb_typeof(makers) = 'array'
)
SELECT a.n, a.id, a.run_id, a.label, a.state, a.round, a.level, a.row_version, a.due_at, a.reason,
       r.label AS run_label, r.reference, r.business_date, u.id AS user_id, u.email, u.time_zone
FROM people p
JOIN asked a ON a.n = p.n
JOIN workflow_run r ON r.id = a.run_id
JOIN app_user u ON u.id = p.user_id AND u.active AND u.deleted_at IS NULL AND u.account_kind = 'person'
ORDER BY a.n, u.id
""").bindparams(
    bindparam("notices", type_=JSONB),
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("lead", type_=Text),
    bindparam("wide", type_=ARRAY(Text)),
)

# A notification that was given already is not given again, and then there is no mail of it either.
_GIVE = text("""
WITH given AS (
    SELECT * FROM jsonb_to_recordset(:rows) AS g (n int, user_id uuid, kind text, title text, body text, link text,
        record_entity text, record_id uuid, dedup_key text, email text, text_body text, html_body text)
), told AS (
    INSERT INTO notification (id, row_version, created_at, created_by, updated_at, updated_by, user_id, kind, title,
                              body, link, record_entity, record_id, at, dedup_key)
    SELECT uuidv7(), 1, :now, :by, :now, :by, user_id, kind, title, body, link, record_entity, record_id, :now,
           dedup_key
    FROM given ORDER BY n
    ON CONFLICT (user_id, dedup_key) DO NOTHING
    RETURNING user_id, dedup_key
), mailed AS (
    INSERT INTO mail_message (id, row_version, created_at, created_by, updated_at, updated_by, recipient, subject,
                              text_body, html_body, state, attempts, dedup_key)
    SELECT uuidv7(), 1, :now, :by, :now, :by, g.email, g.title, g.text_body, g.html_body, :mail_state, 0, g.dedup_key
    FROM given g JOIN told t ON t.user_id = g.user_id AND t.dedup_key = g.dedup_key
    ORDER BY g.n
    ON CONFLICT (recipient, dedup_key) DO NOTHING
    RETURNING id
)
SELECT ARRAY(SELECT DISTINCT user_id FROM told) AS users, ARRAY(SELECT id FROM mailed) AS mails
""").bindparams(
    bindparam("rows", type_=JSONB),
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("by", type_=Uuid),
    bindparam("mail_state", type_=Text),
)


def want(uow: UnitOfWork, notices: Iterable[Notice]) -> None:
    """Ask for notices; they are given together when the transaction's other handlers have run."""
    waiting = _waiting.setdefault(uow, [])
    if not waiting:
        uow.emit(NoticesWanted(at=uow.now))
    waiting.extend(notices)


async def on_notices_wanted(uow: UnitOfWork, _event: NoticesWanted) -> None:
    """Give every notice that was asked for in this transaction."""
    notices = _waiting.pop(uow, [])
    recipients = await _recipients(uow, notices)
    if not recipients:
        return
    transport = mail_transport(uow)
    sends = transport.sends and not uow.simulated  # nobody is mailed about a time that a simulation made up
    written = await uow.execute(
        _GIVE,
        {
            "rows": _rows(uow, notices, recipients, transport.address),
            "now": uow.now,
            "by": uow.actor.id,
            "mail_state": (MailState.QUEUED if sends else MailState.KEPT).value,
        },
    )
    result = written.one()
    uow.touch(*(f"user:{user_id}" for user_id in result.users))
    if sends:
        for mail_id in result.mails:
            uow.enqueue(SEND_MAIL, {"mail_id": mail_id}, max_attempts=MAIL_ATTEMPTS)


async def _recipients(uow: UnitOfWork, notices: Sequence[Notice]) -> Sequence[Row[Any]]:
    policy: AccessPolicy = uow.resources.policy
    targets = [TARGETS[notice.rule] for notice in notices]
    asked = [
        {
            "n": n,
            "id": str(notice.process_run_id),
            "waiting": target.waiting,
            "makers": target.makers,
            "lead": target.lead,
            "human": target.human,
        }
        for n, (notice, target) in enumerate(zip(notices, targets, strict=True))
    ]
    values = {
        "notices": asked,
        "now": uow.now,
        "lead": LEAD_ROLE,
        "platform": PLATFORM,
        "wide": [role.code for role in policy.roles if policy.reaches(role.code)],
    }
    rows = (await uow.execute(_RECIPIENTS, values)).all()
    return [row for row in rows if targets[row.n].actor or row.user_id != uow.actor.id]


def _rows(
    uow: UnitOfWork, notices: Sequence[Notice], recipients: Sequence[Row[Any]], address: str
) -> list[Mapping[str, Any]]:
    """One row per notification, with its mail; many of one kind become one summary."""
    alike: dict[tuple[UUID, Rule, UUID], list[tuple[Row[Any], Facts, str]]] = defaultdict(list)
    for row in recipients:
        notice = notices[row.n]
        facts = _facts(notice, row, uow.actor.name)
        alike[row.user_id, notice.rule, row.run_id].append((row, facts, _key(notice, row)))
    rows: list[dict[str, Any]] = []
    for (_, rule, run_id), items in alike.items():
        first = items[0][0]
        zone = zone_of(first.time_zone)
        if len(items) > STORM:
            keys = sha256("\n".join(sorted(key for _, _, key in items)).encode()).hexdigest()
            written = _written(summarise([facts for _, facts, _ in items], zone), address)
            record = {"record_entity": "workflow_run", "record_id": str(run_id), "dedup_key": f"{rule}:{run_id}:{keys}"}
            rows.append(_to(first, rule) | record | written)
            continue
        for row, facts, key in items:
            record = {"record_entity": "process_run", "record_id": str(row.id), "dedup_key": key}
            rows.append(_to(row, rule) | record | _written(compose(facts, zone), address))
    return [row | {"n": number} for number, row in enumerate(rows)]


def _to(row: Row[Any], rule: Rule) -> dict[str, Any]:
    return {"user_id": str(row.user_id), "email": row.email, "kind": TARGETS[rule].kind.value}


def _written(message: Message, address: str) -> dict[str, Any]:
    return {
        "title": message.title,
        "body": message.body,
        "link": message.link,
        "text_body": mail_text(message, address),
        "html_body": mail_html(message, address),
    }


def _facts(notice: Notice, row: Row[Any], actor: str) -> Facts:
    return Facts(
        rule=notice.rule,
        process_run_id=row.id,
        run_id=row.run_id,
        process=row.label,
        run=row.run_label,
        reference=row.reference,
        business_date=row.business_date,
        due_at=row.due_at,
        decides=row.state == "in_review",
        reason=row.reason,
        actor=actor,
    )


def _key(notice: Notice, row: Row[Any]) -> str:
    """What makes the notice the same one, for one recipient."""
    return f"{notice.rule}:{row.id}:{notice.occurrence or f'{row.round}.{row.level}.{row.row_version}'}"
