"""What the owner puts into a process before it is submitted: checklist answers and a draft of the comment."""

from uuid import UUID

from sqlalchemy import text

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, NotFound, StaleVersion, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize
from app.domain.workflow.decisions import check_preparing
from app.domain.workflow.process_row import ProcessRow, lock_process
from app.domain.workflow.transitions import acting_as, refused, require_visible

MAX_COMMENT = 20_000

READ_ITEM = text(
    "SELECT label FROM process_checklist_item WHERE parent_id = :process_id AND code = :item ORDER BY position LIMIT 1"
)
ANSWER = text(
    """
INSERT INTO checklist_answer (id, process_run_id, item, done, actor_id, at,
                              created_at, created_by, updated_at, updated_by)
VALUES (uuidv7(), :id, :item, :done, :actor_id, :now, :now, :actor_id, :now, :actor_id)
ON CONFLICT (process_run_id, item) DO UPDATE SET
    done = excluded.done, actor_id = excluded.actor_id, at = excluded.at,
    row_version = checklist_answer.row_version + 1, updated_at = excluded.updated_at, updated_by = excluded.updated_by
"""
)
SAVE_COMMENT = text(
    """
UPDATE process_run SET comment = :comment, row_version = row_version + 1, updated_at = :now, updated_by = :actor_id
WHERE id = :id
RETURNING row_version
"""
)


async def answer_item(uow: UnitOfWork, *, process_run_id: UUID, item: str, done: bool) -> None:
    """Tick or untick an item of the process's checklist.

    Raises:
        NotFound: no such process run, or it has no such item.
        TransitionRefused, Forbidden: it is not the actor's to prepare, or not now.
    """
    row, decision = await _to_prepare(uow, process_run_id, "check")
    label = await uow.scalar(READ_ITEM, {"process_id": row.process_id, "item": item})
    if label is None:
        raise NotFound(f"“{row.label}” has no checklist item {item}.")
    values = {"id": row.id, "item": item, "done": done, "actor_id": uow.actor.id, "now": uow.now}
    await uow.execute(ANSWER, values)
    _record(uow, row, decision, "check" if done else "uncheck", {"item": item, "label": label})


async def save_comment(uow: UnitOfWork, *, process_run_id: UUID, comment: str, expected_version: int) -> int:
    """Keep a draft of what the preparer will say with the submission; return the new row version."""
    if len(comment) > MAX_COMMENT:
        raise ValidationFailed([FieldProblem("comment", f"At most {MAX_COMMENT:,} characters.", "too_long")])
    row, decision = await _to_prepare(uow, process_run_id, "comment")
    if row.row_version != expected_version:
        raise StaleVersion(
            f"“{row.label}” has changed since you read it; read it again and add your text.",
            context={"row_version": row.row_version, "state": row.state.value},
        )
    values = {"id": row.id, "comment": comment, "actor_id": uow.actor.id, "now": uow.now}
    version: int = await uow.scalar(SAVE_COMMENT, values)
    _record(uow, row, decision, "comment", {"comment": comment})
    return version


async def _to_prepare(uow: UnitOfWork, process_run_id: UUID, name: str) -> tuple[ProcessRow, Decision]:
    decision = authorize(uow, f"transition:{name}", "process_run")
    row = await lock_process(uow, process_run_id)
    require_visible(uow, row)
    refusal = check_preparing(row, acting_as(uow, decision))
    if refusal is not None:
        raise await refused(uow, row, refusal)
    return row, decision


def _record(uow: UnitOfWork, row: ProcessRow, decision: Decision, command: str, after: dict[str, str]) -> None:
    uow.touch(f"process_run:{row.id}", f"run:{row.run_id}")
    uow.audit(
        AuditEntry(
            command=command,
            entity="process_run",
            record_id=row.id,
            after=after,
            context={"run": row.run_reference, "process": row.code},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
