"""The web application: routes, screens, static files, and what surrounds every request."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from redis.asyncio import Redis
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from admin_views import site
from app.api import (
    access,
    bulk_work,
    calendars,
    delegations,
    escalations,
    files,
    finance,
    forecasts,
    hooks,
    issues,
    jobs,
    lifecycles,
    migrations,
    openapi,
    process_contents,
    process_runs,
    queries,
    reopenings,
    schedules,
    workflow_runs,
    workflow_versions,
)
from app.api.auth.routes import router as auth_router
from app.api.generated import PREFIX, RecordsApi, RecordsRoute
from app.api.health import live, ready
from app.api.logs import configure_logging
from app.api.metrics import Metrics
from app.api.middleware import MEBIBYTE, BodyLimit, Faults, Observed
from app.api.problems import register
from app.bootstrap import Runtime, build
from app.core.db import asyncpg_dsn
from app.core.listen import Listener, on_topics
from app.core.settings import Settings, get_settings
from app.core.touched import Touched
from app.core.uow import LIVE_CHANNEL
from app.domain.documents.files import MAX_BYTES
from jobs.health import WorkerHealth, workers
from models.registry import Registry, product_registry

STATIC = Path(__file__).resolve().parents[1] / "admin_views" / "static"
BODY_LIMIT = 16 * MEBIBYTE
BODY_LIMITS = {"/api/v1/files": MAX_BYTES + MEBIBYTE, "/api/v1/hooks": MEBIBYTE}


def create_app(settings: Settings | None = None, *, runtime: Runtime | None = None) -> FastAPI:
    """Build the application. With a `runtime` it serves that one, and leaves closing it to whoever built it."""
    given = runtime
    settings = settings or (given.settings if given else get_settings())
    if given is None:
        configure_logging(settings.log_format)
    registry = given.registry if given else product_registry()
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await _start(app, settings, registry, stack, given=given)
            yield

    app = FastAPI(title="STEPS", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.runtime = given
    app.state.redis = None
    records = RecordsApi()
    app.router.routes += [
        RecordsRoute(records),
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/metrics", metrics.endpoint(lambda: _workers(app))),
        Mount("/static", Assets(directory=STATIC)),
    ]
    features = (
        access,
        bulk_work,
        delegations,
        process_runs,
        process_contents,
        queries,
        reopenings,
        workflow_runs,
        workflow_versions,
        migrations,
        forecasts,
        finance,
        files,
        schedules,
        calendars,
        hooks,
        issues,
        lifecycles,
        jobs,
        escalations,
    )
    for router in (auth_router, *(feature.router for feature in features)):
        app.include_router(router)
    # After the features: what none of them serves is no record, or cannot be done to it, and is answered as such.
    app.router.routes += [Route(openapi.ADDRESS, openapi.openapi_json), Mount(PREFIX, records)]
    site.mount(app)
    register(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, largest=BODY_LIMIT, by_prefix=BODY_LIMITS)
    app.add_middleware(Faults)
    app.add_middleware(Observed, metrics=metrics, https=settings.address.startswith("https://"))
    return app


async def _start(
    app: FastAPI, settings: Settings, registry: Registry, stack: AsyncExitStack, *, given: Runtime | None
) -> None:
    """Connect, and follow what other processes change. The stack closes what was opened."""
    runtime = given
    if runtime is None:
        runtime = await build(settings, registry=registry)
        stack.push_async_callback(runtime.aclose)
    app.state.runtime = runtime
    listener = Listener(asyncpg_dsn(runtime.engine))
    listener.subscribe(LIVE_CHANNEL, on_topics(runtime.reactions))
    app.state.touched = Touched()
    listener.subscribe(LIVE_CHANNEL, app.state.touched.hear)
    app.state.listener = listener
    await listener.start()
    stack.push_async_callback(listener.stop)
    if settings.redis_url is not None:
        app.state.redis = Redis.from_url(settings.redis_url, socket_connect_timeout=2, socket_timeout=2)
        stack.push_async_callback(app.state.redis.aclose)


async def _workers(app: FastAPI) -> Sequence[WorkerHealth]:
    redis: Redis | None = app.state.redis
    return await workers(redis) if redis is not None else ()


class Assets(StaticFiles):
    """Our styles, scripts and libraries. Addresses with a version (`?v=`) never change and are kept for a year."""

    FOR_A_YEAR = "public, max-age=31536000, immutable"

    async def get_response(self, path: str, scope: Scope) -> Response:
        if (
            path.endswith((".json", ".lock")) and "/" not in path
        ):  # how the libraries are installed is nobody's business
            return await super().get_response("no-such-file", scope)
        response = await super().get_response(path, scope)
        versioned = scope["query_string"].startswith(b"v=") and response.status_code in (200, 206, 304)
        response.headers["cache-control"] = self.FOR_A_YEAR if versioned else "no-cache"
        return response
