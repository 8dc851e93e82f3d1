"""Escalations on their pages: the list, one with its ladder, taking care of it, and what a ladder would do."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.domain.escalation.climbing import climb
from app.domain.sla.policies import ensure_shipped_policies
from app.domain.sla.sweep import sweep
from tests.admin.pages.conftest import Site
from tests.admin.pages.test_process import text_of
from tests.factories import SYSTEM, add_row
from tests.service.workflow.bank import manual


@pytest.fixture
async def ladder(site: Site) -> UUID:
    """A process whose deadline has passed, and the ladder of its policy, whose first step is told."""
    async with site.runtime.uow(SYSTEM) as uow:
        await ensure_shipped_policies(uow)
        id_ = await add_row(
            uow, "escalation_ladder", code="late", label="Late work", active=True, threshold="breach",
            job_failures=False, delivery_failures=False, rearm_minutes=30,
        )  # fmt: skip
        for position, name in enumerate(("operations", "desk_head")):
            await add_row(
                uow, "escalation_step", parent_id=id_, position=position, wait_minutes=30 * position, target="role",
                role_id=site.bank.roles[name], repeat_times=0, repeat_minutes=15,
            )  # fmt: skip
        await uow.execute(text("UPDATE sla_policy SET ladder_id = :id"), {"id": id_})
    await site.bank.run([manual("load", node="G10")])
    async with site.runtime.uow(SYSTEM) as uow:
        await uow.execute(
            text(
                "UPDATE sla_clock SET next_threshold = 'breach', due_at = steps_now() - interval '1 minute',"
                " next_fire_at = steps_now() - interval '1 minute', started_at = steps_now() - interval '1 hour'"
            )
        )
    await sweep(site.runtime)
    await climb(site.runtime)
    return id_


async def _escalation(site: Site) -> UUID:
    async with site.runtime.uow(SYSTEM) as uow:
        found: UUID = await uow.scalar(text("SELECT id FROM escalation"))
    return found


async def test_what_escalates_is_listed_and_shown_on_the_process(site: Site, ladder: UUID) -> None:
    browser = await site.browser("operations")
    page = text_of(await browser.get("/escalations"))
    for shown in ("Load", "Late work", "1 of 2 told", "Desk_Head"):
        assert shown in page
    path, _ = await site.process("load")
    process = text_of(await browser.get(path))
    assert "Escalated." in process
    assert "Take care of it" in process
    one = text_of(await browser.get(f"/escalations/{await _escalation(site)}"))
    for shown in ("Told", "operations", "step 1 of 2", "after 30 min, around the clock"):
        assert shown in one
    assert "Nothing escalates" in text_of(await browser.get("/escalations?state=ended"))
    assert (await browser.get("/escalations?state=odd")).status_code == 400


async def test_somebody_takes_care_of_it_and_ends_it(site: Site, ladder: UUID) -> None:
    browser, path = await site.browser("operations"), f"/escalations/{await _escalation(site)}"
    refused = await browser.post(f"{path}/acknowledge", {"reason": " "})
    assert refused.status_code == 422
    assert "Say what is done about it" in text_of(refused)
    assert (await browser.post(f"{path}/acknowledge", {"reason": "I call the vendor"})).status_code == 303
    page = text_of(await browser.get(path))
    for shown in ("Acknowledged", "I call the vendor", "goes on"):
        assert shown in page
    again = await browser.post(f"{path}/acknowledge", {"reason": "Me too"})
    assert again.status_code == 409
    assert "Somebody takes care of it already" in text_of(again)
    process, _ = await site.process("load")
    assert "takes care of it" in text_of(await browser.get(process))
    assert (await browser.post(f"{path}/end", {"reason": "Agreed"})).status_code == 303
    assert "Escalated." not in text_of(await browser.get(process))
    assert "Agreed" in text_of(await browser.get("/escalations?state=ended"))
    assert (await browser.post(f"{path}/burn", {"reason": "x"})).status_code == 404


async def test_an_escalation_out_of_scope_is_not_there(site: Site, ladder: UUID) -> None:
    await site.bank.person("em_only", "operations", node="EM")
    browser, path = await site.browser("em_only"), f"/escalations/{await _escalation(site)}"
    assert (await browser.get(path)).status_code == 404
    assert (await browser.post(f"{path}/acknowledge", {"reason": "x"})).status_code == 404
    assert "Nothing escalates" in text_of(await browser.get("/escalations"))
    assert (await browser.get(f"/escalations/{uuid4()}")).status_code == 404
    assert (await browser.get("/escalations/odd")).status_code == 404


async def test_a_ladder_shows_its_course_from_a_moment_on(site: Site, ladder: UUID) -> None:
    browser = await site.browser("admin")
    answer = await browser.get(f"/escalation-ladders/{ladder}?since=2026-10-30T18:00")
    page = text_of(answer)
    for shown in ("Late work", "Operations", "30 Oct 2026 18:00", "Desk_Head", "30 Oct 2026 18:30", "Edit"):
        assert shown in page
    assert "1 of 2 told" in page
    wrong = await browser.get(f"/escalation-ladders/{ladder}?since=soon")
    assert wrong.status_code == 200
    assert "Enter a date and a time." in text_of(wrong)
    assert "Edit" not in text_of(await (await site.browser("preparer")).get(f"/escalation-ladders/{ladder}"))
    assert (await browser.get(f"/escalation-ladders/{uuid4()}")).status_code == 404


async def test_an_administrator_makes_a_ladder_with_its_steps_in_the_form(site: Site) -> None:
    browser = await site.browser("admin")
    form = await browser.get("/data/escalation-ladders/new")
    assert form.status_code == 200
    for shown in ("Steps", "Fallback person", "Starts when a job fails"):
        assert shown in text_of(form)
