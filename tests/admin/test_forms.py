"""The generated form: what it refuses, how it says so, and what it never lets through."""

import html
import re
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select

from app.domain.entities.queries import get_record
from app.domain.entities.service import create_record, update_record
from models.system.tables import audit_entry
from tests.admin.conftest import TRADE, Browser, MakeTrade, Office
from tests.factories import SYSTEM, add_row


async def record(office: Office, entity: str, id_: UUID | str) -> dict[str, Any]:
    async with office.runtime.uow(SYSTEM) as uow:
        return (await get_record(uow, entity, UUID(str(id_)))).records[0]


async def audits(office: Office, id_: UUID) -> list[Any]:
    async with office.runtime.uow(SYSTEM) as uow:
        statement = select(audit_entry).where(audit_entry.c.record_id == id_).order_by(audit_entry.c.sequence)
        return list(await uow.execute(statement))


def inputs(page: str) -> dict[str, str]:
    """What the browser would send of the page's form: each control's value, the last one of a name."""
    form = page[page.index('id="record-form"') : page.index("</form>", page.index('id="record-form"'))]
    form = re.sub(r"<template.*?</template>", "", form, flags=re.DOTALL)
    found: dict[str, str] = {}
    for tag in re.findall(r"<input\b[^>]*>", form):
        name, value = re.search(r'\bname="([^"]*)"', tag), re.search(r'\bvalue="([^"]*)"', tag)
        if name and (not re.search(r'type="(checkbox|radio)"', tag) or " checked" in tag):
            found[html.unescape(name[1])] = html.unescape(value[1]) if value else ""
    for name, body in re.findall(r'<select\b[^>]*name="([^"]*)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', body)
        found[name] = html.unescape(chosen[1]) if chosen else ""
    for name, body in re.findall(r'<textarea\b[^>]*name="([^"]*)"[^>]*>(.*?)</textarea>', form, re.DOTALL):
        found[name] = html.unescape(body)
    return found


def error_of(page: str, name: str) -> str:
    """The message beside a field."""
    found = re.search(rf'id="f-{re.escape(name)}-e">.*?<span>(.*?)</span>', page, re.DOTALL)
    return html.unescape(found[1]) if found else ""


async def test_a_record_is_made_by_the_form_and_audited_with_it(office: Office) -> None:
    browser = await office.visitor("preparer")
    page = (await browser.get("/data/trades/new")).text
    assert "value_eur" not in inputs(page)
    answer = await browser.post(
        "/data/trades/new",
        {**inputs(page), **TRADE, "quantity": "1,000,000.50", "book": str(office.world.nodes["G10-1"])},
    )
    assert answer.status_code == 303, answer.text
    id_ = answer.headers["location"].rpartition("/")[2]
    made = await record(office, "trade", id_)
    assert str(made["quantity"]) == "1000000.5000"
    assert made["created_by"] == browser.user_id
    entries = await audits(office, UUID(id_))
    assert [(e.command, e.actor_id) for e in entries] == [("trade.create", browser.user_id)]
    shown = await browser.get(answer.headers["location"])
    assert "Trade created." in shown.text
    assert "Trade created." not in (await browser.get(answer.headers["location"])).text


async def test_every_problem_stands_beside_its_field_and_nothing_typed_is_lost(office: Office) -> None:
    browser = await office.visitor("preparer")
    answer = await browser.post(
        "/data/trades/new", {"currency": "usd", "quantity": "many", "counterparty": "Kestrel <b>", "rate": ""}
    )
    assert answer.status_code == 422
    assert error_of(answer.text, "quantity") == "Must be a number, for example 1250.75."
    assert error_of(answer.text, "currency").startswith("Three capital letters")
    assert 'value="Kestrel &lt;b&gt;"' in answer.text
    assert 'href="#f-quantity">Quantity</a>' in answer.text
    second = await browser.post("/data/trades/new", {"currency": "USD", "quantity": "5", "rate": ""})
    assert error_of(second.text, "rate") == "Is required."
    assert error_of(second.text, "book") == "Is required."
    async with office.runtime.uow(SYSTEM) as uow:
        assert await uow.scalar(select(uow.table("trade").c.id)) is None
        assert await uow.scalar(select(audit_entry.c.id).where(audit_entry.c.command == "trade.create")) is None


