"""The designer: a draft is made, changed, checked and published on its pages; a published version is only looked at."""

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.core.actor import system_actor
from app.domain.workflow.definition_store import new_draft_from
from app.domain.workflow.runs import create_run
from tests.admin.pages.conftest import Site
from tests.admin.pages.designing import DRAFT, _published, definition, form_of, outline, part, press, words
from tests.service.workflow.bank import DAY


@pytest.fixture
async def draft(site: Site) -> UUID:
    """Version 2 of W is a draft of version 1: stage s1 with a, b, c; b waits for a."""
    version_id = await _published(site)
    async with site.runtime.uow(system_actor("Test")) as uow:
        return await new_draft_from(uow, version_id=version_id)


async def test_the_workflows_and_their_versions_are_listed_with_their_runs(site: Site, draft: UUID) -> None:
    async with site.runtime.uow(system_actor("Test")) as uow:
        await create_run(uow, workflow="W", business_date=DAY)
    browser = await site.browser("preparer")
    page = words(await browser.get("/workflows"))
    assert "Close W" in page
    assert "Version 1 since" in page
    page = words(await browser.get("/workflows/W"))
    assert re.search(r"Version 2 Draft .* 3 0 0 ", page)
    assert re.search(r"Version 1 Published .* 3 1 1 ", page)
    assert "New draft" not in page
    assert "Import" not in page
    assert (await browser.get("/workflows/NONE")).status_code == 404


async def test_ids_lead_to_the_pages(site: Site, draft: UUID) -> None:
    browser = await site.browser("preparer")
    answer = await browser.get(f"/workflow-versions/{draft}")
    assert (answer.status_code, answer.headers["location"]) == (303, DRAFT)
    async with site.runtime.uow(system_actor("Test")) as uow:
        workflow = await uow.scalar(text("SELECT id FROM workflow"))
    assert (await browser.get(f"/workflows/{workflow}")).headers["location"] == "/workflows/W"
    assert (await browser.get("/workflow-versions/none")).status_code == 404
    assert (await browser.get("/workflows/W/versions/x")).status_code == 404
    assert (await browser.get("/workflows/W/versions/9")).status_code == 404


async def test_a_draft_is_shown_as_a_tree_with_the_chosen_process_beside_it(site: Site, draft: UUID) -> None:
    browser = await site.browser("admin")
    answer = await browser.get(f"{DRAFT}?item=process.b")
    page = words(answer)
    assert answer.text.count('role="treeitem"') == 4
    assert 'aria-selected="true"' in answer.text
    assert "1.2 B" in page
    sent = form_of(answer)
    assert sent["label"] == "B"
    assert sent["approval_levels-0-role"] == "controller"
    assert sent["owner_role"] == "preparer"
    assert "version" not in sent
    assert "rank" not in sent
    assert "Waits for A" in page.replace("  ", " ")
    assert "The next deadlines" in page
    assert "“C” depends on nothing" in page
    assert "Nothing differs from the published version." in page


async def test_a_published_version_has_the_same_page_without_anything_to_change(site: Site, draft: UUID) -> None:
    browser = await site.browser("admin")
    answer = await browser.get("/workflows/W/versions/1?item=process.b")
    assert "Published, version 1" in words(answer)
    assert "New draft from this" in answer.text
    for word in ('data-dialog="remove-dialog"', "wf-save", "wf-publish", "data-record-form", 'name="label"'):
        assert word not in answer.text
    reader = await (await site.browser("preparer")).get(f"{DRAFT}?item=process.b")
    for word in ('data-dialog="remove-dialog"', "wf-save", "wf-publish", "data-record-form", 'name="label"'):
        assert word not in reader.text


async def test_the_dependencies_are_drawn_and_the_chosen_process_stands_out(site: Site, draft: UUID) -> None:
    browser = await site.browser("admin")
    page = (await browser.get(f"{DRAFT}?tab=dependencies")).text
    assert page.count('class="node') == 3
    assert page.count('class="edge hard') == 1
    assert "B waits for A" in page
    assert 'class="node warn' in page  # nothing leads to C
    assert f'href="{DRAFT}?tab=dependencies&amp;item=process.b"' in page
    chosen = await browser.get(f"{DRAFT}?tab=dependencies&item=process.b")
    assert re.findall(r'class="node (chosen|before|aside)', chosen.text) == ["before", "chosen", "aside"]
    assert 'class="edge hard way"' in chosen.text
    assert form_of(chosen)["label"] == "B"
    assert "wf-svg" not in (await browser.get(DRAFT)).text


# -- changing ----------------------------------------------------------------------------------------------------------


