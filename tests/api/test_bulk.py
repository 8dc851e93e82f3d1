"""Many changes in one request."""

from typing import Any

from sqlalchemy import select

from models.system.tables import audit_entry
from tests.api.conftest import Api
from tests.factories import SYSTEM


async def commands(api: Api) -> list[str]:
    async with api.runtime.uow(SYSTEM) as uow:
        return list((await uow.execute(select(audit_entry.c.command).order_by(audit_entry.c.sequence))).scalars())


def mixed(api: Api, changed: dict[str, Any], deleted: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"op": "create", "values": api.trade(note="new")},
        {"op": "update", "id": changed["id"], "version": 1, "values": {"note": "changed"}},
        {"op": "delete", "id": deleted["id"], "version": 1},
    ]


async def test_changes_of_each_kind_are_made_in_order_and_recorded_each(api: Api) -> None:
    records = [await api.made("trades", api.trade()) for _ in range(2)]
    answer = await api.as_("boss").post("/trades/bulk", json=mixed(api, *records))
    assert answer.status_code == 200, answer.text
    done = answer.json()
    assert (done["succeeded"], done["failed"]) == (3, 0)
    assert [(line["op"], line["row_version"]) for line in done["results"]] == [
        ("create", 1), ("update", 2), ("delete", None),
    ]  # fmt: skip
    page = (await api.as_("boss").get("/trades", params={"sort": "created_at"})).json()
    assert [item["note"] for item in page["items"]] == ["changed", "new"]
    assert (await commands(api))[-3:] == ["trade.create", "trade.update", "trade.delete"]


async def test_one_error_undoes_all_of_them_and_says_which_it_was(api: Api) -> None:
    records = [await api.made("trades", api.trade()) for _ in range(2)]
    steps = mixed(api, *records)
    for wrong, status, path in (
        ({"op": "update", "id": records[0]["id"], "version": 9, "values": {}}, 412, None),
        ({"op": "create", "values": {"note": "x"}}, 422, "3.book"),
    ):
        answer = await api.as_("boss").post("/trades/bulk", json=[*steps, wrong])
        assert answer.status_code == status, answer.text
        if path:
            assert path in [problem["path"] for problem in answer.json()["errors"]]
        else:
            assert answer.json()["index"] == 3
    page = (await api.as_("boss").get("/trades")).json()
    assert {item["id"] for item in page["items"]} == {record["id"] for record in records}
    assert await commands(api) == ["trade.create"] * 2


async def test_new_records_that_do_not_fit_are_all_named_at_once(api: Api) -> None:
    steps = [{"op": "create", "values": api.trade() | {"rate": rate}} for rate in ("1", "x", "1", "y")]
    answer = await api.as_("boss").post("/trades/bulk", json=steps)
    assert [problem["path"] for problem in answer.json()["errors"]] == ["1.rate", "3.rate"]


async def test_going_on_after_errors_keeps_what_fits_and_records_only_that(api: Api) -> None:
    records = [await api.made("trades", api.trade()) for _ in range(2)]
    steps = mixed(api, *records)
    steps[1:1] = [
        {"op": "create", "values": {"note": "x"}},
        {"op": "create", "values": api.trade() | {"quantity": "0"}},  # the database refuses it
        {"op": "update", "id": records[0]["id"], "version": 9, "values": {}},
    ]
    answer = await api.as_("boss").post("/trades/bulk", params={"on_error": "continue"}, json=steps)
    assert answer.status_code == 200, answer.text
    done = answer.json()
    assert (done["succeeded"], done["failed"]) == (3, 3)
    assert [line["status"] for line in done["results"]] == ["ok", "error", "error", "error", "ok", "ok"]
    assert [line["problem"]["status"] for line in done["results"] if "problem" in line] == [422, 409, 412]
    assert (await commands(api))[2:] == ["trade.create", "trade.update", "trade.delete"]


async def test_who_may_only_create_changes_nothing_in_bulk_either(api: Api) -> None:
    record = await api.made("trades", api.trade("EM-1"))
    steps = [{"op": "update", "id": record["id"], "version": 1, "values": {"note": "x"}}]
    assert (await api.as_("g10").post("/trades/bulk", json=steps)).status_code == 404
    steps = [{"op": "delete", "id": record["id"], "version": 1}]
    assert (await api.as_("em").post("/trades/bulk", json=steps)).status_code == 403


async def test_what_cannot_be_read_as_a_change_is_named_by_its_place(api: Api) -> None:
    steps = [
        7,
        {"op": "move"},
        {"op": "create", "id": "x", "values": {}},
        {"op": "update", "values": []},
        {"op": "delete", "id": str(api.nodes["FX"]), "version": True, "more": 1},
    ]
    answer = await api.as_("boss").post("/trades/bulk", json=steps)
    assert answer.status_code == 422
    assert {problem["path"] for problem in answer.json()["errors"]} == {
        "0", "1.op", "2.id", "3.values", "3.id", "3.version", "4.version", "4.more",
    }  # fmt: skip
    assert (await api.as_("boss").post("/trades/bulk", json=[])).status_code == 400
    assert (await api.as_("boss").post("/trades/bulk?on_error=maybe", json=steps)).status_code == 400
