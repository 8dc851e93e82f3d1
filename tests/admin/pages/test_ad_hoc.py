"""The form that adds a process to a run under way: what it would hold up first, then the process."""

import re
from typing import Any

import httpx
import pytest

from tests.admin.conftest import Browser
from tests.admin.pages.conftest import Site
from tests.admin.pages.test_process import text_of
from tests.service.workflow.bank import manual

WORK = {"label": "Call the vendor", "owner_role": "preparer", "reason": "The feed looks wrong"}


@pytest.fixture
async def run(site: Site) -> Site:
    """a, then b, then c; d by itself."""
    await site.bank.run([manual(code) for code in "abcd"], [("a", "b"), ("b", "c")])
    return site


async def send(site: Site, browser: Browser, do: str, **values: Any) -> httpx.Response:
    return await browser.post(f"/runs/{site.bank.run_id}/processes/new", {"do": do, **values})


async def id_of(site: Site, code: str) -> str:
    return str((await site.bank.row(code))["id"])


async def test_a_lead_sees_what_it_holds_up_and_adds_it(run: Site) -> None:
    browser = await run.browser("operations")
    page = await browser.get(f"/runs/{run.bank.run_id}")
    href = f"/runs/{run.bank.run_id}/processes/new"
    assert f'href="{href}"' in page.text
    assert 'name="successor"' in (await browser.get(href)).text
    given = {**WORK, "predecessor": await id_of(run, "a"), "successor": await id_of(run, "d")}
    shown = await send(run, browser, "preview", **given)
    words = text_of(shown)
    assert (shown.status_code, "It begins after A ." in words, "1 process that is free to begin waits" in words) == (
        200,
        True,
        True,
    )
    assert re.search(r'value="Call the vendor"', shown.text)
    assert await run.bank.states() == {"a": "ready", "b": "blocked", "c": "blocked", "d": "ready"}
    added = await send(run, browser, "add", **given)
    assert added.status_code == 303, text_of(added)
    assert added.headers["location"] == f"/processes/{await id_of(run, 'adhoc_1')}"
    assert await run.bank.state("d") == "blocked"


async def test_what_waits_in_turn_is_listed_apart(run: Site) -> None:
    browser = await run.browser("operations")
    shown = text_of(await send(run, browser, "preview", **WORK, successor=await id_of(run, "b")))
    assert "It can begin at once." in shown
    assert "Wait for it 1 Blocked B" in shown
    assert "Wait in turn 1 Blocked C" in shown


async def test_it_is_called_off_on_its_page_and_nothing_waits_any_more(run: Site) -> None:
    browser = await run.browser("operations")
    await send(run, browser, "add", **WORK, successor=await id_of(run, "d"))
    path, _ = await run.process("adhoc_1")
    assert "Call off" in text_of(await browser.get(path))
    done = await run.do(browser, "cancel", "adhoc_1", reason="The vendor called us")
    assert done.status_code == 303, text_of(done)
    assert await run.bank.states() == {
        "a": "ready",
        "b": "blocked",
        "c": "blocked",
        "d": "ready",
        "adhoc_1": "cancelled",
    }


async def test_a_form_that_is_not_complete_keeps_what_was_typed_and_says_what_is_missing(run: Site) -> None:
    browser = await run.browser("operations")
    answer = await send(
        run, browser, "add", label="Call the vendor", owner_role="", checklist="one\ntwo", due_at="never"
    )
    assert answer.status_code == 422
    words = text_of(answer)
    for said in ("There is no role (none).", "Say why", "so that it has a place in the run", "Choose a time"):
        assert said in words, said
    assert 'value="Call the vendor"' in answer.text
    assert "one\ntwo" in answer.text
    assert "adhoc_1" not in await run.bank.states()


async def test_people_follow_the_role(run: Site) -> None:
    browser = await run.browser("operations")
    path = f"/runs/{run.bank.run_id}/processes/people"
    assert "preparer2" in (await browser.get(f"{path}?owner_role=preparer")).text
    assert "preparer2" not in (await browser.get(f"{path}?owner_role=controller")).text
    assert "<option" in (await browser.get(path)).text


async def test_only_a_lead_gets_there_and_only_in_a_run_in_progress(run: Site) -> None:
    path = f"/runs/{run.bank.run_id}/processes/new"
    preparer = await run.browser("preparer")
    assert path not in (await preparer.get(f"/runs/{run.bank.run_id}")).text
    assert (await preparer.get(path)).status_code == 403
    assert (await preparer.get(path.replace("/new", "/people"))).status_code == 403
    assert (await send(run, preparer, "add", **WORK, successor=await id_of(run, "d"))).status_code == 403
    lead = await run.browser("operations")
    assert (await lead.get("/runs/01a203b4-0000-7000-8000-000000000000/processes/new")).status_code == 404
    row = await run.bank.the_run()
    await lead.post(f"/runs/{row['id']}/hold", {"row_version": str(row["row_version"]), "reason": "Wait"})
    assert (await lead.get(path)).status_code == 409
