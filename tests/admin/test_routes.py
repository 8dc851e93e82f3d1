"""Every route of the back office keeps the same rules; none of SQLAdmin's own is left."""

import re
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import func, select
from starlette.routing import Route

from admin_views import notices
from admin_views.form_model import form_model
from admin_views.navigation import NAVIGATION, RECORD_PAGES, REPLACED_BY, PageItem
from admin_views.site import Site
from admin_views.visit import guarded
from models.registry import product_registry
from models.system.tables import audit_entry
from tests.admin.conftest import ORIGIN, MakeTrade, Office

CHANGING = re.compile(r"delete|/steps/|saved-views|preferences/|signout|columns|read$")


def routes(office: Office) -> list[Route]:
    return [route for route in office.site.admin.router.routes if isinstance(route, Route)]


def address(route: Route) -> str:
    """The route's path with something plausible in each place."""
    path = route.path.replace("{slug}", "trades").replace("{field}", "book").replace("{name}", "theme")
    return re.sub(r"\{\w+\}", str(uuid4()), path)


async def test_there_is_no_route_of_sqladmin_and_nothing_is_mounted(office: Office) -> None:
    assert len(routes(office)) == len(office.site.admin.router.routes)
    guarded_code = guarded(office.site, notices.panel, path="/").__code__
    for path in ("/trades/list", "/trades/create", "/trades/delete?pks=1", "/trades/export/csv", "/login", "/logout"):
        browser = await office.visitor("preparer")
        assert (await browser.get(path)).status_code == 404, path
        assert (await browser.client.delete(path, headers={"origin": ORIGIN})).status_code == 404, path
    for route in routes(office):
        assert route.path == "/signin" or route.endpoint.__code__ is guarded_code, route.path


async def test_no_change_is_made_by_get_and_no_other_method_exists(office: Office) -> None:
    for route in routes(office):
        methods = set(route.methods or ())
        assert methods <= {"GET", "HEAD", "POST"}, route.path
        if CHANGING.search(route.path):
            assert methods == {"POST"}, route.path


async def test_every_page_leads_a_stranger_to_the_sign_in_and_back(office: Office) -> None:
    client = office.client()
    for route in routes(office):
        if route.path == "/signin" or "GET" not in (route.methods or ()):
            continue
        answer = await client.get(address(route), headers={"accept": "text/html"})
        assert answer.status_code == 303, route.path
        assert answer.headers["location"].startswith("/signin?next=%2F"), route.path
        plain = await client.get(address(route), headers={"accept": "application/json"})
        assert plain.status_code == 401, route.path


async def test_no_post_is_taken_without_the_token_or_from_elsewhere(office: Office) -> None:
    browser = await office.visitor("admin", application="PLATFORM")
    for route in routes(office):
        if "POST" not in (route.methods or ()) or route.path == "/signin":
            continue
        path = address(route)
        for sent in (
            {"headers": {"origin": ORIGIN}},
            {"headers": {"origin": ORIGIN}, "data": {"csrf_token": "guess"}},
            {"headers": {"origin": ORIGIN, "x-csrf-token": "guess"}},
            {"headers": {}, "data": {"csrf_token": browser.token}},
            {"headers": {"origin": "https://evil.test"}, "data": {"csrf_token": browser.token}},
            {"headers": {"origin": "null"}, "data": {"csrf_token": browser.token}},
        ):
            answer = await browser.client.post(path, **sent)  # type: ignore[arg-type]
            assert answer.status_code == 403, (path, sent)
    async with office.runtime.uow(office.world.actor("admin", application="PLATFORM")) as uow:
        denied = select(func.count()).where(audit_entry.c.outcome == "denied")
        assert await uow.scalar(denied) > 0


async def test_sqladmin_cannot_run_a_statement_of_its_own(office: Office) -> None:
    for view in office.site.views:
        with pytest.raises(RuntimeError, match=r"app\.domain\.entities"):
            await view._run_query(select(1))  # type: ignore[union-attr]
        with pytest.raises(RuntimeError, match=r"app\.domain\.entities"):
            view._run_query_sync(select(1))  # type: ignore[union-attr]


async def test_a_record_out_of_scope_is_not_found_whatever_is_asked_of_it(office: Office, trade: MakeTrade) -> None:
    hidden = await trade("EM-1")
    browser = await office.visitor("preparer", "admin", node="G10")
    for tail in ("", "/edit", "/history?before=99"):
        assert (await browser.get(f"/data/trades/{hidden}{tail}")).status_code == 404, tail
    for tail in ("/edit", "/delete"):
        answer = await browser.post(f"/data/trades/{hidden}{tail}", {"row_version": "1", "note": "mine"})
        assert answer.status_code == 404, tail
    listed = await browser.get("/data/trades")
    assert listed.status_code == 200
    assert "No trades yet" in listed.text


async def test_an_id_that_is_none_and_a_list_that_is_none_are_not_found(office: Office) -> None:
    browser = await office.visitor("preparer")
    for path in ("/data/trades/1;drop", "/data/nothing", "/data/nothing/new", "/no/such/page", "/data/trades/x/edit"):
        answer = await browser.get(path)
        assert answer.status_code == 404, path
        assert "What you can do" in answer.text


async def test_a_person_without_the_permission_gets_a_page_that_names_it(office: Office) -> None:
    browser = await office.visitor("controller")
    answer = await browser.get("/data/trades/new")
    assert answer.status_code == 403
    assert "the permission “create” on trade in PNL is missing" in answer.text
    assert "Preparer" in answer.text
    assert 'href="/data/trades/new"' not in (await browser.get("/data/trades")).text


async def test_records_that_the_platform_writes_have_no_form(office: Office) -> None:
    browser = await office.visitor("admin", application="PLATFORM")
    answer = await browser.get("/data/pnl-facts/new")
    assert answer.status_code == 403
    assert "the platform writes them" in answer.text


async def test_the_api_and_static_files_are_left_to_others(office: Office) -> None:
    answer = await office.client().get("/api/v1/nothing", headers={"accept": "text/html"})
    assert answer.status_code == 404
    assert "location" not in answer.headers


async def test_the_form_of_an_entity_is_built_once(office: Office) -> None:
    registry = office.runtime.registry
    assert form_model(registry, "trade") is form_model(registry, "trade")


async def test_new_metadata_swaps_the_whole_site(office: Office) -> None:
    holder: Site = office.app.state.site
    before = holder.current()
    assert holder.current() is before
    office.runtime.registry = product_registry()
    after = holder.current()
    assert after is not before
    assert after.registry is office.runtime.registry
    browser = await office.visitor("preparer")
    assert (await browser.get("/data/trades")).status_code == 200


async def test_a_fault_shows_a_number_and_nothing_of_its_cause(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> object:
        raise RuntimeError("SELECT secret FROM vault")

    monkeypatch.setattr("admin_views.lists.list_records", broken)
    browser = await office.visitor("preparer")
    answer: httpx.Response = await browser.get("/data/trades")
    assert answer.status_code == 500
    assert "vault" not in answer.text
    assert "Traceback" not in answer.text
    assert "Something went wrong on our side" in answer.text


async def test_the_pages_that_records_are_led_to_are_there(office: Office) -> None:
    served = {route.path for route in routes(office)}
    for entity, page in RECORD_PAGES.items():
        assert entity in office.runtime.registry.entities
        assert f"{page}/{{id}}" in served
    named = {item.path for _, items in NAVIGATION for item in items if isinstance(item, PageItem)}
    assert set(REPLACED_BY.values()) <= named