async def test_an_edit_writes_only_what_differs(office: Office, trade: MakeTrade) -> None:
    id_ = await trade(quantity="1234567.1234", rate="1.123456789012", late=True, late_reason="feed down")
    browser = await office.visitor("preparer")
    page = (await browser.get(f"/data/trades/{id_}/edit")).text
    sent = inputs(page)
    assert sent["quantity"] == "1,234,567.1234"
    assert sent["rate"] == "1.123456789012"
    answer = await browser.post(f"/data/trades/{id_}/edit", {**sent, "note": "checked"})
    assert answer.status_code == 303, answer.text
    entry = (await audits(office, id_))[-1]
    assert (entry.command, entry.before, entry.after) == ("trade.update", {"note": None}, {"note": "checked"})
    again = inputs((await browser.get(f"/data/trades/{id_}/edit")).text)
    answer = await browser.post(f"/data/trades/{id_}/edit", again)
    assert answer.status_code == 303
    assert (await record(office, "trade", id_))["row_version"] == 2


async def test_a_box_that_is_switched_off_is_off_and_clears_what_depends_on_it(
    office: Office, trade: MakeTrade
) -> None:
    id_ = await trade(late=True, late_reason="feed down")
    browser = await office.visitor("preparer")
    sent = inputs((await browser.get(f"/data/trades/{id_}/edit")).text)
    assert sent["late"] == "true"
    await browser.post(f"/data/trades/{id_}/edit", {**sent, "late": ""})
    changed = await record(office, "trade", id_)
    assert changed["late"] is False
    assert changed["late_reason"] is None


async def test_a_condition_is_enforced_whatever_the_browser_hides(office: Office, trade: MakeTrade) -> None:
    id_ = await trade()
    browser = await office.visitor("preparer")
    page = (await browser.get(f"/data/trades/{id_}/edit")).text
    assert " hidden data-visible-if='{\"late\": true}'" in html.unescape(page)
    answer = await browser.post(f"/data/trades/{id_}/edit", {**inputs(page), "late": "true"})
    assert answer.status_code == 422
    assert error_of(answer.text, "late_reason") == "Is required."
    assert " hidden data-visible-if" not in answer.text


async def test_a_stale_form_is_refused_with_theirs_beside_mine(office: Office, trade: MakeTrade) -> None:
    id_ = await trade(counterparty="Kestrel", trader="Jo")
    browser = await office.visitor("preparer", name="Ada Byron")
    sent = inputs((await browser.get(f"/data/trades/{id_}/edit")).text)
    async with office.runtime.uow(office.world.actor("preparer", name="Bea Clark")) as uow:
        await update_record(uow, "trade", id_, {"counterparty": "Delta", "note": "theirs"}, expected_version=1)
    mine = {**sent, "counterparty": "Harbour", "trader": "Max"}
    answer = await browser.post(f"/data/trades/{id_}/edit", mine)
    assert answer.status_code == 412
    assert "Bea Clark changed this trade after you opened it" in html.unescape(answer.text)
    assert error_of(answer.text, "counterparty") == ("Bea Clark has set this to “Delta” meanwhile; saving replaces it.")
    assert error_of(answer.text, "trader") == ""
    assert re.search(r'<th scope="row">Counterparty</th><td>Delta</td><td><b>Harbour</b></td>', answer.text)
    merged = inputs(answer.text)
    assert (merged["counterparty"], merged["trader"], merged["note"]) == ("Harbour", "Max", "theirs")
    assert (await record(office, "trade", id_))["counterparty"] == "Delta"
    assert (await browser.post(f"/data/trades/{id_}/edit", merged)).status_code == 303
    saved = await record(office, "trade", id_)
    assert (saved["counterparty"], saved["trader"], saved["note"]) == ("Harbour", "Max", "theirs")


async def test_a_form_without_its_version_or_with_an_invented_one_is_stale(office: Office, trade: MakeTrade) -> None:
    id_ = await trade()
    browser = await office.visitor("preparer")
    for version in ("", "0", "99", "-1", "x"):
        answer = await browser.post(f"/data/trades/{id_}/edit", {"row_version": version, "note": "mine"})
        assert answer.status_code == 412, version
    assert (await record(office, "trade", id_))["note"] is None


async def test_a_crafted_read_only_or_unknown_field_is_refused_by_name(office: Office, trade: MakeTrade) -> None:
    id_ = await trade()
    browser = await office.visitor("preparer")
    for name, value in (
        ("value_eur", "1"), ("reference", "OTHER"), ("colour", "red"), ("created_by", str(uuid4())),
        ("id", str(uuid4())),
    ):  # fmt: skip
        answer = await browser.post(f"/data/trades/{id_}/edit", {"row_version": "1", name: value})
        assert answer.status_code == 422, name
        assert "needs attention" in answer.text, name
    assert (await record(office, "trade", id_))["reference"] != "OTHER"
    admin = await office.visitor("admin", application="PLATFORM")
    user = await office.world.user("eve@bank.test")
    answer = await admin.post(f"/data/users/{user}/edit", {"row_version": "1", "password_hash": "x", "name": "Eve"})
    assert answer.status_code == 422
    assert (await record(office, "user", user))["name"] == "Person"


