"""Schedules and triggers on their pages: the calendar of what comes, the log of what was, the form that shows both."""

import re
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.core.secret_box import SecretBox
from app.domain.entities.service import create_record
from app.domain.schedules.service import create_due_runs
from tests.admin.conftest import Browser
from tests.admin.pages.conftest import Site
from tests.admin.pages.test_process import text_of
from tests.factories import SYSTEM
from tests.service.schedules.office import at
from tests.service.workflow.bank import manual


@pytest.fixture
async def workflow(site: Site) -> str:
    await site.bank.publish([manual("a")])
    async with site.runtime.uow(SYSTEM) as uow:
        return str(await uow.scalar(text("SELECT id FROM workflow WHERE code = 'W'")))


async def _schedule(site: Site, workflow: str, **values: Any) -> UUID:
    given = {"code": "S", "label": "Daily", "workflow": workflow, "at": "07:00", "valid_from": None, **values}
    async with site.runtime.uow(SYSTEM, now=at("2026-03-29 12:00")) as uow:
        id_: UUID = (await create_record(uow, "schedule", given))["id"]
        return id_


async def test_the_page_shows_two_years_and_what_has_become_of_each_occurrence(site: Site, workflow: str) -> None:
    id_ = await _schedule(site, workflow, catch_up="none")
    await create_due_runs(site.runtime, now=at("2026-03-30 05:30"))
    await create_due_runs(site.runtime, now=at("2026-03-31 12:00"))
    browser = await site.browser("operations")
    page = await browser.get(f"/schedules/{id_}")
    assert page.status_code == 200
    words = text_of(page)
    assert "Every day that TARGET works, at 07:00 Europe/Berlin." in words
    assert page.text.count('<th scope="row">') >= 24
    assert "W-20260330" in words
    assert "it was not to be made up for" in words
    assert page.text.count("Create the run") == 1
    assert "Create the run" not in (await (await site.browser("preparer")).get(f"/schedules/{id_}")).text
    address = page.text.partition(f'action="/schedules/{id_}/occurrences/')[2].partition('"')[0]
    answer = await browser.post(f"/schedules/{id_}/occurrences/{address}")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/runs/")
    again = await browser.post(f"/schedules/{id_}/occurrences/{address}")
    assert again.status_code == 409
    assert "has been created" in text_of(again)


async def test_the_form_shows_what_it_would_do_before_it_is_saved(site: Site, workflow: str) -> None:
    browser = await site.browser("admin")
    form = await browser.get("/data/schedules/new")
    assert 'data-preview="/schedules/preview"' in form.text
    typed = {
        "workflow": workflow, "code": "M", "label": "M", "active": "on", "period": "month", "every": "1",
        "year_begins": "1", "anchor": "end", "offset": "WD+3", "roll": "following", "calendars": "TARGET",
        "business_date_rule": "occurrence", "at": "18:00", "zone": "Europe/London", "advance": "0",
        "advance_unit": "calendar", "catch_up": "latest", "grace_minutes": "60",
    }  # fmt: skip
    shown = await browser.post("/schedules/preview", typed)
    assert shown.status_code == 200, shown.text
    assert "On the 3rd working day after the end of each month, at 18:00 Europe/London" in text_of(shown)
    wrong = await browser.post("/schedules/preview", {**typed, "offset": "WD+0"})
    assert wrong.status_code == 200
    assert "Offset: There is no WD+0" in text_of(wrong)
    assert await site.bank.count("SELECT count(*) FROM schedule") == 0
    saved = await browser.post("/data/schedules/new", {**typed, "_then": "view"})
    assert saved.status_code == 303, text_of(saved)
    assert saved.headers["location"].startswith("/schedules/")
    refused = await browser.post("/data/schedules/new", {**typed, "code": "N", "calendars": "TARGET & MOON"})
    assert refused.status_code == 422
    assert "There is no published calendar MOON" in text_of(refused)


