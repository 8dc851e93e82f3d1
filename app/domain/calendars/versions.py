"""The way of a calendar version into force: review asked, sent back or published by a second person, or discarded.

    draft     -- ask for review --> in review   from then on it stands still
    in review -- send back -------> draft       with what is to be changed
    in review -- publish ---------> published   by somebody who has not written any of it; it never changes again
    draft, in review -- discard --> gone

What the platform itself does (the demo, an installation) is published at once: there is no person behind it.
"""

from uuid import UUID

from sqlalchemy import delete, select, text, update

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, Forbidden, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.calendars.calendars import CombinedCalendar
from app.domain.calendars.draft_rows import VERSION, locked_draft, locked_version
from app.domain.calendars.errors import InvalidCalendar, OutsideCalendarRange
from app.domain.calendars.events import CalendarPublished
from app.domain.calendars.store import DRAFT, IN_REVIEW, PUBLISHED, calendar_of_id

CALENDAR_TOPIC = "calendar"
REASON_LENGTH = 2_000

# Whoever has written any of it; to look through it and send it back is not writing.
_HAS_WRITTEN = text("""
SELECT EXISTS (
    SELECT FROM calendar_version WHERE id = :id AND (created_by = :me OR submitted_by_id = :me)
    UNION ALL
    SELECT FROM audit_entry WHERE entity = 'calendar_version' AND record_id = :id
       AND (actor_id = :me OR on_behalf_of = :me) AND outcome = 'ok' AND command <> 'calendar_version.send_back')
""")
# Two calendars, each published as a part of the other at once, would make a ring that neither publication can see.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('calendar_version.publish', 0))")


async def has_written(uow: UnitOfWork, version_id: UUID) -> bool:
    """Say whether the actor has written any of the version, so that another person has to publish it."""
    people = {uow.actor.id, uow.actor.on_behalf_of} - {None}
    for person in people:
        if await uow.scalar(_HAS_WRITTEN, {"id": version_id, "me": person}):
            return True
    return False


