"""Dependencies on runs of other workflows: waiting for a run that may not exist yet, binding to it, passing.

An edge waits unbound until the run that it means exists. What its predecessor does in another run never touches this
one in the same transaction: it leaves a job, and the job settles each run that waits, under the locks of that run and
of those it looks at, taken in the order of their ids. Whoever commits last has such a job after the commit, so that no
edge is missed; a job that comes twice finds nothing to do.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Date, DateTime, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.uow import UnitOfWork
from app.domain.calendars.calendars import Calendar
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.store import calendar_of_id
from app.domain.workflow.conditions import not_binding
from app.domain.workflow.edges import EdgeType, RunSelector, target_date
from app.domain.workflow.events import AwaitedRunsMissing
from app.domain.workflow.gates import BEGUN
from app.domain.workflow.lags import lag_over
from app.domain.workflow.releasing import Passing, pass_edges, tell
from app.domain.workflow.transitions import finish_waiting
from app.domain.workflow.writing import SETTLE_ACROSS

BATCH = 500

READ_RUN = text(
    """
SELECT r.id, r.version_id, r.business_date, r.node_id, w.calendar_id
FROM workflow_run r JOIN workflow w ON w.id = r.workflow_id WHERE r.id = :run_id
"""
)
READ_DEPENDENCIES = text(
    """
SELECT d.id, d.run_selector, d.selector_calendar_id, d.expected_by
FROM process_dependency d WHERE d.version_id = :version_id AND d.other_workflow_id IS NOT NULL
"""
)
AWAIT = text(
    """
WITH given AS MATERIALIZED (
    SELECT uuidv7() AS edge_id, g.* FROM unnest(:dependencies, :dates, :expected)
        AS g (dependency_id, business_date, expected_by)
), edges AS (
    INSERT INTO process_edge (id, run_id, successor_id, edge_type, hardness, accepts, lag_amount, lag_unit, condition,
                              created_at, created_by, updated_at, updated_by)
    SELECT g.edge_id, :run_id, b.id, d.edge_type, d.hardness, d.accepts, d.lag_amount, d.lag_unit, d.condition,
           :now, :actor_id, :now, :actor_id
    FROM given g
    JOIN process_dependency d ON d.id = g.dependency_id
    JOIN process_run b ON b.run_id = :run_id AND b.process_id = d.successor_id
)
INSERT INTO awaited_run (id, edge_id, workflow_id, process_code, run_selector, business_date, node_id, expected_by,
                         alert_at, created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), g.edge_id, d.other_workflow_id, d.other_process, d.run_selector, g.business_date,
       CASE WHEN d.run_node = 'same' THEN CAST(:node_id AS uuid) ELSE w.node_id END, g.expected_by,
       g.expected_by, :now, :actor_id, :now, :actor_id
FROM given g
JOIN process_dependency d ON d.id = g.dependency_id
JOIN workflow w ON w.id = d.other_workflow_id
"""
).bindparams(
    bindparam("dependencies", type_=ARRAY(Uuid)),
    bindparam("dates", type_=ARRAY(Date)),
    bindparam("expected", type_=ARRAY(DateTime(timezone=True))),
)

# The run that an awaited run `a` of the edge `e` means. Variants are runs beside the usual one, so they do not count.
# The latest that is done is one in which the process has ended as the dependency accepts it.
_MEANT = """
    SELECT r.id, r.version_id FROM workflow_run r
    WHERE r.workflow_id = a.workflow_id AND r.node_id IS NOT DISTINCT FROM a.node_id AND r.variant = ''
      AND r.id <> e.run_id
      AND CASE WHEN a.run_selector <> 'latest_signed' THEN r.business_date = a.business_date
               ELSE r.business_date <= a.business_date AND r.state = 'done' AND EXISTS (
                    SELECT FROM process d JOIN process_run p ON p.run_id = r.id AND p.process_id = d.id
                    WHERE d.version_id = r.version_id AND d.code = a.process_code AND p.state = ANY (e.accepts)) END
    ORDER BY r.business_date DESC LIMIT 1"""

LOCK_RUNS = text(
    f"""
SELECT r.id, r.state FROM workflow_run r
WHERE r.id = :run_id OR r.id IN (
    SELECT coalesce(a.bound_run_id, meant.id)
    FROM process_edge e JOIN awaited_run a ON a.edge_id = e.id LEFT JOIN LATERAL ({_MEANT}) meant ON true
    WHERE e.run_id = :run_id AND e.satisfied_at IS NULL)
ORDER BY r.id FOR NO KEY UPDATE OF r
"""
)
# A process that the other run does not have leaves the edge without a predecessor: it stays open and says so.
BIND = text(
    f"""
