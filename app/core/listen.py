"""Listening to PostgreSQL's notifications: one connection per process that comes back by itself.

A notification is a wake-up, never the truth: those sent while the connection was down are gone. After it is back every
subscriber is therefore called once with `EVERYTHING`, as if all it listens for had changed.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

import asyncpg

log = logging.getLogger("steps.listen")

EVERYTHING = "*"  # also what a unit of work sends when it has touched too much to name
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
PROBE_SECONDS = 30.0
ANSWER_SECONDS = 10.0

Callback = Callable[[str], Awaitable[None] | None]
CONNECTION_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Listener:
    """LISTEN on any number of channels. `start` it, `subscribe` at any time, `stop` it."""

    def __init__(self, dsn: str) -> None:
        """Prepare; `dsn` is an address as `app.core.db.asyncpg_dsn` returns it."""
        self._dsn = dsn
        self._callbacks: dict[str, list[Callback]] = {}
        self._listening: set[str] = set()
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._running: set[asyncio.Future[None]] = set()

    def subscribe(self, channel: str, callback: Callback) -> Callable[[], None]:
        """Call `callback(payload)` for each notification on `channel`; return what ends the subscription."""
        self._callbacks.setdefault(channel, []).append(callback)
        self._ready.clear()
        self._wake.set()

        def unsubscribe() -> None:
            with suppress(ValueError):
                self._callbacks[channel].remove(callback)

        return unsubscribe

    async def start(self) -> None:
        """Begin to connect; returns at once. `ready` waits until every channel is listened to."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="listener")

    async def ready(self) -> None:
        """Wait until every channel subscribed to so far is listened to."""
        await self._ready.wait()

    async def stop(self) -> None:
        """End the connection and whatever callbacks are still running."""
        task, self._task = self._task, None
        for running in [*self._running, *([task] if task else [])]:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    async def _run(self) -> None:
        pause, missed = FIRST_PAUSE_SECONDS, False
        while True:
            connection: asyncpg.Connection[Any] | None = None
            try:
                connection = await asyncpg.connect(self._dsn, timeout=ANSWER_SECONDS)
                self._listening.clear()
                connection.add_termination_listener(lambda _: self._wake.set())
                await self._listen(connection)
                if missed:
                    log.warning("listening to the database again")
                    for channel in self._callbacks:
                        self._call(channel, EVERYTHING)
                pause, missed = FIRST_PAUSE_SECONDS, False
                await self._attend(connection)
            except CONNECTION_ERRORS as error:
                if not missed:
                    log.warning("not listening to the database, trying again: %s", error or "no answer")
                missed = True
            finally:
                self._ready.clear()
                if connection is not None:
                    connection.terminate()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _attend(self, connection: "asyncpg.Connection[Any]") -> None:
        """Return by an error when the connection is gone; meanwhile take up new channels and see that it answers."""
        while True:
            try:
                await asyncio.wait_for(self._wake.wait(), PROBE_SECONDS)
            except TimeoutError:
                await connection.execute("SELECT 1", timeout=ANSWER_SECONDS)
            if connection.is_closed():
                raise asyncpg.InterfaceError("the connection was closed")
            await self._listen(connection)

    async def _listen(self, connection: "asyncpg.Connection[Any]") -> None:
        self._wake.clear()
        for channel in [name for name in self._callbacks if name not in self._listening]:
            await connection.add_listener(channel, self._notified)
            self._listening.add(channel)
        if self._listening.issuperset(self._callbacks):
            self._ready.set()

    def _notified(self, _connection: Any, _pid: int, channel: str, payload: Any) -> None:
        self._call(channel, str(payload))

    def _call(self, channel: str, payload: str) -> None:
        for callback in list(self._callbacks.get(channel, ())):
            try:
                result = callback(payload)
            except Exception:
                log.exception("a subscriber of %s failed", channel)
                continue
            if inspect.isawaitable(result):
                task = asyncio.ensure_future(_guarded(result, channel))
                self._running.add(task)
                task.add_done_callback(self._running.discard)


async def _guarded(work: Awaitable[None], channel: str) -> None:
    try:
        await work
    except Exception:
        log.exception("a subscriber of %s failed", channel)


def on_topics(reactions: Mapping[str, Callable[[], Coroutine[Any, Any, None]]]) -> Callback:
    """A callback for the live channel: run the reaction of each topic that was touched (`policy`, `clock`)."""

    async def react(payload: str) -> None:
        touched = payload.split(",")
        for topic, reaction in reactions.items():
            if topic in touched or EVERYTHING in touched:
                await reaction()

    return react
