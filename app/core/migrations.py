"""The database schema's version: bring it to the newest, and tell how far it is.

`alembic/env.py` receives the connection as `config.attributes["connection"]`; without one (the `alembic` command
itself) it connects to the configured database.

Alembic is imported where it works, because most processes never migrate and it takes 15 MB and a third of a second.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asyncpg import PostgresError
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from app.core.server_error import DatabaseUnreachableError

if TYPE_CHECKING:
    from alembic.config import Config

ROOT = Path(__file__).resolve().parents[2]

# Any number that no other use of advisory locks in this database has; here the first letters of "migrations".
MIGRATION_LOCK = 0x6D696772


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """Revision of a database and the newest one of this code; None is an empty database."""

    current: str | None
    newest: str | None

    @property
    def up_to_date(self) -> bool:
        """Whether nothing is left to apply."""
        return self.current == self.newest


def upgrade(database_url: str) -> SchemaVersion:
    """Apply every missing migration and return the version that was found before.

    Raises:
        DatabaseUnreachableError: the server does not answer or does not let us in.
    """
    return asyncio.run(upgrade_async(database_url))


async def upgrade_async(database_url: str) -> SchemaVersion:
    """Apply every missing migration in one transaction and return the version that was found before.

    Of several processes that start at once, one migrates and the others wait for it.
    """
    async with _connected(database_url) as connection, connection.begin():
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        return await connection.run_sync(_upgrade)


async def schema_version(database_url: str) -> SchemaVersion:
    """Return which migration the database has and which is the newest."""
    async with _connected(database_url) as connection:
        return await connection.run_sync(_version)


@asynccontextmanager
async def _connected(database_url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(database_url, poolclass=NullPool)
    try:
        try:
            connection = await engine.connect()
        except (OSError, DBAPIError, PostgresError) as error:
            raise DatabaseUnreachableError(f"cannot reach the database at {_place(database_url)}: {error}") from None
        try:
            yield connection
        finally:
            await connection.close()
    finally:
        await engine.dispose()


def _place(database_url: str) -> str:
    """Return the address without its password."""
    return make_url(database_url).render_as_string(hide_password=True)


def _configuration() -> "Config":
    from alembic.config import Config

    config = Config(ROOT / "alembic.ini")
    config.set_main_option("script_location", str(ROOT / "alembic").replace("%", "%%"))
    return config


def _version(connection: Connection) -> SchemaVersion:
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    newest = ScriptDirectory.from_config(_configuration()).get_current_head()
    return SchemaVersion(current=MigrationContext.configure(connection).get_current_revision(), newest=newest)


def _upgrade(connection: Connection) -> SchemaVersion:
    found = _version(connection)
    if not found.up_to_date:
        from alembic import command

        config = _configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return found
