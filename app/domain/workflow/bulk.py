"""One command on many processes: tried first, then done by a job, each process by itself with a result of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import decide
from app.domain.access.scope import require_in_scope
from app.domain.jobs.attempts import JobState
from app.domain.jobs.runs import queue_job
from app.domain.workflow.actions import ActionState, action_on
from app.domain.workflow.process_row import ProcessRow, read_process
from app.domain.workflow.states import TRANSITIONS, Guard, Input, Name
from app.domain.workflow.ways import require_principal, require_visible

FUNCTION = "workflow.bulk_transitions"
MOST = 500
MOST_COMMENT = 20_000
# What needs nothing but a click, and perhaps one comment for all.
IN_BULK = (Name.APPROVE, Name.CLAIM, Name.UNCLAIM, Name.SUBMIT)

INSERT_ITEMS = text(
    """
INSERT INTO bulk_item (id, row_version, job_run_id, position, process_run_id, transition, expected_version, state,
                       created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), 1, :job_run_id, i.position, i.id, :name, i.version, 'waiting', :now, :by, :now, :by
FROM jsonb_to_recordset(:items) AS i (id uuid, version bigint, position int)
"""
).bindparams(bindparam("items", type_=JSONB))
READ_JOB = text(
    "SELECT id, state, created_by, created_at, finished_at, error FROM job_run WHERE id = :id AND function = :f"
)
READ_ITEMS = text(
    """
SELECT i.process_run_id, p.label, n.label AS node_label, r.reference, i.transition, i.state, i.to_state, i.guard,
       i.detail, i.finished_at
FROM bulk_item i
JOIN process_run p ON p.id = i.process_run_id
JOIN workflow_run r ON r.id = p.run_id
LEFT JOIN hierarchy_node n ON n.id = p.node_id
WHERE i.job_run_id = :id
ORDER BY i.position
"""
)


@dataclass(frozen=True, slots=True)
class BulkTarget:
    """A process, and the row version on which the person decided; None in a trial that reads it for the first time."""

    id: UUID
    expected_version: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the command would do to one process now. `row_version` is the one to decide on."""

    id: UUID
    label: str
    reference: str
    node_id: UUID | None
    row_version: int
    allowed: bool
    guard: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class BulkLine:
    """One process of a command on many, with what has come of it."""

    process_run_id: UUID
    label: str
    node_label: str | None
    reference: str
    transition: Name
    state: str  # waiting, done or refused
    to_state: str | None
    guard: str | None
    detail: str | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class BulkResult:
    job_run_id: UUID
    state: JobState
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    lines: tuple[BulkLine, ...]

    def count(self, state: str) -> int:
        return sum(line.state == state for line in self.lines)

    @property
    def ended(self) -> bool:
        return self.state in (JobState.SUCCEEDED, JobState.FAILED, JobState.ABORTED)


async def try_bulk(
    uow: UnitOfWork, *, name: str, targets: Sequence[BulkTarget], comment: str | None = None
) -> list[Verdict]:
    """The verdict on each process, with nothing done.

    Raises:
        Forbidden, ValidationFailed: the actor may do this nowhere; no such command, or too many processes.
    """
    transition = await _entered(uow, name, targets, comment)
    verdicts: list[Verdict] = []
    for target in targets:
        try:
            row = await read_process(uow, target.id)
            require_visible(uow, row)
        except NotFound as error:
            verdicts.append(Verdict(target.id, "", "", None, 0, False, "not_found", error.detail))
            continue
        verdicts.append(_verdict(row, target, await action_on(uow, row, transition), comment))
    return verdicts


