"""The generated list: what it shows, finds, orders and remembers, and what it costs."""

import html
import json
import re
from urllib.parse import parse_qs, quote, urlsplit

from sqlalchemy import select

from app.core.actor import Actor
from tests.admin.conftest import Browser, MakeTrade, Office
from tests.factories import SYSTEM, add_row

BUDGET = 6


def rows(page: str) -> list[str]:
    """The titles of the rows, in order."""
    return re.findall(
        r'<tr role="row" data-row.*?class="[^"]*c-title"[^>]*><a href="[^"]*">([^<]*)</a>', page, re.DOTALL
    )


def link(page: str, words: str) -> str:
    """The address behind the link whose text has these words."""
    found = re.search(rf'<a[^>]*href="([^"]+)"[^>]*>(?:<i[^>]*></i>)?{re.escape(words)}', page)
    assert found, words
    return html.unescape(found[1])


def filtered(condition: object) -> str:
    return f"/data/trades?filter={quote(json.dumps(condition))}"


async def test_a_list_page_stays_within_its_statements(office: Office, trade: MakeTrade) -> None:
    for number in range(30):
        await trade("G10-1" if number % 2 else "EM-1")
    browser = await office.visitor("preparer", node="FX")
    address = filtered({"and": [{"book": {"under": str(office.world.nodes["FX"])}}, {"quantity": {"gt": "1"}}]})
    with office.statements() as seen:
        answer = await browser.get(f"{address}&limit=25")
    assert answer.status_code == 200
    assert len(rows(answer.text)) == 25
    assert len(seen) <= BUDGET, "\n".join(seen)
    with office.statements() as seen:
        await browser.get("/data/trades")
    assert len(seen) <= BUDGET - 2, "\n".join(seen)


async def test_values_are_shown_as_a_person_reads_them(office: Office, trade: MakeTrade) -> None:
    await trade(quantity="-1234567.5", rate="1.25", late=True, late_reason="x")
    browser = await office.visitor("preparer")
    page = (await browser.get("/data/trades")).text
    assert '<span class="money tnum neg">\u22121,234,567.5</span>' in page
    assert '<span class="money tnum neg">\u2212987,654</span>' in page
    assert "30 Oct 2026" in page
    assert f'<a href="/data/hierarchy-nodes/{office.world.nodes["G10-1"]}">G10-1</a>' in page
    assert "ti-check" in page
    german = await office.visitor("preparer", locale="de-DE")
    assert "\u22121.234.567,5" in (await german.get("/data/trades")).text


async def test_an_instant_is_shown_in_the_zone_of_the_person_with_its_name(office: Office) -> None:
    ada = await office.visitor("admin", application="PLATFORM", time_zone="Asia/Tokyo")
    assert "JST" in (await ada.get("/data/users")).text
    page = (await ada.get(f"/data/users/{ada.user_id}")).text
    assert re.search(r"today \d\d:\d\d JST", page)


async def test_search_filter_and_chips(office: Office, trade: MakeTrade) -> None:
    await trade(reference="ALPHA", product="swap")
    await trade(reference="BETA", product="forward", book="EM-1")
    browser = await office.visitor("preparer")
    assert rows((await browser.get("/data/trades?q=alp")).text) == ["ALPHA"]
    book = str(office.world.nodes["EM-1"])
    page = (await browser.get(filtered({"and": [{"product": {"in": ["forward"]}}, {"book": {"eq": book}}]}))).text
    assert rows(page) == ["BETA"]
    assert re.search(r"<span>Product</span>\s*is\s*<b>forward</b>", page)
    assert re.search(r"<span>Book</span>\s*is\s*<b>Em-1</b>", page)
    removal = html.unescape(re.findall(r'class="x" href="([^"]+)"', page)[0])
    kept = json.loads(parse_qs(urlsplit(removal).query)["filter"][0])
    assert kept == {"and": [{"book": {"eq": book}}]}
    assert rows((await browser.get(removal)).text) == ["BETA"]


