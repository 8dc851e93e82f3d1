"""Entities added to an installation at run time: kept as definitions, with tables in the schema `ext`."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Column, Table, insert, inspect, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable

from app.core.errors import Conflict
from models.loader import load_definitions
from models.registry import Registry
from models.schema import SITE_SCHEMA, EntityDef, EntityKind, FieldType, Layer
from models.system.tables import metadata_revision, site_entity

INSTALL_LOCK = 0x73697465  # any number of its own; here the first letters of "site"


async def read_site_entities(engine: AsyncEngine) -> tuple[EntityDef, ...]:
    """The entities of this installation, by name; none in a database that has not been migrated yet."""
    async with engine.connect() as connection:
        if await connection.scalar(text("SELECT to_regclass('site_entity')")) is None:
            return ()
        return await _stored(connection)


async def _stored(connection: AsyncConnection) -> tuple[EntityDef, ...]:
    rows = await connection.execute(select(site_entity.c.definition).order_by(site_entity.c.name))
    return tuple(EntityDef.model_validate(definition) for definition in rows.scalars())


def registry_with(site: Sequence[EntityDef]) -> Registry:
    """The product's metadata with these entities beside it."""
    return Registry((*load_definitions(), *site))


async def install(engine: AsyncEngine, definitions: Iterable[EntityDef]) -> Registry:
    """Add entities, or fields to entities added before; nothing is dropped. Returns the metadata as it is then.

    Raises:
        Conflict: a name belongs to the product, or a field changes its type.
    """
    given = {entity.name: entity.model_copy(update={"layer": Layer.SITE}) for entity in definitions}
    taken = {entity.name for entity in load_definitions()} & given.keys()
    if taken:
        raise Conflict(f"{', '.join(sorted(taken))} is an entity of the product; give yours another name.")
    async with engine.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": INSTALL_LOCK})
        there = {entity.name: entity for entity in await _stored(connection)}
        registry = registry_with(tuple((there | given).values()))
        changed = [entity for name, entity in given.items() if there.get(name) != entity]
        if not changed:
            return registry
        await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SITE_SCHEMA}"))
        for entity in sorted(changed, key=lambda e: e.kind is EntityKind.CHILD):
            _refuse_changed_types(there.get(entity.name), entity)
            await _bring(connection, registry.table(entity.name))
            await _keep(connection, entity)
        return registry


def _refuse_changed_types(before: EntityDef | None, entity: EntityDef) -> None:
    for field in before.fields if before is not None else ():
        now = {f.name: f.type for f in entity.fields}.get(field.name, field.type)
        if now is not field.type:
            raise Conflict(
                f"{entity.label}: {field.label} was a {_words(field.type)} and is to be a {_words(now)}; "
                "add a field of another name and move the values over."
            )


def _words(kind: FieldType) -> str:
    return kind.value.replace("_", " ")


async def _bring(connection: AsyncConnection, table: Table) -> None:
    """Create the table, or the columns that it lacks: those may be empty in the rows there are."""

    def columns(sync: object) -> set[str] | None:
        inspector = inspect(sync)
        if not inspector.has_table(table.name, schema=table.schema):
            return None
        return {column["name"] for column in inspector.get_columns(table.name, schema=table.schema)}

    known = await connection.run_sync(columns)
    if known is None:
        await connection.execute(CreateTable(table))
        for index in table.indexes:
            await connection.execute(CreateIndex(index))
        return
    for column in table.columns:
        if column.name not in known:
            await connection.execute(text(f"ALTER TABLE {table.fullname} ADD COLUMN {_written(column)}"))


def _written(column: Column[Any]) -> str:
    """The column as DDL; without NOT NULL, which the rows there are could not meet."""
    ddl = str(CreateColumn(column).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    return ddl.replace(" NOT NULL", "")


async def _keep(connection: AsyncConnection, entity: EntityDef) -> None:
    definition = entity.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    digest = hashlib.sha256(orjson.dumps(definition, option=orjson.OPT_SORT_KEYS)).hexdigest()
    now = datetime.now(UTC)
    row = {"name": entity.name, "definition": definition, "digest": digest, "installed_at": now}
    statement = upsert(site_entity).values(row)
    await connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=row))
    last = await connection.scalar(select(metadata_revision.c.revision).order_by(metadata_revision.c.revision.desc()))
    await connection.execute(
        insert(metadata_revision).values(
            revision=(last or 0) + 1, digest=digest, published_at=now, summary=f"{entity.label}: definition installed"
        )
    )