WITH found AS (
    SELECT a.id, a.edge_id, meant.id AS run_id, p.id AS process_run_id
    FROM process_edge e
    JOIN awaited_run a ON a.edge_id = e.id AND a.bound_run_id IS NULL
    JOIN LATERAL ({_MEANT}) meant ON true
    LEFT JOIN process d ON d.version_id = meant.version_id AND d.code = a.process_code
    LEFT JOIN process_run p ON p.run_id = meant.id AND p.process_id = d.id
    WHERE e.run_id = :run_id AND e.satisfied_at IS NULL
), bound AS (
    UPDATE awaited_run a SET bound_run_id = f.run_id, bound_at = :now, alert_at = NULL,
                             row_version = a.row_version + 1, updated_at = :now, updated_by = :actor_id
    FROM found f WHERE a.id = f.id
)
UPDATE process_edge e SET predecessor_id = f.process_run_id, row_version = e.row_version + 1,
                          updated_at = :now, updated_by = :actor_id
FROM found f WHERE e.id = f.edge_id AND f.process_run_id IS NOT NULL
"""
)
READ_OPEN = text(
    f"""
SELECT e.id, e.edge_type, e.accepts, e.lag_amount, e.lag_unit, q.state, {BEGUN} AS begun, q.started_at,
       coalesce(q.finished_at, q.updated_at) AS ended_at
FROM process_edge e JOIN awaited_run a ON a.edge_id = e.id JOIN process_run q ON q.id = e.predecessor_id
WHERE e.run_id = :run_id AND e.satisfied_at IS NULL AND e.met_at IS NULL
"""
)
# The runs that wait for this one: bound to it, or for a run like it.
READ_WAITING = text(
    """
SELECT DISTINCT e.run_id
FROM awaited_run a JOIN process_edge e ON e.id = a.edge_id AND e.satisfied_at IS NULL
JOIN workflow_run r ON r.id = :run_id
WHERE e.run_id <> r.id AND (a.bound_run_id = r.id OR (
    a.bound_run_id IS NULL AND a.workflow_id = r.workflow_id
    AND CASE WHEN a.run_selector = 'latest_signed' THEN a.business_date >= r.business_date
             ELSE a.business_date = r.business_date END))
ORDER BY e.run_id
"""
)
ANYBODY_WAITS = text(
    """
SELECT EXISTS (SELECT FROM awaited_run a JOIN process_edge e ON e.id = a.edge_id AND e.satisfied_at IS NULL
               JOIN workflow_run r ON r.id = :run_id
               WHERE a.bound_run_id = r.id OR (a.bound_run_id IS NULL AND a.workflow_id = r.workflow_id))
"""
)
TAKE_MISSING = text(
    """
UPDATE awaited_run a SET alert_at = NULL, alerted_at = CASE WHEN r.state = 'active' THEN CAST(:now AS timestamptz) END,
                         row_version = a.row_version + 1, updated_at = :now
FROM process_edge e JOIN workflow_run r ON r.id = e.run_id
WHERE e.id = a.edge_id AND a.id IN (
    SELECT b.id FROM awaited_run b JOIN process_edge o ON o.id = b.edge_id
    JOIN workflow_run w ON w.id = o.run_id AND w.state <> 'on_hold'
    WHERE b.alert_at <= :now ORDER BY b.alert_at LIMIT :batch FOR UPDATE OF b SKIP LOCKED)
RETURNING a.id, e.run_id, e.successor_id, r.state = 'active' AND e.satisfied_at IS NULL AS missing
"""
)

READ_MISSING = text(
    """
SELECT a.id, a.run_selector, a.business_date, a.expected_by, w.label AS workflow
FROM awaited_run a JOIN workflow w ON w.id = a.workflow_id WHERE a.id = ANY (:ids)
"""
).bindparams(bindparam("ids", type_=ARRAY(Uuid)))


@dataclass(frozen=True, slots=True)
class OpenAcross:
    """An open edge that has its predecessor in another run, and how that stands."""

    id: UUID
    type: EdgeType
    accepts: frozenset[str]
    lag_amount: int | None
    lag_unit: str | None
    state: str
    begun: bool
    started_at: datetime | None
    ended_at: datetime


def met_at(edge: OpenAcross) -> datetime | None:
    """Since when the predecessor is as far as the edge asks; None where it is not."""
    if edge.type.on_start and edge.begun:
        return edge.started_at or edge.ended_at
    return edge.ended_at if edge.state in edge.accepts else None


async def await_runs(uow: UnitOfWork, *, run_id: UUID, only: Collection[UUID] | None = None) -> None:
    """Give a run that has just been created its edges on other workflows, and settle what can be settled at once.

    `only`: the dependencies that a run under way has come to have; without it all of its version.

    What stays open is looked at once more after the commit: a run that is being created at this moment is not seen yet.
    """
    run = (await uow.execute(READ_RUN, {"run_id": run_id})).one()
    dependencies = (await uow.execute(READ_DEPENDENCIES, {"version_id": run.version_id})).all()
    if only is not None:
        dependencies = [d for d in dependencies if d.id in only]
    own = await calendar_of_id(uow, run.calendar_id)
    calendars: dict[UUID, Calendar] = {}
    for id_ in {d.selector_calendar_id for d in dependencies if d.selector_calendar_id is not None}:
        calendars[id_] = await calendar_of_id(uow, id_)
    values = {
        "run_id": run_id,
        "node_id": run.node_id,
        "dependencies": [d.id for d in dependencies],
        "dates": [_date(d, run.business_date, calendars.get(d.selector_calendar_id, own)) for d in dependencies],
        "expected": [_instant(d.expected_by, run.business_date, own) for d in dependencies],
        "now": uow.now,
        "actor_id": uow.actor.id,
    }
    await uow.execute(AWAIT, values)
    await _settle(uow, run_id, own)
    if await uow.scalar(_STILL_OPEN, {"run_id": run_id}):
        uow.enqueue(SETTLE_ACROSS, {"run_id": run_id})


_STILL_OPEN = text(
    """
