from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from fastapi_users.exceptions import InvalidPasswordException, UserNotExists
from pydantic import SecretStr

from app.api.auth.users import UserManager
from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.domain.access.accounts import deactivate_user
from tests.api.auth.conftest import Client, make_app
from tests.service.identity.people import (
    EMAIL,
    PASSWORD,
    WRONG,
    columns,
    grant,
    person,
    service_account,
    set_columns,
)

AUTH = "/api/v1/auth"


async def sign_in(browser: httpx.AsyncClient, *, email: str = EMAIL, password: str = PASSWORD) -> httpx.Response:
    response = await browser.post(f"{AUTH}/sign-in", json={"email": email, "password": password})
    if response.status_code == 200:
        browser.headers["x-csrf-token"] = response.json()["csrf_token"]
    return response


async def make_token(browser: httpx.AsyncClient, **values: object) -> dict[str, str]:
    response = await browser.post(f"{AUTH}/tokens", json={"label": "Export", "read_only": False, **values})
    assert response.status_code == 201, response.text
    made: dict[str, str] = response.json()
    return made


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _with_cookie(client: Client, token: str) -> httpx.AsyncClient:
    browser = client()
    browser.cookies.set("steps_session", token)
    return browser


async def test_sign_in_sets_a_cookie_that_scripts_and_other_sites_do_not_get(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    response = await sign_in(client())
    assert response.status_code == 200
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("steps_session=")
    assert {"HttpOnly", "SameSite=lax", "Path=/", "Max-Age=86400"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert response.headers["cache-control"] == "no-store"


async def test_the_cookie_is_secure_where_people_use_https(runtime: Runtime) -> None:
    await person(runtime)
    runtime.settings = runtime.settings.model_copy(update={"base_url": "https://steps.bank.example"})
    transport = httpx.ASGITransport(make_app(runtime))
    async with httpx.AsyncClient(transport=transport, base_url="https://steps.bank.example") as browser:
        response = await sign_in(browser)
    assert "Secure" in response.headers["set-cookie"].split("; ")


async def test_who_am_i_tells_the_grants_and_no_secret(runtime: Runtime, client: Client) -> None:
    id_ = await person(runtime)
    await grant(runtime, id_, "preparer")
    await grant(runtime, id_, "controller", valid_until=runtime.clock.now() - timedelta(seconds=1))
    browser = client()
    signed = (await sign_in(browser)).json()
    response = await browser.get(f"{AUTH}/me")
    me = response.json()
    assert (me["id"], me["email"], me["kind"]) == (str(id_), EMAIL, "user")
    assert [(held["role"], held["application"]) for held in me["grants"]] == [("preparer", "PNL")]
    assert me["session"]["csrf_token"] == signed["csrf_token"]
    assert me["last_sign_in_at"] is not None
    assert "argon2" not in response.text


async def test_no_answer_contains_a_hash(runtime: Runtime, client: Client) -> None:
    id_ = await person(runtime)
    browser = client()
    texts = [(await sign_in(browser)).text]
    token = await make_token(browser)
    texts += [(await browser.get(f"{AUTH}/{path}")).text for path in ("me", "sessions", "tokens")]
    hashes = [
        (await columns(runtime, "user", id_))["password_hash"],
        (await columns(runtime, "user_session", UUID((await browser.get(f"{AUTH}/sessions")).json()[0]["id"])))[
            "token_hash"
        ],
        (await columns(runtime, "access_token", UUID(token["id"])))["token_hash"],
    ]
    for text in texts:
        assert not any(hashed in text for hashed in hashes)
        assert token["token"] not in text


@pytest.mark.parametrize("path", ["me", "sessions", "tokens"])
async def test_nobody_gets_nothing(client: Client, path: str) -> None:
    response = await client().get(f"{AUTH}/{path}")
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


async def test_wrong_name_and_wrong_password_are_answered_alike(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    browser = client()
    known = await sign_in(browser, password=WRONG)
    unknown = await sign_in(browser, email="nobody@bank.example")
    assert known.status_code == unknown.status_code == 401
    assert known.json() == unknown.json()
    assert "set-cookie" not in known.headers


async def test_the_fifth_wrong_password_pauses_sign_in(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    browser = client()
    statuses = [(await sign_in(browser, password=WRONG)).status_code for _ in range(5)]
    assert statuses == [401, 401, 401, 401, 429]
    paused = await sign_in(browser)
    assert (paused.status_code, paused.json()["code"]) == (429, "sign_in_paused")
    assert 0 < paused.json()["retry_after"] <= 60


async def test_a_foreign_page_cannot_sign_its_visitor_in(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    response = await sign_in(client(origin="https://evil.example"))
    assert (response.status_code, response.json()["code"]) == (403, "csrf_refused")


async def test_a_form_post_is_no_sign_in(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    body = '{"email": "' + EMAIL + '", "password": "' + PASSWORD + '"}'
    response = await client().post(f"{AUTH}/sign-in", content=body, headers={"content-type": "text/plain"})
    assert response.status_code == 422


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_changing_request_needs_our_origin_and_the_sessions_csrf_token(
    runtime: Runtime, client: Client, method: str
) -> None:
    await person(runtime)
    browser = client()
    good = (await sign_in(browser)).json()["csrf_token"]
    ours = "http://127.0.0.1:8000"

    async def status(origin: str | None, token: str | None, referer: str | None = None) -> int:
        headers = {"origin": origin, "x-csrf-token": token, "referer": referer}
        for name in ("origin", "x-csrf-token"):
            browser.headers.pop(name, None)
        given = {name: value for name, value in headers.items() if value is not None}
        return (await browser.request(method, "/guarded", headers=given)).status_code

    assert await status(ours, good) == 200
    assert await status(None, good, f"{ours}/runs") == 200
    assert await status(ours, None) == 403
    assert await status(ours, good[:-1]) == 403
    assert await status(None, good) == 403
    assert await status("null", good) == 403
    assert await status("https://evil.example", good) == 403
    assert await status("https://evil.example", good, f"{ours}/runs") == 403
    assert await status(None, good, "https://evil.example/") == 403


async def test_another_sessions_csrf_token_does_not_help(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    mine, theirs = client(), client()
    await sign_in(mine)
    other = (await sign_in(theirs)).json()["csrf_token"]
    response = await mine.post("/guarded", headers={"x-csrf-token": other})
    assert (response.status_code, response.json()["code"]) == (403, "csrf_refused")


async def test_reading_needs_no_csrf_token(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    browser = client(origin=None)
    await sign_in(browser)
    del browser.headers["x-csrf-token"]
    assert (await browser.get("/guarded")).status_code == 200


async def test_a_bearer_token_needs_neither_origin_nor_csrf_token(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    browser = client()
    await sign_in(browser)
    token = await make_token(browser)
    response = await client(origin=None).post("/guarded", headers=bearer(token["token"]))
    assert (response.status_code, response.json()) == (200, {"name": "Jonas Weber"})


async def test_a_wrong_bearer_token_is_not_replaced_by_the_cookie(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    browser = client()
    await sign_in(browser)
    for value in (b"Bearer wrong", b"Bearer ", b"Basic am9uYXM6eA==", b"steps_pat_x", b"Bearer steps_pat_\xe9", b""):
        response = await browser.get("/guarded", headers={b"authorization": value})
        assert response.status_code == 401, value


async def test_sign_out_ends_the_session_and_clears_the_cookie(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    browser = client()
    await sign_in(browser)
    stolen = browser.cookies["steps_session"]
    response = await browser.post(f"{AUTH}/sign-out")
    assert response.status_code == 204
    assert "Max-Age=0" in response.headers["set-cookie"]
    assert (await _with_cookie(client, stolen).get("/guarded")).status_code == 401


async def test_signing_in_again_ends_the_session_before(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    browser = client()
    await sign_in(browser)
    former = browser.cookies["steps_session"]
    await sign_in(browser)
    assert browser.cookies["steps_session"] != former
    assert (await _with_cookie(client, former).get("/guarded")).status_code == 401


async def test_a_session_ended_elsewhere_is_refused_at_once(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    here, elsewhere = client(), client()
    await sign_in(here)
    await sign_in(elsewhere)
    sessions = (await here.get(f"{AUTH}/sessions")).json()
    (other,) = [line["id"] for line in sessions if not line["current"]]
    assert (await here.delete(f"{AUTH}/sessions/{other}")).status_code == 204
    assert (await elsewhere.get("/guarded")).status_code == 401
    assert (await here.delete(f"{AUTH}/sessions")).json() == {"ended": 0}


async def test_a_deactivated_user_is_refused_at_once_by_cookie_and_token(runtime: Runtime, client: Client) -> None:
    id_ = await person(runtime)
    browser = client()
    await sign_in(browser)
    token = await make_token(browser)
    async with runtime.uow(system_actor()) as uow:
        await deactivate_user(uow, user_id=id_, reason="left the bank")
    assert (await browser.get("/guarded")).status_code == 401
    assert (await client().get("/guarded", headers=bearer(token["token"]))).status_code == 401


async def test_a_token_is_listed_without_its_secret_and_revoked(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    browser = client()
    await sign_in(browser)
    made = await make_token(browser, read_only=True)
    (line,) = (await browser.get(f"{AUTH}/tokens")).json()
    assert (line["id"], line["read_only"], "token" in line) == (made["id"], True, False)
    me = (await client().get(f"{AUTH}/me", headers=bearer(made["token"]))).json()
    assert (me["read_only"], me["session"]) == (True, None)
    assert (await browser.delete(f"{AUTH}/tokens/{made['id']}")).status_code == 204
    assert (await client().get("/guarded", headers=bearer(made["token"]))).status_code == 401


async def test_a_read_only_token_cannot_change_the_password_or_end_sessions(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    browser = client()
    await sign_in(browser)
    headers = bearer((await make_token(browser, read_only=True))["token"])
    caller = client(origin=None)
    change = {"current_password": PASSWORD, "new_password": "brass kettle 41 hums"}
    assert (await caller.post(f"{AUTH}/password", json=change, headers=headers)).status_code == 403
    assert (await caller.delete(f"{AUTH}/sessions", headers=headers)).status_code == 403
    assert (await browser.get("/guarded")).status_code == 200


async def test_a_token_without_an_end_in_a_zone_is_refused(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    browser = client()
    await sign_in(browser)
    far = "2099-01-01T00:00:00"
    for body in (
        {"label": "x", "expires_at": far},
        {"label": "x", "expires_at": f"{far}Z"},
        {"label": ""},
        {"label": "x", "scope": "all"},
    ):
        assert (await browser.post(f"{AUTH}/tokens", json=body)).status_code == 422


async def test_a_password_set_by_an_administrator_is_changed_before_anything_else(
    runtime: Runtime, client: Client
) -> None:
    await person(runtime, must_change_password=True)
    browser = client()
    assert (await sign_in(browser)).json()["must_change_password"]
    refused = await browser.get("/guarded")
    assert (refused.status_code, refused.json()["code"]) == (403, "password_change_required")
    assert (await browser.post(f"{AUTH}/tokens", json={"label": "x"})).status_code == 403
    change = {"current_password": PASSWORD, "new_password": "brass kettle 41 hums"}
    assert (await browser.post(f"{AUTH}/password", json=change)).status_code == 204
    assert (await browser.get("/guarded")).status_code == 200
    assert (await sign_in(client())).status_code == 401
    assert (await sign_in(client(), password="brass kettle 41 hums")).status_code == 200


async def test_a_wrong_current_password_changes_nothing(runtime: Runtime, client: Client) -> None:
    await person(runtime)
    browser = client()
    await sign_in(browser)
    change = {"current_password": WRONG, "new_password": "brass kettle 41 hums"}
    response = await browser.post(f"{AUTH}/password", json=change)
    assert (response.status_code, response.json()["errors"][0]["path"]) == (422, "current_password")
    assert (await sign_in(client())).status_code == 200


async def test_the_api_description_names_both_ways_to_be_known(runtime: Runtime) -> None:
    schemes = make_app(runtime).openapi()["components"]["securitySchemes"]
    assert {(scheme["type"], scheme.get("in"), scheme.get("scheme")) for scheme in schemes.values()} == {
        ("apiKey", "cookie", None),
        ("http", None, "bearer"),
    }


async def test_the_user_manager_reads_our_accounts_and_applies_our_password_policy(runtime: Runtime) -> None:
    id_ = await person(runtime)
    await service_account(runtime)
    manager = UserManager(runtime, ip=None)
    user = await manager.get_by_email(EMAIL.upper())
    assert (user.id, user.hashed_password, user.is_superuser) == (id_, "", False)
    assert (await manager.get(id_)).email == EMAIL
    await set_columns(runtime, "user", id_, deleted_at=runtime.clock.now())
    with pytest.raises(UserNotExists):
        await manager.get(id_)
    with pytest.raises(InvalidPasswordException):
        await manager.validate_password("Password1234!", user)
    await manager.validate_password("brass kettle 41 hums", user)
    generated = manager.password_helper.generate()
    hashed = manager.password_helper.hash(generated)
    assert manager.password_helper.verify_and_update(generated, hashed) == (True, None)
    assert isinstance(runtime.settings.secret_key, SecretStr)
    assert manager.reset_password_token_secret == runtime.settings.secret_key.get_secret_value()
