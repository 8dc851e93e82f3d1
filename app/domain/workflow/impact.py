"""What a publication would change for whom, shown before it happens; and the publication of exactly what was shown."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import text

from app.core.errors import NotFound, StaleVersion
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.calendars.calendars import Roll
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.errors import SlaError
from app.domain.calendars.store import calendar_of_id
from app.domain.workflow.comparing import VersionDiff, compare, summary
from app.domain.workflow.definition_reading import read_definition
from app.domain.workflow.definitions import WorkflowDefinition
from app.domain.workflow.publishing import definition_digest, publish

READ_VERSIONS = text(
    """
SELECT v.id, v.number, v.state, v.notes, v.published_at, u.name AS published_by, v.created_at, v.row_version,
       (SELECT count(*) FROM process p WHERE p.version_id = v.id) AS processes,
       (SELECT count(*) FROM workflow_run r WHERE r.version_id = v.id) AS runs,
       (SELECT count(*) FROM workflow_run r WHERE r.version_id = v.id AND r.state IN ('active', 'on_hold')) AS open_runs
FROM workflow_version v LEFT JOIN app_user u ON u.id = v.published_by_id
WHERE v.workflow_id = :workflow_id ORDER BY v.number DESC
"""
)
FIND_VERSION = text(
    "SELECT workflow_id, number, state FROM workflow_version WHERE id = :id",
)
# Roles that nobody who can sign in holds now, in the workflow's application or in one that reaches it.
UNHELD_ROLES = text(
    """
SELECT code FROM unnest(CAST(:roles AS text[])) AS named (code)
WHERE NOT EXISTS (
    SELECT FROM role_grant g
    JOIN role r ON r.id = g.role_id
    JOIN application a ON a.id = g.application_id
    JOIN app_user u ON u.id = g.user_id AND u.active
    WHERE r.code = named.code AND a.code IN (:application, 'PLATFORM') AND g.revoked_at IS NULL
      AND g.valid_from <= :now AND (g.valid_until IS NULL OR g.valid_until > :now))
ORDER BY code
"""
)
DAYS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class VersionSummary:
    """A version of a workflow with how many runs were made from it and how many of them are in progress."""

    id: UUID
    number: int
    state: str
    notes: str | None
    published_at: datetime | None
    published_by: str | None
    created_at: datetime
    row_version: int
    processes: int
    runs: int
    open_runs: int


@dataclass(frozen=True, slots=True)
class Impact:
    """`staying`: versions with runs in progress, which end on them. `unheld_roles`: nobody would get that work."""

    version_id: UUID
    number: int
    digest: str
    published: VersionSummary | None
    staying: tuple[VersionSummary, ...]
    diff: VersionDiff
    unheld_roles: tuple[str, ...]

    @property
    def text(self) -> str:
        return summary(self.diff) if self.published is not None else "The first version."


async def versions_of(uow: UnitOfWork, *, workflow_id: UUID) -> list[VersionSummary]:
    """Every version of a workflow, the newest first."""
    authorize(uow, "read", "workflow_version")
    rows = await uow.execute(READ_VERSIONS, {"workflow_id": workflow_id})
    return [VersionSummary(**row) for row in rows.mappings()]


async def impact(uow: UnitOfWork, *, version_id: UUID) -> Impact:
    """What publishing this version would change. Raises NotFound."""
    authorize(uow, "read", "workflow_version")
    found = (await uow.execute(FIND_VERSION, {"id": version_id})).first()
    if found is None:
        raise NotFound("There is no such workflow version.")
    versions = await versions_of(uow, workflow_id=found.workflow_id)
    published = next((v for v in versions if v.state == "published"), None)
    definition = await read_definition(uow, version_id)
    before = await read_definition(uow, published.id) if published else definition
    roles = sorted(set(_roles(definition)))
    values = {"roles": roles, "application": definition.application, "now": uow.now}
    unheld = (await uow.execute(UNHELD_ROLES, values)).scalars() if roles else ()
    return Impact(
        version_id=version_id,
        number=found.number,
        digest=definition_digest(definition),
        published=published,
        staying=tuple(v for v in versions if v.open_runs),
        diff=compare(before, definition),
        unheld_roles=tuple(unheld),
    )


async def compare_versions(uow: UnitOfWork, *, before: UUID, after: UUID) -> VersionDiff:
    """What differs between any two versions. Raises NotFound."""
    authorize(uow, "read", "workflow_version")
    return compare(await read_definition(uow, before), await read_definition(uow, after))


async def publish_seen(uow: UnitOfWork, *, version_id: UUID, seen_digest: str, reason: str | None = None) -> str:
    """Publish a draft as its publisher has seen it; the notes say why, and what differs from the version before.

    Raises:
        StaleVersion: the draft has changed since.
        Conflict, ValidationFailed: as `publishing.publish`.
    """
    authorize(uow, "configure", "workflow_version")
    effect = await impact(uow, version_id=version_id)
    _require_same(effect.digest, seen_digest)
    notes = "\n\n".join(part for part in ((reason or "").strip(), effect.text) if part)
    digest = await publish(uow, version_id=version_id, notes=notes)
    _require_same(digest, seen_digest)  # publishing has locked the draft and read it again
    return digest


def _require_same(digest: str, seen: str) -> None:
    if digest != seen:
        message = "The draft has changed since you looked at it. Look at what would be published now, then publish."
        raise StaleVersion(message, context={"digest": digest})


@dataclass(frozen=True, slots=True)
class DueDay:
    business_date: date
    due_at: datetime


async def next_dates(uow: UnitOfWork, *, calendar_id: UUID, formula: str, days: int = DAYS_SHOWN) -> list[DueDay]:
    """When a deadline falls on the next working days; nothing where the formula or the calendar cannot say."""
    try:
        parsed = parse_deadline(formula)
        calendar = await calendar_of_id(uow, calendar_id)
        day = calendar.roll(uow.now.date(), Roll.FOLLOWING)
        found = []
        for _ in range(days):
            found.append(DueDay(day, parsed.resolve(day, calendar)))
            day = calendar.next_working_day(day)
    except (SlaError, NotFound):
        return []
    return found


def _roles(definition: WorkflowDefinition) -> Iterable[str]:
    for process, _ in definition.processes():
        named = [process.owner_role, *(getattr(level, "role", None) for level in process.approval_levels)]
        yield from (role for role in named if role)
