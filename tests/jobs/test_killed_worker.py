"""A worker that is killed, told to end, or delivered the same job twice."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from redis.asyncio import Redis

from app.bootstrap import Runtime
from app.domain.jobs.outbox import Announcement
from jobs.queue import announce, connect
from tests.factories import SYSTEM
from tests.jobs.running import running_worker, until
from tests.service.jobs.work import attempts_of, job_run, marks, outbox_rows, queued


@pytest.fixture
async def redis(runtime: Runtime) -> AsyncIterator["Redis"]:
    assert runtime.settings.redis_url is not None
    client = Redis.from_url(runtime.settings.redis_url)
    await client.flushall()
    yield client
    await client.aclose()


async def in_state(runtime: Runtime, job_run_id: UUID, state: str) -> bool:
    return bool((await job_run(runtime, job_run_id))["state"] == state)


async def has_logged(runtime: Runtime, job_run_id: UUID) -> bool:
    return any(attempt["log"] for attempt in await attempts_of(runtime, job_run_id))


async def test_a_job_whose_worker_is_killed_and_whose_queue_is_flushed_is_done_once(
    runtime: Runtime, redis: "Redis", tmp_path: Path
) -> None:
    job_run_id = await queued(runtime, "slow_once", arguments={})
    with running_worker(runtime, tmp_path, name="first") as first:
        await until(lambda: has_logged(runtime, job_run_id), what="half of the work")
        first.kill()
    await redis.flushall()
    with running_worker(runtime, tmp_path, name="second"):
        await until(lambda: in_state(runtime, job_run_id, "succeeded"), what="the end of the job")
    lost, won = await attempts_of(runtime, job_run_id)
    assert (lost["state"], won["state"]) == ("lost", "succeeded")
    assert lost["worker"] != won["worker"]
    assert lost["log"][0]["message"] == "half way in attempt 1"
    assert sorted(await marks(runtime)) == ["half-2", "whole"]


async def test_a_flushed_queue_loses_nothing_that_waits(runtime: Runtime, redis: "Redis", tmp_path: Path) -> None:
    with running_worker(runtime, tmp_path) as worker:
        await until(lambda: _knows(redis, worker.pid), what="the worker's report")
        async with runtime.uow(SYSTEM) as uow:
            for number in range(200):
                uow.enqueue("write_mark", {"mark": f"m{number}"})
        for _ in range(3):
            await redis.flushall()
        await until(lambda: _all_done(runtime), what="every job")
    assert sorted(await marks(runtime)) == sorted(f"m{number}" for number in range(200))


async def test_a_job_that_is_delivered_twice_is_done_once(runtime: Runtime, redis: "Redis", tmp_path: Path) -> None:
    async with runtime.uow(SYSTEM) as uow:
        outbox_id = uow.enqueue("write_mark", {"mark": "once"})
    assert runtime.settings.redis_url is not None
    client = connect(runtime.settings.redis_url)
    await announce(client, [Announcement(outbox_id, attempt) for attempt in range(5)])
    with running_worker(runtime, tmp_path, name="a"), running_worker(runtime, tmp_path, name="b"):
        await until(lambda: _all_done(runtime), what="the job")
        await until(lambda: _queue_is_empty(client), what="an empty queue")
    await client.aclose(close_connection_pool=True)
    assert await marks(runtime) == ["once"]
    (row,) = await outbox_rows(runtime)
    assert row["attempt"] == 1


async def test_a_worker_that_is_told_to_end_finishes_what_it_can(
    runtime: Runtime, redis: "Redis", tmp_path: Path
) -> None:
    job_run_id = await queued(runtime, "slow_second", arguments={})
    with running_worker(runtime, tmp_path) as worker:
        await until(lambda: has_logged(runtime, job_run_id), what="the beginning of the job")
        worker.terminate()
        assert worker.ended() == 0
    assert await in_state(runtime, job_run_id, "succeeded")
    assert await redis.keys("steps:worker:*") == []


async def test_a_worker_that_is_told_to_end_gives_back_what_takes_too_long(
    runtime: Runtime, redis: "Redis", tmp_path: Path
) -> None:
    job_run_id = await queued(runtime, "slow_once", arguments={}, max_attempts=1)
    with running_worker(runtime, tmp_path) as worker:
        await until(lambda: has_logged(runtime, job_run_id), what="half of the work")
        worker.terminate()
        assert worker.ended() == 0
    row = await job_run(runtime, job_run_id)
    assert (row["state"], row["failures"]) == ("queued", 0)
    assert "Traceback" not in worker.log
    with running_worker(runtime, tmp_path, name="next"):
        await until(lambda: in_state(runtime, job_run_id, "succeeded"), what="the end of the job")
    assert sorted(await marks(runtime)) == ["half-2", "whole"]


async def _knows(redis: "Redis", pid: int) -> bool:
    return bool(await redis.keys(f"steps:worker:*:{pid}"))


async def _all_done(runtime: Runtime) -> bool:
    return all(row["done_at"] is not None for row in await outbox_rows(runtime))


async def _queue_is_empty(redis: "Redis") -> bool:
    return not await redis.zcard("arq:queue")
