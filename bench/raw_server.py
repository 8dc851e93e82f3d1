"""What the API is measured against: the same rows over HTTP with asyncpg alone. No sign-in, no rules, no metadata."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from models.base import uuid7

COLUMNS = """id, row_version, created_at, created_by, updated_at, updated_by, reference, book_id, trade_date, product,
             currency, quantity, rate, value_eur, late, late_reason, counterparty, trader, note"""
READ = f"SELECT {COLUMNS} FROM trade WHERE id = $1"
LIST = f"SELECT {COLUMNS} FROM trade WHERE currency = $1 ORDER BY trade_date DESC, reference LIMIT 21"
INSERT = f"""
INSERT INTO trade (id, row_version, created_at, updated_at, reference, book_id, trade_date, product, currency, quantity,
                   rate, late)
VALUES ($1, 1, $2, $2, $3, $4, $5, 'spot', $6, $7, $8, false) RETURNING {COLUMNS}"""
LOCK = f"SELECT {COLUMNS} FROM trade WHERE id = $1 FOR UPDATE"
UPDATE = f"""
UPDATE trade SET note = $2, row_version = row_version + 1, updated_at = $3 WHERE id = $1 RETURNING {COLUMNS}"""
AUDIT = """
INSERT INTO audit_entry (id, at, actor_name, command, entity, record_id, before, after, correlation_id)
VALUES ($1, $2, 'Raw', $3, 'trade', $4, $5, $6, $1)"""


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, default=str)


def _json(row: "asyncpg.Record") -> dict[str, Any]:
    return dict(row)


async def read(request: Request) -> Response:
    row = await request.app.state.pool.fetchrow(READ, UUID(request.path_params["id"]))
    return Response(_dumps(_json(row)), media_type="application/json")


async def many(request: Request) -> Response:
    rows = await request.app.state.pool.fetch(LIST, request.query_params["currency"])
    return Response(_dumps({"items": [_json(row) for row in rows[:20]]}), media_type="application/json")


async def create(request: Request) -> Response:
    body, now = orjson.loads(await request.body()), datetime.now(UTC)
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(
            INSERT,
            uuid7(),
            now,
            body["reference"],
            UUID(body["book"]),
            datetime.fromisoformat(body["trade_date"]).date(),
            body["currency"],
            Decimal(body["quantity"]),
            Decimal(body["rate"]),
        )
        await connection.execute(AUDIT, uuid7(), now, "trade.create", row["id"], None, _dumps(body).decode())
    return Response(_dumps(_json(row)), status_code=201, media_type="application/json")


async def change(request: Request) -> Response:
    body, now = orjson.loads(await request.body()), datetime.now(UTC)
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        before = await connection.fetchrow(LOCK, UUID(request.path_params["id"]))
        if f'"{before["row_version"]}"' != request.headers["if-match"]:
            return Response(status_code=412)
        row = await connection.fetchrow(UPDATE, before["id"], body["note"], now)
        old, new = _dumps({"note": before["note"]}).decode(), _dumps({"note": row["note"]}).decode()
        await connection.execute(AUDIT, uuid7(), now, "trade.update", row["id"], old, new)
    headers = {"etag": f'"{row["row_version"]}"'}
    return Response(_dumps(_json(row)), media_type="application/json", headers=headers)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    address = os.environ["STEPS_DATABASE_URL"].replace("+asyncpg", "")
    settings = {"timezone": "UTC", "jit": "off"}
    async with asyncpg.create_pool(address, min_size=16, max_size=30, server_settings=settings) as pool:
        app.state.pool = pool
        yield


def create_app() -> Starlette:
    routes = [
        Route("/trades/{id}", read),
        Route("/trades", many),
        Route("/trades", create, methods=["POST"]),
        Route("/trades/{id}", change, methods=["PATCH"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)
