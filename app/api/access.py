"""What one may do, why somebody may or may not do something, who else may; and the end of a grant."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, status
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.deps import CallingActor, CurrentRuntime, CurrentUow
from app.api.generated import writable
from app.api.idempotency import command
from app.core.errors import InvalidRequest
from app.core.uow import UnitOfWork
from app.domain.access.decisions import decide
from app.domain.access.explain import Explanation, GrantVerdict, Holder, explain, who_can
from app.domain.access.grants import revoke_grant

router = APIRouter(prefix="/api/v1", tags=["Access"], dependencies=[Depends(get_actor)])

Action = Annotated[str, Query(max_length=80, pattern=r"^[a-z_]+(:[a-z_]+)?$", examples=["update"])]
EntityName = Annotated[str, Query(max_length=48, pattern=r"^[a-z][a-z0-9_]*$", examples=["trade"])]


class ResourceOutput(BaseModel):
    """An entity that the caller may at least read."""

    entity: str
    slug: str
    label: str
    actions: list[str] = Field(examples=[["read", "create", "update"]])


class SelfOutput(BaseModel):
    id: UUID | None
    name: str
    email: str
    roles: list[str]
    read_only: bool = Field(description="Whether the access token may only read")
    resources: list[ResourceOutput]


class GrantVerdictOutput(BaseModel):
    grant_id: UUID
    role: str
    application: str
    node_id: UUID | None
    line: str | None = Field(description="The line of the policy that speaks about it")
    counts: bool
    covers_record: bool | None
    said: str


class FieldVerdictOutput(BaseModel):
    name: str
    label: str
    group: str
    mode: str | None = Field(description="read, write or mask; empty where the field does not exist for them")


class ExplanationOutput(BaseModel):
    allowed: bool
    verdict: str
    user_id: UUID
    user_name: str
    action: str
    entity: str
    record_id: UUID | None
    application: str | None
    node: str | None
    allowed_by: str | None
    grants: list[GrantVerdictOutput]
    fields: list[FieldVerdictOutput]


class HolderOutput(BaseModel):
    user_id: UUID
    name: str
    email: str
    grants: list[UUID]


class RevocationInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=500, examples=["Moved to another desk"])


@router.get("/me", summary="Who am I, and what may I do with which records")
async def read_me(runtime: CurrentRuntime, actor: CallingActor) -> SelfOutput:
    policy, registry = runtime.policy, runtime.registry
    resources = []
    for entity in registry.entities.values():
        possible = ("read", "create", "update", "delete", "export") if writable(entity) else ("read", "export")
        actions = [name for name in possible if decide(policy, registry, actor, name, entity.name) is not None]
        if "read" in actions:
            resources.append(
                ResourceOutput(entity=entity.name, slug=entity.slug, label=entity.label_plural, actions=actions)
            )
    return SelfOutput(
        id=actor.id,
        name=actor.name,
        email=actor.email,
        roles=sorted(actor.roles),
        read_only=actor.read_only,
        resources=resources,
    )


@router.get("/access/explain", summary="Why somebody may or may not do something")
async def read_explanation(
    *,
    uow: CurrentUow,
    actor: CallingActor,
    action: Action,
    entity: EntityName,
    record_id: UUID | None = None,
    user_id: Annotated[UUID | None, Query(description="Yourself where left out")] = None,
) -> ExplanationOutput:
    _require_entity(uow, entity, record_id)
    subject = user_id or actor.id
    assert subject is not None
    return _explained(await explain(uow, user_id=subject, action=action, entity=entity, record_id=record_id))


@router.get("/access/who-can", summary="Everybody who may do something")
async def list_holders(
    uow: CurrentUow, action: Action, entity: EntityName, record_id: UUID | None = None
) -> list[HolderOutput]:
    _require_entity(uow, entity, record_id)
    return [_holder(holder) for holder in await who_can(uow, action, entity, record_id)]


@router.post(
    "/role-grants/{id}/revoke", status_code=status.HTTP_204_NO_CONTENT, summary="End a grant now; it stays readable"
)
async def end_grant(id: UUID, body: RevocationInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await revoke_grant(uow, grant_id=id, reason=body.reason)
        return Response(status_code=204)

    return await command(request, work)


def _require_entity(uow: UnitOfWork, entity: str, record_id: UUID | None) -> None:
    """The policy also speaks of things that are no entities, such as the audit trail; those have no records."""
    if record_id is not None and entity not in uow.registry.entities:
        raise InvalidRequest(f"entity: there is no entity {entity!r} that has records")


def _explained(found: Explanation) -> ExplanationOutput:
    return ExplanationOutput(
        allowed=found.allowed,
        verdict=found.verdict,
        user_id=found.user_id,
        user_name=found.user_name,
        action=found.action,
        entity=found.entity,
        record_id=found.record_id,
        application=found.application,
        node=found.node,
        allowed_by=found.allowed_by,
        grants=[_verdict(verdict) for verdict in found.grants],
        fields=[
            FieldVerdictOutput(name=field.name, label=field.label, group=field.group, mode=field.mode)
            for field in found.fields
        ],
    )


def _verdict(verdict: GrantVerdict) -> GrantVerdictOutput:
    return GrantVerdictOutput(
        grant_id=verdict.grant.id,
        role=verdict.grant.role,
        application=verdict.grant.application,
        node_id=verdict.grant.node_id,
        line=None if verdict.line is None else str(verdict.line),
        counts=verdict.counts,
        covers_record=verdict.covers_record,
        said=verdict.said,
    )


def _holder(holder: Holder) -> HolderOutput:
    grants = [grant.id for grant in holder.grants]
    return HolderOutput(user_id=holder.user_id, name=holder.name, email=holder.email, grants=grants)
