"""Commands on one process run: lock, decide in pure Python, write in one statement, tell the others."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.core.actor import system_actor
from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, Forbidden, NotFound, StaleVersion, TransitionRefused, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import SYSTEM, Decision, decide
from app.domain.rules.routing import Moment
from app.domain.workflow import work_queue
from app.domain.workflow.acting import MAX_REASON, Acting, Command
from app.domain.workflow.content import (
    Content,
    UnmetGuard,
    digest,
    missing,
    output_digest,
    plugged_in,
    read_content,
    requirements,
    unmet_controls,
)
from app.domain.workflow.decisions import Refusal, stands_in_for_maker
from app.domain.workflow.doubts import pass_on
from app.domain.workflow.events import ProcessStateChanged, RunFinished
from app.domain.workflow.gates import OpenEdge, pass_gates
from app.domain.workflow.outcomes import after
from app.domain.workflow.people import holders, in_words, who_else
from app.domain.workflow.process_row import ProcessRow, lock_process
from app.domain.workflow.rejecting import rejecting
from app.domain.workflow.released import Released, may_begin
from app.domain.workflow.rule_answers import apply_answer, ask_rules
from app.domain.workflow.signed_content import keep_signed
from app.domain.workflow.states import (
    TRANSITIONS,
    Guard,
    Input,
    Name,
    ProcessKind,
    ProcessState,
    RunState,
    Transition,
)
from app.domain.workflow.ways import (
    Way,
    acting_as,
    by_authority,
    open_to,
    require_principal,
    require_visible,
    ways_to_act,
)
from app.domain.workflow.writing import Written, write

FORGET_ARRIVAL = text("UPDATE process_run SET arrived_at = NULL, arrival = NULL, wait_until_at = NULL WHERE id = :id")
_TRACKED = (
    "state", "assignee_id", "maker_id", "round", "attempt", "level", "review_by", "reason", "comment", "snapshot_hash",
)  # fmt: skip
_TRUE_OF_PEOPLE = frozenset(
    {
        Guard.MAKER_IS_NOT_CHECKER, Guard.NOT_THE_MAKERS_DELEGATE, Guard.ONE_LEVEL_EACH, Guard.OWNER_ROLE,
        Guard.CANDIDATE, Guard.CHECKER_ROLE, Guard.DUTY_RULE,
    }
)  # fmt: skip
_OF_LEADS = frozenset({Name.SKIP, Name.REQUEST_SKIP})  # what leaves controls unmet

__all__ = ["TransitionResult", "acting_as", "engine_transition", "require_visible", "transition"]


@dataclass(frozen=True, slots=True)
class TransitionResult:
    """What a command has done. `released`: the processes that may begin because of it."""

    process_run_id: UUID
    run_id: UUID
    name: Name
    from_state: ProcessState
    to_state: ProcessState
    row_version: int
    round: int
    level: int
    signatures: int
    released: tuple[Released, ...]
    run_finished: bool
    finishable: tuple[UUID, ...] = ()
    doubted: tuple[UUID, ...] = ()


async def transition(
    uow: UnitOfWork,
    *,
    process_run_id: UUID,
    name: str,
    expected_version: int | None,
    reason: str | None = None,
    comment: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> TransitionResult:
    """Do one transition. `data`: `review_by` (datetime) for hold, `assignee_id` for assign, `reason_code` and
    `to_level` for reject.

    The actor's own rights are tried first, then those of whom they stand in for.

    `expected_version` is the row version that the decision was made on; None only for the platform itself.

    Raises:
        Forbidden: the policy, or the place of the actor's grants, does not allow it.
        NotFound: no such process run, or none that the actor may see.
        StaleVersion: it has changed since.
        ValidationFailed: a reason or another input is missing.
        TransitionRefused: a guard refuses; `context` says which and what would satisfy it.
    """
    rule = TRANSITIONS[_name(name)]
    action = f"transition:{rule.name}"
    if decide(uow.resources.policy, uow.registry, uow.actor, action, "process_run") is None:
        await require_principal(uow, action)
    row = await lock_process(uow, process_run_id)
    require_visible(uow, row)
    if expected_version is not None and expected_version != row.row_version:
        raise StaleVersion(
            f"“{row.label}” has changed since you read it: it is {row.state.label} now (version {row.row_version}). "
            "Read it again and decide anew.",
            context={"row_version": row.row_version, "state": row.state.value},
        )
    command = await _command(uow, rule, row, reason=reason, comment=comment, data=data or {})
    result = await _perform(uow, rule, row, command=command, ways=ways_to_act(uow, row, action))
    await follow(uow, result.finishable, result.doubted)
    return result


async def engine_transition(
    uow: UnitOfWork, row: ProcessRow, name: Name, *, reason: str | None = None, fingerprint: str | None = None
) -> TransitionResult:
    """A step of the platform itself on a process that is locked, whoever's command has led to it."""
    way = Way(Acting(system_actor(), (), at=uow.now), Decision((), SYSTEM))
    command = Command(name, reason=reason, fingerprint=fingerprint)
    result = await _perform(uow, TRANSITIONS[name], row, command=command, ways=(way,))
    await follow(uow, result.finishable, result.doubted)
    return result


