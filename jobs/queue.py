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
from arq.jobs import deserialize_job_raw, serialize_job
from arq.worker import Worker, func
from redis.asyncio import ConnectionPool

from app.domain.jobs.outbox import Announcement
from jobs.gathering import Gathering
from jobs.trouble import REDIS_ERRORS, Trouble, pause

log = logging.getLogger("steps.worker")

PERFORM = "perform"  # the one function of the queue: it does the job of an outbox row
EXPIRES = timedelta(days=1)
POLL_SECONDS = 0.5
GATHER_SECONDS = 0.005
ANSWER_SECONDS = 5.0
# Spares other workers the attempt to take a row that is being worked on. The row's lease decides, not this.
IN_PROGRESS = timedelta(seconds=30)


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

    Unlike its base it goes on when Redis fails and comes back, starts and ends deliveries in batches and without
    waiting for the next look at the queue, and leaves attempts, results, signals and schedules to the outbox and to
    `jobs.worker`.
    """

    def __init__(self, perform: Any, *, redis: ArqRedis, context: dict[str, Any], max_jobs: int) -> None:
        super().__init__(
            functions=[func(perform, name=PERFORM)],
            redis_pool=redis,
            ctx=context,
            max_jobs=max_jobs,
            handle_signals=False,
        )
        self.wake = asyncio.Event()
        self._finish = Gathering(self._finish_all)

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
            await asyncio.sleep(GATHER_SECONDS)  # jobs that end together are followed together

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
        wanted = [id_ for id_ in (raw.decode() for raw in job_ids) if id_ not in self.tasks]
        wanted = wanted[: self.max_jobs - self.job_counter]
        if not wanted:
            return
        async with self.pool.pipeline(transaction=False) as pipe:
            for job_id in wanted:
                pipe.set(in_progress_key_prefix + job_id, b"1", px=IN_PROGRESS, nx=True)
                pipe.get(job_key_prefix + job_id)
            answers = await pipe.execute()
        for job_id, ours, job in zip(wanted, answers[::2], answers[1::2], strict=True):
            if ours:
                self.job_counter += 1
                task = self.loop.create_task(self._run(job_id, job))
                task.add_done_callback(self._ended)
                self.tasks[job_id] = task

    async def _run(self, job_id: str, job: bytes | None) -> None:
        """Run one delivery and take it out of the queue.

        One without a job is left over: it has ended elsewhere since the queue was read, or has expired. However this
        ends, the row of the outbox knows, so a failure here needs no repetition of its own.
        """
        try:
            if job is not None:
                name, args, kwargs, _, _ = deserialize_job_raw(job, deserializer=orjson.loads)
                await self.functions[name].coroutine({**self.ctx, "job_id": job_id}, *args, **kwargs)
        except Exception:
            log.exception("delivery %s failed", job_id)
        await self._finish(job_id)

    async def _finish_all(self, job_ids: Sequence[str]) -> Sequence[None]:
        prefixes = (in_progress_key_prefix, job_key_prefix)
        async with self.pool.pipeline(transaction=False) as pipe:
            pipe.zrem(self.queue_name, *job_ids)
            pipe.delete(*(prefix + job_id for prefix in prefixes for job_id in job_ids))
            await pipe.execute()
        return [None] * len(job_ids)

    async def heart_beat(self) -> None:
        """Do nothing: health and schedules are not kept in Redis alone, see `jobs.health` and `jobs.schedule`."""

    def _ended(self, _task: asyncio.Task[None]) -> None:
        self.job_counter -= 1
        self.wake.set()


def _dumps(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value)
