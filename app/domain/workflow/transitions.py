"""Commands on one process run: lock, decide in pure Python, write in one statement, tell the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.core.actor import system_actor
from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, Forbidden, NotFound, StaleVersion, TransitionRefused, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import SYSTEM, Decision, authorize, decide, is_wide
from app.domain.workflow import work_queue
from app.domain.workflow.acting import MAX_REASON, Acting, Command
from app.domain.workflow.content import Content, UnmetGuard, digest, missing, plugged_in, read_content, requirements
from app.domain.workflow.decisions import Refusal, check
from app.domain.workflow.events import ProcessesReleased, ProcessStateChanged, RunFinished
from app.domain.workflow.outcomes import after
from app.domain.workflow.people import holders, in_words, who_else
from app.domain.workflow.process_row import ProcessRow, lock_process
from app.domain.workflow.released import Released
from app.domain.workflow.states import TRANSITIONS, Guard, Input, Name, ProcessState, RunState, Transition
from app.domain.workflow.writing import Written, write

_TRACKED = (
    "state", "assignee_id", "maker_id", "round", "attempt", "level", "review_by", "reason", "comment", "snapshot_hash",
)  # fmt: skip
_TRUE_OF_PEOPLE = frozenset({Guard.MAKER_IS_NOT_CHECKER, Guard.ONE_LEVEL_EACH, Guard.OWNER_ROLE, Guard.CHECKER_ROLE})


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
    released: tuple[Released, ...]
    run_finished: bool


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
    """Do one transition. `data`: `review_by` (datetime) for hold, `assignee_id` for assign.

    `expected_version` is the row version that the decision was made on; None only for the platform itself.

    Raises:
        Forbidden: the policy, or the place of the actor's grants, does not allow it.
        NotFound: no such process run, or none that the actor may see.
        StaleVersion: it has changed since.
        ValidationFailed: a reason or another input is missing.
        TransitionRefused: a guard refuses; `context` says which and what would satisfy it.
    """
    rule = TRANSITIONS[_name(name)]
    decision = authorize(uow, f"transition:{rule.name}", "process_run")
    row = await lock_process(uow, process_run_id)
    require_visible(uow, row)
    if expected_version is not None and expected_version != row.row_version:
        raise StaleVersion(
            f"“{row.label}” has changed since you read it: it is {row.state.label} now (version {row.row_version}). "
            "Read it again and decide anew.",
            context={"row_version": row.row_version, "state": row.state.value},
        )
    command = await _command(uow, rule, row, reason=reason, comment=comment, data=data or {})
    return await _perform(uow, rule, row, command=command, acting=acting_as(uow, decision), decision=decision)


async def engine_transition(
    uow: UnitOfWork, row: ProcessRow, name: Name, *, reason: str | None = None, fingerprint: str | None = None
) -> TransitionResult:
    """A step of the platform itself on a process that is locked, whoever's command has led to it."""
    acting = Acting(system_actor(), ())
    command = Command(name, reason=reason, fingerprint=fingerprint)
    decision = Decision((), SYSTEM)
    return await _perform(uow, TRANSITIONS[name], row, command=command, acting=acting, decision=decision)


async def _perform(
    uow: UnitOfWork, rule: Transition, row: ProcessRow, *, command: Command, acting: Acting, decision: Decision
) -> TransitionResult:
    refusal = check(rule, row, command, acting)
    if refusal is not None:
        raise await refused(uow, row, refusal)
    content_hash = await _accepted_content(uow, rule, row, command, acting) if rule.content else None
    now_is = after(rule, row, command, acting, now=uow.now, content_hash=content_hash)
    written = await write(uow, command, row, now_is, acting)
    await _tell(uow, command, row, now_is, written)
    _audit(uow, command, row, now_is, written=written, decision=decision, acting=acting)
    return TransitionResult(
        process_run_id=row.id,
        run_id=row.run_id,
        name=rule.name,
        from_state=row.state,
        to_state=now_is.state,
        row_version=written.row_version,
        round=now_is.round,
        level=now_is.level,
        released=written.released,
        run_finished=_finished(row, written),
    )


def acting_as(uow: UnitOfWork, decision: Decision | None) -> Acting:
    grants = decision.grants if decision is not None else ()
    wide = frozenset(grant.id for grant in grants if is_wide(uow.resources.policy, grant))
    return Acting(uow.actor, grants, wide)


def require_visible(uow: UnitOfWork, row: ProcessRow) -> None:
    """Raises NotFound for a process that the actor may not even read."""
    reading = decide(uow.resources.policy, uow.registry, uow.actor, "read", "process_run")
    if reading is None or not acting_as(uow, reading).sees(row):
        raise NotFound("There is no such process run.")


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
    may = False
    if Input.ASSIGNEE in rule.inputs:
        may = bool(await holders(uow, row, row.owner_role, user_id=assignee_id))
    return Command(rule.name, reason, comment, review_by, assignee_id, may)


async def _accepted_content(
    uow: UnitOfWork, rule: Transition, row: ProcessRow, command: Command, acting: Acting
) -> str:
    """Check what is handed in or signed, and return its hash."""
    content = await read_content(uow, row)
    submitting = rule.name is Name.SUBMIT
    comment = command.comment if submitting and command.comment is not None else row.comment
    unmet = missing(requirements(content, row, comment)) + await plugged_in(uow, row)
    if unmet:
        raise _incomplete(row, rule, unmet)
    signature = digest(content, row, comment)
    if not submitting:
        refusal = check_signing(row, content, signature, acting)
        if refusal is not None:
            raise await refused(uow, row, refusal)
    return signature


def check_signing(row: ProcessRow, content: Content, signature: str, acting: Acting) -> Refusal | None:
    """What only the content can tell about an approval."""
    if content.contributors & set(acting.ids):
        detail = f"You added evidence or answers to “{row.label}”. Rule: maker is not checker."
        return Refusal(Guard.MAKER_IS_NOT_CHECKER, detail, "Somebody who had no part in it decides.", row.checker_role)
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


async def refused(uow: UnitOfWork, row: ProcessRow, refusal: Refusal) -> TransitionRefused | Forbidden:
    """The error for a refusal; where it is about the person, it names who could do it."""
    detail, satisfy = refusal.detail, refusal.satisfy
    if refusal.role is not None and refusal.guard in _TRUE_OF_PEOPLE:
        detail = f"{detail} {in_words(await who_else(uow, row, refusal.role), refusal.role)}"
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
        uow.emit(ProcessesReleased(at=uow.now, run_id=row.run_id, process_run_ids=tuple(item.id for item in begin_now)))
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
) -> None:
    changed = [name for name in _TRACKED if getattr(row, name) != getattr(now_is, name)]
    context: dict[str, Any] = {"run": row.run_reference, "process": row.code, "round": row.round}
    if row.level:
        context["level"] = row.level
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
