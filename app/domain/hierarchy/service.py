"""Change a tree: new nodes, names, places, attributes, ends and returns, each from a date on, past or to come.

The row of a node says what holds today; a change of a later date is kept as a version and `due.apply_due_changes`
carries it out when its day has come. Merging is in `merging`.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, Forbidden, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize
from app.domain.access.scope import record_in_scope, require_in_scope
from app.domain.hierarchy.checks import blockers_of, refuse_blockers, refuse_ring, require_parent
from app.domain.hierarchy.names import code_problems, label_problems, tree_code_problems
from app.domain.hierarchy.store import (
    NewNode,
    Node,
    insert_nodes,
    lock_node,
    lock_tree,
    refresh,
    write_timelines,
)
from app.domain.hierarchy.timeline import (
    Change,
    NewValues,
    Timeline,
    Version,
    begun,
    changed,
    end_after,
    ended,
    restored,
    version_at,
)
from models.base import uuid7

NODE = "hierarchy_node"
MAX_REASON = 500


async def create_hierarchy(
    uow: UnitOfWork, *, code: str, label: str, level_labels: str = "", description: str | None = None
) -> UUID:
    """Begin a new named tree; nodes come by `add_node` or an import. Returns its id.

    Raises: Forbidden, ValidationFailed, Conflict when the code is taken.
    """
    decision = authorize(uow, "create", "hierarchy")
    problems = tree_code_problems(code) + label_problems(label)
    if problems:
        raise ValidationFailed(problems)
    id_ = uuid7()
    values = {"code": code, "label": label.strip(), "level_labels": level_labels.strip(), "description": description}
    stamp = {"created_at": uow.now, "created_by": uow.actor.id, "updated_at": uow.now, "updated_by": uow.actor.id}
    await uow.execute(insert(uow.table("hierarchy")).values(id=id_, row_version=1, **values, **stamp))
    uow.audit(
        AuditEntry(
            command="hierarchy.create",
            entity="hierarchy",
            record_id=id_,
            after=values,
            grant_id=decision.grant_id,
            allowed_by=decision.allowed_by,
        )
    )
    uow.touch("entity:hierarchy")
    return id_


async def add_node(
    uow: UnitOfWork,
    *,
    hierarchy_code: str,
    code: str,
    label: str,
    parent_id: UUID | None = None,
    effective: date | None = None,
    attributes: Mapping[str, Any] | None = None,
    reason: str | None = None,
) -> UUID:
    """Create a node below `parent_id`, or at the top, in force from `effective` (today) on. Returns its id.

    Raises: Forbidden, NotFound, ValidationFailed, Conflict when the hierarchy has the code already.
    """
    decision = authorize(uow, "create", NODE)
    at = effective or uow.now.date()
    tree = await lock_tree(uow, code=hierarchy_code)
    problems = code_problems(code) + label_problems(label) + _reason_problems(uow, at, reason)
    if problems:
        raise ValidationFailed(problems)
    above = ""
    if parent_id is not None:
        await require_in_scope(uow, "read", NODE, parent_id)
        parent = await require_parent(uow, parent_id=parent_id, hierarchy_id=tree.id, code=code, at=at, until=None)
        above = parent.code
    id_ = uuid7()
    timeline = begun(
        parent_id=parent_id, label=label.strip(), attributes=attributes or {}, valid_from=at, reason=said(reason)
    )
    await insert_nodes(uow, tree.id, [NewNode(id_, code, timeline)])
    if not await record_in_scope(uow, "create", NODE, id_):
        raise Forbidden("You may not add a node there; choose a parent in the part of the tree that you look after.")
    after: dict[str, Any] = {"hierarchy": tree.code, "code": code, "label": label.strip(), "parent": above or None}
    after["attributes"] = dict(attributes or {})
    audit_change(uow, id_, decision, verb="create", at=at, reason=reason, after=after)
    return id_


async def rename_node(
    uow: UnitOfWork,
    *,
    node_id: UUID,
    label: str,
    expected_version: int,
    effective: date | None = None,
    reason: str | None = None,
) -> int:
    """Give the node another name from `effective` (today) on. Returns its row version."""
    decision = await require_in_scope(uow, "update", NODE, node_id)
    problems = label_problems(label)
    if problems:
        raise ValidationFailed(problems)
    return await _change(
        uow,
        decision,
        await lock_node(uow, node_id, expected_version),
        NewValues(label=label.strip()),
        change=Change.RENAMED,
        effective=effective,
        reason=reason,
    )


async def set_attributes(
    uow: UnitOfWork,
    *,
    node_id: UUID,
    attributes: Mapping[str, Any],
    expected_version: int,
    effective: date | None = None,
    reason: str | None = None,
) -> int:
    """Set the named attributes from `effective` (today) on; None removes one. Returns the row version."""
    decision = await require_in_scope(uow, "update", NODE, node_id)
    node = await lock_node(uow, node_id, expected_version)
    values = NewValues(attributes=attributes)
    return await _change(uow, decision, node, values, change=Change.CHANGED, effective=effective, reason=reason)


async def move_node(
    uow: UnitOfWork,
    *,
    node_id: UUID,
    parent_id: UUID | None,
    expected_version: int,
    effective: date | None = None,
    reason: str | None = None,
) -> int:
    """Put the node, with everything below it, under another parent from `effective` (today) on.

    Raises:
        ValidationFailed: the parent is of another hierarchy, or not in force as long as the node is.
        Conflict: the parent is below the node, then or after a change that is planned; the node is not in force.
    """
    decision = await require_in_scope(uow, "update", NODE, node_id)
    if parent_id is not None:
        await require_in_scope(uow, "read", NODE, parent_id)
    at = effective or uow.now.date()
    node = await lock_node(uow, node_id, expected_version)
    if parent_id is not None:
        until = end_of_place(node.timeline, at)
        parent = await require_parent(
            uow, parent_id=parent_id, hierarchy_id=node.hierarchy_id, code=node.code, at=at, until=until
        )
        await refuse_ring(uow, node, parent, at, until)
    values = NewValues(moved=True, parent_id=parent_id)
    version = await _change(uow, decision, node, values, change=Change.MOVED, effective=effective, reason=reason)
    await _require_place(uow, decision, node_id, parent_id, "move")
    return version


async def retire_node(
    uow: UnitOfWork, *, node_id: UUID, expected_version: int, effective: date | None = None, reason: str
) -> int:
    """End the node: from `effective` (today) on it is not in force. Returns its row version.

    Raises: Conflict with the list of what still uses it: nodes below it, open runs, positions, trades, grants.
    """
    decision = await require_in_scope(uow, "update", NODE, node_id)
    at = effective or uow.now.date()
    require_reason(uow, at, reason, always=True)
    node = await lock_node(uow, node_id, expected_version)
    timeline = ended(node.timeline, at=at, change=Change.RETIRED, reason=said(reason), code=node.code)
    refuse_blockers(node.code, "retired", at, (await blockers_of(uow, {node_id: at})).get(node_id, ()))
    return await write_change(uow, decision, node, timeline, verb="retire", at=at, reason=reason)


async def restore_node(
    uow: UnitOfWork,
    *,
    node_id: UUID,
    expected_version: int,
    effective: date | None = None,
    parent_id: UUID | None = None,
    reason: str,
) -> int:
    """Put a retired node in force again from `effective` (today) on, where it was or below `parent_id`.

    What a merge has moved to another node stays there. Returns the row version.
    Raises: Conflict, ValidationFailed when the parent is not in force.
    """
    decision = await require_in_scope(uow, "update", NODE, node_id)
    at = effective or uow.now.date()
    require_reason(uow, at, reason, always=True)
    node = await lock_node(uow, node_id, expected_version)
    last = version_at(node.timeline, at)
    below = parent_id or (last.parent_id if last else None)
    timeline = restored(node.timeline, at=at, parent_id=below, reason=said(reason), code=node.code)
    if below is not None:
        until = end_of_place(timeline, at)
        parent = await require_parent(
            uow, parent_id=below, hierarchy_id=node.hierarchy_id, code=node.code, at=at, until=until
        )
        await refuse_ring(uow, node, parent, at, until)
    version = await write_change(uow, decision, node, timeline, verb="restore", at=at, reason=reason)
    await _require_place(uow, decision, node_id, below, "restore")
    return version


async def _require_place(uow: UnitOfWork, decision: Decision, node_id: UUID, parent_id: UUID | None, verb: str) -> None:
    """A grant below a node is not enough to carry records out of its part of the tree, today or on a later date."""
    whole = decision.is_system or any(grant.node_id is None for grant in decision.grants)
    inside = whole if parent_id is None else await record_in_scope(uow, "update", NODE, parent_id)
    if not inside or not await record_in_scope(uow, "update", NODE, node_id):
        raise Forbidden(f"You may not {verb} a node there; choose a parent in the part of the tree you look after.")


async def _change(
    uow: UnitOfWork,
    decision: Decision,
    node: Node,
    values: NewValues,
    *,
    change: Change,
    effective: date | None,
    reason: str | None,
) -> int:
    at = effective or uow.now.date()
    require_reason(uow, at, reason)
    timeline = changed(node.timeline, at=at, values=values, change=change, reason=said(reason), code=node.code)
    if timeline == node.timeline:
        return node.row_version
    verb = {Change.RENAMED: "rename", Change.MOVED: "move"}.get(change, "update")
    return await write_change(uow, decision, node, timeline, verb=verb, at=at, reason=reason)


async def write_change(
    uow: UnitOfWork,
    decision: Decision,
    node: Node,
    timeline: Timeline,
    *,
    verb: str,
    at: date,
    reason: str | None,
    context: Mapping[str, Any] | None = None,
) -> int:
    """Write one node's new timeline, its row of today and the audit entry. Returns the row version."""
    await write_timelines(uow, {node.id: (node.timeline, timeline)})
    row = (await refresh(uow, node.hierarchy_id, [node.id]))[node.id]
    before, after = version_at(node.timeline, at), version_at(timeline, at)
    codes = await _codes(uow, before, after)
    old, new = facts(before, codes), facts(after, codes)
    differing = [name for name in new if old.get(name) != new[name]]
    audit_change(
        uow,
        node.id,
        decision,
        verb=verb,
        at=at,
        reason=reason,
        before={name: old.get(name) for name in differing},
        after={name: new[name] for name in differing},
        context=context,
    )
    row_version: int = row.row_version
    return row_version


