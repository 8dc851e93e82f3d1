"""Calendars: drafts changed, composed and imported into, reviewed, published; what that moves; a deadline tried out."""

from datetime import date, datetime, time
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, status
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.api.process_runs import Version
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.calendars import drafts, versions
from app.domain.calendars.calendars import Combination
from app.domain.calendars.contents import differences, read_content
from app.domain.calendars.draft_rows import LABEL_LENGTH, MOST_DAYS_AT_ONCE, VERSION
from app.domain.calendars.queries import calendar_head
from app.domain.calendars.store import calendar_of_id
from app.domain.calendars.trial import try_out
from app.domain.calendars.week_text import parse_week
from app.domain.sla.recalculation_preview import preview_of

router = APIRouter(prefix="/api/v1", tags=["Calendars"], dependencies=[Depends(get_actor)])

Kind = Literal["holiday", "early_close", "late_open", "special_hours"]
Year = Annotated[int, Query(ge=1901, le=2199)]
Windows = Annotated[str, Field(max_length=500)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NotesInput(_Input):
    notes: str = Field("", max_length=drafts.NOTES_LENGTH)


class SeenInput(_Input):
    expected_version: Version


class ReasonInput(SeenInput):
    reason: str = Field(min_length=1, max_length=versions.REASON_LENGTH)


class WeekInput(SeenInput):
    """Windows such as `09:00-12:00, 13:00-18:00`; one over midnight goes on into the next day."""

    monday: Windows = ""
    tuesday: Windows = ""
    wednesday: Windows = ""
    thursday: Windows = ""
    friday: Windows = ""
    saturday: Windows = ""
    sunday: Windows = ""


class DaysInput(SeenInput):
    first: date
    last: date | None = None
    kind: Kind = "holiday"
    label: str = Field(min_length=1, max_length=LABEL_LENGTH)
    opens_at: time | None = None
    closes_at: time | None = None


class RemovalInput(SeenInput):
    days: list[date] = Field(min_length=1, max_length=MOST_DAYS_AT_ONCE)


class CompositionInput(SeenInput):
    composition: Combination | None = Field(description="Without it the version has hours and days of its own")
    parts: list[UUID] = Field(default=[], max_length=drafts.MOST_PARTS)


class HolidaysInput(SeenInput):
    source: str = Field(max_length=12, description="TARGET, LONDON, NEWYORK, NYSE, DE, DE-BY, XETR")
    first_year: int = Field(ge=1901, le=2099)
    last_year: int = Field(ge=1901, le=2099)


class CreatedVersionOutput(BaseModel):
    id: UUID


class CountOutput(BaseModel):
    days: int


class DayOutput(BaseModel):
    day: date
    works: bool


class StepOutput(BaseModel):
    day: date
    counts: bool
    text: str


class TrialOutput(BaseModel):
    understood: str
    due_at: datetime
    steps: list[StepOutput]


class DifferenceOutput(BaseModel):
    what: str
    day: date | None
    before: str
    after: str


class MovedOutput(BaseModel):
    entity: str
    record_id: UUID
    label: str
    due_at: datetime
    new_due_at: datetime
    minutes: int


class ImpactOutput(BaseModel):
    total: int = Field(description="Open deadlines that publishing the version moves")
    later: int
    earlier: int
    late_at_once: int
    first_day: date | None = Field(description="The first day that is treated differently")
    hidden: int = Field(description="Of those listed, how many the caller may not see")
    differences: list[DifferenceOutput]
    deadlines: list[MovedOutput]


@router.get("/calendars/{id}/days", summary="Which days of a year a calendar works")
async def read_days(id: UUID, uow: CurrentUow, year: Year) -> list[DayOutput]:
    await calendar_head(uow, id)
    calendar = await calendar_of_id(uow, id)
    first = date(year, 1, 1).toordinal()
    days = (date.fromordinal(n) for n in range(first, date(year + 1, 1, 1).toordinal()))
    return [DayOutput(day=day, works=calendar.is_working_day(day)) for day in days]


@router.get("/calendars/{id}/trial", summary="What a start and a promise such as PT4H or WD+3 18:00 come to")
async def read_trial(
    id: UUID, uow: CurrentUow, start: AwareDatetime, promise: Annotated[str, Query(min_length=1, max_length=100)]
) -> TrialOutput:
    await calendar_head(uow, id)
    answer = try_out(await calendar_of_id(uow, id), start, promise)
    steps = [StepOutput(day=step.day, counts=step.counts, text=step.text) for step in answer.steps]
    return TrialOutput(understood=answer.words, due_at=answer.due_at, steps=steps)


@router.post(
    "/calendars/{id}/draft", status_code=status.HTTP_201_CREATED, response_model=CreatedVersionOutput,
    summary="Begin a draft of the version in force",
)  # fmt: skip
async def begin_draft(id: UUID, body: NotesInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        made = await drafts.new_draft(uow, calendar_id=id, notes=body.notes)
        return json_response({"id": made}, status=status.HTTP_201_CREATED)

    return await command(request, work)


@router.get(
    "/calendar-versions/{id}/impact", summary="What a version says differently, and the deadlines it would move"
)
async def read_impact(id: UUID, uow: CurrentUow) -> ImpactOutput:
    authorize(uow, "read", VERSION)
    found = await preview_of(uow, version_id=id)
    return ImpactOutput(
        total=found.total,
        later=found.later,
        earlier=found.earlier,
        late_at_once=found.late_at_once,
        first_day=found.first_day,
        hidden=found.hidden,
        differences=[DifferenceOutput(**each) for each in await _differences(uow, id, found.before_id)],
        deadlines=[
            MovedOutput(
                entity=row.entity,
                record_id=row.record_id,
                label=row.label,
                due_at=row.old,
                new_due_at=row.new,
                minutes=row.minutes,
            )
            for row in found.rows
        ],
    )


async def _differences(uow: UnitOfWork, id: UUID, before: UUID | None) -> list[dict[str, Any]]:
    if before is None:
        return []
    found = differences(await read_content(uow, before), await read_content(uow, id))
    return [{"what": each.what, "day": each.day, "before": each.before, "after": each.after} for each in found]


@router.post("/calendar-versions/{id}/week", status_code=204, summary="Give a draft its working hours")
async def set_week(id: UUID, body: WeekInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        names = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
        week = parse_week({number: getattr(body, name) for number, name in enumerate(names)})
        await drafts.set_week(uow, version_id=id, week=week, expected_version=body.expected_version)
        return Response(status_code=204)

    return await command(request, work)


@router.post("/calendar-versions/{id}/special-days", summary="Enter days in a draft", response_model=CountOutput)
async def add_days(id: UUID, body: DaysInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        return json_response({"days": await drafts.add_days(uow, version_id=id, **body.model_dump())})

    return await command(request, work)


@router.post("/calendar-versions/{id}/removal", summary="Take days out of a draft", response_model=CountOutput)
async def remove_days(id: UUID, body: RemovalInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        removed = await drafts.remove_days(uow, version_id=id, days=body.days, expected_version=body.expected_version)
        return json_response({"days": removed})

    return await command(request, work)


@router.post("/calendar-versions/{id}/composition", status_code=204, summary="Make a draft of other calendars")
async def compose(id: UUID, body: CompositionInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await drafts.compose(uow, version_id=id, **body.model_dump())
        return Response(status_code=204)

    return await command(request, work)


@router.post("/calendar-versions/{id}/holidays", summary="Import holidays into a draft", response_model=CountOutput)
async def import_holidays(id: UUID, body: HolidaysInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        number = await drafts.import_into(
            uow,
            version_id=id,
            source=body.source,
            years=range(body.first_year, body.last_year + 1),
            expected_version=body.expected_version,
        )
        return json_response({"days": number})

    return await command(request, work)


@router.post("/calendar-versions/{id}/review", status_code=204, summary="Ask a second person to look through a draft")
async def ask_for_review(id: UUID, body: SeenInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await versions.ask_for_review(uow, version_id=id, expected_version=body.expected_version)
        return Response(status_code=204)

    return await command(request, work)


@router.post("/calendar-versions/{id}/rejection", status_code=204, summary="Send a version that is reviewed back")
async def send_back(id: UUID, body: ReasonInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await versions.send_back(uow, version_id=id, reason=body.reason, expected_version=body.expected_version)
        return Response(status_code=204)

    return await command(request, work)


@router.post(
    "/calendar-versions/{id}/publication", status_code=204,
    summary="Put a reviewed version in force; open deadlines follow it",
)  # fmt: skip
async def publish(id: UUID, body: ReasonInput, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await versions.publish_version(uow, version_id=id, reason=body.reason, expected_version=body.expected_version)
        return Response(status_code=204)

    return await command(request, work)


@router.post("/calendar-versions/{id}/discarding", status_code=204, summary="Discard a version that is not published")
async def discard(id: UUID, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await versions.discard_draft(uow, version_id=id)
        return Response(status_code=204)

    return await command(request, work)
