"""Merge one node into another: what is below it and what refers to it moves as of a date; its past stays its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, ValidationFailed
from app.core.events import RecordUpdated
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision
from app.domain.access.scope import require_in_scope
from app.domain.hierarchy.checks import blockers_of, is_below, refuse_blockers, require_parent
from app.domain.hierarchy.service import NODE, audit_change, require_reason, said, write_change
from app.domain.hierarchy.store import Node, lock_node, read_nodes, refresh, write_timelines
from app.domain.hierarchy.timeline import Change, NewValues, Timeline, changed, ended

# What follows a node that is merged. Facts, closed runs, positions, and trades before the date stay where they were
# made. A grant or threshold that the other node has already is not made twice.
MOVED = {
    ("trade", "book"): """
        UPDATE trade x SET book_id = :target_id, {stamp}
        WHERE x.book_id = :source_id AND x.trade_date >= :at RETURNING x.id""",
    ("role_grant", "node"): """
        UPDATE role_grant x SET node_id = :target_id, {stamp}
        WHERE x.node_id = :source_id AND x.revoked_at IS NULL AND (x.valid_until IS NULL OR x.valid_until > :now)
          AND NOT EXISTS (SELECT FROM role_grant o WHERE o.node_id = :target_id AND o.user_id = x.user_id
                          AND o.role_id = x.role_id AND o.application_id = x.application_id AND o.revoked_at IS NULL
                          AND (o.valid_until IS NULL OR o.valid_until > :now))
        RETURNING x.id""",
    ("workflow", "node"): """
        UPDATE workflow x SET node_id = :target_id, {stamp} WHERE x.node_id = :source_id RETURNING x.id""",
    ("pnl_threshold", "node"): """
        UPDATE pnl_threshold x SET node_id = :target_id, {stamp}
        WHERE x.node_id = :source_id AND NOT EXISTS (
            SELECT FROM pnl_threshold o WHERE o.node_id = :target_id AND o.measure = x.measure)
        RETURNING x.id""",
}
_STAMP = "row_version = x.row_version + 1, updated_at = :now, updated_by = :actor_id"
_BELOW = text(
    """
SELECT DISTINCT node_id FROM hierarchy_node_version
WHERE parent_id = :node_id AND (valid_to IS NULL OR valid_to > :at)
"""
)


@dataclass(frozen=True, slots=True)
class Merge:
    source_id: UUID
    source: str
    target_id: UUID
    target: str
    at: date


async def merge_nodes(
    uow: UnitOfWork,
    *,
    source_id: UUID,
    target_id: UUID,
    expected_version: int,
    effective: date | None = None,
    reason: str,
) -> int:
    """From `effective` (today) on the target stands for the source, which ends and points to it.

    Nodes below the source come below the target; trades from that date on, grants, workflows and thresholds follow, on
    the day when it is a later one. Returns the row version of the source.
    Raises: Conflict for a target below the source, and with the list of open runs and positions.
    """
    decision = await require_in_scope(uow, "update", NODE, source_id)
    await require_in_scope(uow, "update", NODE, target_id)
    at = effective or uow.now.date()
    require_reason(uow, at, reason, always=True)
    if source_id == target_id:
        raise ValidationFailed([FieldProblem("target", "choose another node; a node cannot be merged into itself")])
    source = await lock_node(uow, source_id, expected_version)
    target = await require_parent(
        uow,
        parent_id=target_id,
        hierarchy_id=source.hierarchy_id,
        code=source.code,
        at=at,
        until=None,
        field="target",
    )
    if await is_below(uow, target, source, at) is not None:
        raise Conflict(
            f"{source.code} cannot be merged into {target.code}, which is below it; move {target.code} first."
        )
    end = ended(
        source.timeline, at=at, change=Change.MERGED, reason=said(reason), code=source.code, merged_into_id=target.id
    )
    refuse_blockers(source.code, "merged", at, (await blockers_of(uow, {source.id: at}, merge=True)).get(source.id, ()))
    await _move_children(uow, decision, source, target, at=at, reason=reason)
    moved: dict[str, int] = {}
    if at <= uow.now.date():
        moved = await move_references(uow, Merge(source.id, source.code, target.id, target.code, at), decision)
    return await write_change(
        uow, decision, source, end, verb="merge", at=at, reason=reason, context={"moved": moved} if moved else None
    )


async def _move_children(
    uow: UnitOfWork, decision: Decision, source: Node, target: Node, *, at: date, reason: str
) -> None:
    ids: Sequence[UUID] = (await uow.execute(_BELOW, {"node_id": source.id, "at": at})).scalars().all()
    if not ids:
        return
    children = await read_nodes(uow, ids)
    changes = {
        child.id: (child.timeline, _below_target(child, source.id, target.id, at, said(reason)))
        for child in children.values()
    }
    await write_timelines(uow, changes)
    await refresh(uow, source.hierarchy_id, list(ids))
    for child in children.values():
        before, after = {"parent": source.code}, {"parent": target.code}
        audit_change(uow, child.id, decision, verb="move", at=at, reason=reason, before=before, after=after)


def _below_target(child: Node, source_id: UUID, target_id: UUID, at: date, reason: str | None) -> Timeline:
    """The child's timeline, with the target wherever it would be below the source from that date on."""
    timeline = child.timeline
    values = NewValues(moved=True, parent_id=target_id)
    while True:
        left = next(
            (
                v
                for v in timeline
                if v.in_force and v.parent_id == source_id and (v.valid_to is None or v.valid_to > at)
            ),
            None,
        )
        if left is None:
            return timeline
        day = max(at, left.valid_from)
        timeline = changed(timeline, at=day, values=values, change=Change.MOVED, reason=reason, code=child.code)


async def move_references(uow: UnitOfWork, merge: Merge, decision: Decision) -> dict[str, int]:
    """Let records that are to follow refer to the target. Returns how many of each entity; each is audited."""
    values: dict[str, Any] = {"source_id": merge.source_id, "target_id": merge.target_id, "now": uow.now}
    values["actor_id"] = uow.actor.id
    moved: dict[str, int] = {}
    for (entity, field), statement in MOVED.items():
        named = {**values, "at": merge.at} if ":at" in statement else values
        ids = (await uow.execute(text(statement.format(stamp=_STAMP)), named)).scalars().all()
        for id_ in ids:
            uow.audit(
                AuditEntry(
                    command=f"{entity}.follow_merge",
                    entity=entity,
                    record_id=id_,
                    before={field: merge.source},
                    after={field: merge.target},
                    grant_id=decision.grant_id,
                    allowed_by=decision.allowed_by,
                )
            )
            # Rules on these records, such as conflicts between the roles of one person, are checked by those who hear.
            uow.emit(RecordUpdated(at=uow.now, entity=entity, record_id=id_, fields=(field,)))
        if ids:
            moved[entity] = len(ids)
            uow.touch(f"entity:{entity}")
    return moved


async def merge_of(uow: UnitOfWork, *, source_id: UUID, source: str, target_id: UUID, at: date) -> Merge:
    """A merge that was planned, with the code of its target."""
    nodes = uow.table(NODE)
    target: str = await uow.scalar(select(nodes.c.code).where(nodes.c.id == target_id))
    return Merge(source_id, source, target_id, target, at)
