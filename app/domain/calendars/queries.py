"""Calendars for people: the list, the versions of one, its days by name, and everything that counts by it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select, text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope
from app.domain.calendars.contents import Content, SpecialDay, content_of, version_row

_LIST = text("""
SELECT c.id, c.code, c.label, c.zone, f.id AS version_id, f.number, f.composition, f.published_at, d.number AS draft,
       d.state AS draft_state,
       (SELECT min(day) FROM calendar_day WHERE parent_id = f.id AND day >= :today) AS next_day,
       (SELECT max(day) FROM calendar_day WHERE parent_id = f.id AND kind = 'holiday') AS last_holiday,
       (SELECT string_agg(pc.code, ', ' ORDER BY p.position) FROM calendar_part p
        JOIN calendar pc ON pc.id = p.calendar_id WHERE p.parent_id = f.id) AS parts
FROM calendar c
LEFT JOIN LATERAL (SELECT * FROM calendar_version v WHERE v.calendar_id = c.id AND v.state = 'published'
                   ORDER BY v.number DESC LIMIT 1) f ON true
LEFT JOIN LATERAL (SELECT * FROM calendar_version v WHERE v.calendar_id = c.id AND v.state <> 'published'
                   ORDER BY v.number DESC LIMIT 1) d ON true
ORDER BY c.code
""")
_HEAD = text("SELECT id, code, label, zone, row_version FROM calendar WHERE id = :id")
_VERSIONS = text("""
SELECT v.id, v.number, v.state, v.row_version, v.notes, v.reason, v.review_note, v.composition, v.submitted_at,
       v.published_at, v.created_at, p.name AS published_by, s.name AS submitted_by, w.name AS created_by
FROM calendar_version v
LEFT JOIN app_user p ON p.id = v.published_by_id
LEFT JOIN app_user s ON s.id = v.submitted_by_id
LEFT JOIN app_user w ON w.id = v.created_by
WHERE v.calendar_id = :id ORDER BY v.number DESC
""")
_IN_FORCE = text("""
SELECT id FROM calendar_version WHERE calendar_id = :id AND state = 'published' ORDER BY number DESC LIMIT 1
""")
_COMPOSED_OF_IT = text("""
SELECT DISTINCT c.id, c.code, c.label FROM calendar_part p
JOIN calendar_version v ON v.id = p.parent_id JOIN calendar c ON c.id = v.calendar_id
WHERE p.calendar_id = :id AND v.id = (SELECT id FROM calendar_version WHERE calendar_id = c.id AND state = 'published'
                                      ORDER BY number DESC LIMIT 1)
ORDER BY c.code
""")
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class VersionLine:
    """A version in the list of them."""

    id: UUID
    number: int
    state: str
    row_version: int
    notes: str | None
    reason: str | None
    review_note: str | None
    composition: str | None
    submitted_at: datetime | None
    published_at: datetime | None
    created_at: datetime | None
    published_by: str | None
    submitted_by: str | None
    created_by: str | None


@dataclass(frozen=True, slots=True)
class Use:
    """Something that counts by a calendar: the entity, and the records of it that the reader may see."""

    entity: str
    records: tuple[tuple[UUID, str], ...]


async def calendar_lines(uow: UnitOfWork) -> list[Mapping[Any, Any]]:
    """Every calendar with its version in force, its draft and its next special day."""
    authorize(uow, "read", "calendar")
    rows = await uow.execute(_LIST, {"today": uow.now.date()})
    return list(rows.mappings().all())


async def calendar_head(uow: UnitOfWork, calendar_id: UUID) -> Mapping[Any, Any]:
    """Code, label and zone. Raises NotFound."""
    authorize(uow, "read", "calendar")
    row = (await uow.execute(_HEAD, {"id": calendar_id})).mappings().first()
    if row is None:
        raise NotFound("There is no such calendar.")
    return row


async def versions_of(uow: UnitOfWork, calendar_id: UUID) -> list[VersionLine]:
    """The versions of a calendar, latest first."""
    rows = await uow.execute(_VERSIONS, {"id": calendar_id})
    return [VersionLine(**row) for row in rows.mappings()]


async def named_days(uow: UnitOfWork, content: Content, deep: int = 0) -> dict[date, list[tuple[str, SpecialDay]]]:
    """The special days of a version by date, each with the code of the part it comes from, empty for its own."""
    if content.composition is None:
        return {day.day: [("", day)] for day in content.days}
    found: dict[date, list[tuple[str, SpecialDay]]] = {}
    for calendar_id, code in content.parts if deep < _DEEPEST else ():
        version = await uow.scalar(_IN_FORCE, {"id": calendar_id})
        if version is None:
            continue
        part = await content_of(uow, await version_row(uow, version))
        for day, told in (await named_days(uow, part, deep + 1)).items():
            found.setdefault(day, []).extend((inner or code, special) for inner, special in told)
    return found


async def uses_of(uow: UnitOfWork, calendar_id: UUID, code: str) -> list[Use]:
    """Everything that counts by the calendar, as far as the reader may see it."""
    uses = []
    for entity, column in (("workflow", "calendar_id"), ("sla_policy", "calendar_id")):
        table = uow.table(entity)
        uses.append(await _use(uow, entity, select(table.c.id, table.c.label).where(table.c[column] == calendar_id)))
    schedules = uow.table("schedule")
    named = schedules.c.calendars.regexp_match(rf"\m{code}\M", flags="i")
    uses.append(await _use(uow, "schedule", select(schedules.c.id, schedules.c.label).where(named)))
    composed = await uow.execute(_COMPOSED_OF_IT, {"id": calendar_id})
    uses.append(Use("calendar", tuple((row.id, row.label) for row in composed)))
    return [use for use in uses if use.records]


async def _use(uow: UnitOfWork, entity: str, statement: Select[Any]) -> Use:
    table = uow.table(entity)
    rows = await uow.execute(scope(statement, uow, "read", entity).order_by(table.c.label, table.c.id).limit(100))
    return Use(entity, tuple((row.id, row.label) for row in rows))
