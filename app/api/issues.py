"""Issues beyond their records and steps: raising one about something, its thread and links, merging, and the trend."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.api.versions import etag, expected_version
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope
from app.domain.support.issue_links import ISSUE, link_records, unlink_record
from app.domain.support.issue_messages import MAX_TEXT, post_message, thread
from app.domain.support.issue_queries import around
from app.domain.support.issue_similar import similar_issues
from app.domain.support.issue_trend import MOST_DAYS, GroupCount, issue_trend
from app.domain.support.issues import merge_issue, raise_issue, watch

router = APIRouter(prefix="/api/v1", tags=["Issues"], dependencies=[Depends(get_actor)])

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, pattern=r"^[^\x00]*$")]
# Far enough from the ends of the calendar for every period and zone.
EARLIEST, LATEST = date(1910, 1, 1), date(9000, 1, 1)
IF_MATCH: dict[str, Any] = {
    "parameters": [{"name": "If-Match", "in": "header", "required": True, "schema": {"type": "string"}}]
}


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RecordInput(Input):
    """What an issue is about."""

    entity: str = Field(max_length=48, pattern=r"^[a-z][a-z0-9_]*$", description="For example process_run or job_run")
    id: UUID


class RaiseInput(Input):
    """Fields of the issue; what is left out follows from the first record."""

    values: dict[str, Any] = Field(description="Fields of an issue, such as title, urgency and blocking")
    records: list[RecordInput] = Field(default=[], max_length=50)


class RaisedOutput(BaseModel):
    id: UUID


class LinksInput(Input):
    records: list[RecordInput] = Field(min_length=1, max_length=50)


class LinksOutput(BaseModel):
    links: list[UUID] = Field(description="The new ones; what was linked already is left out")


class LinkOutput(BaseModel):
    id: UUID
    entity: str
    record_id: UUID
    held: bool = Field(description="The process is on hold because of issues")
    overridden_at: datetime | None = Field(description="Since when it goes on in spite of the issue")


class MessageInput(Input):
    text: Text
    internal: bool = Field(default=False, description="For those who work on issues only")


class MessageOutput(BaseModel):
    id: UUID
    at: datetime
    author_id: UUID | None = Field(description="None: the platform")
    author: str | None
    internal: bool
    text: str
    of: str | None = Field(description="Number of the merged issue on which it was said")


class PostedOutput(BaseModel):
    id: UUID


class MergeInput(Input):
    into: UUID = Field(description="The issue that goes on")
    comment: str | None = Field(default=None, max_length=4_000)


class MergedOutput(BaseModel):
    id: UUID
    into: UUID
    row_version: int


class SimilarOutput(BaseModel):
    id: UUID
    reference: str
    title: str
    is_open: bool
    likeness: float = Field(description="0 to 1")
    resolution: str | None


class DayOutput(BaseModel):
    day: date
    opened: int
    resolved: int
    open_after: int


class GroupOutput(BaseModel):
    id: UUID | None
    label: str
    opened: int
    resolved: int
    open_now: int
    mean_seconds: int | None


class TrendOutput(BaseModel):
    """Of the issues that the caller may see."""

    opened: int
    resolved: int
    open_now: int
    reopened: int
    mean_seconds: int | None = Field(description="From raising to resolving, of what was resolved in the period")
    days: list[DayOutput]
    categories: list[GroupOutput]
    priorities: list[GroupOutput]


@router.post("/issues/raise", summary="Raise an issue about records", response_model=RaisedOutput, status_code=201)
async def post_raise(body: RaiseInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        records = [(record.entity, record.id) for record in body.records]
        issue_id = await raise_issue(uow, values=body.values, records=records)
        return json_response({"id": issue_id}, status=201)

    return await command(request, work)


@router.get("/issues/{id}/links", summary="What an issue is about")
async def get_links(id: UUID, uow: CurrentUow) -> list[LinkOutput]:
    found = await around(uow, issue_id=id)
    return [
        LinkOutput(
            id=link.id,
            entity=link.entity,
            record_id=link.record_id,
            held=link.held,
            overridden_at=link.overridden_at,
        )
        for link in found.links
    ]


@router.post("/issues/{id}/links", summary="Link records to an issue", response_model=LinksOutput)
async def post_links(id: UUID, body: LinksInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        records = [(record.entity, record.id) for record in body.records]
        return json_response({"links": await link_records(uow, issue_id=id, records=records)})

    return await command(request, work)


@router.delete("/issues/{id}/links/{link_id}", summary="Take a link away", status_code=204)
async def delete_link(id: UUID, link_id: UUID, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await unlink_record(uow, issue_id=id, link_id=link_id)
        return Response(status_code=204)

    return await command(request, work)


@router.get("/issues/{id}/messages", summary="The thread of an issue, oldest first")
async def get_messages(id: UUID, uow: CurrentUow) -> list[MessageOutput]:
    await require_in_scope(uow, "read", ISSUE, id)
    return [
        MessageOutput(
            id=each.id,
            at=each.at,
            author_id=each.author_id,
            author=each.author,
            internal=each.internal,
            text=each.text,
            of=each.of_reference,
        )
        for each in await thread(uow, issue_id=id)
    ]


@router.post("/issues/{id}/messages", summary="Say something", response_model=PostedOutput, status_code=201)
async def post_one_message(id: UUID, body: MessageInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        message_id = await post_message(uow, issue_id=id, text=body.text, internal=body.internal)
        return json_response({"id": message_id}, status=201)

    return await command(request, work)


@router.post(
    "/issues/{id}/merge",
    summary="Let another issue go on in its place",
    response_model=MergedOutput,
    openapi_extra=IF_MATCH,
)
async def post_merge(id: UUID, body: MergeInput, request: Request) -> Response:
    version = expected_version(request)

    async def work(uow: UnitOfWork) -> Response:
        done = await merge_issue(uow, issue_id=id, into_id=body.into, expected_version=version, comment=body.comment)
        content = {"id": id, "into": body.into, "row_version": done.row_version}
        return json_response(content, headers={"etag": etag(done.row_version)})

    return await command(request, work)


@router.post("/issues/{id}/watch", summary="Be told of what happens on an issue", status_code=204)
async def post_watch(id: UUID, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await watch(uow, issue_id=id)
        return Response(status_code=204)

    return await command(request, work)


@router.delete("/issues/{id}/watch", summary="Do not be told any more", status_code=204)
async def delete_watch(id: UUID, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await watch(uow, issue_id=id, watching=False)
        return Response(status_code=204)

    return await command(request, work)


@router.get("/similar-issues", summary="Issues with a title like this one")
async def get_similar(
    uow: CurrentUow, title: Annotated[str, Query(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
) -> list[SimilarOutput]:
    return [
        SimilarOutput(
            id=each.id,
            reference=each.reference,
            title=each.title,
            is_open=each.is_open,
            likeness=each.likeness,
            resolution=each.resolution,
        )
        for each in await similar_issues(uow, title=title)
    ]


@router.get("/issue-trend", summary="How issues come and go, day by day")
async def get_trend(
    uow: CurrentUow,
    last: Annotated[date | None, Query(description="Today where it is left out")] = None,
    days: Annotated[int, Query(ge=1, le=MOST_DAYS)] = 30,
) -> TrendOutput:
    zone = ZoneInfo(uow.actor.time_zone)
    end = min(max(last or uow.now.astimezone(zone).date(), EARLIEST), LATEST)
    trend = await issue_trend(uow, first=end - timedelta(days=days - 1), last=end, zone=zone)
    return TrendOutput(
        opened=trend.opened,
        resolved=trend.resolved,
        open_now=trend.open_now,
        reopened=trend.reopened,
        mean_seconds=_seconds(trend.mean),
        days=[
            DayOutput(day=day.day, opened=day.opened, resolved=day.resolved, open_after=day.open_after)
            for day in trend.days
        ],
        categories=[_group(group) for group in trend.categories],
        priorities=[_group(group) for group in trend.priorities],
    )


def _group(group: GroupCount) -> GroupOutput:
    return GroupOutput(
        id=group.id,
        label=group.label,
        opened=group.opened,
        resolved=group.resolved,
        open_now=group.open_now,
        mean_seconds=_seconds(group.mean),
    )


def _seconds(time: timedelta | None) -> int | None:
    return None if time is None else round(time.total_seconds())
