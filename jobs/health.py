"""Which workers are alive: each says so in Redis every few seconds, for the health check and the metrics."""

import asyncio
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache

import orjson
import psutil
from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs.trouble import pause

PREFIX = "steps:worker:"
EVERY_SECONDS = 5.0
FORGOTTEN_AFTER_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHealth:
    """One worker as it last described itself; times are real."""

    name: str
    at: datetime
    started_at: datetime
    running: int
    done: int
    failed: int
    memory_mb: float


@lru_cache(maxsize=1)
def worker_name() -> str:
    """Return the name of this process among all workers."""
    return f"{platform.node() or 'worker'}:{os.getpid()}"


async def report(redis: "Redis", stopped: asyncio.Event, counts: Callable[[], tuple[int, int, int]]) -> None:
    """Say that this worker is alive until `stopped` is set, then take the word back.

    `counts` gives the jobs running, done and failed. A report that Redis does not take is made again with the next.
    """
    started = datetime.now(UTC)
    process = psutil.Process()
    key = PREFIX + worker_name()
    while not stopped.is_set():
        running, done, failed = counts()
        health = WorkerHealth(
            name=worker_name(),
            at=datetime.now(UTC),
            started_at=started,
            running=running,
            done=done,
            failed=failed,
            memory_mb=round(process.memory_info().rss / 1_048_576, 1),
        )
        with suppress(RedisError, OSError):  # the queue reports the trouble; this would only be its echo
            await redis.set(key, orjson.dumps(asdict(health)), ex=FORGOTTEN_AFTER_SECONDS)
        await pause(EVERY_SECONDS, stopped)
    with suppress(RedisError, OSError):
        await redis.delete(key)


async def workers(redis: "Redis") -> list[WorkerHealth]:
    """Return the workers that are alive, by name."""
    found = []
    async for key in redis.scan_iter(match=f"{PREFIX}*", count=1_000):
        value = await redis.get(key)
        if value is not None:
            fields = orjson.loads(value)
            times = {name: datetime.fromisoformat(fields[name]) for name in ("at", "started_at")}
            found.append(WorkerHealth(**{**fields, **times}))
    return sorted(found, key=lambda health: health.name)