async def ask_for_review(uow: UnitOfWork, *, version_id: UUID, expected_version: int | None = None) -> None:
    """Hand a draft to a second person.

    Raises:
        Conflict: it is no draft, or a later version is in force.
        InvalidCalendar: its windows, days or parts contradict each other.
    """
    decision = authorize(uow, "update", VERSION)
    draft = await locked_draft(uow, version_id, expected_version)
    await _check(uow, version_id, draft.calendar_id, draft.number)
    versions = uow.table(VERSION)
    values = {"state": IN_REVIEW, "submitted_at": uow.now, "review_note": None}
    values["submitted_by_id"] = None if uow.actor.is_system else uow.actor.id
    await uow.execute(
        update(versions)
        .where(versions.c.id == version_id)
        .values(**values, row_version=draft.row_version + 1, updated_at=uow.now, updated_by=uow.actor.id)
    )
    uow.audit(
        AuditEntry(
            command="calendar_version.ask_for_review",
            entity=VERSION,
            record_id=version_id,
            before={"state": DRAFT},
            after={"state": IN_REVIEW, "number": draft.number},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    uow.touch(f"entity:{VERSION}", f"{VERSION}:{version_id}", f"{CALENDAR_TOPIC}:{draft.calendar_id}")


async def send_back(uow: UnitOfWork, *, version_id: UUID, reason: str, expected_version: int | None = None) -> None:
    """Make a version that is being reviewed a draft again.

    Raises:
        ValidationFailed: the reason is missing or too long.
        Conflict: it is not being reviewed.
    """
    decision = authorize(uow, "transition:publish", VERSION)
    said = _reason(reason, "Say what has to be changed.")
    row = await locked_version(uow, version_id, expected_version)
    if row.state != IN_REVIEW:
        raise Conflict(f"Version {row.number} is a draft; nobody has asked for its review.")
    versions = uow.table(VERSION)
    await uow.execute(
        update(versions)
        .where(versions.c.id == version_id)
        .values(
            state=DRAFT,
            review_note=said,
            row_version=row.row_version + 1,
            updated_at=uow.now,
            updated_by=uow.actor.id,
        )
    )
    uow.audit(
        AuditEntry(
            command="calendar_version.send_back",
            entity=VERSION,
            record_id=version_id,
            before={"state": IN_REVIEW},
            after={"state": DRAFT},
            reason=said,
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    uow.touch(f"entity:{VERSION}", f"{VERSION}:{version_id}", f"{CALENDAR_TOPIC}:{row.calendar_id}")


async def publish_version(
    uow: UnitOfWork, *, version_id: UUID, expected_version: int | None = None, reason: str = ""
) -> None:
    """Put a reviewed version in force; open deadlines follow it. `expected_version` is what the reviewer saw.

    Raises:
        Forbidden: the actor has written some of it.
        Conflict: nobody has asked for its review, it is published already, or a later version is in force.
        InvalidCalendar: its windows, days or parts contradict each other.
        StaleVersion: it was changed after the review.
        ValidationFailed: a person gives no reason.
    """
    decision = authorize(uow, "transition:publish", VERSION)
    await uow.execute(_ONE_AT_A_TIME)
    row = await locked_version(uow, version_id, expected_version)
    said = reason.strip()
    if not uow.actor.is_system:
        if row.state != IN_REVIEW:
            raise Conflict(
                f"Version {row.number} is a draft: ask for its review, so that a second person publishes it."
            )
        if await has_written(uow, version_id):
            raise Forbidden("You have written some of this version: a second person reviews and publishes it.")
        said = _reason(reason, "Say why the calendar changes.")
    previous = await _check(uow, version_id, row.calendar_id, row.number)
    versions = uow.table(VERSION)
    await uow.execute(
        update(versions)
        .where(versions.c.id == version_id)
        .values(
            state=PUBLISHED,
            reason=said or None,
            published_at=uow.now,
            published_by_id=None if uow.actor.is_system else uow.actor.id,
            row_version=row.row_version + 1,
            updated_at=uow.now,
            updated_by=uow.actor.id,
        )
    )
    uow.audit(
        AuditEntry(
            command="calendar_version.publish",
            entity=VERSION,
            record_id=version_id,
            before={"state": row.state},
            after={"state": PUBLISHED, "number": row.number},
            reason=said or None,
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    uow.emit(
        CalendarPublished(
            at=uow.now, calendar_id=row.calendar_id, version_id=version_id, previous_id=previous, reason=said
        )
    )
    uow.touch(CALENDAR_TOPIC, f"entity:{VERSION}", f"{VERSION}:{version_id}", f"{CALENDAR_TOPIC}:{row.calendar_id}")


async def discard_draft(uow: UnitOfWork, *, version_id: UUID) -> None:
    """Delete a draft that will not be published. Raises Conflict where it is published."""
    decision = authorize(uow, "transition:discard", VERSION)
    draft = await locked_version(uow, version_id)
    for entity, column in (("calendar_day", "parent_id"), ("calendar_part", "parent_id"), (VERSION, "id")):
        table = uow.table(entity)
        await uow.execute(delete(table).where(table.c[column] == version_id))
    uow.audit(
        AuditEntry(
            command="calendar_version.discard",
            entity=VERSION,
            record_id=version_id,
            before={"state": draft.state, "number": draft.number},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    uow.touch(f"entity:{VERSION}", f"{VERSION}:{version_id}", f"{CALENDAR_TOPIC}:{draft.calendar_id}")


async def _check(uow: UnitOfWork, version_id: UUID, calendar_id: UUID, number: int) -> UUID | None:
    """Refuse what cannot come into force; return the version that it would replace."""
    versions = uow.table(VERSION)
    mine = select(versions.c.id, versions.c.number).where(
        versions.c.calendar_id == calendar_id, versions.c.state == PUBLISHED
    )
    in_force = (await uow.execute(mine.order_by(versions.c.number.desc()).limit(1))).one_or_none()
    if in_force is not None and in_force.number > number:
        raise Conflict("A later version of the calendar is in force already: import the holidays into a new draft.")
    # Reading it refuses what contradicts itself, and a calendar that is, however deep, made of itself.
    calendar = await calendar_of_id(uow, calendar_id, instead={calendar_id: version_id})
    if isinstance(calendar, CombinedCalendar):
        try:
            calendar.add_working_days(uow.now.date(), 1)
        except OutsideCalendarRange as error:
            raise InvalidCalendar(f"Calendar {calendar.code} has no day on which all its parts work.") from error
    return in_force.id if in_force is not None else None


def _reason(given: str, missing: str) -> str:
    said = given.strip()
    if not said:
        raise ValidationFailed([FieldProblem("reason", missing, "required")])
    if len(said) > REASON_LENGTH:
        raise ValidationFailed([FieldProblem("reason", f"At most {REASON_LENGTH:,} characters.", "too_long")])
    return said
