"""Periodic work as everybody sees it: which there is, what is paused, what somebody wants done now, what it did.

Workers know their own rhythm and keep it without asking. They announce their work once, read here what is paused or
asked for, and leave a row for what they did; a round that found nothing leaves none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, NotFound, TransitionRefused, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize
from models.types import UtcDateTime

ENTITY = "periodic_work"
TOPIC = f"entity:{ENTITY}"  # touched whenever workers have something to read
REASON_LENGTH = 500
ERROR_LENGTH = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWork:
    """A work as the worker's table names it. `essential`: the platform stands still without it."""

    code: str
    label: str
    about: str
    seconds: int
    essential: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What people want of a work."""

    paused: bool
    asked_for: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkDone:
    """What one worker did of a work within some seconds: `times` rounds that took `busy` together."""

    code: str
    started_at: datetime
    finished_at: datetime
    busy: timedelta
    times: int
    count: int
    error: str | None = None
    asked_by: UUID | None = None


_ANNOUNCE = text(
    """
INSERT INTO periodic_work (id, row_version, created_at, created_by, updated_at, updated_by, code, label, about, seconds,
                           essential, known_at)
SELECT uuidv7(), 1, :now, :by, :now, :by, w.code, w.label, w.about, w.seconds, w.essential, :now
FROM jsonb_to_recordset(:works) AS w (code text, label text, about text, seconds int, essential boolean)
ORDER BY w.code
ON CONFLICT (code) DO UPDATE
SET label = excluded.label, about = excluded.about, seconds = excluded.seconds, essential = excluded.essential,
    known_at = excluded.known_at,
    paused_at = CASE WHEN excluded.essential THEN NULL ELSE periodic_work.paused_at END
"""
).bindparams(bindparam("works", type_=JSONB), bindparam("now", type_=UtcDateTime), bindparam("by", type_=Uuid))

_ORDERS = text(
    """
SELECT code, paused_at IS NOT NULL AS paused, requested_at IS NOT NULL AS asked_for
FROM periodic_work WHERE paused_at IS NOT NULL OR requested_at IS NOT NULL
"""
)

# The row is the request: whichever worker takes it out does the work, the others find nothing.
_TAKE = text(
    """
WITH taken AS (
    SELECT id, requested_by_id FROM periodic_work WHERE code = :code AND requested_at IS NOT NULL
    FOR UPDATE SKIP LOCKED)
UPDATE periodic_work w SET requested_at = NULL, requested_by_id = NULL, updated_at = :now
FROM taken WHERE w.id = taken.id
RETURNING taken.requested_by_id
"""
).bindparams(bindparam("code", type_=Text), bindparam("now", type_=UtcDateTime))

_RECORD = text(
    """
INSERT INTO periodic_run (id, row_version, created_at, created_by, updated_at, updated_by, work_id, worker, started_at,
                          finished_at, busy, times, count, outcome, error, asked_by_id)
SELECT uuidv7(), 1, :now, :by, :now, :by, w.id, :worker, d.started_at, d.finished_at,
       d.busy_seconds * interval '1 second', d.times, d.count,
       CASE WHEN d.error IS NULL THEN 'succeeded' ELSE 'failed' END, d.error, u.id
FROM jsonb_to_recordset(:done) AS d (code text, started_at timestamptz, finished_at timestamptz,
                                     busy_seconds double precision, times int, count int, error text, asked_by uuid)
JOIN periodic_work w ON w.code = d.code
LEFT JOIN app_user u ON u.id = d.asked_by
"""
).bindparams(
    bindparam("done", type_=JSONB),
    bindparam("worker", type_=Text),
    bindparam("now", type_=UtcDateTime),
    bindparam("by", type_=Uuid),
)

_LOCK = text(
    "SELECT id, code, label, essential, paused_at, requested_at FROM periodic_work WHERE id = :id FOR NO KEY UPDATE"
).bindparams(bindparam("id", type_=Uuid))

_SET_PAUSE = text(
    """
UPDATE periodic_work SET paused_at = :at, paused_by_id = :who, paused_reason = :reason,
                         updated_at = :now, updated_by = :by, row_version = row_version + 1
WHERE id = :id
"""
).bindparams(
    bindparam("id", type_=Uuid),
    bindparam("at", type_=UtcDateTime),
    bindparam("who", type_=Uuid),
    bindparam("reason", type_=Text),
    bindparam("now", type_=UtcDateTime),
    bindparam("by", type_=Uuid),
)

_ASK = text(
    """
UPDATE periodic_work SET requested_at = :now, requested_by_id = (SELECT id FROM app_user WHERE id = :by),
                         updated_at = :now, updated_by = :by, row_version = row_version + 1
