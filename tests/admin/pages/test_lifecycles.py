"""The pages of lifecycles: read by everybody, edited by administrators; nothing typed is lost when it is refused."""

import html
import json
import re
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.domain.entities.service import create_record
from tests.admin.conftest import ORIGIN, TRADE, Browser, Office
from tests.factories import SYSTEM
from tests.service.lifecycles.conftest import CONFIRMATION, publish_lifecycle


class Studio:
    """An administrator at a lifecycle of trades that is in force."""

    def __init__(self, office: Office, admin: Browser, id_: UUID) -> None:
        self.office, self.admin, self.id = office, admin, id_
        self.path = f"/lifecycles/{id_}"

    async def versions(self) -> list[tuple[int, str]]:
        async with self.office.runtime.uow(SYSTEM) as uow:
            mine = "SELECT number, state FROM lifecycle_version WHERE lifecycle_id = :id ORDER BY number"
            rows = await uow.execute(text(mine), {"id": self.id})
            return [(row.number, row.state) for row in rows]

    async def editor(self) -> dict[str, Any]:
        """What the form of the draft would send as it is."""
        return sent_by((await self.admin.get(self.path)).text)


def sent_by(page: str) -> dict[str, Any]:
    """The controls of the editor with their values, as a browser would send them."""
    form = page[page.index('id="lifecycle-form"') : page.index("<template data-state-template>")]
    found: dict[str, Any] = {}

    def put(name: str, value: str) -> None:
        if name in found:
            found[name] = [*(found[name] if isinstance(found[name], list) else [found[name]]), value]
        else:
            found[name] = value

    for tag in re.findall(r"<input [^>]*>", form):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and (not re.search(r'type="(checkbox|radio)"', tag) or " checked" in tag):
            put(name[1], html.unescape(value[1]) if value else "")
    for name, inner in re.findall(r'<select [^>]*name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', inner) or re.search(r'<option value="([^"]*)"', inner)
        put(name, html.unescape(chosen[1]) if chosen else "")
    for name, inner in re.findall(r'<textarea [^>]*name="([^"]+)"[^>]*>(.*?)</textarea>', form, re.DOTALL):
        put(name, html.unescape(inner))
    return {name: value for name, value in found.items() if name != "csrf_token"}


@pytest.fixture
async def studio(office: Office) -> Studio:
    admin = await office.visitor("admin", application="PLATFORM", name="Ines Admin")
    for role in ("preparer", "controller"):
        await office.visitor(role)
    await publish_lifecycle(office.world, CONFIRMATION)
    async with office.runtime.uow(SYSTEM) as uow:
        id_ = await uow.scalar(text("SELECT id FROM lifecycle WHERE code = 'confirmation'"))
    return Studio(office, admin, id_)


async def test_everybody_reads_a_lifecycle_in_words_and_nobody_else_is_offered_to_change_it(studio: Studio) -> None:
    async with studio.office.runtime.uow(studio.office.world.actor("preparer")) as uow:
        await create_record(uow, "trade", {**TRADE, "book": str(studio.office.world.nodes["G10-1"])})
    reader = await studio.office.visitor("preparer")
    listed = (await reader.get("/lifecycles")).text
    assert f'href="{studio.path}"' in listed
    assert "New lifecycle" not in listed
    page = (await reader.get(studio.path)).text
    for words in (
        "Only where Quantity is not 0 and Book / Code is not “EM-2”",
        "Filled in: Counterparty",
        "2 people approve",
        "Not by who created it or who changed it last",
        "Note becomes confirmed",
        "Tells who created it: {title} is {state}",
        "Only Controller",
        "All new ones",
        "4 states and 4 steps, from Captured on",
        "1 record",
    ):
        assert words in html.unescape(page), words
    assert "New draft" not in page
    assert "lc-settings" not in page
    for tail, data in (("/draft", {}), ("/save", {}), ("/discard", {}), ("/settings", {"label": "x"})):
        assert (await reader.post(f"{studio.path}{tail}", data)).status_code in (403, 404), tail
    assert (await reader.post("/lifecycles/new", {"label": "X", "entity": "trade"})).status_code == 403
    assert await studio.versions() == [(1, "published")]


async def test_a_draft_sent_as_it_is_shown_is_the_same_lifecycle(studio: Studio) -> None:
    await studio.admin.post(f"{studio.path}/draft")
    before = await _parts(studio, 1)
    answer = await studio.admin.post(f"{studio.path}/save", {**await studio.editor(), "then": "save"})
    assert (answer.status_code, answer.headers["location"]) == (303, studio.path)
    assert await _parts(studio, 2) == before


