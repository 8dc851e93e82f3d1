"""Drafts of calendar versions: begun from the version in force, filled by imports and by hand, or composed of others.

Only a draft changes. While a second person looks through it, it stands still; sent back, it is a draft again.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, text

from app.core.errors import Conflict, FieldProblem, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.calendars.calendars import Combination, Window
from app.domain.calendars.contents import SpecialDay
from app.domain.calendars.draft_rows import (
    NUMBER_DAYS,
    VERSION,
    check_days,
    insert_days,
    locked_draft,
    locked_own_hours,
    locked_version,
    note_change,
    record,
    stamp,
)
from app.domain.calendars.holiday_import import holidays_for
from app.domain.calendars.store import DRAFT, EARLY_CLOSE, HOLIDAY, IN_REVIEW, LATE_OPEN, PUBLISHED, SPECIAL_HOURS
from app.domain.calendars.week_text import week_json
from models.base import uuid7

CALENDAR = "calendar"
WEEKDAYS_NINE_TO_SIX: Mapping[str, Any] = {str(weekday): [["09:00", "18:00"]] for weekday in range(5)}
MOST_PARTS = 12
MOST_YEARS = 50
NOTES_LENGTH = 2_000

_COPY_DAYS = text("""
INSERT INTO calendar_day (id, parent_id, position, day, label, kind, opens_at, closes_at, row_version, created_at,
                          created_by, updated_at, updated_by)
SELECT uuidv7(), :to, position, day, label, kind, opens_at, closes_at, 1, :at, :by, :at, :by
FROM calendar_day WHERE parent_id = :from
""")
_COPY_PARTS = text("""
INSERT INTO calendar_part (id, parent_id, position, calendar_id, row_version, created_at, created_by, updated_at,
                           updated_by)
