"""The relay: tells the queue in Redis which rows of the outbox are due.

It wakes when a transaction has written to the outbox, and once a second for rows that become due with time. A marker in
Redis shows whether the queue is still the one that was told: if it is gone, so is the queue, and all is told again.
"""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from arq.connections import ArqRedis
from redis.exceptions import RedisError

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.core.listen import Listener
from app.core.uow import OUTBOX_CHANNEL
from app.domain.jobs import outbox
from app.domain.jobs.periodic import KnownWork
from jobs.board import Board
from jobs.queue import QueueWorker, announce
from jobs.trouble import DATABASE_ERRORS, Trouble, pause

log = logging.getLogger("steps.worker")

BATCH = 1_000
POLL_SECONDS = 1.0
SILENCE = timedelta(minutes=2)
AFTER_FAULT_SECONDS = 5.0
MARKER = "steps:relay:marker"
RELAY = KnownWork(
    code="relay",
    label="Relay of the outbox",
    about="Tells the queue which jobs are due. It wakes with each commit that leaves one, and once a second.",
    seconds=1,
    essential=True,
)


class Relay:
    """Announces due rows, any number of relays at a time."""

    def __init__(
        self,
        runtime: Runtime,
        redis: ArqRedis,
        *,
        silence: timedelta = SILENCE,
        batch: int = BATCH,
        board: Board | None = None,
    ) -> None:
        self._runtime = runtime
        self._board = board or Board(runtime, [RELAY])
        self._redis = redis
        self._silence = silence
        self._batch = batch
        self._wake = asyncio.Event()
        self._lost_before: datetime | None = None

    async def run(self, stopping: asyncio.Event, listener: Listener, worker: QueueWorker) -> None:
        """Announce until `stopping` is set, and wake the worker of this process when there is something for it."""
        listener.subscribe(OUTBOX_CHANNEL, lambda _: self._wake.set())
        redis_trouble = Trouble("Redis is not reachable or refuses: jobs wait in the outbox")
        trouble = Trouble("the database is not reachable: jobs wait in the outbox")
        while not stopping.is_set():
            self._wake.clear()
            try:
                announced = await self._noted_round()
            except RedisError as error:
                await redis_trouble.met(error, stopping)
                continue
            except DATABASE_ERRORS as error:
                await trouble.met(error, stopping)
                continue
            except Exception:
                log.exception("the outbox could not be announced")
                await pause(AFTER_FAULT_SECONDS, stopping)
                continue
            trouble.over()
            redis_trouble.over()
            if announced:
                worker.wake.set()
            await pause(POLL_SECONDS, self._wake, stopping)

    async def _noted_round(self) -> int:
        self._board.began(RELAY.code)
        try:
            announced = await self.announce_due()
        except Exception as error:
            self._board.ended(RELAY.code, count=0, error=error)
            raise
        self._board.ended(RELAY.code, count=announced)
        return announced

    async def announce_due(self) -> int:
        """Announce all that is due now; return how many rows."""
        await self._notice_loss()
        total = 0
        while True:
            count = await self._announce_batch()
            total += count
            if count < self._batch:
                self._lost_before = None
                return total

    async def _notice_loss(self) -> None:
        """See whether the queue has been emptied behind our back, or Redis is a new one."""
        now = datetime.now(UTC)
        if await self._redis.set(MARKER, now.isoformat(), nx=True):
            self._lost_before = now

    async def _announce_batch(self) -> int:
        # Told before the commit: if Redis fails, the rows stay unannounced. The other way round, a row may be taken
        # before this commits; it then waits for the lock for as long as that takes.
        async with self._runtime.uow(system_actor("Relay")) as uow:
            rows = await outbox.claim_for_relay(
                uow, limit=self._batch, silence=self._silence, announced_before=self._lost_before
            )
            await announce(self._redis, rows)
        return len(rows)
