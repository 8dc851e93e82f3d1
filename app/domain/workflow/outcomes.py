"""What a transition makes of a process: pure."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from app.domain.workflow.acting import Acting, Command
from app.domain.workflow.graph import entry_state
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.states import RESTING, Name, ProcessKind, ProcessState, Transition

_NO_REQUEST: dict[str, Any] = {"skip_requested_by_id": None, "skip_requested_for_id": None, "skip_reason": None}


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
    result = _after(transition, row, command, acting, now=now, content_hash=content_hash)
    if result.state is row.state or result.skip_requested_by_id is None:
        return result
    return replace(result, **_NO_REQUEST)  # it was about the state before


def _after(
    transition: Transition,
    row: ProcessRow,
    command: Command,
    acting: Acting,
    *,
    now: datetime,
    content_hash: str | None = None,
) -> ProcessRow:
    actor_id = acting.actor.id
    match transition.name:
        case Name.CLAIM:
            return replace(row, state=_begun_or(row, ProcessState.ASSIGNED), assignee_id=actor_id)
        case Name.UNCLAIM:
            return replace(row, state=_begun_or(row, ProcessState.READY), assignee_id=None)
        case Name.ASSIGN:
            return replace(row, state=_begun_or(row, ProcessState.ASSIGNED), assignee_id=command.assignee_id)
        case Name.START:
            # Whoever begins it has a part in what is handed in, also where somebody else does that.
            return replace(
                row,
                state=ProcessState.IN_PROGRESS,
                assignee_id=actor_id,
                makers=added(row.makers, acting),
                started_at=row.started_at or now,
            )
        case Name.SUBMIT:
            return _submitted(row, command, acting, now, content_hash)
        case Name.APPROVE:
            return _approved(row, acting, now, content_hash)
        case Name.REJECT:
            return _rejected(row, command) if command.to_level is None else _sent_to_level(row, command, now)
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
        case Name.REQUEST_SKIP:
            return replace(
                row,
                skip_requested_by_id=actor_id,
                skip_requested_for_id=acting.actor.on_behalf_of,
                skip_reason=command.reason,
            )
        case Name.DECLINE_SKIP:
            return replace(row, **_NO_REQUEST)
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
            output = command.fingerprint or row.snapshot_hash
            if row.finish_waiting_on > 0 or row.blocking_queries > 0:
                return replace(row, state=ProcessState.WAITING_EXTERNAL, snapshot_hash=output)
            return replace(row, state=ProcessState.DONE, snapshot_hash=output, finished_at=now)
        case Name.ARRIVED:
            # Whoever says so has a part in what is built on it.
            return replace(
                row, state=ProcessState.DONE, reason=command.reason, makers=added(row.makers, acting), finished_at=now
            )
        case Name.FAIL:
            return replace(row, state=ProcessState.FAILED, reason=command.reason)
        case Name.RELEASE:
            return _entered(row, now)
        case Name.REOPEN | Name.REDO:
            return _again(row, command, now)
        case Name.REVALIDATE:
            return replace(row, state=row.state_before_stale or ProcessState.DONE, finished_at=now)
        case Name.MIGRATE | Name.BLOCK | Name.STALE:
            return row  # written for many at once; see `migrating`, `ad_hoc` and `reopening`


def _again(row: ProcessRow, command: Command, now: datetime) -> ProcessRow:
    """From the beginning, one round later: whoever made it has it again, an approval waits for its first decision."""
    state = entry_state(row.kind, waiting_on=0, earliest_start=None, now=now)
    approval = row.kind.decided
    mine = row.kind.attended and not approval and row.maker_id is not None
    return replace(
        row,
        state=ProcessState.ASSIGNED if mine else state,
        round=row.round + 1,
        level=1 if approval else 0,
        assignee_id=row.maker_id if mine else None,
        makers=row.makers if approval else (),
        signers=(),
        signatures=0,
        ready_at=now,
        started_at=None,
        submitted_at=now if approval else None,
        submitted_round=None,
        finished_at=None,
        snapshot_hash=None,
        reason=command.reason,
    )


def _begun_or(row: ProcessRow, state: ProcessState) -> ProcessState:
    """What has begun stays so, whoever it is assigned to."""
    return row.state if row.state is ProcessState.IN_PROGRESS else state


def contribution(row: ProcessRow) -> tuple[UUID, ...]:
    """Those whose work an approval that follows this process decides on: who made it and who signed it."""
    return () if row.kind is ProcessKind.AUTOMATIC else tuple(dict.fromkeys((*row.makers, *row.signers)))


def _submitted(
    row: ProcessRow, command: Command, acting: Acting, now: datetime, content_hash: str | None
) -> ProcessRow:
    done = row.levels == 0
    return replace(
        row,
        state=ProcessState.DONE if done else ProcessState.IN_REVIEW,
        assignee_id=row.assignee_id or acting.actor.id,
        maker_id=acting.actor.id,
        makers=added(row.makers, acting),
        signers=(),
        signatures=0,
        submitted_round=row.round,
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
        row,
        signers=added(row.signers, acting),
        signatures=row.signatures + 1,
        snapshot_hash=content_hash,
        reason=None,
    )
    if row.level_rule is not None and signed.signatures < row.level_rule.needed:
        return signed
    if row.level < row.levels:
        return replace(signed, level=row.level + 1, signatures=0)
    return replace(signed, state=ProcessState.DONE, finished_at=now)


def _rejected(row: ProcessRow, command: Command) -> ProcessRow:
    """Back to who submitted it. An approval in its first round has nobody yet: whoever of the owner role takes it."""
    first_decision = row.kind.decided and row.round == 1
    return replace(
        row,
        state=ProcessState.IN_PROGRESS,
        round=row.round + 1,
        level=0,
        signers=(),
        signatures=0,
        submitted_at=None,
        submitted_round=None,
        snapshot_hash=None,
        assignee_id=None if first_decision else row.maker_id,
        reason=command.reason,
    )


def _sent_to_level(row: ProcessRow, command: Command, now: datetime) -> ProcessRow:
    """Decided anew from an earlier level on: what was handed in stays, and so do the signatures below that level."""
    return replace(
        row,
        round=row.round + 1,
        level=command.to_level or 1,
        signers=command.kept_signers,
        signatures=0,
        submitted_round=row.submitted_round or row.round,
        reason=command.reason,
    )


def added(people: tuple[UUID, ...], acting: Acting) -> tuple[UUID, ...]:
    """With the actor and whose authority they use."""
    return tuple(dict.fromkeys((*people, *acting.ids)))


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
