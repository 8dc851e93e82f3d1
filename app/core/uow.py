"""The unit of work: one transaction for one request, job or submit. Nothing else commits.

What must stand or fall together with the change (audit entries, outbox rows, live topics) is collected while the
transaction runs and written in one statement right before the commit.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, cast
from uuid import UUID

from sqlalchemy import CursorResult, Executable, Table, Text, TextClause, TextualSelect, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from app.core import direct
from app.core.actor import Actor, system_actor
from app.core.audit import AuditEntry, plain_mapping, plain_value
from app.core.clock import Clock
from app.core.database_errors import translate
from app.core.events import Event, Gathered, Handlers
from models.base import uuid7
from models.registry import Registry

LIVE_CHANNEL = "steps_live"
OUTBOX_CHANNEL = "steps_outbox"
MAX_EVENT_ROUNDS = 1_000
_WRITTEN = (TextClause, TextualSelect)

# One statement for everything that accompanies a change. Each part is skipped by the server when its array is empty.
WRITE_ACCOMPANIMENTS = text(
    """
WITH entries AS (
    INSERT INTO audit_entry (id, at, actor_id, actor_name, on_behalf_of, session_id, ip, grant_id, allowed_by,
                             command, entity, record_id, before, after, reason, context, outcome, correlation_id)
    SELECT e.id, e.at, e.actor_id, e.actor_name, e.on_behalf_of, e.session_id, e.ip, e.grant_id, e.allowed_by,
           e.command, e.entity, e.record_id, nullif(e.before, 'null'), nullif(e.after, 'null'), e.reason,
           nullif(e.context, 'null'), e.outcome, e.correlation_id
    FROM jsonb_to_recordset(:entries) AS e (
        n int, id uuid, at timestamptz, actor_id uuid, actor_name text, on_behalf_of uuid, session_id uuid, ip text,
        grant_id uuid, allowed_by text, command text, entity text, record_id uuid, before jsonb, after jsonb,
        reason text, context jsonb, outcome text, correlation_id uuid)
    ORDER BY e.n
), jobs AS (
    INSERT INTO outbox (id, job, payload, key, created_at, available_at, max_attempts, correlation_id)
    SELECT j.id, j.job, j.payload, j.key, j.created_at, clock_timestamp() + make_interval(secs => j.delay),
           j.max_attempts, j.correlation_id
    FROM jsonb_to_recordset(:jobs) AS j (
        id uuid, job text, payload jsonb, key text, created_at timestamptz, delay double precision, max_attempts int,
        correlation_id uuid)
    -- One that waits will see this change too: it is not taken before this has been committed for a second.
    WHERE j.key IS NULL OR NOT EXISTS (
        SELECT FROM outbox o
        WHERE o.key = j.key AND o.done_at IS NULL AND o.failed_at IS NULL
          AND o.available_at > clock_timestamp() + interval '1 second')
)
SELECT CASE WHEN :wake THEN pg_notify(:outbox_channel, '') END,
       CASE WHEN :topics <> '' THEN pg_notify(:live_channel, :topics) END
