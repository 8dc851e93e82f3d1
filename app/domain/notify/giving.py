"""What follows when notices were given: open pages are told, jobs send, and what waits learns until when."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.uow import UnitOfWork
from app.domain.access.policy import AccessPolicy
from app.domain.access.policy_files import PLATFORM
from app.domain.notify.mail import mail_transport
from app.domain.notify.rule_book import NotificationRule
from app.domain.notify.times import Digest, goes_out_at

SEND_MAIL = "send_mail"
MAIL_ATTEMPTS = 20  # with doubling pauses of at most an hour: a mail server may be down for half a day

_HOLD = text("""
UPDATE mail_message m
SET not_before = CAST(w.at AS timestamptz), state = CASE WHEN w.at IS NULL THEN 'queued' ELSE 'waiting' END,
    updated_at = :now
FROM jsonb_to_recordset(:waits) AS w (id uuid, at text)
WHERE m.id = w.id
""").bindparams(bindparam("waits", type_=JSONB))


def common_values(uow: UnitOfWork) -> dict[str, Any]:
    """What every statement that gives notices is told."""
    policy: AccessPolicy = uow.resources.policy
    transport = mail_transport(uow)
    return {
        "now": uow.now,
        "by": uow.actor.id,
        "platform": PLATFORM,
        "wide": [role.code for role in policy.roles if policy.reaches(role.code)],
        "address": transport.address,
        # nobody is mailed about a time that a simulation made up
        "mails": transport.sends and not uow.simulated,
        "calls": not uow.simulated,
    }


def rule_values(rule: NotificationRule) -> dict[str, Any]:
    """What a rule says, as the statements take it."""
    return {
        "event": rule.event,
        "code": rule.code,
        "filed": rule.telling.kind.value,
        "user_ids": list(rule.user_ids),
        "group_ids": list(rule.group_ids),
        "endpoint_ids": list(rule.endpoint_ids),
        "watchers": "watchers" in rule.to,
        "critical": rule.critical,
        "mandatory": rule.mandatory,
        "channels": list(rule.channels),
    }


async def after_given(uow: UnitOfWork, given: Any) -> None:
    """Do what follows from a row of `giving_sql.WRITE`."""
    uow.touch(*(f"user:{user_id}" for user_id in given.users))
    await _hold(uow, given.waiting or ())
    if given.deliveries:
        uow.touch("entity:mail_message")
    for delivery_id in given.queued:
        enqueue_delivery(uow, delivery_id)


def enqueue_delivery(uow: UnitOfWork, delivery_id: UUID) -> None:
    uow.enqueue(SEND_MAIL, {"mail_id": delivery_id}, max_attempts=MAIL_ATTEMPTS)


async def _hold(uow: UnitOfWork, waiting: Sequence[Mapping[str, Any]]) -> None:
    """Say until when deliveries wait, by the clocks of each person."""
    if not waiting:
        return
    waits, free = [], []
    for row in waiting:
        digest = Digest(row["digest"] or "now")
        at = goes_out_at(uow.now, zone=row["zone"], settings=row["settings"], digest=digest)
        if at <= uow.now:  # outside the quiet hours
            free.append(UUID(row["id"]))
        waits.append({"id": row["id"], "at": None if at <= uow.now else at.isoformat()})
    await uow.execute(_HOLD, {"waits": waits, "now": uow.now})
    for delivery_id in free:
        enqueue_delivery(uow, delivery_id)