async def finish_waiting(uow: UnitOfWork, process_run_ids: Iterable[UUID]) -> None:
    """Complete automatic processes that are done and waited for leave to end, and what their end lets end in turn."""
    await follow(uow, process_run_ids, ())


async def follow(uow: UnitOfWork, finishable: Iterable[UUID], doubted: Iterable[UUID]) -> None:
    """Do what the engine itself does after a step: end what may end, and decide what was in doubt.

    `doubted`: stale processes whose predecessors have all ended again.
    """
    way = Way(Acting(system_actor(), (), at=uow.now), Decision((), SYSTEM))
    pending = deque((*finishable, *doubted))
    while pending:
        row, command = await lock_process(uow, pending.popleft()), None
        if may_finish(row):
            command = Command(Name.FINISH, fingerprint=row.arrival.get("fingerprint"))
        elif row.state is ProcessState.STALE and row.waiting_on <= 0 and row.finish_waiting_on <= 0:
            command = _decided_again(row)
        if command is None:
            continue
        done = await _perform(uow, TRANSITIONS[command.name], row, command=command, ways=(way,))
        pending.extend((*done.finishable, *done.doubted))


def _decided_again(row: ProcessRow) -> Command | None:
    """What becomes of stale work; it is not good again while an open query holds it up."""
    if row.inputs_changed:
        return Command(Name.REDO)
    return None if row.blocking_queries > 0 else Command(Name.REVALIDATE)


def may_finish(row: ProcessRow) -> bool:
    """Whether it is complete but for its end, and nothing holds that back any more."""
    come = row.kind is not ProcessKind.WAIT_FOR or row.arrived_at is not None
    free = row.finish_waiting_on <= 0 and row.blocking_queries <= 0
    return come and row.state is ProcessState.WAITING_EXTERNAL and free


async def _perform(
    uow: UnitOfWork, rule: Transition, row: ProcessRow, *, command: Command, ways: Sequence[Way]
) -> TransitionResult:
    open_ways, refusal = await open_to(uow, rule, row, command, ways)
    if not open_ways:
        raise await refused(uow, row, refusal)
    way, content_hash, output = open_ways[0], None, None
    if rule.content:
        way, content_hash, output, content = await _accepted_content(uow, rule, row, command, open_ways)
        if rule.name is Name.APPROVE and row.kind is ProcessKind.SIGN_OFF:
            await keep_signed(uow, row, content)
        if rule.name is Name.SUBMIT and row.rule is not None:
            row = await _routed(uow, row)
    acting = way.acting
    command = replace(command, unmet=await _controls_not_met(uow, row) if rule.name in _OF_LEADS else ())
    now_is = after(rule, row, command, acting, now=uow.now, content_hash=content_hash)
    if now_is.state is ProcessState.DONE and rule.name is not Name.REVALIDATE:
        now_is = replace(now_is, output_hash=output or now_is.snapshot_hash)
    closed, over = await pass_gates(uow, row, now_is, command, acting)
    if closed is not None:
        raise await refused(uow, row, closed)
    with by_authority(uow, acting):
        written = await write(uow, command, row, now_is, acting)
        if row.kind is ProcessKind.WAIT_FOR and rule.name in (Name.REOPEN, Name.REDO):
            await uow.execute(FORGET_ARRIVAL, {"id": row.id})
        doubted = await pass_on(uow, row, now_is) if row.output_before is not None else ()
        await _tell(uow, command, row, now_is, written)
        _audit(uow, command, row, now_is, written=written, decision=way.decision, acting=acting, over=over)
    return TransitionResult(
        process_run_id=row.id,
        run_id=row.run_id,
        name=rule.name,
        from_state=row.state,
        to_state=now_is.state,
        row_version=written.row_version,
        round=now_is.round,
        level=now_is.level,
        signatures=now_is.signatures,
        released=written.released,
        run_finished=_finished(row, written),
        finishable=written.finishable,
        doubted=doubted,
    )


