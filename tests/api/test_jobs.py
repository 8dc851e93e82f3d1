"""Jobs, periodic work and retention over REST."""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.domain.jobs import periodic
from app.domain.jobs.periodic import KnownWork
from tests.api.conftest import Api
from tests.factories import SYSTEM, add_row


async def test_operations_read_a_job_retry_it_and_call_it_off(api: Api) -> None:
    async with api.runtime.uow(SYSTEM) as uow:
        job = await add_row(
            uow, "job_run", function="load", state="failed", attempt=1, failures=1, max_attempts=1, backoff_seconds=1,
            arguments={"token": "hunter2", "day": "2026-10-30"},
        )  # fmt: skip
    client = api.as_("operations")
    shown: dict[str, Any] = (await client.get(f"/job-runs/{job}/attempts")).json()
    assert (shown["state"], shown["attempts"], shown["arguments"]["day"]) == ("failed", [], "2026-10-30")
    assert "hunter2" not in str(shown)
    assert (await client.post(f"/job-runs/{job}/retry")).json() == {"state": "queued"}
    assert (await client.post(f"/job-runs/{job}/retry")).status_code == 409
    assert (await client.post(f"/job-runs/{job}/abort", json={"reason": "Wrong day"})).json() == {"state": "aborted"}
    assert (await client.post(f"/job-runs/{job}/abort", json={})).status_code == 422


async def test_operations_see_workers_and_periodic_work_and_do_not_pause_it(api: Api) -> None:
    async with api.runtime.uow(SYSTEM) as uow:
        known = KnownWork(code="tidy", label="Tidy", about="", seconds=60, essential=False)
        await periodic.announce(uow, [known])
    async with api.runtime.uow(SYSTEM) as uow:
        work: UUID = await uow.scalar(text("SELECT id FROM periodic_work"))
    client = api.as_("operations")
    for path in ("/jobs/workers", "/jobs/backlog", "/jobs/trends", "/jobs/retention"):
        assert (await client.get(path)).status_code == 200, path
        assert (await api.as_("preparer").get(path)).status_code == (200 if path == "/jobs/trends" else 403), path
    assert (await client.post(f"/periodic-work/{work}/pause", json={"reason": "x"})).status_code == 403
    assert (await client.put("/jobs/retention/mails", json={"days": 90})).status_code == 403
