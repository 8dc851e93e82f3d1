"""The generated resources, by the example of trades."""

from datetime import timedelta

from tests.api.conftest import Api
from tests.api.rows import Rows
from tests.factories import SYSTEM


async def test_a_record_is_created_read_changed_and_deleted(api: Api) -> None:
    client = api.as_("boss")
    created = await client.post("/trades", json=api.trade(note="first"))
    assert created.status_code == 201, created.text
    record = created.json()
    assert created.headers["location"] == f"/api/v1/trades/{record['id']}"
    assert created.headers["etag"] == '"1"'
    assert record["quantity"] == "1000000"

    read = await client.get(f"/trades/{record['id']}")
    assert (read.status_code, read.json(), read.headers["etag"]) == (200, record, '"1"')

    changed = await client.patch(f"/trades/{record['id']}", json={"note": "second"}, headers={"if-match": '"1"'})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["note"], changed.headers["etag"]) == ("second", '"2"')

    gone = await client.delete(f"/trades/{record['id']}", headers={"if-match": '"2"'})
    assert (gone.status_code, gone.content) == (204, b"")
    missing = await client.get(f"/trades/{record['id']}")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


async def test_an_expanded_record_has_its_values_in_the_same_form_as_when_it_is_read_itself(api: Api) -> None:
    async with api.runtime.uow(SYSTEM) as uow:
        rows = Rows(uow, lambda _entity: "x", {"application": api.applications["PNL"]})
        rows.duration = timedelta(days=1, minutes=90)
        clock, policy = await rows.make("sla_clock"), await rows.make("sla_policy")
    client = api.as_("boss")
    whole = (await client.get(f"/sla-policies/{policy}")).json()
    expanded = (await client.get(f"/sla-clocks/{clock}", params={"expand": "policy"})).json()["policy"]
    assert {name: expanded[name] for name in whole} == whole
    assert whole["target"] == "P1DT1H30M"
