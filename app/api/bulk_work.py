"""One transition on many processes: a trial with a verdict on each, or a job with a result for each."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.core.uow import UnitOfWork
from app.domain.workflow.bulk import MOST, BulkResult, BulkTarget, begin_bulk, bulk_result, try_bulk

router = APIRouter(prefix="/api/v1/process-runs", tags=["Process runs"], dependencies=[Depends(get_actor)])


class BulkItem(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: UUID
    expected_version: Annotated[int, Field(ge=1, lt=2**62)] | None = Field(
        None, description="The row_version on which the decision was made; only a trial goes without"
    )


class BulkInput(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "transition": "approve",
                    "items": [{"id": "01933e5c-7c1e-7000-8000-000000000001", "expected_version": 3}],
                    "dry_run": True,
                }
            ]
        },
    )

    transition: Literal["approve", "claim", "unclaim", "submit"]
    items: Annotated[list[BulkItem], Field(min_length=1, max_length=MOST)]
    comment: str | None = Field(None, max_length=20_000, description="Goes with each of them")
    dry_run: bool = Field(False, description="Say what would happen to each, and do nothing")


class VerdictOutput(BaseModel):
    id: UUID
    label: str
    run: str = Field(description="Reference of its run")
    row_version: int
    allowed: bool
    guard: str | None = Field(description="The rule that refuses")
    detail: str | None


class BulkLineOutput(BaseModel):
    id: UUID
    label: str
    run: str
    transition: str
    state: Literal["waiting", "done", "refused"]
    to_state: str | None
    guard: str | None
    detail: str | None
    finished_at: AwareDatetime | None


class BulkOutput(BaseModel):
    """`job_run` None: a trial. `verdicts` of a trial, `results` of a job."""

    job_run: UUID | None
    state: str
    error: str | None = None
    done: int
    refused: int
    waiting: int
    verdicts: list[VerdictOutput] = []
    results: list[BulkLineOutput] = []


@router.post(
    "/bulk-transitions",
    summary="Do one transition on many processes, as one job with a result for each; or try it",
    status_code=202,
    response_model=BulkOutput,
    responses={200: {"model": BulkOutput, "description": "The verdicts of a trial; nothing was done"}},
)
async def do_bulk(body: BulkInput, request: Request) -> Response:
    targets = [BulkTarget(item.id, item.expected_version) for item in body.items]

    async def work(uow: UnitOfWork) -> Response:
        if body.dry_run:
            verdicts = await try_bulk(uow, name=body.transition, targets=targets, comment=body.comment)
            output = BulkOutput(
                job_run=None,
                state="tried",
                done=0,
                refused=sum(not verdict.allowed for verdict in verdicts),
                waiting=sum(verdict.allowed for verdict in verdicts),
                verdicts=[
                    VerdictOutput(
                        id=v.id,
                        label=v.label,
                        run=v.reference,
                        row_version=v.row_version,
                        allowed=v.allowed,
                        guard=v.guard,
                        detail=v.detail,
                    )
                    for v in verdicts
                ],
            )
            return json_response(output.model_dump(mode="json"))
        job_run_id = await begin_bulk(uow, name=body.transition, targets=targets, comment=body.comment)
        result = _output(await bulk_result(uow, job_run_id))
        location = f"/api/v1/process-runs/bulk-transitions/{job_run_id}"
        return json_response(result.model_dump(mode="json"), status=202, headers={"location": location})

    return await command(request, work)


@router.get("/bulk-transitions/{id}", summary="How far a transition on many processes is, and the result of each")
async def read_bulk(id: UUID, uow: CurrentUow) -> BulkOutput:
    return _output(await bulk_result(uow, id))


def _output(result: BulkResult) -> BulkOutput:
    return BulkOutput(
        job_run=result.job_run_id,
        state=result.state.value,
        error=result.error,
        done=result.count("done"),
        refused=result.count("refused"),
        waiting=result.count("waiting"),
        results=[
            BulkLineOutput(
                id=line.process_run_id,
                label=line.label,
                run=line.reference,
                transition=line.transition,
                state=line.state,
                to_state=line.to_state,
                guard=line.guard,
                detail=line.detail,
                finished_at=line.finished_at,
            )
            for line in result.lines
        ],
    )