async def begin_bulk(uow: UnitOfWork, *, name: str, targets: Sequence[BulkTarget], comment: str | None = None) -> UUID:
    """Give the command to a worker; return the job that does it, by the actor's rights at the time it does.

    Raises:
        NotFound: one of the processes is not there, or not in sight.
        Forbidden, ValidationFailed: as for a trial; or a version is missing.
    """
    transition = await _entered(uow, name, targets, comment)
    if any(target.expected_version is None for target in targets):
        message = "Say of each process on which version you decided; a trial tells it."
        raise ValidationFailed([FieldProblem("items", message, "required")])
    for target in targets:
        require_visible(uow, await read_process(uow, target.id))
    arguments = {"transition": transition.value, "comment": comment, "count": len(targets)}
    job_run_id = await queue_job(uow, function=FUNCTION, arguments=arguments, max_attempts=5, backoff_seconds=5)
    items = [
        {"id": str(target.id), "version": target.expected_version, "position": position}
        for position, target in enumerate(targets)
    ]
    values = {"job_run_id": job_run_id, "name": transition.value, "items": items, "now": uow.now, "by": uow.actor.id}
    await uow.execute(INSERT_ITEMS, values)
    uow.audit(
        AuditEntry(
            command=f"bulk:{transition}",
            entity="job_run",
            record_id=job_run_id,
            after={"processes": [str(target.id) for target in targets], "comment": comment},
        )
    )
    return job_run_id


async def bulk_result(uow: UnitOfWork, job_run_id: UUID) -> BulkResult:
    """How far the command is, for whoever gave it and for those who see its job. Raises: NotFound."""
    job = (await uow.execute(READ_JOB, {"id": job_run_id, "f": FUNCTION})).mappings().first()
    if job is None:
        raise NotFound("There is no such command, or you may not see it.")
    if job["created_by"] != uow.actor.id:
        await require_in_scope(uow, "read", "job_run", job_run_id)
    rows = (await uow.execute(READ_ITEMS, {"id": job_run_id})).mappings()
    lines = tuple(BulkLine(**{**row, "transition": Name(row["transition"])}) for row in rows)
    return BulkResult(job_run_id, JobState(job["state"]), job["error"], job["created_at"], job["finished_at"], lines)


def _verdict(row: ProcessRow, target: BulkTarget, action: ActionState | None, comment: str | None) -> Verdict:
    guard = detail = None
    if target.expected_version is not None and target.expected_version != row.row_version:
        guard, detail = "stale_version", f"It has changed since you read it: it is {row.state.label} now."
    elif action is None:
        guard, detail = Guard.STATE.value, f"It is {row.state.label}, which offers no such step."
    elif not action.allowed:
        guard, detail = action.guard, action.refusal
    elif Input.REASON in action.needs:
        guard, detail = "reason", action.warning or "It needs a reason of its own; do it on its own page."
    elif action.name is Name.SUBMIT and row.require_comment and not (comment or row.comment or "").strip():
        guard, detail = Guard.COMMENT.value, "It needs a comment."
    return Verdict(row.id, row.label, row.run_reference, row.node_id, row.row_version, guard is None, guard, detail)


async def _entered(uow: UnitOfWork, name: str, targets: Sequence[BulkTarget], comment: str | None) -> Name:
    if name not in IN_BULK:
        raise ValidationFailed([FieldProblem("transition", f"Choose one of: {', '.join(IN_BULK)}.", "unknown")])
    action = f"transition:{TRANSITIONS[Name(name)].name}"
    if decide(uow.resources.policy, uow.registry, uow.actor, action, "process_run") is None:
        await require_principal(uow, action)
    problems: list[FieldProblem] = []
    if not 1 <= len(targets) <= MOST:
        problems.append(FieldProblem("items", f"Choose from 1 to {MOST} processes; these are {len(targets)}.", "count"))
    if len({target.id for target in targets}) < len(targets):
        problems.append(FieldProblem("items", "A process is there twice; name each once.", "duplicate"))
    if comment is not None and len(comment) > MOST_COMMENT:
        problems.append(FieldProblem("comment", f"At most {MOST_COMMENT:,} characters.", "too_long"))
    if problems:
        raise ValidationFailed(problems)
    return Name(name)
