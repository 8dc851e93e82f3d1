"""What a change of a tree must respect: a parent in force, no ring, nothing in use below or behind an ended node."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.errors import Conflict, FieldProblem, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.hierarchy.store import Node, read_nodes
from app.domain.hierarchy.timeline import gap_in

# Climb from one node to the top, on the date of the change and on each later one that has a change planned.
IS_BELOW = text(
    """
WITH RECURSIVE days AS (
    SELECT CAST(:at AS date) AS day
    UNION
    SELECT v.valid_from FROM hierarchy_node_version v JOIN hierarchy_node n ON n.id = v.node_id
    WHERE n.hierarchy_id = :hierarchy_id AND v.valid_from > :at
      AND (CAST(:until AS date) IS NULL OR v.valid_from < CAST(:until AS date))
), climb AS (
    SELECT day, CAST(:lower AS uuid) AS node_id FROM days
    UNION ALL
    SELECT c.day, v.parent_id
    FROM climb c JOIN hierarchy_node_version v
        ON v.node_id = c.node_id AND v.valid_from <= c.day AND (v.valid_to IS NULL OR v.valid_to > c.day)
    WHERE c.node_id <> :upper AND v.parent_id IS NOT NULL
)
SELECT min(day) FROM climb WHERE node_id = :upper
"""
)

# Who still needs a node that ends at a date. Each line: what it is, and by which name a person finds it.
USES = """
WITH asked AS (SELECT a.node_id, a.at FROM jsonb_to_recordset(:asked) AS a(node_id uuid, at date)), uses AS (
    SELECT a.node_id, 'open runs' AS what, r.reference AS name
    FROM asked a JOIN workflow_run r ON r.node_id = a.node_id AND r.state IN ('active', 'on_hold')
    UNION ALL
    SELECT a.node_id, 'open processes', r.reference || ' ' || p.label
    FROM asked a JOIN process_run p ON p.node_id = a.node_id AND p.state NOT IN ('done', 'skipped', 'cancelled')
        JOIN workflow_run r ON r.id = p.run_id AND r.state IN ('active', 'on_hold')
    UNION ALL
    SELECT a.node_id, 'processes of workflow versions in use', w.code || ' ' || d.label
    FROM asked a JOIN process d ON d.node_id = a.node_id
        JOIN workflow_version v ON v.id = d.version_id AND v.state <> 'retired'
        JOIN workflow w ON w.id = v.workflow_id AND w.active
    WHERE v.state = 'draft' OR NOT EXISTS (SELECT FROM workflow_version later
        WHERE later.workflow_id = v.workflow_id AND later.state = 'published' AND later.number > v.number)
    UNION ALL
    SELECT DISTINCT a.node_id, 'open positions', p.currency
    FROM asked a JOIN position p ON p.book_id = a.node_id AND p.current AND p.closing <> 0
    WHERE p.business_date = (SELECT max(l.business_date) FROM position l
                             WHERE l.book_id = p.book_id AND l.currency = p.currency AND l.current)
    {more}
)
SELECT node_id, what, count(*) AS number, (array_agg(name ORDER BY name))[1:3] AS names
FROM uses GROUP BY node_id, what ORDER BY node_id, what
"""
# What a merge takes to the other node, and an end without a successor leaves behind.
_MOVABLE_USES = """
    UNION ALL
    SELECT a.node_id, 'trades on or after that date', t.reference
    FROM asked a JOIN trade t ON t.book_id = a.node_id AND t.trade_date >= a.at
    UNION ALL
    SELECT a.node_id, 'role grants', u.name
    FROM asked a JOIN role_grant g ON g.node_id = a.node_id AND g.revoked_at IS NULL
        AND (g.valid_until IS NULL OR g.valid_until > :now)
        JOIN app_user u ON u.id = g.user_id
    UNION ALL
    SELECT a.node_id, 'workflows', w.code
    FROM asked a JOIN workflow w ON w.node_id = a.node_id AND w.active
"""
_CHILDREN = """
    UNION ALL
    SELECT a.node_id, 'nodes below it', n.code
    FROM asked a JOIN hierarchy_node_version c ON c.parent_id = a.node_id AND c.change NOT IN ('retired', 'merged')
        AND (c.valid_to IS NULL OR c.valid_to > a.at)
        JOIN hierarchy_node n ON n.id = c.node_id
