"""Finished work that is opened again: what that means, doing it or asking for it, and the second person's answer."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.api.versions import etag, expected_version
from app.core.uow import UnitOfWork
from app.domain.workflow.process_row import read_process
from app.domain.workflow.reopening import (
    Effect,
    Reopening,
    confirm_reopening,
    decline_reopening,
    impact_of,
    reopen,
)
from app.domain.workflow.reopening_queries import StatementHead, list_statements, read_statement

router = APIRouter(prefix="/api/v1", tags=["Process runs"], dependencies=[Depends(get_actor)])

Reason = Annotated[str, Field(min_length=1, max_length=2_000)]


class AffectedOutput(BaseModel):
    """A process that builds on it. Of another run only its name and state are told."""

    id: UUID
    code: str
    label: str
    state: str
    effect: Effect = Field(
        description="stale: it was finished and is in doubt. told: it is under way and goes on. blocked: it has not "
        "begun and waits. none: nothing happens to it"
    )
    run_id: UUID
    run: str | None = Field(description="Reference of the other run that it belongs to")


class ReopeningImpactOutput(BaseModel):
    """What opening the process again means now. Whoever accepts that sends its digest."""

    id: UUID
    row_version: int
    affected: list[AffectedOutput]
    restates: bool = Field(description="Its run is finished: it is kept as it was signed, and is restated")
    second_person: bool = Field(description="Somebody else has to confirm it")
    digest: str


class ReopenInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Reason
    impact_digest: str = Field(min_length=64, max_length=64, description="The digest of the impact as it was shown")


class DeclineInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Reason


class ReopeningOutput(BaseModel):
    id: UUID
    state: str = Field(description="requested: a second person is to confirm it. done, declined")
    stale: list[UUID] = Field(description="Processes that were finished and are in doubt now")
    blocked: list[UUID] = Field(description="Processes that were free to begin and wait now")


class StatementOutput(BaseModel):
    """A run as it was signed, which has been restated since."""

    number: int
    signed_at: datetime
    digest: str = Field(description="SHA-256 of the content")
    superseded_at: datetime | None
    superseded_reason: str | None


class SignatureOutput(BaseModel):
    level: int
    role: str | None
    by: str
    on_behalf_of: str | None
    at: datetime
    snapshot_hash: str | None


class SignedProcessOutput(BaseModel):
    code: str
    label: str
    kind: str
    state: str
    round: int
    maker: str | None
    started_at: datetime | None
    finished_at: datetime | None
    snapshot_hash: str | None
    output_hash: str | None
    comment: str | None
    signatures: list[SignatureOutput]


class SignedStatementOutput(StatementOutput):
    reference: str
    business_date: str
    variant: str
    version_id: UUID
    processes: list[SignedProcessOutput]


@router.get("/process-runs/{id}/reopening", summary="What opening the process again would mean")
async def read_impact(id: UUID, uow: CurrentUow, response: Response) -> ReopeningImpactOutput:
    impact = await impact_of(uow, process_run_id=id)
    row = await read_process(uow, id)
    response.headers["etag"] = etag(row.row_version)
    return ReopeningImpactOutput(
        id=id,
        row_version=row.row_version,
        affected=[
            AffectedOutput(
                id=each.id,
                code=each.code,
                label=each.label,
                state=each.state.value,
                effect=each.effect,
                run_id=each.run_id,
                run=each.run,
            )
            for each in impact.affected
        ],
        restates=impact.restates,
        second_person=impact.second_person,
        digest=impact.digest,
    )


@router.post(
    "/process-runs/{id}/reopen",
    summary="Open finished work again; where it was signed, ask a second person for that",
    response_model=ReopeningOutput,
    openapi_extra={
        "parameters": [{"name": "If-Match", "in": "header", "required": True, "schema": {"type": "string"}}]
    },
)
async def do_reopen(id: UUID, body: ReopenInput, request: Request) -> Response:
    version = expected_version(request)

    async def work(uow: UnitOfWork) -> Response:
        return _answer(
            await reopen(
                uow,
                process_run_id=id,
                expected_version=version,
                reason=body.reason,
                impact_digest=body.impact_digest,
            )
        )

    return await command(request, work)


@router.post(
    "/process-reopenings/{id}/confirm", summary="Open it again as was asked for", response_model=ReopeningOutput
)
async def confirm(id: UUID, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        return _answer(await confirm_reopening(uow, reopening_id=id))

    return await command(request, work)


@router.post("/process-reopenings/{id}/decline", summary="Leave it as it is", response_model=ReopeningOutput)
async def decline(id: UUID, body: DeclineInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        return _answer(await decline_reopening(uow, reopening_id=id, reason=body.reason))

    return await command(request, work)


@router.get("/workflow-runs/{id}/statements", summary="The run as it was signed, each time before it was restated")
async def read_statements(id: UUID, uow: CurrentUow) -> list[StatementOutput]:
    return [StatementOutput(**statement_head(head)) for head in await list_statements(uow, run_id=id)]


@router.get("/workflow-runs/{id}/statements/{number}", summary="One statement, as it was signed")
async def read_signed(id: UUID, number: Annotated[int, Path(ge=1, lt=2**31)], uow: CurrentUow) -> SignedStatementOutput:
    statement = await read_statement(uow, run_id=id, number=number)
    content = statement.content
    return SignedStatementOutput(
        **statement_head(statement.head),
        reference=content["reference"],
        business_date=content["business_date"],
        variant=content["variant"] or "",
        version_id=content["version"],
        processes=[signed_process(process) for process in content["processes"] or ()],
    )


def signed_process(process: Mapping[str, Any]) -> SignedProcessOutput:
    """A process as a statement keeps it."""
    return SignedProcessOutput(
        **{key: process[key] for key in _AS_SIGNED},
        snapshot_hash=process["hash"],
        output_hash=process["output"],
        signatures=[
            SignatureOutput(
                level=each["level"],
                role=each["role"],
                by=each["by"],
                on_behalf_of=each["for"],
                at=each["at"],
                snapshot_hash=each["hash"],
            )
            for each in process["signatures"]
        ],
    )


_AS_SIGNED = ("code", "label", "kind", "state", "round", "maker", "started_at", "finished_at", "comment")


def statement_head(head: StatementHead) -> dict[str, Any]:
    return {
        "number": head.number,
        "signed_at": head.signed_at,
        "digest": head.digest,
        "superseded_at": head.superseded_at,
        "superseded_reason": head.superseded_reason,
    }


def _answer(done: Reopening) -> Response:
    content = {"id": done.id, "state": done.state, "stale": list(done.stale), "blocked": list(done.blocked)}
    return json_response(content)
