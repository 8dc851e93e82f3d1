"""Calls from outside: signed, of now, counted once, recorded whatever becomes of them."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app.domain.triggers.signature import sign
from tests.service.triggers.desk import SECRET, Desk

FIELDS = {
    "business_date": {"path": "data.date", "type": "date"},
    "amount": {"path": "data.amount", "type": "decimal"},
    "desk": {"path": "data.desk"},
}
HOOK: dict[str, Any] = {
    "kind": "webhook", "secret": SECRET, "payload_fields": FIELDS, "business_date_rule": "payload",
    "condition": {"amount": {"gt": 100}}, "node_field": "desk",
}  # fmt: skip


def body(amount: float = 500, day: str = "2026-10-30", **more: Any) -> dict[str, Any]:
    return {"data": {"date": day, "amount": amount, **more}, "noise": ["x"]}


@pytest.fixture
async def token(desk: Desk) -> str:
    return str((await desk.trigger(**HOOK))["token"])


async def test_a_signed_call_starts_the_run_that_it_names(desk: Desk, token: str) -> None:
    answer = await desk.call(token, body(desk="EM"))
    assert answer.status_code == 202, answer.text
    assert {**answer.json(), "firing": None} == {"firing": None, "outcome": "pending", "again": False, "reason": None}
    await desk.work()
    assert await desk.references() == ["W-20261030-EM"]
    (firing,) = await desk.firings()
    assert str(firing["id"]) == answer.json()["firing"]
    assert firing["payload"] == {"business_date": "2026-10-30", "desk": "EM"}
    assert len(firing["payload_digest"]) == 64


async def test_the_same_delivery_twice_or_at_once_is_one_firing(desk: Desk, token: str) -> None:
    answers = await asyncio.gather(*(desk.call(token, body()) for _ in range(6)))
    again = await desk.call(token, body())
    assert {answer.status_code for answer in (*answers, again)} == {202}
    assert len({answer.json()["firing"] for answer in (*answers, again)}) == 1
    assert [answer.json()["again"] for answer in answers].count(False) == 1
    await desk.work()
    assert await desk.references() == ["W-20261030"]
    assert (await desk.call(token, body())).json()["outcome"] == "started"


async def test_a_wrong_signature_is_refused_and_on_record(desk: Desk, token: str) -> None:
    wrong = await desk.call(token, body(), secret="another-secret-that-is-long-enough")
    assert (wrong.status_code, wrong.json()["code"]) == (401, "unauthenticated")
    other_body = await desk.call(token, body(), signature="v1,AAAA")
    assert other_body.status_code == 401
    bare = await desk.nobody().post(f"/api/v1/hooks/{token}", json={})
    assert bare.status_code == 401
    assert "webhook-id is missing" in bare.json()["detail"]
    assert [outcome for outcome, _ in await desk.outcomes()] == ["refused"] * 3
    # What is refused takes nothing from the delivery of the same name that is right.
    assert (await desk.call(token, body())).status_code == 202


async def test_a_call_that_is_replayed_later_or_under_another_name_does_nothing(desk: Desk, token: str) -> None:
    late = await desk.call(token, body(), ago=timedelta(minutes=6))
    assert late.status_code == 401
    assert "five minutes" in late.json()["detail"]
    early = await desk.call(token, body(), ago=-timedelta(minutes=6))
    assert early.status_code == 401
    taken = sign(SECRET, delivery="d1", timestamp=int(desk.runtime.clock.real().timestamp()), body=b"{}")
    assert (await desk.call(token, b"{}", delivery="d2", signature=taken)).status_code == 401


async def test_what_does_not_fit_the_declared_fields_is_refused_in_words(desk: Desk, token: str) -> None:
    wrong = await desk.call(token, body(day="tomorrow"))
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["path"] == "data.date"
    assert (await desk.call(token, b"[1]", delivery="d2")).status_code == 400
    assert (await desk.call(token, b"{", delivery="d3")).status_code == 400
    small = await desk.call(token, body(amount=5), delivery="d4")
    assert (small.status_code, small.json()["outcome"], small.json()["reason"]) == (
        202, "refused", "The condition does not hold.",
    )  # fmt: skip
    nowhere = await desk.call(token, body(desk="MOON"), delivery="d5")
    assert nowhere.status_code == 202
    await desk.work()
    assert (await desk.outcomes())[-1] == ("refused", "desk: there is no hierarchy node 'MOON'")
    assert await desk.references() == []


async def test_unknown_and_switched_off_addresses_are_not_there(desk: Desk) -> None:
    trigger = await desk.trigger(**HOOK)
    assert (await desk.call("x" * 32, body())).status_code == 404
    assert (await desk.call("x" * 65, body())).status_code in (404, 422)
    await desk.change(trigger, active=False)
    assert (await desk.call(trigger["token"], body())).status_code == 404
    assert await desk.firings() == []


async def test_calls_are_braked_and_large_ones_refused(desk: Desk, token: str) -> None:
    large = await desk.call(token, {"data": {"date": "2026-10-30", "amount": 1}, "pad": "x" * 300_000})
    assert large.status_code == 413
    statuses = [(await desk.call("y" * 32, body())).status_code for _ in range(40)]
    assert statuses[0] == 404
    assert statuses[-1] == 429
    statuses = [(await desk.call(token, body(), delivery=f"n{number}")).status_code for number in range(130)]
    assert statuses[0] == 202
    assert statuses[-1] == 429


async def test_the_secret_is_stored_encrypted_and_never_shown(desk: Desk, token: str) -> None:
    assert (
        await desk.count("SELECT count(*) FROM event_trigger WHERE position('tests' IN encode(secret, 'escape')) > 0")
        == 0
    )
    answer = await desk.as_("admin").get("/triggers")
    assert answer.status_code == 200
    assert SECRET not in answer.text
    assert token in answer.text
    assert await desk.count("SELECT count(*) FROM audit_entry WHERE after::text LIKE '%a-secret-of%'") == 0


async def test_a_standard_webhooks_secret_signs_too(desk: Desk) -> None:
    secret = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    trigger = await desk.trigger(**{**HOOK, "secret": secret})
    assert (await desk.call(trigger["token"], body(), secret=secret)).status_code == 202


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of the Standard Webhooks specification."""
    signed = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        delivery="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
