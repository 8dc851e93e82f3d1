"""Queries over HTTP: ask, read a thread, write and take steps, correct one's words, change what is wanted, watch."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, status
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.api.versions import etag, expected_version
from app.core.uow import UnitOfWork
from app.domain.support.query_asking import NewQuery, ask_query
from app.domain.support.query_reading import (
    Message,
    Part,
    QueryHead,
    Standing,
    Thread,
    list_queries,
    thread_of,
    threads_of,
)
from app.domain.support.query_rules import Asked, Priority, Source
from app.domain.support.query_thread import Wish, change_query, correct_message, mark_read, say, watch

router = APIRouter(prefix="/api/v1/queries", tags=["Queries"], dependencies=[Depends(get_actor)])

Text = Annotated[str, Field(max_length=20_000, description="Markdown; @name or @e-mail names somebody")]


class AskedInput(BaseModel):
    """Of whom it is asked: exactly one of the three."""

    model_config = ConfigDict(extra="forbid")

    user_id: UUID | None = None
    role: str | None = Field(None, max_length=48)
    group_id: UUID | None = None

    def asked(self) -> Asked:
        return Asked(self.user_id, self.role, self.group_id)


class RecordInput(BaseModel):
    """The record that it is about."""

    model_config = ConfigDict(extra="forbid")

    entity: str = Field(max_length=48, pattern=r"^[a-z][a-z0-9_]*$", examples=["process_run"])
    id: UUID


class AskInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    record: RecordInput
    subject: str = Field(max_length=1_000)
    text: Text
    asked: AskedInput
    blocking: bool = Field(False, description="Its process is not completed until it is answered")
    priority: Priority = Priority.NORMAL
    due: str | None = Field(None, max_length=100, description="PT4H, P2D, BD+1 12:00 Europe/London, or an instant")


class AskedOutput(BaseModel):
    id: UUID
    reference: str
    row_version: int


class SayInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: Text = ""
    step: str | None = Field(None, max_length=48, description="answer, close, reopen, close_as_lead, reopen_as_lead")


class SaidOutput(BaseModel):
    number: int | None = Field(description="Of the message; none for a step without words")
    step: str | None
    row_version: int


class CorrectInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: Text


class ChangeInput(BaseModel):
    """What is to be different; what is left out stays. An empty `due` takes the deadline away."""

    model_config = ConfigDict(extra="forbid")

    asked: AskedInput | None = None
    due: str | None = Field(None, max_length=100)
    priority: Priority | None = None
    blocking: bool | None = None


class WatchInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    watching: bool


class RecordOutput(BaseModel):
    entity: str
    id: UUID


class QueryOutput(BaseModel):
    id: UUID
    reference: str
    subject: str
    record: RecordOutput
    state: str = Field(description="Of its lifecycle")
    standing: Standing
    priority: str
    blocking: bool
    blocks: bool = Field(description="It holds up its process now")
    asker: str
    asked: str = Field(description="The person, role or group")
    asked_of_me: bool
    due_at: datetime | None
    messages: int
    unread: int
    watching: bool
    created_at: datetime
    answered_at: datetime | None
    closed_at: datetime | None
    row_version: int


class FileOutput(BaseModel):
    id: UUID
    name: str
    size: int


class EarlierOutput(BaseModel):
    text: str
    until: datetime


class MessageOutput(BaseModel):
    id: UUID
    number: int
    author_id: UUID
    author: str
    text: str
    at: datetime
    step: str | None = Field(description="What was done with it")
    source: str
    edited_at: datetime | None
    earlier: list[EarlierOutput] = Field(description="What it said before it was corrected")
    files: list[FileOutput]


class StepOutput(BaseModel):
    name: str
    label: str
    allowed: bool
    refusal: str | None


class ThreadOutput(QueryOutput):
    thread: list[MessageOutput]
    steps: list[StepOutput]


class QueriesOutput(BaseModel):
    items: list[QueryOutput]
    more: bool = Field(description="There are more than are listed")


@router.post("", status_code=status.HTTP_201_CREATED, summary="Ask about a record", response_model=AskedOutput)
async def ask(body: AskInput, request: Request) -> Response:
    new = NewQuery(body.subject, body.text, body.asked.asked(), body.blocking, body.priority, body.due)

    async def work(uow: UnitOfWork) -> Response:
        made = await ask_query(uow, record=(body.record.entity, body.record.id), new=new, source=Source.API)
        content = {"id": made.id, "reference": made.reference, "row_version": made.row_version}
        headers = {"location": f"{router.prefix}/{made.id}", "etag": etag(made.row_version)}
        return json_response(content, status=201, headers=headers)

    return await command(request, work)


@router.get("", summary="Queries by whom they concern, by due time")
async def list_all(
    uow: CurrentUow,
    part: Part = Part.ASKED,
    standing: Annotated[Standing | None, Query(description="Left out: those that are not closed")] = None,
    q: Annotated[str, Query(max_length=200, description="Words of the reference or the subject")] = "",
) -> QueriesOutput:
    found = await list_queries(uow, part=part, standing=standing, search=q)
    return QueriesOutput(items=[QueryOutput(**_head(head)) for head in found.queries], more=found.more)


@router.get("/about/{entity}/{id}", summary="The threads about a record")
async def list_about(entity: str, id: UUID, uow: CurrentUow) -> list[ThreadOutput]:
    return [_thread(thread) for thread in await threads_of(uow, record=(entity, id))]


@router.get("/{id}", summary="A query with everything that was said", response_model=ThreadOutput)
async def read(id: UUID, uow: CurrentUow) -> Response:
    thread = await thread_of(uow, query_id=id)
    content = _thread(thread).model_dump(mode="json")
    return json_response(content, headers={"etag": etag(thread.head.row["row_version"])})


@router.post("/{id}/messages", summary="Write in a query, take a step of it, or both", response_model=SaidOutput)
async def write(id: UUID, body: SayInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        said = await say(uow, query_id=id, said=body.text, step=body.step, source=Source.API)
        content = {"number": said.number, "step": said.step, "row_version": said.row_version}
        return json_response(content, headers={"etag": etag(said.row_version)})

    return await command(request, work)


@router.post(
    "/messages/{id}/correction",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Correct one's own words within a quarter of an hour; what they were is kept",
)
async def correct(id: UUID, body: CorrectInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await correct_message(uow, message_id=id, said=body.text)
        return Response(status_code=204)

    return await command(request, work)


@router.post(
    "/{id}/change",
    summary="Change of whom it is asked, until when, how urgent it is, whether it blocks",
    response_model=AskedOutput,
    openapi_extra={
        "parameters": [{"name": "If-Match", "in": "header", "required": True, "schema": {"type": "string"}}]
    },
)
async def change(id: UUID, body: ChangeInput, request: Request) -> Response:
    version = expected_version(request)
    wish = Wish(body.asked.asked() if body.asked else None, body.due, body.priority, body.blocking)

    async def work(uow: UnitOfWork) -> Response:
        now_is = await change_query(uow, query_id=id, expected_version=version, wish=wish)
        row = (await thread_of(uow, query_id=id)).head.row
        content = {"id": id, "reference": row["reference"], "row_version": now_is}
        return json_response(content, headers={"etag": etag(now_is)})

    return await command(request, work)


@router.post("/{id}/watching", status_code=status.HTTP_204_NO_CONTENT, summary="Be told of what happens in it, or not")
async def set_watching(id: UUID, body: WatchInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await watch(uow, query_id=id, watching=body.watching)
        return Response(status_code=204)

    return await command(request, work)


@router.post("/{id}/read", status_code=status.HTTP_204_NO_CONTENT, summary="Note that one has read it to its end")
async def set_read(id: UUID, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await mark_read(uow, query_id=id)
        return Response(status_code=204)

    return await command(request, work)


def _head(head: QueryHead) -> dict[str, object]:
    row = head.row
    return {
        "id": row["id"],
        "reference": row["reference"],
        "subject": row["subject"],
        "record": RecordOutput(entity=row["record_entity"], id=row["record_id"]),
        "state": row["lifecycle_state"],
        "standing": head.standing,
        "priority": row["priority"],
        "blocking": row["blocking"],
        "blocks": head.blocks,
        "asker": head.asker,
        "asked": head.asked,
        "asked_of_me": head.asked_of_me,
        "due_at": row["due_at"],
        "messages": row["messages"],
        "unread": head.unread,
        "watching": head.watching,
        "created_at": row["created_at"],
        "answered_at": row["answered_at"],
        "closed_at": row["closed_at"],
        "row_version": row["row_version"],
    }


def _thread(thread: Thread) -> ThreadOutput:
    offers = thread.steps.offers if thread.steps is not None else ()
    steps = [
        StepOutput(
            name=offer.step.name,
            label=offer.step.label,
            allowed=offer.allowed,
            refusal=offer.refusal.detail if offer.refusal is not None else None,
        )
        for offer in offers
    ]
    return ThreadOutput(**_head(thread.head), thread=[_message(one) for one in thread.messages], steps=steps)


def _message(one: Message) -> MessageOutput:
    return MessageOutput(
        id=one.id,
        number=one.number,
        author_id=one.by_id,
        author=one.by,
        text=one.text,
        at=one.at,
        step=one.step,
        source=one.source,
        edited_at=one.edited_at,
        earlier=[EarlierOutput(text=each["text"], until=datetime.fromisoformat(each["until"])) for each in one.earlier],
        files=[FileOutput(id=file["id"], name=file["name"], size=file["size"]) for file in one.files],
    )
