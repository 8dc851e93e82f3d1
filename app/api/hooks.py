"""Calls from outside that set off a trigger. There is no session: a signature proves who calls."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Path, Request, status
from pydantic import BaseModel

from app.api.auth.users import client_ip
from app.api.bodies import require_json
from app.api.deps import CurrentRuntime
from app.api.problems import request_id
from app.core.actor import system_actor
from app.core.errors import TooLarge
from app.domain.triggers.webhooks import LARGEST_BODY, Call, receive
from models.base import uuid7

router = APIRouter(prefix="/api/v1/hooks", tags=["Triggers"])

Signed = Annotated[str, Header(max_length=1_000)]


class ReceiptOutput(BaseModel):
    firing: UUID
    outcome: str
    again: bool
    reason: str | None


@router.post(
    "/{token}",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Set off a trigger from outside",
    description="Signed by the Standard Webhooks scheme: `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 "
    "over `webhook-id.webhook-timestamp.body`. The same `webhook-id` counts once.",
    openapi_extra={
        "security": [],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
    },
)
async def call_hook(
    *,
    token: Annotated[str, Path(max_length=64)],
    request: Request,
    runtime: CurrentRuntime,
    webhook_id: Signed = "",
    webhook_timestamp: Signed = "",
    webhook_signature: Signed = "",
) -> ReceiptOutput:
    require_json(request)
    body = await request.body()
    if len(body) > LARGEST_BODY:
        raise TooLarge(f"A call carries at most {LARGEST_BODY // 1024} KiB.")
    call = Call(token, webhook_id, webhook_timestamp, webhook_signature, body, client_ip(request))
    async with runtime.uow(system_actor("Webhook", correlation_id=request_id(request) or uuid7())) as uow:
        receipt = await receive(uow, call)
    if receipt.error is not None:  # after the commit: a refused call is on record
        raise receipt.error
    return ReceiptOutput(firing=receipt.firing_id, outcome=receipt.outcome, again=receipt.again, reason=receipt.reason)
