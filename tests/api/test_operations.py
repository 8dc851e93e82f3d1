"""What surrounds the routes: health, meters, headers, limits, and what happens when something fails."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.api.middleware import CONTENT_SECURITY_POLICY
from app.core.embedded import EmbeddedServers
from app.main import BODY_LIMIT, STATIC, create_app
from tests.api.conftest import BASE, Api
from tests.conftest import test_settings
from tests.factories import SYSTEM


@pytest.fixture
async def started(
    database_url: str, servers: EmbeddedServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """The application as the web server starts it, with its own connections."""
    monkeypatch.setattr("app.main.configure_logging", lambda _shape: None)
    app = create_app(test_settings(tmp_path, database_url=database_url, redis_url=servers.redis_url))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client,
    ):
        yield client


async def test_a_started_application_is_live_and_ready_and_counts_what_it_answers(started: httpx.AsyncClient) -> None:
    assert (await started.get("/health/live")).json() == {"status": "live"}
    ready = await started.get("/health/ready")
    assert (ready.status_code, ready.json()["checks"]) == (200, {"database": "ok", "migrations": "ok", "redis": "ok"})
    await started.get("/api/v1/trades/7")
    meters = (await started.get("/metrics")).text
    assert 'steps_requests_total{method="GET",route="/health/ready",status="200"} 1.0' in meters
    assert 'steps_requests_total{method="GET",route="unknown",status="401"} 1.0' in meters
    assert "steps_outbox_oldest_seconds 0.0" in meters
    assert 'steps_database_connections{state="in_use"}' in meters


async def test_the_meters_name_routes_and_not_addresses(api: Api) -> None:
    await api.as_("boss").get(f"/trades/{api.nodes['FX']}")
    await api.as_("boss").get("/trades")
    meters = (await api.nobody().get("/metrics")).text
    assert 'route="/api/v1/trades/{id}",status="404"' in meters
    assert 'route="/api/v1/trades",status="200"' in meters
    assert str(api.nodes["FX"]) not in meters


async def test_a_database_without_its_migrations_is_not_ready(api: Api) -> None:
    async with api.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    answer = await api.nobody().get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["migrations"].startswith("at 0000, needs ")


async def test_connections_that_the_database_has_cut_are_told_as_such_and_made_anew(api: Api) -> None:
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> :me"
    await asyncio.gather(*(api.as_("boss").get("/trades") for _ in range(5)))
    async with api.runtime.uow(SYSTEM) as uow:
        own = await uow.scalar(text("SELECT pg_backend_pid()"))
        await uow.execute(text(cut), {"me": own})
    answers = [await api.as_("boss").get("/trades") for _ in range(8)]
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert answers[-1].status_code == 200
    assert (await api.nobody().get("/health/live")).status_code == 200


@pytest.mark.parametrize("path", ["/health/live", "/api/v1/trades", "/static/css/base.css", "/no/such/page"])
async def test_every_answer_has_the_security_headers_and_an_id(api: Api, path: str) -> None:
    headers = (await api.nobody().get(path)).headers
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "cache-control" in headers
    assert len(headers["x-request-id"]) == 36


async def test_static_files_with_a_version_are_kept_and_others_are_asked_for_again(api: Api) -> None:
    plain = await api.nobody().get("/static/css/base.css")
    assert (plain.status_code, plain.headers["cache-control"]) == (200, "no-cache")
    versioned = await api.nobody().get("/static/css/base.css?v=abc")
    assert "immutable" in versioned.headers["cache-control"]
    missing = await api.nobody().get("/static/css/none.css?v=abc")
    assert (missing.status_code, "immutable" in missing.headers["cache-control"]) == (404, False)


async def test_neither_package_files_nor_anything_above_the_folder_is_served(api: Api) -> None:
    assert (STATIC / "package.json").exists()
    for path in ("/static/package.json", "/static/package-lock.json", "/static/../base.py", "/static/%2e%2e/base.py"):
        assert (await api.nobody().get(path)).status_code == 404, path


async def test_a_body_that_is_too_large_is_refused_by_its_header_and_by_its_bytes(api: Api) -> None:
    headers = {"content-type": "application/json"}
    declared = await api.as_("boss").post("/trades", content=b" " * (BODY_LIMIT + 1), headers=headers)
    assert (declared.status_code, declared.json()["code"]) == (413, "too_large")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(BODY_LIMIT // 65_536 + 2):
            yield b" " * 65_536

    streamed = await api.as_("boss").post("/trades", content=chunks(), headers=headers)
    assert (streamed.status_code, "16 MiB" in streamed.json()["detail"]) == (413, True)
    feature = await api.as_("boss").post(
        f"/process-runs/{api.nodes['FX']}/transitions/start", content=chunks(), headers=headers
    )
    assert feature.status_code == 413


async def test_a_fault_of_ours_is_answered_with_its_number_and_nothing_else(api: Api) -> None:
    async def broken(_request: Request) -> Response:
        raise ZeroDivisionError("password=hunter2 SELECT * FROM secrets")

    api.app.router.routes.insert(0, Route("/broken", broken))
    answer = await api.nobody().get("/broken")
    assert answer.status_code == 500
    content = answer.json()
    assert (content["code"], content["correlation_id"]) == ("internal_error", answer.headers["x-request-id"])
    assert content["correlation_id"] in content["detail"]
    for word in ("hunter2", "SELECT", "ZeroDivision", "Traceback", ".py"):
        assert word not in answer.text


async def test_a_database_error_is_answered_without_its_words(api: Api) -> None:
    async def broken(request: Request) -> Response:
        async with request.app.state.runtime.uow(SYSTEM) as uow:
            await uow.execute(text("SELECT no_such_column FROM app_user"))
        return Response()

    api.app.router.routes.insert(0, Route("/broken", broken))
    answer = await api.nobody().get("/broken")
    assert answer.status_code in (500, 503)
    for word in ("no_such_column", "app_user", "asyncpg", "SELECT"):
        assert word not in answer.text
