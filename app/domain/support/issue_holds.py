"""Blocking issues hold their processes: by the engine's own command, and only as long as one of them is open.

A process has one open row in `issue_hold` while the platform holds it for issues. What a person holds has none, and
stays on hold whatever becomes of issues. A person who resumes a process that an issue holds decides that the work goes
on in spite of it: its links are marked, and hold it no more until the issue blocks anew.

Order of locks: the issue, then the process. Whoever changes what is wanted has locked the process before looking, so
that of two who end the last two holds at once the second one releases.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Row, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.errors import TransitionRefused
from app.core.uow import UnitOfWork
from app.domain.workflow.events import ProcessStateChanged, RunStateChanged
from app.domain.workflow.process_row import ProcessRow, lock_process
from app.domain.workflow.states import TRANSITIONS, Name, ProcessState
from app.domain.workflow.transitions import transition
from models.base import uuid7

PROCESS = "process_run"
REVIEW_AFTER = timedelta(days=1)
# After these a process can be held that could not be before.
HOLDABLE_AGAIN = frozenset({Name.FAIL.value, Name.REOPEN.value, Name.REDO.value})

WANTED = text(
    """
SELECT i.id, i.reference, i.title
FROM issue_link l JOIN issue i ON i.id = l.issue_id
WHERE l.record_entity = 'process_run' AND l.record_id = :process_id AND l.overridden_at IS NULL
  AND i.blocking AND i.resolved_at IS NULL AND i.closed_at IS NULL
ORDER BY i.created_at, i.id LIMIT 1
"""
)
# Locks are taken by run and process: everybody in this order.
IN_ORDER = text("SELECT id FROM process_run WHERE id = ANY (:ids) ORDER BY run_id, id").bindparams(
    bindparam("ids", type_=ARRAY(Uuid))
)
OF_RUN = text(
    """
SELECT l.record_id FROM issue_link l WHERE l.run_id = :run_id AND l.record_entity = 'process_run'
UNION SELECT h.process_run_id FROM issue_hold h JOIN process_run p ON p.id = h.process_run_id
WHERE p.run_id = :run_id AND h.ended_at IS NULL
"""
)
OPEN_HOLD = text("SELECT id FROM issue_hold WHERE process_run_id = :process_id AND ended_at IS NULL")
HELD = text(
    """
INSERT INTO issue_hold (id, process_run_id, issue_id, held_at, created_at, created_by, updated_at, updated_by)
VALUES (:id, :process_id, :issue_id, :now, :now, :by, :now, :by)
"""
)
END = text(
    """
UPDATE issue_hold SET ended_at = :now, ended = :how, row_version = row_version + 1, updated_at = :now, updated_by = :by
WHERE process_run_id = :process_id AND ended_at IS NULL RETURNING issue_id
"""
)
OVERRIDE = text(
    """
UPDATE issue_link l SET overridden_at = :now, overridden_by_id = :person, row_version = l.row_version + 1,
                        updated_at = :now, updated_by = :by
FROM issue i
WHERE i.id = l.issue_id AND l.record_entity = 'process_run' AND l.record_id = :process_id AND l.overridden_at IS NULL
  AND i.blocking AND i.resolved_at IS NULL AND i.closed_at IS NULL
RETURNING l.issue_id
"""
)
FORGET_OVERRIDES = text(
    """
UPDATE issue_link SET overridden_at = NULL, overridden_by_id = NULL, row_version = row_version + 1, updated_at = :now,
                      updated_by = :by
