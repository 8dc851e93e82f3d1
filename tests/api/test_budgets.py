"""How many SQL statements a request takes, signing in included. None of them grows with what is shown."""

import orjson

from tests.api.conftest import Api, statements


async def test_reading_a_record_takes_three_statements_at_most(api: Api) -> None:
    record = await api.made("trades", api.trade())
    for name in ("boss", "g10"):
        with statements(api.runtime) as seen:
            answer = await api.as_(name).get(f"/trades/{record['id']}", params={"expand": "book"})
        assert answer.status_code == 200
        assert len(seen) <= 3, seen


async def test_a_list_takes_three_statements_at_most_whatever_it_shows(api: Api) -> None:
    for number in range(30):
        await api.made("trades", api.trade(note=str(number)))
    for limit in (1, 25):
        with statements(api.runtime) as seen:
            parameters = {"count": "bounded", "limit": str(limit), "expand": "book", "filter": '{"currency":"USD"}'}
            page = (await api.as_("g10").get("/trades", params=parameters)).json()
        assert (len(page["items"]), page["count"]) == (limit, 30)
        assert len(seen) <= 3, seen


async def test_a_new_record_takes_four_statements_and_one_more_each_for_its_number_and_a_scope(api: Api) -> None:
    hierarchy = {"code": "REGIONS", "label": "Regions"}
    # Counting up the number locks its counter until the commit; a writer with a scope has what was written checked.
    for slug, values, name, most in (
        ("hierarchies", hierarchy, "boss", 4),
        ("trades", api.trade(), "boss", 5),
        ("trades", api.trade(), "g10", 6),
    ):
        with statements(api.runtime) as seen:
            created = await api.as_(name).post(f"/{slug}", json=values)
        assert created.status_code == 201, created.text
        assert len(seen) <= most, seen


async def test_a_change_takes_five_statements_at_most(api: Api) -> None:
    record = await api.made("trades", api.trade())
    for name, version in (("boss", 1), ("g10", 2)):
        with statements(api.runtime) as seen:
            changed = await api.as_(name).patch(
                f"/trades/{record['id']}", json={"note": name}, headers={"if-match": f'"{version}"'}
            )
        assert changed.status_code == 200, changed.text
        assert len(seen) <= 5, seen


async def test_creating_many_takes_as_many_statements_as_creating_two(api: Api) -> None:
    counted = []
    for size in (2, 200):
        steps = [{"op": "create", "values": api.trade(note=str(number))} for number in range(size)]
        with statements(api.runtime) as seen:
            answer = await api.as_("boss").post(
                "/trades/bulk", content=orjson.dumps(steps), headers={"content-type": "application/json"}
            )
        assert answer.json()["succeeded"] == size, answer.text
        counted.append(len(seen))
    assert counted[0] == counted[1]
