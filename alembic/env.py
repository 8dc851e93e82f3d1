"""Alembic's environment: the product's definitions and the system tables are the target; schema `ext` is not."""

import asyncio
from typing import Any

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql.base import ischema_names

from app.core.db import create_engine
from app.core.settings import get_settings
from models.registry import product_registry
from models.system.tables import system_metadata
from models.types import Ltree

ischema_names["ltree"] = Ltree  # so that reflection knows the columns of materialised paths

target_metadata = [product_registry().metadata, system_metadata]


def include_object(item: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:
    """Leave what administrators added at run time to the schema plan: schema `ext` and columns `x_...`."""
    return getattr(item, "schema", None) != "ext" and not (type_ == "column" and (name or "").startswith("x_"))


def render_item(type_: str, item: Any, autogen_context: Any) -> str | bool:
    if type_ == "type" and type(item).__module__ == "models.types":
        autogen_context.imports.add("from models import types")
        size = f"{item.impl.precision}, {item.impl.scale}" if type(item).__name__ == "Amount" else ""
        return f"types.{type(item).__name__}({size})"
    return False


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        include_object=include_object,
        render_item=render_item,
        compare_type=True,
        compare_server_default=False,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_configured() -> None:
    engine = create_engine(get_settings().database_url or "")
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(run_configured())
