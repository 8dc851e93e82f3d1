"""Tells the database every few seconds that this worker is there, what it does, and what it has done."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
from arq.connections import ArqRedis
from arq.constants import default_queue_name

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.domain.jobs import periodic, presence
from app.domain.jobs.presence import EVERY, Presence
from jobs.board import ACTOR, Board
from jobs.health import worker_name
from jobs.trouble import DATABASE_ERRORS, REDIS_ERRORS, Trouble, pause

log = logging.getLogger("steps.worker")

ANSWER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Reporter:
    """`running`: what runs now; `counts`: how much was done and how much has failed."""

    runtime: Runtime
    board: Board
    redis: ArqRedis
    running: Callable[[], Sequence[Mapping[str, Any]]]
    counts: Callable[[], tuple[int, int]]

    async def run(self, stopped: asyncio.Event, *, seconds: float = EVERY.total_seconds()) -> None:
        """Tell until `stopped` is set, then say that the worker has ended."""
        started, process = self.runtime.clock.now(), psutil.Process()
        trouble = Trouble("the database is not reachable: this worker is not seen")
        announced = False
        while True:
            ending = stopped.is_set()
            redis_said, depth = await self._ask_redis()
            done, failed = self.counts()
            told = Presence(
                name=worker_name(),
                started_at=started,
                running=self.running(),
                works={code: entry.plain() for code, entry in self.board.entries.items()},
                done=done,
                failed=failed,
                memory_mb=round(process.memory_info().rss / 1_048_576),
                redis_said=redis_said,
                queue_depth=depth,
            )
            try:
                await self._tell(told, announce=not announced, ending=ending)
            except DATABASE_ERRORS as error:
                if ending:
                    return
                await trouble.met(error, stopped)
                continue
            except Exception:
                log.exception("this worker could not say what it does")
            else:
                trouble.over()
                announced = True
            if ending:
                return
            await pause(seconds, stopped)

    async def _tell(self, told: Presence, *, announce: bool, ending: bool) -> None:
        done = self.board.take_done()
        try:
            async with self.runtime.uow(system_actor(ACTOR)) as uow:
                if announce:
                    await periodic.announce(uow, [entry.known for entry in self.board.entries.values()])
                await presence.say_present(uow, told)
                await periodic.record_done(uow, worker=told.name, done=done)
                if ending:
                    await presence.say_stopped(uow, told.name)
                orders = await periodic.read_orders(uow)
        except BaseException:
            self.board.put_back(done)
            raise
        self.board.follow(orders)

    async def _ask_redis(self) -> tuple[str | None, int | None]:
        """What is wrong with Redis, and how many deliveries wait there."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return None, int(await self.redis.zcard(default_queue_name))
        except REDIS_ERRORS as error:
            return f"Redis does not answer ({type(error).__name__}).", None
