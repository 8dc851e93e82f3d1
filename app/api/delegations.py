"""Ending a delegation before its time. Entering and reading them is that of any record."""

from uuid import UUID

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.idempotency import command
from app.core.uow import UnitOfWork
from app.domain.access.delegations import revoke_delegation

router = APIRouter(prefix="/api/v1/delegations", tags=["Delegations"], dependencies=[Depends(get_actor)])


@router.post("/{id}/revoke", summary="End a delegation now", status_code=204)
async def end_delegation(id: UUID, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await revoke_delegation(uow, delegation_id=id)
        return Response(status_code=204)

    return await command(request, work)
