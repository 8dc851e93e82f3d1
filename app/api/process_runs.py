"""What people do with the processes of a run: the transitions, what they may do, and what a process waits for."""

from datetime import UTC, date, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.api.versions import etag
from app.core.uow import UnitOfWork
from app.domain.workflow.actions import allowed_actions
from app.domain.workflow.neighbours import Neighbour, why_blocked
from app.domain.workflow.transitions import TransitionResult, transition

router = APIRouter(prefix="/api/v1/process-runs", tags=["Process runs"], dependencies=[Depends(get_actor)])

Version = Annotated[int, Field(ge=1, lt=2**62, description="The row_version on which the decision was made")]


class TransitionData(BaseModel):
    """What some transitions need beside a reason."""

    model_config = ConfigDict(extra="forbid")

    review_by: AwareDatetime | None = Field(None, description="hold: when somebody looks at it again at the latest")
    assignee_id: UUID | None = Field(None, description="assign: who shall do it")
    reason_code: str | None = Field(None, max_length=48, description="reject: a reason of the administrators' list")
    to_level: int | None = Field(None, ge=1, le=9, description="reject: the earlier level that decides anew")


class TransitionInput(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"expected_version": 3, "comment": "Checked against the feed"}]}
    )

    expected_version: Version
    reason: str | None = Field(None, max_length=2_000, description="Needed to reject, hold, skip and cancel")
    comment: str | None = Field(None, max_length=20_000)
    data: TransitionData = TransitionData()


class ReleasedOutput(BaseModel):
    """A process that may begin because of the transition."""

    id: UUID
    code: str
    state: str


class TransitionOutput(BaseModel):
    id: UUID
    run_id: UUID
    transition: str
    from_state: str
    to_state: str
    row_version: int
    round: int
    level: int
    signatures: int = Field(description="How many the open approval level has")
    released: list[ReleasedOutput]
    run_finished: bool


class PersonOutput(BaseModel):
    id: UUID
    name: str


class ActionOutput(BaseModel):
    """One action that the present state offers, and whether the caller may do it."""

    name: str
    label: str
    allowed: bool
    needs: list[str] = Field(description="Inputs without which it is refused")
    guard: str | None = Field(description="The rule that refuses")
    refusal: str | None
    satisfy: str | None = Field(description="What would make it possible")
    who_can: list[PersonOutput]
    acting_for: str | None = Field(None, description="By whose authority, where not by the caller's own")
    warning: str | None = Field(description="It goes over a soft dependency, and therefore needs a reason")


class PredecessorOutput(BaseModel):
    """An open dependency. Without an `id` the run it means does not exist yet, or does not have the process."""

    id: UUID | None
    code: str
    label: str
    state: str | None
    owner_role: str | None
    assignee: str | None
    due_at: datetime | None
    impossible: bool = Field(description="It has closed in a way that the dependency does not accept")
    type: str = Field(description="FS, SS, FF or SF: what of the predecessor holds back what of the process")
    hardness: str
    lag: str | None = Field(description="How long after the predecessor, such as “2 working hours”")
    lag_ends_at: datetime | None = Field(description="The predecessor is as far; the lag lasts until then")
    workflow: str | None = Field(description="The other workflow, where it is a process of one")
    business_date: date | None = Field(description="Of the run of the other workflow")
    expected_by: datetime | None
    sentence: str = Field(description="What is missing, in words; times in UTC")


class BlockedOutput(BaseModel):
    """`predecessors` hold it back where it stands, `later` will hold back its end, `soft` ask for a reason only."""

    state: str
    reason: str | None
    predecessors: list[PredecessorOutput]
    later: list[PredecessorOutput]
    soft: list[PredecessorOutput]
    earliest_start: datetime | None
    review_by: datetime | None
    queries: list[str] = Field(description="Subjects of the open queries that keep it from being completed")


@router.post(
    "/{id}/transitions/{name}",
    summary="Do a transition: claim, unclaim, assign, start, submit, approve, reject, hold, resume, request_skip, "
    "decline_skip, skip, cancel, retry",
    response_model=TransitionOutput,
)
async def do_transition(
    id: UUID, name: Annotated[str, Path(max_length=48)], body: TransitionInput, request: Request
) -> Response:
    data = {key: value for key, value in body.data if value is not None}

    async def work(uow: UnitOfWork) -> Response:
        result = await transition(
            uow,
            process_run_id=id,
            name=name,
            expected_version=body.expected_version,
            reason=body.reason,
            comment=body.comment,
            data=data,
        )
        return json_response(_result(result), headers={"etag": etag(result.row_version)})

    return await command(request, work)


def _result(result: TransitionResult) -> dict[str, object]:
    return {
        "id": result.process_run_id,
        "run_id": result.run_id,
        "transition": result.name,
        "from_state": result.from_state,
        "to_state": result.to_state,
        "row_version": result.row_version,
        "round": result.round,
        "level": result.level,
        "signatures": result.signatures,
        "released": [{"id": item.id, "code": item.code, "state": item.state} for item in result.released],
        "run_finished": result.run_finished,
    }


@router.get("/{id}/actions", summary="What the present state offers, and to whom")
async def list_actions(id: UUID, uow: CurrentUow) -> list[ActionOutput]:
    return [
        ActionOutput(
            name=action.name,
            label=action.label,
            allowed=action.allowed,
            needs=[needed.value for needed in action.needs],
            guard=action.guard,
            refusal=action.refusal,
            satisfy=action.satisfy,
            who_can=[PersonOutput(id=person.id, name=person.name) for person in action.who_can],
            acting_for=action.acting_for,
            warning=action.warning,
        )
        for action in await allowed_actions(uow, id)
    ]


@router.get("/{id}/waiting-for", summary="Why the process cannot go on")
async def read_waiting(id: UUID, uow: CurrentUow) -> BlockedOutput:
    found = await why_blocked(uow, id)
    return BlockedOutput(
        state=found.state,
        reason=found.reason,
        predecessors=[_open(neighbour) for neighbour in found.predecessors],
        later=[_open(neighbour) for neighbour in found.later],
        soft=[_open(neighbour) for neighbour in found.soft],
        earliest_start=found.earliest_start,
        review_by=found.review_by,
        queries=list(found.queries),
    )


def _open(neighbour: Neighbour) -> PredecessorOutput:
    return PredecessorOutput(
        id=neighbour.id,
        code=neighbour.code,
        label=neighbour.label,
        state=neighbour.state,
        owner_role=neighbour.owner_role,
        assignee=neighbour.assignee,
        due_at=neighbour.due_at,
        impossible=neighbour.impossible,
        type=neighbour.type,
        hardness=neighbour.hardness,
        lag=str(neighbour.lag) if neighbour.lag else None,
        lag_ends_at=neighbour.lag_ends_at,
        workflow=neighbour.workflow,
        business_date=neighbour.awaited_date,
        expected_by=neighbour.expected_by,
        sentence=neighbour.sentence(_in_utc),
    )


def _in_utc(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
