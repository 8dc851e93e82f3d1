"""Raise an issue, watch it, take it, merge it; and what follows from every change of one, whoever makes it where."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, ValidationFailed
from app.core.events import RecordCreated, RecordUpdated
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import require_in_scope
from app.domain.entities.service import create_record, update_record
from app.domain.lifecycles.events import LifecyclePublished, RecordTransitioned
from app.domain.lifecycles.store import version_of
from app.domain.lifecycles.transitions import StepOutcome, transition_record
from app.domain.support.issue_holds import sync_issue
from app.domain.support.issue_impact import suggested_impact
from app.domain.support.issue_links import (
    HOLD,
    ISSUE,
    PROCESS,
    RUN,
    Record,
    link_records,
    place_of_record,
    require_holds,
)
from app.domain.support.issue_merging import MERGE, lock_both, merge_into
from app.domain.support.issue_messages import tell
from app.domain.support.issue_priorities import derive
from models.base import uuid7
from models.lifecycle import CLOSED

WATCH = text(
    """
INSERT INTO issue_watcher (id, issue_id, user_id, created_at, created_by, updated_at, updated_by)
VALUES (:id, :issue_id, :user_id, :now, :by, :now, :by)
ON CONFLICT (issue_id, user_id) DO NOTHING
"""
)
UNWATCH = text("DELETE FROM issue_watcher WHERE issue_id = :issue_id AND user_id = :user_id")
MARK = text(
    """
UPDATE issue SET impact_reason = coalesce(:reason, impact_reason), rule_id = coalesce(:rule_id, rule_id),
    dedup_key = coalesce(:dedup_key, dedup_key), last_seen_at = coalesce(:seen_at, last_seen_at)
WHERE id = :id
"""
)
STATE = text(
    """
SELECT i.reference, i.title, i.requester_id, i.assignee_id, i.group_id, i.blocking, i.resolved_at, i.closed_at,
       i.lifecycle_version_id, i.created_by,
       ARRAY(SELECT w.user_id FROM issue_watcher w WHERE w.issue_id = i.id) AS watchers
