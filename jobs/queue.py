"""The queue in Redis, in ARQ's format: ARQ's worker with the parts changed that must survive a Redis that goes away."""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import orjson
from arq.connections import ArqRedis
from arq.constants import default_queue_name, in_progress_key_prefix, job_key_prefix
from arq.jobs import serialize_job
from arq.worker import Worker, func
from redis.asyncio import ConnectionPool

from app.domain.jobs.outbox import Announcement
from jobs.trouble import REDIS_ERRORS, Trouble, pause

log = logging.getLogger("steps.worker")

PERFORM = "perform"  # the one function of the queue: it does the job of an outbox row
EXPIRES = timedelta(days=1)
POLL_SECONDS = 0.5
ANSWER_SECONDS = 5.0
# Spares other workers the attempt to take a row that is being worked on. The row's lease decides, not this.
IN_PROGRESS = timedelta(seconds=30)
NEVER_TOO_OFTEN = 1_000_000  # how often a row may be tried is counted in the outbox
LONGEST_JOB = timedelta(hours=12)


def connect(redis_url: str) -> ArqRedis:
    """Return a client; it connects when it is first used. Jobs are JSON, so that nothing in Redis can run code."""
    pool = ConnectionPool.from_url(
        redis_url, socket_connect_timeout=ANSWER_SECONDS, socket_timeout=ANSWER_SECONDS, health_check_interval=30
    )
    return ArqRedis(pool_or_conn=pool, job_serializer=_dumps, job_deserializer=orjson.loads)


async def announce(redis: ArqRedis, announcements: Sequence[Announcement]) -> None:
    """Put deliveries into the queue in one round trip. One that is there already stays as it is."""
    if not announcements:
        return
    now = int(time.time() * 1000)
    async with redis.pipeline(transaction=False) as pipe:
        for announcement in announcements:
            job = serialize_job(PERFORM, (str(announcement.id),), {}, None, now, serializer=_dumps)
            pipe.set(job_key_prefix + announcement.delivery, job, px=EXPIRES, nx=True)
        pipe.zadd(default_queue_name, {a.delivery: now for a in announcements}, nx=True)
        await pipe.execute()


class QueueWorker(Worker):
    """Takes deliveries and runs `perform` for each, at most `max_jobs` at a time.

    Unlike its base it goes on when Redis fails and comes back, takes the next delivery as soon as one has ended, and
    leaves signals and schedules to `jobs.worker`.
    """

    def __init__(self, perform: Any, *, redis: ArqRedis, context: dict[str, Any], max_jobs: int) -> None:
        super().__init__(
            functions=[func(perform, name=PERFORM, keep_result=0, max_tries=NEVER_TOO_OFTEN)],
            redis_pool=redis,
            ctx=context,
            max_jobs=max_jobs,
            job_timeout=LONGEST_JOB,
            keep_result=0,
            handle_signals=False,
            job_serializer=_dumps,
            job_deserializer=orjson.loads,
        )
        self.wake = asyncio.Event()

    async def consume(self, stopping: asyncio.Event) -> None:
        """Take and run deliveries until `stopping` is set; those that run then go on running."""
        trouble = Trouble("Redis is not reachable: no new jobs are taken")
        while not stopping.is_set():
            self.wake.clear()
            try:
                await self._poll_iteration()
            except REDIS_ERRORS as error:
                await trouble.met(error, stopping)
                continue
            trouble.over()
            await pause(POLL_SECONDS, self.wake, stopping)

    async def drain(self, seconds: float) -> int:
        """Wait for what runs, cancel what takes longer than `seconds`; return how many were cancelled."""
        tasks = list(self.tasks.values())
        if not tasks:
            return 0
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(late)

    @property
    def running(self) -> int:
        return sum(not task.done() for task in self.tasks.values())

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start the deliveries that no worker has started, as far as there is room."""
        for raw in job_ids:
            job_id = raw.decode()
            if self.job_counter >= self.max_jobs:
                return
            if job_id in self.tasks:
                continue
            async with self.pool.pipeline(transaction=False) as pipe:
                pipe.set(in_progress_key_prefix + job_id, b"1", px=IN_PROGRESS, nx=True)
                pipe.zscore(self.queue_name, job_id)
                ours, score = await pipe.execute()
            if not ours:
                continue
            if score is None:  # ended elsewhere since the queue was read
                await self.pool.delete(in_progress_key_prefix + job_id)
                continue
            self.job_counter += 1
            task = self.loop.create_task(self.run_job(job_id, int(score)))
            task.add_done_callback(self._ended)
            self.tasks[job_id] = task

    async def heart_beat(self) -> None:
        """Do nothing: health and schedules are not kept in Redis alone, see `jobs.health` and `jobs.schedule`."""

    def _ended(self, _task: asyncio.Task[None]) -> None:
        self.job_counter -= 1
        self.wake.set()


def _dumps(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value)
