"""Keeps the lease of one attempt alive, and stops the attempt when it is not its own any more.

Work that was called off is first asked to stop, at its next `check_cancelled`, and cut off when it does not in time.
Work that another worker has taken over is cut off at once.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from app.core.errors import StepsError
from app.domain.jobs.errors import JobAborted, LeaseLost

log = logging.getLogger("steps.jobs")

BEATS_PER_LEASE = 4
GRACE_SECONDS = 3.0  # for work that was called off, to stop by itself
Result = TypeVar("Result")


class Heartbeat:
    """Calls `beat` four times per lease; its verdict, once there is one, cancels the guarded work."""

    def __init__(self, beat: Callable[[], Awaitable[None]], *, lease: timedelta) -> None:
        self.verdict: JobAborted | LeaseLost | None = None
        self._beat = beat
        self._seconds = lease.total_seconds() / BEATS_PER_LEASE
        self._stopping = asyncio.Event()
        self._guarded: asyncio.Task[Any] | None = None
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat in the background while the block runs."""
        self._task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            await self.stop()

    async def stop(self) -> None:
        """End the beating, so that nothing waits for the row that the last transaction of the attempt locks."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def guard(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do the work; cancel it on a verdict.

        Raises:
            JobAborted, LeaseLost: the verdict.
        """
        self._guarded = task = asyncio.create_task(work)
        try:
            if self.verdict is not None:
                task.cancel()
            return await task
        except asyncio.CancelledError:
            if self.verdict is None:
                raise  # the worker shuts down
            raise self.verdict from None
        finally:
            self._guarded = None

    async def _run(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._seconds)
            try:
                await self._beat()
            except (JobAborted, LeaseLost) as verdict:
                self.verdict = verdict
                await self._cut_off(GRACE_SECONDS if isinstance(verdict, JobAborted) else 0)
                return
            except (StepsError, SQLAlchemyError, OSError) as error:
                log.warning("a lease was not renewed: %s", type(error).__name__)  # the next beat may succeed

    async def _cut_off(self, grace: float) -> None:
        work = self._guarded
        if work is None:
            return
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({work, stopping}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not work.done():
            work.cancel()
