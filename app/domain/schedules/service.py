"""Create the runs that are due: once each, by any number of workers, with a visible row for every occurrence.

Each pass claims one schedule after another by its `next_due_at` and skips what another worker holds. One transaction
creates at most one instant's runs, so that a fault takes nothing else with it: the occurrence then is recorded as
failed and tried again by itself, with growing pauses, while the schedule goes on.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert

from app.core.actor import Actor, system_actor
from app.core.audit import AuditEntry
from app.core.errors import Conflict, NotFound, StepsError
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope
from app.domain.calendars.calendars import Calendar
from app.domain.jobs.execute import in_words
from app.domain.schedules.catching_up import Cause, Verdict, judge, portion
from app.domain.schedules.events import RunScheduled, ScheduledRunFailed
from app.domain.schedules.horizon import keep, refresh, set_aside
from app.domain.schedules.recurrence import Occurrence, next_after, occurrences
from app.domain.schedules.store import Schedule, calendar_for, schedule_of
from app.domain.schedules.wording import why_omitted
from app.domain.workflow.runs import create_run
from models.base import uuid7

log = logging.getLogger("steps.schedules")

OCCURRENCE = "schedule_occurrence"
ACTOR = system_actor("Schedule")
MOST_AT_ONCE = 500
MOST_ATTEMPTS = 12
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)

CLAIM = text(
    """
SELECT s.*, w.active AS workflow_active, w.label AS workflow_label,
       EXISTS (SELECT FROM workflow_version v WHERE v.workflow_id = w.id AND v.state = 'published') AS published
FROM schedule s JOIN workflow w ON w.id = s.workflow_id
WHERE s.active AND s.next_due_at <= :now
ORDER BY s.next_due_at LIMIT 1
FOR UPDATE OF s SKIP LOCKED
"""
)
CLAIM_FAILED = text(
    """