async def test_a_reference_that_the_lookup_hides_is_refused_at_its_field(office: Office, trade: MakeTrade) -> None:
    id_ = await trade("G10-1")
    browser = await office.visitor("preparer", node="G10")
    for book in (str(office.world.nodes["EM-1"]), str(uuid4()), "no-id"):
        answer = await browser.post(f"/data/trades/{id_}/edit", {"row_version": "1", "book": book})
        assert answer.status_code == 422, book
        assert "hierarchy node" in error_of(answer.text, "book") or "id of a record" in error_of(answer.text, "book")
        assert "EM-1" not in answer.text
    assert (await record(office, "trade", id_))["book"] == office.world.nodes["G10-1"]


async def test_what_the_database_refuses_is_said_in_words(office: Office, trade: MakeTrade) -> None:
    await trade(reference="TWICE")
    browser = await office.visitor("preparer")
    given = {**TRADE, "book": str(office.world.nodes["G10-1"]), "reference": "TWICE"}
    answer = await browser.post("/data/trades/new", given)
    assert answer.status_code == 409
    assert "There is a trade with this reference already." in answer.text
    answer = await browser.post("/data/trades/new", {**given, "reference": "ONCE", "quantity": "0"})
    assert "A trade needs a quantity that is not zero." in answer.text
    for word in ("asyncpg", "IntegrityError", "uq_trade", "INSERT", "sqlalche"):
        assert word not in answer.text


async def test_deleting_needs_the_version_and_the_permission(office: Office, trade: MakeTrade) -> None:
    id_ = await trade()
    preparer, admin = await office.visitor("preparer"), await office.visitor("admin")
    assert (await preparer.post(f"/data/trades/{id_}/delete", {"row_version": "1"})).status_code == 403
    assert "delete-dialog" not in (await preparer.get(f"/data/trades/{id_}")).text
    page = (await admin.get(f"/data/trades/{id_}")).text
    assert "is removed for good" in page
    assert (await admin.post(f"/data/trades/{id_}/delete", {"row_version": "7"})).status_code == 412
    assert (await admin.post(f"/data/trades/{id_}/delete", {"row_version": "1"})).status_code == 303
    assert (await admin.get(f"/data/trades/{id_}")).status_code == 404
    assert (await audits(office, id_))[-1].command == "trade.delete"


async def process_with_lines(office: Office) -> UUID:
    async with office.runtime.uow(SYSTEM) as uow:
        calendar = await create_record(uow, "calendar", {"code": "C", "label": "Calendar", "zone": "Europe/Berlin"})
        application = office.world.applications["PNL"]
        given = {"code": "CLOSE", "label": "Close", "application": str(application), "calendar": str(calendar["id"])}
        workflow = await create_record(uow, "workflow", given)
        version = await add_row(uow, "workflow_version", workflow_id=workflow["id"], number=1, state="draft")
        stage = await create_record(uow, "stage", {"version": str(version), "code": "s", "label": "Stage"})
        process = await create_record(
            uow,
            "process",
            {
                "version": str(version),
                "stage": str(stage["id"]),
                "code": "p",
                "label": "Load",
                "kind": "manual",
                "owner_role": "preparer",
                "approval_levels": [{"level": 1, "role": "controller"}, {"level": 2, "role": "desk_head"}],
            },
        )
    id_: UUID = process["id"]
    return id_


async def levels(office: Office, id_: UUID) -> list[tuple[int, str]]:
    return [(line["level"], line["role"]) for line in (await record(office, "process", id_))["approval_levels"]]


