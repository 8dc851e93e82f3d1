"""Calendars in the database, read: the version in force, or any version, as a `Calendar`.

The highest published number is in force. Every look-up reads which one that is, so no process can use an old one; only
the calendar object is kept between look-ups, because what it was built from never changes once it is published. A
composed calendar is put together at every look-up from the versions of its parts that are in force then.
"""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import date, time
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.calendars.calendars import Calendar, Combination, CombinedCalendar, Window, WorkingCalendar
from app.domain.calendars.errors import InvalidCalendar

DRAFT, IN_REVIEW, PUBLISHED = "draft", "in_review", "published"
HOLIDAY, EARLY_CLOSE, LATE_OPEN, SPECIAL_HOURS = "holiday", "early_close", "late_open", "special_hours"
MOST_KEPT = 500
DEEPEST = 8

_Key = tuple[UUID, int]
_kept: OrderedDict[_Key, WorkingCalendar] = OrderedDict()
# Composed calendars by version and by the very objects of their parts, which each holds on to.
_composed: OrderedDict[tuple[_Key, tuple[int, ...]], CombinedCalendar] = OrderedDict()

_COLUMNS = (
    "c.id AS calendar_id, c.code, c.zone, v.id, v.number, v.row_version, v.state, v.weekly_windows, v.composition"
)
_IN_FORCE = f"""
SELECT {_COLUMNS}
FROM calendar c
JOIN calendar_version v ON v.calendar_id = c.id AND v.state = 'published'
WHERE {{}}
ORDER BY v.number DESC
LIMIT 1
"""
_BY_CODE = text(_IN_FORCE.format("c.code = :wanted"))
_BY_ID = text(_IN_FORCE.format("c.id = :wanted"))
_ANY_VERSION = text(f"""
SELECT {_COLUMNS}
FROM calendar c
JOIN calendar_version v ON v.calendar_id = c.id
WHERE v.id = :wanted
""")
_PARTS = text("""
SELECT p.calendar_id, c.code FROM calendar_part p JOIN calendar c ON c.id = p.calendar_id
WHERE p.parent_id = :version ORDER BY p.position, c.code
""")
# Every calendar whose version in force is composed of one of these, however deep.
_BUILT_ON = text("""
WITH RECURSIVE in_force AS (
    SELECT DISTINCT ON (calendar_id) calendar_id, id, composition FROM calendar_version
    WHERE state = 'published' ORDER BY calendar_id, number DESC
), above AS (
    SELECT CAST(:calendar AS uuid) AS calendar_id
    UNION
    SELECT f.calendar_id FROM above a
    JOIN calendar_part p ON p.calendar_id = a.calendar_id
    JOIN in_force f ON f.id = p.parent_id AND f.composition IS NOT NULL
)
SELECT calendar_id FROM above
""")


async def calendar_in_force(uow: UnitOfWork, code: str) -> Calendar:
    """Load the published version in force of the calendar with this code.

    Raises:
        NotFound: there is no such calendar, or none of its versions is published.
        InvalidCalendar: it is composed of itself.
    """
    row = (await uow.execute(_BY_CODE, {"wanted": code})).one_or_none()
    if row is None:
        raise NotFound(f"Calendar {code} does not exist or has no published version: publish one first.")
    return await _calendar(uow, row)


async def calendar_of_id(
    uow: UnitOfWork, calendar_id: UUID, *, instead: Mapping[UUID, UUID | None] | None = None
) -> Calendar:
    """Load the published version in force of the calendar with this id.

    `instead` names, by calendar, a version to take in place of the one in force, also inside a composed calendar.

    Raises:
        NotFound: there is no such calendar, or none of its versions is published.
        InvalidCalendar: it is composed of itself.
    """
    return await _of_id(uow, calendar_id, instead or {}, ())


async def _of_id(
    uow: UnitOfWork, calendar_id: UUID, instead: Mapping[UUID, UUID | None], inside: tuple[str, ...]
) -> Calendar:
    version = instead.get(calendar_id)
    if version is not None:
        row = (await uow.execute(_ANY_VERSION, {"wanted": version})).one_or_none()
    else:
        row = (await uow.execute(_BY_ID, {"wanted": calendar_id})).one_or_none()
    if row is None or (version is None and calendar_id in instead):
        raise NotFound("The calendar does not exist or has no published version: publish one first.")
    return await _calendar(uow, row, instead, inside)


