"""What Prometheus reads: requests by route and status, their latency, the pool, the outbox, the workers."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool
from starlette.requests import Request
from starlette.responses import Response

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.core.errors import StepsError
from app.domain.jobs.queries import backlog

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Heartbeat(Protocol):
    """A worker as it last described itself."""

    @property
    def name(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def running(self) -> int: ...


Workers = Callable[[], Awaitable[Sequence[Heartbeat]]]


class Metrics:
    """The meters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "steps_requests", "Requests answered", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "steps_request_seconds", "Time to the last byte", ("route",), buckets=_BUCKETS, registry=self.registry
        )
        self.pool = Gauge("steps_database_connections", "Connections of the pool", ("state",), registry=self.registry)
        self.outbox = Gauge("steps_outbox_jobs", "Jobs in the outbox", ("state",), registry=self.registry)
        self.lag = Gauge(
            "steps_outbox_oldest_seconds", "How long the oldest job that nobody runs waits", registry=self.registry
        )
        self.worker_age = Gauge(
            "steps_worker_heartbeat_age_seconds", "Since a worker last said it is alive", ("worker",),
            registry=self.registry,
        )  # fmt: skip
        self.worker_running = Gauge(
            "steps_worker_running_jobs", "Jobs a worker runs now", ("worker",), registry=self.registry
        )
        # Looking up a labelled meter costs more than counting with it.
        self._count = lru_cache(maxsize=4096)(self.requests.labels)
        self._time = lru_cache(maxsize=4096)(self.seconds.labels)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self._count(method, route, str(status)).inc()
        self._time(route).observe(seconds)

    async def _measure(self, runtime: Runtime, workers: Workers) -> None:
        pool = runtime.engine.pool
        if isinstance(pool, QueuePool):
            self.pool.labels("in_use").set(pool.checkedout())
            self.pool.labels("idle").set(pool.checkedin())
        try:
            async with runtime.uow(system_actor("Metrics")) as uow:
                waiting = await backlog(uow)
        except (StepsError, SQLAlchemyError, OSError):
            self.lag.set(float("nan"))  # unknown is not zero: an alert on the lag must not fall silent
        else:
            self.lag.set(waiting.oldest_seconds)
            for state in ("due", "running", "failed"):
                self.outbox.labels(state).set(getattr(waiting, state))
        self.worker_age.clear()
        self.worker_running.clear()
        try:
            alive = await workers()
        except (RedisError, OSError):
            return
        now = datetime.now(UTC)
        for worker in alive:
            self.worker_age.labels(worker.name).set((now - worker.at).total_seconds())
            self.worker_running.labels(worker.name).set(worker.running)

    def endpoint(self, workers: Workers) -> Callable[[Request], Awaitable[Response]]:
        """The route that renders them; `workers` asks who is alive."""

        async def metrics(request: Request) -> Response:
            await self._measure(request.app.state.runtime, workers)
            return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

        return metrics
