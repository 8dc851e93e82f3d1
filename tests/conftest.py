"""Fixtures every suite shares: real servers, one migrated template database, a fresh clone of it per test."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from app.bootstrap import Runtime, build
from app.core.embedded import EmbeddedServers, start_embedded
from app.core.migrations import upgrade_async
from app.core.settings import Settings
from models.registry import Registry, product_registry
from tests.factories import World

TEMPLATE = "steps_template"


def test_settings(data_dir: Path, **values: object) -> Settings:
    """Settings that owe nothing to the environment of whoever runs the tests."""
    given = {"data_dir": data_dir, "demo": False, "secret_key": "k" * 48, **values}
    return Settings(**given)  # type: ignore[arg-type]


test_settings.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def registry() -> Registry:
    """The product's metadata, mapped once for the whole session."""
    return product_registry()


@pytest.fixture(scope="session")
def servers() -> Iterator[EmbeddedServers]:
    """PostgreSQL and Redis of this test process, in a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="steps-test-", dir=_memory()) as folder:
        for name in [name for name in os.environ if name.startswith("STEPS_")]:
            del os.environ[name]
        started = start_embedded(test_settings(Path(folder)), durable=False)
        try:
            asyncio.run(_make_template(started.database_url))
            yield started
        finally:
            started.stop()


def _memory() -> str | None:
    """A folder in memory where there is one with room: cloning a database takes 20 ms there, and a second on a disk."""
    shm = Path("/dev/shm")
    roomy = shm.is_dir() and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 4 * 2**30
    return str(shm) if roomy else None


async def _make_template(database_url: str) -> None:
    await _admin(database_url, f'CREATE DATABASE "{TEMPLATE}"')
    await upgrade_async(_on(database_url, TEMPLATE))
    with tempfile.TemporaryDirectory(prefix="steps-template-") as folder:
        # What a platform writes when it first starts, such as the lifecycles that ship with it.
        started = await build(test_settings(Path(folder), database_url=_on(database_url, TEMPLATE)))
        await started.aclose()


def _on(database_url: str, database: str) -> str:
    head, _, query = database_url.partition("?")
    return f"{head.rpartition('/')[0]}/{database}" + (f"?{query}" if query else "")


async def _admin(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(_on(database_url, "postgres").replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def database_url(servers: EmbeddedServers) -> AsyncIterator[str]:
    """A database of this test alone, migrated and empty."""
    name = f"t_{uuid4().hex}"
    await _admin(servers.database_url, f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}" STRATEGY FILE_COPY')
    yield _on(servers.database_url, name)
    # Not even FORCE may end a vacuum that the server itself has begun there; it is over in a moment.
    for _ in range(50):
        try:
            await _admin(servers.database_url, f'DROP DATABASE "{name}" WITH (FORCE)')
        except (asyncpg.InsufficientPrivilegeError, asyncpg.ObjectInUseError):
            await asyncio.sleep(0.1)
        else:
            return


@pytest.fixture
async def runtime(
    database_url: str, registry: Registry, tmp_path: Path, servers: EmbeddedServers
) -> AsyncIterator[Runtime]:
    """A platform on the test's own database."""
    settings = test_settings(tmp_path, database_url=database_url, redis_url=servers.redis_url)
    built = await build(settings, registry=registry)
    yield built
    await built.aclose()


@pytest.fixture
async def world(runtime: Runtime) -> World:
    """A small bank on the test's own database; see `tests.factories.World`."""
    return await World(runtime).build()