SELECT EXISTS (SELECT FROM process_edge e JOIN awaited_run a ON a.edge_id = e.id
               WHERE e.run_id = :run_id AND e.satisfied_at IS NULL)
"""
)


async def runs_that_wait(uow: UnitOfWork, *, target_run_id: UUID) -> Sequence[UUID]:
    """The runs with an open edge on this run, or on one like it."""
    return (await uow.execute(READ_WAITING, {"run_id": target_run_id})).scalars().all()


async def settle(uow: UnitOfWork, *, run_id: UUID) -> int:
    """Bind the open edges of the run to runs that exist by now, and let those pass whose predecessor is as far.

    Returns how many processes were released. Idempotent; it locks the run and those that it looks at.
    """
    await uow.execute(LOCK_RUNS, {"run_id": run_id})
    calendar_id = (await uow.execute(READ_RUN, {"run_id": run_id})).one().calendar_id
    return await _settle(uow, run_id, await calendar_of_id(uow, calendar_id))


async def announce(uow: UnitOfWork, *, run_id: UUID) -> None:
    """Have those that wait for this run looked at, after it has been closed as a whole."""
    if await uow.scalar(ANYBODY_WAITS, {"run_id": run_id}):
        uow.enqueue(SETTLE_ACROSS, {"target_run_id": run_id})


async def take_missing(uow: UnitOfWork) -> int:
    """Tell, once each, of the runs that are expected by now and do not exist; returns how many."""
    taken = (await uow.execute(TAKE_MISSING, {"now": uow.now, "batch": BATCH})).all()
    rows = [row for row in taken if row.missing]  # of a run that is over nobody is told
    if rows:
        uow.emit(
            AwaitedRunsMissing(
                at=uow.now,
                awaited_run_ids=tuple(row.id for row in rows),
                process_run_ids=tuple(row.successor_id for row in rows),
            )
        )
        uow.touch(*(f"process_run:{row.successor_id}" for row in rows), *(f"run:{row.run_id}" for row in rows))
    return len(rows)


async def missing_in_words(uow: UnitOfWork, awaited_run_ids: Sequence[UUID]) -> dict[UUID, str]:
    """For each awaited run: which one it is and until when it was expected."""
    rows = await uow.execute(READ_MISSING, {"ids": list(awaited_run_ids)})
    return {row.id: f"{no_run_yet(row)}; it was expected by {row.expected_by:%Y-%m-%d %H:%M} UTC" for row in rows}


def no_run_yet(row: Any) -> str:
    """`No run of Daily close for 2026-10-30 yet`. The row has `workflow`, `run_selector` and `business_date`."""
    if row.run_selector == RunSelector.LATEST_SIGNED:
        return f"No run of {row.workflow} up to {row.business_date} is done yet"
    return f"No run of {row.workflow} for {row.business_date} yet"


async def _settle(uow: UnitOfWork, run_id: UUID, calendar: Calendar) -> int:
    values = {"run_id": run_id, "now": uow.now, "actor_id": uow.actor.id}
    await uow.execute(BIND, values)
    run = (await uow.execute(READ_RUN, values)).one()
    loose = await not_binding(uow, business_date=run.business_date, run_id=run_id)
    settled = {edge.id for edge in loose}
    passing = list(loose)
    for row in (await uow.execute(READ_OPEN, values)).mappings():
        edge = _open(row)
        since = met_at(edge)
        if since is not None and edge.id not in settled:
            passing.append(Passing(edge.id, since, _due(edge, since, calendar)))
    releases = await pass_edges(uow, passing)
    await tell(uow, releases)
    for each in releases:
        await finish_waiting(uow, each.finishable)
    if passing:
        uow.touch(f"run:{run_id}")
    return sum(len(each.released) for each in releases)


def _open(row: Mapping[Any, Any]) -> OpenAcross:
    values = dict(row)
    edge_type, accepts = EdgeType(values.pop("edge_type")), frozenset(values.pop("accepts"))
    return OpenAcross(type=edge_type, accepts=accepts, **values)


def _due(edge: OpenAcross, since: datetime, calendar: Calendar) -> datetime | None:
    """When the lag is over. Without one it is over now, even if the other transaction's clock was a little ahead."""
    if edge.lag_amount is None or edge.lag_unit is None:
        return None
    return lag_over(edge.lag_amount, edge.lag_unit, since, calendar)


def _date(dependency: Any, business_date: date, calendar: Calendar) -> date:
    return target_date(RunSelector(dependency.run_selector), business_date, calendar)


def _instant(formula: str | None, business_date: date, calendar: Calendar) -> datetime | None:
    return parse_deadline(formula).resolve(business_date, calendar) if formula else None
