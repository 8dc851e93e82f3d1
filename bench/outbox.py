"""The outbox: announcing 20,000 due rows against the bare statement, and small jobs through one worker.

Run with `python -m bench.outbox`; prints one JSON object a line: name, ours, raw, ratio.
"""

import asyncio
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg
from redis.asyncio import Redis

from app.bootstrap import Runtime, build
from app.core.actor import system_actor
from app.core.db import asyncpg_dsn
from app.core.embedded import start_embedded
from app.core.migrations import upgrade_async
from app.core.settings import Settings
from app.domain.jobs.outbox import OutboxClaim
from jobs.queue import connect
from jobs.relay import BATCH, Relay
from jobs.worker import serve

ROWS = 20_000
JOBS = 5_000
ROUNDS = 3
RELAY_TARGET = 5_000
JOB_TARGET = 450

FILL = """
INSERT INTO outbox (id, job, payload, created_at, available_at, correlation_id)
SELECT uuidv7(), 'nothing', '{}', now(), clock_timestamp(), uuidv7() FROM generate_series(1, $1)
"""
RAW_RELAY = """
UPDATE outbox SET relayed_at = clock_timestamp()
WHERE id IN (SELECT id FROM outbox WHERE done_at IS NULL AND failed_at IS NULL AND relayed_at IS NULL
             ORDER BY available_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id, attempt
"""


def say(name: str, ours: float, raw: float | None, target: float | None = None) -> None:
    line: dict[str, Any] = {"name": name, "ours": round(ours)}
    if raw is not None:
        line |= {"raw": round(raw), "ratio": round(ours / raw, 3)}
    if target is not None:
        line |= {"target": target, "met": ours >= target}
    print(json.dumps(line), flush=True)


async def fill(raw: "asyncpg.Connection[Any]", rows: int) -> None:
    await raw.execute("TRUNCATE outbox")
    await raw.execute(FILL, rows)
    await raw.execute("ANALYZE outbox")


async def relay(runtime: Runtime, raw: "asyncpg.Connection[Any]") -> None:
    assert runtime.settings.redis_url is not None
    redis = connect(runtime.settings.redis_url)
    ours, bare = [], []
    for _ in range(ROUNDS):
        await redis.flushall()
        await fill(raw, ROWS)
        began = time.perf_counter()
        assert await Relay(runtime, redis).announce_due() == ROWS
        ours.append(ROWS / (time.perf_counter() - began))
        assert await redis.zcard("arq:queue") == ROWS
        await fill(raw, ROWS)
        began = time.perf_counter()
        while len(await raw.fetch(RAW_RELAY, BATCH)) == BATCH:
            pass
        bare.append(ROWS / (time.perf_counter() - began))
    await redis.flushall()
    await redis.aclose(close_connection_pool=True)
    say("outbox relay, rows a second", statistics.median(ours), statistics.median(bare), RELAY_TARGET)


async def nothing(_runtime: Runtime, _payload: Mapping[str, Any], _claimed: OutboxClaim) -> None:
    """A job that costs nothing itself."""


async def jobs(runtime: Runtime, raw: "asyncpg.Connection[Any]") -> None:
    await fill(raw, JOBS)
    stopping = asyncio.Event()
    began = time.perf_counter()
    working = asyncio.create_task(
        serve(runtime, stopping=stopping, hurry=asyncio.Event(), handlers={"nothing": nothing}, schedule=())
    )
    while await raw.fetchval("SELECT count(*) FROM outbox WHERE done_at IS NULL"):  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.1)
    rate = JOBS / (time.perf_counter() - began)
    stopping.set()
    await working
    say("jobs of one worker, a second", rate, None, JOB_TARGET)


async def latency(runtime: Runtime) -> None:
    """From the commit that wants a job to its beginning, in an idle worker."""
    began = 0.0
    taken: list[float] = []
    arrived = asyncio.Event()

    async def note(_runtime: Runtime, _payload: Mapping[str, Any], _claimed: OutboxClaim) -> None:
        taken.append(time.perf_counter() - began)
        arrived.set()

    stopping = asyncio.Event()
    working = asyncio.create_task(
        serve(runtime, stopping=stopping, hurry=asyncio.Event(), handlers={"note": note}, schedule=())
    )
    await asyncio.sleep(2)
    for _ in range(20):
        arrived.clear()
        async with runtime.uow(system_actor()) as uow:
            uow.enqueue("note", {})
        began = time.perf_counter()
        await arrived.wait()
        await asyncio.sleep(0.1)
    stopping.set()
    await working
    milliseconds = round(statistics.median(taken) * 1e3, 1)
    print(json.dumps({"name": "commit to the beginning of its job, ms", "ours": milliseconds}))


async def measure(settings: Settings) -> None:
    assert settings.database_url is not None
    assert settings.redis_url is not None
    await upgrade_async(settings.database_url)
    runtime = await build(settings)
    raw = await asyncpg.connect(asyncpg_dsn(runtime.engine))
    redis = Redis.from_url(settings.redis_url)
    try:
        await relay(runtime, raw)
        await jobs(runtime, raw)
        await latency(runtime)
    finally:
        await redis.aclose()
        await raw.close()
        await runtime.aclose()


def main() -> None:
    """Measure on servers of its own."""
    for verbose in ("arq", "casbin"):
        logging.getLogger(verbose).setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="steps-bench-") as folder:
        given = {"data_dir": Path(folder), "demo": False, "secret_key": "k" * 48}
        with start_embedded(Settings(**given), durable=False) as servers:  # type: ignore[arg-type]
            addresses = {"database_url": servers.database_url, "redis_url": servers.redis_url}
            asyncio.run(measure(Settings(**given, **addresses)))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
