"""Alembic's environment: the product's definitions and the system tables are the target; schema `ext` is not."""

import asyncio
from collections.abc import Sequence
from typing import Any

from alembic import context
from alembic.operations.ops import AddColumnOp, AlterColumnOp, MigrateOperation, MigrationScript, ModifyTableOps
from alembic.util import CommandError
from sqlalchemy import Connection, DefaultClause
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


def fill_required(_context: Any, _revision: Any, directives: Sequence[MigrationScript]) -> None:
    """A column that is needed is given its default in the rows that are there already, and keeps none afterwards."""
    for directive in directives:
        for table in directive.upgrade_ops.ops if directive.upgrade_ops is not None else ():
            if not isinstance(table, ModifyTableOps):
                continue
            written: list[MigrateOperation] = []
            for op in table.ops:
                written.append(op)
                if isinstance(op, AddColumnOp) and not op.column.nullable and op.column.computed is None:
                    op.column.server_default = DefaultClause(_default(op.table_name, op.column.name))
                    written.append(
                        AlterColumnOp(op.table_name, op.column.name, modify_server_default=None, schema=op.schema)
                    )
            table.ops = written


def _default(table: str, column: str) -> str:
    entity = next((e for e in product_registry().entities.values() if e.table_name == table), None)
    field = next((f for f in entity.fields if f.column == column), None) if entity is not None else None
    if field is None or field.default is None:
        raise CommandError(f"{table}.{column} is needed and has no default: rows that are there could not have it.")
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        include_object=include_object,
        render_item=render_item,
        compare_type=True,
        compare_server_default=False,
        transaction_per_migration=False,
        process_revision_directives=fill_required,
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
