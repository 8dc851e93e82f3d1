"""Issues in the browser: raising one, its thread and steps, links and holds, merging, the board, trend and matrix."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from app.bootstrap import _services
from app.domain.support.issues import raise_issue
from tests.admin.conftest import Browser
from tests.admin.pages.conftest import Site
from tests.admin.pages.test_process import text_of
from tests.factories import SYSTEM
from tests.service.workflow.bank import manual


async def _issue(site: Site, title: str = "No rates", code: str | None = None, **values: Any) -> UUID:
    records = [("process_run", (await site.bank.row(code))["id"])] if code else []
    given = {"title": title, "application": str(site.bank.applications["PNL"]), **values}
    async with site.runtime.uow(site.bank.people["operations"]) as uow:
        return await raise_issue(uow, values=given, records=records)


async def _row(site: Site, issue_id: UUID) -> Any:
    async with site.runtime.uow(SYSTEM) as uow:
        table = uow.table("issue")
        return (await uow.execute(select(table).where(table.c.id == issue_id))).one()


async def _do(site: Site, browser: Browser, issue_id: UUID, path: str, **data: str) -> Any:
    version = (await _row(site, issue_id)).row_version
    return await browser.post(f"/issues/{issue_id}/{path}", {"row_version": str(version), **data})


@pytest.fixture
async def office(site: Site) -> Site:
    """The site with the lifecycles that issues follow."""
    site.runtime.services = {**_services(site.runtime.settings), **site.runtime.services}
    await site.runtime.reload_lifecycles()
    return site


async def test_an_issue_is_raised_from_a_process_with_the_process_linked(office: Site) -> None:
    await office.bank.run([manual("a")])
    browser = await office.browser("operations")
    process = (await office.bank.row("a"))["id"]
    part = await browser.get(f"/issues/about?record=process_run:{process}")
    assert f'href="/issues/new?record=process_run%3A{process}"' in part.text
    await _issue(office, "The rate feed is late")
    form = await browser.get(f"/issues/new?record=process_run:{process}&title=Rate feed late")
    assert f'name="record" value="process_run:{process}"' in form.text
    assert "The rate feed is late" in text_of(form)
    given = {"record": f"process_run:{process}", "title": "", "urgency": "critical", "impact": ""}
    refused = await browser.post("/issues/new", given)
    assert (refused.status_code, "Not raised." in text_of(refused)) == (422, True)
    done = await browser.post("/issues/new", {**given, "title": "Rate feed late"})
    assert done.status_code == 303
    page = text_of(await browser.get(done.headers["location"]))
    for shown in ("Rate feed late", "ISS-", "New", "Process run", "Looks alike", "The rate feed is late"):
        assert shown in page
    assert "Rate feed late" in text_of(await browser.get(f"/issues/about?record=process_run:{process}"))
    for odd in ("process_run:x", f"process_run:{UUID(int=1)}", "nonsense:1"):
        assert (await browser.get(f"/issues/new?record={odd}")).status_code == 404


async def test_the_thread_takes_public_and_internal_messages_and_files(office: Site) -> None:
    await office.bank.run([manual("a")])
    id_ = await _issue(office, code="a")
    work, desk = await office.browser("operations"), await office.browser("preparer")
    assert (await _do(office, work, id_, "messages", text="Since when?")).status_code == 303
    assert (await _do(office, work, id_, "messages", text="Between us", internal="yes")).status_code == 303
    sent = await work.client.post(
        f"/issues/{id_}/messages",
        data={"csrf_token": work.token, "text": "See the log"},
        files={"file": ("log.txt", b"nothing came")},
        headers={"accept": "text/html", "origin": "http://bank.test"},
    )
    assert sent.status_code == 303
    seen = await work.get(f"/issues/{id_}")
    assert "Between us" in text_of(seen)
    assert "log.txt" in text_of(seen)
    assert "Internal: not for the requester" in text_of(seen)
    theirs = text_of(await desk.get(f"/issues/{id_}"))
    assert ("Since when?" in theirs, "Between us" in theirs) == (True, False)
    empty = await _do(office, work, id_, "messages", text=" ")
    assert (empty.status_code, "Write something first." in text_of(empty)) == (422, True)


async def test_steps_ask_for_what_they_need_and_show_it_again_when_it_is_missing(office: Site) -> None:
    id_ = await _issue(office)
    browser = await office.browser("operations")
    me = str(office.bank.people["operations"].id)
    assert (await _do(office, browser, id_, "steps/start", assignee=me)).status_code == 303
    refused = await _do(office, browser, id_, "steps/resolve", root_cause="system", resolution="Was restarted")
    assert refused.status_code == 422
    assert 'id="step-resolve"' in refused.text
    assert "data-open" in refused.text
    assert "Was restarted" in refused.text
    solved = {"root_cause": "system", "resolution_code": "fixed", "resolution": "Was restarted"}
    assert (await _do(office, browser, id_, "steps/resolve", **solved)).status_code == 303
    page = text_of(await browser.get(f"/issues/{id_}"))
    assert "Fixed for good, caused by system or software" in page
    stale = await browser.post(f"/issues/{id_}/steps/close", {"row_version": "1"})
    assert (stale.status_code, "Somebody changed this issue meanwhile" in text_of(stale)) == (412, True)


async def test_links_are_pasted_and_taken_away_and_hold_their_processes(office: Site) -> None:
    await office.bank.run([manual("a"), manual("b")])
    id_ = await _issue(office)
    browser = await office.browser("operations")
    path, _ = await office.process("a")
    assert (await _do(office, browser, id_, "links", record=f"http://bank.test{path}?x=1#y")).status_code == 303
    reference = (await office.bank.the_run())["reference"]
    assert (await _do(office, browser, id_, "links", record=reference)).status_code == 303
    odd = await _do(office, browser, id_, "links", record="nothing of the kind")
    assert (odd.status_code, "Paste the address" in text_of(odd)) == (422, True)
    assert (await _do(office, browser, id_, "do/block")).status_code == 303
    assert await office.bank.state("a") == "on_hold"
    page = await browser.get(f"/issues/{id_}")
    assert "On hold because of issues" in text_of(page)
    assert "Holds its processes" in text_of(page)
    async with office.runtime.uow(SYSTEM) as uow:
        link = await uow.scalar(text("SELECT id FROM issue_link WHERE record_entity = 'process_run'"))
    assert (await _do(office, browser, id_, f"links/{link}/remove")).status_code == 303
    assert await office.bank.state("a") == "ready"
    assert (await _do(office, browser, id_, f"links/{link}/remove")).status_code == 404


async def test_an_issue_is_taken_watched_and_merged(office: Site) -> None:
    id_, other = await _issue(office, "No rates"), await _issue(office, "The feed is down")
    browser = await office.browser("operations")
    for command in ("take", "watch"):
        assert (await _do(office, browser, id_, f"do/{command}")).status_code == 303
    assert "Watched by operations" in text_of(await browser.get(f"/issues/{id_}"))
    assert (await _do(office, browser, id_, "do/unwatch")).status_code == 303
    assert (await _do(office, browser, id_, "do/dance")).status_code == 404
    refused = await _do(office, browser, id_, "merge", into="ISS-1999-00001")
    assert (refused.status_code, "There is no issue" in text_of(refused)) == (422, True)
    into = (await _row(office, other)).reference
    assert (await _do(office, browser, id_, "merge", into=into)).status_code == 303
    assert "It goes on as" in text_of(await browser.get(f"/issues/{id_}"))
    assert "Merged into this" in text_of(await browser.get(f"/issues/{other}"))


async def test_the_board_shows_issues_by_state_and_moves_them(office: Site) -> None:
    id_ = await _issue(office, impact="extensive", urgency="critical")
    await _issue(office, "Paper", impact="minor", urgency="low", assignee=str(office.bank.people["preparer"].id))
    browser = await office.browser("operations")
    board = await browser.get("/issues")
    for shown in ("New", "In progress", "Waiting for the vendor", "No rates", "Paper", "P1"):
        assert shown in text_of(board)
    assert "Merged" not in text_of(board)
    only = text_of(await browser.get("/issues?priority=p4"))
    assert ("Paper" in only, "No rates" in only) == (True, False)
    mine = text_of(await (await office.browser("preparer")).get("/issues?mine=1"))
    assert ("Paper" in mine, "No rates" in mine) == (True, False)
    asked = await _do(office, browser, id_, "move", to="in_progress")
    assert asked.json() == {"ask": f"/issues/{id_}#step-start"}
    assert (await _do(office, browser, id_, "do/take")).status_code == 303
    moved = await _do(office, browser, id_, "move", to="in_progress")
    assert (moved.status_code, moved.json()["moved"]) == (200, "in_progress")
    no_way = await _do(office, browser, id_, "move", to="closed")
    assert (no_way.status_code, no_way.json()["detail"]) == (409, "No step leads from “In progress” to “Closed”.")
    late = await browser.post(f"/issues/{id_}/move", {"row_version": "1", "to": "resolved"})
    assert late.json() == {"ask": f"/issues/{id_}#step-resolve"}


async def test_the_trend_and_the_matrix(office: Site) -> None:
    await _issue(office, impact="minor", urgency="low")
    browser, admin = await office.browser("operations"), await office.browser("admin")
    trend = await browser.get("/issues/trend?days=14")
    for shown in ("Raised and resolved per day", "Open now", "Without a category", "P4"):
        assert shown in text_of(trend)
    assert "<rect" in trend.text
    matrix_page = await browser.get("/issues/priorities")
    assert "<select" not in matrix_page.text.partition("iss-matrix")[2].partition("</table>")[0]
    assert (await browser.post("/issues/priorities", {"minor-low": "p1"})).status_code == 403
    assert "<select" in (await admin.get("/issues/priorities")).text.partition("iss-matrix")[2]
    assert (await admin.post("/issues/priorities", {"minor-low": "p2"})).status_code == 303
    assert (await admin.post("/issues/priorities", {"minor-low": "p9"})).status_code == 422
    assert "P2" in text_of(await browser.get("/issues"))


async def test_an_issue_of_another_desk_is_not_found(office: Site) -> None:
    await office.bank.person("em", "preparer", node="EM")
    id_ = await _issue(office, node=str(office.bank.nodes["G10-1"]))
    browser = await office.browser("em")
    assert (await browser.get(f"/issues/{id_}")).status_code == 404
    for path in ("messages", "links", "merge", "do/watch", "steps/start", "move"):
        data = {"text": "x", "record": "/runs/x", "into": "x", "to": "triaged"}
        assert (await _do(office, browser, id_, path, **data)).status_code in (404, 422), path
    assert "No rates" not in (await browser.get("/issues")).text
    assert (await browser.get("/issues/nonsense")).status_code == 404
