"""What `steps doctor` looks at."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.embedded import start_or_join
from app.core.migrations import schema_version
from app.core.ports import bind_listener
from app.core.server_error import ServerError
from app.core.settings import Settings
from app.probe import web_answers

EXTENSIONS = ("citext", "ltree", "pg_trgm")
OLDEST_POSTGRES = 18
OLDEST_REDIS = (6, 2)
VENDOR = Path(__file__).resolve().parents[1] / "admin_views" / "static" / "vendor"
ASSETS = ("htmx.min.js", "tabler.min.css", "tabler-icons.min.css")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    detail: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything in turn. Embedded servers that do not run are started for the purpose."""
    yield _data_folder(settings)
    yield _port(settings)
    yield _assets()
    try:
        servers = start_or_join(settings)
    except ServerError as error:
        yield Finding("servers", good=False, detail=str(error))
        return
    with servers:
        yield from asyncio.run(_servers(servers.database_url, servers.redis_url))


def _data_folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    good = os.access(folder, os.W_OK | os.X_OK)
    return Finding("data folder", good=good, detail=f"{folder}" if good else f"{folder} is not writable")


def _port(settings: Settings) -> Finding:
    place = f"{settings.host}:{settings.port}"
    try:
        bind_listener(settings.host, settings.port).close()
    except OSError as error:
        if web_answers(settings):
            return Finding("port", good=True, detail=f"STEPS answers at {place}")
        return Finding("port", good=False, detail=f"{place}: {error.strerror}; set STEPS_PORT to another one")
    return Finding("port", good=True, detail=f"{place} is free")


def _assets() -> Finding:
    missing = [name for name in ASSETS if not (VENDOR / name).is_file()]
    if missing:
        return Finding("assets", good=False, detail=f"{', '.join(missing)} missing: run `make assets`")
    return Finding("assets", good=True, detail="browser libraries are in place")


async def _servers(database_url: str, redis_url: str) -> list[Finding]:
    return [*await _database(database_url), await _redis(redis_url)]


async def _database(database_url: str) -> list[Finding]:
    try:
        connection = await asyncpg.connect(database_url.replace("+asyncpg", "", 1), timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        return [Finding("database", good=False, detail=f"not reachable: {error}")]
    try:
        version: int = int(await connection.fetchval("SHOW server_version_num")) // 10000
        offered = {row["name"] for row in await connection.fetch("SELECT name FROM pg_available_extensions")}
    finally:
        await connection.close()
    missing = [name for name in EXTENSIONS if name not in offered]
    schema = await schema_version(database_url)
    return [
        Finding(
            "database",
            good=version >= OLDEST_POSTGRES,
            detail=f"PostgreSQL {version}"
            + ("" if version >= OLDEST_POSTGRES else f"; {OLDEST_POSTGRES} or newer is needed"),
        ),
        Finding(
            "extensions",
            good=not missing,
            detail=f"not installed on the server: {', '.join(missing)}" if missing else ", ".join(EXTENSIONS),
        ),
        Finding(
            "schema",
            good=schema.up_to_date,
            detail=f"at {schema.current or 'empty'}"
            + (", the newest" if schema.up_to_date else f", the newest is {schema.newest}: run `steps migrate`"),
        ),
    ]


async def _redis(redis_url: str) -> Finding:
    try:
        client = Redis.from_url(redis_url, socket_connect_timeout=10)
        try:
            version = str((await client.info("server"))["redis_version"])
        finally:
            await client.aclose()
    except (RedisError, OSError, ValueError) as error:
        return Finding("redis", good=False, detail=f"not reachable: {error}")
    good = tuple(int(part) for part in version.split(".")[:2]) >= OLDEST_REDIS
    wanted = ".".join(str(part) for part in OLDEST_REDIS)
    return Finding("redis", good=good, detail=f"Redis {version}" + ("" if good else f"; {wanted} or newer is needed"))
