"""Keyset pages over ten thousand records: every record once, in the same order, whatever is sorted by."""

import json
from typing import Any

import pytest
from sqlalchemy import text

from tests.api.conftest import Api
from tests.factories import SYSTEM

SIZE = 10_000

TRADES = text(
    """
INSERT INTO trade (id, row_version, created_at, updated_at, reference, book_id, trade_date, product, currency, quantity,
                   rate, late, counterparty)
SELECT uuidv7(), 1, :now, :now, 'T-' || n, (:books)[1 + n % 4], date '2026-01-01' + n % 97, 'spot', 'USD',
       1 + n % 1000, 1 + (n % 7), n % 3 = 0, CASE WHEN n % 5 > 1 THEN 'Bank ' || n % 211 END
FROM generate_series(1, :size) n
"""
)


async def fill(api: Api, size: int = SIZE) -> None:
    books = [str(api.nodes[code]) for code in ("G10-1", "G10-2", "EM-1", "EM-2")]
    listed = "ARRAY[" + ",".join(f"'{book}'::uuid" for book in books) + "]"
    async with api.runtime.uow(SYSTEM) as uow:
        await uow.execute(text(TRADES.text.replace(":books", listed)), {"now": uow.now, "size": size})
        await uow.execute(text("ANALYZE trade"))


async def walk(api: Api, name: str = "boss", **parameters: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        asked = {"limit": "1000", "fields": "reference,counterparty,book,quantity", **parameters}
        answer = await api.as_(name).get("/trades", params=asked | ({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return found


async def test_pages_by_any_sort_give_every_record_once_and_backwards_gives_the_reverse(api: Api) -> None:
    await fill(api)
    for sort in ("counterparty", "-counterparty", "book,-counterparty", "-trade_date,quantity", "value_eur", "id"):
        records = await walk(api, sort=sort)
        assert len(records) == len({record["id"] for record in records}) == SIZE, sort
        again = await walk(api, sort=sort, limit="997")
        assert [record["id"] for record in again] == [record["id"] for record in records], sort
    ascending = await walk(api, sort="counterparty")
    named = [record["counterparty"] for record in ascending if record["counterparty"] is not None]
    assert named == sorted(named)
    assert [record["counterparty"] for record in ascending[len(named) :]] == [None] * (SIZE - len(named))


async def test_records_that_come_and_go_between_pages_do_not_shift_the_others(api: Api) -> None:
    await fill(api, 500)
    first = (await api.as_("boss").get("/trades", params={"sort": "reference", "limit": "100"})).json()
    await api.made("trades", api.trade(reference="A-first"))
    gone = first["items"][3]
    await api.as_("boss").delete(f"/trades/{gone['id']}", headers={"if-match": '"1"'})
    parameters = {"sort": "reference", "limit": "1000", "cursor": first["next_cursor"]}
    rest = (await api.as_("boss").get("/trades", params=parameters)).json()
    seen = [item["reference"] for item in [*first["items"], *rest["items"]]]
    assert (len(seen), seen) == (500, sorted(seen))


async def test_a_cursor_of_another_order_is_refused(api: Api) -> None:
    await fill(api, 20)
    cursor = (await api.as_("boss").get("/trades", params={"sort": "rate", "limit": "5"})).json()["next_cursor"]
    answer = await api.as_("boss").get("/trades", params={"sort": "-rate", "limit": "5", "cursor": cursor})
    assert (answer.status_code, "start without one" in answer.json()["detail"]) == (400, True)


async def test_counts_are_those_of_the_filter_and_the_scope_and_bounded_ones_say_where_they_stop(api: Api) -> None:
    await fill(api, SIZE + 1)
    asked = {"limit": "5", "filter": json.dumps({"late": True})}
    exact = (await api.as_("boss").get("/trades", params=asked | {"count": "exact"})).json()
    assert exact["count"] == 3333
    scoped = (await api.as_("g10").get("/trades", params={"limit": "5", "count": "exact"})).json()
    assert scoped["count"] == 5001
    bounded = (await api.as_("boss").get("/trades", params={"limit": "5", "count": "bounded"})).json()
    assert (bounded["count"], bounded["count_is_exact"]) == (10_000, False)


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({"quantity": {"between": ["10", "12"]}}, 3),
        ({"and": [{"late": True}, {"quantity": {"lte": "7"}}]}, 2),
        ({"or": [{"quantity": "1000"}, {"not": {"quantity": {"lt": "998"}}}]}, 3),
        ({"book": {"under": "G10"}}, 500),
        ({"book.code": "EM-1"}, 250),
        ({"counterparty": {"starts_with": "Bank 21"}}, None),
        ({"counterparty": {"is_null": True}}, 400),
        ({"reference": {"in": ["T-1", "T-2", "T-9999"]}}, 2),
    ],
)
async def test_filters_find_what_they_say(api: Api, filter_: Any, expected: int | None) -> None:
    await fill(api, 1_000)
    spelled = json.dumps(filter_).replace('"G10"', f'"{api.nodes["G10"]}"')
    page = (await api.as_("boss").get("/trades", params={"filter": spelled, "count": "exact", "limit": "1000"})).json()
    if expected is None:
        assert page["items"]
        assert all(item["counterparty"].startswith("Bank 21") for item in page["items"])
    else:
        assert page["count"] == len(page["items"]) == expected


async def test_a_search_finds_records_that_have_every_word(api: Api) -> None:
    await fill(api, 300)
    found = await walk(api, q="t- 29")
    assert {record["reference"] for record in found} == {"T-29", "T-129", "T-229"} | {f"T-{n}" for n in range(290, 300)}
    assert await walk(api, q="100%") == []
