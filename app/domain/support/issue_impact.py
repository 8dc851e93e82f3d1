"""Which impact an issue has: from the critical path, the deadlines and the forecasts of what it is about."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select

from app.core.uow import UnitOfWork
from app.domain.access.scope import scope
from app.domain.prediction.queries import forecasts_of_processes, forecasts_of_runs
from app.domain.support.issue_priorities import Impact
from app.domain.workflow.states import CLOSED

SOON = timedelta(hours=4)
LIKELY = Decimal("0.5")
POSSIBLE = Decimal("0.2")


@dataclass(frozen=True, slots=True)
class Affected:
    """A process or a run that an issue is about. `miss`: the forecast probability of missing its deadline."""

    label: str
    is_open: bool
    critical: bool
    due_at: datetime | None
    miss: Decimal | None


@dataclass(frozen=True, slots=True)
class Suggestion:
    impact: Impact
    reason: str


def suggest(affected: Sequence[Affected], *, now: datetime) -> Suggestion | None:
    """The impact of the worst of them, and why; None where nothing is open to suffer."""
    found = [_one(each, now) for each in affected if each.is_open]
    order = list(Impact)
    return min(found, key=lambda suggestion: order.index(suggestion.impact), default=None)


def _one(each: Affected, now: datetime) -> Suggestion:
    late = each.due_at is not None and each.due_at <= now
    likely = each.miss is not None and each.miss >= LIKELY
    soon = each.due_at is not None and each.due_at - now <= SOON
    possible = each.miss is not None and each.miss >= POSSIBLE
    trouble = "has missed its deadline" if late else "will probably miss its deadline" if likely else ""
    if each.critical and trouble:
        return Suggestion(Impact.EXTENSIVE, f"“{each.label}” is on the critical path and {trouble}.")
    if each.critical and soon:
        return Suggestion(Impact.EXTENSIVE, f"“{each.label}” is on the critical path and due within four hours.")
    if each.critical:
        return Suggestion(Impact.SIGNIFICANT, f"“{each.label}” is on the critical path.")
    if trouble:
        return Suggestion(Impact.SIGNIFICANT, f"“{each.label}” {trouble}.")
    if soon or possible:
        why = "is due within four hours" if soon else "may miss its deadline"
        return Suggestion(Impact.MODERATE, f"“{each.label}” {why}.")
    return Suggestion(Impact.MINOR, f"“{each.label}” is not on the critical path, and there is time.")


async def suggested_impact(
    uow: UnitOfWork, *, process_run_ids: Sequence[UUID] = (), run_ids: Sequence[UUID] = ()
) -> Suggestion | None:
    """The impact of trouble with these processes and runs, as far as the actor may see them."""
    affected = []
    if process_run_ids:
        p = uow.table("process_run")
        of_processes = select(p.c.id, p.c.label, p.c.state, p.c.critical, p.c.due_at).where(p.c.id.in_(process_run_ids))
        rows = (await uow.execute(scope(of_processes, uow, "read", "process_run"))).all()
        forecasts = await forecasts_of_processes(uow, [row.id for row in rows])
        for row in rows:
            forecast = forecasts.get(row.id)
            critical = row.critical or (forecast is not None and forecast.on_critical_path)
            miss = forecast.target.miss if forecast is not None else None
            affected.append(Affected(row.label, row.state not in CLOSED, critical, row.due_at, miss))
    if run_ids:
        r = uow.table("workflow_run")
        of_runs = select(r.c.id, r.c.label, r.c.state, r.c.due_at).where(r.c.id.in_(run_ids))
        found = (await uow.execute(scope(of_runs, uow, "read", "workflow_run"))).all()
        of_run = await forecasts_of_runs(uow, [row.id for row in found])
        for row in found:
            miss = of_run[row.id].target.miss if row.id in of_run else None
            is_open = row.state in ("active", "on_hold")
            affected.append(Affected(row.label, is_open, critical=True, due_at=row.due_at, miss=miss))
    return suggest(affected, now=uow.now)
