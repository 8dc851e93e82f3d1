"""Whether this process lives, and whether it can do its work."""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from app.bootstrap import Runtime
from app.core.migrations import schema_version
from app.core.server_error import ServerError
from app.core.start_state import newest_revision

PATIENCE_SECONDS = 2.0

Check = Callable[[], Awaitable[str]]
FAULTS = (SQLAlchemyError, ServerError, RedisError, OSError, TimeoutError)


async def live(_request: Request) -> Response:
    """The process answers; nothing else is looked at, so that a database outage restarts no web server."""
    return _answer(200, {"status": "live"})


async def ready(request: Request) -> Response:
    """The database answers and has every migration, and Redis answers; else 503 and what is missing."""
    runtime: Runtime = request.app.state.runtime
    redis: Redis | None = request.app.state.redis
    checks: dict[str, Check] = {"database": lambda: _database(runtime), "migrations": lambda: _migrations(request)}
    if redis is not None:
        checks["redis"] = lambda: _redis(redis)
    found = dict(zip(checks, await asyncio.gather(*(_asked(check) for check in checks.values())), strict=True))
    well = all(said == "ok" for said in found.values())
    return _answer(200 if well else 503, {"status": "ready" if well else "not ready", "checks": found})


async def _asked(check: Check) -> str:
    try:
        return await asyncio.wait_for(check(), PATIENCE_SECONDS)
    except TimeoutError:
        return "no answer"
    except FAULTS:
        return "not reachable"


async def _database(runtime: Runtime) -> str:
    async with runtime.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    return "ok"


async def _migrations(request: Request) -> str:
    runtime: Runtime = request.app.state.runtime
    newest: str | None = getattr(request.app.state, "newest_migration", None)
    if newest is None:  # it changes only with the code, so it is read once
        # Alembic is asked only where the files alone do not tell: it takes a third of a second to import.
        newest = newest_revision() or (await schema_version(str(runtime.settings.database_url))).newest
        request.app.state.newest_migration = newest
    async with runtime.engine.connect() as connection:
        current = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    return "ok" if current == newest else f"at {current or 'none'}, needs {newest}: run `steps migrate`"


async def _redis(redis: "Redis") -> str:
    await redis.ping()
    return "ok"


def _answer(status: int, content: object) -> Response:
    return Response(
        orjson.dumps(content), status_code=status, media_type="application/json", headers={"cache-control": "no-store"}
    )
