"""Queries over HTTP: one is asked, answered and closed; it is once however often it is sent; no other desk sees it."""

from typing import Any

import pytest
from sqlalchemy import text

from tests.api.conftest import Api
from tests.factories import SYSTEM
from tests.service.workflow.bank import manual


@pytest.fixture
async def desk(api: Api) -> Api:
    await api.run([manual("a")])
    return api


async def ask(api: Api, who: str = "controller", *, of: str = "preparer", **more: Any) -> Any:
    headers = {"idempotency-key": more.pop("key")} if "key" in more else {}
    body = {
        "record": {"entity": "process_run", "id": str((await api.row("a"))["id"])},
        "subject": "Late trades",
        "text": "Do they belong to today?",
        "asked": {"user_id": str(api.people[of].id)},
        **more,
    }
    return await api.as_(who).post("/queries", json=body, headers=headers)


async def test_a_blocking_query_is_asked_once_answered_and_closed(desk: Api) -> None:
    answers = [await ask(desk, blocking=True, due="PT4H", key="q-1") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201], answers[0].text
    assert answers[0].content == answers[1].content
    path = answers[0].headers["location"].removeprefix("/api/v1")
    listed = (await desk.as_("preparer").get("/queries")).json()["items"]
    assert [(one["subject"], one["blocks"], one["asked_of_me"], one["unread"]) for one in listed] == [
        ("Late trades", True, True, 1)
    ]
    process = f"/process-runs/{(await desk.row('a'))['id']}"
    waiting = (await desk.as_("preparer").get(f"{process}/waiting-for")).json()
    assert waiting["queries"] == ["Late trades"]
    body = {"expected_version": (await desk.row("a"))["row_version"]}
    refused = await desk.as_("preparer").post(f"{process}/transitions/submit", json=body)
    assert (refused.status_code, refused.json()["guard"]) == (409, "open_query"), refused.text
    said = await desk.as_("preparer").post(f"{path}/messages", json={"text": "They do", "step": "answer"})
    assert (said.status_code, said.json()["number"]) == (200, 2), said.text
    thread = (await desk.as_("controller").get(path)).json()
    assert [(line["author"], line["text"], line["step"]) for line in thread["thread"]] == [
        ("controller", "Do they belong to today?", None),
        ("preparer", "They do", "answer"),
    ]
    assert {step["name"]: step["allowed"] for step in thread["steps"]}["close"]
    closed = await desk.as_("controller").post(f"{path}/messages", json={"step": "close"})
    assert closed.json()["number"] is None
    done = await desk.as_("preparer").post(f"{process}/transitions/submit", json=body)
    assert (done.status_code, done.json()["to_state"]) == (200, "done"), done.text
    assert (await desk.as_("preparer").get("/queries")).json()["items"] == []
    found = await desk.as_("preparer").get("/queries", params={"part": "all", "standing": "closed", "q": "late qry"})
    assert [one["state"] for one in found.json()["items"]] == ["closed"]


async def test_it_is_corrected_changed_watched_and_read(desk: Api) -> None:
    path = f"/queries/{(await ask(desk)).json()['id']}"
    shown = await desk.as_("controller").get(path)
    message = shown.json()["thread"][0]["id"]
    corrected = await desk.as_("controller").post(f"/queries/messages/{message}/correction", json={"text": "Or not?"})
    assert corrected.status_code == 204, corrected.text
    headers = {"if-match": shown.headers["etag"]}
    wish = {"priority": "high", "due": "P2D"}
    changed = await desk.as_("controller").post(f"{path}/change", json=wish, headers=headers)
    assert changed.status_code == 200, changed.text
    stale = await desk.as_("controller").post(f"{path}/change", json={"priority": "low"}, headers=headers)
    assert stale.status_code == 412
    for address, body in ((f"{path}/watching", {"watching": True}), (f"{path}/read", {})):
        assert (await desk.as_("preparer").post(address, json=body)).status_code == 204
    thread = (await desk.as_("preparer").get(path)).json()
    assert (thread["priority"], thread["unread"], thread["watching"]) == ("high", 0, True)
    assert [line["earlier"][0]["text"] for line in thread["thread"]] == ["Do they belong to today?"]
    record = (await desk.row("a"))["id"]
    about = await desk.as_("preparer").get(f"/queries/about/process_run/{record}")
    assert [one["id"] for one in about.json()] == [path.rpartition("/")[2]]
    assert (await desk.as_("preparer").get(f"/queries/about/nothing/{record}")).status_code == 404


async def test_it_is_neither_created_nor_deleted_by_the_way_of_other_records(desk: Api) -> None:
    id_ = (await ask(desk)).json()["id"]
    for who in ("boss", "controller"):
        assert (await desk.as_(who).post("/process-queries", json={})).status_code == 403
        assert (await desk.as_(who).delete(f"/process-queries/{id_}", headers={"if-match": '"2"'})).status_code == 403
    body = {"subject": "Mine"}
    patched = await desk.as_("controller").patch(f"/process-queries/{id_}", json=body, headers={"if-match": '"2"'})
    assert patched.status_code in (409, 422), patched.text
    shown = (await desk.as_("controller").get(f"/process-queries/{id_}")).json()
    assert (shown["subject"], shown["lifecycle_state"]) == ("Late trades", "open")


async def test_the_general_steps_of_records_count_as_well(desk: Api) -> None:
    asked = (await ask(desk, blocking=True)).json()
    path = f"/process-queries/{asked['id']}/transitions/answer"
    headers = {"if-match": f'"{asked["row_version"]}"'}
    answered = await desk.as_("preparer").post(path, json={}, headers=headers)
    assert answered.status_code == 200, answered.text
    assert (await desk.row("a"))["blocking_queries"] == 0


async def test_a_query_of_another_desk_is_not_there(desk: Api) -> None:
    asked = (await ask(desk)).json()
    first = (await desk.as_("controller").get(f"/queries/{asked['id']}")).json()["thread"][0]["id"]
    async with desk.runtime.uow(SYSTEM) as uow:
        for table in ("process_query", "process_run"):
            await uow.execute(text(f"UPDATE {table} SET node_id = :node"), {"node": desk.nodes["EM"]})
    g10 = desk.as_("g10")
    path = f"/queries/{asked['id']}"
    answers = [
        await g10.get(path),
        await g10.get(f"/queries/about/process_run/{(await desk.row('a'))['id']}"),
        await g10.post(f"{path}/messages", json={"text": "x"}),
        await g10.post(f"{path}/change", json={"priority": "high"}, headers={"if-match": '"2"'}),
        await g10.post(f"{path}/watching", json={"watching": True}),
        await g10.post(f"{path}/read"),
        await g10.post(f"/queries/messages/{first}/correction", json={"text": "x"}),
        await ask(desk, "g10"),
    ]
    assert {answer.status_code for answer in answers} == {404}, [answer.text for answer in answers]
    assert "Late" not in "".join(answer.text for answer in answers)
    assert (await g10.get("/queries", params={"part": "all", "standing": "any"})).json()["items"] == []
    assert (await desk.as_("em").get(path)).status_code == 200
