"""The structure of a version for pages and the API: its head, and its stages and processes from top to bottom."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.workflow.states import ProcessKind

READ_HEAD = text(
    """
SELECT v.id, v.number, v.state, v.row_version, v.notes, v.digest, v.published_at, u.name AS published_by,
       w.id AS workflow_id, w.code, w.label, w.calendar_id, a.code AS application, c.label AS calendar,
       (SELECT count(*) FROM process_dependency d WHERE d.version_id = v.id) AS dependencies
FROM workflow_version v
JOIN workflow w ON w.id = v.workflow_id
JOIN application a ON a.id = w.application_id
JOIN calendar c ON c.id = w.calendar_id
LEFT JOIN app_user u ON u.id = v.published_by_id
WHERE (w.code = :code AND v.number = :number) OR v.id = :id
"""
)
READ_STAGES = text(
    """
SELECT id, parent_id, code, label, nlevel(path) - 1 AS depth, row_version
FROM stage WHERE version_id = :id ORDER BY rank, id
"""
)
READ_PROCESSES = text(
    "SELECT id, stage_id, code, label, kind, row_version FROM process WHERE version_id = :id ORDER BY rank, id"
)


@dataclass(frozen=True, slots=True)
class VersionHead:
    id: UUID
    number: int
    state: str
    row_version: int
    notes: str | None
    digest: str | None
    published_at: datetime | None
    published_by: str | None
    workflow_id: UUID
    code: str
    label: str
    calendar_id: UUID
    application: str
    calendar: str
    dependencies: int

    @property
    def is_draft(self) -> bool:
        return self.state == "draft"


@dataclass(frozen=True, slots=True)
class StageLine:
    """`number` counts as people do: 4.2 is the second stage of the fourth."""

    id: UUID
    parent_id: UUID | None
    code: str
    label: str
    depth: int
    row_version: int
    number: str
    processes: tuple["ProcessLine", ...]


@dataclass(frozen=True, slots=True)
class ProcessLine:
    id: UUID
    stage_id: UUID
    code: str
    label: str
    kind: ProcessKind
    row_version: int
    number: str


@dataclass(frozen=True, slots=True)
class Structure:
    """Stages from top to bottom; a stage's own processes come before its sub-stages."""

    stages: tuple[StageLine, ...]

    def processes(self) -> Iterator[ProcessLine]:
        for stage in self.stages:
            yield from stage.processes

    def stage(self, code: str | None) -> StageLine | None:
        return next((stage for stage in self.stages if stage.code == code), None)

    def process(self, code: str | None) -> ProcessLine | None:
        return next((process for process in self.processes() if process.code == code), None)


async def version_head(
    uow: UnitOfWork, *, code: str | None = None, number: int | None = None, version_id: UUID | None = None
) -> VersionHead:
    """A version by the code of its workflow and its number, or by its id. Raises NotFound."""
    authorize(uow, "read", "workflow_version")
    row = (await uow.execute(READ_HEAD, {"code": code, "number": number, "id": version_id})).mappings().first()
    if row is None:
        raise NotFound("There is no such workflow version.")
    return VersionHead(**row)


async def structure(uow: UnitOfWork, *, version_id: UUID) -> Structure:
    """Stages and processes of a version, in two statements."""
    authorize(uow, "read", "workflow_version")
    stages = (await uow.execute(READ_STAGES, {"id": version_id})).all()
    work: defaultdict[UUID, list[Row[Any]]] = defaultdict(list)
    for row in await uow.execute(READ_PROCESSES, {"id": version_id}):
        work[row.stage_id].append(row)
    numbers: dict[UUID | None, str] = {None: ""}
    counts: dict[UUID | None, int] = {}
    lines = []
    for stage in stages:
        number = numbers[stage.id] = _next(numbers.get(stage.parent_id, ""), counts, stage.parent_id)
        processes = tuple(
            ProcessLine(
                id=row.id,
                stage_id=stage.id,
                code=row.code,
                label=row.label,
                kind=ProcessKind(row.kind),
                row_version=row.row_version,
                number=_next(number, counts, stage.id),
            )
            for row in work[stage.id]
        )
        lines.append(
            StageLine(
                id=stage.id,
                parent_id=stage.parent_id,
                code=stage.code,
                label=stage.label,
                depth=stage.depth,
                row_version=stage.row_version,
                number=number,
                processes=processes,
            )
        )
    return Structure(tuple(lines))


def _next(above: str, counts: dict[UUID | None, int], owner: UUID | None) -> str:
    counts[owner] = counts.get(owner, 0) + 1
    return f"{above}.{counts[owner]}".removeprefix(".")