WHERE issue_id = :issue_id AND overridden_at IS NOT NULL
"""
)
PROCESSES_OF = text(
    "SELECT record_id FROM issue_link WHERE issue_id = :issue_id AND record_entity = 'process_run' ORDER BY record_id"
)


class Ended(StrEnum):
    RELEASED = "released"
    OVERRIDDEN = "overridden"
    CLOSED = "closed"


class Act(StrEnum):
    """What is to be done with a process."""

    NOTHING = "nothing"
    HOLD = "hold"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Standing:
    """A process as holds see it. `ours`: it is on hold because of issues; `wanted`: an open issue blocks it."""

    on_hold: bool
    closed: bool
    ours: bool
    wanted: bool


def decide(standing: Standing) -> Act:
    """Pure: a hold begins when one is wanted and nobody holds it, and ends when it is ours and wanted no more."""
    if standing.closed:
        return Act.NOTHING
    if standing.wanted and not standing.on_hold:
        return Act.HOLD
    if standing.ours and standing.on_hold and not standing.wanted:
        return Act.RELEASE
    return Act.NOTHING


async def sync_holds(uow: UnitOfWork, process_run_ids: Iterable[UUID]) -> None:
    """Hold and release these processes as their issues want it. Nothing happens where all is as it should be."""
    ids = set(process_run_ids)
    if ids:
        for process_id in (await uow.execute(IN_ORDER, {"ids": list(ids)})).scalars().all():
            await _sync(uow, process_id)


async def _sync(uow: UnitOfWork, process_id: UUID) -> None:
    row = await lock_process(uow, process_id)
    wanted = (await uow.execute(WANTED, {"process_id": process_id})).first()
    ours = (await uow.execute(OPEN_HOLD, {"process_id": process_id})).first() is not None
    on_hold = row.state is ProcessState.ON_HOLD
    if ours and not on_hold:
        # It was skipped, cancelled or moved on without a command, such as with its whole run.
        await _end(uow, process_id, Ended.CLOSED)
        ours = False
    match decide(Standing(on_hold, row.state.closed, ours, wanted is not None)):
        case Act.HOLD if wanted is not None and row.state in TRANSITIONS[Name.HOLD].sources:
            await _hold(uow, row, wanted)
        case Act.RELEASE:
            await _release(uow, process_id)


async def _release(uow: UnitOfWork, process_id: UUID) -> None:
    try:
        with uow.by_platform():
            await transition(uow, process_run_id=process_id, name=Name.RESUME, expected_version=None)
    except TransitionRefused:
        # Its run stands still; it is released when that goes on.
        return
    await _end(uow, process_id, Ended.RELEASED)


async def _hold(uow: UnitOfWork, row: ProcessRow, issue: Row[tuple[UUID, str, str]]) -> None:
    try:
        with uow.by_platform():
            await transition(
                uow,
                process_run_id=row.id,
                name=Name.HOLD,
                expected_version=None,
                reason=f"{issue.reference} blocks it: {issue.title}",
                data={"review_by": uow.now + REVIEW_AFTER},
            )
    except TransitionRefused:
        # A job that is running, or a run that stands still. Nothing was written; it is tried again when that has ended.
        return
    values = {"id": uuid7(), "process_id": row.id, "issue_id": issue.id, "now": uow.now, "by": uow.actor.id}
    await uow.execute(HELD, values)
    uow.touch(f"issue:{issue.id}", "entity:issue_hold")


async def _end(uow: UnitOfWork, process_id: UUID, how: Ended) -> bool:
    values = {"process_id": process_id, "how": how.value, "now": uow.now, "by": uow.actor.id}
    ended = (await uow.execute(END, values)).all()
    uow.touch("entity:issue_hold", *(f"issue:{row.issue_id}" for row in ended))
    return bool(ended)


async def on_process_state_changed(uow: UnitOfWork, event: ProcessStateChanged) -> None:
    """A process has left its hold, or can be held now. Every other step costs nothing."""
    was_held = event.from_state == ProcessState.ON_HOLD and event.to_state != ProcessState.ON_HOLD
    if not was_held and event.name not in HOLDABLE_AGAIN:
        return
    if was_held:
        closed = ProcessState(event.to_state).closed
        ended = await _end(uow, event.process_run_id, Ended.CLOSED if closed else Ended.OVERRIDDEN)
        if closed:
            return
        if ended:  # The platform ends its holds itself before it resumes: this was a person.
            await _override(uow, event.process_run_id)
            return
    if (await uow.execute(WANTED, {"process_id": event.process_run_id})).first() is not None:
        await sync_holds(uow, (event.process_run_id,))


async def on_run_state_changed(uow: UnitOfWork, event: RunStateChanged) -> None:
    """What could not be held or released while the run stood still is now."""
    if event.name == "resume":
        await sync_holds(uow, (await uow.execute(OF_RUN, {"run_id": event.run_id})).scalars().all())


async def _override(uow: UnitOfWork, process_id: UUID) -> None:
    person = None if uow.actor.is_system else uow.actor.id
    values = {"process_id": process_id, "person": person, "now": uow.now, "by": uow.actor.id}
    for row in await uow.execute(OVERRIDE, values):
        uow.touch(f"issue:{row.issue_id}")


async def sync_issue(uow: UnitOfWork, issue_id: UUID, *, anew: bool = False) -> None:
    """Hold and release what the issue is linked to. `anew`: it blocks again, also what went on in spite of it."""
    if anew:
        await uow.execute(FORGET_OVERRIDES, {"issue_id": issue_id, "now": uow.now, "by": uow.actor.id})
    await sync_holds(uow, (await uow.execute(PROCESSES_OF, {"issue_id": issue_id})).scalars().all())
