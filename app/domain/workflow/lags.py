"""Lags of dependencies: when one will be over, and the sweep that lets go what has waited long enough."""

from datetime import datetime
from uuid import UUID

import orjson
from sqlalchemy import text

from app.core.uow import UnitOfWork
from app.domain.calendars.calendars import Calendar
from app.domain.calendars.store import calendar_of_id
from app.domain.workflow.edges import LagTime, LagUnit
from app.domain.workflow.releasing import Passing

READ_CALENDAR = text(
    "SELECT w.calendar_id FROM workflow_run r JOIN workflow w ON w.id = r.workflow_id WHERE r.id = :run_id"
)


async def lag_ends(uow: UnitOfWork, run_id: UUID, lagging: str | None) -> list[Passing]:
    """Reckon the lags that need the calendar of the run's workflow; `lagging` is what the transition gave back.

    Raises:
        NotFound: the calendar has no published version.
    """
    items = orjson.loads(lagging or "[]")
    if not items:
        return []
    calendar = await calendar_of_run(uow, run_id)
    return [
        Passing(UUID(item["id"]), uow.now, lag_over(item["amount"], item["unit"], uow.now, calendar)) for item in items
    ]


async def calendar_of_run(uow: UnitOfWork, run_id: UUID) -> Calendar:
    """The calendar in force of the run's workflow. Raises NotFound."""
    return await calendar_of_id(uow, await uow.scalar(READ_CALENDAR, {"run_id": run_id}))


def lag_over(amount: int, unit: str, met_at: datetime, calendar: Calendar) -> datetime:
    """When the lag is over."""
    return LagTime(amount, LagUnit(unit)).after(met_at, calendar)
