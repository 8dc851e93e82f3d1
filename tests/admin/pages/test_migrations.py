"""Runs are taken over to a new version on their pages: chosen, tried, executed, looked at."""

import re
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.core.actor import system_actor
from app.domain.jobs.execute import execute_job_run
from app.domain.workflow.migration_plans import migrate_runs
from app.domain.workflow.runs import create_run
from jobs.automation import HOOKS
from tests.admin.conftest import Browser
from tests.admin.pages.conftest import Site
from tests.admin.pages.designing import words
from tests.service.workflow.bank import DAY, manual

START = "/workflows/W/migrate"


@pytest.fixture
async def run_id(site: Site) -> UUID:
    """A run on version 1; version 2 calls b second, and has d in place of c."""
    await site.bank.publish([manual("a"), manual("b"), manual("c")])
    async with site.runtime.uow(system_actor("Test")) as uow:
        run = await create_run(uow, workflow="W", business_date=DAY)
    site.bank.run_id = run
    await site.bank.publish([manual("a"), manual("second", label="B"), manual("d")])
    return run


async def _plan(browser: Browser, run_id: UUID, **values: str) -> httpx.Response:
    given = {"from": "1", "map.b": "to:second", "map.c": "skip", "run": str(run_id), "reason": "New policy", **values}
    return await browser.post(START, given)


async def _work(site: Site) -> None:
    site.runtime.services = {**site.runtime.services, "actions": {"workflow.migrate_runs": migrate_runs}}
    async with site.runtime.uow(system_actor("Test")) as uow:
        job = await uow.scalar(text("SELECT id FROM job_run WHERE state = 'queued' AND process_run_id IS NULL"))
    await execute_job_run(site.runtime, job, hooks=HOOKS)


async def test_a_plan_is_made_tried_executed_and_looked_at(site: Site, run_id: UUID) -> None:
    browser = await site.browser("admin")
    assert 'href="/workflows/W/migrate"' in (await browser.get("/workflows/W")).text
    page = await browser.get(START)
    assert 'value="to:second" selected' in page.text
    assert "It looks renamed; check it." in page.text
    assert "Runs on version 1" in words(page)
    answer = await _plan(browser, run_id)
    assert answer.status_code == 303, words(answer)
    path = answer.headers["location"]
    page = await browser.get(path)
    assert "1 of 1 runs can go over now" in words(page)
    assert re.search(r"B ready becomes B", words(page))
    assert "is skipped" in words(page)
    assert await site.bank.states() == {"a": "ready", "b": "ready", "c": "ready"}
    assert (await browser.post(f"{path}/execute", {"row_version": "7"})).status_code == 412
    assert (await browser.post(f"{path}/execute", {"row_version": "1"})).status_code == 303
    assert "Under way" in words(await browser.get(path))
    await _work(site)
    page = await browser.get(path)
    assert "1 gone over" in words(page)
    assert "Executed" in words(page)
    assert await site.bank.states() == {"a": "ready", "second": "ready", "c": "skipped", "d": "ready"}
    assert "migrated" in words(await browser.get(f"/runs/{run_id}?tab=activity"))
    answer = await browser.get(START)
    assert answer.status_code == 404
    assert "on the version in force already" in words(answer)


async def test_what_is_refused_is_told_before_and_after_and_tried_again(site: Site, run_id: UUID) -> None:
    await site.bank.do("start", "c", "preparer")
    browser = await site.browser("admin")
    path = (await _plan(browser, run_id)).headers["location"]
    page = words(await browser.get(path))
    assert "0 of 1 runs can go over now, 1 would be refused" in page
    assert "“C” is in progress and the new version does not have it" in page
    assert "Execute…" not in page
    await site.bank.do("submit", "c", "preparer", comment="Done")
    assert "1 of 1 runs can go over now" in words(await browser.get(path))
    await site.bank.do("start", "b", "preparer")
    assert "Execute…" in words(await browser.get(path))


async def test_a_plan_is_called_off(site: Site, run_id: UUID) -> None:
    browser = await site.browser("admin")
    path = (await _plan(browser, run_id)).headers["location"]
    assert (await browser.post(f"{path}/cancel", {"row_version": "1"})).status_code == 303
    assert "Called off" in words(await browser.get(path))
    assert (await browser.post(f"{path}/execute", {"row_version": "2"})).status_code == 409
    assert (await browser.post(f"{path}/explode", {"row_version": "2"})).status_code == 404


async def test_what_makes_no_sense_is_refused_in_words(site: Site, run_id: UUID) -> None:
    browser = await site.browser("admin")
    answer = await _plan(browser, run_id, **{"map.b": "to:a"})
    assert answer.status_code == 422
    assert "2 processes would become a" in answer.text
    assert "New policy" in answer.text
    assert (await _plan(browser, run_id, run="x")).status_code == 404
    assert (await browser.get("/migrations/none")).status_code == 404
    assert (await browser.get(f"/migrations/{run_id}")).status_code == 404


@pytest.mark.parametrize("who", ["preparer", "operations", "auditor"])
async def test_only_administrators_migrate(site: Site, run_id: UUID, who: str) -> None:
    browser = await site.browser(who)
    assert (await browser.get(START)).status_code == 403
    assert (await _plan(browser, run_id)).status_code == 403
    assert START not in (await browser.get("/workflows/W")).text
    admin = await site.browser("admin")
    path = (await _plan(admin, run_id)).headers["location"]
    page = await browser.get(path)
    assert (page.status_code, "Execute…" in page.text, "Call off…" in page.text) == (200, False, False)
    assert (await browser.post(f"{path}/execute", {"row_version": "1"})).status_code == 403
