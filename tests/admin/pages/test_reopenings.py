"""The pages about work that is opened again: impact, consent, request, banners, and the run as it was signed."""

import re

import pytest

from tests.admin.conftest import Browser
from tests.admin.pages.conftest import Site
from tests.admin.pages.test_process import text_of
from tests.service.workflow.bank import manual, reviewed

CONSENT = {"accept": "yes", "reason": "The rate was corrected"}


async def sent(browser: Browser, path: str, **values: str) -> tuple[int, str]:
    """Fill in the form of the impact page as it is shown, and send it."""
    shown = (await browser.get(f"{path}/reopen")).text
    given = dict(re.findall(r'<input type="hidden" name="(version|digest)" value="([^"]*)">', shown))
    answer = await browser.post(f"{path}/reopen", {**given, **values})
    return answer.status_code, text_of(answer)


@pytest.fixture
async def chain(site: Site) -> Site:
    """a, b and c one after the other; a is done, b is done, c is under way."""
    await site.bank.run([manual("a"), manual("b"), manual("c")], [("a", "b"), ("b", "c"), ("a", "c")])
    for code in ("a", "b"):
        await site.bank.do("submit", code, "preparer", comment=code)
    await site.bank.do("start", "c", "preparer")
    return site


@pytest.fixture
async def signed(site: Site) -> Site:
    """A finished run whose first process has a signature."""
    await site.bank.run([reviewed("a"), manual("b")], [("a", "b")])
    await site.bank.do("submit", "a", "preparer", comment="As of noon")
    await site.bank.do("approve", "a", "controller")
    await site.bank.do("submit", "b", "preparer")
    return site


async def test_the_impact_is_shown_and_accepted_before_anything_happens(chain: Site) -> None:
    browser = await chain.browser("preparer")
    path, _ = await chain.process("a")
    assert f'href="{path}/reopen"' in (await browser.get(path)).text
    shown = text_of(await browser.get(f"{path}/reopen"))
    assert "In doubt 1 Finished." in shown
    assert "Goes on, with a warning 1 Under way." in shown
    status, words = await sent(browser, path, reason="The rate was corrected")
    assert (status, "Accept what it means first." in words, "The rate was corrected" in words) == (422, True, True)
    status, words = await sent(browser, path, accept="yes", reason=" ")
    assert (status, "Say why." in words) == (422, True)
    assert await chain.bank.state("a") == "done"
    assert (await sent(browser, path, **CONSENT))[0] == 303
    assert await chain.bank.states() == {"a": "assigned", "b": "stale", "c": "in_progress"}


async def test_banners_say_what_was_opened_again_and_why(chain: Site) -> None:
    browser = await chain.browser("preparer")
    path, _ = await chain.process("a")
    await sent(browser, path, **CONSENT)
    why = "“A” was opened again: The rate was corrected"
    doubted = text_of(await browser.get((await chain.process("b"))[0]))
    assert f"In doubt. {why}" in doubted
    assert "In doubt until this has ended again. Assigned A" in doubted
    assert f"What this builds on has changed. {why}" in text_of(await browser.get((await chain.process("c"))[0]))
    opened = text_of(await browser.get(path))
    assert "Opened again. “preparer: The rate was corrected”" in opened
    assert "Sent back" not in opened


async def test_a_blocked_process_names_what_was_opened_again_before_it(site: Site) -> None:
    await site.bank.run([manual("a"), manual("b")], [("a", "b")])
    await site.bank.do("submit", "a", "preparer", comment="a")
    browser = await site.browser("preparer")
    path, _ = await site.process("a")
    await sent(browser, path, **CONSENT)
    page = text_of(await browser.get((await site.process("b"))[0]))
    assert "Waits for 1 process. “A” was opened again: The rate was corrected" in page


async def test_a_changed_impact_is_shown_anew_and_nothing_typed_is_lost(chain: Site) -> None:
    browser = await chain.browser("preparer")
    path, version = await chain.process("a")
    answer = await browser.post(f"{path}/reopen", {**CONSENT, "version": str(version), "digest": "0" * 64})
    words = text_of(answer)
    assert (answer.status_code, "has changed since it was shown" in words) == (412, True)
    assert "The rate was corrected" in words


async def test_a_second_person_confirms_and_who_asked_reads_why_they_cannot(signed: Site) -> None:
    preparer, lead = await signed.browser("preparer"), await signed.browser("operations")
    path, _ = await signed.process("a")
    shown = text_of(await preparer.get(f"{path}/reopen"))
    assert "kept as it was signed, as statement 1" in shown
    assert "A second person confirms it." in shown
    assert (await sent(preparer, path, **CONSENT))[0] == 303
    own, theirs = await preparer.get(path), await lead.get(path)
    assert "Your roles do not confirm or decline" in text_of(own)
    assert f'href="{path}/reopen"' not in own.text
    assert "preparer , " in text_of(theirs)
    assert "It would put 1 finished process in doubt." in text_of(theirs)
    home = text_of(await lead.get("/?work=to_approve"))
    assert "To approve 1" in home
    assert "Open again: A" in home
    assert "1 item for you" in home
    assert "Open again" not in text_of(await preparer.get("/"))
    found = re.search(rf'action="({path}/reopenings/[^/"]+)/confirm"', theirs.text)
    assert found
    assert (await lead.post(f"{found.group(1)}/decline", {"reason": ""})).status_code == 303
    assert await signed.bank.state("a") == "done"
    assert (await lead.post(f"{found.group(1)}/confirm")).status_code == 303
    assert await signed.bank.states() == {"a": "assigned", "b": "stale"}


async def test_a_restated_run_shows_what_was_signed(signed: Site) -> None:
    preparer, lead = await signed.browser("preparer"), await signed.browser("operations")
    path, _ = await signed.process("a")
    await sent(preparer, path, **CONSENT)
    found = re.search(r'action="(/processes/[^"]+)/confirm"', (await lead.get(path)).text)
    assert found
    await lead.post(f"{found.group(1)}/confirm")
    await signed.bank.do("submit", "a", "preparer", comment="As of four")
    run = await preparer.get(f"/runs/{signed.bank.run_id}")
    assert "Restated, statement 1 of" in text_of(run)
    statement = await preparer.get(f"/runs/{signed.bank.run_id}/statements/1")
    words = text_of(statement)
    assert "“As of noon”" in words
    assert "As of four" not in words
    assert "controller, level 1 as controller" in words
    assert re.search(r"SHA-256 of the statement [0-9a-f]{64}", words)
    for missing in ("2", "x"):
        assert (await preparer.get(f"/runs/{signed.bank.run_id}/statements/{missing}")).status_code == 404


async def test_who_may_not_open_again_is_not_offered_it(chain: Site) -> None:
    auditor = await chain.browser("auditor")
    path, version = await chain.process("a")
    assert f"{path}/reopen" not in (await auditor.get(path)).text
    refused = await auditor.post(f"{path}/reopen", {**CONSENT, "version": str(version), "digest": "0" * 64})
    assert refused.status_code == 403
