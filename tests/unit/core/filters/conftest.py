"""The vector entities as real tables with their records, and filters.js in a Node process."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from app.core.embedded import EmbeddedServers
from tests.unit.core.filters.node import NodeFilters
from tests.unit.core.filters.world import REGISTRY, rows


@pytest.fixture(scope="session")
async def connection(servers: EmbeddedServers) -> AsyncIterator[AsyncConnection]:
    """A database that holds exactly the records of vectors.json."""
    name = f"filters_{uuid4().hex}"
    admin = await asyncpg.connect(servers.database_url.replace("+asyncpg", ""))
    await admin.execute(f'CREATE DATABASE "{name}"')
    engine = create_async_engine(f"{servers.database_url.rpartition('/')[0]}/{name}", poolclass=NullPool)
    try:
        async with engine.connect() as opened:
            await opened.execute(text("CREATE EXTENSION ltree"))
            await opened.run_sync(REGISTRY.metadata.create_all)
            for entity, row in rows():
                await opened.execute(insert(REGISTRY.table(entity)).values(row))
            yield opened
    finally:
        await engine.dispose()
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await admin.close()


@pytest.fixture(scope="session")
def node() -> Iterator[NodeFilters]:
    with NodeFilters() as running:
        yield running