async def test_a_stage_a_process_an_approval_level_and_a_dependency_are_added(site: Site, draft: UUID) -> None:
    browser = await site.browser("admin")
    sent = form_of(await browser.get(f"{DRAFT}?item=new-stage"))
    answer = await browser.post(f"{DRAFT}/save", {**sent, "label": "Sign off"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{DRAFT}?item=stage.sign_off")
    page = await browser.get(f"{DRAFT}?item=new-process.sign_off")
    assert "in 2 Sign off" in words(page)
    given = {
        **form_of(page), "label": "Head signs", "kind": "manual", "owner_role": "preparer",
        "deadline": "BD+0 19:00 Europe/Berlin", "approval_levels-_count": "1", "approval_levels-0-_id": "",
        "approval_levels-0-level": "1", "approval_levels-0-role": "desk_head",
    }  # fmt: skip
    answer = await browser.post(f"{DRAFT}/save", given)
    assert answer.headers.get("location") == f"{DRAFT}?item=process.head_signs", words(answer)
    made = await part(site, draft, "process", "head_signs")
    page = await browser.get(f"{DRAFT}?tab=dependencies&item=new-edge.head_signs")
    sent = form_of(page)
    assert sent["successor"] == str(made.id)
    before = await part(site, draft, "process", "b")
    answer = await browser.post(f"{DRAFT}/save", {**sent, "predecessor": str(before.id), "accepts": "done"})
    assert answer.status_code == 303, words(answer)
    found = await definition(site, draft)
    assert await outline(site, draft) == ["s1", "-a", "-b", "-c", "sign_off", "-head_signs"]
    process = next(p for p, _ in found.processes() if p.code == "head_signs")
    assert [level.role for level in process.approval_levels] == ["desk_head"]
    assert {(e.predecessor, e.successor) for e in found.dependencies} == {("a", "b"), ("b", "head_signs")}
    listed = words(await browser.get(f"{DRAFT}?tab=dependencies"))
    assert "B Head Signs" in listed.title()
    tree = (await browser.get(DRAFT)).text
    assert tree.count('aria-label="Added"') >= 2


async def test_changed_fields_are_saved_and_marked(site: Site, draft: UUID) -> None:
    browser = await site.browser("admin")
    sent = form_of(await browser.get(f"{DRAFT}?item=process.a"))
    answer = await browser.post(f"{DRAFT}/save", {**sent, "label": "First of all", "critical": "true"})
    assert answer.headers["location"] == f"{DRAFT}?item=process.a"
    row = await part(site, draft, "process", "a")
    assert (row.label, row.critical, row.row_version) == ("First of all", True, 2)
    page = await browser.get(f"{DRAFT}?item=process.a")
    assert 'aria-label="Changed"' in page.text
    assert "1 process: First of all" in re.sub(r"\s+", " ", words(page)).replace(" 1 process", "1 process")


async def test_what_is_wrong_is_said_at_the_field_and_what_was_typed_stays(site: Site, draft: UUID) -> None:
    browser = await site.browser("admin")
    sent = form_of(await browser.get(f"{DRAFT}?item=process.a"))
    answer = await browser.post(f"{DRAFT}/save", {**sent, "label": "", "warn_minutes": "-5"})
    assert answer.status_code == 422
    assert 'id="f-label-e"' in answer.text
    assert 'id="f-warn_minutes-e"' in answer.text
    assert form_of(answer)["warn_minutes"] == "-5"
    sent = form_of(await browser.get(f"{DRAFT}?item=new-process.s1"))
    answer = await browser.post(
        f"{DRAFT}/save", {**sent, "label": "Same", "code": "a", "kind": "manual", "owner_role": "preparer"}
    )
    assert answer.status_code == 409
    assert "There is a process with this code" in answer.text
    assert form_of(answer)["label"] == "Same"


async def test_of_two_at_the_same_process_the_second_sees_what_the_first_has_saved(site: Site, draft: UUID) -> None:
    browser = await site.browser("admin")
    sent = form_of(await browser.get(f"{DRAFT}?item=process.a"))
    await browser.post(f"{DRAFT}/save", {**sent, "label": "Mine"})
    answer = await browser.post(f"{DRAFT}/save", {**sent, "label": "Yours"})
    assert answer.status_code == 412
    page = words(answer)
    assert "Somebody else saved first." in page
    assert "admin changed this process after you opened it" in page
    assert "Mine" in page
    again = form_of(answer)
    assert (again["label"], again["row_version"]) == ("Yours", "2")
    assert (await browser.post(f"{DRAFT}/save", again)).status_code == 303
    assert (await part(site, draft, "process", "a")).label == "Yours"
    row = await part(site, draft, "process", "b")
    stale = SimpleNamespace(id=row.id, code="b", row_version=7)
    answer = await press(browser, "up", "process", stale)
    assert answer.status_code == 412
    assert "Load it again and repeat your change" in answer.text


async def test_parts_are_moved_duplicated_and_removed(site: Site, draft: UUID) -> None:
    browser = await site.browser("admin")

    async def do(action: str, code: str, entity: str = "process", **values: str) -> httpx.Response:
        answer = await press(browser, action, entity, await part(site, draft, entity, code), **values)
        assert answer.status_code == 303, words(answer)
        return answer

    await do("up", "c")
    assert await outline(site, draft) == ["s1", "-a", "-c", "-b"]
    await do("down", "a")
    assert await outline(site, draft) == ["s1", "-c", "-a", "-b"]
    answer = await do("duplicate", "b")
    assert answer.headers["location"] == f"{DRAFT}?item=process.b_copy"
    sent = form_of(await browser.get(f"{DRAFT}?item=new-stage"))
    await browser.post(f"{DRAFT}/save", {**sent, "label": "Two"})
    two = await part(site, draft, "stage", "two")
    await do("move", "a", stage=str(two.id))
    assert await outline(site, draft) == ["s1", "-c", "-b", "-b_copy", "two", "-a"]
    one = await part(site, draft, "stage", "s1")
    await do("move", "two", entity="stage", stage=str(one.id))
    assert (await part(site, draft, "stage", "two")).parent_id == one.id
    page = words(await browser.get(f"{DRAFT}?item=stage.s1"))
    assert "“Stage” is removed from this draft, and with it 1 stage (Two), 4 processes (C, B, B (copy), A)" in page
    assert "1 dependency." in page
    await do("remove", "two", entity="stage")
    assert await outline(site, draft) == ["s1", "-c", "-b", "-b_copy"]
    answer = await press(browser, "move", "process", await part(site, draft, "process", "b"), stage="")
    assert answer.status_code == 400


async def test_a_dependency_is_removed_in_its_editor(site: Site, draft: UUID) -> None:
    browser = await site.browser("admin")
    async with site.runtime.uow(system_actor("Test")) as uow:
        edge = (
            await uow.execute(
                text("SELECT id, row_version FROM process_dependency WHERE version_id = :v"), {"v": draft}
            )
        ).one()
    page = await browser.get(f"{DRAFT}?tab=dependencies&item=edge.{edge.id}")
    assert "The dependency A → B is removed from this draft." in words(page)
    answer = await press(browser, "remove", "process_dependency", edge, _tab="dependencies")
    assert answer.status_code == 303
    assert (await definition(site, draft)).dependencies == ()


# -- publishing --------------------------------------------------------------------------------------------------------


# -- drafts, files, comparison -----------------------------------------------------------------------------------------


CHANGES: tuple[tuple[str, dict[str, str]], ...] = (
    ("/workflows/W/draft", {"number": "1"}),
    ("/workflows/W/discard", {"number": "2"}),
    (f"{DRAFT}/publish", {"digest": "0" * 64}),
)


@pytest.mark.parametrize("who", ["preparer", "controller", "operations"])
async def test_only_administrators_change_anything(site: Site, draft: UUID, who: str) -> None:
    browser = await site.browser(who)
    for path, values in CHANGES:
        assert (await browser.post(path, values)).status_code == 403, path
    row = await part(site, draft, "process", "a")
    for action in ("up", "move", "duplicate", "remove"):
        stage = str(row.stage_id)
        assert (await press(browser, action, "process", row, stage=stage)).status_code == 403, action
    given = {"_entity": "process", "_id": str(row.id), "row_version": "1", "label": "X"}
    assert (await browser.post(f"{DRAFT}/save", given)).status_code == 403
    assert await outline(site, draft) == ["s1", "-a", "-b", "-c"]


async def test_what_makes_no_sense_is_refused_in_words(site: Site, draft: UUID) -> None:
    browser = await site.browser("admin")
    row = await part(site, draft, "process", "a")
    assert (await press(browser, "explode", "process", row)).status_code == 404
    assert (await browser.post(f"{DRAFT}/save", {"_entity": "user"})).status_code == 400
    assert (await browser.post(f"{DRAFT}/change/up", {"_entity": "process", "_id": "x"})).status_code == 400
    page = await browser.get(f"{DRAFT}?item=process.none")
    assert page.status_code == 200
    assert "Choose a stage or a process" in words(page)


async def test_the_page_costs_the_same_number_of_statements_whatever_the_size(site: Site, draft: UUID) -> None:
    browser = await site.browser("admin")

    async def statements(path: str) -> int:
        await browser.get(path)
        with site.statements() as seen:
            assert (await browser.get(path)).status_code == 200
        return len(seen)

    count: Callable[[], Any] = lambda: statements(f"{DRAFT}?item=process.b")  # noqa: E731
    before = await count()
    async with site.runtime.uow(system_actor("Test")) as uow:
        await uow.execute(
            text(
                "INSERT INTO process (id, version_id, stage_id, code, label, rank, kind, owner_role, critical, "
                "require_comment, skip_allowed, row_version, created_at, updated_at) "
                "SELECT uuidv7(), version_id, stage_id, 'x' || n, 'X ' || n, 100 + n, kind, owner_role, critical, "
                "require_comment, skip_allowed, 1, created_at, updated_at "
                "FROM process, generate_series(1, 200) n WHERE version_id = :v AND code = 'a'"
            ),
            {"v": draft},
        )
    assert await count() == before
    assert before <= 40
