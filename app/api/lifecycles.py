"""Administering lifecycles: a new draft, what is wrong with one, publishing and discarding it.

Drafts themselves are records like others: `/lifecycle-versions` writes their states and transitions.
"""

from uuid import UUID

from fastapi import APIRouter, Depends, Request, status
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.core.findings import Severity
from app.core.uow import UnitOfWork
from app.domain.entities.queries import get_record
from app.domain.lifecycles.impact import impact_of
from app.domain.lifecycles.publishing import check_version, discard_draft, new_draft_from, publish, source_of_draft
from app.domain.lifecycles.store import head_of

router = APIRouter(prefix="/api/v1", tags=["Lifecycles"], dependencies=[Depends(get_actor)])

_READ = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/LifecycleVersionRead"}}}}


class PublishInput(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"notes": "Four eyes on settlement"}]})

    notes: str | None = Field(None, max_length=4_000, description="What has changed, for those who read the versions")


class PublishOutput(BaseModel):
    id: UUID
    digest: str = Field(description="SHA-256 of the definition; equal definitions have equal digests")


class FindingOutput(BaseModel):
    severity: Severity
    rule: str
    place: str = Field(description="The state or step it is about; empty for the whole")
    message: str
    satisfy: str


class PinnedOutput(BaseModel):
    """Records of one version in one state."""

    version: int
    version_state: str
    state: str
    label: str
    count: int


class CheckOutput(BaseModel):
    publishable: bool = Field(description="Whether there is no error among the findings")
    findings: list[FindingOutput]
    pinned: list[PinnedOutput] = Field(description="Records that stay on the version they began with")
    without: int = Field(description="Records that follow no lifecycle, and are left as they are")


@router.post("/lifecycle-versions/{id}/check", summary="What is wrong with a version, and what publishing it means")
async def check_lifecycle_version(id: UUID, uow: CurrentUow) -> CheckOutput:
    findings = await check_version(uow, version_id=id)
    head = await head_of(uow, id)
    impact = await impact_of(uow, lifecycle_id=head.lifecycle_id, entity_name=head.entity)
    return CheckOutput(
        publishable=not any(finding.severity is Severity.ERROR for finding in findings),
        findings=[
            FindingOutput(severity=f.severity, rule=f.rule, place=f.place, message=f.message, satisfy=f.satisfy)
            for f in findings
        ],
        pinned=[
            PinnedOutput(
                version=version.number,
                version_state=version.state,
                state=pinned.state,
                label=pinned.label,
                count=pinned.count,
            )
            for version in impact.versions
            for pinned in version.pinned
        ],
        without=impact.without,
    )


@router.post(
    "/lifecycle-versions/{id}/publish",
    summary="Make a draft what new records get",
    response_model=PublishOutput,
)
async def publish_lifecycle_version(id: UUID, body: PublishInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        return json_response({"id": id, "digest": await publish(uow, version_id=id, notes=body.notes)})

    return await command(request, work)


@router.post(
    "/lifecycle-versions/{id}/discard", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a draft for good"
)
async def discard_lifecycle_version(id: UUID, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await discard_draft(uow, version_id=id)
        return Response(status_code=204)

    return await command(request, work)


@router.post(
    "/lifecycles/{id}/draft",
    status_code=status.HTTP_201_CREATED,
    summary="Begin a draft: a copy of the published version, or of the latest one",
    responses={201: _READ},
)
async def draft_lifecycle(id: UUID, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        draft = await new_draft_from(uow, version_id=await source_of_draft(uow, lifecycle_id=id))
        record = (await get_record(uow, "lifecycle_version", draft)).items[0]
        return json_response(record, status=201, headers={"location": f"/api/v1/lifecycle-versions/{draft}"})

    return await command(request, work)