SELECT o.*, s.node_id, s.variant, s.zone, s.active FROM schedule_occurrence o JOIN schedule s ON s.id = o.schedule_id
WHERE o.retry_at <= :now ORDER BY o.retry_at LIMIT 1 FOR UPDATE OF o SKIP LOCKED
"""
)


class Platform(Protocol):
    """What gives units of work; `app.bootstrap.Runtime` is one."""

    def uow(self, actor: Actor, *, now: datetime | None = None) -> UnitOfWork: ...


@dataclass
class _Step:
    """Where a transaction is, for whoever has to record that it failed."""

    row: Mapping[str, Any] | None = None
    occurrence: Occurrence | None = None
    done: int = 0


async def create_due_runs(platform: Platform, *, now: datetime | None = None, most: int = 1_000) -> int:
    """Create or omit what is due and try again what has failed; return how many occurrences were dealt with.

    `now` is given by simulations only.
    """
    async with platform.uow(ACTOR, now=now) as uow:
        await refresh(uow)
    done = 0
    for advance in (_advance_one, _retry_one):
        while done < most:
            step = await advance(platform, now)
            if step is None:
                break
            done += step
    return done


async def _advance_one(platform: Platform, now: datetime | None) -> int | None:
    """Deal with the next instant of the schedule that is due first; None where none is."""
    step = _Step()
    try:
        async with platform.uow(ACTOR, now=now) as uow:
            claimed = (await uow.execute(CLAIM, {"now": uow.now})).mappings().first()
            if claimed is None:
                return None
            step.row = dict(claimed)
            await _advance(uow, step.row, step)
    except Exception as error:
        if step.row is None:
            raise
        await _record_failure(platform, now, step, error)
        return 1
    return max(step.done, 1)


async def _advance(uow: UnitOfWork, row: Mapping[str, Any], step: _Step) -> None:
    schedule = schedule_of(row)
    calendar = await calendar_for(uow, schedule.calendars, schedule.workflow_id)
    since = schedule.handled_until or schedule.next_due_at or uow.now
    known = await _recorded(uow, schedule.id, since)
    due = [
        found
        for found in occurrences(schedule.rule, calendar, since + timedelta(microseconds=1), _just_after(uow.now))
        if (found.business_date, found.due_at) not in known
    ]
    verdicts = judge(due, now=uow.now, catch_up=schedule.catch_up, grace=schedule.grace, obstacle=_obstacle(row))
    now_done = portion(verdicts, most=MOST_AT_ONCE)
    rest = verdicts[len(now_done) :]
    omitted = [_omission(uow, schedule, calendar, verdict, row) for verdict in now_done if verdict.cause is not None]
    await _insert(uow, omitted)
    for verdict in now_done:
        if verdict.cause is None:
            step.occurrence = verdict.occurrence
            await _create(uow, schedule, verdict.occurrence)
    if rest:
        next_due_at: datetime | None = rest[0].occurrence.due_at
        handled_until = now_done[-1].occurrence.due_at
    else:
        following = next_after(schedule.rule, calendar, uow.now)
        next_due_at, handled_until = following.due_at if following is not None else None, uow.now
    await keep(uow, schedule.id, next_due_at=next_due_at, handled_until=handled_until, trouble=None)
    uow.touch(f"entity:{OCCURRENCE}")
    step.done = len(now_done)


def _just_after(moment: datetime) -> datetime:
    return moment + timedelta(microseconds=1)


async def _recorded(uow: UnitOfWork, schedule_id: UUID, since: datetime) -> set[tuple[date, datetime]]:
    """What has its row already: one that has failed is tried again by itself."""
    table = uow.table(OCCURRENCE)
    statement = select(table.c.business_date, table.c.due_at)
    rows = await uow.execute(statement.where(table.c.schedule_id == schedule_id, table.c.due_at > since))
    return {(row.business_date, row.due_at) for row in rows}


def _obstacle(row: Mapping[str, Any]) -> Cause | None:
    if not row["workflow_active"]:
        return Cause.WORKFLOW_INACTIVE
    return None if row["published"] else Cause.NOT_PUBLISHED


async def _create(uow: UnitOfWork, schedule: Schedule, found: Occurrence) -> None:
    run_id = await _start(uow, schedule, found.business_date, found.due_at)
    await _insert(uow, [_row(uow, schedule, found, state="created", run_id=run_id, attempts=1)])


async def _start(uow: UnitOfWork, schedule: Schedule, business_date: date, due_at: datetime) -> UUID:
    """Create the run, or take the one that is there."""
    variant = schedule.variant_at(due_at)
    run_id = await create_run(
        uow, workflow=schedule.workflow_id, business_date=business_date, node_id=schedule.node_id, variant=variant
    )
    uow.emit(
        RunScheduled(
            at=uow.now,
            schedule_id=schedule.id,
            run_id=run_id,
            business_date=business_date,
            node_id=schedule.node_id,
            variant=variant,
        )
    )
    return run_id


def _omission(
    uow: UnitOfWork, schedule: Schedule, calendar: Calendar, verdict: Verdict, row: Mapping[str, Any]
) -> dict[str, Any]:
    late = _spoken(verdict.late)
    reasons = {
        Cause.MOVED_ONTO_ANOTHER: why_omitted(schedule.rule, calendar, verdict.occurrence),
        Cause.MISSED: f"Nothing could be created when it was due; {late} later it was not to be made up for.",
        Cause.SUPERSEDED: f"Nothing could be created when it was due; {late} later only the latest was made up for.",
        Cause.WORKFLOW_INACTIVE: f"The workflow {row['workflow_label']} was not active.",
        Cause.NOT_PUBLISHED: f"The workflow {row['workflow_label']} had no published version.",
    }
    assert verdict.cause is not None
    reason = reasons[verdict.cause]
    return _row(uow, schedule, verdict.occurrence, state="omitted", cause=verdict.cause.value, reason=reason[:500])


def _spoken(late: timedelta) -> str:
    minutes = int(late.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 48 * 60 else f"{minutes // 1440} days"


def _row(uow: UnitOfWork, schedule: Schedule, found: Occurrence, **values: Any) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "schedule_id": schedule.id,
        "workflow_id": schedule.workflow_id,
        "business_date": found.business_date,
        "nominal_date": found.nominal,
        "due_at": found.due_at,
        "handled_at": uow.now,
        "cause": None,
        "reason": None,
        "run_id": None,
        "attempts": 0,
        "retry_at": None,
        "row_version": 1,
        "created_at": uow.now,
        "created_by": uow.actor.id,
        "updated_at": uow.now,
        "updated_by": uow.actor.id,
        **values,
    }


async def _insert(uow: UnitOfWork, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        await uow.execute(insert(uow.table(OCCURRENCE)).on_conflict_do_nothing(), list(rows))


# -- failures ----------------------------------------------------------------------------------------------------------


async def _record_failure(platform: Platform, now: datetime | None, step: _Step, error: Exception) -> None:
    """In a transaction of its own: the occurrence has failed, or the whole schedule cannot be worked out."""
    assert step.row is not None
    reason = said(error)
    async with platform.uow(ACTOR, now=now) as uow:
        if step.occurrence is None:
            log.warning("schedule %s cannot be worked out: %s", step.row["code"], reason)
            await set_aside(uow, step.row["id"], reason)
            return
        log.warning("the run of schedule %s for %s failed: %s", step.row["code"], step.occurrence.business_date, reason)
        schedule = schedule_of(step.row)
        cause = Cause.NOT_POSSIBLE if isinstance(error, StepsError) else Cause.ERROR
        row = _row(uow, schedule, step.occurrence, state="failed", cause=cause.value, reason=reason, attempts=1)
        row["retry_at"] = uow.now + FIRST_PAUSE
        await _insert(uow, [row])
        _tell_failure(uow, schedule.id, row["id"], reason, final=False)


def said(error: Exception) -> str:
    """The error as a row may show it."""
    return (error.detail if isinstance(error, StepsError) else in_words(error))[:500]


def _tell_failure(uow: UnitOfWork, schedule_id: UUID, occurrence_id: UUID, reason: str, *, final: bool) -> None:
    uow.emit(
        ScheduledRunFailed(at=uow.now, schedule_id=schedule_id, occurrence_id=occurrence_id, reason=reason, final=final)
    )
    uow.touch(f"entity:{OCCURRENCE}", f"schedule:{schedule_id}")


async def _retry_one(platform: Platform, now: datetime | None) -> int | None:
    """Try the failed occurrence again whose pause is over; None where there is none."""
    row: dict[str, Any] | None = None
    try:
        async with platform.uow(ACTOR, now=now) as uow:
            claimed = (await uow.execute(CLAIM_FAILED, {"now": uow.now})).mappings().first()
            if claimed is None:
                return None
            row = dict(claimed)
            await _create_late(uow, row)
    except Exception as error:
        if row is None:
            raise
        await _count_attempt(platform, now, row, error)
    return 1


async def _create_late(uow: UnitOfWork, row: Mapping[str, Any]) -> UUID:
    """The run of an occurrence that has its row already; `row` is locked."""
    schedules = uow.table("schedule")
    found = await uow.execute(select(schedules).where(schedules.c.id == row["schedule_id"]))
    schedule = schedule_of(dict(found.mappings().one()))
    run_id = await _start(uow, schedule, row["business_date"], row["due_at"])
    written = {"state": "created", "cause": None, "reason": None, "run_id": run_id, "retry_at": None}
    await _write(uow, row, **written, attempts=row["attempts"] + 1, handled_at=uow.now)
    return run_id


async def _write(uow: UnitOfWork, row: Mapping[str, Any], **values: Any) -> None:
    table = uow.table(OCCURRENCE)
    stamp = {"row_version": row["row_version"] + 1, "updated_at": uow.now, "updated_by": uow.actor.id}
    await uow.execute(update(table).where(table.c.id == row["id"]).values(**values, **stamp))
    uow.touch(f"entity:{OCCURRENCE}", f"schedule:{row['schedule_id']}")


async def _count_attempt(platform: Platform, now: datetime | None, row: Mapping[str, Any], error: Exception) -> None:
    """The next attempt comes after twice the pause; after the last one a person decides."""
    attempts = row["attempts"] + 1
    final = attempts >= MOST_ATTEMPTS
    pause = min(FIRST_PAUSE * 2 ** (attempts - 1), LONGEST_PAUSE)
    cause = Cause.NOT_POSSIBLE if isinstance(error, StepsError) else Cause.ERROR
    async with platform.uow(ACTOR, now=now) as uow:
        retry_at = None if final else uow.now + pause
        await _write(uow, row, attempts=attempts, reason=said(error), cause=cause.value, retry_at=retry_at)
        _tell_failure(uow, row["schedule_id"], row["id"], said(error), final=final)


async def create_run_of(uow: UnitOfWork, *, occurrence_id: UUID) -> UUID:
    """Create the run of an occurrence that was omitted or has failed, because a person wants it. Returns the run.

    Raises:
        NotFound, Forbidden: no such occurrence in sight; the actor may not do this, or may not create the run there.
        Conflict: its run has been created.
    """
    decision = await require_in_scope(uow, "retry", OCCURRENCE, occurrence_id)
    table = uow.table(OCCURRENCE)
    row = (await uow.execute(select(table).where(table.c.id == occurrence_id).with_for_update())).mappings().first()
    if row is None:
        raise NotFound("There is no such occurrence.")
    if row["state"] == "created":
        raise Conflict("The run of this occurrence has been created.")
    run_id = await _create_late(uow, dict(row))
    uow.audit(
        AuditEntry(
            command="schedule_occurrence.create_run",
            entity=OCCURRENCE,
            record_id=occurrence_id,
            before={"state": row["state"], "cause": row["cause"]},
            after={"state": "created", "run": str(run_id)},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    return run_id
