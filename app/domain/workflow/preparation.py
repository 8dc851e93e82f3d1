"""What the owner puts into a process before it is submitted: ticks, answers to questions, a draft of the comment."""

from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, Forbidden, NotFound, StaleVersion, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import decide
from app.domain.workflow.answers import accepted
from app.domain.workflow.decisions import Refusal, check_preparing
from app.domain.workflow.outcomes import added
from app.domain.workflow.process_row import ProcessRow, lock_process
from app.domain.workflow.transitions import refused
from app.domain.workflow.ways import Way, by_authority, require_principal, require_visible, ways_to_act

MAX_COMMENT = 20_000

READ_ITEM = text(
    "SELECT label FROM process_checklist_item WHERE parent_id = :process_id AND code = :item ORDER BY position LIMIT 1"
)
ANSWER = text(
    """
INSERT INTO checklist_answer (id, process_run_id, item, done, actor_id, on_behalf_of_id, at,
                              created_at, created_by, updated_at, updated_by)
VALUES (uuidv7(), :id, :item, :done, :actor_id, :on_behalf_of_id, :now, :now, :actor_id, :now, :actor_id)
ON CONFLICT (process_run_id, item) DO UPDATE SET
    done = excluded.done, actor_id = excluded.actor_id, on_behalf_of_id = excluded.on_behalf_of_id, at = excluded.at,
    row_version = checklist_answer.row_version + 1, updated_at = excluded.updated_at, updated_by = excluded.updated_by
"""
)
SAVE_COMMENT = text(
    """
UPDATE process_run SET
    comment = :comment, makers = :makers, row_version = row_version + 1, updated_at = :now, updated_by = :actor_id
WHERE id = :id
RETURNING row_version
"""
).bindparams(bindparam("makers", type_=JSONB))


READ_QUESTION = text(
    "SELECT label, answer_type, options, expected FROM process_question "
    "WHERE parent_id = :process_id AND code = :question ORDER BY position LIMIT 1"
)
ANSWER_QUESTION = text(
    """
INSERT INTO question_answer (id, process_run_id, question, answer, comment, actor_id, on_behalf_of_id, at,
                             created_at, created_by, updated_at, updated_by)
VALUES (uuidv7(), :id, :question, :answer, :comment, :actor_id, :on_behalf_of_id, :now, :now, :actor_id, :now,
        :actor_id)
ON CONFLICT (process_run_id, question) DO UPDATE SET
    answer = excluded.answer, comment = excluded.comment, actor_id = excluded.actor_id,
    on_behalf_of_id = excluded.on_behalf_of_id, at = excluded.at, row_version = question_answer.row_version + 1,
    updated_at = excluded.updated_at, updated_by = excluded.updated_by
"""
)


async def answer_item(uow: UnitOfWork, *, process_run_id: UUID, item: str, done: bool) -> None:
    """Tick or untick an item of the process's checklist.

    Raises:
        NotFound: no such process run, or it has no such item.
        TransitionRefused, Forbidden: it is not the actor's to prepare, or not now.
    """
    row, way = await _to_prepare(uow, process_run_id, "check")
    label = await uow.scalar(READ_ITEM, {"process_id": row.process_id, "item": item})
    if label is None:
        raise NotFound(f"“{row.label}” has no checklist item {item}.")
    behalf = way.acting.actor.on_behalf_of
    values = {"id": row.id, "item": item, "done": done, "on_behalf_of_id": behalf, "actor_id": uow.actor.id}
    values["now"] = uow.now
    await uow.execute(ANSWER, values)
    _record(uow, row, way, "check" if done else "uncheck", {"item": item, "label": label})


async def answer_question(
    uow: UnitOfWork, *, process_run_id: UUID, question: str, answer: str, comment: str | None = None
) -> None:
    """Answer a question of the process; an empty answer takes back the one there is.

    Raises:
        NotFound: no such process run, or it has no such question.
        ValidationFailed: it is no answer to this question, or not the expected one and without a comment.
        TransitionRefused, Forbidden: it is not the actor's to prepare, or not now.
    """
    row, way = await _to_prepare(uow, process_run_id, "answer")
    asked = (await uow.execute(READ_QUESTION, {"process_id": row.process_id, "question": question})).mappings().first()
    if asked is None:
        raise NotFound(f"“{row.label}” has no question {question}.")
    given = accepted(dict(asked), answer, comment)
    said = (comment or "").strip() or None
    values = {"id": row.id, "question": question, "answer": given, "comment": said, "now": uow.now}
    values |= {"on_behalf_of_id": way.acting.actor.on_behalf_of, "actor_id": uow.actor.id}
    await uow.execute(ANSWER_QUESTION, values)
    after = {"question": question, "label": asked["label"], "answer": given or "", "comment": said or ""}
    _record(uow, row, way, "answer", after)


async def save_comment(uow: UnitOfWork, *, process_run_id: UUID, comment: str, expected_version: int) -> int:
    """Keep a draft of what the preparer will say with the submission; return the new row version."""
    if len(comment) > MAX_COMMENT:
        raise ValidationFailed([FieldProblem("comment", f"At most {MAX_COMMENT:,} characters.", "too_long")])
    row, way = await _to_prepare(uow, process_run_id, "comment")
    if row.row_version != expected_version:
        raise StaleVersion(
            f"“{row.label}” has changed since you read it; read it again and add your text.",
            context={"row_version": row.row_version, "state": row.state.value},
        )
    makers = [str(id_) for id_ in added(row.makers, way.acting)]  # the words are theirs, whoever hands them in
    values = {"id": row.id, "comment": comment, "makers": makers, "actor_id": uow.actor.id, "now": uow.now}
    version: int = await uow.scalar(SAVE_COMMENT, values)
    _record(uow, row, way, "comment", {"comment": comment})
    return version


async def _to_prepare(uow: UnitOfWork, process_run_id: UUID, name: str) -> tuple[ProcessRow, Way]:
    action = f"transition:{name}"
    if decide(uow.resources.policy, uow.registry, uow.actor, action, "process_run") is None:
        await require_principal(uow, action)
    row = await lock_process(uow, process_run_id)
    require_visible(uow, row)
    refusals: list[Refusal] = []
    for way in ways_to_act(uow, row, action):
        refusal = check_preparing(row, way.acting)
        if refusal is None:
            return row, way
        refusals.append(refusal)
    if not refusals:
        raise Forbidden(f"You may not prepare “{row.label}”: none of your roles there may.")
    raise await refused(uow, row, next((r for r in refusals if not r.forbidden), refusals[0]))


def _record(uow: UnitOfWork, row: ProcessRow, way: Way, command: str, after: dict[str, str]) -> None:
    uow.touch(f"process_run:{row.id}", f"run:{row.run_id}")
    with by_authority(uow, way.acting):
        uow.audit(
            AuditEntry(
                command=command,
                entity="process_run",
                record_id=row.id,
                after=after,
                context={"run": row.run_reference, "process": row.code},
                allowed_by=way.decision.allowed_by,
                grant_id=way.decision.grant_id,
            )
        )
