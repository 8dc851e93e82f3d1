"""Mails: written with the change, sent by a real SMTP server's leave, retried, and kept where there is none."""

from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID

import pytest
from aiosmtpd.smtp import Envelope

from app.core.actor import Actor
from app.core.errors import Conflict, Forbidden, NotFound
from app.core.ports import free_port
from app.core.settings import Settings
from app.domain.jobs.outbox import OutboxClaim
from app.domain.notify.mail import SERVICE, KeepTransport, Mail, MailNotAccepted, SmtpTransport, transport_for
from app.domain.notify.outgoing import MailNotSent, deliver_stranded, send_again, send_mail
from app.domain.sla.sweep import sweep
from jobs.notify import send_mail as send_mail_job
from models.base import uuid7
from tests.conftest import test_settings
from tests.factories import SYSTEM
from tests.service.notify.conftest import ADDRESS, Postbox
from tests.service.notify.desk import Desk
from tests.service.sla.close import DUE
from tests.service.workflow.bank import manual, reviewed


def _read(envelope: Envelope) -> EmailMessage:
    content = envelope.content
    assert isinstance(content, bytes)
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def _text(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


async def _only_mail(desk: Desk) -> UUID:
    mails = await desk.mails()
    assert len(mails) == 1
    id_ = mails[0]["id"]
    assert isinstance(id_, UUID)
    return id_


async def _rejection(desk: Desk) -> UUID:
    """One queued mail: a rejection, to its maker."""
    await desk.run([reviewed("comment")])
    await desk.do("submit", "comment", "preparer")
    await desk.forget()
    await desk.do("reject", "comment", "controller", reason="Explain <EUR & USD>")
    return await _only_mail(desk)


async def test_without_a_mail_server_mails_are_kept_and_no_job_is_queued(desk: Desk) -> None:
    await desk.run([manual("comment")])
    mails = await desk.mails()
    assert {mail["state"] for mail in mails} == {"kept"}
    assert {mail["recipient"] for mail in mails} == {"preparer@bank.example", "preparer2@bank.example"}
    assert await desk.count("SELECT count(*) FROM outbox WHERE job = 'send_mail'") == 0


async def test_a_mail_is_sent_with_text_html_and_links_of_the_configured_address(
    mailing_desk: Desk, postbox: Postbox
) -> None:
    mail_id = await _rejection(mailing_desk)
    queued = await mailing_desk.rows("SELECT payload FROM outbox WHERE job = 'send_mail'")
    assert [row["payload"] for row in queued] == [{"mail_id": str(mail_id)}]
    await send_mail(mailing_desk.runtime, mail_id)
    assert [envelope.rcpt_tos for envelope in postbox.arrived] == [["preparer@bank.example"]]
    message = _read(postbox.arrived[0])
    assert message["Subject"] == "Rejected: Comment"
    assert message["From"] == "STEPS <no-reply@steps.bank.example>"
    assert message["Message-ID"] == f"<{mail_id}@steps.bank.example>"
    link = f"{ADDRESS}/processes/{(await mailing_desk.row('comment'))['id']}"
    assert link in _text(message, "plain")
    assert "controller rejected it: Explain <EUR & USD>" in _text(message, "plain")
    assert f'href="{link}"' in _text(message, "html")
    assert "Explain &lt;EUR &amp; USD&gt;" in _text(message, "html")
    mail = (await mailing_desk.mails())[0]
    assert (mail["state"], mail["attempts"], mail["error"]) == ("sent", 1, None)
    assert mail["sent_at"] is not None


async def test_times_in_a_mail_are_those_of_its_reader(mailing_desk: Desk, postbox: Postbox) -> None:
    await mailing_desk.run_sql("UPDATE app_user SET time_zone = 'Asia/Tokyo' WHERE name = 'preparer'")
    await mailing_desk.run_sql("UPDATE app_user SET time_zone = 'Nowhere/Atall' WHERE name = 'preparer2'")
    await mailing_desk.run([manual("comment")])
    for mail in await mailing_desk.mails():
        assert "Due 2026-10-30 17:00 UTC." in mail["text_body"]
        await send_mail(mailing_desk.runtime, mail["id"])
    bodies = {envelope.rcpt_tos[0]: _text(_read(envelope), "plain") for envelope in postbox.arrived}
    assert "Due 31 Oct 2026, 02:00 JST." in bodies["preparer@bank.example"]
    assert "Due 30 Oct 2026, 17:00 UTC." in bodies["preparer2@bank.example"]
    kept = {mail["recipient"]: mail["text_body"] for mail in await mailing_desk.mails()}
    assert "02:00 JST" in kept["preparer@bank.example"]  # as it was sent


async def test_a_mail_delivered_twice_is_sent_once(mailing_desk: Desk, postbox: Postbox) -> None:
    mail_id = await _rejection(mailing_desk)
    for _ in range(2):
        await send_mail(mailing_desk.runtime, mail_id)
    assert len(postbox.arrived) == 1


async def test_a_busy_server_is_tried_again_with_the_same_message_id(mailing_desk: Desk, postbox: Postbox) -> None:
    mail_id = await _rejection(mailing_desk)
    postbox.answer = "451 try again later"
    with pytest.raises(MailNotSent, match="try again later"):
        await send_mail(mailing_desk.runtime, mail_id)
    mail = (await mailing_desk.mails())[0]
    assert (mail["state"], mail["attempts"], mail["error"]) == ("queued", 1, "451 try again later")
    postbox.answer = "250 OK"
    await send_mail(mailing_desk.runtime, mail_id)
    mail = (await mailing_desk.mails())[0]
    assert (mail["state"], mail["attempts"], mail["error"]) == ("sent", 2, None)
    assert _read(postbox.arrived[0])["Message-ID"] == f"<{mail_id}@steps.bank.example>"


async def test_a_server_that_is_down_is_tried_again(mailing_desk: Desk, postbox: Postbox) -> None:
    mail_id = await _rejection(mailing_desk)
    up = mailing_desk.runtime.services[SERVICE]
    mailing_desk.runtime.services = {SERVICE: SmtpTransport(f"smtp://127.0.0.1:{free_port()}", ADDRESS)}
    with pytest.raises(MailNotSent):
        await send_mail(mailing_desk.runtime, mail_id)
    assert (await mailing_desk.mails())[0]["state"] == "queued"
    mailing_desk.runtime.services = {SERVICE: up}
    await send_mail(mailing_desk.runtime, mail_id)
    assert (await mailing_desk.mails())[0]["state"] == "sent"
    assert len(postbox.arrived) == 1


async def test_a_refused_mail_ends_failed_and_is_not_tried_again(mailing_desk: Desk, postbox: Postbox) -> None:
    mail_id = await _rejection(mailing_desk)
    postbox.answer = "550 no such mailbox"
    await send_mail(mailing_desk.runtime, mail_id)
    mail = (await mailing_desk.mails())[0]
    assert (mail["state"], mail["error"], mail["sent_at"]) == ("failed", "550 no such mailbox", None)


async def test_the_last_attempt_of_the_delivery_gives_the_mail_up(mailing_desk: Desk, postbox: Postbox) -> None:
    mail_id = await _rejection(mailing_desk)
    postbox.answer = "451 try again later"
    claim = OutboxClaim(uuid7(), "send_mail", {"mail_id": str(mail_id)}, 19, 20, uuid7(), timedelta(minutes=1))
    states = []
    for attempt in (19, 20):
        with pytest.raises(MailNotSent):
            await send_mail_job(mailing_desk.runtime, claim.payload, _attempt(claim, attempt))
        states.append((await mailing_desk.mails())[0]["state"])
    assert states == ["queued", "failed"]


def _attempt(claim: OutboxClaim, attempt: int) -> OutboxClaim:
    values = {name: getattr(claim, name) for name in claim.__slots__}
    return OutboxClaim(**{**values, "attempt": attempt})


async def test_a_mail_whose_deliveries_were_all_lost_is_queued_again(mailing_desk: Desk) -> None:
    mail_id = await _rejection(mailing_desk)
    async with mailing_desk.runtime.uow(SYSTEM) as uow:
        assert await deliver_stranded(uow) == 0  # its delivery is still to come
    await mailing_desk.run_sql("UPDATE outbox SET failed_at = now() WHERE job = 'send_mail'")
    async with mailing_desk.runtime.uow(SYSTEM) as uow:
        assert await deliver_stranded(uow) == 1
    open_ones = await mailing_desk.rows("SELECT payload FROM outbox WHERE job = 'send_mail' AND failed_at IS NULL")
    assert [row["payload"] for row in open_ones] == [{"mail_id": str(mail_id)}]


async def test_an_administrator_sends_a_failed_mail_again(mailing_desk: Desk, postbox: Postbox) -> None:
    mail_id = await _rejection(mailing_desk)
    postbox.answer = "550 no such mailbox"
    await send_mail(mailing_desk.runtime, mail_id)
    postbox.answer = "250 OK"
    admin = await mailing_desk.user("root@bank.example", name="root")
    grant = mailing_desk.grant("admin", application="PLATFORM")
    async with mailing_desk.runtime.uow(Actor(admin, "root", grants=(grant,))) as uow:
        await send_again(uow, mail_id=mail_id)
    await send_mail(mailing_desk.runtime, mail_id)
    assert (await mailing_desk.mails())[0]["state"] == "sent"
    with pytest.raises(Conflict, match="sent already"):
        async with mailing_desk.runtime.uow(SYSTEM) as uow:
            await send_again(uow, mail_id=mail_id)
    with pytest.raises(NotFound):
        async with mailing_desk.runtime.uow(SYSTEM) as uow:
            await send_again(uow, mail_id=uuid7())
    with pytest.raises(Forbidden):
        async with mailing_desk.runtime.uow(mailing_desk.people["preparer"]) as uow:
            await send_again(uow, mail_id=mail_id)


async def test_a_kept_mail_cannot_be_sent_without_a_server(desk: Desk) -> None:
    mail_id = await _rejection(desk)
    with pytest.raises(Conflict, match="STEPS_SMTP_URL"):
        async with desk.runtime.uow(SYSTEM) as uow:
            await send_again(uow, mail_id=mail_id)


async def test_a_simulated_past_is_mailed_to_nobody(mailing_desk: Desk) -> None:
    await mailing_desk.run([manual("comment")])
    await mailing_desk.forget()
    assert (await sweep(mailing_desk.runtime, now=DUE)).announced == 1
    assert {mail["state"] for mail in await mailing_desk.mails()} == {"kept"}
    assert await mailing_desk.count("SELECT count(*) FROM outbox WHERE job = 'send_mail'") == 0


async def test_what_cannot_stand_in_a_header_is_refused_for_good() -> None:
    transport = SmtpTransport("smtp://127.0.0.1:1", ADDRESS)
    for recipient, subject in (
        ("a@b.example", "Hello\nBcc: all@b.example"),
        ("a@b.example\nBcc: x@y.example", "Hello"),
    ):
        mail = Mail(uuid7(), recipient, subject, "text", None, datetime.now(UTC))
        with pytest.raises(MailNotAccepted) as refused:
            await transport.send(mail)
        assert refused.value.permanent


def test_the_settings_choose_the_transport(tmp_path: Path) -> None:
    settings: Settings = test_settings(tmp_path, base_url="https://steps.bank.example/")
    kept = transport_for(settings)
    assert isinstance(kept, KeepTransport)
    assert (kept.sends, kept.address) == (False, ADDRESS)
    sent = transport_for(test_settings(tmp_path, base_url=ADDRESS, smtp_url="smtp://close%40bank.example:pw@mx:587"))
    assert isinstance(sent, SmtpTransport)
    assert (sent.sends, sent.sender) == (True, "STEPS <close@bank.example>")