SELECT uuidv7(), :to, position, calendar_id, 1, :at, :by, :at, :by FROM calendar_part WHERE parent_id = :from
""")


# -- begun -------------------------------------------------------------------------------------------------------------


async def new_draft(uow: UnitOfWork, *, calendar_id: UUID, notes: str = "") -> UUID:
    """Begin a draft that says what the version in force says. Returns its id.

    Raises:
        NotFound: there is no such calendar.
        Conflict: there is a draft already; two at once would overwrite each other.
    """
    decision = authorize(uow, "create", VERSION)
    await _locked_calendar(uow, CALENDAR, id=calendar_id)
    versions = uow.table(VERSION)
    open_one = select(versions.c.number).where(
        versions.c.calendar_id == calendar_id, versions.c.state.in_((DRAFT, IN_REVIEW))
    )
    number = await uow.scalar(open_one.limit(1))
    if number is not None:
        raise Conflict(f"Version {number} is not published yet: go on with that, or discard it first.")
    version_id = await _begin(uow, calendar_id, notes)
    record(uow, decision, version_id, "calendar_version.new_draft", after={"notes": notes or None})
    uow.touch(f"{CALENDAR}:{calendar_id}")
    return version_id


async def import_holidays(
    uow: UnitOfWork, *, calendar_code: str, years: Iterable[int], source: str = "", notes: str = ""
) -> UUID:
    """Make a new draft whose holidays of `years` come from `source` (by default the list named like the calendar).

    Windows, other days and the holidays of other years are those of the version in force. Returns the draft's id.

    Raises:
        HolidaysUnavailable: the source or one of the years is not known.
        NotFound: there is no such calendar.
        Conflict: the calendar is composed of others and has no holidays of its own.
    """
    decision = authorize(uow, "create", VERSION)
    wanted = _years(years)
    found = holidays_for(source or calendar_code, wanted)
    # The lock makes concurrent imports take different numbers.
    calendar_id = await _locked_calendar(uow, CALENDAR, code=calendar_code)
    version_id = await _begin(uow, calendar_id, notes or f"{source or calendar_code} holidays of {_spoken(wanted)}")
    draft = await locked_version(uow, version_id)
    if draft.composition is not None:
        raise Conflict("The calendar is composed of others: import the holidays into those.")
    await _take_holidays(uow, version_id, found, wanted)
    after = {"calendar": calendar_code, "source": source or calendar_code, "years": wanted, "holidays": len(found)}
    record(uow, decision, version_id, "calendar_version.import_holidays", after=after)
    uow.touch(f"{CALENDAR}:{calendar_id}")
    return version_id


async def import_into(
    uow: UnitOfWork, *, version_id: UUID, source: str, years: Iterable[int], expected_version: int | None = None
) -> int:
    """Replace the holidays of `years` in a draft by those of `source`; returns how many there are.

    Raises:
        HolidaysUnavailable: the source or one of the years is not known.
        Conflict, StaleVersion: see `locked_draft`.
    """
    decision = authorize(uow, "update", VERSION)
    wanted = _years(years)
    found = holidays_for(source, wanted)
    await locked_own_hours(uow, version_id, expected_version)
    await _take_holidays(uow, version_id, found, wanted)
    after = {"source": source, "years": wanted, "holidays": len(found)}
    await note_change(uow, decision, version_id, "calendar_version.import_holidays", after=after)
    return len(found)


def _years(years: Iterable[int]) -> list[int]:
    wanted = sorted(set(years))
    if not wanted:
        raise ValidationFailed([FieldProblem("years", "name at least one year")])
    if len(wanted) > MOST_YEARS:
        raise ValidationFailed([FieldProblem("years", f"at most {MOST_YEARS} years at once")])
    return wanted


def _spoken(years: list[int]) -> str:
    whole = years == list(range(years[0], years[-1] + 1))
    return f"{years[0]} to {years[-1]}" if whole and len(years) > 1 else ", ".join(map(str, years))


async def _locked_calendar(uow: UnitOfWork, entity: str, **named: Any) -> UUID:
    calendar = uow.table(entity)
    ((column, value),) = named.items()
    statement = select(calendar.c.id).where(calendar.c[column] == value).with_for_update(key_share=True)
    found: UUID | None = await uow.scalar(statement)
    if found is None:
        raise NotFound(f"There is no calendar {value}." if column == "code" else "There is no such calendar.")
    return found


async def _begin(uow: UnitOfWork, calendar_id: UUID, notes: str) -> UUID:
    """A draft with what the version in force says, numbered after every other. The calendar's row is locked."""
    if len(notes) > NOTES_LENGTH:
        raise ValidationFailed([FieldProblem("notes", f"At most {NOTES_LENGTH} characters.", "too_long")])
    versions = uow.table(VERSION)
    mine = select(versions).where(versions.c.calendar_id == calendar_id).order_by(versions.c.number.desc())
    latest = (await uow.execute(mine)).all()
    in_force = next((row for row in latest if row.state == PUBLISHED), None)
    version_id = uuid7()
    await uow.execute(
        insert(versions).values(
            id=version_id,
            calendar_id=calendar_id,
            number=latest[0].number + 1 if latest else 1,
            state=DRAFT,
            weekly_windows=in_force.weekly_windows if in_force else WEEKDAYS_NINE_TO_SIX,
            composition=in_force.composition if in_force else None,
            notes=notes or None,
            **stamp(uow),
        )
    )
    if in_force is not None:
        values = {"from": in_force.id, "to": version_id, "by": uow.actor.id, "at": uow.now}
        await uow.execute(_COPY_DAYS, values)
        await uow.execute(_COPY_PARTS, values)
    uow.touch(f"entity:{VERSION}")
    return version_id


async def _take_holidays(uow: UnitOfWork, version_id: UUID, found: list[tuple[date, str]], years: list[int]) -> None:
    """Replace the holidays of these years; whatever else stands on a day that is a holiday now goes."""
    days = uow.table("calendar_day")
    of_years = select(days.c.id, days.c.day, days.c.kind).where(days.c.parent_id == version_id)
    holidays = {day for day, _ in found}
    gone = [
        row.id
        for row in await uow.execute(of_years)
        if (row.kind == HOLIDAY and row.day.year in years) or row.day in holidays
    ]
    if gone:
        await uow.execute(delete(days).where(days.c.id.in_(gone)))
    await insert_days(uow, version_id, [{"day": day, "label": label, "kind": HOLIDAY} for day, label in found])


# -- changed -----------------------------------------------------------------------------------------------------------


async def set_week(
    uow: UnitOfWork,
    *,
    version_id: UUID,
    week: Mapping[int, tuple[Window, ...]],
    notes: str | None = None,
    expected_version: int | None = None,
) -> None:
    """Give the draft these working windows by weekday (Monday is 0), and a note where one is given."""
    decision = authorize(uow, "update", VERSION)
    draft = await locked_own_hours(uow, version_id, expected_version)
    if notes is not None and len(notes) > NOTES_LENGTH:
        raise ValidationFailed([FieldProblem("notes", f"At most {NOTES_LENGTH} characters.", "too_long")])
    windows = week_json(week)
    values: dict[str, Any] = {"weekly_windows": windows}
    if notes is not None:
        values["notes"] = notes or None
    before = {name: getattr(draft, name) for name in values}
    await note_change(uow, decision, version_id, "calendar_version.set_week", before=before, values=values)