async def _parts(studio: Studio, number: int) -> tuple[list[Any], list[Any]]:
    leave = "- 'id' - 'parent_id' - 'created_at' - 'created_by' - 'updated_at' - 'updated_by' - 'row_version'"
    found = []
    async with studio.office.runtime.uow(SYSTEM) as uow:
        for table in ("lifecycle_state", "lifecycle_transition"):
            statement = (
                f"SELECT to_jsonb(p) {leave} FROM {table} p "
                "JOIN lifecycle_version v ON v.id = p.parent_id "
                "WHERE v.number = :number AND v.lifecycle_id = :id ORDER BY p.position"
            )
            values = {"number": number, "id": studio.id}
            found.append(list((await uow.execute(text(statement), values)).scalars()))
    return found[0], found[1]


async def test_a_new_state_and_step_are_named_by_their_labels_and_published_with_the_impact_in_view(
    studio: Studio,
) -> None:
    await studio.admin.post(f"{studio.path}/draft")
    page = html.unescape((await studio.admin.get(studio.path)).text)
    assert "get version 2" in page
    sent = await studio.editor() | {
        "s-1001-label": "Sent back",
        "s-1001-category": "active",
        "s-1001-editing": "anyone",
        "t-1002-label": "Ask again",
        "t-1002-from": "submitted",
        "t-1002-to": "sent_back",
        "t-1002-comment": "yes",
        "t-1003-label": "Hand in again",
        "t-1003-from": "sent_back",
        "t-1003-to": "submitted",
        "t-1003-guard": json.dumps({"rate": {"gt": "0"}}),
        "t-1003-e-1-kind": "set_field",
        "t-1003-e-1-field": "late",
        "t-1003-e-1-value": "yes",
        "notes": "A way back",
        "then": "publish",
    }
    answer = await studio.admin.post(f"{studio.path}/save", sent)
    assert answer.status_code == 303, answer.text
    assert await studio.versions() == [(1, "retired"), (2, "published")]
    _, steps = await _parts(studio, 2)
    last = steps[-1]
    assert (last["name"], last["from_states"], last["to_state"], last["guard"]) == (
        "hand_in_again", "sent_back", "submitted", {"rate": {"gt": "0"}},
    )  # fmt: skip
    assert last["effects"] == [{"kind": "set_field", "field": "late", "value": True}]


async def test_what_is_wrong_stands_at_its_control_and_nothing_typed_is_lost(studio: Studio) -> None:
    await studio.admin.post(f"{studio.path}/draft")
    sent = await studio.editor()
    wrong = sent | {
        "s-0-label": "",
        "t-0-guard": '{"nonsense": 1}',
        "t-1-approvals": "many",
        "t-3-label": "Call off",
        "t-3-e-0-kind": "create_record",
        "t-3-e-0-entity": "trade",
        "t-3-e-0-values": "book: here",
        "notes": "My notes",
    }
    answer = await studio.admin.post(f"{studio.path}/save", wrong)
    page = html.unescape(answer.text)
    assert answer.status_code == 422
    assert "4 things need attention; they are marked below." in page
    for words in (
        "Give the state a name.",
        "nonsense",
        "Give a number from 1 to 20.",
        "Write “book: here” as: field = value.",
    ):
        assert words in page, words
    assert 'value="Call off"' in page
    assert "book: here</textarea>" in page
    assert "My notes</textarea>" in page
    again = await studio.editor()
    assert again["t-3-label"] == "Cancel"


async def test_findings_stand_beside_their_places_and_hold_back_the_publication(studio: Studio) -> None:
    await studio.admin.post(f"{studio.path}/draft")
    sent = await studio.editor() | {"s-1001-label": "Lost", "s-1001-category": "active", "then": "check"}
    assert (await studio.admin.post(f"{studio.path}/save", sent)).status_code == 303
    page = html.unescape((await studio.admin.get(studio.path)).text)
    place = page[page.index('data-name="lost"') : page.index("</li>", page.index('data-name="lost"'))]
    assert "No way leads from the first state to “Lost”." in place
    assert "2 errors" in page
    refused = await studio.admin.post(f"{studio.path}/save", await studio.editor() | {"then": "publish"})
    assert refused.status_code == 422
    assert "No way leads from the first state" in html.unescape(refused.text)
    assert await studio.versions() == [(1, "published"), (2, "draft")]


