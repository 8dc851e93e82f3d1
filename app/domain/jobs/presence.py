"""Workers as they describe themselves in the database every few seconds, so that they are seen while Redis is away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Integer, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from models.types import UtcDateTime

TOPIC = "entity:worker"
EVERY = timedelta(seconds=10)
SILENT_AFTER = timedelta(seconds=45)  # one that has not spoken for so long is lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What a worker says of itself. `running`: {job, since, job_run}; `works` by code: {started, finished, ...}."""

    name: str
    started_at: datetime
    running: Sequence[Mapping[str, Any]]
    works: Mapping[str, Mapping[str, Any]]
    done: int
    failed: int
    memory_mb: int
    redis_said: str | None  # None: it answers
    queue_depth: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenWorker:
    """A worker as it was seen last; `lost`: it has fallen silent without saying that it stops."""

    name: str
    started_at: datetime
    seen_at: datetime
    stopped_at: datetime | None
    running: tuple[Mapping[str, Any], ...]
    works: Mapping[str, Mapping[str, Any]]
    done: int
    failed: int
    memory_mb: int | None
    redis_ok: bool
    redis_said: str | None
    queue_depth: int | None
    lost: bool

    @property
    def alive(self) -> bool:
        return self.stopped_at is None and not self.lost


_SAY = text(
    """
INSERT INTO worker (id, row_version, created_at, created_by, updated_at, updated_by, name, started_at, seen_at, running,
                    works, done, failed, memory_mb, redis_ok, redis_said, queue_depth)
VALUES (uuidv7(), 1, :now, :by, :now, :by, :name, :started_at, :now, :running, :works, :done, :failed, :memory,
        :redis_said IS NULL, :redis_said, :depth)
ON CONFLICT (name) DO UPDATE
SET started_at = excluded.started_at, seen_at = excluded.seen_at, stopped_at = NULL, running = excluded.running,
    works = excluded.works, done = excluded.done, failed = excluded.failed, memory_mb = excluded.memory_mb,
    redis_ok = excluded.redis_ok, redis_said = excluded.redis_said, queue_depth = excluded.queue_depth,
    updated_at = excluded.updated_at
"""
).bindparams(
    bindparam("now", type_=UtcDateTime),
    bindparam("by", type_=Uuid),
    bindparam("name", type_=Text),
    bindparam("started_at", type_=UtcDateTime),
    bindparam("running", type_=JSONB),
    bindparam("works", type_=JSONB),
    bindparam("memory", type_=Integer),
    bindparam("redis_said", type_=Text),
    bindparam("depth", type_=Integer),
)

_STOP = text(
    "UPDATE worker SET stopped_at = :now, seen_at = :now, running = '[]', updated_at = :now WHERE name = :name"
).bindparams(bindparam("now", type_=UtcDateTime), bindparam("name", type_=Text))

# One that said it stops is of interest for an hour, one that fell silent for a day.
_ALL = text(
    """
SELECT name, started_at, seen_at, stopped_at, running, works, done, failed, memory_mb, redis_ok, redis_said, queue_depth
FROM worker
WHERE seen_at > :now - CASE WHEN stopped_at IS NULL THEN interval '1 day' ELSE interval '1 hour' END
ORDER BY stopped_at IS NOT NULL, name
"""
).bindparams(bindparam("now", type_=UtcDateTime))


async def say_present(uow: UnitOfWork, presence: Presence) -> None:
    """Say that the worker is there and what it does; a step of the worker itself."""
    await uow.execute(
        _SAY,
        {
            "now": uow.now,
            "by": uow.actor.id,
            "name": presence.name,
            "started_at": presence.started_at,
            "running": [dict(each) for each in presence.running],
            "works": {code: dict(state) for code, state in presence.works.items()},
            "done": presence.done,
            "failed": presence.failed,
            "memory": presence.memory_mb,
            "redis_said": presence.redis_said,
            "depth": presence.queue_depth,
        },
    )
    uow.touch(TOPIC)


async def say_stopped(uow: UnitOfWork, name: str) -> None:
    """Say that the worker has ended; a step of the worker itself."""
    await uow.execute(_STOP, {"now": uow.now, "name": name})
    uow.touch(TOPIC)


async def seen_workers(uow: UnitOfWork) -> list[SeenWorker]:
    """The workers of the last hours, those that work first. Raises: Forbidden."""
    authorize(uow, "read", "worker")
    return [
        SeenWorker(
            **{**row, "running": tuple(row["running"] or ()), "works": row["works"] or {}},
            lost=row["stopped_at"] is None and uow.now - row["seen_at"] > SILENT_AFTER,
        )
        for row in (await uow.execute(_ALL, {"now": uow.now})).mappings()
    ]
