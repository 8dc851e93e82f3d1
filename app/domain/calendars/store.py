"""Calendars in the database, read: the version in force, or any version, as a `WorkingCalendar`.

The highest published number is in force. Every look-up reads which one that is, so no process can use an old one; only
the calendar object is kept between look-ups, because what it was built from never changes once it is published.
"""

from collections import OrderedDict
from datetime import date, time
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.calendars.calendars import Window, WorkingCalendar
from app.domain.calendars.errors import InvalidCalendar

DRAFT, PUBLISHED = "draft", "published"
HOLIDAY, EARLY_CLOSE = "holiday", "early_close"
MOST_KEPT = 500

_Key = tuple[UUID, int]
_kept: OrderedDict[_Key, WorkingCalendar] = OrderedDict()

_IN_FORCE = """
SELECT c.code, c.zone, v.id, v.number, v.row_version, v.state, v.weekly_windows
FROM calendar c
JOIN calendar_version v ON v.calendar_id = c.id AND v.state = 'published'
WHERE {}
ORDER BY v.number DESC
LIMIT 1
"""
_BY_CODE = text(_IN_FORCE.format("c.code = :wanted"))
_BY_ID = text(_IN_FORCE.format("c.id = :wanted"))
_ANY_VERSION = text("""
SELECT c.code, c.zone, v.id, v.number, v.row_version, v.state, v.weekly_windows
FROM calendar c
JOIN calendar_version v ON v.calendar_id = c.id
WHERE v.id = :wanted
""")


async def calendar_in_force(uow: UnitOfWork, code: str) -> WorkingCalendar:
    """Load the published version in force of the calendar with this code.

    Raises:
        NotFound: there is no such calendar, or none of its versions is published.
    """
    row = (await uow.execute(_BY_CODE, {"wanted": code})).one_or_none()
    if row is None:
        raise NotFound(f"Calendar {code} does not exist or has no published version: publish one first.")
    return await _calendar(uow, row)


async def calendar_of_id(uow: UnitOfWork, calendar_id: UUID) -> WorkingCalendar:
    """Load the published version in force of the calendar with this id.

    Raises:
        NotFound: there is no such calendar, or none of its versions is published.
    """
    row = (await uow.execute(_BY_ID, {"wanted": calendar_id})).one_or_none()
    if row is None:
        raise NotFound("The calendar does not exist or has no published version: publish one first.")
    return await _calendar(uow, row)


async def calendar_of_version(uow: UnitOfWork, version_id: UUID) -> WorkingCalendar:
    """Load one version, draft or published: for previews and for what an old deadline was computed from."""
    row = (await uow.execute(_ANY_VERSION, {"wanted": version_id})).one_or_none()
    if row is None:
        raise NotFound("There is no such calendar version.")
    return await _calendar(uow, row)


async def _calendar(uow: UnitOfWork, row: Row[Any]) -> WorkingCalendar:
    """The row's calendar; a published one is built once. Code and zone are the calendar's own, so they are compared."""
    key = (row.id, row.row_version)
    kept = _kept.get(key)
    if kept is not None and (kept.code, kept.zone) == (row.code, row.zone):
        _kept.move_to_end(key)
        return kept
    days = uow.table("calendar_day")
    listed = await uow.execute(select(days.c.day, days.c.kind, days.c.closes_at).where(days.c.parent_id == row.id))
    closed: set[date] = set()
    early: dict[date, time] = {}
    for day in listed:
        if day.kind == EARLY_CLOSE:
            early[day.day] = day.closes_at
        else:
            closed.add(day.day)
    built = WorkingCalendar(
        code=row.code,
        version=row.number,
        zone=row.zone,
        week=week_from_json(row.code, row.weekly_windows),
        holidays=frozenset(closed),
        early_closes=early,
    )
    if row.state != PUBLISHED:
        return built
    _kept[key] = built
    if len(_kept) > MOST_KEPT:
        _kept.popitem(last=False)
    return built


def week_from_json(code: str, given: Any) -> dict[int, tuple[Window, ...]]:
    """Read the windows per weekday, `{"0": [["09:00", "18:00"]]}`.

    Raises:
        InvalidCalendar: the shape is another one; the message shows the right one.
    """
    try:
        return {
            int(weekday): tuple(Window(time.fromisoformat(start), _end(end)) for start, end in windows)
            for weekday, windows in given.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidCalendar(
            f'The weekly windows of calendar {code} cannot be read: write {{"0": [["09:00", "18:00"]]}}, where 0 is '
            "Monday and the times are hours and minutes."
        ) from error


def _end(text_: str) -> time:
    return time(0, 0) if text_ == "24:00" else time.fromisoformat(text_)
