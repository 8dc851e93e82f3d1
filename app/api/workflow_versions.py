"""Versions of workflows: drafts and their parts, checks, publication, comparison, files."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, status
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.api.process_runs import Version
from app.api.versions import etag
from app.core.uow import UnitOfWork
from app.domain.entities.queries import get_record
from app.domain.workflow import editing
from app.domain.workflow.comparing import VersionDiff, summary
from app.domain.workflow.definition_reading import read_definition
from app.domain.workflow.definition_store import discard_draft, new_draft_from
from app.domain.workflow.draft_parts import Contents
from app.domain.workflow.drafts import begin_draft, export_definition, import_draft
from app.domain.workflow.impact import Impact, VersionSummary, compare_versions, impact, publish_seen
from app.domain.workflow.publishing import check_version

router = APIRouter(prefix="/api/v1/workflow-versions", tags=["Workflow versions"], dependencies=[Depends(get_actor)])

Fields = Annotated[dict[str, Any], Field(description="Fields as of the entity's own resource, without its place")]
Position = Annotated[int | None, Field(ge=0, description="Among its neighbours; 0 is first, without one it is last")]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DraftInput(_Input):
    """Of a version, or empty for a workflow."""

    version_id: UUID | None = None
    workflow: str | None = Field(None, max_length=48, description="Code of the workflow of an empty draft")


class ImportInput(_Input):
    content: str = Field(max_length=5_000_000, description="The definition as YAML, as the export writes it")
    workflow: str | None = Field(None, max_length=48, description="The workflow it has to be of")
    replace_draft: bool = False


class CreatedOutput(BaseModel):
    id: UUID


class PartOutput(BaseModel):
    id: UUID
    row_version: int


class ContentsOutput(BaseModel):
    """What has gone with it, by code."""

    stages: list[str]
    processes: list[str]
    dependencies: int


class StageInput(_Input):
    parent_id: UUID | None = None
    position: Position = None
    fields: Fields


class ProcessInput(_Input):
    stage_id: UUID
    position: Position = None
    fields: Fields


class DependencyInput(_Input):
    fields: Fields


class ChangeInput(_Input):
    expected_version: Version
    fields: Fields


class MoveInput(_Input):
    expected_version: Version
    into: UUID | None = Field(None, description="The stage it goes into; for a stage none is the top")
    position: Position = None


class OnVersionInput(_Input):
    expected_version: Version


class PublishInput(_Input):
    digest: str = Field(min_length=64, max_length=64, description="Digest of the draft as `impact` has shown it")
    reason: str = Field("", max_length=2_000)


class FindingOutput(BaseModel):
    severity: str
    rule: str
    place: str = Field(description="Code of a process or stage; empty for the whole")
    message: str
    satisfy: str


class ChangeOutput(BaseModel):
    field: str
    label: str
    before: Any
    after: Any


class DifferenceOutput(BaseModel):
    part: str
    kind: str
    code: str
    label: str
    moved: bool
    changes: list[ChangeOutput]


class DiffOutput(BaseModel):
    summary: str
    differences: list[DifferenceOutput]


class VersionOutput(BaseModel):
    id: UUID
    number: int
    state: str
    runs: int
    open_runs: int


class ImpactOutput(BaseModel):
    number: int
    digest: str
    published: VersionOutput | None
    staying: list[VersionOutput] = Field(description="Versions with runs in progress, which end on them")
    unheld_roles: list[str] = Field(description="Roles that nobody holds now")
    diff: DiffOutput


class PublishedOutput(BaseModel):
    id: UUID
    digest: str


# -- drafts ------------------------------------------------------------------------------------------------------------


@router.post(
    "/drafts", status_code=status.HTTP_201_CREATED, summary="Begin a draft of a version, or an empty one",
    response_model=CreatedOutput,
)  # fmt: skip
async def make_draft(body: DraftInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        if body.version_id is not None:
            made = await new_draft_from(uow, version_id=body.version_id)
        else:
            made = await begin_draft(uow, workflow_code=body.workflow or "")
        return _created(made)

    return await command(request, work)


@router.post(
    "/imports", status_code=status.HTTP_201_CREATED, summary="Make a definition the draft of its workflow",
    response_model=CreatedOutput,
)  # fmt: skip
async def bring_in(body: ImportInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        made = await import_draft(
            uow, content=body.content, workflow_code=body.workflow, replace_draft=body.replace_draft
        )
        return _created(made)

    return await command(request, work)


@router.get("/{id}/definition", summary="The whole version as plain data")
async def read_whole(id: UUID, uow: CurrentUow) -> dict[str, Any]:
    await get_record(uow, "workflow_version", id)
    return (await read_definition(uow, id)).plain()


@router.post(
    "/{id}/export",
    summary="The whole version as a YAML file; goes on record",
    response_class=Response,
    responses={200: {"content": {"application/yaml": {"schema": {"type": "string"}}}}},
)
async def take_out(id: UUID, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        content = await export_definition(uow, version_id=id)
        return Response(content, media_type="application/yaml; charset=utf-8")

    return await command(request, work)


@router.post("/{id}/discard", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a draft with all that is in it")
async def discard(id: UUID, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await discard_draft(uow, version_id=id)
        return Response(status_code=status.HTTP_204_NO_CONTENT)

    return await command(request, work)


@router.get("/{id}/findings", summary="What the checks say, errors first")
async def read_findings(id: UUID, uow: CurrentUow) -> list[FindingOutput]:
    return [
        FindingOutput(severity=f.severity, rule=f.rule, place=f.place, message=f.message, satisfy=f.satisfy)
        for f in await check_version(uow, version_id=id)
    ]


@router.get("/{id}/impact", summary="What publishing the version would change")
async def read_impact(id: UUID, uow: CurrentUow) -> ImpactOutput:
    return _impact(await impact(uow, version_id=id))


@router.get("/{id}/differences", summary="What differs from another version")
async def read_differences(
    id: UUID, uow: CurrentUow, since: Annotated[UUID, Query(description="The version to compare with")]
) -> DiffOutput:
    return _diff(await compare_versions(uow, before=since, after=id))


@router.post("/{id}/publish", summary="Publish the draft as it was seen", response_model=PublishedOutput)
async def make_public(id: UUID, body: PublishInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        digest = await publish_seen(uow, version_id=id, seen_digest=body.digest, reason=body.reason)
        return json_response({"id": id, "digest": digest})

    return await command(request, work)


# -- parts of a draft --------------------------------------------------------------------------------------------------


@router.post(
    "/{id}/stages", status_code=status.HTTP_201_CREATED, summary="Add a stage", response_model=CreatedOutput
)  # fmt: skip
async def add_stage(id: UUID, body: StageInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        made = await editing.add_stage(
            uow, version_id=id, values=body.fields, parent_id=body.parent_id, position=body.position
        )
        return _created(made)

    return await command(request, work)


@router.post(
    "/{id}/processes", status_code=status.HTTP_201_CREATED, summary="Add a process", response_model=CreatedOutput
)  # fmt: skip
async def add_process(id: UUID, body: ProcessInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        made = await editing.add_process(
            uow, version_id=id, stage_id=body.stage_id, values=body.fields, position=body.position
        )
        return _created(made)

    return await command(request, work)


@router.post(
    "/{id}/dependencies", status_code=status.HTTP_201_CREATED, summary="Add a dependency",
    response_model=CreatedOutput,
)  # fmt: skip
async def add_dependency(id: UUID, body: DependencyInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        return _created(await editing.add_dependency(uow, version_id=id, values=body.fields))

    return await command(request, work)


Parts = Literal["stages", "processes", "dependencies"]


@router.post("/parts/{kind}/{id}/change", summary="Change fields of a part of a draft", response_model=PartOutput)
async def change_part(kind: Parts, id: UUID, body: ChangeInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        change: dict[str, Any] = {"values": body.fields, "expected_version": body.expected_version}
        match kind:
            case "stages":
                record = await editing.change_stage(uow, stage_id=id, **change)
            case "processes":
                record = await editing.change_process(uow, process_id=id, **change)
            case "dependencies":
                record = await editing.change_dependency(uow, dependency_id=id, **change)
        version = record["row_version"]
        return json_response({"id": id, "row_version": version}, headers={"etag": etag(version)})

    return await command(request, work)


@router.post("/parts/{kind}/{id}/move", summary="Move a stage or a process", response_model=PartOutput)
async def move_part(kind: Literal["stages", "processes"], id: UUID, body: MoveInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        place: dict[str, Any] = {"position": body.position, "expected_version": body.expected_version}
        if kind == "stages":
            await editing.move_stage(uow, stage_id=id, parent_id=body.into, **place)
        else:
            stage = body.into or (await get_record(uow, "process", id)).records[0]["stage"]
            await editing.move_process(uow, process_id=id, stage_id=stage, **place)
        return json_response({"id": id, "row_version": body.expected_version + 1})

    return await command(request, work)


@router.post(
    "/parts/processes/{id}/duplicate", status_code=status.HTTP_201_CREATED,
    summary="Copy a process with its lines, right behind it", response_model=CreatedOutput,
)  # fmt: skip
async def duplicate(id: UUID, body: OnVersionInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        return _created(await editing.duplicate_process(uow, process_id=id, expected_version=body.expected_version))

    return await command(request, work)


@router.post("/parts/{kind}/{id}/remove", summary="Remove a part with what is in it", response_model=ContentsOutput)
async def remove_part(kind: Parts, id: UUID, body: OnVersionInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        gone = Contents((), (), 1)
        match kind:
            case "stages":
                gone = await editing.remove_stage(uow, stage_id=id, expected_version=body.expected_version)
            case "processes":
                gone = await editing.remove_process(uow, process_id=id, expected_version=body.expected_version)
            case "dependencies":
                await editing.remove_dependency(uow, dependency_id=id, expected_version=body.expected_version)
        content = {
            "stages": [code for code, _ in gone.stages],
            "processes": [code for code, _ in gone.processes],
            "dependencies": gone.dependencies,
        }
        return json_response(content)

    return await command(request, work)


# -- values into answers -----------------------------------------------------------------------------------------------


def _created(id_: UUID) -> Response:
    return json_response({"id": id_}, status=status.HTTP_201_CREATED)


def _impact(effect: Impact) -> ImpactOutput:
    return ImpactOutput(
        number=effect.number,
        digest=effect.digest,
        published=_version(effect.published) if effect.published else None,
        staying=[_version(version) for version in effect.staying],
        unheld_roles=list(effect.unheld_roles),
        diff=_diff(effect.diff),
    )


def _version(version: VersionSummary) -> VersionOutput:
    return VersionOutput(
        id=version.id, number=version.number, state=version.state, runs=version.runs, open_runs=version.open_runs
    )


def _diff(diff: VersionDiff) -> DiffOutput:
    return DiffOutput(
        summary=summary(diff),
        differences=[
            DifferenceOutput(
                part=d.part,
                kind=d.kind,
                code=d.code,
                label=d.label,
                moved=d.moved,
                changes=[ChangeOutput(field=c.field, label=c.label, before=c.before, after=c.after) for c in d.changes],
            )
            for d in diff.differences
        ],
    )
