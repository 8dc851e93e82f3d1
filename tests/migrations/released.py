"""A database as a release left it, with a row in every table: made from what the database itself says of its tables."""

import re
from collections.abc import Mapping
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.core.migrations import ROOT

COLUMNS = """
SELECT c.relname AS table, a.attname AS column, format_type(a.atttypid, NULL) AS type, a.attnotnull AS needed,
       a.attidentity <> '' OR a.attgenerated <> '' AS made,
       (SELECT f.relname FROM pg_constraint k JOIN pg_class f ON f.oid = k.confrelid
        WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.conkey = ARRAY[a.attnum] LIMIT 1) AS target,
       (SELECT string_agg(pg_get_constraintdef(k.oid), ' ') FROM pg_constraint k
        WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum]) AS check
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND NOT c.relispartition AND c.relname <> 'alembic_version'
ORDER BY c.relname, a.attnum
"""
VALUES: Mapping[str, str] = {
    "boolean": "true",
    "smallint": "1",
    "integer": "1",
    "bigint": "1",
    "numeric": "1.5",
    "date": "date '2026-03-02'",
    "time without time zone": "time '12:30'",
    "timestamp with time zone": "timestamptz '2026-03-02 12:00+00'",
    "interval": "interval '2 hours'",
    "uuid": "uuidv7()",
    "jsonb": "'{}'::jsonb",
    "bytea": "'\\x00'::bytea",
    "ltree": "'a'::ltree",
    "inet": "'127.0.0.1'::inet",
    "text[]": "ARRAY['x']",
    "character varying[]": "ARRAY['x']",
    "uuid[]": "ARRAY[uuidv7()]",
    "double precision": "1",
}
TWICE = ("app_user", "hierarchy_node", "process", "process_run")  # which others name two different ones of
OPTION = re.compile(r"'([^']+)'::")


async def migrate(database_url: str, revision: str, *, down: bool = False) -> None:
    """Bring a database up or down to a revision, in one transaction."""

    def run(connection: Connection) -> None:
        config = Config(ROOT / "alembic.ini")
        config.set_main_option("script_location", str(ROOT / "alembic"))
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)

    engine = create_async_engine(database_url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


async def fill(connection: "asyncpg.Connection[Any]") -> set[str]:
    """Put a row into every table, those that others refer to first; returns the tables."""
    tables: dict[str, list[Any]] = {}
    for row in await connection.fetch(COLUMNS):
        tables.setdefault(row["table"], []).append(row)
    waiting, done = dict(tables), set[str]()
    while waiting:
        ready = [
            name
            for name, columns in waiting.items()
            if all(c["target"] in (None, name, *done) for c in columns if c["needed"])
        ]
        assert ready, f"these tables need each other: {sorted(waiting)}"
        for name in ready:
            columns = waiting.pop(name)
            for number in range(2 if name in TWICE else 1):
                await connection.execute(_insert(name, columns, done, number))
            done.add(name)
    return done


def _insert(name: str, columns: list[Any], done: set[str], number: int) -> str:
    given: dict[str, str] = {}
    referred: set[str] = set()
    for column in columns:
        target, type_ = column["target"], column["type"]
        if column["made"] or (target is None and not column["needed"] and column["column"] != "path"):
            continue
        if target is not None:
            if target in done:
                # The second reference to a table is to its other row: nobody stands in for themselves.
                other = (number + (target in referred)) % 2 if target in TWICE else 0
                given[column["column"]] = f'(SELECT id FROM "{target}" ORDER BY id OFFSET {other} LIMIT 1)'
                referred.add(target)
            continue
        option = OPTION.search(column["check"] or "")
        plain = f"'x{number}'" if type_ in ("text", "character varying") else VALUES[type_]
        given[column["column"]] = f"'{option.group(1)}'" if option else plain
    names = ", ".join(f'"{column}"' for column in given)
    return f'INSERT INTO "{name}" ({names}) VALUES ({", ".join(given.values())})'


async def contents(connection: "asyncpg.Connection[Any]", tables: set[str]) -> dict[str, dict[str, Any]]:
    """The rows of each table, as text."""
    found = {}
    for name in sorted(tables):
        rows = await connection.fetch(f'SELECT to_jsonb(t)::text AS row FROM "{name}" t ORDER BY 1')
        found[name] = {"rows": [row["row"] for row in rows]}
    return found


async def open_database(database_url: str) -> "asyncpg.Connection[Any]":
    return await asyncpg.connect(database_url.replace("+asyncpg", ""))
