"""Handing deliveries over: at least once, with an id that never changes, and a state in the end.

What there is no reason for any more when its turn comes is withdrawn and not sent.
"""

from base64 import b64decode
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import text

from app.core.actor import Actor, system_actor
from app.core.audit import AuditEntry
from app.core.errors import Conflict, NotFound, Unavailable
from app.core.events import DeliveryFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.notify.endpoints import Message, endpoint_transport
from app.domain.notify.giving import SEND_MAIL, enqueue_delivery
from app.domain.notify.mail import Mail, MailNotAccepted, MailState, MailTransport, mail_transport
from app.domain.notify.messages import localise, mail_html, zone_of
from app.domain.notify.web_targets import CallFailed
from app.domain.notify.withdrawal import OVER

ERROR_LENGTH = 2_000


class Platform(Protocol):
    """What gives units of work; `app.bootstrap.Runtime` is one."""

    def uow(self, actor: Actor, *, now: datetime | None = None) -> UnitOfWork: ...


class MailNotSent(Unavailable):
    """The server did not take the message; it will be tried again."""

    code = "mail_not_sent"
    title = "The message could not be sent"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a message was not taken."""

    detail: str
    permanent: bool


# Counted before it is tried, so that a worker that dies over it leaves the attempt behind.
_BEGIN = text(f"""
WITH mine AS (
    SELECT m.id, {OVER} AS over FROM mail_message m WHERE m.id = :id AND m.state = 'queued' FOR UPDATE OF m
)
UPDATE mail_message m
SET attempts = m.attempts + CASE WHEN mine.over THEN 0 ELSE 1 END,
    state = CASE WHEN mine.over THEN 'withdrawn' ELSE m.state END, row_version = m.row_version + 1, updated_at = :now
FROM mine
WHERE m.id = mine.id
RETURNING m.id, m.channel, m.recipient, m.subject, m.text_body, m.html_body, m.state, m.kind, m.rule, m.link,
          m.record_entity, m.record_id, m.user_id, m.created_at,
          (SELECT u.time_zone FROM app_user u
           WHERE CASE WHEN m.user_id IS NULL THEN u.email = m.recipient ELSE u.id = m.user_id END LIMIT 1) AS time_zone,
          (SELECT jsonb_build_object('address', encode(e.address, 'base64'), 'secret', encode(e.secret, 'base64'),
                                     'active', e.active)
           FROM notification_endpoint e WHERE e.id = m.endpoint_id) AS endpoint
""")
_END = text("""
UPDATE mail_message
SET state = :state, error = :error, text_body = :text_body, html_body = :html_body,
    sent_at = CASE WHEN :sent THEN CAST(:now AS timestamptz) END,
    row_version = row_version + 1, updated_at = :now
WHERE id = :id AND state = 'queued'
RETURNING id
""")
_QUEUE_AGAIN = text("""
UPDATE mail_message
SET state = 'queued', error = NULL, not_before = NULL, row_version = row_version + 1, updated_at = :now,
    updated_by = :by
WHERE id = :id AND state IN ('failed', 'kept', 'withdrawn', 'waiting')
RETURNING id
""")
_STRANDED = text("""
SELECT m.id FROM mail_message m
WHERE m.state = 'queued' AND NOT EXISTS (
    SELECT 1 FROM outbox o
    WHERE o.job = :job AND o.payload ->> 'mail_id' = m.id::text AND o.done_at IS NULL AND o.failed_at IS NULL)
