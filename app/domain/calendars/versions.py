"""Calendar versions, written: drafts made from imported holidays, publishing, discarding.

A version is `draft` until a person has looked through it and publishes it; from then on its content never changes.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, insert, select, text, update

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, NotFound, StaleVersion, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.calendars.holiday_import import holidays_for
from app.domain.calendars.store import DRAFT, HOLIDAY, PUBLISHED, calendar_of_version
from models.base import uuid7

CALENDAR_TOPIC = "calendar"
WEEKDAYS_NINE_TO_SIX: Mapping[str, Any] = {str(weekday): [["09:00", "18:00"]] for weekday in range(5)}


async def import_holidays(
    uow: UnitOfWork, *, calendar_code: str, years: Iterable[int], source: str = "", notes: str = ""
) -> UUID:
    """Make a new draft whose holidays of `years` come from `source` (by default the list named like the calendar).

    Windows, early closes and the holidays of other years are those of the version in force. Returns the draft's id.

    Raises:
        HolidaysUnavailable: the source or one of the years is not known.
        NotFound: there is no such calendar.
    """
    decision = authorize(uow, "create", "calendar_version")
    years = sorted(set(years))
    if not years:
        raise ValidationFailed([FieldProblem("years", "name at least one year")])
    source = source or calendar_code
    found = holidays_for(source, years)
    calendar = uow.table("calendar")
    # The lock makes concurrent imports take different numbers.
    calendar_id = await uow.scalar(
        select(calendar.c.id).where(calendar.c.code == calendar_code).with_for_update(key_share=True)
    )
    if calendar_id is None:
        raise NotFound(f"There is no calendar {calendar_code}.")
    version_id = await _new_draft(uow, calendar_id, notes or f"{source} holidays of {_spoken(years)}")
    await _add_days(uow, version_id, found, years)
    uow.audit(
        AuditEntry(
            command="calendar_version.import_holidays",
            entity="calendar_version",
            record_id=version_id,
            after={
                "calendar": calendar_code,
                "source": source,
                "years": years,
                "holidays": len(found),
            },
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    uow.touch("entity:calendar_version", f"calendar:{calendar_id}")
    return version_id


def _spoken(years: list[int]) -> str:
    whole = years == list(range(years[0], years[-1] + 1))
    return f"{years[0]} to {years[-1]}" if whole and len(years) > 1 else ", ".join(map(str, years))


async def _new_draft(uow: UnitOfWork, calendar_id: UUID, notes: str) -> UUID:
    """A draft with the windows of the version in force, numbered after every other. The calendar's row is locked."""
    versions = uow.table("calendar_version")
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
            notes=notes,
            **_stamp(uow),
        )
    )
    if in_force is not None:
        await uow.execute(_COPY_DAYS, {"from": in_force.id, "to": version_id, "by": uow.actor.id, "at": uow.now})
    return version_id


_COPY_DAYS = text("""
INSERT INTO calendar_day (id, parent_id, position, day, label, kind, closes_at, row_version, created_at, created_by,
                          updated_at, updated_by)
SELECT uuidv7(), :to, position, day, label, kind, closes_at, 1, :at, :by, :at, :by
FROM calendar_day WHERE parent_id = :from
""")


async def _add_days(uow: UnitOfWork, version_id: UUID, found: list[tuple[date, str]], years: list[int]) -> None:
    """Replace the holidays of these years; an early close on a day that is a holiday now goes."""
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
    rows = [
        {"id": uuid7(), "parent_id": version_id, "position": position, "day": day, "label": label, "kind": HOLIDAY}
        for position, (day, label) in enumerate(found)
    ]
    if rows:
        await uow.execute(insert(days), [{**row, **_stamp(uow)} for row in rows])
    await uow.execute(_NUMBER_DAYS, {"version": version_id})


_NUMBER_DAYS = text("""
UPDATE calendar_day SET position = ordered.place
FROM (SELECT id, row_number() OVER (ORDER BY day) - 1 AS place FROM calendar_day WHERE parent_id = :version) ordered
WHERE calendar_day.id = ordered.id
""")


def _stamp(uow: UnitOfWork) -> dict[str, Any]:
    return {
        "row_version": 1,
        "created_at": uow.now,
        "created_by": uow.actor.id,
        "updated_at": uow.now,
        "updated_by": uow.actor.id,
    }


async def publish_version(uow: UnitOfWork, *, version_id: UUID, expected_version: int | None = None) -> None:
    """Put a reviewed draft in force. `expected_version` is the row version that the reviewer saw.

    Raises:
        Conflict: it is published already, or a later version is in force.
        InvalidCalendar: its windows or days contradict each other.
        StaleVersion: the draft was changed after the review.
    """
    decision = authorize(uow, "transition:publish", "calendar_version")
    draft = await _locked_draft(uow, version_id)
    if expected_version is not None and draft.row_version != expected_version:
        raise StaleVersion("The draft was changed since you looked through it: load it again and review the change.")
    await calendar_of_version(uow, version_id)  # refuses what contradicts itself
    versions = uow.table("calendar_version")
    later = select(versions.c.number).where(
        versions.c.calendar_id == draft.calendar_id, versions.c.number > draft.number, versions.c.state == PUBLISHED
    )
    if await uow.scalar(later.limit(1)) is not None:
        raise Conflict("A later version of the calendar is in force already: import the holidays into a new draft.")
    await uow.execute(
        update(versions)
        .where(versions.c.id == version_id)
        .values(
            state=PUBLISHED,
            published_at=uow.now,
            published_by_id=None if uow.actor.is_system else uow.actor.id,
            row_version=draft.row_version + 1,
            updated_at=uow.now,
            updated_by=uow.actor.id,
        )
    )
    uow.audit(
        AuditEntry(
            command="calendar_version.publish",
            entity="calendar_version",
            record_id=version_id,
            before={"state": DRAFT},
            after={"state": PUBLISHED, "number": draft.number},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    uow.touch(CALENDAR_TOPIC, "entity:calendar_version", f"calendar_version:{version_id}")


async def discard_draft(uow: UnitOfWork, *, version_id: UUID) -> None:
    """Delete a draft that will not be published. Raises Conflict where it is published."""
    decision = authorize(uow, "transition:discard", "calendar_version")
    draft = await _locked_draft(uow, version_id)
    for table, column in ((uow.table("calendar_day"), "parent_id"), (uow.table("calendar_version"), "id")):
        await uow.execute(delete(table).where(table.c[column] == version_id))
    uow.audit(
        AuditEntry(
            command="calendar_version.discard",
            entity="calendar_version",
            record_id=version_id,
            before={"state": DRAFT, "number": draft.number},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    uow.touch("entity:calendar_version", f"calendar_version:{version_id}")


async def _locked_draft(uow: UnitOfWork, version_id: UUID) -> Row[Any]:
    versions = uow.table("calendar_version")
    row = (await uow.execute(select(versions).where(versions.c.id == version_id).with_for_update())).one_or_none()
    if row is None:
        raise NotFound("There is no such calendar version.")
    if row.state != DRAFT:
        raise Conflict(
            f"Version {row.number} is published and never changes: import holidays or copy it into a new draft instead."
        )
    return row
