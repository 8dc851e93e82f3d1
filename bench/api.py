"""The REST API over HTTP against asyncpg alone doing the same rows: read, list, insert, update, create many at once.

Signing in, permissions, row scope, validation and the audit trail are on for ours. Run with `python -m bench.api`,
`--seconds 3 --rounds 5` for longer; prints one JSON object a line: name, ours_rps, raw_rps, ratio.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from pydantic import SecretStr
from sqlalchemy import insert, text

from app.bootstrap import Runtime, build
from app.core.actor import system_actor
from app.core.embedded import EmbeddedServers, start_embedded
from app.core.migrations import upgrade_async
from app.core.settings import Settings
from app.domain.access.sessions import hash_token
from app.domain.entities.service import create_records
from bench.load import Answer, Script, rate, request
from models.base import uuid7
from models.system.tables import audit_entry

TRADES = 100_000
BULK = 2_000
TOKEN = "steps_pat_0123456789ab_" + "b" * 43
AUTHORIZATION = f"authorization: Bearer {TOKEN}\r\n"
FILTER = "/trades?limit=20&filter=%7B%22currency%22%3A%22USD%22%7D&sort=-trade_date,reference"

# What of the raw rate must be reached with 16 connections at once.
TARGETS = {"read one": 0.40, "list 20 of 100k": 0.30, "insert": 0.35, "update": 0.31}

BULK_TARGET = 0.40

FILL = text(
    """
INSERT INTO trade (id, row_version, created_at, updated_at, reference, book_id, trade_date, product, currency, quantity,
                   rate, late, counterparty)
SELECT uuidv7(), 1, :now, :now, 'T-' || n, CASE n % 2 WHEN 0 THEN CAST(:mine AS uuid) ELSE CAST(:other AS uuid) END,
       date '2024-01-01' + n % 700, 'spot', (ARRAY['USD', 'GBP', 'JPY', 'CHF'])[1 + n / 2 % 4], 1 + n % 1000,
       1 + n % 7, false, 'Bank ' || n % 211
