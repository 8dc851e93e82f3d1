"""What cannot be reached at the moment: said once when it begins, once when it is over, tried again in between."""

import asyncio
import logging
from contextlib import suppress

import asyncpg
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import exc

from app.core.errors import Unavailable

log = logging.getLogger("steps.worker")

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0

REDIS_ERRORS = (RedisError, OSError, TimeoutError)
# The database is out of reach, as opposed to: it refuses a statement, which is a fault of ours.
DATABASE_ERRORS = (
    Unavailable,
    OSError,
    TimeoutError,
    exc.TimeoutError,
    exc.OperationalError,
    exc.InterfaceError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.TooManyConnectionsError,
)


class Trouble:
    """One thing that can be out of reach."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._pause = 0.0

    @property
    def there(self) -> bool:
        return self._pause > 0

    async def met(self, error: BaseException, stopping: asyncio.Event) -> None:
        """Say so unless it has been said, and wait: longer each time, and no longer than until `stopping` is set."""
        if not self.there:
            log.warning("%s (%s); trying again until it answers", self._what, _kind(error))
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS) if self._pause else FIRST_PAUSE_SECONDS
        await pause(self._pause, stopping)

    def over(self) -> None:
        """Say so, if there was trouble."""
        if self.there:
            log.warning("%s: over", self._what)
        self._pause = 0.0


async def pause(seconds: float, *events: asyncio.Event) -> None:
    """Wait the seconds, or until one of the events is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiting:
            waiter.cancel()
            with suppress(asyncio.CancelledError):
                await waiter


def _kind(error: BaseException) -> str:
    """The kind of the error and no more: its text may hold a statement or an address with a password.

    What Redis answers holds neither, and says why it refuses.
    """
    if isinstance(error, ResponseError):
        return f"{type(error).__name__}: {error}"
    cause = getattr(error, "orig", None) or error
    return type(cause).__name__
