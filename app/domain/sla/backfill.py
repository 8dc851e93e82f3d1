"""Clocks for records that were there before their policy: how many there would be, and starting them in portions."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, and_, func, not_, or_, select, true

from app.core.filters import FilterNode, to_sql
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.entities.queries import variables
from app.domain.sla.compiled import CompiledPolicy
from app.domain.sla.driving import Change, drive
from app.domain.sla.publishing import VERSION
from app.domain.sla.store import compiled, read_version, version_of

PORTION = 500
NOTHING_BEFORE = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Reach:
    """Records of the entity, those that the policy is about, and those that would get a clock now."""

    records: int
    applies: int
    starts: int


async def reach_of(uow: UnitOfWork, *, version_id: UUID) -> Reach:
    """How many records a version would give a clock if it were in force. Raises Forbidden, NotFound."""
    authorize(uow, "read", VERSION)
    row = await read_version(uow, version_id)
    policy = compiled(row, uow.registry)
    return await reach(uow, policy)


async def reach(uow: UnitOfWork, policy: CompiledPolicy) -> Reach:
    """Count in one statement, by the same conditions that the clocks are driven by."""
    table = uow.table(policy.entity)
    applies = _sql(uow, policy.conditions.get("applies_when"), table)
    statement = select(
        func.count().label("records"),
        func.count().filter(applies).label("applies"),
        func.count().filter(_starts(uow, policy, table)).label("starts"),
    ).select_from(table)
    if "deleted_at" in table.c:
        statement = statement.where(table.c.deleted_at.is_(None))
    found = (await uow.execute(statement)).one()
    return Reach(found.records, found.applies, found.starts)


async def backfill_portion(
    uow: UnitOfWork, *, version_id: UUID, after: UUID = NOTHING_BEFORE
) -> tuple[int, UUID | None]:
    """Start the clocks of the next records; return how many started, and after which record to go on, None at the end.

    Records that have their clock are passed over, so that it may be done again at any time.
    """
    policy = await version_of(uow, version_id)
    table, clocks = uow.table(policy.entity), uow.table("sla_clock")
    has_one = (
        select(clocks.c.id)
        .where(clocks.c.policy_id == policy.policy_id, clocks.c.record_entity == policy.entity)
        .where(clocks.c.record_id == table.c.id)
    )
    statement = (
        select(table.c.id)
        .where(table.c.id > after, _starts(uow, policy, table), ~has_one.exists())
        .order_by(table.c.id)
        .limit(PORTION)
        .with_for_update(of=table)
    )
    ids = list((await uow.execute(statement)).scalars())
    started = await drive(uow, policy.entity, [Change(policy.entity, id_, uow.now) for id_ in ids]) if ids else 0
    return started, ids[-1] if len(ids) == PORTION else None


def _starts(uow: UnitOfWork, policy: CompiledPolicy, table: FromClause) -> ColumnElement[bool]:
    """The records that get a clock as they are now."""
    given = policy.conditions
    parts: list[Any] = [_sql(uow, given.get(name), table) for name in ("applies_when", "start")]
    parts += [not_(_sql(uow, given[name], table)) for name in ("stop", "cancel") if name in given]
    choices = [true() if choice is None else _sql(uow, choice, table) for choice in policy.choices]
    return and_(*parts, or_(*choices))


def _sql(uow: UnitOfWork, node: FilterNode | None, table: FromClause) -> ColumnElement[bool]:
    return true() if node is None else func.coalesce(to_sql(node, uow.registry, variables(uow), table=table), False)
