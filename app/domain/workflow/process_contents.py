"""What is put into a process and what it signed, for programs: the parts of its page, one at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.workflow.content import ChecklistItem, QuestionItem, read_content
from app.domain.workflow.process_page import visible_process
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.reopening_queries import StatementHead
from app.domain.workflow.signed_content import Signed, signed_now
from app.domain.workflow.states import ProcessKind

READ_WAIT = text(
    """
SELECT d.wait_kind, d.wait_pattern, d.wait_from, d.wait_folder, d.wait_event, d.wait_condition::text AS condition,
       d.wait_until, p.wait_until_at
FROM process_run p JOIN process d ON d.id = p.process_id WHERE p.id = :id
"""
)
# A statement keeps the processes as a list; what it says of one is found by its code.
READ_STATEMENTS = text(
    """
SELECT s.number, s.signed_at, s.digest, s.superseded_at, s.superseded_reason, x.process::text AS process
FROM run_statement s
CROSS JOIN LATERAL jsonb_array_elements(s.content -> 'processes') AS x (process)
WHERE s.run_id = :run_id AND x.process ->> 'code' = :code
ORDER BY s.number DESC
"""
)


@dataclass(frozen=True, slots=True)
class Wait:
    """What a process waits for, and what has come. `until`: a formula; `until_at`: when that is, once it is known."""

    kind: str
    pattern: str | None
    source: str | None
    folder: str | None
    event: str | None
    condition: Mapping[str, Any] | None
    until: str | None
    until_at: datetime | None
    expected_by: datetime | None
    counts_early: bool
    arrived_at: datetime | None
    arrival: Mapping[str, Any]


async def questions_of(uow: UnitOfWork, *, process_run_id: UUID) -> tuple[QuestionItem, ...]:
    """The questions of a process with the answers that they have. Raises NotFound."""
    row = await visible_process(uow, process_run_id)
    return (await read_content(uow, row)).questions


async def checklist_of(uow: UnitOfWork, *, process_run_id: UUID) -> tuple[ChecklistItem, ...]:
    """The items of its checklist, ticked or not. Raises NotFound."""
    row = await visible_process(uow, process_run_id)
    return (await read_content(uow, row)).checklist


async def wait_of(uow: UnitOfWork, *, process_run_id: UUID) -> Wait:
    """What a wait waits for. Raises NotFound, also for a process that is no wait."""
    row = await visible_process(uow, process_run_id)
    _require_kind(row, ProcessKind.WAIT_FOR, "waits for nothing but the processes before it")
    found = (await uow.execute(READ_WAIT, {"id": row.id})).one()
    return Wait(
        kind=found.wait_kind,
        pattern=found.wait_pattern,
        source=found.wait_from,
        folder=found.wait_folder,
        event=found.wait_event,
        condition=orjson.loads(found.condition or "null"),
        until=found.wait_until,
        until_at=found.wait_until_at,
        expected_by=row.due_at,
        counts_early=row.accept_early,
        arrived_at=row.arrived_at,
        arrival=row.arrival,
    )


async def signed_by(uow: UnitOfWork, *, process_run_id: UUID) -> Signed:
    """What a sign-off signs or has signed, compared with what stands there now. Raises NotFound, also for others."""
    row = await visible_process(uow, process_run_id)
    _require_kind(row, ProcessKind.SIGN_OFF, "is no sign-off")
    found = await signed_now(uow, row, await read_content(uow, row))
    assert found is not None  # it is a sign-off
    return found


async def statements_of_process(
    uow: UnitOfWork, *, process_run_id: UUID
) -> list[tuple[StatementHead, Mapping[str, Any]]]:
    """How it was signed, each time before its run was restated, the latest first. Raises NotFound."""
    row = await visible_process(uow, process_run_id)
    found = (await uow.execute(READ_STATEMENTS, {"run_id": row.run_id, "code": row.code})).mappings()
    result = []
    for line in found:
        values = dict(line)
        kept = orjson.loads(values.pop("process"))
        result.append((StatementHead(**values), kept))
    return result


def _require_kind(row: ProcessRow, kind: ProcessKind, otherwise: str) -> None:
    if row.kind is not kind:
        raise NotFound(f"“{row.label}” {otherwise}.")