async def test_what_the_address_asks_wrongly_is_told_and_left_out(office: Office, trade: MakeTrade) -> None:
    await trade(reference="ALPHA")
    browser = await office.visitor("preparer")
    for query, words in (
        (f"filter={quote(json.dumps({'colour': 'red'}))}", "has no field &#39;colour&#39;"),
        ("filter=not-json", "is not JSON"),
        ("filter=[1]", "A filter is an object"),
        ("sort=colour", "is not a field you can read"),
        ("cursor=abcd", "does not belong to this list"),
        ("q=%00", "cannot be searched for"),
    ):
        answer = await browser.get(f"/data/trades?{query}")
        assert answer.status_code == 200, query
        assert words in answer.text, query
        assert rows(answer.text) == ["ALPHA"], query


async def test_pages_lead_forward_and_back_and_say_where_one_is(office: Office, trade: MakeTrade) -> None:
    for number in range(60):
        await trade(reference=f"T{number:03}")
    browser = await office.visitor("preparer")
    first = (await browser.get("/data/trades?sort=reference&limit=25")).text
    assert rows(first)[0] == "T000"
    assert "1\u201325 of 60" in first
    second = (await browser.get(link(first, "Next"))).text
    assert rows(second)[0] == "T025"
    assert "26\u201350 of 60" in second
    third = (await browser.get(link(second, "Next"))).text
    assert rows(third) == [f"T{n:03}" for n in range(50, 60)]
    back = (await browser.get(link(third, "Previous"))).text
    assert rows(back) == rows(second)
    assert rows((await browser.get(link(back, "Previous"))).text) == rows(first)


async def test_a_click_on_a_head_sorts_up_then_down_then_as_usual(office: Office, trade: MakeTrade) -> None:
    for reference, quantity in (("A", "3"), ("B", "1"), ("C", "2")):
        await trade(reference=reference, quantity=quantity)
    browser = await office.visitor("preparer")
    page = (await browser.get("/data/trades")).text
    up = (await browser.get(link(page, "Quantity"))).text
    assert rows(up) == ["B", "C", "A"]
    assert 'aria-sort="ascending"' in up
    down = (await browser.get(link(up, "Quantity"))).text
    assert rows(down) == ["A", "C", "B"]
    assert link(down, "Quantity") == "/data/trades"


async def test_chosen_columns_are_kept_for_the_person_alone(office: Office, trade: MakeTrade) -> None:
    await trade()
    browser, other = await office.visitor("preparer"), await office.visitor("preparer")
    answer = await browser.post("/data/trades/columns?q=T", {"column": ["trader", "currency"]})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/data/trades?q=T"
    shown = heads((await browser.get("/data/trades")).text)
    assert shown == ["Reference", "Trader", "Currency"]
    assert len(heads((await other.get("/data/trades")).text)) > 5
    await browser.post("/data/trades/columns", {"column": ["rate"]})
    assert heads((await browser.get("/data/trades")).text) == ["Reference", "Trade rate per EUR"]
    await browser.post("/data/trades/columns", {"reset": "1"})
    assert heads((await browser.get("/data/trades")).text) == heads((await other.get("/data/trades")).text)


def heads(page: str) -> list[str]:
    return re.findall(r'<th role="columnheader" class="k-[^>]*>(?:<a [^>]*>)?([^<]+)', page)


async def test_a_saved_view_is_private_until_it_is_shared(office: Office, trade: MakeTrade) -> None:
    await trade(reference="ALPHA", product="swap")
    await trade(reference="BETA")
    browser, other = await office.visitor("preparer"), await office.visitor("controller")
    query = filtered({"product": {"eq": "swap"}}).partition("?")[2]
    answer = await browser.post(f"/saved-views?entity=trade&{query}&sort=reference", {"name": "Swaps"})
    assert answer.status_code == 303
    page = (await browser.get(answer.headers["location"])).text
    assert rows(page) == ["ALPHA"]
    assert "The view “Swaps” is saved." in page
    assert re.search(r'aria-current="page"[^>]*><i class="ti ti-lock"[^>]*></i>Swaps', page)
    assert "Swaps" not in (await other.get("/data/trades")).text
    await browser.post(f"/saved-views?entity=trade&{query}", {"name": "All swaps", "shared": "true"})
    shared = (await other.get("/data/trades")).text
    assert rows((await other.get(link(shared, "All swaps"))).text) == ["ALPHA"]
    doubled = await browser.post(f"/saved-views?entity=trade&{query}", {"name": "Swaps"})
    assert doubled.status_code == 409
    assert "You have a view of this name already." in doubled.text


