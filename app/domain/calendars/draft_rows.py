"""The rows of a draft of a calendar version: locked before a change, written, and every change of them recorded."""

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, text, update

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, NotFound, StaleVersion, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision
from app.domain.calendars.calendar_index import FIRST_YEAR, LAST_YEAR
from app.domain.calendars.calendars import MIDNIGHT
from app.domain.calendars.contents import SpecialDay
from app.domain.calendars.store import DRAFT, EARLY_CLOSE, HOLIDAY, LATE_OPEN, PUBLISHED, SPECIAL_HOURS
from models.base import uuid7

VERSION = "calendar_version"
KINDS = (HOLIDAY, EARLY_CLOSE, LATE_OPEN, SPECIAL_HOURS)
MOST_DAYS_AT_ONCE = 366
MOST_DAYS = 5_000
LABEL_LENGTH = 200

NUMBER_DAYS = text("""
UPDATE calendar_day SET position = ordered.place
FROM (SELECT id, row_number() OVER (ORDER BY day) - 1 AS place FROM calendar_day WHERE parent_id = :version) ordered
WHERE calendar_day.id = ordered.id
""")


def check_days(first: date, last: date, said: SpecialDay) -> None:
    kind, label, opens, closes = said.kind, said.label, said.opens_at, said.closes_at
    problems = []
    if not FIRST_YEAR < first.year < LAST_YEAR:
        problems.append(FieldProblem("first", f"Calendars cover the years {FIRST_YEAR + 1} to {LAST_YEAR - 1}."))
    if last < first:
        problems.append(FieldProblem("last", "The last day is before the first."))
    elif (last - first).days >= MOST_DAYS_AT_ONCE:
        problems.append(FieldProblem("last", f"At most {MOST_DAYS_AT_ONCE} days at once."))
    if kind not in KINDS:
        problems.append(FieldProblem("kind", f"Choose one of {', '.join(KINDS)}."))
    if not label or len(label) > LABEL_LENGTH:
        problems.append(FieldProblem("label", f"Name the day, in at most {LABEL_LENGTH} characters."))
    for name, at in (("opens_at", opens), ("closes_at", closes)):
        if at is not None and at.tzinfo is not None:
            problems.append(FieldProblem(name, "Leave the zone out: the calendar has one."))
    if problems:
        raise ValidationFailed(problems)
    if kind in (LATE_OPEN, SPECIAL_HOURS) and opens is None:
        problems.append(FieldProblem("opens_at", "Enter the time at which work begins."))
    if kind in (EARLY_CLOSE, SPECIAL_HOURS) and closes is None:
        problems.append(FieldProblem("closes_at", "Enter the time at which work ends."))
    if kind == SPECIAL_HOURS and opens is not None and closes not in (None, MIDNIGHT) and closes <= opens:
        problems.append(FieldProblem("closes_at", "Work ends before it begins: let it end later."))
    if problems:
        raise ValidationFailed(problems)


async def insert_days(uow: UnitOfWork, version_id: UUID, given: list[dict[str, Any]]) -> None:
    days = uow.table("calendar_day")
    rows = [
        {"id": uuid7(), "parent_id": version_id, "position": place, **day, **stamp(uow)}
        for place, day in enumerate(given)
    ]
    if rows:
        await uow.execute(insert(days), rows)
    await uow.execute(NUMBER_DAYS, {"version": version_id})
    number = await uow.scalar(text("SELECT count(*) FROM calendar_day WHERE parent_id = :id"), {"id": version_id})
    if number > MOST_DAYS:
        raise ValidationFailed(
            [FieldProblem("days", f"A version lists at most {MOST_DAYS:,} days; it would be {number:,}.")]
        )


async def note_change(
    uow: UnitOfWork,
    decision: Decision,
    version_id: UUID,
    command: str,
    *,
    values: Mapping[str, Any] | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    versions = uow.table(VERSION)
    await uow.execute(
        update(versions)
        .where(versions.c.id == version_id)
        .values(
            **(values or {}),
            review_note=None,
            row_version=versions.c.row_version + 1,
            updated_at=uow.now,
            updated_by=uow.actor.id,
        )
    )
    record(uow, decision, version_id, command, before=before, after=after or values)


def record(uow: UnitOfWork, decision: Decision, version_id: UUID, command: str, **said: Any) -> None:
    uow.audit(
        AuditEntry(
            command=command,
            entity=VERSION,
            record_id=version_id,
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
            **said,
        )
    )
    uow.touch(f"entity:{VERSION}", f"{VERSION}:{version_id}")


async def locked_version(uow: UnitOfWork, version_id: UUID, expected_version: int | None = None) -> Row[Any]:
    """The row, locked. Raises NotFound, StaleVersion."""
    versions = uow.table(VERSION)
    row = (await uow.execute(select(versions).where(versions.c.id == version_id).with_for_update())).one_or_none()
    if row is None:
        raise NotFound("There is no such calendar version.")
    if row.state == PUBLISHED:
        raise Conflict(
            f"Version {row.number} is published and never changes: import holidays or copy it into a new draft instead."
        )
    if expected_version is not None and row.row_version != expected_version:
        raise StaleVersion("The draft was changed since you looked through it: load it again and review the change.")
    return row


async def locked_draft(uow: UnitOfWork, version_id: UUID, expected_version: int | None = None) -> Row[Any]:
    """The row of a version that may be changed, locked. Raises NotFound, Conflict, StaleVersion."""
    row = await locked_version(uow, version_id, expected_version)
    if row.state != DRAFT:
        raise Conflict(f"Version {row.number} is being reviewed and stands still: have it sent back to change it.")
    return row


async def locked_own_hours(uow: UnitOfWork, version_id: UUID, expected_version: int | None) -> Row[Any]:
    row = await locked_draft(uow, version_id, expected_version)
    if row.composition is not None:
        raise Conflict("The calendar is composed of others and has no hours and days of its own: change those.")
    return row


def stamp(uow: UnitOfWork) -> dict[str, Any]:
    return {
        "row_version": 1,
        "created_at": uow.now,
        "created_by": uow.actor.id,
        "updated_at": uow.now,
        "updated_by": uow.actor.id,
    }
