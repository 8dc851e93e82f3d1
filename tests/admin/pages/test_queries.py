"""Queries on their pages: asked from a process, answered in its thread, listed by whom they concern, on Home."""

import re
from typing import Any

import httpx
import pytest

from app.bootstrap import Runtime
from tests.admin.conftest import ORIGIN, Browser
from tests.admin.pages.conftest import Site
from tests.admin.pages.test_process import text_of
from tests.service.support.desk import SERVICES
from tests.service.workflow.bank import manual


@pytest.fixture
def services(runtime: Runtime) -> dict[str, Any]:
    """What queries need, before the bank goes without it."""
    return {name: runtime.services[name] for name in SERVICES}


@pytest.fixture
async def desk(services: dict[str, Any], site: Site) -> Site:
    site.runtime.services = {**site.runtime.services, **services}
    await site.bank.run([manual("a")])
    return site


async def ask(site: Site, browser: Browser, *, of: str = "preparer", **more: str) -> httpx.Response:
    id_ = str((await site.bank.row("a"))["id"])
    typed = {"subject": "Late trades", "text": "Do they *belong* to today?", "asked": f"user:{site.bank.people[of].id}"}
    return await browser.post("/queries/new", {"entity": "process_run", "id": id_, **typed, **more})


def address(page: httpx.Response) -> str:
    found = re.search(r'href="(/queries/[0-9a-f-]{36})"', page.text)
    assert found, "no query is linked"
    return found[1]


async def test_a_query_is_asked_on_the_process_answered_there_and_closed(desk: Site) -> None:
    controller, preparer = await desk.browser("controller"), await desk.browser("preparer")
    path, _ = await desk.process("a")
    id_ = path.rpartition("/")[2]
    assert f'href="/queries/new?entity=process_run&amp;id={id_}"' in (await controller.get(path)).text
    form = await controller.get(f"/queries/new?entity=process_run&id={id_}")
    assert "The process cannot be submitted, approved or completed until this is answered" in text_of(form)
    assert f'value="user:{desk.bank.people["preparer"].id}"' in form.text
    sent = await ask(desk, controller, blocking="on", due="PT4H")
    assert (sent.status_code, sent.headers["location"]) == (303, f"{path}#queries"), text_of(sent)
    page = await preparer.get(path)
    shown = text_of(page)
    assert "1 blocking query" in shown
    assert "You cannot submit. One thing is missing: An open query blocks this: “Late trades”." in shown
    assert "You are to answer" in shown
    assert "<em>belong</em>" in page.text
    query = address(page)
    home = text_of(await preparer.get("/"))
    assert "Queries waiting for me 1" in home
    assert "Blocks completion" in home
    run = await preparer.get(f"/runs/{(await desk.bank.row('a'))['run_id']}")
    assert "An open query holds it up" in text_of(run)
    answer = await preparer.post(f"{query}/messages", {"text": "They do", "step": "answer", "back": id_})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}#queries"), text_of(answer)
    assert "preparer answered in" in text_of(await controller.get(path))
    assert (await desk.do(preparer, "submit", "a")).status_code == 303
    assert (await controller.post(f"{query}/messages", {"step": "close"})).status_code == 303
    assert "1 closed" in text_of(await controller.get(path))


async def test_a_refused_question_shows_the_form_with_what_was_typed_and_what_to_mend(desk: Site) -> None:
    controller = await desk.browser("controller")
    answer = await ask(desk, controller, subject="", due="soon", blocking="on")
    assert answer.status_code == 422
    shown = text_of(answer)
    assert "Say in a few words what it is about." in shown
    assert "soon" in answer.text
    assert "Do they *belong* to today?" in shown
    assert 'name="blocking" checked' in answer.text
    assert (await ask(desk, controller, id="nothing")).status_code == 404
    assert (await (await desk.browser("auditor")).get("/queries/new?entity=process_run&id=x")).status_code == 404
    assert (await ask(desk, await desk.browser("auditor"))).status_code == 403


async def test_a_refused_reply_is_shown_with_what_was_typed(desk: Site) -> None:
    controller, other = await desk.browser("controller"), await desk.browser("controller2")
    await ask(desk, controller)
    query = address(await controller.get("/queries?part=mine"))
    refused = await other.post(f"{query}/messages", {"text": "Let me <b>", "step": "answer"})
    assert refused.status_code == 409
    assert "Let me &lt;b&gt;</textarea>" in refused.text
    assert "Not done." in text_of(refused)
    empty = await controller.post(f"{query}/messages", {"text": " "})
    assert "Write something first." in text_of(empty)


