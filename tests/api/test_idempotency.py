"""The same command sent again."""

import asyncio

from sqlalchemy import func, select, text

from tests.api.conftest import Api
from tests.factories import SYSTEM

KEY = {"idempotency-key": "0198f3c2-close-17"}


async def trades(api: Api) -> int:
    async with api.runtime.uow(SYSTEM) as uow:
        return int(await uow.scalar(select(func.count()).select_from(uow.table("trade"))))


async def test_a_command_sent_again_gets_the_same_answer_and_does_nothing(api: Api) -> None:
    client, values = api.as_("preparer"), api.trade()
    first = await client.post("/trades", json=values, headers=KEY)
    again = await client.post("/trades", json=values, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert [again.headers[name] for name in ("location", "etag", "content-type")] == [
        first.headers[name] for name in ("location", "etag", "content-type")
    ]
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert await trades(api) == 1


async def test_of_duplicates_sent_at_once_one_is_done_and_all_get_its_answer(api: Api) -> None:
    client, values = api.as_("preparer"), api.trade()
    answers = await asyncio.gather(*(client.post("/trades", json=values, headers=KEY) for _ in range(12)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 11
    assert await trades(api) == 1


async def test_another_request_under_the_same_key_is_refused(api: Api) -> None:
    client = api.as_("preparer")
    await client.post("/trades", json=api.trade(), headers=KEY)
    other = await client.post("/trades", json=api.trade(note="other"), headers=KEY)
    assert (other.status_code, other.json()["errors"][0]["code"]) == (422, "key_reused")
    assert await trades(api) == 1


async def test_the_keys_of_two_people_have_nothing_to_do_with_each_other(api: Api) -> None:
    values = api.trade()
    first = await api.as_("preparer").post("/trades", json=values, headers=KEY)
    second = await api.as_("g10").post("/trades", json=values, headers=KEY)
    assert first.json()["id"] != second.json()["id"]


async def test_a_command_that_failed_is_tried_again(api: Api) -> None:
    client = api.as_("boss")
    record = await api.made("trades", api.trade())
    headers = {**KEY, "if-match": '"2"'}
    stale = await client.patch(f"/trades/{record['id']}", json={"note": "b"}, headers=headers)
    assert stale.status_code == 412
    await client.patch(f"/trades/{record['id']}", json={"note": "a"}, headers={"if-match": '"1"'})
    retried = await client.patch(f"/trades/{record['id']}", json={"note": "b"}, headers=headers)
    assert (retried.status_code, retried.json()["row_version"]) == (200, 3)


async def test_a_deletion_sent_again_is_answered_as_done(api: Api) -> None:
    client = api.as_("boss")
    record = await api.made("trades", api.trade())
    headers = {**KEY, "if-match": '"1"'}
    answers = [await client.delete(f"/trades/{record['id']}", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 204]


async def test_a_key_is_free_again_after_a_day(api: Api) -> None:
    client = api.as_("preparer")
    await client.post("/trades", json=api.trade(), headers=KEY)
    async with api.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE idempotency_key SET created_at = created_at - interval '25 hours'"))
    answer = await client.post("/trades", json=api.trade(note="next day"), headers=KEY)
    assert answer.status_code == 201
    assert await trades(api) == 2


async def test_a_key_that_cannot_be_one_is_refused(api: Api) -> None:
    answer = await api.as_("preparer").post("/trades", json=api.trade(), headers={"idempotency-key": "k" * 201})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