ORDER BY m.created_at
LIMIT 1000
FOR UPDATE OF m SKIP LOCKED
""")
_STATE = text("SELECT state FROM mail_message WHERE id = :id")
_CHANNEL = text("SELECT channel FROM mail_message WHERE id = :id")


async def send_mail(platform: Platform, mail_id: UUID, *, last_attempt: bool = False) -> None:
    """Send one queued message over its channel; one that was sent, kept or given up already is left alone.

    `last_attempt`: the message ends as failed if the server does not take it now.

    Raises:
        MailNotSent: the server did not take it; trying again later may help.
    """
    actor = system_actor("Mail")
    async with platform.uow(actor) as uow:
        row = (await uow.execute(_BEGIN, {"id": mail_id, "now": uow.now})).one_or_none()
        real = uow.resources.clock.real()
        if row is not None and row.state == MailState.WITHDRAWN:
            uow.touch("entity:mail_message", f"mail_message:{mail_id}")
    if row is None or row.state == MailState.WITHDRAWN:
        return
    text_body = localise(row.text_body, zone_of(row.time_zone))
    # Words of a template are HTML of their own; else the text is shown as such.
    html_body = row.html_body or mail_html(row.subject, text_body) if row.channel == "email" else None
    mail = Mail(row.id, row.recipient, row.subject, text_body, html_body, real)
    async with platform.uow(actor) as uow:
        transport, call = mail_transport(uow), _call_of(uow, row, text_body, real)
    refused = await (_mailed(transport, mail) if call is None else call())
    async with platform.uow(actor) as uow:
        ended = await uow.scalar(_END, _outcome(uow, mail, refused, last_attempt=last_attempt))
        gone = refused is not None and (refused.permanent or last_attempt)
        if gone and ended is not None and refused is not None:
            uow.emit(
                DeliveryFailed(
                    at=uow.now,
                    delivery_id=row.id,
                    channel=row.channel,
                    rule=row.rule,
                    user_id=row.user_id,
                    record_entity=row.record_entity,
                    record_id=row.record_id,
                    error=refused.detail[:ERROR_LENGTH],
                )
            )
        uow.touch("entity:mail_message", f"mail_message:{mail_id}")
    if refused is not None and not refused.permanent:
        raise MailNotSent(f"The server did not take the message: {refused.detail}")


async def _mailed(transport: MailTransport, mail: Mail) -> Refused | None:
    try:
        await transport.send(mail)
    except MailNotAccepted as error:
        return Refused(str(error), error.permanent)
    return None


def _call_of(uow: UnitOfWork, row: Any, text_body: str, real: datetime) -> Any:
    """How the message is brought to its endpoint; None for a mail."""
    if row.channel == "email":
        return None
    transport, box = endpoint_transport(uow), uow.resources.services.get("secret_box")
    address = mail_transport(uow).address
    message = Message(
        id=row.id,
        title=row.subject,
        text="\n".join(text_body.split("\n\n")[1:-1]).strip() or row.subject,
        kind=row.kind or "system",
        rule=row.rule or "",
        link=f"{address}{row.link or ''}",
        record={"entity": row.record_entity, "id": str(row.record_id)} if row.record_id else None,
        at=row.created_at,
    )

    async def call() -> Refused | None:
        endpoint = row.endpoint
        if endpoint is None or not endpoint["active"]:
            return Refused("The endpoint does not exist any more, or is switched off.", permanent=True)
        try:
            if box is None:
                return Refused("The platform has no secret key to read the endpoint with.", permanent=False)
            target, secret = _open(box, endpoint["address"]), _open(box, endpoint["secret"])
            await transport.send(row.channel, target or "", secret, message, at=real)
        except CallFailed as error:
            return Refused(str(error), error.permanent)
        except ValueError as error:
            return Refused(str(error).capitalize() + ".", permanent=True)
        return None

    return call


def _open(box: Any, stored: str | None) -> str | None:
    return None if stored is None else str(box.decrypt(b64decode(stored)))


def _outcome(uow: UnitOfWork, mail: Mail, refused: Refused | None, *, last_attempt: bool) -> dict[str, Any]:
    """What becomes of the row: a message that was sent is kept as it was sent."""
    state = MailState.SENT
    if refused is not None:
        state = MailState.FAILED if refused.permanent or last_attempt else MailState.QUEUED
    return {
        "id": mail.id,
        "text_body": mail.text_body,
        "html_body": mail.html_body,
        "state": state.value,
        "sent": refused is None,
        "error": refused.detail[:ERROR_LENGTH] if refused else None,
        "now": uow.now,
    }


async def deliver_stranded(uow: UnitOfWork) -> int:
    """Queue the messages that nothing would send any more, because their worker was lost at the last attempt."""
    stranded = list((await uow.execute(_STRANDED, {"job": SEND_MAIL})).scalars())
    for mail_id in stranded:
        enqueue_delivery(uow, mail_id)
    return len(stranded)


async def send_again(uow: UnitOfWork, *, mail_id: UUID) -> None:
    """Queue a message that has failed, waits, was withdrawn, or was kept while there was no mail server.

    Raises:
        Conflict: it is queued or sent, or there is still no mail server.
        NotFound: there is no such message.
    """
    decision = authorize(uow, "retry", "mail_message")
    channel = await uow.scalar(_CHANNEL, {"id": mail_id})
    if channel is None:
        raise NotFound("There is no such message.")
    if channel == "email" and not mail_transport(uow).sends:
        raise Conflict("No mail server is configured: set STEPS_SMTP_URL first.")
    found = await uow.scalar(_QUEUE_AGAIN, {"id": mail_id, "now": uow.now, "by": uow.actor.id})
    if found is None:
        state = await uow.scalar(_STATE, {"id": mail_id})
        raise Conflict(f"The message is {state} already.")
    enqueue_delivery(uow, mail_id)
    uow.audit(
        AuditEntry(
            command="mail_message.send_again",
            entity="mail_message",
            record_id=mail_id,
            after={"state": MailState.QUEUED.value},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    uow.touch("entity:mail_message", f"mail_message:{mail_id}")
