"""What is refused, and that the refusal says what to do and is on record."""

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from models.system.tables import audit_entry
from tests.api.conftest import BASE, Api
from tests.factories import SYSTEM
from tests.service.identity.people import EMAIL, PASSWORD, person


async def denied(api: Api) -> list[Any]:
    async with api.runtime.uow(SYSTEM) as uow:
        statement = select(audit_entry).where(audit_entry.c.outcome == "denied").order_by(audit_entry.c.sequence)
        return [dict(row) for row in (await uow.execute(statement)).mappings()]


@pytest.fixture
async def browser(api: Api) -> httpx.AsyncClient:
    """Somebody signed in with a session cookie; the CSRF token is in `headers` of nothing yet."""
    await person(api.runtime)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(api.app), base_url=BASE)
    signed = await client.post("/api/v1/auth/sign-in", json={"email": EMAIL, "password": PASSWORD})
    client.headers["x-test-csrf"] = signed.json()["csrf_token"]
    return client


@pytest.mark.parametrize(
    ("origin", "token"),
    [(None, True), ("https://evil.example", True), ("null", True), (BASE, False), (f"{BASE}0", True)],
)
async def test_a_change_by_cookie_from_elsewhere_or_without_the_token_is_refused(
    api: Api, browser: httpx.AsyncClient, origin: str | None, token: bool
) -> None:
    headers = ({"origin": origin} if origin else {}) | (
        {"x-csrf-token": browser.headers["x-test-csrf"]} if token else {}
    )
    for method, path in (("POST", "trades"), ("PATCH", f"trades/{api.nodes['FX']}"), ("POST", "trades/bulk")):
        answer = await browser.request(method, f"/api/v1/{path}", json={}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_refused"), (method, path)
    assert {entry["command"] for entry in await denied(api)} == {"csrf_refused"}


async def test_a_change_by_cookie_from_our_own_page_reaches_the_permission_check(
    api: Api, browser: httpx.AsyncClient
) -> None:
    headers = {"origin": BASE, "x-csrf-token": browser.headers["x-test-csrf"]}
    answer = await browser.post("/api/v1/trades", json=api.trade(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_refusal_names_the_permission_and_is_on_record_with_who_was_refused(api: Api) -> None:
    answer = await api.as_("auditor").post("/trades", json=api.trade())
    assert answer.status_code == 403
    assert "create" in answer.json()["detail"]
    assert answer.json()["entity"] == "trade"
    (entry,) = await denied(api)
    assert (entry["command"], entry["entity"], entry["actor_id"]) == (
        "trade.create",
        "trade",
        api.people["auditor"].id,
    )
    assert str(entry["correlation_id"]) == answer.json()["correlation_id"] == answer.headers["x-request-id"]
    assert entry["context"] == {"method": "POST", "path": "/api/v1/trades", "code": "forbidden"}


async def test_a_token_that_may_only_read_changes_nothing(api: Api) -> None:
    token = await api.token("preparer", read_only=True)
    headers = {"authorization": f"Bearer {token}"}
    assert (await api.nobody().get("/api/v1/trades", headers=headers)).status_code == 200
    answer = await api.nobody().post("/api/v1/trades", json=api.trade(), headers=headers)
    assert (answer.status_code, "only read" in answer.json()["detail"]) == (403, True)


@pytest.mark.parametrize(
    ("values", "path", "code"),
    [
        ({"value_eur": "1"}, "value_eur", "read_only"),
        ({"row_version": 7}, "row_version", "unknown_field"),
        ({"created_by": "0198f3c2-7a10-7cc3-9f5e-3b1d2a4c6e80"}, "created_by", "unknown_field"),
        ({"quantity": 12345678901234567.25}, "quantity", "inexact"),
        ({"quantity": "1e3000"}, "quantity", "invalid"),
        ({"rate": None}, "rate", "required"),
        ({"product": "future"}, "product", "invalid"),
        ({"late": True}, "late_reason", "required"),
    ],
)
async def test_a_value_that_does_not_fit_is_named_with_its_field(
    api: Api, values: dict[str, Any], path: str, code: str
) -> None:
    answer = await api.as_("preparer").post("/trades", json=api.trade() | values)
    assert answer.status_code == 422, answer.text
    assert [(problem["path"], problem["code"]) for problem in answer.json()["errors"]] == [(path, code)]


async def test_a_field_that_never_changes_is_refused_in_a_change(api: Api) -> None:
    record = await api.made("trades", api.trade())
    answer = await api.as_("boss").patch(
        f"/trades/{record['id']}", json={"reference": "TRD-X"}, headers={"if-match": '"1"'}
    )
    assert [(p["path"], p["code"]) for p in answer.json()["errors"]] == [("reference", "immutable")]


async def test_a_reference_out_of_scope_is_answered_like_one_that_is_not_there(api: Api) -> None:
    client = api.as_("g10")
    hidden = await client.post("/trades", json=api.trade("EM-1"))
    absent = await client.post("/trades", json=api.trade() | {"book": "0198f3c2-7a10-7cc3-9f5e-3b1d2a4c6e80"})
    assert hidden.status_code == absent.status_code == 422
    assert hidden.json()["errors"] == absent.json()["errors"]
    record = await api.made("trades", api.trade("G10-1"))
    moved = await client.patch(
        f"/trades/{record['id']}", json={"book": str(api.nodes["EM-1"])}, headers={"if-match": '"1"'}
    )
    assert [(p["path"], p["code"]) for p in moved.json()["errors"]] == [("book", "not_found")]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("filtr={}", "no parameter 'filtr'"),
        ("limit=0", "from 1 to 1000"),
        ("limit=1001", "from 1 to 1000"),
        ("limit=5&limit=6", "once"),
        ("count=all", "none, bounded, exact"),
        ("sort=nothing", "'nothing' is not a field"),
        ("fields=id,nothing", "'nothing' is not a field"),
        ("expand=currency", "'currency' is not a reference"),
        ("cursor=abc", "start without one"),
        ("filter={", "not valid JSON"),
        ("filter=[1]", "filter"),
        ('filter={"nothing":1}', "nothing"),
        ('filter={"quantity":{"under":1}}', "under"),
        ("q=%00", "remove it"),
    ],
)
async def test_a_query_that_is_not_understood_is_refused_with_what_may_be_said(api: Api, query: str, said: str) -> None:
    answer = await api.as_("preparer").get(f"/trades?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), answer.text
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "media", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"text"', "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"a=1", "application/x-www-form-urlencoded", 415),
        (b'{"note": NaN}', "application/json", 400),
        (b'{"note": "\xff"}', "application/json", 400),
        (b'{"note": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", "application/json", 400),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(api: Api, content: bytes, media: str, status: int) -> None:
    answer = await api.as_("preparer").post("/trades", content=content, headers={"content-type": media})
    assert answer.status_code == status, answer.text


async def test_a_text_that_cannot_be_stored_is_refused(api: Api) -> None:
    for values in ({"note": "a\x00b"}, {"reference": "\x00"}):
        answer = await api.as_("preparer").post("/trades", json=api.trade() | values)
        assert answer.status_code in (400, 422), answer.text


async def test_deeply_nested_values_are_refused_and_break_nothing(api: Api) -> None:
    nested: Any = 1
    for _ in range(900):
        nested = [nested]
    version = {"calendar": str(api.nodes["FX"]), "number": 9, "weekly_windows": nested}
    answer = await api.as_("boss").post("/calendar-versions", json=version)
    assert answer.status_code in (400, 422), answer.text


async def test_a_duplicate_is_refused_in_words_without_a_statement_in_them(api: Api) -> None:
    await api.made("hierarchies", {"code": "REGIONS", "label": "Regions"})
    answer = await api.as_("boss").post("/hierarchies", json={"code": "REGIONS", "label": "Regions"})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "already" in answer.json()["detail"]
    assert "INSERT" not in answer.text
    assert "uq_" not in answer.text


async def test_a_record_that_others_refer_to_is_not_deleted(api: Api) -> None:
    path = f"/applications/{api.applications['PNL']}"
    answer = await api.as_("boss").delete(path, headers={"if-match": '"1"'})
    assert (answer.status_code, "still used" in answer.json()["detail"]) == (409, True)
