"""A process run as the engine decides on it: its row, its run and what its definition asks for, in one statement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import TextualSelect, column, text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.workflow.states import ProcessKind, ProcessState, RunState


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """Attributes in the order of `COLUMNS`.

    `makers` and `signers` may not approve; `level_roles[0]` is level 1; `has_content`: there is something to meet or to
    sign.
    """

    id: UUID
    run_id: UUID
    process_id: UUID
    code: str
    label: str
    kind: ProcessKind
    state: ProcessState
    row_version: int
    node_id: UUID | None
    owner_role: str | None
    assignee_id: UUID | None
    maker_id: UUID | None
    makers: tuple[UUID, ...]
    signers: tuple[UUID, ...]
    waiting_on: int
    round: int
    attempt: int
    level: int
    levels: int
    earliest_start: datetime | None
    due_at: datetime | None
    ready_at: datetime | None
    started_at: datetime | None
    submitted_at: datetime | None
    finished_at: datetime | None
    state_before_hold: ProcessState | None
    review_by: datetime | None
    reason: str | None
    comment: str | None
    snapshot_hash: str | None
    application_id: UUID
    application: str
    node_path: str | None
    run_state: RunState
    run_reference: str
    business_date: date
    skip_allowed: bool
    require_comment: bool
    action: str | None
    parameters: dict[str, Any]
    max_attempts: int
    backoff_seconds: int
    level_roles: tuple[str, ...]
    has_content: bool

    @property
    def checker_role(self) -> str | None:
        """The role that decides now; None where no approval level is open."""
        return self.level_roles[self.level - 1] if 1 <= self.level <= len(self.level_roles) else None


COLUMNS = """
    p.id, p.run_id, p.process_id, p.code, p.label, p.kind, p.state, p.row_version, p.node_id, p.owner_role,
    p.assignee_id, p.maker_id, p.makers::text, p.signers::text, p.waiting_on, p.round, p.attempt, p.level, p.levels,
    p.earliest_start, p.due_at, p.ready_at, p.started_at, p.submitted_at, p.finished_at, p.state_before_hold,
    p.review_by, p.reason, p.comment, p.snapshot_hash, p.application_id, a.code, n.path, r.state, r.reference,
    r.business_date, d.skip_allowed, d.require_comment, d.action, d.parameters::text, d.max_attempts, d.backoff_seconds,
    ARRAY(SELECT l.role FROM process_approval_level l WHERE l.parent_id = p.process_id ORDER BY l.level),
    EXISTS (SELECT FROM process_evidence e WHERE e.parent_id = p.process_id)
        OR EXISTS (SELECT FROM process_checklist_item c WHERE c.parent_id = p.process_id)
        OR EXISTS (SELECT FROM file f WHERE f.record_entity = 'process_run' AND f.record_id = p.id)
"""
SOURCES = """
    FROM process_run p
    JOIN workflow_run r ON r.id = p.run_id
    JOIN process d ON d.id = p.process_id
    JOIN application a ON a.id = p.application_id
    LEFT JOIN hierarchy_node n ON n.id = p.node_id
"""


def _statement(sql: str) -> TextualSelect:
    """Named by position, so that the shape of the result is worked out once and not for each row that is read."""
    return text(sql).columns(*(column(field.name) for field in fields(ProcessRow)))


READ = _statement(f"SELECT {COLUMNS} {SOURCES} WHERE p.id = :id")

# The run's row is locked before the process's: everybody who changes the processes of a run queues there, so that a
# successor is released once and nobody deadlocks. Both are locked in the statement that reads them, because whoever had
# to wait then sees them as they are now. Everything else that it reads never changes once the run exists.
LOCK = _statement(f"SELECT {COLUMNS} {SOURCES} WHERE p.id = :id FOR NO KEY UPDATE OF r, p")


async def lock_process(uow: UnitOfWork, process_run_id: UUID) -> ProcessRow:
    """Lock the run, then the process, and read both as of now. Raises NotFound."""
    return await _one(uow, LOCK, process_run_id)


async def read_process(uow: UnitOfWork, process_run_id: UUID) -> ProcessRow:
    """Read without a lock, for pages. Raises NotFound."""
    return await _one(uow, READ, process_run_id)


async def _one(uow: UnitOfWork, statement: TextualSelect, process_run_id: UUID) -> ProcessRow:
    row = (await uow.execute(statement, {"id": process_run_id})).first()
    if row is None:
        raise NotFound("There is no such process run.")
    return process_row(row)


def process_row(values: Sequence[Any]) -> ProcessRow:
    """Build from a row of `COLUMNS`."""
    named = dict(zip(_NAMES, values, strict=False))
    for name, convert in _CONVERTED.items():
        named[name] = convert(named[name])
    return ProcessRow(**named)


def ids(json_text: str | None) -> tuple[UUID, ...]:
    return tuple(UUID(item) for item in orjson.loads(json_text)) if json_text else ()


_NAMES = tuple(field.name for field in fields(ProcessRow))
_CONVERTED: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "kind": ProcessKind,
        "state": ProcessState,
        "makers": ids,
        "signers": ids,
        "state_before_hold": lambda value: ProcessState(value) if value else None,
        "run_state": RunState,
        "parameters": lambda value: orjson.loads(value) if value else {},
        "max_attempts": lambda value: value or 1,
        "backoff_seconds": lambda value: value or 0,
        "level_roles": tuple,
    }
)
