"""Escalations: taking care of one, ending one, and what a ladder would do."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope
from app.domain.escalation.acknowledging import acknowledge, end
from app.domain.escalation.queries import LADDER, escalation_detail, preview_ladder

router = APIRouter(prefix="/api/v1", tags=["Escalations"], dependencies=[Depends(get_actor)])

Since = Annotated[AwareDatetime | None, Query(description="When something would be late; now where it is left out")]


class Acknowledgement(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"note": "I am calling the vendor"}]})

    note: str = Field(min_length=1, max_length=2_000)


class Ending(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "Agreed with the client"}]})

    reason: str = Field(min_length=1, max_length=2_000)


class State(BaseModel):
    state: str


class Told(BaseModel):
    at: datetime
    step: int = Field(description="From 1")
    target: str
    again: int = Field(description="How often the step was told before")


class Happened(BaseModel):
    at: datetime
    kind: str
    round: int
    step: int | None = Field(description="From 1")
    text: str
    by: str | None
    people: list[str]


@router.post(
    "/escalations/{id}/acknowledge", summary="Take care of it: nobody else is told for now", response_model=State
)
async def acknowledge_escalation(id: UUID, body: Acknowledgement, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await acknowledge(uow, id, said=body.note)
        return json_response({"state": "acknowledged"})

    return await command(request, work)


@router.post("/escalations/{id}/end", summary="Tell nobody any more", response_model=State)
async def end_escalation(id: UUID, body: Ending, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await end(uow, id, reason=body.reason)
        return json_response({"state": "ended"})

    return await command(request, work)


@router.get("/escalations/{id}/events", summary="What happened to an escalation, the latest first")
async def read_events(id: UUID, uow: CurrentUow) -> list[Happened]:
    _, happened, _ = await escalation_detail(uow, id)
    return [
        Happened(
            at=each.at,
            kind=each.kind,
            round=each.round,
            step=None if each.step is None else each.step + 1,
            text=each.text,
            by=each.by,
            people=list(each.people),
        )
        for each in happened
    ]


@router.get("/escalation-ladders/{id}/preview", summary="Whom a ladder would tell, and when, if nobody acknowledged")
async def preview(id: UUID, uow: CurrentUow, since: Since = None) -> list[Told]:
    await require_in_scope(uow, "read", LADDER, id)
    found = await preview_ladder(uow, id, since=since or uow.now)
    return [
        Told(at=each.at, step=each.step + 1, target=found.steps[each.step].target, again=each.told)
        for each in found.tellings
    ]
