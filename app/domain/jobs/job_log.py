"""The log of one attempt, written as it goes and apart from the attempt's own transaction."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from enum import StrEnum

from app.core.errors import StepsError

log = logging.getLogger("steps.jobs")

FLUSH_SECONDS = 0.5
FLUSH_LINES = 200
MOST_LINES = 5_000
MESSAGE_LENGTH = 2_000

Line = dict[str, str]
Write = Callable[[Sequence[Line]], Awaitable[None]]


class Level(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class JobLog:
    """Collects lines and hands them to `write` in batches, at the latest half a second after they were added."""

    def __init__(self, write: Write, *, began: datetime) -> None:
        self._write = write
        self._began = began
        self._clock = time.monotonic()
        self._lines: list[Line] = []
        self._added = 0
        self._wake = asyncio.Event()
        self._closing = False

    def add(self, level: Level, message: str) -> None:
        """Add one line; past 5,000 lines one last line says that the rest is not kept."""
        self._added += 1
        if self._added > MOST_LINES:
            return
        if self._added == MOST_LINES:
            level, message = Level.WARNING, f"Only the first {MOST_LINES} lines are kept."
        at = self._began + timedelta(seconds=time.monotonic() - self._clock)
        shortened = message if len(message) <= MESSAGE_LENGTH else message[: MESSAGE_LENGTH - 1] + "…"
        # PostgreSQL cannot store the character zero.
        self._lines.append({"at": at.isoformat(), "level": level.value, "message": shortened.replace("\0", "")})
        if len(self._lines) >= FLUSH_LINES:
            self._wake.set()

    async def flush(self) -> None:
        """Write what has been collected. A log that cannot be written does not fail the work it speaks of."""
        lines, self._lines = self._lines, []
        self._wake.clear()
        if not lines:
            return
        try:
            await self._write(lines)
        except (StepsError, OSError) as error:
            log.warning("%s lines of a job's log were not written: %s", len(lines), error)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write in the background while the block runs, and the rest at its end."""
        task = asyncio.create_task(self._flush_repeatedly())
        try:
            yield
        finally:
            self._closing = True  # asked to end, not cancelled: lines on their way arrive
            self._wake.set()
            await task

    async def _flush_repeatedly(self) -> None:
        while not self._closing:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), FLUSH_SECONDS)
            await self.flush()
        await self.flush()
