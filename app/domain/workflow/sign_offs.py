"""Sign-offs whose data has changed since they were signed: found, put in doubt, and signed anew."""

from sqlalchemy import text

from app.core.audit import AuditEntry
from app.core.uow import UnitOfWork
from app.domain.workflow.content import digest, read_content
from app.domain.workflow.doubts import mark
from app.domain.workflow.events import ProcessStateChanged, SignedDataChanged
from app.domain.workflow.process_row import ProcessRow, lock_process, read_process
from app.domain.workflow.states import Name, ProcessKind, ProcessState, RunState
from app.domain.workflow.transitions import follow

CHANGED = "Data has changed since it was signed"
MOST_CHECKED = 200

SIGNED = text(
    """
SELECT p.id FROM process_run p JOIN workflow_run r ON r.id = p.run_id
WHERE p.kind = 'sign_off' AND p.state = 'done' AND r.state = 'active' ORDER BY p.updated_at, p.id LIMIT :most
"""
)
DOUBT = text(
    """
WITH doubted AS (
    UPDATE process_run SET
        state = 'stale', state_before_stale = 'done', output_before = coalesce(output_before, output_hash, ''),
        inputs_changed = true, stale_reason = :why, finished_at = NULL, row_version = row_version + 1,
        updated_at = :now, updated_by = :actor_id
    WHERE id = :id
    RETURNING id, round, attempt, level
)
INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, at, round, attempt, level, reason,
                                created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), id, 'stale', 'done', 'stale', :now, round, attempt, level, :why, :now, :actor_id, :now, :actor_id
FROM doubted
"""
)


async def check_signatures(uow: UnitOfWork) -> int:
    """Look at the signed sign-offs of runs under way and tell of those whose data has changed; returns how many.

    Work that is opened again puts them in doubt by itself; this finds figures that were corrected beside the workflow.
    """
    count = 0
    for id_ in (await uow.execute(SIGNED, {"most": MOST_CHECKED})).scalars().all():
        row = await read_process(uow, id_)
        if await _changed(uow, row):
            uow.emit(SignedDataChanged(at=uow.now, run_id=row.run_id, process_run_id=row.id))
            count += 1
    return count


async def on_signed_data_changed(uow: UnitOfWork, event: SignedDataChanged) -> None:
    """The sign-off is stale, and what is built on it; as nothing before it is open, it waits to be signed anew."""
    row = await lock_process(uow, event.process_run_id)
    if row.state is not ProcessState.DONE or row.run_state is not RunState.ACTIVE or not await _changed(uow, row):
        return
    await uow.execute(DOUBT, {"id": row.id, "why": CHANGED, "now": uow.now, "actor_id": uow.actor.id})
    await mark(uow, run_id=row.run_id, roots=[row.id], why=f"“{row.label}”: {CHANGED.lower()}.", opened=1)
    uow.emit(
        ProcessStateChanged(
            at=uow.now,
            process_run_id=row.id,
            run_id=row.run_id,
            from_state=row.state.value,
            to_state=ProcessState.STALE.value,
            name=Name.STALE.value,
        )
    )
    uow.touch(f"run:{row.run_id}", f"process_run:{row.id}")
    context = {"run": row.run_reference, "process": row.code, "signed": row.snapshot_hash}
    uow.audit(AuditEntry(command="doubt", entity="process_run", record_id=row.id, reason=CHANGED, context=context))
    await follow(uow, (), (row.id,))


async def _changed(uow: UnitOfWork, row: ProcessRow) -> bool:
    if row.kind is not ProcessKind.SIGN_OFF or row.snapshot_hash is None:
        return False
    return digest(await read_content(uow, row), row, row.comment) != row.snapshot_hash
