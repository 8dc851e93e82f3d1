"""The worker process: takes jobs from the queue, announces the outbox, and keeps the schedule.

Redis or the database may be away, at the start or later: the worker says so once, waits, and goes on. A first SIGTERM
lets what runs end, for a while; what does not end is given back, and another worker takes it up at once.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy.exc import ProgrammingError

from app.bootstrap import Runtime, build
from app.core.db import asyncpg_dsn
from app.core.listen import Listener, on_topics
from app.core.settings import LogFormat, Settings
from app.core.uow import LIVE_CHANNEL
from app.domain.jobs.periodic import TOPIC as PERIODIC_WORK
from jobs.board import Board
from jobs.health import report, worker_name
from jobs.leases import Leases
from jobs.perform import Handler, Performer
from jobs.presence import Reporter
from jobs.queue import QueueWorker, connect
from jobs.registry import JOBS, SCHEDULE
from jobs.relay import RELAY, SILENCE, Relay
from jobs.schedule import Periodic, keep_schedule
from jobs.trouble import DATABASE_ERRORS, Trouble

log = logging.getLogger("steps.worker")


@dataclass(frozen=True, slots=True)
class Timings:
    """`lease`: how long a job that has gone silent is left alone. `silence`: after how long a job that was announced
    and not taken is announced again. `drain_seconds`: how long jobs may go on after the end was asked for.
    """

    lease: timedelta = timedelta(seconds=20)
    silence: timedelta = SILENCE
    drain_seconds: float = 20.0


MAX_JOBS = 20  # each may hold a database connection for long; the pool has 30


def run_worker(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT; blocks. `settings` name a database and a Redis."""
    _log_to_stderr(settings.log_format)
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    stopping, hurry = _on_signals()
    runtime = await _build(settings, stopping)
    if runtime is None:
        return
    try:
        await serve(runtime, stopping=stopping, hurry=hurry)
    finally:
        await runtime.aclose()


async def serve(
    runtime: Runtime,
    *,
    stopping: asyncio.Event,
    hurry: asyncio.Event,
    handlers: Mapping[str, Handler] = JOBS,
    schedule: Sequence[Periodic] = SCHEDULE,
    timings: Timings | None = None,
) -> None:
    """Work on the platform until `stopping` is set; `hurry` cuts the time short that running jobs are then given."""
    timings = timings or Timings()
    if runtime.settings.redis_url is None:
        raise ValueError("serve() needs settings.redis_url; `steps worker` fills it in for the embedded server")
    redis = connect(runtime.settings.redis_url)
    listener = Listener(asyncpg_dsn(runtime.engine))
    listener.subscribe(LIVE_CHANNEL, on_topics(runtime.reactions))
    board = Board(runtime, [RELAY, *(periodic.known for periodic in schedule)])
    listener.subscribe(LIVE_CHANNEL, on_topics({PERIODIC_WORK: board.read_orders}))
    leases = Leases(runtime, lease=timings.lease)
    performer = Performer(runtime, leases, handlers)
    worker = QueueWorker(performer.perform, redis=redis, context={}, max_jobs=MAX_JOBS)
    relay = Relay(runtime, redis, silence=timings.silence, board=board)
    reporter = Reporter(runtime, board, redis, leases.running, lambda: (performer.done, performer.failed))
    stopped = asyncio.Event()
    await listener.start()
    beside = [
        asyncio.create_task(leases.run(stopped), name="leases"),
        asyncio.create_task(reporter.run(stopped), name="presence"),
        asyncio.create_task(
            report(redis, stopped, lambda: (worker.running, performer.done, performer.failed)), name="health"
        ),
    ]
    taking = [
        asyncio.create_task(worker.consume(stopping), name="queue"),
        asyncio.create_task(relay.run(stopping, listener, worker), name="relay"),
        asyncio.create_task(keep_schedule(runtime, schedule, stopping, board), name="schedule"),
    ]
    log.info("worker %s takes jobs", worker_name())
    try:
        await _until_stopping([*taking, *beside], stopping)
    finally:
        stopping.set()
        await asyncio.gather(*taking, return_exceptions=True)
        given_back = await _drain(worker, timings.drain_seconds, hurry)
        stopped.set()
        await asyncio.gather(*beside, return_exceptions=True)
        await listener.stop()
        await redis.aclose(close_connection_pool=True)
        log.info("worker %s has ended; %s jobs were given back", worker_name(), given_back)


async def _until_stopping(tasks: Sequence[asyncio.Task[Any]], stopping: asyncio.Event) -> None:
    """Wait for the end to be asked for. None of the tasks ends before; if one fails, so does the worker."""
    waiter = asyncio.create_task(stopping.wait())
    await asyncio.wait([waiter, *tasks], return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    for task in tasks:
        if task.done():
            task.result()


async def _drain(worker: QueueWorker, seconds: float, hurry: asyncio.Event) -> int:
    if worker.running:
        log.info("waiting for %s jobs, at most %.0f seconds", worker.running, seconds)
    hurrying = asyncio.create_task(hurry.wait())
    draining = asyncio.create_task(worker.drain(seconds))
    await asyncio.wait([hurrying, draining], return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    if not draining.done():
        draining.cancel()
        return await worker.drain(0)
    return draining.result()


async def _build(settings: Settings, stopping: asyncio.Event) -> Runtime | None:
    """Connect; None where the end was asked for before the database answered."""
    trouble = Trouble("the database is not reachable or not migrated")
    while not stopping.is_set():
        try:
            runtime = await build(settings)
        except (*DATABASE_ERRORS, ProgrammingError) as error:
            await trouble.met(error, stopping)
            continue
        trouble.over()
        return runtime
    return None


def _on_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Events for the first and the second signal that asks for the end."""
    stopping, hurry = asyncio.Event(), asyncio.Event()

    def ask() -> None:
        (hurry if stopping.is_set() else stopping).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ask)
    return stopping, hurry


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def _log_to_stderr(shape: LogFormat) -> None:
    handler = logging.StreamHandler(sys.stderr)
    console = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(_JsonLines() if shape is LogFormat.JSON else console)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for verbose in ("arq", "casbin"):  # a line for each job with its arguments, the whole policy at each reload
        logging.getLogger(verbose).setLevel(logging.WARNING)
