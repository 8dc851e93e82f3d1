"""What people put into a process over HTTP, what it waits for, and what it has signed: the parts of its page."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.api.reopenings import SignedProcessOutput, StatementOutput, signed_process, statement_head
from app.core.uow import UnitOfWork
from app.domain.workflow.answers import as_expected, options_of
from app.domain.workflow.content import ChecklistItem, QuestionItem
from app.domain.workflow.preparation import answer_item, answer_question
from app.domain.workflow.process_contents import checklist_of, questions_of, signed_by, statements_of_process, wait_of

router = APIRouter(prefix="/api/v1/process-runs", tags=["Process runs"], dependencies=[Depends(get_actor)])

Code = Annotated[str, Path(max_length=48)]


class QuestionOutput(BaseModel):
    """A question that is answered before the process is submitted, with its answer."""

    code: str
    label: str
    mandatory: bool
    type: str = Field(description="yes_no, choice, number or text")
    options: list[str] = Field(description="What can be answered; empty where anything can be written")
    expected: str | None = Field(description="Another answer needs a comment")
    answer: str | None
    comment: str | None
    as_expected: bool | None = Field(description="null while it is not answered")
    answered_by: UUID | None
    on_behalf_of: UUID | None


class AnswerInput(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"answer": "no", "comment": "Two trades come tomorrow."}]}
    )

    answer: str = Field(max_length=2_000, description="Empty takes back the answer there is")
    comment: str | None = Field(None, max_length=2_000)


class ChecklistItemOutput(BaseModel):
    code: str
    label: str
    mandatory: bool
    done: bool
    ticked_by: UUID | None = Field(description="Who ticked it, or took the tick back")
    on_behalf_of: UUID | None


class TickInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    done: bool


class WaitOutput(BaseModel):
    """What a wait waits for; `arrival` is what has come."""

    kind: Literal["file", "event", "time"]
    file_name: str | None = Field(description="Pattern of the name")
    file_from: str | None = Field(description="inbox, or attached: the files of processes of the run")
    folder: str | None = Field(description="Of the inbox; none is the inbox itself")
    event: str | None
    condition: dict[str, Any] | None
    until: str | None = Field(description="Formula of the time")
    until_at: datetime | None
    expected_by: datetime | None
    counts_before_its_turn: bool
    arrived_at: datetime | None
    arrival: dict[str, Any] | None


class SignedLineOutput(BaseModel):
    """A process behind the sign-off. `signed` and `now` are its states; null: it was not there, or is not any more."""

    id: UUID
    label: str
    signed: str | None
    now: str | None
    changed: bool


class SignedContentOutput(BaseModel):
    """`open`: not signed yet, and these are what would be signed. `changed`: it is not what was signed any more."""

    open: bool
    changed: bool
    figures_changed: bool
    processes: list[SignedLineOutput]


class ProcessStatementOutput(StatementOutput):
    """How the process was signed, before its run was restated."""

    process: SignedProcessOutput


@router.get("/{id}/questions", summary="The questions of a process, with their answers")
async def list_questions(id: UUID, uow: CurrentUow) -> list[QuestionOutput]:
    return [_question(item) for item in await questions_of(uow, process_run_id=id)]


@router.post(
    "/{id}/questions/{code}", summary="Answer a question, or take the answer back", response_model=list[QuestionOutput]
)
async def answer(id: UUID, code: Code, body: AnswerInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await answer_question(uow, process_run_id=id, question=code, answer=body.answer, comment=body.comment)
        found = await questions_of(uow, process_run_id=id)
        return json_response([_question(item).model_dump() for item in found])

    return await command(request, work)


@router.get("/{id}/checklist", summary="The checklist of a process")
async def list_items(id: UUID, uow: CurrentUow) -> list[ChecklistItemOutput]:
    return [_item(item) for item in await checklist_of(uow, process_run_id=id)]


@router.post(
    "/{id}/checklist/{code}", summary="Tick an item, or take the tick back", response_model=list[ChecklistItemOutput]
)
async def tick(id: UUID, code: Code, body: TickInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await answer_item(uow, process_run_id=id, item=code, done=body.done)
        found = await checklist_of(uow, process_run_id=id)
        return json_response([_item(item).model_dump() for item in found])

    return await command(request, work)


@router.get("/{id}/wait", summary="What a wait waits for, and what has come")
async def read_wait(id: UUID, uow: CurrentUow) -> WaitOutput:
    found = await wait_of(uow, process_run_id=id)
    return WaitOutput(
        kind=found.kind,
        file_name=found.pattern,
        file_from=found.source,
        folder=found.folder,
        event=found.event,
        condition=dict(found.condition) if found.condition else None,
        until=found.until,
        until_at=found.until_at,
        expected_by=found.expected_by,
        counts_before_its_turn=found.counts_early,
        arrived_at=found.arrived_at,
        arrival=dict(found.arrival) or None,
    )


@router.get("/{id}/signed-content", summary="What a sign-off signs or has signed, and whether that has changed since")
async def read_signed_content(id: UUID, uow: CurrentUow) -> SignedContentOutput:
    found = await signed_by(uow, process_run_id=id)
    return SignedContentOutput(
        open=found.open,
        changed=found.changed,
        figures_changed=found.figures_changed,
        processes=[
            SignedLineOutput(id=line.id, label=line.label, signed=line.signed, now=line.now, changed=line.changed)
            for line in found.lines
        ],
    )


@router.get("/{id}/statements", summary="How it was signed, each time before its run was restated")
async def read_process_statements(id: UUID, uow: CurrentUow) -> list[ProcessStatementOutput]:
    return [
        ProcessStatementOutput(**statement_head(head), process=signed_process(process))
        for head, process in await statements_of_process(uow, process_run_id=id)
    ]


def _question(item: QuestionItem) -> QuestionOutput:
    asked = {"answer_type": item["type"], "options": item["options"], "expected": item["expected"]}
    given = item["answer"]
    return QuestionOutput(
        code=item["code"],
        label=item["label"],
        mandatory=item["mandatory"],
        type=item["type"],
        options=list(options_of(asked)),
        expected=item["expected"],
        answer=given,
        comment=item["comment"],
        as_expected=None if given is None else as_expected(asked, given),
        answered_by=_id(item["by"]),
        on_behalf_of=_id(item["on_behalf_of"]),
    )


def _item(item: ChecklistItem) -> ChecklistItemOutput:
    return ChecklistItemOutput(
        code=item["code"],
        label=item["label"],
        mandatory=item["mandatory"],
        done=item["done"],
        ticked_by=_id(item["by"]),
        on_behalf_of=_id(item["on_behalf_of"]),
    )


def _id(text: str | None) -> UUID | None:
    return UUID(text) if text else None
