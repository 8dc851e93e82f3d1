"""The engine: asyncpg under SQLAlchemy, with the codecs that our columns need."""

from datetime import timedelta
from typing import Any

import asyncpg
import orjson
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from models.system.tables import demo_clock


def _dumps(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()


def create_engine(database_url: str, *, pool_size: int = 20) -> AsyncEngine:
    """An engine on `postgresql+asyncpg://...`; UTC sessions, JSON by orjson, statements bounded in time.

    All connections of the pool are kept: one beyond it would be opened, taught its codecs and closed for each request.
    """
    engine = create_async_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=0,
        pool_use_lifo=True,  # those in use stay warm
        pool_timeout=30,
        pool_pre_ping=False,
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
        connect_args={
            "server_settings": {"timezone": "UTC", "jit": "off", "application_name": "steps", "lock_timeout": "30s"},
            "statement_cache_size": 1000,
        },
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _codecs(connection: Any, _record: Any) -> None:
        connection.run_async(_set_codecs)

    return engine


async def _set_codecs(connection: "asyncpg.Connection[Any]") -> None:
    try:
        await connection.set_type_codec("ltree", encoder=str, decoder=str, schema="public", format="text")
    except ValueError:  # before the first migration there is no such type
        return


async def read_shift(engine: AsyncEngine) -> timedelta:
    """The demo clock's shift; zero where there is none."""
    async with engine.connect() as connection:
        return await connection.scalar(select(demo_clock.c.shift)) or timedelta(0)


def asyncpg_dsn(engine: AsyncEngine) -> str:
    """The engine's address in the form that asyncpg takes, for connections that only listen."""
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
