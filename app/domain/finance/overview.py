"""The result of the latest dates at the highest node that somebody may see, for Home."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import func, select

from app.core.uow import UnitOfWork
from app.domain.access.decisions import decide
from app.domain.access.scope import scope
from app.domain.finance.facts import SOURCE_BOOK, SOURCE_ROLLUP
from app.domain.finance.pnl import Measure
from app.domain.finance.pnl_run import BOOK_HIERARCHY

LOOK_BACK_DAYS = 60


@dataclass(frozen=True, slots=True)
class DailyPnl:
    """`days`, oldest first: business date and actual PnL in EUR."""

    node: str
    days: tuple[tuple[date, Decimal], ...]


async def daily_pnl(uow: UnitOfWork, *, days: int = 20) -> DailyPnl | None:
    """The actual PnL of the last dates, one statement; None for who may not read figures, or where there are none."""
    if decide(uow.resources.policy, uow.registry, uow.actor, "read", "pnl_fact") is None:
        return None
    facts, nodes, trees = uow.table("pnl_fact"), uow.table("hierarchy_node"), uow.table("hierarchy")
    visible = (
        select(facts.c.business_date, facts.c.value, nodes.c.label, nodes.c.path)
        .join(nodes, nodes.c.id == facts.c.book_id)
        .join(trees, trees.c.id == nodes.c.hierarchy_id)
        .where(
            trees.c.code == BOOK_HIERARCHY,
            facts.c.current,
            facts.c.measure == Measure.ACTUAL.value,
            facts.c.source.in_([SOURCE_ROLLUP, SOURCE_BOOK]),
            facts.c.business_date > select(func.max(facts.c.business_date)).scalar_subquery() - LOOK_BACK_DAYS,
        )
    )
    seen = scope(visible, uow, "read", "pnl_fact", facts).cte("seen")
    top = select(seen.c.path).order_by(func.nlevel(seen.c.path), seen.c.path).limit(1).scalar_subquery()
    statement = select(seen.c.business_date, seen.c.value, seen.c.label).where(seen.c.path == top)
    rows = (await uow.execute(statement.order_by(seen.c.business_date.desc()).limit(days))).all()
    if not rows:
        return None
    return DailyPnl(rows[0].label, tuple((row.business_date, row.value) for row in reversed(rows)))
