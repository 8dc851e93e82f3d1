"""Corrections of market rates, and the commentary on breaches."""

from datetime import date
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.idempotency import command
from app.api.process_runs import Version
from app.core.uow import UnitOfWork
from app.domain.finance.breaches import comment_breach
from app.domain.finance.market_data import correct_rate
from app.domain.finance.pnl_run import recompute_after_correction

router = APIRouter(prefix="/api/v1", tags=["Finance"], dependencies=[Depends(get_actor)])

# What the database keeps of a rate: numeric(30, 12).
Rate = Annotated[Decimal, Field(gt=0, max_digits=24, decimal_places=12, examples=["1.0834"])]


class CorrectionInput(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"business_date": "2026-10-30", "currency": "USD", "value": "1.0834", "reason": "Misquoted"}]
        },
    )

    business_date: date
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    value: Rate
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class CorrectionOutput(BaseModel):
    load_id: UUID
    corrected_figures: dict[date, int] = Field(description="Figures that got a new version, by business date")


class CommentInput(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "expected_version": 1,
                    "root_cause": "market_move",
                    "commentary": "The dollar fell by 1.2 % and the open position was revalued at the ECB rate.",
                }
            ]
        },
    )

    expected_version: Version
    root_cause: Annotated[str, Field(max_length=48)]
    commentary: Annotated[str, Field(max_length=20_000)]


class CommentOutput(BaseModel):
    id: UUID
    state: str
    row_version: int


@router.post(
    "/market-rates/corrections",
    summary="Correct a rate; the figures that it changes get a new version",
    status_code=201,
    response_model=CorrectionOutput,
)
async def correct(body: CorrectionInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        load_id = await correct_rate(
            uow, business_date=body.business_date, currency=body.currency, value=body.value, reason=body.reason
        )
        changed = await recompute_after_correction(uow, body.business_date)
        output = CorrectionOutput(load_id=load_id, corrected_figures=changed)
        return json_response(output.model_dump(mode="json"), status=201)

    return await command(request, work)


@router.post("/breaches/{id}/comment", summary="Explain a breach", response_model=CommentOutput)
async def comment(id: UUID, body: CommentInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        row = await comment_breach(
            uow,
            id,
            root_cause=body.root_cause,
            commentary=body.commentary,
            expected_version=body.expected_version,
        )
        output = CommentOutput(id=id, state=row["state"], row_version=row["row_version"])
        return json_response(output.model_dump(mode="json"))

    return await command(request, work)
