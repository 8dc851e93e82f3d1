"""The pages of business rules: who may do what there, the editor's questions, publication, comparison."""

import json
import re
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from tests.admin.conftest import ORIGIN, Browser, Office
from tests.service.rules.writing import BIG, CASES, LOW, draft, in_force, new_rule
from tests.unit.rules.tables import table

FALSE_TOKEN = "not-the-token"


async def _send(browser: Browser, path: str, data: Any, *, token: str | None = None) -> httpx.Response:
    headers = {"accept": "application/json", "origin": ORIGIN, "x-csrf-token": token or browser.token}
    return await browser.client.post(path, json=data, headers=headers)


async def _version(office: Office, rule_id: UUID) -> Any:
    async with office.runtime.uow(office.world.actor("admin")) as uow:
        versions = uow.table("rule_version")
        found = select(versions).where(versions.c.rule_id == rule_id).order_by(versions.c.number.desc())
        return (await uow.execute(found)).first()


def _words(response: httpx.Response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.text).split())


async def test_a_rule_is_listed_and_opens_in_its_editor(office: Office) -> None:
    rule_id = await in_force(office.world)
    admin = await office.visitor("admin")
    listed = await admin.get("/data/business-rules")
    assert f'href="/rules/{rule_id}"' in listed.text
    page = await admin.get(f"/rules/{rule_id}")
    assert page.status_code == 200
    assert "Version 1 · In force" in page.text
    assert "New draft from this version" in page.text
    assert "data-rule-save" not in page.text


async def test_a_first_draft_is_begun_written_checked_saved_and_published(office: Office) -> None:
    rule_id = await new_rule(office.world)
    admin = await office.visitor("admin")
    path = f"/rules/{rule_id}"
    assert "No version yet" in (await admin.get(path)).text
    assert (await admin.post(f"{path}/draft")).status_code == 303
    content = table(BIG).plain()
    content["rows"][0]["tests"]["pnl"] = "≥ 1000"
    asked = {"content": content, "tests": CASES, "tried": {"pnl": "5", "desk": "x"}}
    checked = (await _send(admin, f"{path}/check", asked)).json()
    assert checked["content"]["rows"][0]["tests"]["pnl"] == ">= 1000"
    assert (checked["errors"], checked["passed"]) == (0, 2)
    assert checked["trial"]["answers"] == [{"severity": "low"}]
    assert checked["trial"]["rows"] == [
        {"row": "r1", "fits": False, "stopped": "pnl"}, {"row": "r2", "fits": True, "stopped": ""},
    ]  # fmt: skip
    saved = await _send(admin, f"{path}/save", {"content": content, "tests": CASES, "row_version": 1})
    assert saved.json()["row_version"] == 2
    again = await _send(admin, f"{path}/save", {"content": content, "tests": CASES, "row_version": 1})
    assert again.status_code == 412
    version = saved.json()["version"]
    stale = await admin.post(f"{path}/publish", {"version": version, "row_version": "1"})
    assert stale.status_code == 412
    done = await admin.post(f"{path}/publish", {"version": version, "row_version": "2", "notes": "Agreed"})
    assert done.status_code == 303
    page = await admin.get(path)
    assert "Version 1 · In force" in page.text
    assert "Agreed" in page.text


async def test_what_is_wrong_is_said_at_its_cell_and_nothing_is_kept(office: Office) -> None:
    rule_id = await new_rule(office.world)
    admin = await office.visitor("admin")
    content = table([({"pnl": "1,000,000"}, {"severity": "huge"})]).plain()
    found = (await _send(admin, f"/rules/{rule_id}/check", {"content": content, "tests": CASES})).json()
    errors = [(one["row"], one["column"]) for one in found["findings"] if one["severity"] == "error"]
    assert errors == [("r1", "pnl"), ("r1", "severity")]
    assert [one["passed"] for one in found["results"]] == [False, False]
    assert await _version(office, rule_id) is None


@pytest.mark.parametrize(
    "body", ["[]", "{", '{"content": 5}', '{"content": {"rows": "x"}}', '{"tests": 5, "content": {}}']
)
async def test_a_request_that_is_no_rule_is_refused_in_words(office: Office, body: str) -> None:
    rule_id = await new_rule(office.world)
    admin = await office.visitor("admin")
    headers = {"accept": "application/json", "origin": ORIGIN, "x-csrf-token": admin.token}
    answer = await admin.client.post(f"/rules/{rule_id}/check", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]
    assert "Traceback" not in answer.text


