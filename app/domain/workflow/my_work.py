"""What waits for a person: assigned to them, free for their roles to take, or for them to decide."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import DateTime, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize, decide, is_wide
from app.domain.workflow.authority import DELEGATION_IN_FORCE, NOT_DELEGATED
from app.domain.workflow.states import ProcessKind, ProcessState
from app.domain.workflow.ways import principals_of

MOST = 200

# The own grants come as rows, those of whom the person stands in for are read; each role counts in its own application,
# below its own node, and in what was delegated. Own rights come first: `name` is empty for them.
READ_MY_WORK = text(
    f"""
WITH mine AS MATERIALIZED (
    SELECT CAST(:me AS uuid) AS who, CAST(NULL AS text) AS name, CAST(NULL AS text) AS only_in,
           g.role, g.application, CAST(g.path AS ltree) AS path, g.wide
    FROM jsonb_to_recordset(:grants) AS g (role text, application text, path text, wide boolean)
    UNION ALL
    SELECT u.id, u.name, z.code, o.code, a.code, n.path, a.code = 'PLATFORM' AND o.code = ANY (:wide_roles)
    FROM delegation d
    JOIN app_user u ON u.id = d.delegator_id AND u.active AND u.deleted_at IS NULL
    LEFT JOIN application z ON z.id = d.application_id
    JOIN role_grant g ON g.user_id = u.id AND g.revoked_at IS NULL AND g.valid_from <= :now
         AND (g.valid_until IS NULL OR g.valid_until > :now)
    JOIN role o ON o.id = g.role_id AND o.code <> ALL (:not_delegated)
    JOIN application a ON a.id = g.application_id AND a.active
    LEFT JOIN hierarchy_node n ON n.id = g.node_id
    WHERE d.delegate_id = :me AND {DELEGATION_IN_FORCE.format("d")}
), people AS (
    SELECT CAST(:me AS uuid) AS who, CAST(NULL AS text) AS name, CAST(NULL AS text) AS only_in
    UNION SELECT who, name, only_in FROM mine
), member AS (
    SELECT m.user_id, m.parent_id AS group_id
    FROM user_group_member m JOIN user_group y ON y.id = m.parent_id AND y.active
    WHERE m.user_id IN (SELECT who FROM people)
), open AS (
    SELECT p.*, a.code AS application, n.path AS node_path, n.label AS node_label, r.reference, r.label AS run_label,
           r.business_date
    FROM process_run p
    JOIN workflow_run r ON r.id = p.run_id AND r.state = 'active'
    JOIN application a ON a.id = p.application_id
    LEFT JOIN hierarchy_node n ON n.id = p.node_id
    WHERE p.state IN ('ready', 'assigned', 'in_progress', 'in_review') AND p.kind <> 'automatic'
), found AS (
    SELECT o.id, 'assigned' AS part, w.name
    FROM open o CROSS JOIN LATERAL (
        SELECT h.name FROM people h
        WHERE h.who = o.assignee_id AND (h.only_in IS NULL OR h.only_in = o.application)
        ORDER BY h.name NULLS FIRST LIMIT 1) w
    WHERE o.state <> 'in_review'
    UNION ALL
    SELECT o.id, 'claimable', w.name
    FROM open o CROSS JOIN LATERAL (
        SELECT g.name FROM mine g
        WHERE g.role = o.owner_role AND (g.wide OR g.application = o.application)
          AND (g.path IS NULL OR o.node_path <@ g.path) AND (g.only_in IS NULL OR g.only_in = o.application)
          AND (NOT EXISTS (SELECT FROM process_candidate c WHERE c.parent_id = o.process_id)
               OR EXISTS (SELECT FROM process_candidate c WHERE c.parent_id = o.process_id AND (c.user_id = g.who
                    OR (g.who, c.user_group_id) IN (SELECT m.user_id, m.group_id FROM member m))))
        ORDER BY g.name NULLS FIRST LIMIT 1) w
    WHERE o.assignee_id IS NULL AND o.state <> 'in_review'
    UNION ALL
    SELECT o.id, 'to_approve', w.name
    FROM open o
    JOIN process_approval_level l ON l.parent_id = o.process_id AND l.level = o.level
    CROSS JOIN LATERAL (
        SELECT g.name FROM mine g
        WHERE (l.role IS NULL OR g.role = l.role) AND (g.wide OR g.application = o.application)
          AND (g.path IS NULL OR o.node_path <@ g.path) AND (g.only_in IS NULL OR g.only_in = o.application)
          AND (l.user_group_id IS NULL
               OR (g.who, l.user_group_id) IN (SELECT m.user_id, m.group_id FROM member m))
          AND NOT coalesce(o.makers, '[]') @> to_jsonb(CAST(g.who AS text))
          AND NOT coalesce(o.signers, '[]') @> to_jsonb(CAST(g.who AS text))
          AND NOT EXISTS (
              SELECT FROM delegation d
              WHERE d.delegate_id IN (g.who, :me) AND coalesce(o.makers, '[]') @> to_jsonb(CAST(d.delegator_id AS text))
                AND d.valid_from <= :now
                AND least(d.valid_until, d.revoked_at) > coalesce(o.submitted_at, CAST(:now AS timestamptz))
                AND (d.application_id IS NULL OR d.application_id = o.application_id))
        ORDER BY g.name NULLS FIRST LIMIT 1) w
    WHERE o.state = 'in_review' AND NOT coalesce(o.makers, '[]') @> :myself AND NOT coalesce(o.signers, '[]') @> :myself
)
SELECT f.part, o.id, o.run_id, o.code, o.label, o.kind, o.state, o.row_version, o.node_label, o.reference, o.run_label,
       o.business_date, coalesce(CAST(o.level_due ->> CAST(o.level AS text) AS timestamptz), o.due_at) AS due_at,
       o.critical, o.round, o.level, o.levels, coalesce(o.signatures, 0) AS signatures,
       coalesce((SELECT l.needed FROM process_approval_level l
                 WHERE l.parent_id = o.process_id AND l.level = o.level), 1) AS needed,
       o.reason, f.name AS acting_for,
       (SELECT count(*) FROM process_edge e WHERE e.predecessor_id = o.id AND e.satisfied_at IS NULL) AS blocks