def _name(name: str) -> Name:
    try:
        return Name(name)
    except ValueError:
        known = ", ".join(TRANSITIONS)
        raise NotFound(f"There is no transition {name!r}; there are {known}.") from None


async def _command(
    uow: UnitOfWork,
    rule: Transition,
    row: ProcessRow,
    *,
    reason: str | None,
    comment: str | None,
    data: Mapping[str, Any],
) -> Command:
    problems: list[FieldProblem] = []
    reason = (reason or "").strip() or None
    if rule.name is Name.SKIP and row.skip_requested_by_id is not None:
        reason = reason or row.skip_reason  # it was given with the request
    if Input.REASON in rule.inputs and reason is None:
        problems.append(FieldProblem("reason", "Say why.", "required"))
    if reason is not None and len(reason) > MAX_REASON:
        problems.append(FieldProblem("reason", f"At most {MAX_REASON} characters.", "too_long"))
    review_by = data.get("review_by")
    if Input.REVIEW_BY in rule.inputs:
        if not isinstance(review_by, datetime) or review_by.tzinfo is None:
            problems.append(FieldProblem("review_by", "Say until when, with a date and a time.", "required"))
        elif review_by <= uow.now:
            problems.append(FieldProblem("review_by", "Choose a time that is still ahead.", "in_the_past"))
    assignee_id = data.get("assignee_id")
    if Input.ASSIGNEE in rule.inputs and not isinstance(assignee_id, UUID):
        problems.append(FieldProblem("assignee_id", "Choose a user.", "required"))
    if problems:
        raise ValidationFailed(problems)
    command = Command(rule.name, reason, comment, review_by, assignee_id)
    if Input.ASSIGNEE in rule.inputs:
        may = bool(await holders(uow, row, row.owner_role, user_id=assignee_id))
        return replace(command, assignee_may=may)
    return await rejecting(uow, row, command, data) if rule.name is Name.REJECT else command


async def _accepted_content(
    uow: UnitOfWork, rule: Transition, row: ProcessRow, command: Command, ways: Sequence[Way]
) -> tuple[Way, str, str, Content]:
    """Check what is handed in or signed; return the first way that may, the hash, that of what has come out, and it."""
    content = await read_content(uow, row)
    submitting = rule.name is Name.SUBMIT
    comment = command.comment if submitting and command.comment is not None else row.comment
    unmet = missing(requirements(content, row, comment)) + await plugged_in(uow, row)
    if unmet:
        raise _incomplete(row, rule, unmet)
    signature, output = digest(content, row, comment), output_digest(content, comment)
    if submitting:
        return ways[0], signature, output, content
    first: Refusal | None = None
    for way in ways:
        refusal = check_signing(row, content, signature, way.acting)
        if refusal is None:
            return way, signature, output, content
        first = first or refusal
    raise await refused(uow, row, first)


async def _routed(uow: UnitOfWork, row: ProcessRow) -> ProcessRow:
    """With as many levels as the rule of the process says for what is handed in."""
    routing = (await ask_rules(uow, (row.id,), Moment.SUBMIT)).get(row.id)
    if routing is None:
        return row
    _, levels = await apply_answer(uow, row, routing, moment=Moment.SUBMIT)
    return replace(row, levels=levels)


async def _controls_not_met(uow: UnitOfWork, row: ProcessRow) -> tuple[str, ...]:
    content = await read_content(uow, row)
    return unmet_controls(requirements(content, row, row.comment), await plugged_in(uow, row), row)


def check_signing(row: ProcessRow, content: Content, signature: str, acting: Acting) -> Refusal | None:
    """What only the content can tell about an approval."""
    if content.contributors & set(acting.ids):
        whose = "You" if acting.actor.id in content.contributors else "The person you stand in for"
        detail = f"{whose} added evidence or answers to “{row.label}”. Rule: maker is not checker."
        return Refusal(Guard.MAKER_IS_NOT_CHECKER, detail, "Somebody who had no part in it decides.", row.checker_role)
    since = min((at for at in (row.submitted_at, content.handed_in_since) if at is not None), default=None)
    for_maker = stands_in_for_maker(row, acting, {*content.contributors, *row.makers}, since)
    if for_maker is not None:
        return for_maker
    if row.snapshot_hash is not None and row.snapshot_hash != signature:
        detail = f"“{row.label}” has changed since it was submitted: its evidence, answers or figures are not the same."
        return Refusal(Guard.CONTENT_UNCHANGED, detail, "Reject it, so that it is submitted anew.")
    return None


