"""What a calendar version would move, before it is published: every open deadline, old and new, and which are late."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope
from app.domain.calendars.contents import version_row
from app.domain.sla import recalculation_sql as sql
from app.domain.sla.rearming import new_due
from app.domain.sla.recalculation import CLOSED_STATES, Change, calendar_in_force_id, change_of

MOST_SHOWN = 200
MOST_COUNTED = 20_000
_PAGE = 2_000


@dataclass(frozen=True, slots=True)
class MovedDeadline:
    """One deadline that moves. Without `label` the reader may not see the record."""

    entity: str
    record_id: UUID
    label: str
    old: datetime
    new: datetime

    @property
    def minutes(self) -> int:
        """How many minutes later; fewer than none where it moves forward."""
        return round((self.new - self.old).total_seconds() / 60)

    def is_late_at_once(self, now: datetime) -> bool:
        return self.new <= now < self.old


@dataclass(frozen=True, slots=True)
class Preview:
    """`rows` are those of `total` that are shown, soonest first; `hidden` of them the reader may not see.

    `partly`: there are more clocks of working time than were counted.
    """

    number: int
    before_id: UUID | None
    first_day: date | None
    total: int
    later: int
    earlier: int
    late_at_once: int
    calendars: int
    partly: bool
    hidden: int
    rows: tuple[MovedDeadline, ...]


async def preview_of(uow: UnitOfWork, *, version_id: UUID) -> Preview:
    """What publishing this version would move now; nothing is moved.

    Raises:
        NotFound: there is no such version.
        InvalidCalendar, OutsideCalendarRange: it cannot come into force as it is.
    """
    authorize(uow, "read", "calendar_version")
    version = await version_row(uow, version_id)
    before = await calendar_in_force_id(uow, version["calendar_id"])
    if before == version_id:
        before = None
    change = await change_of(uow, calendar_id=version["calendar_id"], before=before, after=version_id)
    total = later = earlier = late = 0
    found: list[MovedDeadline] = []
    if change.moves_formulas:
        values = {**change.values(), "closed": CLOSED_STATES}
        counts = (await uow.execute(sql.COUNT_SHIFTED, {**values, "now": uow.now})).one()
        total, later, earlier, late = counts.total, counts.later, counts.earlier, counts.late_at_once
        shown = await uow.execute(sql.SHOW_SHIFTED, {**values, "limit": MOST_SHOWN})
        found = [MovedDeadline(row.entity, row.record_id, row.label, row.old_due, row.new_due) for row in shown]
    counted, partly = await _durations(uow, change)
    total += len(counted)
    later += sum(each.new > each.old for each in counted)
    earlier += sum(each.new < each.old for each in counted)
    late += sum(each.is_late_at_once(uow.now) for each in counted)
    rows = sorted((*found, *counted), key=lambda each: (each.new, each.record_id))[:MOST_SHOWN]
    visible = await _visible(uow, rows)
    return Preview(
        number=version["number"],
        before_id=before,
        first_day=change.first_day or (change.since.date() if change.since else None),
        total=total,
        later=later,
        earlier=earlier,
        late_at_once=late,
        calendars=len(change.calendars),
        partly=partly,
        hidden=sum((row.entity, row.record_id) not in visible for row in rows),
        rows=tuple(row for row in rows if (row.entity, row.record_id) in visible),
    )


async def _durations(uow: UnitOfWork, change: Change) -> tuple[list[MovedDeadline], bool]:
    """The clocks of working time that move, as far as they are counted."""
    found: list[MovedDeadline] = []
    if change.since is None:
        return found, False
    after, looked = UUID(int=0), 0
    while looked < MOST_COUNTED:
        pages: dict[str, Any] = {"calendars": list(change.calendars), "since": change.since, "limit": _PAGE}
        rows = (await uow.execute(sql.FIND_DURATIONS, {**pages, "after": after})).all()
        if not rows:
            return found, False
        after, looked = rows[-1].id, looked + len(rows)
        for row in rows:
            new = new_due(row, change.calendars[row.counts_by][1])
            if new != row.due_at:
                found.append(MovedDeadline(row.record_entity, row.record_id, row.label, row.due_at, new))
    return found, True


async def _visible(uow: UnitOfWork, rows: list[MovedDeadline]) -> set[tuple[str, UUID]]:
    """Those of the records that the reader may see."""
    visible: set[tuple[str, UUID]] = set()
    for entity in {row.entity for row in rows}:
        table = uow.table(entity)
        ids = [row.record_id for row in rows if row.entity == entity]
        seen = await uow.execute(scope(select(table.c.id).where(table.c.id.in_(ids)), uow, "read", entity))
        visible |= {(entity, id_) for id_ in seen.scalars()}
    return visible