async def test_lines_are_changed_added_removed_and_put_in_another_order(office: Office) -> None:
    id_ = await process_with_lines(office)
    browser: Browser = await office.visitor("admin")
    sent = inputs((await browser.get(f"/data/processes/{id_}/edit")).text)
    assert sent["approval_levels-_count"] == "2"
    first, second = sent["approval_levels-0-_id"], sent["approval_levels-1-_id"]
    rows = {name: value for name, value in sent.items() if name.startswith("approval_levels-")}
    others = {name: value for name, value in sent.items() if name not in rows}
    moved = {
        "approval_levels-_count": "3",
        "approval_levels-1-_id": second, "approval_levels-1-level": "2", "approval_levels-1-role": "head",
        "approval_levels-0-_id": first, "approval_levels-0-level": "1", "approval_levels-0-role": "controller",
        "approval_levels-2-_id": "", "approval_levels-2-level": "3", "approval_levels-2-role": "operations",
    }  # fmt: skip
    answer = await browser.post(f"/data/processes/{id_}/edit", {**others, **moved})
    assert answer.status_code == 303, answer.text
    assert await levels(office, id_) == [(2, "head"), (1, "controller"), (3, "operations")]
    sent = inputs((await browser.get(f"/data/processes/{id_}/edit")).text)
    await browser.post(f"/data/processes/{id_}/edit", {**sent, "approval_levels-1-_delete": "1"})
    assert await levels(office, id_) == [(2, "head"), (3, "operations")]


async def test_a_wrong_line_is_marked_in_its_row_and_lines_that_did_not_change_are_not_written(
    office: Office,
) -> None:
    id_ = await process_with_lines(office)
    browser = await office.visitor("admin")
    sent = inputs((await browser.get(f"/data/processes/{id_}/edit")).text)
    answer = await browser.post(f"/data/processes/{id_}/edit", {**sent, "approval_levels-1-level": "12"})
    assert answer.status_code == 422
    assert error_of(answer.text, "approval_levels-1-level") == "Must be at most 9."
    assert "Approval levels, line 2, level" in answer.text
    answer = await browser.post(f"/data/processes/{id_}/edit", {**sent, "label": "Load again"})
    assert answer.status_code == 303
    assert (await audits(office, id_))[-1].after == {"label": "Load again"}


async def test_json_that_is_none_is_told_with_its_place(office: Office) -> None:
    id_ = await process_with_lines(office)
    browser = await office.visitor("admin")
    sent = inputs((await browser.get(f"/data/processes/{id_}/edit")).text)
    wrong = {**sent, "kind": "automatic", "action": "finance.load_rates", "parameters": '{\n"a": }'}
    answer = await browser.post(f"/data/processes/{id_}/edit", wrong)
    assert answer.status_code == 422
    assert error_of(answer.text, "parameters") == "Is not JSON: expecting value at line 2, column 6."
    answer = await browser.post(f"/data/processes/{id_}/edit", {**wrong, "parameters": '{"a": [1]}'})
    assert answer.status_code == 303, answer.text
    assert (await record(office, "process", id_))["parameters"] == {"a": [1]}


async def test_a_wall_time_is_taken_in_the_zone_of_the_person(office: Office) -> None:
    browser = await office.visitor("admin", application="PLATFORM", time_zone="America/New_York")
    async with office.runtime.uow(SYSTEM) as uow:
        role = await add_row(uow, "role", code="extra", label="Extra")
    given = {
        "user": str(browser.user_id), "role": str(role), "application": str(office.world.applications["PNL"]),
        "valid_from": "2026-07-01T09:00",
    }  # fmt: skip
    answer = await browser.post("/data/role-grants/new", given)
    assert answer.status_code == 303, html.unescape(answer.text)
    made = await record(office, "role_grant", answer.headers["location"].rpartition("/")[2])
    assert made["valid_from"].isoformat() == "2026-07-01T13:00:00+00:00"
    shown = (await browser.get(answer.headers["location"])).text
    assert "1 Jul 2026 09:00 EDT" in shown


async def test_the_history_tab_tells_old_and_new(office: Office, trade: MakeTrade) -> None:
    id_ = await trade("G10-1")
    browser = await office.visitor("preparer", name="Ada Byron")
    sent = inputs((await browser.get(f"/data/trades/{id_}/edit")).text)
    changed = {**sent, "book": str(office.world.nodes["G10-2"]), "quantity": "-5"}
    assert (await browser.post(f"/data/trades/{id_}/edit", changed)).status_code == 303
    page = (await browser.get(f"/data/trades/{id_}?tab=history")).text
    assert re.search(r"<del>G10-1</del>.*?<ins>G10-2</ins>", page)
    assert re.search(r"<del>1,000,000</del>.*?<ins>\u22125</ins>", page)
    assert "Ada Byron" in page
    labels = re.findall(r'<span class="k">([^<]*)</span>', page)
    assert labels[labels.index("Reference") :][:4] == ["Reference", "Book", "Trade date", "Product"]
    assert "909,090.91" in page
    assert (await browser.get(f"/data/trades/{id_}/history?before=x")).status_code == 400