WHERE id = :id
"""
).bindparams(bindparam("id", type_=Uuid), bindparam("now", type_=UtcDateTime), bindparam("by", type_=Uuid))


async def announce(uow: UnitOfWork, works: Sequence[KnownWork]) -> None:
    """Make the works known; what an administrator has decided about one stays. A step of the worker itself."""
    given = [
        {"code": w.code, "label": w.label, "about": w.about, "seconds": w.seconds, "essential": w.essential}
        for w in works
    ]
    await uow.execute(_ANNOUNCE, {"works": given, "now": uow.now, "by": uow.actor.id})
    uow.touch(TOPIC)


async def read_orders(uow: UnitOfWork) -> Mapping[str, Orders]:
    """Return what is paused or asked for, by code; a step of the worker itself."""
    rows = await uow.execute(_ORDERS)
    return {row.code: Orders(paused=row.paused, asked_for=row.asked_for) for row in rows}


@dataclass(frozen=True, slots=True)
class Request:
    """That somebody wants a work done now; `by` is None where the account is gone."""

    by: UUID | None


async def take_request(uow: UnitOfWork, code: str) -> Request | None:
    """Take the request for a work, if no other worker has; a step of the worker itself."""
    row = (await uow.execute(_TAKE, {"code": code, "now": uow.now})).one_or_none()
    if row is None:
        return None
    uow.touch(TOPIC)
    return Request(row.requested_by_id)


async def record_done(uow: UnitOfWork, *, worker: str, done: Sequence[WorkDone]) -> None:
    """Leave a row for each; a step of the worker itself."""
    if not done:
        return
    await uow.execute(
        _RECORD,
        {"done": [_plain(each) for each in done], "worker": worker, "now": uow.now, "by": uow.actor.id},
    )
    uow.touch("entity:periodic_run")


def _plain(done: WorkDone) -> dict[str, Any]:
    return {
        "code": done.code,
        "started_at": done.started_at.isoformat(),
        "finished_at": done.finished_at.isoformat(),
        "busy_seconds": done.busy.total_seconds(),
        "times": done.times,
        "count": done.count,
        "error": None if done.error is None else done.error[:ERROR_LENGTH],
        "asked_by": None if done.asked_by is None else str(done.asked_by),
    }


# -- what a person decides -------------------------------------------------------------------------------------------


async def pause_work(uow: UnitOfWork, work_id: UUID, *, reason: str) -> None:
    """Have no worker do it until it is resumed; a round that is under way ends.

    Raises:
        Forbidden, NotFound: as for any record.
        ValidationFailed: there is no reason.
        TransitionRefused: the platform stands still without it.
        Conflict: it is paused.
    """
    decision = authorize(uow, "pause", ENTITY)
    reason = " ".join(reason.split())
    if not reason or len(reason) > REASON_LENGTH:
        raise ValidationFailed([FieldProblem("reason", f"Say why, in at most {REASON_LENGTH} characters.", "required")])
    row = await _locked(uow, work_id)
    if row["essential"]:
        raise TransitionRefused(
            f"“{row['label']}” cannot be paused: without it deadlines or deliveries would stand still.",
            guard="essential",
            satisfy="Stop the workers themselves if everything has to stand still.",
        )
    if row["paused_at"] is not None:
        raise Conflict(f"“{row['label']}” is paused already.")
    await _set_pause(uow, work_id, at=uow.now, reason=reason)
    _record(uow, "pause", row, decision, after={"paused": True}, reason=reason)


async def resume_work(uow: UnitOfWork, work_id: UUID) -> None:
    """Have workers do it again, at once. Raises: Forbidden, NotFound; Conflict: it is not paused."""
    decision = authorize(uow, "pause", ENTITY)
    row = await _locked(uow, work_id)
    if row["paused_at"] is None:
        raise Conflict(f"“{row['label']}” is not paused.")
    await _set_pause(uow, work_id, at=None, reason=None)
    _record(uow, "resume", row, decision, after={"paused": False}, reason=None)


async def ask_for_work(uow: UnitOfWork, work_id: UUID) -> None:
    """Have one worker do it now, also while it is paused. Asking twice before one has begun is asking once.

    Raises:
        Forbidden, NotFound: as for any record.
    """
    decision = authorize(uow, "run", ENTITY)
    row = await _locked(uow, work_id)
    uow.touch(TOPIC)
    if row["requested_at"] is not None:
        return
    await uow.execute(_ASK, {"id": work_id, "now": uow.now, "by": uow.actor.id})
    _record(uow, "run", row, decision, after={"asked_for": True}, reason=None)


async def _locked(uow: UnitOfWork, work_id: UUID) -> Mapping[str, Any]:
    row = (await uow.execute(_LOCK, {"id": work_id})).mappings().one_or_none()
    if row is None:
        raise NotFound("There is no such periodic work.")
    return dict(row)


async def _set_pause(uow: UnitOfWork, work_id: UUID, *, at: datetime | None, reason: str | None) -> None:
    who = uow.actor.id if at is not None else None
    await uow.execute(
        _SET_PAUSE, {"id": work_id, "at": at, "who": who, "reason": reason, "now": uow.now, "by": uow.actor.id}
    )


def _record(
    uow: UnitOfWork,
    command: str,
    row: Mapping[str, Any],
    decision: Decision,
    *,
    after: Mapping[str, Any],
    reason: str | None,
) -> None:
    uow.touch(TOPIC)
    uow.audit(
        AuditEntry(
            command=command,
            entity=ENTITY,
            record_id=row["id"],
            before={"paused": row["paused_at"] is not None},
            after={"code": row["code"], **after},
            reason=reason,
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
