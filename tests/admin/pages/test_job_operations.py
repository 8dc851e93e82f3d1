"""Periodic work, workers and retention on their pages."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.domain.jobs import periodic, presence
from app.domain.jobs.periodic import KnownWork, WorkDone
from app.domain.jobs.presence import Presence
from tests.admin.conftest import Office
from tests.admin.pages.test_process import text_of
from tests.factories import SYSTEM, add_row


@pytest.fixture
async def works(office: Office) -> dict[str, UUID]:
    """Two works that a worker has announced; it runs one of them, and the other has left a row."""
    async with office.runtime.uow(SYSTEM) as uow:
        await periodic.announce(
            uow,
            [
                KnownWork(code="sweep", label="Sweep", about="Watches deadlines.", seconds=2, essential=True),
                KnownWork(code="tidy", label="Tidy", about="Tidies up.", seconds=3600, essential=False),
            ],
        )
        now = uow.now.isoformat()
        told: dict[str, Any] = {
            "sweep": {"since": now, "started": now},
            "tidy": {"started": now, "finished": now, "next": now},
        }
        await presence.say_present(
            uow,
            Presence(
                name="host:7", started_at=uow.now, running=[{"job": "send_mail", "since": now}], works=told, done=5,
                failed=0, memory_mb=90, redis_said="Redis does not answer (ConnectionError).", queue_depth=None,
            ),
        )  # fmt: skip
        done = WorkDone(
            code="tidy", started_at=uow.now, finished_at=uow.now, busy=uow.now - uow.now, times=1, count=7,
            error="The disk is full",
        )  # fmt: skip
        await periodic.record_done(uow, worker="host:7", done=[done])
    async with office.runtime.uow(SYSTEM) as uow:
        return {row.code: row.id for row in await uow.execute(text("SELECT code, id FROM periodic_work"))}


async def test_operations_see_every_periodic_work_and_cannot_pause_it(office: Office, works: dict[str, UUID]) -> None:
    browser = await office.visitor("operations")
    page = text_of(await browser.get("/jobs/periodic"))
    for shown in ("Sweep", "Watches deadlines.", "Running", "Tidy", "failed in 0 ms", "cannot be paused"):
        assert shown in page
    assert "Pause…" not in page
    assert (await browser.post(f"/jobs/periodic/{works['tidy']}/pause", {"reason": "x"})).status_code == 403
    one = text_of(await browser.get(f"/jobs/periodic/{works['tidy']}"))
    for shown in ("Tidies up.", "The disk is full", "host:7"):
        assert shown in one


async def test_an_administrator_pauses_with_a_reason_resumes_and_asks_for_a_round(
    office: Office, works: dict[str, UUID]
) -> None:
    browser = await office.visitor("admin", application="PLATFORM")
    tidy, sweep = f"/jobs/periodic/{works['tidy']}", f"/jobs/periodic/{works['sweep']}"
    refused = await browser.post(f"{tidy}/pause", {"reason": " "})
    assert refused.status_code == 422
    assert "Say why" in text_of(refused)
    assert (await browser.post(f"{sweep}/pause", {"reason": "x"})).status_code == 409
    assert (await browser.post(f"{tidy}/pause", {"reason": "Vendor migrates"})).status_code == 303
    page = text_of(await browser.get("/jobs/periodic"))
    assert "Paused by Ada Byron: Vendor migrates" in page
    assert (await browser.post(f"{tidy}/run")).status_code == 303
    assert "asked for" in text_of(await browser.get("/jobs/periodic"))
    assert (await browser.post(f"{tidy}/resume")).status_code == 303
    assert "Vendor migrates" not in text_of(await browser.get("/jobs/periodic"))
    assert (await browser.post(f"{tidy}/burn")).status_code == 404
    assert (await browser.get("/jobs/periodic/none")).status_code == 404


async def test_workers_show_what_they_do_and_that_redis_is_away(office: Office, works: dict[str, UUID]) -> None:
    async with office.runtime.uow(SYSTEM) as uow:
        uow.enqueue("send_mail", {"mail_id": "x"})
    page = text_of(await (await office.visitor("operations")).get("/jobs/workers"))
    for shown in ("host:7", "Works", "send_mail", "90 MB", "Redis answers no worker", "Due and waiting 1"):
        assert shown in page
    assert works


async def test_retention_is_seen_by_operations_and_changed_by_administrators(office: Office) -> None:
    operations, admin = await office.visitor("operations"), await office.visitor("admin", application="PLATFORM")
    assert "180 days" in text_of(await operations.get("/jobs/retention"))
    assert (await operations.post("/jobs/retention/notifications", {"days": "30"})).status_code == 403
    for wrong in ("", "0", "x", "-3", "99999999999999999999"):
        refused = await admin.post("/jobs/retention/notifications", {"days": wrong})
        assert refused.status_code == 422
        assert "kept for 7 to 3650 days" in text_of(refused)
    assert (await admin.post("/jobs/retention/notifications", {"days": "30"})).status_code == 303
    assert 'value="30"' in (await admin.get("/jobs/retention")).text
    assert (await admin.post("/jobs/retention/audit_entry", {"days": "30"})).status_code == 404


async def test_the_pages_are_for_those_who_run_the_platform(office: Office) -> None:
    browser = await office.visitor("preparer")
    for path in ("/jobs/periodic", "/jobs/workers", "/jobs/retention"):
        assert (await browser.get(path)).status_code == 403
    assert "Retention" not in text_of(await browser.get("/jobs"))


async def test_durations_are_shown_by_function_and_secrets_are_hidden(office: Office) -> None:
    async with office.runtime.uow(SYSTEM) as uow:
        for seconds in (1, 3):
            id_ = await add_row(
                uow, "job_run", function="test.load", state="succeeded", attempt=1, failures=0, max_attempts=3,
                backoff_seconds=1, arguments={"api_key": "hunter2", "url": "https://me:hunter2@bank.example/x"},
            )  # fmt: skip
            await uow.execute(
                text("UPDATE job_run SET started_at = :at, finished_at = :end WHERE id = :id"),
                {"id": id_, "at": uow.now, "end": uow.now + timedelta(seconds=seconds)},
            )
    browser = await office.visitor("operations")
    page = await browser.get("/jobs?function=test.load")
    assert "How the latest" not in page.text
    assert "How long the latest 2 jobs took, the last one 3.0 seconds" in page.text
    assert "2.0 s" in text_of(page)
    one = await browser.get(f"/jobs/{id_}")
    assert "hunter2" not in one.text
    assert "bank.example/x" in one.text
