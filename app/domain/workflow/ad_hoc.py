"""Work that nobody had foreseen: a process added to a run that is under way, between others that have not begun.

It may be skipped like any other work, and called off (`cancel`): what waits for it goes on without it then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, Forbidden, NotFound, TransitionRefused, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize, decide
from app.domain.jobs.runs import withdraw_jobs
from app.domain.workflow.ad_hoc_sql import (
    BLOCK_SUCCESSORS,
    FIND_CIRCLE,
    INSERT,
    INSERT_EDGES,
    LOCK_RUN,
    READ_LATER,
    READ_NEIGHBOURS,
)
from app.domain.workflow.events import ProcessAdded, ProcessesReleased
from app.domain.workflow.people import holders
from app.domain.workflow.process_row import lock_process
from app.domain.workflow.states import Guard, ProcessKind, ProcessState, RunState
from app.domain.workflow.transitions import acting_as
from models.base import uuid7

MAX_LABEL = 200
MAX_REASON = 2_000
MAX_ITEM = 300
MOST_ITEMS = 50
MOST_LEVELS = 9
MOST_NEIGHBOURS = 50
ACTION = "transition:add_process"
NOBODY = "Choose somebody who has the role {role} there."
# A successor in one of these has not begun. An approval has, once somebody has signed or sent it back.
NOT_BEGUN = frozenset(
    {ProcessState.BLOCKED, ProcessState.PLANNED, ProcessState.READY, ProcessState.ASSIGNED, ProcessState.IN_REVIEW}
)


@dataclass(frozen=True, slots=True)
class NewWork:
    """What is to be done. Without a stage it stands in that of its neighbours; with items it is a checklist.

    `approval_roles`: who signs it, level by level; none: it is done when it is submitted.
    """

    label: str
    owner_role: str
    reason: str
    due_at: datetime | None = None
    instructions: str | None = None
    stage_run_id: UUID | None = None
    assignee_id: UUID | None = None
    checklist: tuple[str, ...] = ()
    approval_roles: tuple[str, ...] = ()
    predecessors: tuple[UUID, ...] = ()
    successors: tuple[UUID, ...] = ()

    @property
    def kind(self) -> ProcessKind:
        return ProcessKind.CHECKLIST if self.checklist else ProcessKind.MANUAL


@dataclass(frozen=True, slots=True)
class Added:
    """The process that was added. `held_back`: those that were free to begin and wait for it now."""

    process_run_id: UUID
    code: str
    state: ProcessState
    held_back: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class HeldUp:
    """A process that waits for the added one, at once or through others. `late`: it is due before the added one is."""

    id: UUID
    label: str
    state: ProcessState
    direct: bool
    stops: bool  # it is free to begin now, and waits then
    due_at: datetime | None
    late: bool


@dataclass(frozen=True, slots=True)
class AddedPreview:
    """What adding it would do: the state it would begin in, what it would wait for, and what it would hold up."""

    state: ProcessState
    waits_for: tuple[str, ...]
    held_up: tuple[HeldUp, ...]


@dataclass(frozen=True, slots=True)
class _Planned:
    """Checked against the run, which is locked."""

    run: Row[Any]
    decision: Decision
    work: NewWork
    before: tuple[Row[Any], ...]
    after: tuple[Row[Any], ...]

    @property
    def open_before(self) -> tuple[Row[Any], ...]:
        return tuple(row for row in self.before if not ProcessState(row.state).closed)

    @property
    def state(self) -> ProcessState:
        return ProcessState.BLOCKED if self.open_before else ProcessState.READY

    @property
    def held_back(self) -> tuple[UUID, ...]:
        return tuple(row.id for row in self.after if row.state != ProcessState.BLOCKED)


async def preview_process(uow: UnitOfWork, *, run_id: UUID, work: NewWork) -> AddedPreview:
    """What adding the process would hold up; nothing is changed. Raises like `add_process`."""
    planned = await _plan(uow, run_id, work)
    after = [row.id for row in planned.after]
    later = (await uow.execute(READ_LATER, {"run_id": run_id, "after": after})).all() if after else []
    return AddedPreview(
        planned.state,
        tuple(row.label for row in planned.open_before),
        tuple(_held_up(planned, row, direct=row.id in after) for row in (*planned.after, *later)),
    )


def _held_up(planned: _Planned, row: Row[Any], *, direct: bool) -> HeldUp:
    due = planned.work.due_at
    late = due is not None and row.due_at is not None and row.due_at < due
    stops = direct and row.id in planned.held_back
    return HeldUp(row.id, row.label, ProcessState(row.state), direct, stops, row.due_at, late)


async def add_process(uow: UnitOfWork, *, run_id: UUID, work: NewWork) -> Added:
    """Add manual work or a checklist to an active run, after and before others of the run.

    Raises:
        Forbidden, NotFound: not a lead of the run; no such run, stage or process, or none in sight.
        ValidationFailed: what was entered cannot be so, or would let processes wait for each other in a circle.
        TransitionRefused: the run is not active, or a successor has begun.
    """
    planned = await _plan(uow, run_id, work)
    id_ = uuid7()
    values = _values(uow, planned, id_)
    code = await uow.scalar(INSERT, values)
    await _connect(uow, values, planned)
    await _require_holder(uow, id_, work)
    _tell(uow, planned, id_, str(code))
    return Added(id_, str(code), planned.state, planned.held_back)


async def _plan(uow: UnitOfWork, run_id: UUID, work: NewWork) -> _Planned:
    decision = authorize(uow, ACTION, "workflow_run")
    work = _tidied(work)
    run = await _locked(uow, run_id, work)
    acting = acting_as(uow, decision)
    if not uow.actor.is_system and acting.grant_for(run) is None:
        raise Forbidden(f"You may not add work to the run {run.reference}: none of your grants for that reaches it.")
    if run.state != RunState.ACTIVE:
        words = str(run.state).replace("_", " ")
        raise TransitionRefused(f"The run {run.reference} is {words}.", guard=Guard.RUN_IS_ACTIVE.value)
    _check(uow, run, work)
    ids = [*work.predecessors, *work.successors]
    found = (await uow.execute(READ_NEIGHBOURS, {"run_id": run.id, "ids": ids})).all()
    neighbours = {row.id: row for row in found}
    if set(neighbours) != set(ids):
        raise NotFound("One of the processes that it stands between is not part of this run.")
    around = {"run_id": run.id, "before": list(work.predecessors), "after": list(work.successors)}
    circle = await uow.scalar(FIND_CIRCLE, around)
    if circle is not None:
        message = f"“{circle}” waits for one of the processes that would wait for it: they would wait in a circle."
        raise ValidationFailed([FieldProblem("predecessors", message, "cycle")])
    before = tuple(neighbours[id_] for id_ in work.predecessors)
    after = tuple(neighbours[id_] for id_ in work.successors)
    _require_not_begun(after)
    _require_ahead(before)
    return _Planned(run, decision, work, before, after)


def _tidied(work: NewWork) -> NewWork:
    return replace(
        work,
        label=work.label.strip(),
        reason=work.reason.strip(),
        checklist=tuple(text for item in work.checklist if (text := item.strip())),
        approval_roles=tuple(role for given in work.approval_roles if (role := given.strip())),
        predecessors=tuple(dict.fromkeys(work.predecessors)),
        successors=tuple(dict.fromkeys(work.successors)),
    )


async def _locked(uow: UnitOfWork, run_id: UUID, work: NewWork) -> Row[Any]:
    values = {
        "id": run_id,
        "roles": [work.owner_role, *work.approval_roles],
        "stage_run_id": work.stage_run_id,
        "assignee_id": work.assignee_id,
    }
    row = (await uow.execute(LOCK_RUN, values)).first()
    reading = decide(uow.resources.policy, uow.registry, uow.actor, "read", "workflow_run")
    if row is None or not acting_as(uow, reading).sees(row):
        raise NotFound("There is no such run, or you may not see it.")
    return row


def _check(uow: UnitOfWork, run: Row[Any], work: NewWork) -> None:
    problems: list[FieldProblem] = []

    def wrong(path: str, message: str, code: str) -> None:
        problems.append(FieldProblem(path, message, code))

    if not work.label or len(work.label) > MAX_LABEL:
        wrong("label", f"Say what is to be done, in at most {MAX_LABEL} characters.", "required")
    if not work.reason or len(work.reason) > MAX_REASON:
        wrong("reason", f"Say why, in at most {MAX_REASON} characters.", "required")
    if work.owner_role not in run.known_roles:
        wrong("owner_role", f"There is no role {work.owner_role or '(none)'}.", "unknown")
    unknown = [role for role in work.approval_roles if role not in run.known_roles]
    if unknown:
        wrong("approval_roles", f"There is no role {unknown[0]}.", "unknown")
    if len(work.approval_roles) > MOST_LEVELS:
        wrong("approval_roles", f"At most {MOST_LEVELS} levels.", "count")
    if len(work.checklist) > MOST_ITEMS or any(len(item) > MAX_ITEM for item in work.checklist):
        wrong("checklist", f"At most {MOST_ITEMS} items of at most {MAX_ITEM} characters.", "count")
    if work.stage_run_id is not None and run.stage_run_id is None:
        wrong("stage_run_id", "Choose a stage of this run.", "unknown")
    if work.assignee_id is not None and not run.assignee_known:
        wrong("assignee_id", NOBODY.format(role=work.owner_role), "unknown")
    if work.due_at is not None and (work.due_at.tzinfo is None or work.due_at <= uow.now):
        wrong("due_at", "Choose a time with its zone that is still ahead.", "past")
    if not work.predecessors and not work.successors:
        message = "Say after or before which processes it is done, so that it has a place in the run."
        wrong("predecessors", message, "required")
    if len(work.predecessors) + len(work.successors) > MOST_NEIGHBOURS:
        wrong("predecessors", f"At most {MOST_NEIGHBOURS} neighbours.", "count")
    if set(work.predecessors) & set(work.successors):
        wrong("successors", "A process cannot be both before and after it.", "cycle")
    if problems:
        raise ValidationFailed(problems)


def _require_not_begun(after: Sequence[Row[Any]]) -> None:
    for row in after:
        begun = row.state not in NOT_BEGUN
        begun |= row.state == ProcessState.IN_REVIEW and (
            not ProcessKind(row.kind).decided or row.level > 1 or row.round > 1 or row.signatures > 0
        )
        begun |= row.state in (ProcessState.READY, ProcessState.ASSIGNED) and row.round > 1
        if begun:
            state = ProcessState(row.state).label
            detail = f"“{row.label}” is {state}: work can be added before what has not begun yet."
            raise TransitionRefused(detail, guard="successor_not_begun", satisfy="Add it before a later process.")


def _require_ahead(before: Sequence[Row[Any]]) -> None:
    for row in before:
        if row.state == ProcessState.CANCELLED:
            detail = f"“{row.label}” is cancelled, so what waits for it would wait for ever."
            raise TransitionRefused(detail, guard="predecessor_open", satisfy="Leave it out.")


def _values(uow: UnitOfWork, planned: _Planned, id_: UUID) -> dict[str, Any]:
    run, work = planned.run, planned.work
    beside = planned.before[-1] if planned.before else planned.after[0]
    elsewhere = work.stage_run_id is not None and work.stage_run_id != beside.stage_run_id
    return {
        "id": id_,
        "process_id": uuid7(),
        "run_id": run.id,
        "stage_run_id": work.stage_run_id or beside.stage_run_id,
        "rank": run.stage_rank if elsewhere and run.stage_rank is not None else beside.rank,
        "node_id": beside.node_id,
        "application_id": run.application_id,
        "kind": work.kind.value,
        "label": work.label,
        "owner_role": work.owner_role,
        "assignee_id": work.assignee_id,
        "checklist": list(work.checklist),
        "approvals": list(work.approval_roles),
        "levels": len(work.approval_roles),
        "instructions": work.instructions,
        "due_at": work.due_at,
        "state": planned.state.value,
        "waiting_on": len(planned.open_before),
        "now": uow.now,
        "by": uow.actor.id,
    }


async def _connect(uow: UnitOfWork, values: dict[str, Any], planned: _Planned) -> None:
    """Draw the edges; what was free to begin waits again, and a worker that was asked to is told to leave it."""
    shared = {"id": values["id"], "run_id": values["run_id"], "now": uow.now, "by": uow.actor.id}
    ids, reason = [row.id for row in planned.after], planned.work.reason
    await uow.execute(INSERT_EDGES, {**shared, "before": [row.id for row in planned.before], "after": ids})
    if not ids:
        return
    user_id = None if uow.actor.is_system else uow.actor.id
    moved: dict[str, Any] = {
        "after": ids,
        "states": [row.state for row in planned.after],
        "levels": [row.level for row in planned.after],
    }
    moved |= {"now": uow.now, "by": uow.actor.id, "user_id": user_id, "reason": reason}
    await uow.execute(BLOCK_SUCCESSORS, moved)
    for row in planned.after:
        if row.kind == ProcessKind.AUTOMATIC and row.state == ProcessState.READY:
            await withdraw_jobs(uow, process_run_id=row.id, reason=f"Work was added before it: {reason}")


async def _require_holder(uow: UnitOfWork, process_run_id: UUID, work: NewWork) -> None:
    """Whoever is to do it must be able to, there: that is only known of a process that is there."""
    if work.assignee_id is None:
        return
    row = await lock_process(uow, process_run_id)
    if not await holders(uow, row, work.owner_role, user_id=work.assignee_id):
        raise ValidationFailed([FieldProblem("assignee_id", NOBODY.format(role=work.owner_role), "unknown")])


def _tell(uow: UnitOfWork, planned: _Planned, id_: UUID, code: str) -> None:
    run, work = planned.run, planned.work
    uow.emit(ProcessAdded(at=uow.now, run_id=run.id, process_run_id=id_))
    if planned.state is ProcessState.READY:
        uow.emit(ProcessesReleased(at=uow.now, run_id=run.id, process_run_ids=(id_,)))
    beside = (f"process_run:{other}" for other in (*work.predecessors, *work.successors))
    uow.touch("runs", f"run:{run.id}", *beside)
    uow.audit(
        AuditEntry(
            command="add_process",
            entity="process_run",
            record_id=id_,
            after={
                "label": work.label,
                "owner_role": work.owner_role,
                "due_at": work.due_at,
                "assignee_id": work.assignee_id,
                "approval_roles": work.approval_roles,
                "predecessors": work.predecessors,
                "successors": work.successors,
            },
            reason=work.reason,
            context={"run": run.reference, "process": code, "held_back": planned.held_back},
            allowed_by=planned.decision.allowed_by,
            grant_id=planned.decision.grant_id,
        )
    )
