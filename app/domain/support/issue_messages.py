"""The thread of an issue: public messages for everybody who sees it, internal ones for those who work on it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause, or_, select, text

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, ValidationFailed
from app.core.events import RecordUpdated
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import record_in_scope, require_in_scope, scope
from app.domain.lifecycles.events import RecordNoticeWanted
from app.domain.lifecycles.store import version_of
from app.domain.lifecycles.transitions import transition_record
from app.domain.support.issue_links import ISSUE, lock_issue
from models.base import uuid7

MESSAGE = "issue_message"
MAX_TEXT = 10_000
MOST_SHOWN = 200
INTERNAL = "internal"
# The step that an answer takes by itself, where the lifecycle has it.
GO_ON, WAITS_FOR_REQUESTER = "continue", "waiting_requester"

ADD = text(
    """
INSERT INTO issue_message (id, issue_id, at, author_id, internal, text, source, created_at, created_by, updated_at,
                           updated_by)
VALUES (:id, :issue_id, :now, :author, :internal, :text, :source, :now, :by, :now, :by)
ON CONFLICT (source) DO NOTHING RETURNING id
"""
)
ANSWERED = text(
    """
UPDATE issue SET responded_at = coalesce(responded_at, :now), updated_requester_at = :now, told = true WHERE id = :id
"""
)
TOLD = text("UPDATE issue SET told = :told WHERE id = :id")
WATCHING = text("SELECT user_id FROM issue_watcher WHERE issue_id = :id")


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `of_reference`: of the issue that was merged into the one shown."""

    id: UUID
    issue_id: UUID
    at: datetime
    author_id: UUID | None
    author: str | None
    internal: bool
    text: str
    of_reference: str | None


async def post_message(
    uow: UnitOfWork, *, issue_id: UUID, text: str, internal: bool = False, source: str | None = None
) -> UUID | None:
    """Say something on an issue. `source`: what it was made from; the same is said once, and None returned.

    An answer of the requester ends the wait for it. The first public word of anybody else is the response.

    Raises:
        NotFound, Forbidden: the issue; also where the actor may not write internally.
        ValidationFailed: nothing, or too much, to say.
        Conflict: the issue was merged into another.
    """
    issue, decision = await lock_issue(uow, issue_id)
    said = text.strip()
    if not said or len(said) > MAX_TEXT:
        wanted = "Write something first." if not said else f"At most {MAX_TEXT:,} characters."
        raise ValidationFailed([FieldProblem("text", wanted, "required" if not said else "too_long")])
    if issue.merged_into_id is not None and not uow.actor.is_system:
        raise Conflict(f"{issue.reference} was merged into another issue; write there.")
    if internal:
        await require_in_scope(uow, INTERNAL, ISSUE, issue_id)
    author = None if uow.actor.is_system else uow.actor.id
    values = {"id": uuid7(), "issue_id": issue_id, "author": author, "internal": internal, "text": said}
    message_id: UUID | None = await uow.scalar(ADD, {**values, "source": source, "now": uow.now, "by": uow.actor.id})
    if message_id is None:
        return None
    uow.audit(
        AuditEntry(
            command=f"{ISSUE}.message",
            entity=ISSUE,
            record_id=issue_id,
            after={"message": str(message_id), "internal": internal},
            grant_id=decision.grant_id,
            allowed_by=decision.allowed_by,
        )
    )
    uow.touch(f"{ISSUE}:{issue_id}", f"entity:{MESSAGE}")
    if author is not None:
        await _follow(uow, issue, author, internal=internal)
        await _notify(uow, issue, said, internal=internal)
    return message_id


