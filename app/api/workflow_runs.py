"""Runs of a workflow: begin the one of a business date; hold, resume and cancel it as a whole."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from fastapi import APIRouter, Depends, Request, status
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.api.process_runs import Version
from app.api.versions import etag
from app.core.uow import UnitOfWork
from app.domain.entities.queries import get_record
from app.domain.workflow.ad_hoc import NewWork, add_process, preview_process
from app.domain.workflow.run_commands import cancel_run, hold_run, resume_run
from app.domain.workflow.runs import create_run

router = APIRouter(prefix="/api/v1/workflow-runs", tags=["Workflow runs"], dependencies=[Depends(get_actor)])


class RunInput(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"workflow": "fx_close", "business_date": "2026-10-30"}]}
    )

    workflow: str = Field(min_length=1, max_length=48, description="Code or id of the workflow")
    business_date: date
    node_id: UUID | None = Field(None, description="Where it is about another node than the workflow's own")
    variant: str = Field("", max_length=48, description="Distinguishes several runs of one date")


class RunTransition(StrEnum):
    HOLD = "hold"
    RESUME = "resume"
    CANCEL = "cancel"


class RunTransitionInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    expected_version: Version
    reason: str = Field("", max_length=2_000, description="Needed to hold and to cancel")


class RunTransitionOutput(BaseModel):
    id: UUID
    transition: RunTransition
    row_version: int


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Begin the run of a business date, or return the one there is",
    responses={
        201: {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/WorkflowRunRead"}}}},
        200: {
            "description": "The run was there already",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/WorkflowRunRead"}}},
        },
    },
)
async def begin_run(body: RunInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        run_id = await create_run(
            uow,
            workflow=_id_or_code(body.workflow),
            business_date=body.business_date,
            node_id=body.node_id,
            variant=body.variant,
        )
        page = await get_record(uow, "workflow_run", run_id)
        record = page.items[0]
        begun_now = page.records[0]["created_at"] == uow.now
        headers = {"location": f"{router.prefix}/{run_id}", "etag": etag(record["row_version"])}
        return json_response(record, status=201 if begun_now else 200, headers=headers)

    return await command(request, work)


class AddedProcessInput(BaseModel):
    """Work between processes of the run: it waits for `predecessors`, and `successors` wait for it."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(min_length=1, max_length=200)
    owner_role: str = Field(min_length=1, max_length=48, description="Code of the role that does it")
    reason: str = Field(min_length=1, max_length=2_000)
    due_at: AwareDatetime | None = None
    instructions: str | None = Field(None, max_length=20_000)
    stage_run_id: UUID | None = Field(None, description="Where it stands in the run; without one beside its neighbours")
    assignee_id: UUID | None = Field(None, description="Who does it; without one whoever of the role takes it")
    checklist: list[str] = Field(default=[], max_length=50, description="Items that are ticked before it is submitted")
    approval_roles: list[str] = Field(default=[], max_length=9, description="Who signs it, level by level")
    predecessors: list[UUID] = Field(default=[], max_length=50, description="Process runs of this run")
    successors: list[UUID] = Field(default=[], max_length=50, description="Process runs that have not begun")


class AddedProcessOutput(BaseModel):
    id: UUID
    code: str
    state: str
    held_back: list[UUID] = Field(description="Processes that were free to begin and wait for it now")


@router.post(
    "/{id}/processes",
    status_code=status.HTTP_201_CREATED,
    summary="Add a process to a run under way",
    response_model=AddedProcessOutput,
)
async def add_to_run(id: UUID, body: AddedProcessInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        added = await add_process(uow, run_id=id, work=_work(body))
        content = {
            "id": added.process_run_id,
            "code": added.code,
            "state": added.state.value,
            "held_back": list(added.held_back),
        }
        return json_response(content, status=201, headers={"location": f"/api/v1/process-runs/{added.process_run_id}"})

    return await command(request, work)


class HeldUpOutput(BaseModel):
    id: UUID
    label: str
    state: str
    direct: bool = Field(description="It waits for the added process itself, not through another")
    stops: bool = Field(description="It is free to begin now, and would wait")
    due_at: datetime | None
    late: bool = Field(description="It is due before the added process is")


class AddedPreviewOutput(BaseModel):
    """`held_up`: every open process that would wait for it, at once or through others."""

    state: str = Field(description="What the added process would begin in")
    waits_for: list[str]
    held_up: list[HeldUpOutput]


@router.post("/{id}/processes/preview", summary="What adding a process to a run under way would hold up")
async def preview_addition(id: UUID, body: AddedProcessInput, uow: CurrentUow) -> AddedPreviewOutput:
    found = await preview_process(uow, run_id=id, work=_work(body))
    return AddedPreviewOutput(
        state=found.state.value,
        waits_for=list(found.waits_for),
        held_up=[
            HeldUpOutput(
                id=each.id,
                label=each.label,
                state=each.state.value,
                direct=each.direct,
                stops=each.stops,
                due_at=each.due_at,
                late=each.late,
            )
            for each in found.held_up
        ],
    )


def _work(body: AddedProcessInput) -> NewWork:
    return NewWork(
        label=body.label,
        owner_role=body.owner_role,
        reason=body.reason,
        due_at=body.due_at,
        instructions=body.instructions,
        stage_run_id=body.stage_run_id,
        assignee_id=body.assignee_id,
        checklist=tuple(body.checklist),
        approval_roles=tuple(body.approval_roles),
        predecessors=tuple(body.predecessors),
        successors=tuple(body.successors),
    )


@router.post("/{id}/transitions/{name}", summary="Hold, resume or cancel a run", response_model=RunTransitionOutput)
async def do_run_transition(id: UUID, name: RunTransition, body: RunTransitionInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        version = await _change(uow, id, name, body)
        content = {"id": id, "transition": name, "row_version": version}
        return json_response(content, headers={"etag": etag(version)})

    return await command(request, work)


async def _change(uow: UnitOfWork, run_id: UUID, name: RunTransition, body: RunTransitionInput) -> int:
    match name:
        case RunTransition.HOLD:
            return await hold_run(uow, run_id=run_id, expected_version=body.expected_version, reason=body.reason)
        case RunTransition.RESUME:
            return await resume_run(uow, run_id=run_id, expected_version=body.expected_version)
        case RunTransition.CANCEL:
            return await cancel_run(uow, run_id=run_id, expected_version=body.expected_version, reason=body.reason)


def _id_or_code(text: str) -> UUID | str:
    try:
        return UUID(text)
    except ValueError:
        return text
