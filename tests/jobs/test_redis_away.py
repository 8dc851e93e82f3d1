"""Redis that is not there at the start, goes away, and comes back empty: jobs wait in the outbox, nothing is lost."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.bootstrap import Runtime
from app.core.ports import free_port
from app.core.redis_process import bundled_program
from jobs.health import workers
from tests.factories import SYSTEM
from tests.jobs.running import WorkerProcess, running_worker, until
from tests.service.jobs.work import marks, outbox_rows


class RestartableRedis:
    """A Redis of this test alone that always comes back at the same address, empty.

    It is the one of the wheel: the oldest that is supported, which a machine with a Redis of its own would never try.
    """

    def __init__(self, folder: Path) -> None:
        program = bundled_program()
        assert program is not None
        self._program = str(program)
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def restartable(tmp_path: Path) -> Iterator[RestartableRedis]:
    server = RestartableRedis(tmp_path)
    yield server
    server.stop()


async def enqueue(runtime: Runtime, *names: str) -> None:
    async with runtime.uow(SYSTEM) as uow:
        for name in names:
            uow.enqueue("write_mark", {"mark": name})


async def done(runtime: Runtime) -> bool:
    return all(row["done_at"] is not None for row in await outbox_rows(runtime))


async def test_a_worker_waits_for_redis_at_the_start_and_after_it_was_restarted(
    runtime: Runtime, restartable: RestartableRedis, tmp_path: Path
) -> None:
    await enqueue(runtime, "before")
    with running_worker(runtime, tmp_path, redis_url=restartable.url) as worker:
        await until(lambda: _has_said(worker, "Redis is not reachable"), what="the line about Redis")
        restartable.start()
        await until(lambda: done(runtime), seconds=40, what="the job from before Redis was there")
        restartable.stop()
        await enqueue(runtime, "during")
        await asyncio.sleep(3)
        assert worker.alive
        assert not await done(runtime)
        restartable.start()
        await until(lambda: done(runtime), seconds=40, what="the job from the time without Redis")
        await enqueue(runtime, "after")
        await until(lambda: done(runtime), what="the job after that")
        log = worker.log
    assert sorted(await marks(runtime)) == ["after", "before", "during"]
    assert log.count("no new jobs are taken (") == 2  # one line each time, however long it took
    assert "Traceback" not in log


async def test_a_worker_reports_itself_and_its_memory_stays_small(
    runtime: Runtime, restartable: RestartableRedis, tmp_path: Path
) -> None:
    restartable.start()
    client = Redis.from_url(restartable.url)
    began = time.time()
    with running_worker(runtime, tmp_path, redis_url=restartable.url) as worker:
        await until(lambda: _reported(client), what="the worker's report")
        await enqueue(runtime, *(f"m{number}" for number in range(50)))
        await until(lambda: done(runtime), what="all jobs")
        await until(lambda: _reported(client, done=50), what="the count of jobs")
        (health,) = await workers(client)
        assert health.name.endswith(f":{worker.pid}")
        assert began <= health.started_at.timestamp() <= health.at.timestamp() <= time.time()
        assert (health.running, health.failed) == (0, 0)
        assert 20 < health.memory_mb <= 150
    assert await workers(client) == []
    await client.aclose()


async def _has_said(worker: WorkerProcess, words: str) -> bool:
    return words in worker.log


async def _reported(client: "Redis", *, done: int = 0) -> bool:
    try:
        return any(health.done >= done for health in await workers(client))
    except RedisError:
        return False  # not up yet
