"""Schedules: what a rule will do before it is saved and after; the run of an occurrence that was left out."""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, status
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.core.uow import UnitOfWork
from app.domain.schedules.preview import MONTHS, MOST_MONTHS, read_values, simulate, simulate_schedule
from app.domain.schedules.service import create_run_of
from app.domain.schedules.simulation import Simulated, Simulation

router = APIRouter(prefix="/api/v1", tags=["Schedules"], dependencies=[Depends(get_actor)])

Months = Annotated[int, Query(ge=1, le=MOST_MONTHS, description="How far to look ahead")]


class SimulationInput(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"schedule": {"period": "month", "offset": "WD+3", "at": "18:00", "calendars": "TARGET"}, "months": 24}
            ]
        },
    )

    schedule: dict[str, Any] = Field(description="Fields of a schedule, as for creating one; others have their default")
    months: int = Field(MONTHS, ge=1, le=MOST_MONTHS)


class ClashOutput(BaseModel):
    kind: str
    others: list[str]
    text: str


class OccurrenceOutput(BaseModel):
    period: str
    nominal_date: date
    day: date
    weekday: str
    business_date: date
    variant: str
    due_at: datetime
    moved: str = Field(description="Why the date is not the nominal one; empty where it is")
    omitted: str = Field(description="Why there is no run of its own; empty where there is")
    clashes: list[ClashOutput]


class SimulationOutput(BaseModel):
    rule: str = Field(description="The rule in words")
    since: datetime
    until: datetime
    counts: dict[str, int]
    warnings: list[str]
    cut: datetime | None = Field(description="The last instant that is listed, where there is more")
    occurrences: list[OccurrenceOutput]


class RunOutput(BaseModel):
    run_id: UUID


@router.post("/schedules/simulation", summary="What a schedule would do, before it is saved")
async def simulate_values(body: SimulationInput, uow: CurrentUow) -> SimulationOutput:
    values = read_values(uow.registry, body.schedule)
    return _output(await simulate(uow, values, months=body.months))


@router.get("/schedules/{id}/simulation", summary="What a schedule will do")
async def simulate_stored(id: UUID, uow: CurrentUow, months: Months = MONTHS) -> SimulationOutput:
    return _output(await simulate_schedule(uow, id, months=months))


@router.post(
    "/schedule-occurrences/{id}/run",
    status_code=status.HTTP_201_CREATED,
    summary="Create the run of an occurrence that was omitted or has failed",
    response_model=RunOutput,
)
async def create_left_out_run(id: UUID, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        run_id = await create_run_of(uow, occurrence_id=id)
        headers = {"location": f"{router.prefix}/workflow-runs/{run_id}"}
        return json_response({"run_id": run_id}, status=201, headers=headers)

    return await command(request, work)


def _output(found: Simulation) -> SimulationOutput:
    return SimulationOutput(
        rule=found.words,
        since=found.since,
        until=found.until,
        counts=dict(found.counts),
        warnings=list(found.warnings),
        cut=found.cut,
        occurrences=[_occurrence(row) for row in found.rows],
    )


def _occurrence(row: Simulated) -> OccurrenceOutput:
    one = row.occurrence
    return OccurrenceOutput(
        period=one.period.label,
        nominal_date=one.nominal,
        day=one.day,
        weekday=f"{one.day:%A}",
        business_date=one.business_date,
        variant=row.variant,
        due_at=one.due_at,
        moved=row.moved,
        omitted=row.omitted,
        clashes=[ClashOutput(kind=c.kind, others=list(c.others), text=c.text) for c in row.clashes],
    )
