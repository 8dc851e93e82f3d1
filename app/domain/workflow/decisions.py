"""May this transition happen, and what does it make of the process: pure, and shared by commands and pages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Protocol
from uuid import UUID

from app.core.actor import Actor, Grant
from app.domain.workflow.graph import entry_state
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.states import (
    RESTING,
    TRANSITIONS,
    Guard,
    Name,
    ProcessKind,
    ProcessState,
    RunState,
    Transition,
    Who,
)

MAX_REASON = 2_000


class Placed(Protocol):
    """Something in an application, at a node of a hierarchy."""

    @property
    def application(self) -> str: ...
    @property
    def node_path(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Acting:
    """Who acts, and the grants by which the policy allows them this transition; `wide` counts in every application."""

    actor: Actor
    grants: tuple[Grant, ...]
    wide: frozenset[UUID] = frozenset()

    @property
    def ids(self) -> tuple[UUID, ...]:
        """The actor, and whose authority they use."""
        return tuple(id_ for id_ in (self.actor.id, self.actor.on_behalf_of) if id_ is not None)

    def grant_for(self, place: Placed, role: str | None = None) -> Grant | None:
        """The grant that reaches the place: its application, its node or one above it, and the role if one is named."""
        for grant in self.grants:
            if (role is None or grant.role == role) and self._reaches(grant, place):
                return grant
        return None

    def _reaches(self, grant: Grant, place: Placed) -> bool:
        return self._counts(grant, place) and (grant.node_id is None or is_under(place.node_path, grant.node_path))

    def sees(self, place: Placed) -> bool:
        """Whether these grants, taken as grants to read, show what is there: from above it and from below it."""
        return self.actor.is_system or any(
            self._reaches(grant, place) or (self._counts(grant, place) and is_under(grant.node_path, place.node_path))
            for grant in self.grants
        )

    def _counts(self, grant: Grant, place: Placed) -> bool:
        return grant.application in (place.application, "*") or grant.id in self.wide


@dataclass(frozen=True, slots=True)
class Command:
    """What was asked for, with what the shell has looked up about it."""

    name: Name
    reason: str | None = None
    comment: str | None = None
    review_by: datetime | None = None
    assignee_id: UUID | None = None
    assignee_may: bool = False  # the assignee has the owner role for this process
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """`role`: who has it could do it instead. `forbidden`: it is a matter of rights, not of the moment."""

    guard: str  # a `Guard`, or the name that another feature has given to one of its own
    detail: str
    satisfy: str = ""
    role: str | None = None
    forbidden: bool = False


def is_under(path: str | None, ancestor: str | None) -> bool:
    return path is not None and ancestor is not None and (path == ancestor or path.startswith(f"{ancestor}."))


def check(transition: Transition, row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    """The first rule that refuses, in the order in which a person would ask; None when it may happen."""
    return (
        _check_engine(transition, row, acting)
        or _check_state(transition, row)
        or _check_run(transition, row)
        or _WHO[transition.who](row, acting)
        or next((r for r in (_GUARDS[g](row, command, acting) for g in transition.guards) if r is not None), None)
    )


def after(
    transition: Transition,
    row: ProcessRow,
    command: Command,
    acting: Acting,
    *,
    now: datetime,
    content_hash: str | None = None,
) -> ProcessRow:
    """The process as the transition leaves it; `row_version` is counted by the write."""
    actor_id = acting.actor.id
    match transition.name:
        case Name.CLAIM:
            return replace(row, state=ProcessState.ASSIGNED, assignee_id=actor_id)
        case Name.ASSIGN:
            begun = row.state is ProcessState.IN_PROGRESS
            state = row.state if begun else ProcessState.ASSIGNED
            return replace(row, state=state, assignee_id=command.assignee_id)
        case Name.START:
            return replace(row, state=ProcessState.IN_PROGRESS, assignee_id=actor_id, started_at=row.started_at or now)
        case Name.SUBMIT:
            return _submitted(row, command, acting, now, content_hash)
        case Name.APPROVE:
            return _approved(row, acting, now, content_hash)
        case Name.REJECT:
            return _rejected(row, command)
        case Name.HOLD:
            return replace(
                row,
                state=ProcessState.ON_HOLD,
                state_before_hold=row.state,
                review_by=command.review_by,
                reason=command.reason,
            )
        case Name.RESUME:
            return _resumed(row, now)
        case Name.SKIP | Name.CANCEL:
            closed = ProcessState.SKIPPED if transition.name is Name.SKIP else ProcessState.CANCELLED
            return replace(row, state=closed, reason=command.reason, finished_at=now)
        case Name.RETRY:
            return replace(row, state=ProcessState.READY, ready_at=now, reason=None)
        case Name.BEGIN:
            begun_at = row.started_at or now
            return replace(
                row, state=ProcessState.IN_PROGRESS, attempt=row.attempt + 1, started_at=begun_at, reason=None
            )
        case Name.FINISH:
            return replace(row, state=ProcessState.DONE, snapshot_hash=command.fingerprint, finished_at=now)
        case Name.FAIL:
            return replace(row, state=ProcessState.FAILED, reason=command.reason)
        case Name.RELEASE:
            return _entered(row, now)


def contribution(row: ProcessRow) -> tuple[UUID, ...]:
    """Those whose work an approval that follows this process decides on: who made it and who signed it."""
    return () if row.kind is ProcessKind.AUTOMATIC else tuple(dict.fromkeys((*row.makers, *row.signers)))


def _submitted(
    row: ProcessRow, command: Command, acting: Acting, now: datetime, content_hash: str | None
) -> ProcessRow:
    earlier = row.makers if row.kind is ProcessKind.APPROVAL else ()
    done = row.levels == 0
    return replace(
        row,
        state=ProcessState.DONE if done else ProcessState.IN_REVIEW,
        assignee_id=row.assignee_id or acting.actor.id,
        maker_id=acting.actor.id,
        makers=tuple(dict.fromkeys((*earlier, *acting.ids))),
        signers=(),
        level=0 if done else 1,
        started_at=row.started_at or now,
        submitted_at=now,
        finished_at=now if done else None,
        reason=None,
        comment=row.comment if command.comment is None else command.comment,
        snapshot_hash=content_hash,
    )


def _approved(row: ProcessRow, acting: Acting, now: datetime, content_hash: str | None) -> ProcessRow:
    signed = replace(
        row, signers=tuple(dict.fromkeys((*row.signers, *acting.ids))), snapshot_hash=content_hash, reason=None
    )
    if row.level < row.levels:
        return replace(signed, level=row.level + 1)
    return replace(signed, state=ProcessState.DONE, finished_at=now)


def _rejected(row: ProcessRow, command: Command) -> ProcessRow:
    """Back to who submitted it. An approval in its first round has nobody yet: whoever of the owner role takes it."""
    first_decision = row.kind is ProcessKind.APPROVAL and row.round == 1
    return replace(
        row,
        state=ProcessState.IN_PROGRESS,
        round=row.round + 1,
        level=0,
        signers=(),
        submitted_at=None,
        snapshot_hash=None,
        assignee_id=None if first_decision else row.maker_id,
        makers=row.makers if row.kind is ProcessKind.APPROVAL else (),
        reason=command.reason,
    )


def _resumed(row: ProcessRow, now: datetime) -> ProcessRow:
    back = row.state_before_hold or ProcessState.BLOCKED
    resumed = replace(row, state=back, state_before_hold=None, review_by=None, reason=None)
    return _entered(resumed, now) if back in RESTING else resumed


def _entered(row: ProcessRow, now: datetime) -> ProcessRow:
    state = entry_state(row.kind, waiting_on=row.waiting_on, earliest_start=row.earliest_start, now=now)
    if state in RESTING:
        return replace(row, state=state)
    in_review = state is ProcessState.IN_REVIEW
    submitted_at, level = (now, 1) if in_review else (row.submitted_at, row.level)
    return replace(row, state=state, ready_at=row.ready_at or now, submitted_at=submitted_at, level=level)


def check_preparing(row: ProcessRow, acting: Acting) -> Refusal | None:
    """Whether the actor may change what is prepared: comment, checklist, evidence."""
    submit = TRANSITIONS[Name.SUBMIT]
    return _check_state(submit, row) or _check_run(submit, row) or _check_owner(row, acting)


# -- who ---------------------------------------------------------------------------------------------------------------


def _check_engine(transition: Transition, row: ProcessRow, acting: Acting) -> Refusal | None:
    if transition.who is Who.ENGINE and not acting.actor.is_system:
        detail = f"“{transition.label}” is done by the platform itself, not by a person."
        return Refusal(Guard.ENGINE, detail, forbidden=True)
    return None


def _check_state(transition: Transition, row: ProcessRow) -> Refusal | None:
    if row.state in transition.sources:
        return None
    possible = " or ".join(s.label for s in ProcessState if s in transition.sources)
    detail = f"“{row.label}” is {row.state.label}; {transition.label.lower()} is possible when it is {possible}."
    satisfy = {
        ProcessState.BLOCKED: "Its predecessors must close first.",
        ProcessState.PLANNED: "Its earliest start must be reached first.",
        ProcessState.ON_HOLD: "Resume it first.",
        ProcessState.FAILED: "Retry or skip it first.",
    }.get(row.state, "")
    return Refusal(Guard.STATE, detail, satisfy)


def _check_run(transition: Transition, row: ProcessRow) -> Refusal | None:
    if row.run_state is RunState.ACTIVE:
        return None
    if row.run_state is RunState.ON_HOLD and transition.name in (Name.FINISH, Name.FAIL, Name.CANCEL, Name.RELEASE):
        return None  # what was on its way when the run was held may arrive
    words = row.run_state.value.replace("_", " ")
    satisfy = "Resume the run first." if row.run_state is RunState.ON_HOLD else ""
    return Refusal(Guard.RUN_IS_ACTIVE, f"The run {row.run_reference} is {words}.", satisfy)


def _check_owner(row: ProcessRow, acting: Acting) -> Refusal | None:
    role = row.owner_role
    if acting.actor.is_system or acting.grant_for(row, role) is None:
        name = f"the role {role}" if role else "a role"
        detail = f"“{row.label}” is work of {name} in {row.application}, and none of your grants reaches it there."
        return Refusal(Guard.OWNER_ROLE, detail, "Somebody with the role does it.", role, forbidden=True)
    if row.assignee_id is not None and row.assignee_id not in acting.ids:
        detail = f"“{row.label}” is assigned to somebody else."
        return Refusal(Guard.ASSIGNEE, detail, "The assignee does it, or it is assigned to you.")
    return None


def _check_checker(row: ProcessRow, acting: Acting) -> Refusal | None:
    role = row.checker_role
    if acting.actor.is_system or role is None or acting.grant_for(row, role) is None:
        detail = f"Level {row.level} of “{row.label}” is decided by the role {role or '(none)'} in {row.application}, "
        detail += "and none of your grants reaches it there."
        return Refusal(Guard.CHECKER_ROLE, detail, "Somebody with the role decides.", role, forbidden=True)
    return None


def _check_lead(row: ProcessRow, acting: Acting) -> Refusal | None:
    if acting.actor.is_system or acting.grant_for(row) is not None:
        return None
    detail = f"“{row.label}” is outside the part of {row.application} that your grants reach."
    return Refusal(Guard.LEAD_SCOPE, detail, "Somebody whose grant covers its node does it.", forbidden=True)


def _check_nothing(row: ProcessRow, acting: Acting) -> Refusal | None:
    return None


# -- guards ------------------------------------------------------------------------------------------------------------


def _human_work(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if row.kind is not ProcessKind.AUTOMATIC:
        return None
    return Refusal(Guard.HUMAN_WORK, f"“{row.label}” is done by a worker.", "It can be held, skipped or retried.")


def _automatic(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if row.kind is ProcessKind.AUTOMATIC:
        return None
    return Refusal(Guard.AUTOMATIC, f"“{row.label}” is done by people, so there is no job to run.")


def _maker_is_not_checker(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if not set(acting.ids) & set(row.makers):
        return None
    detail = f"You prepared what “{row.label}” decides on in round {row.round}. Rule: maker is not checker."
    return Refusal(Guard.MAKER_IS_NOT_CHECKER, detail, "Somebody who had no part in it decides.", row.checker_role)


def _one_level_each(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if not set(acting.ids) & set(row.signers):
        return None
    detail = f"You have approved a lower level of “{row.label}” in this round. Rule: one level each."
    return Refusal(Guard.ONE_LEVEL_EACH, detail, "Somebody else decides this level.", row.checker_role)


def _skip_allowed(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if row.skip_allowed:
        return None
    detail = f"“{row.label}” may not be skipped: its definition does not allow it."
    return Refusal(Guard.SKIP_ALLOWED, detail, "Do it, or cancel it with what depends on it.")


def _not_running(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if row.kind is not ProcessKind.AUTOMATIC or row.state is not ProcessState.IN_PROGRESS:
        return None
    return Refusal(Guard.NOT_RUNNING, f"A worker is at “{row.label}” right now.", "Wait for the job, or cancel it.")


def _assignee_may_do_it(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if command.assignee_may or command.assignee_id is None:
        return None
    detail = f"That user does not have the role {row.owner_role} for “{row.label}”."
    return Refusal(Guard.ASSIGNEE_MAY_DO_IT, detail, "Choose somebody with the role.", row.owner_role)


_WHO: Mapping[Who, Callable[[ProcessRow, Acting], Refusal | None]] = MappingProxyType(
    {Who.OWNER: _check_owner, Who.CHECKER: _check_checker, Who.LEAD: _check_lead, Who.ENGINE: _check_nothing}
)
_GUARDS: Mapping[Guard, Callable[[ProcessRow, Command, Acting], Refusal | None]] = MappingProxyType(
    {
        Guard.HUMAN_WORK: _human_work,
        Guard.AUTOMATIC: _automatic,
        Guard.MAKER_IS_NOT_CHECKER: _maker_is_not_checker,
        Guard.ONE_LEVEL_EACH: _one_level_each,
        Guard.SKIP_ALLOWED: _skip_allowed,
        Guard.NOT_RUNNING: _not_running,
        Guard.ASSIGNEE_MAY_DO_IT: _assignee_may_do_it,
    }
)
