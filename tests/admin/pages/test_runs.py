"""Home, the list of runs, and the page of one run."""

import re

import pytest

from app.domain.workflow.runs import create_run
from tests.admin.pages.conftest import Site
from tests.factories import SYSTEM
from tests.service.workflow.bank import DAY, manual, reviewed


def _text(html: str) -> str:
    """What a reader sees of a page, with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.fixture(autouse=True)
async def run(site: Site) -> None:
    """A run with one process to prepare and one that waits for it."""
    await site.bank.run([manual("prepare"), reviewed("check", "controller")], [("prepare", "check")])


async def test_home_shows_the_work_that_waits_for_its_reader_and_leads_to_it(site: Site) -> None:
    browser = await site.browser("preparer")
    page = await browser.get("/")
    assert page.status_code == 200
    path, _ = await site.process("prepare")
    assert f'href="{path}"' in page.text
    assert "Free to take" in page.text
    await site.bank.do("start", "prepare", "preparer")
    assert "Yours" in (await browser.get("/?work=assigned")).text
    assert "Nothing waits for you" in _text((await browser.get("/?work=to_approve")).text)


async def test_a_run_shows_its_stages_processes_and_activity(site: Site) -> None:
    browser = await site.browser("preparer")
    run = await site.bank.the_run()
    page = await browser.get(f"/runs/{run['id']}")
    assert page.status_code == 200
    assert run["reference"] in page.text
    assert 'role="tree"' in page.text
    path, _ = await site.process("prepare")
    assert f'href="{path}"' in page.text
    await site.bank.do("start", "prepare", "preparer")
    activity = _text((await browser.get(f"/runs/{run['id']}?tab=activity")).text)
    assert "started" in activity


async def test_a_run_that_is_not_there_and_a_wrong_filter_are_answered_in_words(site: Site) -> None:
    browser = await site.browser("preparer")
    assert (await browser.get("/runs/01a203b4-0000-7000-8000-000000000000")).status_code == 404
    assert (await browser.get("/runs/nonsense")).status_code == 404
    wrong = await browser.get("/runs?date=yesterday")
    assert wrong.status_code == 400
    assert "must look like 2026-10-30" in wrong.text


async def test_operations_holds_and_resumes_a_run_with_a_reason_and_others_see_why_they_cannot(site: Site) -> None:
    run = await site.bank.the_run()
    page = await (await site.browser("preparer")).get(f"/runs/{run['id']}")
    assert "Your roles do not allow you to hold runs" in page.text
    operations = await site.browser("operations")
    refused = await operations.post(f"/runs/{run['id']}/hold", {"row_version": str(run["row_version"]), "reason": " "})
    assert refused.status_code == 422
    held = await operations.post(
        f"/runs/{run['id']}/hold", {"row_version": str(run["row_version"]), "reason": "Feed late"}
    )
    assert held.status_code == 303
    assert (await site.bank.the_run())["state"] == "on_hold"
    stale = await operations.post(f"/runs/{run['id']}/resume", {"row_version": str(run["row_version"])})
    assert stale.status_code == 412
    again = await site.bank.the_run()
    assert (
        await operations.post(f"/runs/{run['id']}/resume", {"row_version": str(again["row_version"])})
    ).status_code == 303
    assert (await site.bank.the_run())["state"] == "active"


async def test_the_pages_need_few_statements_however_many_runs_there_are(site: Site) -> None:
    browser = await site.browser("preparer")
    run = await site.bank.the_run()
    counts = []
    for extra in (0, 12):
        for number in range(extra):
            async with site.runtime.uow(SYSTEM) as uow:
                await create_run(uow, workflow="W", business_date=DAY, variant=f"v{number}")
        found = []
        for path in ("/", "/runs", f"/runs/{run['id']}"):
            await browser.get(path)
            with site.statements() as seen:
                assert (await browser.get(path)).status_code == 200
            found.append(len(seen))
        counts.append(found)
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 12, counts


async def test_operations_starts_a_run_of_a_date_once_and_is_told_what_is_wrong_otherwise(site: Site) -> None:
    operations = await site.browser("operations")
    assert 'data-dialog="start-run"' in (await operations.get("/runs")).text
    assert 'data-dialog="start-run"' in (await operations.get("/workflows/W")).text
    given = {"workflow": "W", "business_date": "2026-11-02", "variant": ""}
    started = await operations.post("/runs/new", given)
    assert started.status_code == 303
    page = await operations.get(started.headers["location"])
    assert "W-20261102" in page.text
    assert "The run has started." in page.text
    again = await operations.post("/runs/new", given)
    assert again.headers["location"] == started.headers["location"]
    assert "had begun already" in (await operations.get(again.headers["location"])).text
    for wrong, said in (
        ({"business_date": ""}, "Choose the business date."),
        ({"business_date": "2.11.2026"}, "Write a date such as 2026-10-30."),
        ({"workflow": ""}, "Choose what is to run."),
        ({"variant": "a b"}, "letters, digits, - and _"),
    ):
        refused = await operations.post("/runs/new", {**given, **wrong})
        assert refused.status_code == 422
        assert said in _text(refused.text)
        assert "data-open" in refused.text
        assert f'value="{ {**given, **wrong}["business_date"] }"' in refused.text
    assert "There is no workflow NONE." in _text(
        (await operations.post("/runs/new", {**given, "workflow": "NONE"})).text
    )


async def test_who_may_not_start_runs_is_not_offered_it_and_refused(site: Site) -> None:
    preparer = await site.browser("preparer")
    assert "start-run" not in (await preparer.get("/runs")).text
    assert "start-run" not in (await preparer.get("/workflows/W")).text
    refused = await preparer.post("/runs/new", {"workflow": "W", "business_date": "2026-11-02", "variant": ""})
    assert refused.status_code == 403
    assert await site.bank.count("SELECT count(*) FROM workflow_run") == 1


async def test_the_runs_of_one_workflow_are_found(site: Site) -> None:
    await site.bank.publish([manual("x")], code="OTHER")
    browser = await site.browser("preparer")
    run = await site.bank.the_run()
    assert f'href="/runs/{run["id"]}"' in (await browser.get("/runs?workflow=W")).text
    other = await browser.get("/runs?workflow=OTHER")
    assert f'href="/runs/{run["id"]}"' not in other.text
    assert "No runs here" in other.text
    assert 'href="/runs?workflow=W"' in (await browser.get("/workflows/W")).text
