"""The auth routes over HTTP, with one guarded route beside them, on a platform of the test's own."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI

from app.api.auth import CurrentActor, router
from app.api.problems import register
from app.bootstrap import Runtime

Client = Callable[..., httpx.AsyncClient]


def make_app(runtime: Runtime) -> FastAPI:
    app = FastAPI()
    app.state.runtime = runtime
    app.include_router(router)
    register(app)

    @app.get("/guarded")
    @app.api_route("/guarded", methods=["POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    async def guarded(actor: CurrentActor) -> dict[str, str]:
        return {"name": actor.name}

    return app


@pytest.fixture
async def client(runtime: Runtime) -> AsyncIterator[Client]:
    """Browsers and API clients: each call opens one with cookies of its own."""
    app = make_app(runtime)
    opened: list[httpx.AsyncClient] = []

    def open_client(*, ip: str = "192.0.2.7", origin: str | None = "http://127.0.0.1:8000") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, client=(ip, 50_000))
        headers = {"origin": origin} if origin else {}
        made = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers)
        opened.append(made)
        return made

    yield open_client
    for each in opened:
        await each.aclose()
