"""Periodic work as people see it: a row for each work, and what was done of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Uuid, bindparam, text

from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.jobs.periodic import ENTITY


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenWork:
    """A work with what was last done of it that left a row; what is idle is known from the workers alone."""

    id: UUID
    code: str
    label: str
    about: str
    seconds: int
    essential: bool
    paused_at: datetime | None
    paused_by: str | None
    paused_reason: str | None
    requested_at: datetime | None
    known_at: datetime
    last: "SeenRun | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRun:
    """A row that a work has left. `asked_by`: the name of who wanted it done then."""

    worker: str
    started_at: datetime
    finished_at: datetime
    busy: timedelta
    times: int
    count: int
    outcome: str
    error: str | None
    asked_by: str | None


_SEEN = text(
    """
SELECT w.id, w.code, w.label, coalesce(w.about, '') AS about, w.seconds, w.essential, w.paused_at, p.name AS paused_by,
       w.paused_reason, w.requested_at, w.known_at,
       r.worker, r.started_at, r.finished_at, r.busy, r.times, r.count, r.outcome, r.error, a.name AS asked_by
FROM periodic_work w
LEFT JOIN app_user p ON p.id = w.paused_by_id
LEFT JOIN LATERAL (SELECT * FROM periodic_run WHERE work_id = w.id ORDER BY started_at DESC LIMIT 1) r ON true
LEFT JOIN app_user a ON a.id = r.asked_by_id
ORDER BY w.seconds, w.label
"""
)

_RUNS = text(
    """
SELECT r.worker, r.started_at, r.finished_at, r.busy, r.times, r.count, r.outcome, r.error, a.name AS asked_by
FROM periodic_run r JOIN periodic_work w ON w.id = r.work_id LEFT JOIN app_user a ON a.id = r.asked_by_id
WHERE w.id = :id ORDER BY r.started_at DESC LIMIT :most
"""
).bindparams(bindparam("id", type_=Uuid))

_OF_RUN = tuple(SeenRun.__dataclass_fields__)


async def seen_works(uow: UnitOfWork) -> list[SeenWork]:
    """Every periodic work, those of the quickest rhythm first. Raises: Forbidden."""
    authorize(uow, "read", ENTITY)
    found = []
    for row in (await uow.execute(_SEEN)).mappings():
        last = SeenRun(**{name: row[name] for name in _OF_RUN}) if row["worker"] is not None else None
        found.append(SeenWork(**{name: value for name, value in row.items() if name not in _OF_RUN}, last=last))
    return found


async def seen_runs(uow: UnitOfWork, work_id: UUID, *, most: int = 100) -> list[SeenRun]:
    """What was done of a work, the latest first. Raises: Forbidden."""
    authorize(uow, "read", ENTITY)
    return [SeenRun(**row) for row in (await uow.execute(_RUNS, {"id": work_id, "most": most})).mappings()]
