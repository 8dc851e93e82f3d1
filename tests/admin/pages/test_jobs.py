"""Job results: the list, one job, retry and abort."""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from app.domain.jobs.runs import queue_job
from tests.admin.pages.conftest import Site
from tests.admin.pages.test_process import text_of
from tests.factories import SYSTEM, add_row
from tests.service.workflow.bank import automatic


async def _job(site: Site, state: str = "queued", **values: Any) -> UUID:
    async with site.runtime.uow(SYSTEM) as uow:
        id_ = await queue_job(
            uow, function=values.pop("function", "test.work"), arguments={"day": "2026-10-30"}, **values
        )
        if state != "queued":
            await uow.execute(
                text("UPDATE job_run SET state = :state, attempt = 1, error = 'No rates' WHERE id = :id"),
                {"state": state, "id": id_},
            )
            await add_row(
                uow, "job_attempt", job_run_id=id_, number=1, state="failed", worker="w1", started_at=uow.now,
                finished_at=uow.now, error="No rates",
                log=[{"at": uow.now.isoformat(), "level": "error", "message": "The file is empty"}],
            )  # fmt: skip
    return id_


async def test_the_list_is_narrowed_by_function_state_and_day(site: Site) -> None:
    await _job(site, function="test.load")
    await _job(site, "failed", function="test.compute")
    browser = await site.browser("operations")
    everything = await browser.get("/jobs")
    assert "test.load" in text_of(everything)
    assert "All 2" in text_of(everything)
    failed = await browser.get("/jobs?state=failed")
    assert failed.text.count("<tr>") == 2
    assert "No rates" in text_of(failed)
    assert "No job matches" in text_of(await browser.get("/jobs?date=2001-01-01"))
    assert (await browser.get("/jobs?state=odd")).status_code == 400
    assert (await browser.get("/jobs?date=odd")).status_code == 400
    assert (await browser.get("/jobs?date=9999-12-31")).status_code == 200


async def test_a_job_shows_its_attempts_log_and_arguments(site: Site) -> None:
    id_ = await _job(site, "failed")
    page = text_of(await (await site.browser("operations")).get(f"/jobs/{id_}"))
    for shown in ("test.work", "Attempt 1", "The file is empty", "No rates", '"day": "2026-10-30"', "Retry"):
        assert shown in page


async def test_operations_retries_and_aborts_and_others_see_no_button(site: Site) -> None:
    id_ = await _job(site, "failed")
    browser = await site.browser("operations")
    assert (await browser.post(f"/jobs/{id_}/retry")).status_code == 303
    again = await browser.post(f"/jobs/{id_}/retry")
    assert again.status_code == 409
    assert "only a failed or aborted one can be retried" in text_of(again)
    assert (await browser.post(f"/jobs/{id_}/abort", {"reason": " "})).status_code == 422
    assert (await browser.post(f"/jobs/{id_}/abort", {"reason": "Wrong day"})).status_code == 303
    assert "Wrong day" in text_of(await browser.get(f"/jobs/{id_}"))
    auditor = await site.browser("auditor")
    assert "Retry" not in text_of(await auditor.get(f"/jobs/{id_}"))
    assert (await auditor.post(f"/jobs/{id_}/retry")).status_code == 403


async def test_a_job_of_a_process_out_of_scope_is_not_there(site: Site) -> None:
    await site.bank.person("em_only", "preparer", node="EM")
    await site.bank.run([automatic("load", node="G10")])
    async with site.runtime.uow(SYSTEM) as uow:
        id_ = await uow.scalar(text("SELECT id FROM job_run"))
    browser = await site.browser("em_only")
    assert (await browser.get(f"/jobs/{id_}")).status_code == 404
    assert (await browser.get(f"/jobs/{uuid4()}")).status_code == 404
    assert "No job has run yet" in text_of(await browser.get("/jobs"))
    path, _ = await site.process("load")
    page = text_of(await (await site.browser("operations")).get(path))
    assert "test.load" in page
    assert "Queued" in page
