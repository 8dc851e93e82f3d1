"""Notifications, preferences, deliveries and templates of messages on their pages."""

from uuid import UUID

import pytest
from sqlalchemy import text

from app.core.actor import Actor
from app.domain.entities.service import create_record
from tests.admin.pages.conftest import Site
from tests.admin.pages.test_process import text_of
from tests.factories import SYSTEM, add_row
from tests.service.workflow.bank import manual


@pytest.fixture
async def told(site: Site) -> Site:
    """A bank in which the preparers have been told that a piece of work is ready."""
    await site.bank.run([manual("comment")])
    root = await site.bank.user("root@bank.example", name="root")
    async with site.runtime.uow(SYSTEM) as uow:
        role, application = site.bank.roles["admin"], site.bank.applications["PLATFORM"]
        await add_row(uow, "role_grant", user_id=root, role_id=role, application_id=application, valid_from=uow.now)
    site.bank.people["root"] = Actor(root, "root")
    return site


async def _one(site: Site, statement: str) -> object:
    async with site.runtime.uow(SYSTEM) as uow:
        return await uow.scalar(text(statement))


async def _of(site: Site, name: str) -> UUID:
    found = await _one(
        site,
        f"SELECT n.id FROM notification n JOIN app_user u ON u.id = n.user_id WHERE u.name = '{name}'"
        " ORDER BY n.at DESC LIMIT 1",
    )
    assert isinstance(found, UUID)
    return found


async def test_a_person_reads_marks_and_opens_their_own_notifications(told: Site) -> None:
    browser = await told.browser("preparer")
    page = await browser.get("/notifications")
    assert page.status_code == 200
    words = text_of(page)
    assert "Ready for you: Comment" in words
    assert "Work for you" in words
    id_ = await _of(told, "preparer")
    answer = await browser.post(f"/notifications/{id_}/open")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/processes/")
    assert "Ready for you" not in text_of(await browser.get("/notifications?unread=1"))
    await browser.post(f"/notifications/{id_}/mark", {"as": "unread", "back": "/notifications?unread=1"})
    assert "Ready for you" in text_of(await browser.get("/notifications?unread=1"))
    assert "Ready for you" not in text_of(await browser.get("/notifications?kind=breach"))
    assert "Ready for you" in text_of(await browser.get("/notifications?q=comm"))
    assert "No notification matches" in text_of(await browser.get("/notifications?q=100%25"))
    answer = await browser.post("/notifications/all/read", {"back": "//evil.example"})
    assert answer.headers["location"] == "/notifications"
    assert "Ready for you" not in text_of(await browser.get("/notifications?unread=1"))
    assert (await browser.get("/notifications?kind=nothing")).status_code == 400


async def test_nobody_opens_or_marks_a_notification_of_somebody_else(told: Site) -> None:
    stranger = await told.browser("operations")
    id_ = await _of(told, "preparer")
    assert (await stranger.post(f"/notifications/{id_}/open")).status_code == 404
    await stranger.post(f"/notifications/{id_}/mark", {"as": "read"})
    await stranger.post("/notifications/all/read")
    assert await _one(told, f"SELECT read_at FROM notification WHERE id = '{id_}'") is None


async def test_a_person_keeps_preferences_and_is_told_what_is_wrong(told: Site) -> None:
    browser = await told.browser("preparer")
    page = await browser.get("/preferences")
    assert page.status_code == 200
    assert "Quiet hours" in text_of(page)
    given = {
        "time_zone": "Asia/Tokyo", "locale": "de-DE", "landing_page": "/runs", "channels": "in_app", "digest": "daily",
        "digest_at": "07:30", "quiet": "1", "quiet_from": "20:00", "quiet_until": "06:00",
        "categories.breach.how": "muted", "categories.warning.how": "own", "categories.warning.channels": "email",
    }  # fmt: skip
    answer = await browser.post("/preferences", given)
    assert answer.status_code == 303
    kept = await _one(told, "SELECT notification_settings FROM app_user WHERE name = 'preparer'")
    assert kept == {
        "channels": ["in_app"],
        "digest": "daily",
        "digest_at": "07:30",
        "quiet": {"from": "20:00", "until": "06:00"},
        "categories": {"breach": {"muted": True}, "warning": {"channels": ["email"]}},
    }
    assert await _one(told, "SELECT time_zone FROM app_user WHERE name = 'preparer'") == "Asia/Tokyo"
    shown = await browser.get("/preferences")
    assert "<option selected>Asia/Tokyo</option>" in shown.text
    wrong = await browser.post("/preferences", {**given, "quiet_until": "20:00", "time_zone": "Nowhere"})
    assert wrong.status_code == 422
    assert "must be a place" in text_of(wrong)


async def test_an_administrator_follows_a_delivery_and_sends_it_again(told: Site) -> None:
    admin = await told.browser("root")
    listed = await admin.get("/deliveries?state=kept")
    assert listed.status_code == 200
    assert "Ready for you: Comment" in text_of(listed)
    assert "Ready for you" not in text_of(await admin.get("/deliveries?channel=webhook"))
    id_ = await _one(told, "SELECT id FROM mail_message LIMIT 1")
    page = await admin.get(f"/deliveries/{id_}")
    assert "Send again" in text_of(page)
    refused = await admin.post(f"/deliveries/{id_}/send")
    assert refused.status_code == 409
    assert "STEPS_SMTP_URL" in text_of(refused)
    assert (await (await told.browser("preparer")).get("/deliveries")).status_code == 403
    assert (await (await told.browser("preparer")).get(f"/deliveries/{id_}")).status_code == 403


async def test_a_template_is_written_previewed_published_and_refused_where_it_is_broken(told: Site) -> None:
    async with told.runtime.uow(SYSTEM) as uow:
        id_ = (await create_record(uow, "notification_template", {"code": "T", "label": "Ready"}))["id"]
    admin = await told.browser("root")
    assert (await admin.get(f"/notification-templates/{id_}")).status_code == 200
    words = {"subject": "{{ process.label }} awaits", "html_body": "<b>{{ process.code }}</b>"}
    shown = await admin.post(f"/notification-templates/{id_}/preview", words)
    assert "Comment awaits" in shown.text
    assert "sandbox" in shown.text
    broken = await admin.post(f"/notification-templates/{id_}/words", {"subject": "{{ process.lable }}"})
    assert broken.status_code == 422
    assert "lable" in text_of(broken)
    answer = await admin.post(f"/notification-templates/{id_}/words", {**words, "command": "publish"})
    assert answer.status_code == 303
    assert "Published" in text_of(await admin.get(f"/notification-templates/{id_}"))
    reader = await told.browser("preparer")
    assert (await reader.get(f"/notification-templates/{id_}")).status_code == 403
    assert (await reader.post(f"/notification-templates/{id_}/words", words)).status_code == 403
