"""Conditions of dependencies: where one does not hold for the predecessor, the dependency does not bind.

They are looked at when an edge comes to have its predecessor, and again whenever the predecessor begins, fails or
closes. What has once been found not to bind stays so: an edge is satisfied once and for good.
"""

from datetime import date
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, Text, cast, select

from app.core.filters import FilterError, Not, Variables, parse, to_sql
from app.core.uow import UnitOfWork
from app.domain.workflow.edges import Outcome
from app.domain.workflow.releasing import Passing


async def not_binding(
    uow: UnitOfWork, *, business_date: date, run_id: UUID | None = None, predecessor_id: UUID | None = None
) -> list[Passing]:
    """The open edges of the run, or those that follow the predecessor in its run, whose condition does not hold.

    One statement, and one for each different condition among them.
    """
    edges, processes = uow.table("process_edge"), uow.table("process_run")
    among: list[ColumnElement[bool]] = [
        edges.c.satisfied_at.is_(None), edges.c.condition.is_not(None), edges.c.predecessor_id.is_not(None)
    ]  # fmt: skip
    if run_id is not None:
        among.append(edges.c.run_id == run_id)
    if predecessor_id is not None:
        among.append(edges.c.predecessor_id == predecessor_id)
    written = cast(edges.c.condition, Text)
    variables = Variables(now=uow.now, today=uow.now.date(), business_date=business_date)
    found: list[Passing] = []
    for condition in (await uow.execute(select(written).where(*among).distinct())).scalars().all():
        try:
            node = parse(orjson.loads(condition), uow.registry.entity("process_run"), uow.registry)
        except FilterError:
            continue  # a condition that can no longer be read must not let anything pass
        fails = to_sql(Not(node), uow.registry, variables)
        statement = (
            select(edges.c.id)
            .join(processes, processes.c.id == edges.c.predecessor_id)
            .where(*among, written == condition, fails)
        )
        found += [
            Passing(id_, met_at=None, outcome=Outcome.NOT_BINDING) for id_ in (await uow.execute(statement)).scalars()
        ]
    return found