async def _follow(uow: UnitOfWork, issue: Row[tuple[UUID, ...]], author: UUID, *, internal: bool) -> None:
    if internal:
        return
    if author != issue.requester_id:
        if issue.told:  # each word is one: the clock of the next one begins anew though the last was ours, too
            await _note(uow, issue.id, TOLD, told=False)
            await uow.dispatch()
        await _note(uow, issue.id, ANSWERED, now=uow.now)
        return
    if issue.told:
        await _note(uow, issue.id, TOLD, told=False)
    if issue.lifecycle_state == WAITS_FOR_REQUESTER and await _may_go_on(uow, issue.id):
        with uow.by_platform():
            await transition_record(uow, entity=ISSUE, record_id=issue.id, name=GO_ON, expected_version=None)


async def _note(uow: UnitOfWork, issue_id: UUID, statement: TextClause, **values: Any) -> None:
    """Write down where the talk stands, and let the clocks know."""
    await uow.execute(statement, {"id": issue_id, **values})
    uow.emit(RecordUpdated(at=uow.now, entity=ISSUE, record_id=issue_id, fields=("told", "responded_at")))


async def _may_go_on(uow: UnitOfWork, issue_id: UUID) -> bool:
    """Whether the issue's own lifecycle has the step; administrators may have made it another one."""
    table = uow.table(ISSUE)
    version_id = await uow.scalar(select(table.c.lifecycle_version_id).where(table.c.id == issue_id))
    if version_id is None:
        return False
    step = (await version_of(uow, version_id)).transitions.get(GO_ON)
    return step is not None and WAITS_FOR_REQUESTER in step.sources and not (step.guard or step.rule)


async def _notify(uow: UnitOfWork, issue: Row[tuple[UUID, ...]], said: str, *, internal: bool) -> None:
    people: set[UUID | None] = {issue.assignee_id}
    if not internal:
        people |= {issue.requester_id, *(await uow.execute(WATCHING, {"id": issue.id})).scalars()}
    excerpt = said if len(said) <= 300 else f"{said[:299]}…"
    subject = f"{uow.actor.name} wrote on {issue.reference}"
    tell(uow, issue.id, people, title=issue.title, subject=subject, words=excerpt)


def tell(
    uow: UnitOfWork, issue_id: UUID, people: Iterable[UUID | None], *, title: str, subject: str, words: str
) -> None:
    """Tell these people, but not whoever does it."""
    told = tuple(sorted({id_ for id_ in people if id_ is not None and id_ != uow.actor.id}))
    if told:
        uow.emit(
            RecordNoticeWanted(
                at=uow.now,
                entity=ISSUE,
                record_id=issue_id,
                title=title,
                roles=(),
                user_ids=told,
                subject=subject,
                text=words,
            )
        )


async def thread(uow: UnitOfWork, *, issue_id: UUID, limit: int = MOST_SHOWN) -> list[Message]:
    """What the actor may see of it, oldest first, with what was said on issues merged into it; the newest `limit`."""
    authorize(uow, "read", MESSAGE)
    m, i, u = uow.table(MESSAGE), uow.table(ISSUE), uow.table("user")
    statement = (
        select(m.c.id, m.c.issue_id, m.c.at, m.c.author_id, m.c.internal, m.c.text, u.c.name, i.c.reference)
        .join(i, i.c.id == m.c.issue_id)
        .outerjoin(u, u.c.id == m.c.author_id)
        .where(or_(m.c.issue_id == issue_id, i.c.merged_into_id == issue_id))
        .order_by(m.c.at.desc(), m.c.id.desc())
        .limit(limit)
    )
    rows = (await uow.execute(scope(statement, uow, "read", MESSAGE))).all()
    return [
        Message(
            id=row.id,
            issue_id=row.issue_id,
            at=row.at,
            author_id=row.author_id,
            author=row.name,
            internal=row.internal,
            text=row.text,
            of_reference=row.reference if row.issue_id != issue_id else None,
        )
        for row in reversed(rows)
    ]


async def may_write_internally(uow: UnitOfWork, issue_id: UUID) -> bool:
    return await record_in_scope(uow, INTERNAL, ISSUE, issue_id)