FROM generate_series(1, :size) n
"""
)


async def prepare(runtime: Runtime) -> tuple[UUID, list[UUID]]:
    """Two desks with 50,000 trades each, and a preparer of one of them with a token. Returns a book and its trades."""
    async with runtime.uow(system_actor("Bench")) as uow:
        stamp = {"row_version": 1, "created_at": uow.now, "updated_at": uow.now}

        async def add(entity: str, **columns: Any) -> UUID:
            id_ = columns.pop("id", None) or uuid7()
            await uow.execute(uow.table(entity).insert().values(id=id_, **stamp, **columns))
            return id_

        application = await add("application", code="PNL", label="PnL", active=True)
        role = await add("role", code="preparer", label="Preparer")
        hierarchy = await add("hierarchy", code="DESKS", label="Desks")
        nodes: dict[str, UUID] = {}
        for code, parent in (("FX", None), ("G10", "FX"), ("EM", "FX"), ("G10-1", "G10"), ("EM-1", "EM")):
            nodes[code] = uuid7()
            above = ".".join(nodes[name].hex for name in _chain(code) if name != code)
            await add(
                "hierarchy_node",
                id=nodes[code],
                hierarchy_id=hierarchy,
                parent_id=nodes[parent] if parent else None,
                code=code,
                label=code,
                path=f"{above}.{nodes[code].hex}" if above else nodes[code].hex,
                valid_from=uow.now.date(),
            )
        user = await add(
            "user",
            email="bench@bank.example",
            name="Bench",
            account_kind="service",
            active=True,
            must_change_password=False,
            failed_sign_ins=0,
        )
        await add(
            "role_grant",
            user_id=user,
            role_id=role,
            application_id=application,
            node_id=nodes["G10"],
            valid_from=uow.now,
        )
        await add(
            "access_token",
            user_id=user,
            label="Bench",
            prefix=TOKEN[:22],
            token_hash=hash_token(TOKEN),
            read_only=False,
        )
        await uow.execute(FILL, {"now": uow.now, "mine": nodes["G10-1"], "other": nodes["EM-1"], "size": TRADES})
    async with runtime.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE"))
        found = await connection.execute(
            text("SELECT id FROM trade WHERE book_id = :book LIMIT 64"), {"book": nodes["G10-1"]}
        )
        return nodes["G10-1"], list(found.scalars())


def _chain(code: str) -> list[str]:
    desk = code.split("-", maxsplit=1)[0]
    return ["FX"] if code == "FX" else ["FX", desk] if code == desk else ["FX", desk, code]


@contextmanager
def served(app: str, servers: EmbeddedServers, folder: str) -> Iterator[int]:
    """Run an application on one uvicorn process; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STEPS_")} | {
        "STEPS_DATABASE_URL": servers.database_url,
        "STEPS_REDIS_URL": servers.redis_url,
        "STEPS_DATA_DIR": folder,
        "STEPS_SECRET_KEY": "b" * 48,
        "STEPS_LOG_FORMAT": "json",
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", app, "--port", str(port), "--no-access-log"]
    command += ["--log-level", "warning"]
    with (
        Path(folder, "server.log").open("ab") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            _wait_for(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(20)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError("the server did not start")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("the server does not answer")


def scripts(book: UUID, trades: list[UUID]) -> Callable[[str, str, str], dict[str, tuple[Script, int]]]:
    """What each server is asked: the same, with a prefix and the credentials that only ours wants."""
    numbers = count()
    versions: dict[UUID, int] = dict.fromkeys(trades, 1)
    deal = {"book": str(book), "trade_date": "2026-10-30", "currency": "USD", "quantity": "1000000", "rate": "1.1"}

    def made(prefix: str, headers: str, listing: str) -> dict[str, tuple[Script, int]]:
        def read(number: int, _last: Answer | None) -> bytes:
            return request("GET", f"{prefix}/trades/{trades[number]}", headers=headers)

        def many(_number: int, _last: Answer | None) -> bytes:
            return request("GET", f"{prefix}{listing}", headers=headers)

        def insert(_number: int, _last: Answer | None) -> bytes:
            body = orjson.dumps({**deal, "reference": f"B-{next(numbers)}"})
            return request("POST", f"{prefix}/trades", body=body, headers=headers)

        def update(number: int, last: Answer | None) -> bytes:
            trade = trades[32 + number]
            if last is not None:
                versions[trade] += 1
            body = orjson.dumps({"note": f"note {next(numbers)}"})
            tagged = f'{headers}if-match: "{versions[trade]}"\r\n'
            return request("PATCH", f"{prefix}/trades/{trade}", body=body, headers=tagged)

        return {
            "read one": (read, 200),
            "list 20 of 100k": (many, 200),
            "insert": (insert, 201),
            "update": (update, 200),
        }

    return made


async def measure(ports: dict[str, int], book: UUID, trades: list[UUID], *, seconds: float, rounds: int) -> None:
    """Alternate between the servers, so that whatever else the machine does falls on both."""
    asked = scripts(book, trades)
    sides = {
        "ours": asked("/api/v1", AUTHORIZATION, FILTER),
        "raw": asked("", "", "/trades?currency=USD"),
    }
    for name, target in TARGETS.items():
        for connections in (1, 16):
            found: dict[str, list[float]] = {"ours": [], "raw": []}
            for turn in range(rounds + 1):
                for side, scripted in sides.items():
                    script, accepted = scripted[name]
                    reached, _ = await rate(
                        ports[side],
                        script,
                        connections=connections,
                        seconds=seconds if turn else 0.5,
                        accepted=accepted,
                    )
                    if turn:  # the first one warms up
                        found[side].append(reached)
            ours, raw = statistics.median(found["ours"]), statistics.median(found["raw"])
            line: dict[str, Any] = {
                "name": f"{name}, c{connections}",
                "ours_rps": round(ours),
                "raw_rps": round(raw),
                "ratio": round(ours / raw, 3),
            }
            if connections == 16:
                line |= {"target": target, "met": ours / raw >= target}
            print(json.dumps(line), flush=True)


async def bulk(runtime: Runtime, book: UUID) -> None:
    """Many new records in one transaction, each validated and recorded, against batched inserts of the same rows."""
    deal = {"book": str(book), "trade_date": "2026-10-30", "currency": "USD", "quantity": "1000000", "rate": "1.1"}
    actor = system_actor("Bench")
    ours: list[float] = []
    raw: list[float] = []
    for turn in range(6):
        given = [{**deal, "reference": f"M-{turn}-{number}"} for number in range(BULK)]
        began = time.perf_counter()
        async with runtime.uow(actor) as uow:
            await create_records(uow, "trade", given)
        ours.append(BULK / (time.perf_counter() - began))
        began = time.perf_counter()
        async with runtime.uow(actor) as uow:
            stamp = {"row_version": 1, "created_at": uow.now, "updated_at": uow.now, "late": False, "product": "spot"}
            values = {
                "book_id": book,
                "trade_date": uow.now.date(),
                "currency": "USD",
                "quantity": 1_000_000,
                "rate": 1,
            }
            rows = [{"id": uuid7(), "reference": f"R-{turn}-{n}", **values, **stamp} for n in range(BULK)]
            table = uow.table("trade")
            await uow.execute(insert(table).returning(*table.c, sort_by_parameter_order=True), rows)
            entries = [
                {
                    "id": uuid7(),
                    "at": uow.now,
                    "actor_name": "Raw",
                    "command": "trade.create",
                    "entity": "trade",
                    "record_id": row["id"],
                    "after": deal,
                    "correlation_id": actor.correlation_id,
                }
                for row in rows
            ]
            await uow.execute(insert(audit_entry), entries)
        raw.append(BULK / (time.perf_counter() - began))
    mine, bare = statistics.median(ours[1:]), statistics.median(raw[1:])
    line: dict[str, Any] = {"name": f"bulk create of {BULK}", "ours_rows": round(mine), "raw_rows": round(bare)}
    ratio = mine / bare
    print(
        json.dumps({**line, "ratio": round(ratio, 3), "target": BULK_TARGET, "met": ratio >= BULK_TARGET}), flush=True
    )


async def everything(servers: EmbeddedServers, folder: str, *, seconds: float, rounds: int) -> None:
    await upgrade_async(servers.database_url)
    settings = Settings(
        data_dir=Path(folder), demo=False, secret_key=SecretStr("b" * 48), database_url=servers.database_url
    )
    runtime = await build(settings)
    try:
        book, trades = await prepare(runtime)
        with (
            served("app.main:create_app", servers, folder) as ours,
            served("bench.raw_server:create_app", servers, folder) as raw,
        ):
            await measure({"ours": ours, "raw": raw}, book, trades, seconds=seconds, rounds=rounds)
        await bulk(runtime, book)
    finally:
        await runtime.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each server is asked at a time")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is asked")
    options = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("STEPS_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="steps-bench-") as folder:
        servers = start_embedded(Settings(data_dir=Path(folder), demo=False, secret_key=SecretStr("b" * 48)))
        try:
            asyncio.run(everything(servers, folder, seconds=options.seconds, rounds=options.rounds))
        finally:
            servers.stop()


if __name__ == "__main__":
    main()