async def add_days(
    uow: UnitOfWork,
    *,
    version_id: UUID,
    first: date,
    last: date | None = None,
    kind: str,
    label: str,
    opens_at: time | None = None,
    closes_at: time | None = None,
    expected_version: int | None = None,
) -> int:
    """Enter every date from `first` to `last`; what stood on one of them before is replaced. Returns their number.

    Raises:
        ValidationFailed: dates, kind and times do not fit together.
    """
    decision = authorize(uow, "update", VERSION)
    last = last or first
    check_days(first, last, SpecialDay(first, kind, label.strip(), opens_at, closes_at))
    await locked_own_hours(uow, version_id, expected_version)
    days = uow.table("calendar_day")
    dates = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    await uow.execute(delete(days).where(days.c.parent_id == version_id, days.c.day.in_(dates)))
    opens = opens_at if kind in (LATE_OPEN, SPECIAL_HOURS) else None
    closes = closes_at if kind in (EARLY_CLOSE, SPECIAL_HOURS) else None
    said = {"label": label.strip(), "kind": kind, "opens_at": opens, "closes_at": closes}
    await insert_days(uow, version_id, [{"day": day, **said} for day in dates])
    after = {"first": first, "last": last, **said}
    await note_change(uow, decision, version_id, "calendar_version.add_days", after=after)
    return len(dates)


async def remove_days(
    uow: UnitOfWork, *, version_id: UUID, days: Sequence[date], expected_version: int | None = None
) -> int:
    """Take these dates out, so that each is worked like its weekday. Returns how many were there."""
    decision = authorize(uow, "update", VERSION)
    await locked_own_hours(uow, version_id, expected_version)
    table = uow.table("calendar_day")
    gone = (
        delete(table)
        .where(table.c.parent_id == version_id, table.c.day.in_(list(days)))
        .returning(table.c.day, table.c.label)
    )
    removed = (await uow.execute(gone)).all()
    if removed:
        await uow.execute(NUMBER_DAYS, {"version": version_id})
        before = {"days": {f"{row.day}": row.label for row in removed}}
        await note_change(uow, decision, version_id, "calendar_version.remove_days", before=before)
    return len(removed)


async def compose(
    uow: UnitOfWork,
    *,
    version_id: UUID,
    composition: Combination | None,
    parts: Sequence[UUID] = (),
    expected_version: int | None = None,
) -> None:
    """Make the draft of all or any of these calendars, or (None) give it hours and holidays of its own again.

    Hours and days that it had are kept, without effect, for the case that it is taken apart again.

    Raises:
        ValidationFailed: no calendar is named, or the calendar itself, or one that is not there.
    """
    decision = authorize(uow, "update", VERSION)
    draft = await locked_draft(uow, version_id, expected_version)
    named = list(dict.fromkeys(parts)) if composition is not None else []
    problem = ""
    if composition is not None and not named:
        problem = "Choose at least one calendar."
    elif len(named) > MOST_PARTS:
        problem = f"Choose at most {MOST_PARTS} calendars."
    elif draft.calendar_id in named:
        problem = "A calendar cannot be made of itself."
    calendars = uow.table(CALENDAR)
    there = await uow.execute(select(calendars.c.id, calendars.c.code).where(calendars.c.id.in_(named)))
    codes: dict[UUID, str] = {row.id: row.code for row in there}
    if not problem and len(codes) < len(named):
        problem = "One of the calendars does not exist."
    if problem:
        raise ValidationFailed([FieldProblem("parts", problem)])
    table = uow.table("calendar_part")
    await uow.execute(delete(table).where(table.c.parent_id == version_id))
    if named:
        rows = [
            {"id": uuid7(), "parent_id": version_id, "position": place, "calendar_id": part, **stamp(uow)}
            for place, part in enumerate(named)
        ]
        await uow.execute(insert(table), rows)
    values = {"composition": composition.value if composition else None}
    await note_change(
        uow,
        decision,
        version_id,
        "calendar_version.compose",
        before={"composition": draft.composition},
        values=values,
        after={**values, "parts": [codes[part] for part in named]},
    )