FROM found f JOIN open o ON o.id = f.id
ORDER BY due_at NULLS LAST, o.business_date, o.rank, o.id
LIMIT :most
"""
).bindparams(
    bindparam("grants", type_=JSONB),
    bindparam("myself", type_=JSONB),
    bindparam("me", type_=Uuid),
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("wide_roles", type_=ARRAY(Text)),
    bindparam("not_delegated", type_=ARRAY(Text)),
)


class Part(StrEnum):
    ASSIGNED = "assigned"
    CLAIMABLE = "claimable"
    TO_APPROVE = "to_approve"


@dataclass(frozen=True, slots=True)
class WorkItem:
    """`blocks`: how many processes wait for this one. `acting_for`: by whose authority, where not by one's own.

    `signatures` of `needed` are there at the level that is open.
    """

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
    signatures: int
    needed: int
    reason: str | None
    acting_for: str | None
    blocks: int


async def my_work(uow: UnitOfWork, *, limit: int = 50) -> list[WorkItem]:
    """The actor's work, and that of whom they stand in for, by due time and in one statement.

    What they prepared themselves, or whoever they stand in for did, is not theirs to approve.
    """
    policy = uow.resources.policy
    if decide(policy, uow.registry, uow.actor, "read", "process_run") is None and not await principals_of(uow):
        authorize(uow, "read", "process_run")
    grants = [
        {
            "role": grant.role,
            "application": grant.application,
            "path": grant.node_path,
            "wide": is_wide(policy, grant),
        }
        for grant in uow.actor.grants
        if grant.node_id is None or grant.node_path is not None
    ]
    me = uow.actor.id
    values = {
        "grants": grants,
        "me": me,
        "myself": str(me),
        "now": uow.now,
        "wide_roles": [role.code for role in policy.roles if policy.reaches(role.code)],
        "not_delegated": sorted(NOT_DELEGATED),
        "most": max(1, min(limit, MOST)),
    }
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
