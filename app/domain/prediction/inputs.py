"""Reading the picture of a run: five statements, whatever its size."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.core.uow import UnitOfWork
from app.domain.calendars.calendars import Calendar
from app.domain.calendars.store import calendar_of_id
from app.domain.calendars.wall_time import zone_info
from app.domain.prediction.curves import Curve, curve_of, guessed_curve
from app.domain.prediction.hours import OpenHours, open_hours
from app.domain.prediction.picture import Gate, Habit, Link, Measure, Picture, Source, StageOfRun, Work
from app.domain.workflow.edges import LagUnit
from app.domain.workflow.states import ProcessState

LOOK_BACK, LOOK_AHEAD = timedelta(days=60), timedelta(days=90)

_RUN = text("""
SELECT r.id, r.workflow_id, r.business_date, r.due_at, w.calendar_id
FROM workflow_run r JOIN workflow w ON w.id = r.workflow_id
WHERE r.id = :run AND r.state IN ('active', 'on_hold')
""")
# Processes of other runs come with their own forecasts.
_WORKS = text("""
SELECT p.id, p.run_id, p.state, p.stage_run_id, p.earliest_start, p.due_at, p.ready_at, p.started_at, p.submitted_at,
       p.finished_at, p.review_by, p.expected_minutes, f.finish_p50, f.finish_p90
FROM process_run p
LEFT JOIN process_forecast f ON f.process_run_id = p.id AND p.run_id <> :run
WHERE p.run_id = :run OR p.id IN (
    SELECT predecessor_id FROM process_edge WHERE run_id = :run AND predecessor_id IS NOT NULL)
""")
# The closest history there is: this weekday where it has a habit of its own, the node, the nodes around it, any node.
_HABITS = text("""
SELECT DISTINCT ON (p.id, d.measure) p.id, d.measure, d.basis, d.observations,
       CASE WHEN d.weekday IS NOT NULL THEN 'weekday' ELSE d.reach END AS source,
       CAST(ARRAY[extract(epoch FROM d.lowest), extract(epoch FROM d.p10), extract(epoch FROM d.p25),
                  extract(epoch FROM d.p50), extract(epoch FROM d.p75), extract(epoch FROM d.p90),
                  extract(epoch FROM d.p95), extract(epoch FROM d.highest)] AS float8[]) AS seconds
FROM process_run p
LEFT JOIN hierarchy_node n ON n.id = p.node_id
JOIN duration_profile d ON d.workflow_id = :workflow AND d.process_code = p.code AND d.usable
    AND (d.weekday IS NULL OR d.weekday = :weekday)
LEFT JOIN hierarchy_node at ON at.id = d.node_id
WHERE p.run_id = :run
  AND (d.reach = 'any' OR (d.reach = 'node' AND d.node_id = p.node_id) OR (d.reach = 'below' AND n.path <@ at.path))
ORDER BY p.id, d.measure, CASE d.reach WHEN 'node' THEN 1 WHEN 'below' THEN 2 ELSE 3 END,
         nlevel(at.path) DESC NULLS LAST, d.weekday NULLS LAST
""")
_LINKS = text("""
SELECT e.predecessor_id, e.successor_id, e.edge_type, e.hardness, e.accepts, e.lag_amount, e.lag_unit, e.due_at,
       e.satisfied_at IS NOT NULL OR e.overridden_at IS NOT NULL AS satisfied, e.met_at, p.state, a.expected_by
FROM process_edge e LEFT JOIN process_run p ON p.id = e.predecessor_id
LEFT JOIN awaited_run a ON a.edge_id = e.id AND a.bound_run_id IS NULL
WHERE e.run_id = :run
""")
_STAGES = text("SELECT id, parent_stage_id, due_at FROM stage_run WHERE run_id = :run")


async def read_picture(uow: UnitOfWork, run_id: UUID) -> Picture | None:
    """The run as it stands now; None where it is over, or not there."""
    run = (await uow.execute(_RUN, {"run": run_id})).one_or_none()
    if run is None:
        return None
    calendar = await calendar_of_id(uow, run.calendar_id)
    hours = open_hours(calendar, around=uow.now, back=LOOK_BACK, ahead=LOOK_AHEAD)
    values = {"run": run_id, "workflow": run.workflow_id, "weekday": run.business_date.weekday()}
    habits: defaultdict[UUID, list[Mapping[Any, Any]]] = defaultdict(list)
    for row in (await uow.execute(_HABITS, values)).mappings():
        habits[row["id"]].append(row)
    works = [
        _work(row, habits.get(row["id"], ()), run_id, uow.now)
        for row in (await uow.execute(_WORKS, {"run": run_id})).mappings()
    ]
    links, stages = await links_of(uow, run_id, hours), await stages_of(uow, run_id)
    return Picture(run_id, uow.now, _midnight(calendar, run.business_date), run.due_at, works, links, stages, hours)


async def links_of(uow: UnitOfWork, run_id: UUID, hours: OpenHours) -> list[Link]:
    """The dependencies of the run's processes."""
    return [_link(row, hours, uow.now) for row in (await uow.execute(_LINKS, {"run": run_id})).mappings()]


