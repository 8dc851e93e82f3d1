"""Versions: nothing is changed by who has not read it, and nothing is sent twice to who has it."""

import asyncio

import pytest

from tests.api.conftest import Api


async def test_a_change_without_a_version_is_refused_with_what_to_send(api: Api) -> None:
    client, record = api.as_("boss"), await api.made("trades", api.trade())
    for answer in (
        await client.patch(f"/trades/{record['id']}", json={"note": "x"}),
        await client.delete(f"/trades/{record['id']}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (428, "precondition_required")
        assert "If-Match" in answer.json()["detail"]


@pytest.mark.parametrize("tag", ["*", 'W/"1"', "1", '"1", "2"', '"x"', '""', '"-1"'])
async def test_a_version_that_is_not_exactly_one_is_refused(api: Api, tag: str) -> None:
    record = await api.made("trades", api.trade())
    answer = await api.as_("boss").patch(f"/trades/{record['id']}", json={"note": "x"}, headers={"if-match": tag})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


async def test_a_stale_version_is_refused_and_the_answer_names_the_present_one(api: Api) -> None:
    client, record = api.as_("boss"), await api.made("trades", api.trade())
    await client.patch(f"/trades/{record['id']}", json={"note": "a"}, headers={"if-match": '"1"'})
    for answer in (
        await client.patch(f"/trades/{record['id']}", json={"note": "b"}, headers={"if-match": '"1"'}),
        await client.delete(f"/trades/{record['id']}", headers={"if-match": '"1"'}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (412, "stale_version")
        assert answer.json()["current_version"] == 2
    assert (await client.get(f"/trades/{record['id']}")).json()["note"] == "a"


async def test_of_changes_made_at_once_on_one_version_one_is_made(api: Api) -> None:
    client, record = api.as_("boss"), await api.made("trades", api.trade())
    answers = await asyncio.gather(
        *(
            client.patch(f"/trades/{record['id']}", json={"note": str(n)}, headers={"if-match": '"1"'})
            for n in range(10)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 9


async def test_a_record_that_the_client_has_is_not_sent_again_until_it_changes(api: Api) -> None:
    client, record = api.as_("boss"), await api.made("trades", api.trade())
    path = f"/trades/{record['id']}"
    known = await client.get(path, headers={"if-none-match": '"1"'})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", '"1"')
    assert known.headers["cache-control"] == "private, no-cache"
    await client.patch(path, json={"note": "a"}, headers={"if-match": '"1"'})
    assert (await client.get(path, headers={"if-none-match": '"1"'})).status_code == 200
    expanded = await client.get(path, headers={"if-none-match": '"2"'}, params={"expand": "book"})
    assert expanded.status_code == 200
