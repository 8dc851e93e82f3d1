"""Migration of runs to another version: a plan is tried, executed by a job, and has an outcome for each run."""

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Request, status
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.api.process_runs import Version
from app.core.uow import UnitOfWork
from app.domain.workflow import migration_plans
from app.domain.workflow.migration_plans import Item, kept_outcome

router = APIRouter(prefix="/api/v1/migration-plans", tags=["Workflow versions"], dependencies=[Depends(get_actor)])


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PlanVersionInput(_Input):
    expected_version: Version


class CreatedPlanOutput(BaseModel):
    id: UUID


class MappedInput(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    code: str = Field(alias="from", max_length=64, description="Code of a process in the old version")
    to: str | None = Field(None, max_length=64, description="Its code in the new one")
    rule: Literal["skip", "cancel"] | None = Field(None, description="How it closes where the new one has it no more")


class PlanInput(_Input):
    from_version_id: UUID
    to_version_id: UUID
    mapping: list[MappedInput] = Field(default=[], max_length=10_000)
    run_ids: list[UUID] | None = Field(None, max_length=2_000, description="Without it every run in progress")
    reason: str = Field("", max_length=2_000)


class PlanItemOutput(BaseModel):
    run_id: UUID
    reference: str
    business_date: date
    state: str
    possible: bool | None = Field(description="Of the trial, while the plan is not executed")
    message: str | None
    outcome: dict[str, Any] | None = Field(
        description="Counts by what became of processes, and each that is not as before"
    )
    at: datetime | None


class PlanOutput(BaseModel):
    id: UUID
    row_version: int
    state: str
    from_number: int
    to_number: int
    items: list[PlanItemOutput]


class ExecutionOutput(BaseModel):
    job_run_id: UUID


@router.post(
    "/trials", status_code=status.HTTP_201_CREATED, summary="Plan to take runs over; nothing happens to them yet",
    response_model=CreatedPlanOutput,
)  # fmt: skip
async def make_plan(body: PlanInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        made = await migration_plans.create_plan(
            uow,
            from_version=body.from_version_id,
            to_version=body.to_version_id,
            mapping=[m.model_dump(by_alias=True, exclude_none=True) for m in body.mapping],
            run_ids=body.run_ids,
            reason=body.reason,
        )
        return json_response({"id": made}, status=status.HTTP_201_CREATED)

    return await command(request, work)


@router.get("/{id}/trial", summary="The plan with what would become, or has become, of each run")
async def read_plan(id: UUID, uow: CurrentUow) -> PlanOutput:
    plan = await migration_plans.read_plan(uow, plan_id=id)
    items = await migration_plans.read_items(uow, plan=plan)
    return PlanOutput(
        id=plan.id,
        row_version=plan.row_version,
        state=plan.state,
        from_number=plan.from_number,
        to_number=plan.to_number,
        items=[_item(item) for item in items],
    )


@router.post(
    "/{id}/execution",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Execute the plan by a job",
    response_model=ExecutionOutput,
)
async def execute_plan(id: UUID, body: PlanVersionInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        job = await migration_plans.execute_plan(uow, plan_id=id, expected_version=body.expected_version)
        return json_response({"job_run_id": job}, status=status.HTTP_202_ACCEPTED)

    return await command(request, work)


@router.post("/{id}/cancellation", status_code=status.HTTP_204_NO_CONTENT, summary="Call a plan off")
async def cancel_plan(id: UUID, body: PlanVersionInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await migration_plans.cancel_plan(uow, plan_id=id, expected_version=body.expected_version)
        return Response(status_code=status.HTTP_204_NO_CONTENT)

    return await command(request, work)


def _item(item: Item) -> PlanItemOutput:
    trial = item.trial
    return PlanItemOutput(
        run_id=item.run_id,
        reference=item.reference,
        business_date=item.business_date,
        state=item.state,
        possible=trial.possible if trial else None,
        message=trial.in_words() if trial else item.message,
        outcome=kept_outcome(trial) if trial else (dict(item.outcome) if item.outcome else None),
        at=item.at,
    )
