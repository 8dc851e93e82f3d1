"""The generated resources, by the example of trades."""

from tests.api.conftest import Api


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