def _incomplete(row: ProcessRow, rule: Transition, unmet: list[UnmetGuard]) -> TransitionRefused:
    satisfy = " ".join(item.satisfy for item in unmet)
    count = "One thing is" if len(unmet) == 1 else f"{len(unmet)} things are"
    detail = f"{rule.label} “{row.label}”: {count} missing. {satisfy}"
    context = {"unmet": [{"guard": u.guard, "label": u.label, "satisfy": u.satisfy} for u in unmet]}
    return TransitionRefused(detail, guard=unmet[0].guard, satisfy=satisfy, context=context)


async def refused(uow: UnitOfWork, row: ProcessRow, refusal: Refusal | None) -> TransitionRefused | Forbidden:
    """The error for a refusal; where it is about the person, it names who could do it."""
    assert refusal is not None  # no way is open, so one of them has been refused
    detail, satisfy = refusal.detail, refusal.satisfy
    if refusal.guard in _TRUE_OF_PEOPLE and (refusal.role is not None or row.level_rule is not None):
        role = refusal.role or ""
        detail = f"{detail} {in_words(await who_else(uow, row, refusal.role), role)}"
    if refusal.forbidden:
        return Forbidden(detail, context={"guard": str(refusal.guard), "satisfy": satisfy})
    return TransitionRefused(detail, guard=str(refusal.guard), satisfy=satisfy, context={"state": row.state.value})


def _finished(row: ProcessRow, written: Written) -> bool:
    return written.run_state is RunState.DONE and row.run_state is not RunState.DONE


async def _tell(uow: UnitOfWork, command: Command, row: ProcessRow, now_is: ProcessRow, written: Written) -> None:
    """Events, live topics and jobs. While a run is on hold nothing is sent to a worker; its resumption does that."""
    uow.emit(
        ProcessStateChanged(
            at=uow.now,
            process_run_id=row.id,
            run_id=row.run_id,
            from_state=row.state.value,
            to_state=now_is.state.value,
            name=command.name.value,
        )
    )
    uow.touch(f"run:{row.run_id}", f"process_run:{row.id}")
    begin_now = tuple(item for item in written.released if item.state is not ProcessState.PLANNED)
    if begin_now:
        uow.touch(*(f"process_run:{item.id}" for item in begin_now))
        uow.emit(may_begin(begin_now, run_id=row.run_id, at=uow.now))
    if work_queue.leaves_worker(row, now_is):
        await work_queue.withdraw(uow, now_is)
    if written.run_state is RunState.ACTIVE:
        await work_queue.queue(uow, begin_now)
        if work_queue.wants_worker(row, now_is):
            await work_queue.queue_again(uow, now_is)
    if _finished(row, written):
        uow.emit(RunFinished(at=uow.now, run_id=row.run_id))


def _audit(
    uow: UnitOfWork,
    command: Command,
    row: ProcessRow,
    now_is: ProcessRow,
    *,
    written: Written,
    decision: Decision,
    acting: Acting,
    over: Sequence[OpenEdge],
) -> None:
    changed = [name for name in _TRACKED if getattr(row, name) != getattr(now_is, name)]
    context: dict[str, Any] = {"run": row.run_reference, "process": row.code, "round": row.round}
    if row.level:
        context["level"] = row.level
    if command.unmet:
        context["controls_not_met"] = list(command.unmet)
    if over:
        context["went_over"] = [edge.label for edge in over]
    if written.released:
        context["released"] = [item.code for item in written.released]
    grant = acting.grant_for(row, row.checker_role if command.name in (Name.APPROVE, Name.REJECT) else None)
    uow.audit(
        AuditEntry(
            command=f"transition:{command.name}",
            entity="process_run",
            record_id=row.id,
            before={name: getattr(row, name) for name in changed},
            after={name: getattr(now_is, name) for name in changed},
            reason=command.reason,
            context=context,
            allowed_by=decision.allowed_by,
            grant_id=grant.id if grant else decision.grant_id,
        )
    )