async def test_a_saved_view_is_deleted_by_its_owner_only(office: Office) -> None:
    browser, other = await office.visitor("preparer"), await office.visitor("controller")
    await browser.post("/saved-views?entity=trade", {"name": "Mine", "shared": "true"})
    async with office.runtime.uow(Actor(browser.user_id, "x")) as uow:
        id_ = await uow.scalar(select(uow.table("saved_view").c.id))
    assert (await other.post(f"/saved-views/{id_}/delete")).status_code == 403
    assert (await browser.post(f"/saved-views/{id_}/delete")).status_code == 303
    assert "The view “Mine” is deleted." in (await browser.get("/data/trades")).text
    assert "Mine" not in (await browser.get("/data/trades")).text


async def test_empty_lists_say_what_to_do(office: Office, trade: MakeTrade) -> None:
    browser, reader = await office.visitor("preparer"), await office.visitor("controller")
    empty = (await browser.get("/data/trades")).text
    assert "No trades yet" in empty
    assert "New trade" in empty
    assert "New trade" not in (await reader.get("/data/trades")).text
    await trade()
    none = (await browser.get("/data/trades?q=zzz")).text
    assert "No trades match" in none
    assert link(none, "Show all") == "/data/trades"


async def test_fields_that_a_person_may_not_read_are_no_columns_and_no_filters(office: Office) -> None:
    browser = await office.visitor("preparer")
    page = (await browser.get("/data/users")).text
    assert "Last sign-in" not in page
    assert "last_sign_in_at" not in page
    assert "password_hash" not in page
    answer = await browser.get("/data/users?columns=name,password_hash,last_sign_in_at")
    assert heads(answer.text) == ["Name"]


async def test_navigation_has_what_the_person_may_read_and_marks_the_page(office: Office) -> None:
    page = (await (await office.visitor("preparer")).get("/data/trades")).text
    assert re.search(r'href="/data/trades" aria-current="page"', page)
    assert "/data/policy-lines" not in page
    assert (
        "/data/policy-lines" in (await (await office.visitor("admin", application="PLATFORM")).get("/data/users")).text
    )


async def test_choosing_an_application_narrows_what_counts(office: Office, trade: MakeTrade) -> None:
    await trade()
    browser = await office.visitor("preparer")
    async with office.runtime.uow(office.world.actor()) as uow:
        role = await uow.scalar(select(uow.table("role").c.id))
    async with office.runtime.uow(SYSTEM) as uow:
        place = await add_row(uow, "application", code="OTHER", label="Other bank", active=True)
        await add_row(
            uow, "role_grant", user_id=browser.user_id, role_id=role, application_id=place, valid_from=uow.now
        )
    assert "Other bank" in (await browser.get("/data/trades")).text
    assert (await browser.post("/preferences/application", {"application": "NONE"})).status_code == 422
    await browser.post("/preferences/application", {"application": "OTHER"})
    assert (await browser.get("/data/trades")).status_code == 403
    await browser.post("/preferences/application", {"application": "*"})
    assert (await browser.get("/data/trades")).status_code == 200


async def test_preferences_are_kept(office: Office) -> None:
    browser: Browser = await office.visitor("preparer")
    sent = await browser.client.post(
        "/preferences/theme",
        data={"theme": "dark"},
        headers={"origin": "http://bank.test", "x-csrf-token": browser.token, "accept": "application/json"},
    )
    assert sent.json() == {"name": "theme", "value": "dark"}
    assert 'data-bs-theme="dark"' in (await browser.get("/data/trades")).text
    assert (await browser.post("/preferences/theme", {"theme": "pink"})).status_code == 422
    assert (await browser.post("/preferences/active", {"active": "false"})).status_code == 422


async def test_lookups_search_within_scope_and_are_limited(office: Office) -> None:
    browser = await office.visitor("preparer", node="G10")
    found = (await browser.get("/data/trades/lookup/book?q=g10", accept="application/json")).json()
    assert [item["label"] for item in found["items"]] == ["G10", "G10-1", "G10-2"]
    assert (await browser.get("/data/trades/lookup/book?q=em", accept="application/json")).json()["items"] == []
    short = (await browser.get("/data/trades/lookup/book?limit=1", accept="application/json")).json()
    assert len(short["items"]) == 1
    assert short["more"] is True
    assert (await browser.get("/data/trades/lookup/rate", accept="application/json")).status_code == 400
