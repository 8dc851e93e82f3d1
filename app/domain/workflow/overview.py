"""What happened lately and how well the closes went, for Home and the pages of runs. Nothing here writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select

from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope
from app.domain.workflow.states import Name, ProcessState, RunState

# What the engine does by itself follows from what people and jobs did; an activity list without it tells more.
SILENT = (Name.RELEASE.value, Name.BEGIN.value)
MOST_EVENTS = 500


@dataclass(frozen=True, slots=True)
class Activity:
    """One transition. `actor` None: the engine."""

    at: datetime
    name: Name
    actor_id: UUID | None
    actor: str | None
    process_run_id: UUID
    label: str
    node_label: str | None
    run_id: UUID
    run_label: str
    business_date: date
    to_state: ProcessState
    round: int
    reason: str | None
    was_late: bool


@dataclass(frozen=True, slots=True)
class Punctuality:
    """Finished runs, oldest first: business date, and whether it was finished by its deadline."""

    days: tuple[tuple[date, bool], ...]

    def share(self, last: int, *, before: int = 0) -> float | None:
        """Percent on time of the `last` runs, leaving out the latest `before`; None without any."""
        end = len(self.days) - before
        chosen = self.days[max(0, end - last) : max(0, end)]
        return 100.0 * sum(on_time for _, on_time in chosen) / len(chosen) if chosen else None

    def rolling(self, window: int, points: int) -> list[float | None]:
        """The share over a moving window, for the latest `points` runs."""
        return [self.share(window, before=points - 1 - n) for n in range(points)]


async def activity(uow: UnitOfWork, *, run_id: UUID | None = None, limit: int = 100) -> list[Activity]:
    """Transitions of processes in the actor's scope, newest first, in one statement."""
    authorize(uow, "read", "process_run")
    t, p, runs = uow.table("process_transition"), uow.table("process_run"), uow.table("workflow_run")
    users, nodes = uow.table("user"), uow.table("hierarchy_node")
    statement: Select[Any] = (
        select(
            t.c.at,
            t.c.name,
            t.c.actor_id,
            users.c.name.label("actor"),
            p.c.id.label("process_run_id"),
            p.c.label,
            nodes.c.label.label("node_label"),
            p.c.run_id,
            runs.c.label.label("run_label"),
            runs.c.business_date,
            t.c.to_state,
            t.c.round,
            t.c.reason,
            func.coalesce(t.c.at > p.c.due_at, False).label("was_late"),
        )
        .join(p, p.c.id == t.c.process_run_id)
        .join(runs, runs.c.id == p.c.run_id)
        .outerjoin(users, users.c.id == t.c.actor_id)
        .outerjoin(nodes, nodes.c.id == p.c.node_id)
        .where(t.c.name.not_in(SILENT))
        .order_by(t.c.at.desc(), t.c.id.desc())
        .limit(max(1, min(limit, MOST_EVENTS)))
    )
    if run_id is not None:
        statement = statement.where(p.c.run_id == run_id)
    rows = (await uow.execute(scope(statement, uow, "read", "process_run", p))).mappings()
    return [Activity(**{**row, "name": Name(row["name"]), "to_state": ProcessState(row["to_state"])}) for row in rows]


async def punctuality(uow: UnitOfWork, *, runs: int = 90) -> Punctuality:
    """The latest finished runs in the actor's scope and whether they met their deadlines."""
    table = uow.table("workflow_run")
    statement = (
        select(table.c.business_date, func.coalesce(table.c.finished_at <= table.c.due_at, True).label("on_time"))
        .where(table.c.state == RunState.DONE.value)
        .order_by(table.c.business_date.desc(), table.c.id.desc())
        .limit(runs)
    )
    rows: Sequence[Any] = (await uow.execute(scope(statement, uow, "read", "workflow_run"))).all()
    return Punctuality(tuple((row.business_date, bool(row.on_time)) for row in reversed(rows)))


async def latest_business_date(uow: UnitOfWork) -> date | None:
    """The latest date that has a run in the actor's scope."""
    table = uow.table("workflow_run")
    found: date | None = await uow.scalar(scope(select(func.max(table.c.business_date)), uow, "read", "workflow_run"))
    return found
