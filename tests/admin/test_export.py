"""Export: the rows of the list and no others, neutral for spreadsheets, on record before a byte leaves."""

import csv
import io
import json
import re
import zipfile
from urllib.parse import quote

import pytest
from sqlalchemy import select

from admin_views.export import neutral
from models.system.tables import audit_entry
from tests.admin.conftest import MakeTrade, Office
from tests.factories import SYSTEM

COLUMNS = "columns=reference,book,quantity,counterparty,late"


def table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))


async def test_csv_has_what_the_list_has_in_its_order(office: Office, trade: MakeTrade) -> None:
    await trade(reference="A", product="swap", quantity="-1234567.8900", counterparty="Kestrel")
    await trade(reference="B", product="swap", quantity="7")
    await trade(reference="C", product="spot")
    await trade("EM-1", reference="HIDDEN", product="swap")
    browser = await office.visitor("preparer", node="G10")
    query = f"filter={quote(json.dumps({'product': 'swap'}))}&sort=-reference&{COLUMNS}"
    answer = await browser.get(f"/data/trades/export?format=csv&{query}")
    assert answer.status_code == 200
    assert re.search(r'filename="trades-\d{4}-\d\d-\d\d-\d{4}\.csv"', answer.headers["content-disposition"])
    assert table(answer.text) == [
        ["Reference", "Book", "Quantity", "Counterparty", "Captured after the cut"],
        ["B", "G10-1", "7.0000", "", "no"],
        ["A", "G10-1", "-1234567.8900", "Kestrel", "no"],
    ]
    searched = await browser.get(f"/data/trades/export?format=csv&q=B&{COLUMNS}")
    assert [row[0] for row in table(searched.text)[1:]] == ["B"]


async def test_an_export_is_on_record_with_its_count_and_filter(office: Office, trade: MakeTrade) -> None:
    for number in range(3):
        await trade(reference=f"T{number}")
    browser = await office.visitor("preparer")
    await browser.get(f"/data/trades/export?format=json&q=T&{COLUMNS}")
    async with office.runtime.uow(SYSTEM) as uow:
        statement = select(audit_entry).where(audit_entry.c.command == "trade.export")
        entry = (await uow.execute(statement)).one()
    assert entry.actor_id == browser.user_id
    assert (entry.context["count"], entry.context["format"], entry.context["search"]) == (3, "json", "T")
    assert entry.context["columns"] == ["reference", "book", "quantity", "counterparty", "late"]


async def test_text_that_a_spreadsheet_would_calculate_is_made_neutral(office: Office, trade: MakeTrade) -> None:
    for number, text in enumerate(('=HYPERLINK("http://evil","x")', "+1", "-1", "@SUM(A1)")):
        await trade(reference=f"T{number}", counterparty=text)
    browser = await office.visitor("preparer")
    answer = await browser.get(f"/data/trades/export?format=csv&sort=reference&{COLUMNS}")
    cells = [row[3] for row in table(answer.text)[1:]]
    assert cells == ['\'=HYPERLINK("http://evil","x")', "'+1", "'-1", "'@SUM(A1)"]
    assert neutral("\tx") == "'\tx"
    assert neutral("\rx") == "'\rx"
    assert neutral("a=b") == "a=b"


async def test_a_workbook_holds_numbers_as_numbers_and_no_formula(office: Office, trade: MakeTrade) -> None:
    await trade(reference="=1+1", quantity="1500.25")
    browser = await office.visitor("preparer")
    answer = await browser.get(f"/data/trades/export?format=xlsx&{COLUMNS}")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert re.search(r"<v>1500\.250*</v>", sheet)
    assert "<f>" not in sheet
    assert "&apos;=1+1" in sheet or "'=1+1" in sheet


async def test_json_has_exact_numbers_and_titles(office: Office, trade: MakeTrade) -> None:
    id_ = await trade(quantity="0.1")
    browser = await office.visitor("preparer")
    items = (await browser.get(f"/data/trades/export?format=json&{COLUMNS}")).json()
    assert items[0]["id"] == str(id_)
    assert items[0]["quantity"] == "0.1"
    assert items[0]["book_title"] == "G10-1"
    assert (await browser.get("/data/trades/export?format=json&q=zzz")).json() == []


async def test_more_than_one_page_of_rows_arrives_whole(
    office: Office, trade: MakeTrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admin_views.export.PAGE_SIZE", 4)
    for number in range(10):
        await trade(reference=f"T{number}")
    browser = await office.visitor("preparer")
    answer = await browser.get("/data/trades/export?format=csv&sort=reference&columns=reference")
    assert [row[0] for row in table(answer.text)[1:]] == [f"T{number}" for number in range(10)]


async def test_who_may_not_export_gets_no_file_and_no_button(office: Office, trade: MakeTrade) -> None:
    await trade()
    browser = await office.visitor("desk_head")
    assert (await browser.get("/data/trades/export?format=csv")).status_code == 403
    assert "/data/trades/export" not in (await browser.get("/data/trades")).text


async def test_a_field_that_one_may_not_read_is_not_exported(office: Office) -> None:
    browser = await office.visitor("preparer", "admin")
    answer = await browser.get("/data/trades/export?format=csv&columns=reference,password_hash,nothing")
    assert table(answer.text)[0] == ["Reference"]
    assert (await browser.get("/data/trades/export?format=pdf")).status_code == 400
    assert (await browser.get("/data/trades/export?format=csv&filter=x")).status_code == 400