async def stages_of(uow: UnitOfWork, run_id: UUID) -> list[StageOfRun]:
    """The run's stages."""
    rows = await uow.execute(_STAGES, {"run": run_id})
    return [StageOfRun(row.id, row.parent_stage_id, row.due_at) for row in rows]


def _midnight(calendar: Calendar, day: Any) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone_info(calendar.zone)).astimezone(UTC)


def _work(row: Mapping[Any, Any], habits: Sequence[Mapping[Any, Any]], run_id: UUID, now: datetime) -> Work:
    foreign = row["run_id"] != run_id
    return Work(
        id=row["id"],
        state=ProcessState(row["state"]),
        stage_id=None if foreign else row["stage_run_id"],
        habit=_of_other_run(row, now) if foreign else _habit(habits, row["expected_minutes"]),
        earliest_start=row["earliest_start"],
        due_at=row["due_at"],
        ready_at=row["ready_at"],
        started_at=row["started_at"],
        submitted_at=row["submitted_at"],
        finished_at=row["finished_at"],
        review_by=row["review_by"],
        foreign=foreign,
    )


def _habit(rows: Sequence[Mapping[Any, Any]], expected_minutes: int | None) -> Habit:
    curves = {Measure(row["measure"]): _curve(row) for row in rows}
    whole = next((row for row in rows if row["measure"] == Measure.READY_TO_DONE), None)
    if whole is None:
        curves[Measure.READY_TO_DONE] = guessed_curve(60.0 * (expected_minutes or 0))
        return Habit(curves, Source.EXPECTED, 0)
    return Habit(curves, Source(whole["source"]), whole["observations"])


def _curve(row: Mapping[Any, Any]) -> Curve:
    lowest, *quantiles, highest = row["seconds"]
    return curve_of(
        lowest,
        quantiles,
        highest,
        observations=row["observations"],
        working=row["basis"] == "working",
        of_day=row["measure"] == Measure.FINISH_OF_DAY,
    )


def _of_other_run(row: Mapping[Any, Any], now: datetime) -> Habit:
    """What that run's own forecast says, as a curve from now; its expected minutes where it has none."""
    median, late = row["finish_p50"], row["finish_p90"]
    if median is None or late is None:
        curve = guessed_curve(60.0 * (row["expected_minutes"] or 0))
    else:
        middle = max(1.0, (median - now).total_seconds())
        far = max(middle * 1.1, (late - now).total_seconds())
        low = max(0.0, middle - (far - middle))
        quantiles = [low, (low + middle) / 2, middle, (middle + far) / 2, far, far * 1.2]
        curve = curve_of(low, quantiles, far * 1.5, observations=50)
    return Habit({Measure.READY_TO_DONE: curve}, Source.EXPECTED, 0)


def _link(row: Mapping[Any, Any], hours: OpenHours, now: datetime) -> Link:
    closed = row["state"] is not None and ProcessState(row["state"]).closed
    accepted = row["state"] in row["accepts"]
    lag, working = _lag(row["lag_amount"], row["lag_unit"], hours)
    open_ = not row["satisfied"]
    return Link(
        predecessor=row["predecessor_id"],
        successor=row["successor_id"],
        gate=Gate(row["edge_type"]),
        lag=lag,
        working=working,
        hard=row["hardness"] == "hard",
        satisfied=row["satisfied"],
        hopeless=open_ and closed and not accepted and row["met_at"] is None,
        met_by=_met_by(row, now) if open_ else None,
    )


def _met_by(row: Mapping[Any, Any], now: datetime) -> datetime | None:
    """When it lets go, where that is known without the predecessor: its lag runs, or its run is expected by then."""
    if row["due_at"] is not None:
        return row["due_at"]  # type: ignore[no-any-return]
    if row["predecessor_id"] is None:
        return row["expected_by"]  # type: ignore[no-any-return]
    passed = row["state"] is not None and ProcessState(row["state"]).closed and row["state"] in row["accepts"]
    return now if passed and row["lag_amount"] is None else None


def _lag(amount: int | None, unit: str | None, hours: OpenHours) -> tuple[float, bool]:
    """In seconds, and whether of working time; a working day is as long as they are on average."""
    if amount is None or unit is None:
        return 0.0, False
    day = sum(end - start for start, end in zip(hours.starts, hours.ends, strict=True)) / max(1, len(hours.starts))
    seconds = {
        LagUnit.MINUTES: 60.0,
        LagUnit.HOURS: 3_600.0,
        LagUnit.DAYS: 86_400.0,
        LagUnit.WORKING_MINUTES: 60.0,
        LagUnit.WORKING_HOURS: 3_600.0,
        LagUnit.WORKING_DAYS: day,
    }[LagUnit(unit)]
    return amount * seconds, unit.startswith("working")