async def _codes(uow: UnitOfWork, *versions: Version | None) -> dict[UUID, str]:
    """Codes of the nodes that these versions name, for a trail that people read."""
    ids = {id_ for v in versions if v is not None for id_ in (v.parent_id, v.merged_into_id) if id_ is not None}
    if not ids:
        return {}
    nodes = uow.table(NODE)
    return {row.id: row.code for row in await uow.execute(select(nodes.c.id, nodes.c.code).where(nodes.c.id.in_(ids)))}


def facts(version: Version | None, codes: Mapping[UUID, str]) -> dict[str, Any]:
    """A version as the audit trail keeps it."""
    if version is None:
        return {}
    return {
        "label": version.label,
        "parent": codes.get(version.parent_id) if version.parent_id else None,
        "attributes": dict(version.attributes),
        "in_force": version.in_force,
        "merged_into": codes.get(version.merged_into_id) if version.merged_into_id else None,
    }


def end_of_place(timeline: Timeline, at: date) -> date | None:
    """Until when a place given on `at` lasts: the next planned move, or the end of the node."""
    place = version_at(timeline, at)
    moves = [v.valid_from for v in timeline if place and v.valid_from > at and v.parent_id != place.parent_id]
    ends = end_after(timeline, at)
    return min([*moves, *([ends] if ends else [])], default=None)