async def test_a_version_that_fails_its_case_is_not_published_and_the_page_says_why(office: Office) -> None:
    rule_id = await new_rule(office.world)
    version = await draft(office.world, rule_id, tests=[{**CASES[0], "expected": {"severity": "low"}}])
    admin = await office.visitor("admin")
    refused = await admin.post(f"/rules/{rule_id}/publish", {"version": str(version)})
    assert refused.status_code == 422
    assert "Severity is high, low was expected" in _words(refused)


async def test_readers_see_a_rule_and_try_it_but_change_nothing(office: Office) -> None:
    rule_id = await in_force(office.world)
    await draft(office.world, rule_id)
    version = (await _version(office, rule_id)).id
    path = f"/rules/{rule_id}"
    for role in ("preparer", "auditor"):
        reader = await office.visitor(role)
        page = await reader.get(path)
        assert page.status_code == 200
        for control in ("data-rule-save", "data-rule-publish", "data-rule-add-row", f"{path}/discard"):
            assert control not in page.text
        assert json.loads(_editor(page))["editable"] is False
        tried = await _send(
            reader, f"{path}/check", {"content": table(BIG).plain(), "tried": {"pnl": "1", "desk": "x"}}
        )
        assert tried.json()["trial"]["matched"] == ["r2"]
        for act in ("publish", "discard", "draft", "retire"):
            answer = await reader.post(f"{path}/{act}", {"version": str(version), "reason": "x"})
            assert answer.status_code == 403, act
        assert (await _send(reader, f"{path}/save", {"content": {}})).status_code == 403


def _editor(page: httpx.Response) -> str:
    import html

    found = re.search(r'data-rule="([^"]+)"', page.text)
    assert found is not None
    return html.unescape(found.group(1))


async def test_changes_need_the_token_of_the_page(office: Office) -> None:
    rule_id = await new_rule(office.world)
    admin = await office.visitor("admin")
    for act in ("save", "check"):
        assert (await _send(admin, f"/rules/{rule_id}/{act}", {"content": {}}, token=FALSE_TOKEN)).status_code == 403
    for act in ("publish", "draft", "discard", "retire"):
        assert (await admin.post(f"/rules/{rule_id}/{act}", {"csrf_token": FALSE_TOKEN})).status_code == 403
    assert await _version(office, rule_id) is None


async def test_who_has_no_role_sees_no_rule(office: Office) -> None:
    rule_id = await in_force(office.world)
    stranger = await office.visitor()
    assert (await stranger.get(f"/rules/{rule_id}")).status_code in (403, 404)
    admin = await office.visitor("admin")
    assert (await admin.get("/rules/not-an-id")).status_code == 404


async def test_versions_are_compared_and_downloaded(office: Office) -> None:
    rule_id = await in_force(office.world)
    first = (await _version(office, rule_id)).id
    await draft(office.world, rule_id, table([BIG[0], ({"desk": "EM"}, LOW), ({}, LOW)]))
    second = (await _version(office, rule_id)).id
    admin = await office.visitor("admin")
    page = await admin.get(f"/rules/{rule_id}?version={second}&compare={first}")
    assert "Version 2 against version 1" in _words(page)
    assert "Changed Row 2 Desk" in _words(page)
    assert "Added Row 3" in _words(page)
    graph = await admin.get(f"/rules/{rule_id}/jdm?version={second}")
    assert graph.headers["content-disposition"] == 'attachment; filename="SEVERITY-2.json"'
    assert graph.json()["nodes"][1]["type"] == "decisionTableNode"
    assert (await admin.get(f"/rules/{rule_id}?compare={rule_id}")).status_code == 404


async def test_texts_of_a_rule_are_never_markup(office: Office) -> None:
    evil = "<script>alert(1)</script>\"'"
    rule_id = await new_rule(office.world)
    content = table(BIG).plain()
    content["rows"][0]["note"] = evil
    admin = await office.visitor("admin")
    await _send(admin, f"/rules/{rule_id}/save", {"content": content, "tests": CASES})
    page = await admin.get(f"/rules/{rule_id}")
    assert "<script>alert" not in page.text
    assert json.loads(_editor(page))["found"]["content"]["rows"][0]["note"] == evil


async def test_the_page_of_a_rule_costs_few_statements(office: Office) -> None:
    rule_id = await in_force(office.world)
    admin = await office.visitor("admin")
    await admin.get(f"/rules/{rule_id}")
    with office.statements() as seen:
        await admin.get(f"/rules/{rule_id}")
    assert len(seen) <= 12, seen