async def test_of_two_who_edit_the_second_is_told_and_keeps_what_was_typed(studio: Studio) -> None:
    await studio.admin.post(f"{studio.path}/draft")
    mine = await studio.editor()
    other = await studio.office.visitor("admin", application="PLATFORM")
    assert (await other.post(f"{studio.path}/save", mine | {"s-0-label": "Entered"})).status_code == 303
    late = await studio.admin.post(f"{studio.path}/save", mine | {"s-0-label": "Caught"})
    assert late.status_code == 412
    assert "Somebody else has saved this draft" in late.text
    assert 'value="Caught"' in late.text
    assert (await studio.editor())["s-0-label"] == "Entered"


async def test_a_draft_is_discarded_and_a_second_one_is_not_begun_beside_it(studio: Studio) -> None:
    assert (await studio.admin.post(f"{studio.path}/draft")).status_code == 303
    assert (await studio.admin.post(f"{studio.path}/draft")).status_code == 409
    assert (await studio.admin.post(f"{studio.path}/discard")).status_code == 303
    assert await studio.versions() == [(1, "published")]
    assert (await studio.admin.post(f"{studio.path}/discard")).status_code == 404


async def test_settings_say_which_records_get_it_and_conditions_that_do_not_fit_are_refused(studio: Studio) -> None:
    page = (await studio.admin.get(studio.path)).text
    version = re.search(r'data-settings-form.*?name="row_version" value="(\d+)"', page, re.DOTALL)
    assert version
    given = {"label": "Confirming", "priority": "3", "active": "yes", "row_version": version[1]}
    bad = await studio.admin.post(f"{studio.path}/settings", {**given, "applies_when": '{"nothing": 1}'})
    assert (bad.status_code, 'id="lc-settings" aria-labelledby="lc-settings-t" data-open' in bad.text) == (422, True)
    beyond = await studio.admin.post(f"{studio.path}/settings", {**given, "applies_when": '{"book.code": "X"}'})
    assert beyond.status_code == 422
    good = await studio.admin.post(f"{studio.path}/settings", {**given, "applies_when": '{"product": "swap"}'})
    assert good.status_code == 303
    shown = html.unescape((await studio.admin.get(studio.path)).text)
    assert "New ones where Product is swap, with priority 3" in shown
    stale = await studio.admin.post(f"{studio.path}/settings", given)
    assert stale.status_code == 412


async def test_a_lifecycle_begins_with_a_draft_of_two_states(studio: Studio) -> None:
    answer = await studio.admin.post("/lifecycles/new", {"label": "Limits", "entity": "pnl_threshold"})
    assert answer.status_code == 303
    page = (await studio.admin.get(answer.headers["location"])).text
    assert re.search(r'<span class="st draft">.*?Draft, version 1', page)
    assert "As saved, nothing is wrong" in page
    for label, entity in (("", "trade"), ("X", "calendar"), ("X", "process_run")):
        refused = await studio.admin.post("/lifecycles/new", {"label": label, "entity": entity})
        assert refused.status_code == 422
        assert 'id="new-lifecycle" aria-labelledby="new-lifecycle-t" data-open' in refused.text


async def test_the_platforms_own_lifecycle_is_shown_and_changed_by_nobody(studio: Studio) -> None:
    async with studio.office.runtime.uow(SYSTEM) as uow:
        own = await uow.scalar(text("SELECT id FROM lifecycle WHERE code = 'process_run'"))
    path = f"/lifecycles/{own}"
    page = html.unescape((await studio.admin.get(path)).text)
    for words in (
        "is changed by nobody",
        "The role of the open approval level",
        "In progress or In review",
        "Not drawn",
    ):
        assert words in page, words
    assert "New draft" not in page
    assert (await studio.admin.post(f"{path}/draft")).status_code == 403
    settings = {"label": "Mine", "priority": "0", "row_version": "1"}
    assert (await studio.admin.post(f"{path}/settings", settings)).status_code == 403
    listed = (await studio.admin.get("/lifecycles")).text
    assert re.search(rf'href="{path}">Process of a run</a> <span class="st plain">', listed)


async def test_pages_that_there_are_not_and_posts_from_elsewhere(studio: Studio) -> None:
    for path in ("/lifecycles/x", f"/lifecycles/{UUID(int=5)}", f"{studio.path}?version=9"):
        assert (await studio.admin.get(path)).status_code == 404, path
    for tail in ("/draft", "/save", "/discard", "/settings"):
        answer = await studio.admin.client.post(f"{studio.path}{tail}", data={}, headers={"origin": ORIGIN})
        assert answer.status_code == 403, tail