async def test_a_schedule_that_cannot_be_worked_out_says_why(site: Site, workflow: str) -> None:
    id_ = await _schedule(site, workflow)
    await site.bank.count("WITH u AS (UPDATE schedule SET calendars = 'GONE' RETURNING 1) SELECT count(*) FROM u")
    await create_due_runs(site.runtime, now=at("2026-03-30 12:00"))
    page = await (await site.browser("admin")).get(f"/schedules/{id_}")
    assert page.status_code == 200
    assert "This schedule creates nothing." in text_of(page)
    assert "There is no published calendar GONE" in text_of(page)


async def test_a_trigger_shows_how_to_call_it_and_what_it_did(site: Site, workflow: str) -> None:
    given = {
        "code": "T", "label": "Feed", "workflow": workflow, "kind": "webhook", "secret": "a-secret-that-is-long-enough",
        "payload_fields": {"desk": "text"}, "condition": {"desk": "FX"},
    }  # fmt: skip
    site.runtime.services = {"secret_box": SecretBox("k" * 48)}
    async with site.runtime.uow(SYSTEM) as uow:
        id_ = (await create_record(uow, "event_trigger", given))["id"]
    async with site.runtime.uow(SYSTEM) as uow:
        token = await uow.scalar(text("SELECT token FROM event_trigger"))
    page = await (await site.browser("operations")).get(f"/triggers/{id_}")
    assert page.status_code == 200
    assert f"/api/v1/hooks/{token}" in page.text
    assert "a-secret" not in page.text
    assert "Desk is “FX”" in text_of(page)
    assert "It has not been set off yet" in text_of(page)
    assert (await (await site.browser("preparer")).get(f"/triggers/{id_}")).status_code == 403
    assert (await (await site.browser("operations")).get("/triggers/nothing")).status_code == 404


async def _switch(browser: Browser, path: str, active: str) -> httpx.Response:
    shown = (await browser.get(path)).text
    version = re.findall(r'name="row_version" value="(\d+)"', shown)
    return await browser.post(f"{path}/active", {"active": active, "row_version": version[0] if version else "1"})


async def test_a_schedule_is_switched_off_and_on_with_one_button_and_does_not_make_up_for_the_time_between(
    site: Site, workflow: str
) -> None:
    path = f"/schedules/{await _schedule(site, workflow)}"
    admin = await site.browser("admin")
    assert "Switch off…" in (await admin.get(path)).text
    assert (await _switch(admin, path, "no")).headers["location"] == path
    page = text_of(await admin.get(path))
    assert "Schedule switched off." in page
    assert "Switch on…" in page
    assert await create_due_runs(site.runtime, now=at("2026-04-30 12:00")) is not None
    assert await site.bank.count("SELECT count(*) FROM workflow_run") == 0
    stale = await admin.post(f"{path}/active", {"active": "yes", "row_version": "1"})
    assert stale.status_code == 412
    assert "Not done." in text_of(stale)
    assert (await _switch(admin, path, "yes")).status_code == 303
    assert await site.bank.count("SELECT count(*) FROM schedule WHERE active AND next_due_at > handled_until") == 1
    assert (await admin.post(f"{path}/active", {"active": "perhaps", "row_version": "1"})).status_code == 400


async def test_who_may_not_change_a_trigger_sees_why_it_cannot_be_switched_off(site: Site, workflow: str) -> None:
    given = {"code": "T", "label": "Trades", "workflow": workflow, "kind": "event", "entity": "trade"}
    async with site.runtime.uow(SYSTEM) as uow:
        path = f"/triggers/{(await create_record(uow, 'event_trigger', given))['id']}"
    operations = await site.browser("operations")
    assert "Your roles do not allow you to change a trigger" in (await operations.get(path)).text
    assert (await _switch(operations, path, "no")).status_code == 403
    admin = await site.browser("admin")
    assert (await _switch(admin, path, "no")).status_code == 303
    assert "Switched off" in text_of(await admin.get(path))
    assert await site.bank.count("SELECT count(*) FROM event_trigger WHERE NOT active") == 1
