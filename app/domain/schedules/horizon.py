"""The next instant of each schedule: worked out when the schedule, its workflow or a calendar changes, kept in its row.

It is the only thing that the worker looks at, through an index, so that a pass costs what is due and not what there is.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update

from app.core.errors import FieldProblem, StepsError, ValidationFailed
from app.core.events import RecordCreated, RecordUpdated
from app.core.uow import UnitOfWork
from app.domain.schedules.errors import InvalidRecurrence
from app.domain.schedules.recurrence import next_after
from app.domain.schedules.store import Schedule, calendar_for, schedule_of

SCHEDULE = "schedule"
# How long a schedule rests that cannot be worked out; whoever mends it sets it going at once.
SET_ASIDE = timedelta(minutes=10)

# Calendars that came into force after a schedule was worked out may move its next date.
STALE = text(
    """
SELECT * FROM schedule
WHERE active AND computed_at < (SELECT max(published_at) FROM calendar_version WHERE state = 'published')
ORDER BY computed_at LIMIT :limit FOR UPDATE SKIP LOCKED
"""
)


async def on_schedule_written(uow: UnitOfWork, event: RecordCreated | RecordUpdated) -> None:
    """Check a schedule that was entered or changed, and work out when it is due next.

    Raises:
        ValidationFailed: the rule cannot be used; the problem stands at its field.
    """
    if event.entity == "workflow" and isinstance(event, RecordUpdated) and "calendar" in event.fields:
        await _follow_workflow(uow, event.record_id)
    if event.entity != SCHEDULE:
        return
    table = uow.table(SCHEDULE)
    row = (await uow.execute(select(table).where(table.c.id == event.record_id))).mappings().one()
    begins = isinstance(event, RecordCreated) or "active" in event.fields
    try:
        schedule = schedule_of(dict(row))
        await set_horizon(uow, schedule, since=_since(schedule, uow.now, begins=begins))
    except InvalidRecurrence as error:
        raise ValidationFailed(error.problems) from None
    except StepsError as error:
        raise ValidationFailed([FieldProblem("", error.detail)]) from None


def _since(schedule: Schedule, now: datetime, *, begins: bool) -> datetime:
    """Until when everything is dealt with: a changed rule does not reach back, but what was overdue stays overdue."""
    overdue = schedule.next_due_at is not None and schedule.next_due_at <= now
    return now if begins or not overdue or schedule.handled_until is None else schedule.handled_until


async def set_horizon(uow: UnitOfWork, schedule: Schedule, *, since: datetime) -> datetime | None:
    """Keep that everything until `since` is dealt with, and when the next one is due. Raises StepsError."""
    next_due_at = None
    calendar = await calendar_for(uow, schedule.calendars, schedule.workflow_id)
    if schedule.active:
        found = next_after(schedule.rule, calendar, since)
        next_due_at = found.due_at if found is not None else None
    await keep(uow, schedule.id, next_due_at=next_due_at, handled_until=since, trouble=None)
    return next_due_at


async def keep(uow: UnitOfWork, schedule_id: UUID, **values: Any) -> None:
    """Write the state of a schedule; it is no change that a person made, so its version stays."""
    table = uow.table(SCHEDULE)
    await uow.execute(update(table).where(table.c.id == schedule_id).values(computed_at=uow.now, **values))
    uow.touch(f"{SCHEDULE}:{schedule_id}")


async def set_aside(uow: UnitOfWork, schedule_id: UUID, why: str) -> None:
    """A schedule that cannot be worked out says so, and does not stand in the way of the others."""
    await keep(uow, schedule_id, next_due_at=uow.now + SET_ASIDE, trouble=why[:500])


async def refresh(uow: UnitOfWork, *, limit: int = 100) -> int:
    """Work out anew what calendars of a later date may have moved."""
    rows = (await uow.execute(STALE, {"limit": limit})).mappings().all()
    for row in rows:
        await _work_out_anew(uow, dict(row))
    return len(rows)


async def _follow_workflow(uow: UnitOfWork, workflow_id: UUID) -> None:
    table = uow.table(SCHEDULE)
    mine = select(table).where(table.c.workflow_id == workflow_id, table.c.calendars.is_(None), table.c.active)
    for row in (await uow.execute(mine.with_for_update())).mappings().all():
        await _work_out_anew(uow, dict(row))


async def _work_out_anew(uow: UnitOfWork, row: Mapping[str, Any]) -> None:
    try:
        schedule = schedule_of(row)
        await set_horizon(uow, schedule, since=_since(schedule, uow.now, begins=False))
    except StepsError as error:
        await set_aside(uow, row["id"], error.detail)
