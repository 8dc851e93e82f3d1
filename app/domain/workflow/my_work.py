"""What waits for a person: assigned to them, free for their roles to take, or for them to decide."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize, is_wide
from app.domain.workflow.states import ProcessKind, ProcessState

MOST = 200

# The grants come as rows; each role of the person counts in its own application and below its own node.
READ_MY_WORK = text(
    """
WITH mine AS (
    SELECT g.role, g.application, CAST(g.path AS ltree) AS path, g.wide
    FROM jsonb_to_recordset(:grants) AS g (role text, application text, path text, wide boolean)
), open AS (
    SELECT p.*, a.code AS application, n.path AS node_path, n.label AS node_label, r.reference, r.label AS run_label,
           r.business_date
    FROM process_run p
    JOIN workflow_run r ON r.id = p.run_id AND r.state = 'active'
    JOIN application a ON a.id = p.application_id
    LEFT JOIN hierarchy_node n ON n.id = p.node_id
    WHERE p.state IN ('ready', 'assigned', 'in_progress', 'in_review') AND p.kind <> 'automatic'
), found AS (
    SELECT o.id, 'assigned' AS part FROM open o WHERE o.assignee_id = :me AND o.state <> 'in_review'
    UNION ALL
    SELECT o.id, 'claimable' FROM open o
    WHERE o.assignee_id IS NULL AND o.state <> 'in_review' AND EXISTS (
        SELECT FROM mine g WHERE g.role = o.owner_role AND (g.wide OR g.application = o.application)
                             AND (g.path IS NULL OR o.node_path <@ g.path))
    UNION ALL
    SELECT o.id, 'to_approve' FROM open o
    WHERE o.state = 'in_review' AND NOT coalesce(o.makers, '[]') @> :myself AND NOT coalesce(o.signers, '[]') @> :myself
      AND EXISTS (
        SELECT FROM process_approval_level l JOIN mine g ON g.role = l.role
        WHERE l.parent_id = o.process_id AND l.level = o.level AND (g.wide OR g.application = o.application)
          AND (g.path IS NULL OR o.node_path <@ g.path))
)
SELECT f.part, o.id, o.run_id, o.code, o.label, o.kind, o.state, o.row_version, o.node_label, o.reference, o.run_label,
       o.business_date, o.due_at, o.critical, o.round, o.level, o.levels, o.reason,
       (SELECT count(*) FROM process_edge e WHERE e.predecessor_id = o.id AND e.satisfied_at IS NULL) AS blocks
FROM found f JOIN open o ON o.id = f.id
ORDER BY o.due_at NULLS LAST, o.business_date, o.rank, o.id
LIMIT :most
"""
).bindparams(bindparam("grants", type_=JSONB), bindparam("myself", type_=JSONB))


class Part(StrEnum):
    ASSIGNED = "assigned"
    CLAIMABLE = "claimable"
    TO_APPROVE = "to_approve"


@dataclass(frozen=True, slots=True)
class WorkItem:
    """`blocks`: how many processes wait for this one."""

    part: Part
    id: UUID
    run_id: UUID
    code: str
    label: str
    kind: ProcessKind
    state: ProcessState
    row_version: int
    node_label: str | None
    reference: str
    run_label: str
    business_date: date
    due_at: datetime | None
    critical: bool
    round: int
    level: int
    levels: int
    reason: str | None
    blocks: int


async def my_work(uow: UnitOfWork, *, limit: int = 50) -> list[WorkItem]:
    """The actor's work by due time, in one statement; what they prepared themselves is not theirs to approve."""
    authorize(uow, "read", "process_run")
    grants = [
        {
            "role": grant.role,
            "application": grant.application,
            "path": grant.node_path,
            "wide": is_wide(uow.resources.policy, grant),
        }
        for grant in uow.actor.grants
        if grant.node_id is None or grant.node_path is not None
    ]
    me = uow.actor.id
    values = {"grants": grants, "me": me, "myself": str(me), "most": max(1, min(limit, MOST))}
    rows = await uow.execute(READ_MY_WORK, values)
    return [
        WorkItem(
            **{
                **row,
                "part": Part(row["part"]),
                "kind": ProcessKind(row["kind"]),
                "state": ProcessState(row["state"]),
            }
        )
        for row in rows.mappings()
    ]
