"""Signing in and out in the browser, and choosing one's own password."""

import re
from typing import Any

import httpx
import pytest

from admin_views.auth import safe_next
from app.domain.access.passwords import hash_password
from tests.admin.conftest import ORIGIN, Office

PASSWORD = "correct horse battery staple"
EMAIL = "ada@bank.test"


@pytest.fixture
async def client(office: Office) -> httpx.AsyncClient:
    await office.world.user(EMAIL, name="Ada", password_hash=await hash_password(PASSWORD))
    return office.client()


async def send(client: httpx.AsyncClient, *, origin: str | None = ORIGIN, **given: str) -> httpx.Response:
    """Fill in the form that the page shows, and send it."""
    page = await client.get("/signin", params={"next": given.pop("asked", "/")})
    data: dict[str, Any] = {"email": EMAIL, "password": PASSWORD}
    data |= {name: re.search(rf'name="{name}" value="([^"]*)"', page.text)[1] for name in ("csrf_token", "next")}  # type: ignore[index]
    headers = {"accept": "text/html", **({"origin": origin} if origin else {})}
    return await client.post("/signin", data={**data, **given}, headers=headers)


async def test_the_right_password_leads_to_the_page_that_was_asked_for(client: httpx.AsyncClient) -> None:
    answer = await send(client, asked="/data/users?q=ada")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/data/users?q=ada"
    cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith("steps_session="))
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert (await client.get("/signin", headers={"accept": "text/html"})).status_code == 303


async def test_a_wrong_password_tells_nothing_of_accounts_and_keeps_the_name(client: httpx.AsyncClient) -> None:
    wrong = await send(client, password="wrong")
    unknown = await send(client, email="nobody@bank.test", password="wrong")
    assert wrong.status_code == unknown.status_code == 401
    assert f'value="{EMAIL}"' in wrong.text
    said = [re.search(r'id="password-e".*?</div>', page.text, re.DOTALL)[0] for page in (wrong, unknown)]  # type: ignore[index]
    assert said[0] == said[1]
    assert "steps_session" not in wrong.headers.get("set-cookie", "")


async def test_an_empty_field_is_named(client: httpx.AsyncClient) -> None:
    assert "Enter the e-mail address" in (await send(client, email=" ")).text
    assert "Enter your password." in (await send(client, password="")).text


async def test_many_wrong_passwords_pause_the_sign_in_and_say_until_when(client: httpx.AsyncClient) -> None:
    for _ in range(5):
        answer = await send(client, password="wrong")
    assert answer.status_code == 429
    assert "Sign-in is paused for ada@bank.test" in answer.text
    right = await send(client)
    assert right.status_code == 429
    assert re.search(r"Try again after \d\d:\d\d:\d\d", right.text)


async def test_the_sign_in_form_is_taken_from_our_own_page_only(client: httpx.AsyncClient) -> None:
    for answer in (
        await send(client, origin="https://evil.test"),
        await send(client, csrf_token="guess"),
        await send(client, origin=None),
    ):
        assert answer.status_code == 403
        assert "steps_session" not in answer.headers.get("set-cookie", "")


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.test",
        "//evil.test",
        "/\\evil.test",
        "javascript:alert(1)",
        "/a\nb",
        "",
        "/signin",
        "/signout",
        "x",
    ],
)
def test_the_way_on_never_leaves_the_site(address: str) -> None:
    assert safe_next(address) == "/"


def test_the_way_on_keeps_a_path_of_ours() -> None:
    assert safe_next("/data/trades?q=a&sort=-x") == "/data/trades?q=a&sort=-x"


async def test_signing_out_ends_the_session(office: Office) -> None:
    browser = await office.visitor("preparer")
    answer = await browser.post("/signout")
    assert answer.headers["location"] == "/signin?signed_out=1"
    browser.client.cookies.set("steps_session", "gone")
    assert (await browser.get("/data/trades")).status_code == 303
    assert "You are signed out." in (await browser.get("/signin?signed_out=1")).text


async def test_a_password_set_by_an_administrator_is_replaced_before_anything_else(office: Office) -> None:
    old = "set by an administrator"
    browser = await office.visitor("preparer", must_change_password=True, password_hash=await hash_password(old))
    answer = await browser.get("/data/trades")
    assert (answer.status_code, answer.headers["location"]) == (303, "/password")
    assert "Choose your password" in (await browser.get("/password")).text
    given = {"current_password": old, "new_password": "short", "again": "short"}
    assert (await browser.post("/password", given)).status_code == 422
    given |= {"new_password": "another long secret", "again": "another long secrets"}
    assert "The two new passwords differ." in (await browser.post("/password", given)).text
    wrong = await browser.post("/password", {**given, "again": "another long secret", "current_password": "x"})
    assert "Is not your password." in wrong.text
    assert (await browser.post("/password", {**given, "again": "another long secret"})).status_code == 303
    assert (await browser.get("/data/trades")).status_code == 200