FROM issue i WHERE i.id = :id
"""
)
TIMES = text("UPDATE issue SET resolved_at = :resolved_at, closed_at = :closed_at WHERE id = :id")

# What the platform itself does with issues rests on these steps; everything else of the lifecycle may be refined.
CORE = ("resolve", MERGE)


async def raise_issue(
    uow: UnitOfWork,
    *,
    values: Mapping[str, Any],
    records: Sequence[Record] = (),
    rule_id: UUID | None = None,
    dedup_key: str | None = None,
) -> UUID:
    """Enter an issue about these records. What is left out of `values` follows from the first of them.

    `values`: fields of the entity; without an impact the critical path and the deadlines of the records say which.

    Raises:
        ValidationFailed, Forbidden, NotFound: the values, where the issue would lie, or one of the records.
    """
    authorize(uow, "create", ISSUE)
    given = {name: value for name, value in values.items() if value not in (None, "")}
    places = [await place_of_record(uow, record) for record in dict.fromkeys(records)]
    if places:
        if places[0].application_id is not None:
            given.setdefault("application", str(places[0].application_id))
        if places[0].node_id is not None:
            given.setdefault("node", str(places[0].node_id))
    suggestion = None
    if "impact" not in given:
        processes = [place.process_run_id for place in places if place.process_run_id is not None]
        runs = [record[1] for record in records if record[0] == RUN]
        suggestion = await suggested_impact(uow, process_run_ids=processes, run_ids=runs)
        if suggestion is not None:
            given["impact"] = suggestion.impact.value
    if uow.actor.is_system:
        given.setdefault("requester", None)  # not who enters it
    issue = await create_record(uow, ISSUE, given)
    issue_id: UUID = issue["id"]
    if suggestion is not None or rule_id is not None:
        marks = {"reason": suggestion.reason[:500] if suggestion else None, "rule_id": rule_id, "dedup_key": dedup_key}
        await uow.execute(MARK, {**marks, "seen_at": uow.now if rule_id else None, "id": issue_id})
    if records:
        await link_records(uow, issue_id=issue_id, records=records)
    return issue_id


async def take_issue(uow: UnitOfWork, *, issue_id: UUID, expected_version: int) -> None:
    """Become the assignee. Raises NotFound, Forbidden, StaleVersion, TransitionRefused for a closed issue."""
    await update_record(uow, ISSUE, issue_id, {"assignee": str(uow.actor.id)}, expected_version=expected_version)


async def watch(uow: UnitOfWork, *, issue_id: UUID, watching: bool = True) -> None:
    """Be told of what happens on an issue, or not any more. Raises NotFound."""
    await require_in_scope(uow, "read", ISSUE, issue_id)
    if uow.actor.id is None or uow.actor.is_system or uow.actor.read_only:
        raise Conflict("Only people watch issues.")
    values = {"issue_id": issue_id, "user_id": uow.actor.id}
    if watching:
        await uow.execute(WATCH, {**values, "id": uuid7(), "now": uow.now, "by": uow.actor.id})
    else:
        await uow.execute(UNWATCH, values)
    uow.audit(AuditEntry(command="issue.watch" if watching else "issue.unwatch", entity=ISSUE, record_id=issue_id))
    uow.touch(f"{ISSUE}:{issue_id}")


async def merge_issue(
    uow: UnitOfWork, *, issue_id: UUID, into_id: UUID, expected_version: int, comment: str | None = None
) -> StepOutcome:
    """Let another issue go on in the place of this one: its step `merge`, and what hangs on it goes over.

    Raises:
        NotFound, Forbidden: one of the two. Conflict, TransitionRefused, ValidationFailed: they cannot be merged.
        StaleVersion: it has changed since it was read.
    """
    await require_in_scope(uow, "update", ISSUE, issue_id)
    await require_in_scope(uow, "update", ISSUE, into_id)
    await lock_both(uow, issue_id, into_id)
    outcome = await transition_record(
        uow,
        entity=ISSUE,
        record_id=issue_id,
        name=MERGE,
        expected_version=expected_version,
        comment=comment,
        values={"merged_into": str(into_id)},
    )
    await uow.dispatch()  # so that a refusal of the other issue is this command's answer
    return outcome


# -- what follows, whoever has changed an issue ------------------------------------------------------------------------


async def on_issue_written(uow: UnitOfWork, event: RecordCreated | RecordUpdated) -> None:
    """Priority and group follow the fields; what it blocks is held, or goes on; the assignee is told."""
    if event.entity != ISSUE:
        return
    fields = frozenset(event.fields) if isinstance(event, RecordUpdated) else None
    if fields is None or fields & {"impact", "urgency", "category"}:
        await derive(uow, event.record_id)
    if fields is not None and not fields & {"blocking", "assignee"}:
        return
    row = (await uow.execute(STATE, {"id": event.record_id})).one()
    if row.blocking and (fields is None or "blocking" in fields) and not uow.actor.is_system:
        authorize(uow, HOLD, PROCESS)
        await require_holds(uow, event.record_id)
    if fields is not None and "blocking" in fields:
        await sync_issue(uow, event.record_id, anew=row.blocking)
    if row.assignee_id is not None and (fields is None or "assignee" in fields):
        subject = f"{row.reference} is yours now"
        words = f"“{row.title}” was given to you."
        tell(uow, event.record_id, {row.assignee_id}, title=row.title, subject=subject, words=words)


async def on_issue_transitioned(uow: UnitOfWork, event: RecordTransitioned) -> None:
    """Note when it was resolved and closed, let go what it held, hand over what was merged, and tell people."""
    if event.entity != ISSUE:
        return
    row = (await uow.execute(STATE, {"id": event.record_id})).one()
    lifecycle = await version_of(uow, row.lifecycle_version_id)
    was_closed, state = lifecycle.is_closed(event.from_state), lifecycle.states[event.to_state]
    resolved_at, closed_at = None, None
    if state.category == "final":
        resolved_at = row.resolved_at or event.at
        closed_at = event.at if was_closed else None
    elif state.category == "void":
        resolved_at, closed_at = row.resolved_at, event.at
    times = {"id": event.record_id, "resolved_at": resolved_at, "closed_at": closed_at}
    await uow.execute(TIMES, times)
    if event.name == MERGE:
        await merge_into(uow, source_id=event.record_id)
    is_closed = state.category in CLOSED
    if row.blocking and was_closed != is_closed:
        await sync_issue(uow, event.record_id, anew=not is_closed)
    if event.name != MERGE:
        people = {row.requester_id, row.assignee_id, *row.watchers}
        subject = f"{row.reference} is {state.label.lower()}"
        words = f"“{row.title}”: the state is “{state.label}” now."
        tell(uow, event.record_id, people, title=row.title, subject=subject, words=words)


async def on_lifecycle_published(uow: UnitOfWork, event: LifecyclePublished) -> None:
    """Keep the core of the lifecycle of issues, on which merging and the end of holds rest. Raises ValidationFailed."""
    if event.entity != ISSUE:
        return
    lifecycle = await version_of(uow, event.version_id)
    problems = [
        FieldProblem(name, f"issues need a step {name}; the platform relies on it", "core_step")
        for name in CORE
        if name not in lifecycle.transitions
    ]
    merge = lifecycle.transitions.get(MERGE)
    if merge is not None:
        if lifecycle.states[merge.to].category != "void":
            problems.append(FieldProblem(MERGE, "must lead to a state that counts as void", "core_step"))
        if "merged_into" not in merge.require_fields:
            problems.append(FieldProblem(MERGE, "must ask for the field merged_into", "core_step"))
    resolve = lifecycle.transitions.get("resolve")
    if resolve is not None and lifecycle.states[resolve.to].category != "final":
        problems.append(FieldProblem("resolve", "must lead to a state that counts as final", "core_step"))
    if problems:
        raise ValidationFailed(problems)


async def version_of_issue(uow: UnitOfWork, issue_id: UUID) -> int:
    """The row version as it is now. Raises NotFound."""
    await require_in_scope(uow, "read", ISSUE, issue_id)
    table = uow.table(ISSUE)
    version: int = await uow.scalar(select(table.c.row_version).where(table.c.id == issue_id))
    return version
