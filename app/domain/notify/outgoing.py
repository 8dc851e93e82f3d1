"""Handing mails over to the server: at least once, with a Message-ID that never changes, and a state in the end."""

from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import text

from app.core.actor import Actor, system_actor
from app.core.audit import AuditEntry
from app.core.errors import Conflict, NotFound, Unavailable
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.notify.mail import Mail, MailNotAccepted, MailState, mail_transport
from app.domain.notify.messages import localise, mail_html, zone_of
from app.domain.notify.notices import MAIL_ATTEMPTS, SEND_MAIL

ERROR_LENGTH = 2_000


class Platform(Protocol):
    """What gives units of work; `app.bootstrap.Runtime` is one."""

    def uow(self, actor: Actor, *, now: datetime | None = None) -> UnitOfWork: ...


class MailNotSent(Unavailable):
    """The mail server did not take the mail; it will be tried again."""

    code = "mail_not_sent"
    title = "The mail could not be sent"


# Counted before it is tried, so that a worker that dies over it leaves the attempt behind.
_BEGIN = text("""
UPDATE mail_message SET attempts = attempts + 1, row_version = row_version + 1, updated_at = :now
WHERE id = :id AND state = 'queued'
RETURNING id, recipient, subject, text_body,
          (SELECT u.time_zone FROM app_user u WHERE u.email = mail_message.recipient) AS time_zone
""")
_END = text("""
UPDATE mail_message
SET state = :state, error = :error, text_body = :text_body, html_body = :html_body,
    sent_at = CASE WHEN :sent THEN CAST(:now AS timestamptz) END,
    row_version = row_version + 1, updated_at = :now
WHERE id = :id AND state = 'queued'
""")
_QUEUE_AGAIN = text("""
UPDATE mail_message
SET state = 'queued', error = NULL, row_version = row_version + 1, updated_at = :now, updated_by = :by
WHERE id = :id AND state IN ('failed', 'kept')
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


async def send_mail(platform: Platform, mail_id: UUID, *, last_attempt: bool = False) -> None:
    """Send one queued mail; one that was sent, kept or given up already is left alone.

    `last_attempt`: the mail ends as failed if the server does not take it now.

    Raises:
        MailNotSent: the server did not take it; trying again later may help.
    """
    actor = system_actor("Mail")
    async with platform.uow(actor) as uow:
        row = (await uow.execute(_BEGIN, {"id": mail_id, "now": uow.now})).one_or_none()
        transport, date = mail_transport(uow), uow.resources.clock.real()
    if row is None:
        return
    text_body = localise(row.text_body, zone_of(row.time_zone))
    mail = Mail(row.id, row.recipient, row.subject, text_body, mail_html(row.subject, text_body), date)
    refused: MailNotAccepted | None = None
    try:
        await transport.send(mail)
    except MailNotAccepted as error:
        refused = error
    async with platform.uow(actor) as uow:
        await uow.execute(_END, _outcome(uow, mail, refused, last_attempt=last_attempt))
        uow.touch("entity:mail_message", f"mail_message:{mail_id}")
    if refused is not None and not refused.permanent:
        raise MailNotSent(f"The mail server did not take the mail: {refused}") from refused


def _outcome(uow: UnitOfWork, mail: Mail, refused: MailNotAccepted | None, *, last_attempt: bool) -> dict[str, Any]:
    """What becomes of the row: a mail that was sent is kept as it was sent."""
    state = MailState.SENT
    if refused is not None:
        state = MailState.FAILED if refused.permanent or last_attempt else MailState.QUEUED
    return {
        "id": mail.id,
        "text_body": mail.text_body,
        "html_body": mail.html_body,
        "state": state.value,
        "sent": refused is None,
        "error": str(refused)[:ERROR_LENGTH] if refused else None,
        "now": uow.now,
    }


async def deliver_stranded(uow: UnitOfWork) -> int:
    """Queue the mails that nothing would send any more, because their worker was lost at the last attempt."""
    stranded = list((await uow.execute(_STRANDED, {"job": SEND_MAIL})).scalars())
    for mail_id in stranded:
        uow.enqueue(SEND_MAIL, {"mail_id": mail_id}, max_attempts=MAIL_ATTEMPTS)
    return len(stranded)


async def send_again(uow: UnitOfWork, *, mail_id: UUID) -> None:
    """Queue a mail that has failed, or that was kept while there was no mail server.

    Raises:
        Conflict: the mail is queued or sent, or there is still no mail server.
        NotFound: there is no such mail.
    """
    decision = authorize(uow, "update", "mail_message")
    if not mail_transport(uow).sends:
        raise Conflict("No mail server is configured: set STEPS_SMTP_URL first.")
    found = await uow.scalar(_QUEUE_AGAIN, {"id": mail_id, "now": uow.now, "by": uow.actor.id})
    if found is None:
        state = await uow.scalar(_STATE, {"id": mail_id})
        if state is None:
            raise NotFound("There is no such mail.")
        raise Conflict(f"The mail is {state} already.")
    uow.enqueue(SEND_MAIL, {"mail_id": mail_id}, max_attempts=MAIL_ATTEMPTS)
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
