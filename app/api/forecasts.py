"""Forecasts over REST: when a run and its open processes will probably be finished, and what endangers that."""

from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from app.api.auth.dependencies import get_actor
from app.api.deps import CurrentUow
from app.core.errors import NotFound
from app.domain.prediction.forecast import Reason
from app.domain.prediction.queries import ProcessForecast, TargetForecast, forecast_of_run
from app.domain.workflow.queries import get_run

router = APIRouter(prefix="/api/v1/workflow-runs", tags=["Workflow runs"], dependencies=[Depends(get_actor)])

UTC_ZONE = ZoneInfo("UTC")


class TargetOutput(BaseModel):
    """Something that has to be finished, and its deadline."""

    finish_p50: datetime | None = Field(description="As likely before as after; empty where it cannot be finished")
    finish_p90: datetime | None = Field(description="In nine of ten cases it is finished by then")
    due_at: datetime | None
    miss: float | None = Field(description="Probability that the deadline is missed; empty without a deadline")
    reason: Reason | None
    driver: UUID | None = Field(description="The process that contributes most to missing the deadline")
    late_minutes: int | None = Field(description="How much longer than usual the driver takes")
    sentence: str | None = Field(description="All of it in words; times in UTC")


class StageOutput(TargetOutput):
    stage_run: UUID


class ProcessOutput(TargetOutput):
    process_run: UUID
    start_p50: datetime | None
    criticality: float = Field(description="Share of the outcomes in which it decides when the run is finished")
    on_critical_path: bool
    source: str = Field(description="The history it rests on: weekday, node, below, any; expected where there is none")
    observations: int


class ForecastOutput(BaseModel):
    """The forecast of a run as it was at `computed_at`; `outdated` where that is too long ago to rely on it."""

    run: UUID
    computed_at: datetime
    outdated: bool
    observations: int = Field(description="Finished runs that it rests on")
    target: TargetOutput
    miss_otherwise: float | None = Field(description="P(miss) if the driver took its usual time")
    critical_path: list[UUID]
    stages: list[StageOutput]
    processes: list[ProcessOutput]


@router.get(
    "/{id}/forecast",
    summary="When the run will probably be finished, and the probability of missing each deadline",
    response_model=ForecastOutput,
)
async def get_forecast(id: UUID, uow: CurrentUow) -> ForecastOutput:
    await get_run(uow, id)
    found = await forecast_of_run(uow, id)
    if found is None:
        raise NotFound("There is no forecast of this run: it is over, or has not been forecast yet.")
    run = found.run
    return ForecastOutput(
        run=run.run_id,
        computed_at=run.computed_at,
        outdated=run.is_outdated(uow.now),
        observations=run.observations,
        target=_target(run.target),
        miss_otherwise=None if run.miss_otherwise is None else float(run.miss_otherwise),
        critical_path=list(run.critical_path),
        stages=[StageOutput(stage_run=stage, **_target(target).model_dump()) for stage, target in found.stages.items()],
        processes=[_process(each) for each in found.processes.values()],
    )


def _target(target: TargetForecast) -> TargetOutput:
    return TargetOutput(
        finish_p50=target.finish_p50,
        finish_p90=target.finish_p90,
        due_at=target.due_at,
        miss=None if target.miss is None else float(target.miss),
        reason=target.reason,
        driver=target.driver_id,
        late_minutes=None if target.late is None else round(target.late / timedelta(minutes=1)),
        sentence=target.sentence(UTC_ZONE),
    )


def _process(each: ProcessForecast) -> ProcessOutput:
    return ProcessOutput(
        **_target(each.target).model_dump(),
        process_run=each.process_run_id,
        start_p50=each.start_p50,
        criticality=float(each.criticality),
        on_critical_path=each.on_critical_path,
        source=each.source,
        observations=each.observations,
    )