"""
).bindparams(bindparam("entries", type_=JSONB), bindparam("jobs", type_=JSONB), bindparam("topics", type_=Text))


@dataclass(frozen=True)
class Resources:
    """What every unit of work shares; built once by `app.bootstrap`."""

    engine: AsyncEngine
    clock: Clock
    handlers: Handlers
    policy: Any  # app.domain.access.policy.AccessPolicy; core cannot name a type of a higher layer
    services: Mapping[str, Any]  # ports by name: file store, mail transport, secret box
    reading_engine: AsyncEngine | None = None  # on the same pool; each statement is a transaction of its own


class UnitOfWork:
    """`async with runtime.uow(actor) as uow`: commits on a clean exit, rolls back on an error."""

    def __init__(
        self,
        resources: Resources,
        registry: Registry,
        actor: Actor,
        *,
        now: datetime | None = None,
        reading: bool = False,
    ) -> None:
        self.resources = resources
        self._reading = reading
        self.registry = registry
        self.actor = actor
        self.now = now or resources.clock.now()
        self.simulated = now is not None
        self.business_date = self.now.date()
        self._connection: AsyncConnection | None = None
        self._session: AsyncSession | None = None
        self._entries: list[dict[str, Any]] = []
        self._jobs: list[dict[str, Any]] = []
        self._topics: dict[str, None] = {}
        self._events: list[Event] = []

    async def __aenter__(self) -> Self:
        engine = self.resources.reading_engine if self._reading else None
        self._connection = await (engine or self.resources.engine).connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection = self.connection
        try:
            if error is None:
                await self._finish()
            else:
                await connection.rollback()
        finally:
            if self._session is not None:
                await self._session.close()
            await connection.close()
        if isinstance(error, IntegrityError | DBAPIError):
            known = translate(error, self.registry)
            if known is not None:
                raise known from error

    async def _finish(self) -> None:
        if self._reading and (self._events or self._jobs):
            raise RuntimeError("what changes something needs a transaction: open it with `uow`, not with `reading`")
        await self.dispatch()
        try:
            await self._write_accompaniments()
            await self.connection.commit()
        except (IntegrityError, DBAPIError) as error:
            await self.connection.rollback()
            known = translate(error, self.registry)
            if known is None:
                raise
            raise known from error

    async def checkpoint(self) -> None:
        """Commit what has been done so far and go on in a new transaction: for jobs that work in portions."""
        await self._finish()

    @contextmanager
    def by_platform(self) -> Iterator[None]:
        """What is done inside is the platform's own doing, though a person's command led to it."""
        person = self.actor
        self.actor = system_actor(correlation_id=person.correlation_id)
        try:
            yield
        finally:
            self.actor = person

    # -- statements ------------------------------------------------------------------------------------------------

    @property
    def connection(self) -> AsyncConnection:
        if self._connection is None:
            raise RuntimeError("the unit of work has not been entered")
        return self._connection

    @property
    def session(self) -> AsyncSession:
        """An ORM session on the same transaction, for screens and forms."""
        if self._session is None:
            self._session = AsyncSession(bind=self.connection, expire_on_commit=False, autoflush=False)
        return self._session

    async def execute(self, statement: Executable, parameters: Any = None, *, kept: bool = False) -> CursorResult[Any]:
        """Run one statement. Integrity errors are translated into the product's errors.

        `kept`: a query that the caller made once and runs again and again, and whose rows it reads by name.
        """
        try:
            if (kept or type(statement) in _WRITTEN) and not isinstance(parameters, list | tuple):
                made = direct.compile_once(cast("direct.Kept", statement), self.connection.dialect)
                if made is not None:
                    return await direct.execute(self.connection, made, parameters or {})  # type: ignore[return-value]
            return await self.connection.execute(statement, parameters)
        except (IntegrityError, DBAPIError) as error:
            known = translate(error, self.registry)
            if known is None:
                raise
            raise known from error

    async def scalar(self, statement: Executable, parameters: Any = None) -> Any:
        return (await self.execute(statement, parameters)).scalar()

    def table(self, entity: str) -> Table:
        return self.registry.table(entity)

    # -- what goes with the change ----------------------------------------------------------------------------------

    def audit(self, entry: AuditEntry) -> None:
        """Record one fact; it is written with the commit, or not at all."""
        actor = self.actor
        self._entries.append(
            {
                "n": len(self._entries),
                "id": str(uuid7()),
                "at": (entry.at or self.now).isoformat(),
                "actor_id": _text(actor.id),
                "actor_name": actor.name,
                "on_behalf_of": _text(actor.on_behalf_of),
                "session_id": _text(actor.session_id),
                "ip": actor.ip,
                "grant_id": _text(entry.grant_id),
                "allowed_by": entry.allowed_by,
                "command": entry.command,
                "entity": entry.entity,
                "record_id": _text(entry.record_id),
                "before": plain_mapping(entry.before),
                "after": plain_mapping(entry.after),
                "reason": entry.reason,
                "context": plain_mapping(entry.context) or None,
                "outcome": entry.outcome.value,
                "correlation_id": str(actor.correlation_id),
            }
        )

    def enqueue(
        self,
        job: str,
        payload: Mapping[str, Any],
        *,
        delay: timedelta = timedelta(0),
        max_attempts: int = 5,
        key: str | None = None,
    ) -> UUID:
        """Ask for a job after the commit; at least once, so the job must be idempotent. Returns the outbox id.

        `key`: not where a job with this key waits for its delay already, so that many changes ask for one job.
        """
        if key is not None and any(job["key"] == key for job in self._jobs):
            return UUID(next(job["id"] for job in self._jobs if job["key"] == key))
        id_ = uuid7()
        self._jobs.append(
            {
                "id": str(id_),
                "job": job,
                "payload": plain_value(payload),
                "key": key,
                "created_at": self.now.isoformat(),
                "delay": delay.total_seconds(),
                "max_attempts": max_attempts,
                "correlation_id": str(self.actor.correlation_id),
            }
        )
        return id_

    def touch(self, *topics: str) -> None:
        """Name what changed (`run:<id>`, `user:<id>`, `entity:trade`), so that open pages refresh after the commit."""
        self._topics.update(dict.fromkeys(topics))

    def emit(self, event: Event) -> None:
        """Tell the other features, inside this transaction; handlers run in `dispatch`."""
        self._events.append(event)

    def forget(self) -> None:
        """Drop what was to go with the changes since the last checkpoint, once they were rolled back to a savepoint."""
        self._entries, self._jobs, self._topics, self._events = [], [], {}, []

    async def dispatch(self) -> None:
        """Run the handlers of what was emitted, and of what they emit, until it is quiet."""
        rounds = 0
        while self._events:
            rounds += 1
            if rounds > MAX_EVENT_ROUNDS:
                raise RuntimeError("event handlers keep emitting events: there is a loop between them")
            batch, self._events = self._events, []
            gathered: dict[Gathered, list[Event]] = {}
            for event in batch:
                for handler in self.resources.handlers.get(type(event), ()):
                    if isinstance(handler, Gathered):
                        gathered.setdefault(handler, []).append(event)
                    else:
                        await handler(self, event)
            for each, events in gathered.items():
                await each.handle(self, events)

    async def _write_accompaniments(self) -> None:
        entries, jobs, topics = self._entries, self._jobs, list(self._topics)
        self._entries, self._jobs, self._topics = [], [], {}
        if not (entries or jobs or topics):
            return
        values = {
            "entries": entries,
            "jobs": jobs,
            "wake": any(job["delay"] < 1 for job in jobs),  # what waits is looked for each second anyway
            "outbox_channel": OUTBOX_CHANNEL,
            "live_channel": LIVE_CHANNEL,
            "topics": _joined(topics),
        }
        await self.execute(WRITE_ACCOMPANIMENTS, values)


def _joined(topics: Sequence[str]) -> str:
    """Topics as one payload; past PostgreSQL's 8,000 bytes everyone is told to refresh everything."""
    joined = ",".join(topics)
    return joined if len(joined) < 7_900 else "*"


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
