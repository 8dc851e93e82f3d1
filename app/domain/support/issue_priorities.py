"""The priority of an issue: impact by urgency. The platform brings a matrix; rows of `issue_priority` replace cells."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.events import RecordCreated, RecordDeleted, RecordUpdated
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.entities.service import create_record, update_record

MATRIX = "issue_priority"


class Impact(StrEnum):
    """How much of the bank's work suffers, the worst first."""

    EXTENSIVE = "extensive"
    SIGNIFICANT = "significant"
    MODERATE = "moderate"
    MINOR = "minor"


class Urgency(StrEnum):
    """How soon it has to be solved, the soonest first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Priority(StrEnum):
    P1 = "p1"
    P2 = "p2"
    P3 = "p3"
    P4 = "p4"


Cell = tuple[Impact, Urgency]

_I, _U, _P = Impact, Urgency, Priority
SHIPPED: Mapping[Cell, Priority] = MappingProxyType(
    {
        (_I.EXTENSIVE, _U.CRITICAL): _P.P1, (_I.EXTENSIVE, _U.HIGH): _P.P1,
        (_I.EXTENSIVE, _U.MEDIUM): _P.P2, (_I.EXTENSIVE, _U.LOW): _P.P2,
        (_I.SIGNIFICANT, _U.CRITICAL): _P.P1, (_I.SIGNIFICANT, _U.HIGH): _P.P2,
        (_I.SIGNIFICANT, _U.MEDIUM): _P.P2, (_I.SIGNIFICANT, _U.LOW): _P.P3,
        (_I.MODERATE, _U.CRITICAL): _P.P2, (_I.MODERATE, _U.HIGH): _P.P2,
        (_I.MODERATE, _U.MEDIUM): _P.P3, (_I.MODERATE, _U.LOW): _P.P3,
        (_I.MINOR, _U.CRITICAL): _P.P3, (_I.MINOR, _U.HIGH): _P.P3,
        (_I.MINOR, _U.MEDIUM): _P.P4, (_I.MINOR, _U.LOW): _P.P4,
    }
)  # fmt: skip

# The requester and the group fall back on whoever entered it and on the category's. The row version stays: what is
# derived does not make a change of somebody else stale.
DERIVE = text(
    """
UPDATE issue i SET
    priority = coalesce((SELECT m.priority FROM issue_priority m WHERE m.impact = i.impact AND m.urgency = i.urgency),
                        CAST(:shipped AS jsonb) ->> (i.impact || ' ' || i.urgency)),
    group_id = coalesce(i.group_id, (SELECT c.group_id FROM issue_category c WHERE c.id = i.category_id))
WHERE i.id = :id
"""
).bindparams(bindparam("shipped", type_=JSONB))
# Finished issues keep the priority under which they were worked on.
DERIVE_OPEN = text(
    """
UPDATE issue i SET priority = d.priority FROM (
    SELECT o.id, coalesce(m.priority, CAST(:shipped AS jsonb) ->> (o.impact || ' ' || o.urgency)) AS priority
    FROM issue o LEFT JOIN issue_priority m ON m.impact = o.impact AND m.urgency = o.urgency
    WHERE o.resolved_at IS NULL AND o.closed_at IS NULL
) d
WHERE i.id = d.id AND i.priority IS DISTINCT FROM d.priority
"""
).bindparams(bindparam("shipped", type_=JSONB))
_SHIPPED_JSON = {f"{impact} {urgency}": priority.value for (impact, urgency), priority in SHIPPED.items()}


async def derive(uow: UnitOfWork, issue_id: UUID) -> None:
    """Write what follows from the fields of an issue: its priority, and the group of its category where it has none."""
    await uow.execute(DERIVE, {"id": issue_id, "shipped": _SHIPPED_JSON})


async def matrix(uow: UnitOfWork) -> dict[Cell, Priority]:
    """Every cell as it counts now."""
    authorize(uow, "read", MATRIX)
    table = uow.table(MATRIX)
    rows = await uow.execute(select(table.c.impact, table.c.urgency, table.c.priority))
    return {**SHIPPED, **{(Impact(row.impact), Urgency(row.urgency)): Priority(row.priority) for row in rows}}


async def set_cell(uow: UnitOfWork, *, impact: Impact, urgency: Urgency, priority: Priority) -> None:
    """Say which priority a cell of the matrix has from now on; open issues follow. Raises Forbidden."""
    authorize(uow, "update", MATRIX)
    table = uow.table(MATRIX)
    statement = select(table.c.id, table.c.row_version, table.c.priority)
    row = (await uow.execute(statement.where(table.c.impact == impact, table.c.urgency == urgency))).first()
    if row is None and SHIPPED[impact, urgency] is not priority:
        given = {"impact": impact.value, "urgency": urgency.value, "priority": priority.value}
        await create_record(uow, MATRIX, given)
    elif row is not None and row.priority != priority:
        await update_record(uow, MATRIX, row.id, {"priority": priority.value}, expected_version=row.row_version)


async def on_matrix_written(uow: UnitOfWork, event: RecordCreated | RecordUpdated | RecordDeleted) -> None:
    """Open issues follow the matrix."""
    if event.entity == MATRIX:
        await uow.execute(DERIVE_OPEN, {"shipped": _SHIPPED_JSON})
        uow.touch("entity:issue")