"""
_ASKED = bindparam("asked", type_=JSONB)
IN_THE_WAY_OF_A_MERGE = text(USES.format(more="")).bindparams(_ASKED)
IN_THE_WAY_OF_THE_END = text(USES.format(more=_MOVABLE_USES)).bindparams(_ASKED)
IN_THE_WAY_OF_THE_END_WITH_CHILDREN = text(USES.format(more=_MOVABLE_USES + _CHILDREN)).bindparams(_ASKED)


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something that still uses a node: what, how much of it, and up to three names."""

    what: str
    number: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        what = self.what if self.number != 1 else _SINGULAR.get(self.what, self.what)
        more = ", ..." if self.number > len(self.names) else ""
        return f"{self.number} {what} ({', '.join(self.names)}{more})"


_SINGULAR = {
    "open runs": "open run",
    "open processes": "open process",
    "processes of workflow versions in use": "process of a workflow version in use",
    "open positions": "open position",
    "trades on or after that date": "trade on or after that date",
    "role grants": "role grant",
    "workflows": "workflow",
    "nodes below it": "node below it",
}


async def blockers_of(
    uow: UnitOfWork, ends: Mapping[UUID, date], *, merge: bool = False, children: bool = True
) -> dict[UUID, tuple[Blocker, ...]]:
    """What is in the way of each of these nodes ending on its date; nodes without any are left out. One statement."""
    if merge:
        statement = IN_THE_WAY_OF_A_MERGE
    else:
        statement = IN_THE_WAY_OF_THE_END_WITH_CHILDREN if children else IN_THE_WAY_OF_THE_END
    asked = [{"node_id": str(node_id), "at": at.isoformat()} for node_id, at in ends.items()]
    values: dict[str, Any] = {"asked": asked} | ({} if merge else {"now": uow.now})
    found: dict[UUID, tuple[Blocker, ...]] = {}
    for row in await uow.execute(statement, values):
        blocker = Blocker(row.what, row.number, tuple(row.names))
        found[row.node_id] = (*found.get(row.node_id, ()), blocker)
    return found


def refuse_blockers(code: str, what: str, at: date, blockers: Sequence[Blocker]) -> None:
    """Raises Conflict with the list of what has to be moved, closed or ended before."""
    if blockers:
        raise Conflict(
            f"{code} cannot be {what} on {at}, because it is still used by {'; '.join(map(str, blockers))}. "
            "Move, close or end those first.",
            context={"blockers": [{"what": b.what, "count": b.number, "names": list(b.names)} for b in blockers]},
        )


async def require_parent(
    uow: UnitOfWork,
    *,
    parent_id: UUID,
    hierarchy_id: UUID,
    code: str,
    at: date,
    until: date | None,
    field: str = "parent",
) -> Node:
    """The parent, when it is in force as long as the child is below it.

    Raises: ValidationFailed with what is wrong about the parent.
    """
    parent = (await read_nodes(uow, [parent_id])).get(parent_id)
    if parent is None or parent.hierarchy_id != hierarchy_id:
        raise ValidationFailed([FieldProblem(field, "choose a node of the same hierarchy", "unknown")])
    gap = gap_in(parent.timeline, at, until)
    if gap is not None:
        wanted = f"from {at}" + (f" to {until}" if until else " on")
        message = f"{parent.code} is not in force on {gap}; {code} needs a parent that is in force {wanted}"
        raise ValidationFailed([FieldProblem(field, message, "not_in_force")])
    return parent


async def refuse_ring(uow: UnitOfWork, node: Node, parent: Node, at: date, until: date | None) -> None:
    """Raises: Conflict when the parent is the node itself or below it, then or after a change that is planned."""
    if node.id == parent.id:
        raise Conflict(f"{node.code} cannot be below itself; choose another parent.")
    day = await is_below(uow, parent, node, at, until)
    if day is not None:
        raise Conflict(f"{node.code} cannot be moved below {parent.code}, which is below {node.code} itself on {day}.")


async def is_below(uow: UnitOfWork, lower: Node, upper: Node, at: date, until: date | None = None) -> date | None:
    """The first date in `[at, until)` on which one node is somewhere below the other; None when it never is."""
    values = {"at": at, "until": until, "hierarchy_id": upper.hierarchy_id, "lower": lower.id, "upper": upper.id}
    day: date | None = await uow.scalar(IS_BELOW, values)
    return day
