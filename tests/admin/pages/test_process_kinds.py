"""The page of a process: questions, what a sign-off signs, what a wait waits for."""

from sqlalchemy import text

from tests.admin.pages.conftest import Site
from tests.admin.pages.test_process import text_of
from tests.factories import SYSTEM
from tests.service.workflow.bank import approval, manual

QUESTIONS = [{"code": "complete", "label": "Is the population complete?", "expected": "yes"}]


async def test_a_question_is_answered_on_the_page_and_another_answer_needs_a_comment(site: Site) -> None:
    await site.bank.run([manual("a", questions=QUESTIONS)])
    browser = await site.browser("preparer")
    path, _ = await site.process("a")
    refused = await browser.post(f"{path}/questions", {"question": "complete", "answer": "no", "comment": ""})
    assert refused.status_code == 422
    assert "The expected answer is yes: say in a comment why it is another." in text_of(refused)
    answer = {"question": "complete", "answer": "no", "comment": "Two trades are late."}
    assert (await browser.post(f"{path}/questions", answer)).status_code == 303
    page = text_of(await browser.get(path))
    assert "1 of 1 answered" in page
    assert "not as expected" in page


async def test_a_sign_off_shows_what_was_signed_and_that_it_has_changed_since(site: Site) -> None:
    await site.bank.run([manual("a"), {**approval("sign"), "kind": "sign_off"}, manual("z")], [("a", "sign")])
    await site.bank.do("submit", "a", "preparer")
    browser = await site.browser("auditor")
    path, _ = await site.process("sign")
    assert "Signs" in text_of(await browser.get(path))
    await site.bank.do("approve", "sign", "controller")
    assert "Data has changed since" not in text_of(await browser.get(path))
    async with site.bank.runtime.uow(SYSTEM) as uow:  # past the engine
        await uow.execute(text("UPDATE process_run SET output_hash = 'other' WHERE code = 'a'"))
    page = text_of(await browser.get(path))
    assert "Signed by controller" in page
    assert "Data has changed since: A." in page


async def test_a_wait_shows_what_it_waits_for_and_its_arrival_is_said_by_who_is_in_charge(site: Site) -> None:
    wait = {"kind": "file", "pattern": "rates_{business_date}.csv"}
    await site.bank.run([{"code": "w", "kind": "wait_for", "owner_role": "operations", "wait": wait}])
    browser = await site.browser("operations")
    path, _ = await site.process("w")
    page = text_of(await browser.get(path))
    assert "rates_{business_date}.csv" in page
    assert "not yet" in page
    assert (await site.do(browser, "arrived", "w", reason="It came by mail.")).status_code == 303
    assert await site.bank.state("w") == "done"
