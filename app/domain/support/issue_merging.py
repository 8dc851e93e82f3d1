"""Two issues of one trouble become one: what hung on the one hangs on the other, and its reporter is told."""

from uuid import UUID

from sqlalchemy import text

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope
from app.domain.support.issue_holds import sync_issue
from app.domain.support.issue_links import ISSUE, LOCK_ISSUE
from app.domain.support.issue_messages import ADD as ADD_MESSAGE
from app.domain.support.issue_messages import tell
from models.base import uuid7

MERGE = "merge"

# Links are copied, so that what the merged issue was about stays on it; those that are there already stay as they are.
COPY_LINKS = text(
    """
INSERT INTO issue_link (id, issue_id, record_entity, record_id, process_run_id, run_id, overridden_at, overridden_by_id,
                        created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), :target, record_entity, record_id, process_run_id, run_id, overridden_at, overridden_by_id,
       :now, :by, :now, :by
FROM issue_link WHERE issue_id = :source ORDER BY id
ON CONFLICT (issue_id, record_entity, record_id) DO NOTHING
"""
)
COPY_WATCHERS = text(
    """
INSERT INTO issue_watcher (id, issue_id, user_id, created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), :target, w.user_id, :now, :by, :now, :by
FROM (SELECT user_id FROM issue_watcher WHERE issue_id = :source
      UNION SELECT requester_id FROM issue WHERE id = :source AND requester_id IS NOT NULL) w
ON CONFLICT (issue_id, user_id) DO NOTHING
"""
)
# Parts of the merged issue become parts of the other; the other itself takes its place where it was a part of it.
MOVE_CHILDREN = text(
    """
UPDATE issue c SET
    parent_id = CASE WHEN c.id = :target THEN nullif((SELECT s.parent_id FROM issue s WHERE s.id = :source), c.id)
                     WHEN c.parent_id = :source THEN :target ELSE c.parent_id END,
    merged_into_id = CASE WHEN c.merged_into_id = :source THEN CAST(:target AS uuid) ELSE c.merged_into_id END,
    row_version = row_version + 1, updated_at = :now, updated_by = :by
WHERE c.parent_id = :source OR c.merged_into_id = :source
"""
)
TAKE_OVER = text(
    """
UPDATE issue t SET blocking = t.blocking OR s.blocking, occurrences = t.occurrences + s.occurrences,
    last_seen_at = greatest(t.last_seen_at, s.last_seen_at), row_version = t.row_version + 1, updated_at = :now,
    updated_by = :by
FROM issue s WHERE t.id = :target AND s.id = :source
"""
)
# Issues lock in the order of their ids, so that two who merge crosswise wait for each other in one direction.
LOCK_BOTH = text(
    "SELECT id FROM issue WHERE id = ANY (ARRAY[CAST(:a AS uuid), CAST(:b AS uuid)]) ORDER BY id FOR UPDATE"
)


async def merge_into(uow: UnitOfWork, *, source_id: UUID) -> None:
    """Hand over what hangs on an issue that has taken the step to be merged; `merged_into` says to which.

    Raises:
        ValidationFailed: no other issue is named, or it is itself merged or cancelled.
        NotFound, Forbidden: the actor may not work on the other one.
    """
    source = (await uow.execute(LOCK_ISSUE, {"id": source_id})).one()
    target_id = source.merged_into_id
    if target_id is None or target_id == source_id:
        raise ValidationFailed([FieldProblem("merged_into", "choose the issue that goes on", "required")])
    if not uow.actor.is_system:
        await require_in_scope(uow, "update", ISSUE, target_id)
    target = (await uow.execute(LOCK_ISSUE, {"id": target_id})).first()
    if target is None:
        raise NotFound("There is no such issue.")
    if target.merged_into_id is not None or target.closed_at is not None or target.resolved_at is not None:
        words = f"{target.reference} is not open any more; choose an issue that is"
        raise ValidationFailed([FieldProblem("merged_into", words)])
    values = {"source": source_id, "target": target_id, "now": uow.now, "by": uow.actor.id}
    for statement in (COPY_LINKS, COPY_WATCHERS, MOVE_CHILDREN, TAKE_OVER):
        await uow.execute(statement, values)
    words = f"{source.reference} “{source.title}” was merged into this issue."
    message = {"id": uuid7(), "issue_id": target_id, "author": None, "internal": False, "text": words}
    source_key = f"merged:{source_id}:{uow.now.isoformat()}"
    await uow.execute(ADD_MESSAGE, {**message, "source": source_key, "now": uow.now, "by": uow.actor.id})
    after = {"merged": source.reference, "blocking": target.blocking or source.blocking}
    uow.audit(AuditEntry(command="issue.take_over", entity=ISSUE, record_id=target_id, after=after))
    uow.touch(f"{ISSUE}:{source_id}", f"{ISSUE}:{target_id}", f"entity:{ISSUE}")
    subject = f"{source.reference} goes on as {target.reference}"
    said = f"“{source.title}” was merged into “{target.title}”. What happens is told there."
    tell(uow, target_id, {source.requester_id}, title=target.title, subject=subject, words=said)
    if source.blocking or target.blocking:
        await sync_issue(uow, target_id)


async def lock_both(uow: UnitOfWork, first: UUID, second: UUID) -> None:
    """Lock two issues in the order everybody takes. Raises Conflict where they are one."""
    if first == second:
        raise Conflict("An issue cannot be merged into itself.")
    await uow.execute(LOCK_BOTH, {"a": first, "b": second})