async def test_files_and_names_are_shown_and_what_was_corrected_too(desk: Site) -> None:
    controller, preparer = await desk.browser("controller"), await desk.browser("preparer")
    await ask(desk, controller, text="@preparer2: <script>alert(1)</script>?")
    query = address(await controller.get("/queries?part=mine"))
    sent = await preparer.client.post(
        f"{query}/messages",
        data={"csrf_token": preparer.token, "text": "See the list"},
        files={"file": ("trades.csv", b"id\n1\n")},
        headers={"accept": "text/html", "origin": ORIGIN},
    )
    assert sent.status_code == 303, text_of(sent)
    page = await controller.get(query)
    assert '<span class="at-name">@preparer2</span>' in page.text
    assert "<script>alert" not in page.text
    link = re.search(r'href="(/files/[0-9a-f-]+/content)"><i[^>]*></i>trades.csv', page.text)
    assert link
    assert (await controller.get(link[1])).content == b"id\n1\n"
    correct = re.search(rf'action="({query}/messages/[0-9a-f-]+)"', page.text)
    assert correct
    assert (await controller.post(correct[1], {"text": "Which ones?"})).status_code == 303
    again = await preparer.get(query)
    assert "Which ones?" in text_of(again)
    assert "alert(1)&lt;/script&gt;" in again.text  # what it said before


async def test_the_list_follows_whom_queries_concern_and_what_is_searched(desk: Site) -> None:
    controller, preparer = await desk.browser("controller"), await desk.browser("preparer")
    await ask(desk, controller)
    await ask(desk, controller, of="operations", subject="Which curve?")
    mine = text_of(await controller.get("/queries?part=mine"))
    assert "Late trades" in mine
    assert "Which curve?" in mine
    assert "Nobody waits for your answer" in text_of(await controller.get("/queries"))
    waiting = text_of(await preparer.get("/queries"))
    assert "Late trades" in waiting
    assert "Which curve?" not in waiting
    found = text_of(await preparer.get("/queries?part=all&q=curve"))
    assert "Which curve?" in found
    assert "Late trades" not in found
    assert "No query fits" in text_of(await preparer.get("/queries?part=all&standing=closed"))
    assert (await preparer.get("/queries?part=%00&q=%00")).status_code in (200, 400)


async def test_it_is_changed_watched_read_and_completed(desk: Site) -> None:
    controller, preparer = await desk.browser("controller"), await desk.browser("preparer")
    await ask(desk, controller)
    path = address(await controller.get("/queries?part=mine"))
    page = await controller.get(path)
    version = re.search(r'name="version" value="(\d+)"', page.text)
    assert version
    typed: dict[str, Any] = {
        "version": version[1],
        "priority": "urgent",
        "blocking": "on",
        "due_at": "2099-01-01T10:00",
    }
    assert (await controller.post(f"{path}/change", typed)).status_code == 303
    stale = await controller.post(f"{path}/change", typed)
    assert stale.status_code == 412
    shown = text_of(await preparer.get(path))
    assert "Urgent" in shown
    assert "1 new" in shown
    assert (await preparer.post(f"{path}/read")).json() == {"read": True}
    assert "1 new" not in text_of(await preparer.get(path))
    assert (await preparer.post(f"{path}/watching", {"watching": "no"})).status_code == 303
    record = (await desk.bank.row("a"))["id"]
    people = (await preparer.get(f"/queries/people?entity=process_run&id={record}")).json()["items"]
    assert "controller2" in {person["handle"] for person in people}
    choices = await preparer.get(f"/queries/choices?entity=process_run&id={record}")
    assert 'value="role:operations"' in choices.text


async def test_no_page_shows_a_query_of_another_desk(desk: Site) -> None:
    controller = await desk.browser("controller")
    await desk.bank.person("em", "preparer", node="EM")
    em = await desk.browser("em")
    await ask(desk, controller)
    path = address(await controller.get("/queries?part=mine"))
    node = f"'{desk.bank.nodes['G10']}'"
    for table in ("process_query", "process_run"):
        await desk.bank.count(f"WITH u AS (UPDATE {table} SET node_id = {node} RETURNING 1) SELECT count(*) FROM u")
    record = (await desk.bank.row("a"))["id"]
    for address_ in (path, *(f"/queries/{p}?entity=process_run&id={record}" for p in ("new", "people", "choices"))):
        assert (await em.get(address_)).status_code == 404, address_
    for change in ("messages", "change", "watching", "read"):
        sent = await em.post(f"{path}/{change}", {"text": "x", "version": "2", "watching": "yes"})
        assert sent.status_code == 404, change
    assert "Late trades" not in (await em.get("/queries?part=all&standing=any")).text
