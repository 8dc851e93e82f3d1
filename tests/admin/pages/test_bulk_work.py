"""Home's choice of several pieces of work: the trial, the job, its result; and standing in for somebody."""

import html
import re

import httpx

from app.bootstrap import build
from app.domain.jobs.execute import execute_job_run
from app.domain.workflow.bulk import FUNCTION
from app.domain.workflow.bulk_job import bulk_transitions
from jobs.automation import HOOKS
from tests.admin.pages.conftest import Site
from tests.service.workflow.bank import manual, reviewed
from tests.service.workflow.standing_in import reason, signed_by, stands_in


def text_of(response: httpx.Response) -> str:
    """What a reader sees, in one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", html.unescape(response.text)).split())


async def test_what_was_chosen_is_tried_then_done_by_a_job_with_a_result_for_each(site: Site) -> None:
    bank = site.bank
    site.runtime.services = {**site.runtime.services, "actions": {FUNCTION: bulk_transitions}}
    await bank.person("both", "preparer", "controller")
    await bank.run([reviewed("a"), reviewed("b")])
    await bank.do("submit", "a", "preparer")
    await bank.do("submit", "b", "both")
    browser = await site.browser("both")
    home = await browser.get("/")
    picks = re.findall(r'name="item" value="([^"]+)" data-pick="(\w+)"', home.text)
    assert [part for _, part in picks] == ["to_approve"]
    rows = [await bank.row(code) for code in "ab"]
    items = [f"{row['id']}:{row['row_version']}" for row in rows]
    trial = await browser.post("/bulk-work", {"transition": "approve", "item": items})
    assert "1 of 2 can be approved" in text_of(trial)
    assert "maker is not checker" in text_of(trial)
    assert await bank.states() == {"a": "in_review", "b": "in_review"}
    begun = await browser.post("/bulk-work/begin", {"transition": "approve", "item": items[:1], "comment": "Fine"})
    path = begun.headers["location"]
    assert "1 still to do" in text_of(await browser.get(path))
    async with site.runtime.uow(bank.people["both"]) as uow:
        job = await uow.scalar(uow.table("job_run").select().with_only_columns(uow.table("job_run").c.id))
    await execute_job_run(site.runtime, job, hooks=HOOKS)
    done = await browser.get(path)
    assert "1 approved" in text_of(done)
    assert await bank.states() == {"a": "done", "b": "in_review"}
    assert (await (await site.browser("preparer")).get(path)).status_code in (200, 404)


async def test_nothing_chosen_leads_back_with_a_word(site: Site) -> None:
    await site.bank.run([manual("a")])
    browser = await site.browser("preparer")
    answer = await browser.post("/bulk-work", {"transition": "claim"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    broken = await browser.post("/bulk-work", {"transition": "claim", "item": "nonsense"})
    assert broken.status_code == 400


async def test_home_and_the_process_say_for_whom_one_acts(site: Site) -> None:
    bank = site.bank
    await bank.person("deputy")
    await stands_in(bank, "deputy", "controller")
    await bank.run([signed_by("a", {"role": "controller", "needed": 2})])
    await bank.do("submit", "a", "preparer")
    browser = await site.browser("deputy")
    home = text_of(await browser.get("/"))
    assert "You stand in for controller" in home
    assert "For controller, 0 of 2 signatures" in home
    path, _ = await site.process("a")
    page = text_of(await browser.get(path))
    assert "You act for controller here" in page
    assert "Open, 2 signatures missing" in page
    assert (await site.do(browser, "approve", "a")).status_code == 303
    page = text_of(await (await site.browser("controller2")).get(path))
    assert "deputy approved on behalf of controller" in page
    assert "1 of 2 signed" in page
    away = text_of(await (await site.browser("controller")).get("/"))
    assert "deputy stands in for you" in away


async def test_a_rejection_offers_the_reasons_and_the_levels_below(site: Site) -> None:
    bank = site.bank
    await bank.run([reviewed("a", "controller", "desk_head")])
    await reason(bank, "explain_missing")
    await bank.do("submit", "a", "preparer")
    await bank.do("approve", "a", "controller")
    browser = await site.browser("desk_head")
    path, _ = await site.process("a")
    page = (await browser.get(path)).text
    assert 'value="explain_missing"' in page
    assert "Level 1, controller" in page
    refused = await site.do(browser, "reject", "a", reason="No", to_level="1")
    assert "Choose a reason: explain_missing" in text_of(refused)
    assert '<option value="1" selected>' in refused.text
    await site.do(browser, "reject", "a", reason="No", to_level="1", reason_code="explain_missing")
    row = await bank.row("a")
    assert (row["state"], row["level"], row["round"]) == ("in_review", 1, 2)
    assert "Explain_Missing: No" in text_of(await browser.get(path))


async def test_a_request_to_skip_is_shown_with_what_is_not_met_to_who_may_confirm(site: Site) -> None:
    bank = site.bank
    checklist = [{"code": "ties", "label": "Positions tie", "required": True}]
    await bank.run([manual("a", skip_allowed=True, skip_second_person=True, checklist=checklist)])
    await site.do(await site.browser("operations"), "request_skip", "a", reason="No trades today")
    browser = await site.browser("controller")
    path, _ = await site.process("a")
    page = text_of(await browser.get(path))
    assert "operations asks for it to be skipped: “No trades today” Not met: Positions tie." in page
    assert (await site.do(browser, "skip", "a")).status_code == 303
    assert "Controls not met" in text_of(await browser.get(path))


async def test_own_delegations_are_entered_seen_and_ended_by_oneself_only(site: Site) -> None:
    bank = site.bank
    await bank.run([manual("a")])
    built = await build(site.runtime.settings, registry=site.runtime.registry)
    site.runtime.services = built.services  # the generated pages ask what other features provide
    await built.aclose()
    await stands_in(bank, "controller2", "controller")
    await stands_in(bank, "preparer2", "preparer")
    browser = await site.browser("controller")
    assert (await browser.get("/data/delegations/new")).status_code == 200
    listed = (await browser.get("/data/delegations")).text
    assert "controller2" in listed
    assert "preparer2" not in listed