def require_reason(uow: UnitOfWork, at: date, reason: str | None, *, always: bool = False) -> None:
    problems = _reason_problems(uow, at, reason, always=always)
    if problems:
        raise ValidationFailed(problems)


def _reason_problems(uow: UnitOfWork, at: date, reason: str | None, *, always: bool = False) -> list[FieldProblem]:
    """A change of the past is a change of what was reported: it says why."""
    said = (reason or "").strip()
    if len(said) > MAX_REASON:
        return [FieldProblem("reason", f"at most {MAX_REASON} characters", "too_long")]
    if said or (not always and at >= uow.now.date()):
        return []
    message = "say why" if always else f"say why the change is to hold since {at}, which is in the past"
    return [FieldProblem("reason", message, "required")]


def said(reason: str | None) -> str | None:
    return (reason or "").strip() or None


def audit_change(
    uow: UnitOfWork,
    node_id: UUID,
    decision: Decision,
    *,
    verb: str,
    at: date,
    reason: str | None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
) -> None:
    uow.audit(
        AuditEntry(
            command=f"{NODE}.{verb}",
            entity=NODE,
            record_id=node_id,
            before=before,
            after=after,
            reason=said(reason),
            context={"effective": at, **(context or {})},
            grant_id=decision.grant_id,
            allowed_by=decision.allowed_by,
        )
    )
