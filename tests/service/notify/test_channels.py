"""Webhooks, chat and the log of deliveries; withdrawal; and one message for all that one late process holds up."""

import asyncio
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from app.core.errors import ValidationFailed
from app.core.events import DeliveryFailed
from app.core.ports import free_port
from app.core.uow import UnitOfWork
from app.domain.entities.service import create_record
from app.domain.notify.endpoints import SERVICE as ENDPOINTS
from app.domain.notify.endpoints import Endpoints
from app.domain.notify.outgoing import MailNotSent, send_again, send_mail
from app.domain.notify.template_versions import preview, publish_draft, save_draft
from app.domain.notify.web_targets import Allowed
from app.domain.triggers.signature import require_signed
from tests.factories import SYSTEM
from tests.service.notify.conftest import Postbox
from tests.service.notify.desk import Desk
from tests.service.notify.rules_of import SECRET, add_endpoint, add_rule, read_rules
from tests.service.notify.test_mail import _read, _rejection, _text
from tests.service.sla.close import DUE
from tests.service.workflow.bank import manual, reviewed


class Receiver:
    """A real web server that answers as it is told to and keeps what it is sent."""

    def __init__(self) -> None:
        self.answer = "200 OK"
        self.location = ""
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.port = free_port()

    async def __aenter__(self) -> "Receiver":
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.calls.append((headers, body))
        location = f"location: {self.location}\r\n" if self.location else ""
        writer.write(f"HTTP/1.1 {self.answer}\r\n{location}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?team=close"


async def _hook(desk: Desk, address: str, *, allowed: str = "127.0.0.0/8") -> None:
    """A rule that calls an address when work becomes ready, and one delivery of it."""
    endpoint = await add_endpoint(desk, "HOOK", address)
    desk.runtime.services = {**desk.runtime.services, ENDPOINTS: Endpoints(Allowed.read(allowed))}
    await add_rule(desk, "called", "released", [{"kind": "endpoint", "endpoint": str(endpoint)}])
    await desk.run([manual("comment")])


async def _call(desk: Desk) -> dict[str, object]:
    return next(mail for mail in await desk.mails() if mail["channel"] == "webhook")


async def test_a_webhook_is_called_once_signed_and_with_what_happened(desk: Desk) -> None:
    async with Receiver() as receiver:
        await _hook(desk, receiver.address)
        call = await _call(desk)
        assert (call["recipient"], call["state"], call["user_id"]) == ("webhook:HOOK", "queued", None)
        for _ in range(2):
            await send_mail(desk.runtime, call["id"])  # type: ignore[arg-type]
    assert len(receiver.calls) == 1
    headers, body = receiver.calls[0]
    require_signed(
        SECRET,
        delivery=headers["webhook-id"],
        timestamp=headers["webhook-timestamp"],
        signatures=headers["webhook-signature"],
        body=body,
        now=datetime.now(UTC),
    )
    said = orjson.loads(body)
    assert (said["rule"], said["title"]) == ("called", "Called: Comment")
    assert said["record"] == {"entity": "process_run", "id": str((await desk.row("comment"))["id"])}
    assert (await _call(desk))["state"] == "sent"


async def test_a_webhook_is_tried_again_where_that_can_help_and_only_there(desk: Desk) -> None:
    async with Receiver() as receiver:
        await _hook(desk, receiver.address)
        id_ = (await _call(desk))["id"]
        receiver.answer = "503 Busy"
        with pytest.raises(MailNotSent, match="503"):
            await send_mail(desk.runtime, id_)  # type: ignore[arg-type]
        assert (await _call(desk))["state"] == "queued"
        receiver.answer = "410 Gone"
        await send_mail(desk.runtime, id_)  # type: ignore[arg-type]
        failed = await _call(desk)
        assert (failed["state"], failed["attempts"]) == ("failed", 2)
        assert {headers["webhook-id"] for headers, _ in receiver.calls} == {str(id_)}
        receiver.answer = "200 OK"
        async with desk.runtime.uow(SYSTEM) as uow:
            await send_again(uow, mail_id=id_)  # type: ignore[arg-type]
        await send_mail(desk.runtime, id_)  # type: ignore[arg-type]
        assert (await _call(desk))["state"] == "sent"


async def test_a_webhook_inside_the_bank_is_not_called(desk: Desk) -> None:
    async with Receiver() as inside:
        await _hook(desk, inside.address, allowed="")
        await send_mail(desk.runtime, (await _call(desk))["id"])  # type: ignore[arg-type]
        refused = await _call(desk)
        assert refused["state"] == "failed"
        assert "STEPS_NOTIFY_ALLOWED_NETWORKS" in str(refused["error"])
        assert inside.calls == []


async def test_redirects_are_not_followed(desk: Desk) -> None:
    async with Receiver() as receiver, Receiver() as inside:
        receiver.answer, receiver.location = "302 Found", f"http://127.0.0.1:{inside.port}/"
        await _hook(desk, receiver.address)
        await send_mail(desk.runtime, (await _call(desk))["id"])  # type: ignore[arg-type]
        assert "redirects are not followed" in str((await _call(desk))["error"])
        assert (len(receiver.calls), inside.calls) == (1, [])


@pytest.mark.parametrize("address", ["ftp://x.example", "https://u:p@x.example", "x"])
async def test_an_endpoint_that_can_never_be_called_is_refused(desk: Desk, address: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await add_endpoint(desk, "HOOK", address)
    assert [problem.path for problem in refused.value.problems] == ["address"]


async def test_a_mail_without_a_reason_is_withdrawn_when_its_turn_comes(mailing_desk: Desk, postbox: Postbox) -> None:
    await mailing_desk.run([manual("comment")])
    await mailing_desk.do("submit", "comment", "preparer")
    for mail in await mailing_desk.mails():
        await send_mail(mailing_desk.runtime, mail["id"])
    assert {mail["state"] for mail in await mailing_desk.mails()} == {"withdrawn"}
    assert postbox.arrived == []


async def test_a_refused_mail_tells_the_other_features(mailing_desk: Desk, postbox: Postbox, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    mail_id = await _rejection(mailing_desk)
    heard: list[DeliveryFailed] = []
    emit = UnitOfWork.emit

    def listen(uow: UnitOfWork, event: object) -> None:
        if isinstance(event, DeliveryFailed):
            heard.append(event)
        emit(uow, event)  # type: ignore[arg-type]

    monkeypatch.setattr(UnitOfWork, "emit", listen)
    postbox.answer = "550 no such mailbox"
    await send_mail(mailing_desk.runtime, mail_id)
    assert [(event.delivery_id, event.rule, event.user_id) for event in heard] == [
        (mail_id, "rejected", mailing_desk.people["preparer"].id)
    ]
    assert heard[0].record_id == (await mailing_desk.row("comment"))["id"]


async def test_forty_processes_that_one_late_feed_holds_up_are_one_message_that_grows_and_is_over_with_it(
    mailing_desk: Desk,
) -> None:
    desk = mailing_desk
    blocked = [manual(f"job_{number:02}") for number in range(40)]
    early = {**manual("feed"), "deadline": "BD+0 13:00 UTC"}
    for process in blocked[20:]:
        process["deadline"] = "BD+0 19:30 UTC"
    await desk.run([early, *blocked], [("feed", process["code"]) for process in blocked])
    await desk.forget()
    await desk.at(DUE + timedelta(minutes=1))
    await desk.sweep_now()
    told = await desk.told("breach")
    assert set(told) == {"preparer", "preparer2", "operations"}
    for titles in told.values():
        assert sorted(titles) == ["20 processes are late: waiting for Feed", "Late: Feed"]
    mails = len(await desk.mails())
    await desk.at(datetime(2026, 10, 30, 19, 31, tzinfo=UTC))
    await desk.sweep_now()
    told = await desk.told("breach")
    for titles in told.values():
        assert sorted(titles) == ["40 processes are late: waiting for Feed", "Late: Feed"]
    breaches = [mail for mail in await desk.mails() if mail["kind"] == "breach"]
    assert len(breaches) == 6  # one about the feed and one about what it holds up, to each of three
    assert len(await desk.mails()) - mails <= 2  # those that were warned of meanwhile
    body = (await desk.rows("SELECT body FROM notification WHERE title LIKE '40%' LIMIT 1"))[0]["body"]
    assert all(f"Job {number:02}" in body for number in range(40))
    await desk.do("submit", "feed", "preparer")
    for mail in await desk.mails():
        await send_mail(desk.runtime, mail["id"])
    assert {mail["state"] for mail in await desk.mails() if "Feed" in mail["subject"]} == {"withdrawn"}


async def test_messages_are_worded_by_templates_and_broken_ones_lose_nothing(
    mailing_desk: Desk, postbox: Postbox
) -> None:
    desk = mailing_desk
    async with desk.runtime.uow(SYSTEM) as uow:
        template = await create_record(uow, "notification_template", {"code": "REJECTED", "label": "Rejected"})
        words = {
            "subject": "{{ process.label }} came back",
            "text_body": "Dear {{ recipient.name }}, {{ process.reason }} ({{ process.due_at | moment }}) {{ link }}",
            "html_body": "<p>{{ process.reason }}</p>",
            "in_app_body": "Of {{ run.label }}",
        }
        await save_draft(uow, template_id=template["id"], given=words)
        assert await publish_draft(uow, template_id=template["id"]) == 1
    await desk.run_sql(f"UPDATE notification_rule SET template_id = '{template['id']}' WHERE code = 'rejected'")
    await read_rules(desk)
    mail_id = await _rejection(desk)
    await send_mail(desk.runtime, mail_id)
    message = _read(postbox.arrived[0])
    assert message["Subject"] == "Comment came back"
    assert "Dear preparer, Explain <EUR & USD> (30 Oct 2026, 17:00 UTC) https://steps.bank.example/processes/" in _text(
        message, "plain"
    )
    assert "<p>Explain &lt;EUR &amp; USD&gt;</p>" in _text(message, "html")
    shown = (await desk.rows("SELECT title, body FROM notification WHERE kind = 'rejection'"))[0]
    assert shown["title"] == "Comment came back"
    assert shown["body"].startswith("Of ")

    await desk.run_sql("UPDATE notification_template_version SET subject = '{{ process.gone }}'")
    await desk.do("submit", "comment", "preparer")
    await desk.forget()
    await desk.do("reject", "comment", "controller", reason="Again")
    assert [mail["subject"] for mail in await desk.mails()] == ["Rejected: Comment"]
    trouble = (await desk.rows("SELECT trouble FROM notification_template_version"))[0]["trouble"]
    assert "gone" in trouble


async def test_a_template_is_refused_with_its_fault_and_shown_for_a_real_record(desk: Desk) -> None:
    async with desk.runtime.uow(SYSTEM) as uow:
        template = await create_record(uow, "notification_template", {"code": "A", "label": "A"})
    for broken in ("{{ process.lable }}", "{{ who }}", "{{ process.__class__ }}", "{% for %}"):
        with pytest.raises(ValidationFailed):
            async with desk.runtime.uow(SYSTEM) as uow:
                await save_draft(uow, template_id=template["id"], given={"subject": broken})
    await desk.run([reviewed("comment")])
    words = {
        "subject": "{{ process.label }} of {{ run.business_date | day }}",
        "html_body": "<b>{{ process.code }}</b>",
    }
    async with desk.runtime.uow(SYSTEM) as uow:
        shown = await preview(uow, template_id=template["id"], given=words)
        assert shown.words is not None
        assert (shown.words.subject, shown.html) == ("Comment of 30 Oct 2026", "<b>comment</b>")
        wrong = await preview(uow, template_id=template["id"], given={"subject": "{{ process.nothing }}"})
        assert "nothing" in wrong.problem
