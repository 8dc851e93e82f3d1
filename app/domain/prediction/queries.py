"""Forecasts for pages and the API. Nothing here computes or writes: what is shown says when it was computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Select, and_, select, union_all

from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope
from app.domain.prediction.forecast import Reason
from app.domain.prediction.reasons import because, sentence
from app.domain.workflow.states import CLOSED, ProcessState

OUTDATED_AFTER = timedelta(minutes=10)
_CLOSED = [state.value for state in CLOSED]


@dataclass(frozen=True, slots=True)
class TargetForecast:
    """A run, stage or process against its deadline. `miss` is None without a deadline."""

    finish_p50: datetime | None
    finish_p90: datetime | None
    due_at: datetime | None
    miss: Decimal | None
    reason: Reason | None
    driver_id: UUID | None
    driver: str | None
    driver_is_closed: bool
    late: timedelta | None

    def because(self, zone: ZoneInfo) -> str | None:
        """What endangers the deadline, to follow "because"."""
        if self.reason is None:
            return None
        return because(
            self.reason,
            driver=self.driver,
            driver_is_closed=self.driver_is_closed,
            late=self.late,
            finish_p50=self.finish_p50,
            zone=zone,
        )

    def sentence(self, zone: ZoneInfo) -> str | None:
        """The whole of it; None without a deadline."""
        if self.miss is None or self.due_at is None:
            return None
        return sentence(self.miss, self.due_at, self.because(zone), zone)


@dataclass(frozen=True, slots=True)
class ProcessForecast:
    process_run_id: UUID
    start_p50: datetime | None
    criticality: Decimal
    on_critical_path: bool
    source: str
    observations: int
    computed_at: datetime
    target: TargetForecast

    def is_outdated(self, now: datetime) -> bool:
        """Whether it is too old to be relied on."""
        return now - self.computed_at > OUTDATED_AFTER


@dataclass(frozen=True, slots=True)
class RunForecast:
    """`before`: the last forecast that said something else, as (computed at, P(miss))."""

    run_id: UUID
    computed_at: datetime
    observations: int
    miss_otherwise: Decimal | None
    critical_path: tuple[UUID, ...]
    target: TargetForecast
    before: tuple[datetime, Decimal] | None = None

    def is_outdated(self, now: datetime) -> bool:
        """Whether it is too old to be relied on: the worker has not computed it for long."""
        return now - self.computed_at > OUTDATED_AFTER


@dataclass(frozen=True, slots=True)
class WholeForecast:
    """Of a run with its open stages and processes, as far as the actor may see them."""

    run: RunForecast
    stages: Mapping[UUID, TargetForecast]
    processes: Mapping[UUID, ProcessForecast]


async def forecast_of_run(uow: UnitOfWork, run_id: UUID) -> WholeForecast | None:
    """The current forecast of a run in three statements; None where there is none, or none to be seen."""
    found = await forecasts_of_runs(uow, [run_id], with_before=True)
    if run_id not in found:
        return None
    stages, processes = uow.table("stage_forecast"), uow.table("process_forecast")
    of_stages = scope(_targets(uow, stages).where(stages.c.run_id == run_id), uow, "read", "stage_forecast")
    of_processes = scope(_of_processes(uow).where(processes.c.run_id == run_id), uow, "read", "process_forecast")
    return WholeForecast(
        found[run_id],
        {row["stage_run_id"]: _target(row) for row in (await uow.execute(of_stages)).mappings()},
        {row["process_run_id"]: _process(row) for row in (await uow.execute(of_processes)).mappings()},
    )


async def forecasts_of_runs(
    uow: UnitOfWork, run_ids: Sequence[UUID], *, with_before: bool = False
) -> dict[UUID, RunForecast]:
    """The current forecasts of these runs, in one statement."""
    authorize(uow, "read", "run_forecast")
    if not run_ids:
        return {}
    table = uow.table("run_forecast")
    statement = _targets(uow, table).where(table.c.run_id.in_(run_ids), table.c.current)
    if with_before:
        past = table.alias("past")
        last = (
            select(past.c.computed_at.label("before_at"), past.c.miss.label("before_miss"))
            .where(past.c.run_id == table.c.run_id, ~past.c.current, past.c.miss.is_distinct_from(table.c.miss))
            .order_by(past.c.computed_at.desc())
            .limit(1)
            .lateral("last_said")
        )
        statement = statement.add_columns(last.c.before_at, last.c.before_miss)
        statement = statement.outerjoin(last, and_(True))
    rows = (await uow.execute(scope(statement, uow, "read", "run_forecast"))).mappings()
    return {row["run_id"]: _run(row) for row in rows}


@dataclass(frozen=True, slots=True)
class Glance:
    """As much of a forecast as a list shows."""

    computed_at: datetime
    target: TargetForecast

    def is_outdated(self, now: datetime) -> bool:
        """Whether it is too old to be relied on."""
        return now - self.computed_at > OUTDATED_AFTER


async def glance(
    uow: UnitOfWork, *, run_ids: Sequence[UUID] = (), process_run_ids: Sequence[UUID] = ()
) -> dict[UUID, Glance]:
    """The forecasts of runs and processes for lists of both, by id, in one statement."""
    authorize(uow, "read", "run_forecast")
    runs, processes = uow.table("run_forecast"), uow.table("process_forecast")
    of_runs = _briefly(_targets(uow, runs), runs, runs.c.run_id, runs.c.computed_at)
    of_runs = of_runs.where(runs.c.run_id.in_(run_ids), runs.c.current)
    of_processes = _briefly(_of_processes(uow), processes, processes.c.process_run_id, runs.c.computed_at)
    of_processes = of_processes.where(processes.c.process_run_id.in_(process_run_ids))
    both = union_all(scope(of_runs, uow, "read", "run_forecast"), scope(of_processes, uow, "read", "process_forecast"))
    rows = (await uow.execute(both)).mappings()
    return {row["id"]: Glance(row["computed_at"], _target(row)) for row in rows}


def _briefly(statement: Select[Any], table: Any, id_: Any, computed_at: Any) -> Select[Any]:
    drivers = [column for column in statement.selected_columns if column.name in ("driver", "driver_state")]
    names = ("finish_p50", "finish_p90", "due_at", "miss", "reason", "driver_id", "late")
    columns = (id_.label("id"), computed_at.label("computed_at"), *(table.c[name] for name in names), *drivers)
    return statement.with_only_columns(*columns)


async def forecasts_of_processes(uow: UnitOfWork, process_run_ids: Sequence[UUID]) -> dict[UUID, ProcessForecast]:
    """The current forecasts of these processes that are open, in one statement."""
    authorize(uow, "read", "process_forecast")
    if not process_run_ids:
        return {}
    table = uow.table("process_forecast")
    statement = _of_processes(uow).where(table.c.process_run_id.in_(process_run_ids))
    rows = (await uow.execute(scope(statement, uow, "read", "process_forecast"))).mappings()
    return {row["process_run_id"]: _process(row) for row in rows}


def _of_processes(uow: UnitOfWork) -> Select[Any]:
    """Forecasts of processes with the moment at which that of their run was computed, which is theirs too."""
    table, runs = uow.table("process_forecast"), uow.table("run_forecast")
    statement = _targets(uow, table).add_columns(runs.c.computed_at)
    return statement.join(runs, and_(runs.c.run_id == table.c.run_id, runs.c.current))


def _targets(uow: UnitOfWork, table: Any) -> Select[Any]:
    drivers = uow.table("process_run").alias("driver")
    return select(table, drivers.c.label.label("driver"), drivers.c.state.label("driver_state")).outerjoin(
        drivers, drivers.c.id == table.c.driver_id
    )


def _target(row: Mapping[Any, Any]) -> TargetForecast:
    state = row["driver_state"]
    return TargetForecast(
        row["finish_p50"],
        row["finish_p90"],
        row["due_at"],
        _hundredths(row["miss"]),
        Reason(row["reason"]) if row["reason"] else None,
        row["driver_id"],
        row["driver"],
        state is not None and ProcessState(state).closed,
        row["late"],
    )


def _process(row: Mapping[Any, Any]) -> ProcessForecast:
    return ProcessForecast(
        row["process_run_id"],
        row["start_p50"],
        _hundredths(row["criticality"]) or Decimal(0),
        row["on_critical_path"],
        row["source"],
        row["observations"],
        row["computed_at"],
        _target(row),
    )


def _run(row: Mapping[Any, Any]) -> RunForecast:
    before_at, before = row.get("before_at"), _hundredths(row.get("before_miss"))
    return RunForecast(
        row["run_id"],
        row["computed_at"],
        row["observations"],
        _hundredths(row["miss_otherwise"]),
        tuple(UUID(id_) for id_ in row["critical_path"] or ()),
        _target(row),
        (before_at, before) if before_at is not None and before is not None else None,
    )


def _hundredths(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.quantize(Decimal("0.01"))
