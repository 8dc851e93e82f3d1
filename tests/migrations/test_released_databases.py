"""A database of the first release goes over to this one, and back, with every row that it had."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import uuid4

import orjson
import pytest

from app.core.embedded import EmbeddedServers
from app.core.migrations import schema_version, upgrade_async
from tests.conftest import _admin, _on
from tests.migrations.released import contents, fill, migrate, open_database

RELEASED = "0001"


@pytest.fixture
async def released(servers: EmbeddedServers) -> AsyncIterator[str]:
    """An empty database on the schema of the first release."""
    name = f"m_{uuid4().hex}"
    await _admin(servers.database_url, f'CREATE DATABASE "{name}"')
    url = _on(servers.database_url, name)
    await migrate(url, RELEASED)
    yield url
    await _admin(servers.database_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _kept(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Columns of rows that are gone or have another value."""
    lost = []
    for table, held in before.items():
        for old, new in zip(held["rows"], after[table]["rows"], strict=True):
            values, found = orjson.loads(old), orjson.loads(new)
            lost += [f"{table}.{name}" for name, value in values.items() if found.get(name) != value]
    return lost


async def test_every_row_of_a_released_database_is_there_after_the_upgrade_and_after_the_way_back(
    released: str,
) -> None:
    connection = await open_database(released)
    tables = await fill(connection)
    before = await contents(connection, tables)
    await connection.close()
    assert len(tables) > 50
    assert {"app_user", "role_grant", "workflow_run", "process_run", "sla_clock", "trade", "file"} <= tables
    found = await upgrade_async(released)
    assert found.current == RELEASED
    assert (await schema_version(released)).up_to_date
    connection = await open_database(released)
    assert _kept(before, await contents(connection, tables)) == []
    await connection.close()
    await migrate(released, RELEASED, down=True)
    connection = await open_database(released)
    assert await contents(connection, tables) == before
    await connection.close()


async def test_upgrading_again_does_nothing(released: str) -> None:
    await upgrade_async(released)
    again = await upgrade_async(released)
    assert again.current == again.newest