async def calendar_of_version(uow: UnitOfWork, version_id: UUID) -> Calendar:
    """Load one version, draft or published: for previews and for what an old deadline was computed from."""
    row = (await uow.execute(_ANY_VERSION, {"wanted": version_id})).one_or_none()
    if row is None:
        raise NotFound("There is no such calendar version.")
    return await _calendar(uow, row)


async def calendars_built_on(uow: UnitOfWork, calendar_id: UUID) -> set[UUID]:
    """The calendar and all that are composed of it, directly or not: whom a change of it concerns."""
    return set((await uow.execute(_BUILT_ON, {"calendar": calendar_id})).scalars())


async def _calendar(
    uow: UnitOfWork, row: Row[Any], instead: Mapping[UUID, UUID | None] | None = None, inside: tuple[str, ...] = ()
) -> Calendar:
    """The row's calendar; a published one is built once. Code and zone are the calendar's own, so they are compared."""
    if row.composition is not None:
        return await _composed_calendar(uow, row, instead or {}, inside)
    key = (row.id, row.row_version)
    kept = _kept.get(key)
    if kept is not None and (kept.code, kept.zone) == (row.code, row.zone):
        _kept.move_to_end(key)
        return kept
    built = await _own_calendar(uow, row)
    if row.state == PUBLISHED:
        _kept[key] = built
        if len(_kept) > MOST_KEPT:
            _kept.popitem(last=False)
    return built


async def _own_calendar(uow: UnitOfWork, row: Row[Any]) -> WorkingCalendar:
    days = uow.table("calendar_day")
    columns = (days.c.day, days.c.kind, days.c.opens_at, days.c.closes_at)
    listed = (await uow.execute(select(*columns).where(days.c.parent_id == row.id))).all()
    closed: set[date] = set()
    early: dict[date, time] = {}
    late: dict[date, time] = {}
    special: dict[date, Window] = {}
    for day in listed:
        match day.kind:
            case "early_close":
                early[day.day] = day.closes_at
            case "late_open":
                late[day.day] = day.opens_at
            case "special_hours":
                special[day.day] = Window(day.opens_at, day.closes_at)
            case _:
                closed.add(day.day)
    return WorkingCalendar(
        code=row.code,
        version=row.number,
        zone=row.zone,
        week=week_from_json(row.code, row.weekly_windows),
        holidays=frozenset(closed),
        early_closes=early,
        late_opens=late,
        special_hours=special,
    )


async def _composed_calendar(
    uow: UnitOfWork, row: Row[Any], instead: Mapping[UUID, UUID | None], inside: tuple[str, ...]
) -> CombinedCalendar:
    """The calendars that it names, each in its version in force, as one."""
    if row.code in inside:
        raise InvalidCalendar(f"Calendar {row.code} is composed of itself: {' of '.join((*inside, row.code))}.")
    if len(inside) >= DEEPEST:
        raise InvalidCalendar(
            f"Calendar {inside[0]} is composed of calendars more than {DEEPEST} deep: make it flatter."
        )
    named = (await uow.execute(_PARTS, {"version": row.id})).all()
    if not named:
        raise InvalidCalendar(f"Calendar {row.code} is composed of nothing: name the calendars that it is made of.")
    parts = []
    for part in named:
        try:
            parts.append(await _of_id(uow, part.calendar_id, instead, (*inside, row.code)))
        except NotFound as error:
            raise InvalidCalendar(
                f"Calendar {row.code} is made of {part.code}, which has no published version: publish that first."
            ) from error
    key = (row.id, row.row_version), tuple(id(part) for part in parts)
    kept = _composed.get(key)
    if kept is not None and (kept.code, kept.zone) == (row.code, row.zone):
        _composed.move_to_end(key)
        return kept
    built = CombinedCalendar(
        parts=tuple(parts), combination=Combination(row.composition), name=row.code, place=row.zone, version=row.number
    )
    if row.state == PUBLISHED:
        _composed[key] = built
        if len(_composed) > MOST_KEPT:
            _composed.popitem(last=False)
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
