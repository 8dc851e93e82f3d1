"""Background work: the log of a job, retry and abort, periodic work, workers, the outbox, and how long jobs take."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.api.auth.dependencies import get_actor
from app.api.bodies import json_response
from app.api.deps import CurrentUow
from app.api.idempotency import command
from app.core.audit import plain_value
from app.core.uow import UnitOfWork
from app.domain.jobs import periodic, retention, runs
from app.domain.jobs.concealing import concealed
from app.domain.jobs.presence import seen_workers
from app.domain.jobs.queries import backlog_by_job
from app.domain.jobs.results import job_detail
from app.domain.jobs.trends import DAYS, function_trends

router = APIRouter(prefix="/api/v1", tags=["Jobs"], dependencies=[Depends(get_actor)])

Days = Annotated[int, Query(ge=1, le=90, description="How far to look back")]


class Reason(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "The vendor is migrating"}]})

    reason: str = Field(min_length=1, max_length=2_000)


class KeptDays(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"days": 90}]})

    days: int = Field(ge=1, le=retention.MOST_DAYS)


class Attempt(BaseModel):
    number: int
    state: str
    worker: str | None
    started_at: datetime
    finished_at: datetime | None
    error: str | None
    log: list[dict[str, Any]]


class JobOutput(BaseModel):
    id: UUID
    function: str
    state: str
    arguments: Any = Field(description="Values that are secret by their name are hidden")
    result: Any
    attempts: list[Attempt] = Field(description="The latest first")


class State(BaseModel):
    state: str


class TrendDay(BaseModel):
    day: date
    finished: int
    failed: int
    median_seconds: float | None


class Trend(BaseModel):
    function: str
    finished: int
    failed: int
    median_seconds: float | None
    slow_seconds: float | None = Field(description="95 of 100 took no longer")
    days: list[TrendDay]


class WorkerOutput(BaseModel):
    name: str
    alive: bool
    lost: bool
    started_at: datetime
    seen_at: datetime
    stopped_at: datetime | None
    running: list[dict[str, Any]]
    periodic: dict[str, dict[str, Any]]
    done: int
    failed: int
    memory_mb: int | None
    redis_ok: bool
    queue_depth: int | None


class BacklogOutput(BaseModel):
    job: str
    waiting: int
    running: int
    later: int
    failed: int
    oldest_seconds: float


class KeptOutput(BaseModel):
    code: str
    label: str
    days: int
    least: int
    due: int = Field(description="How many rows would be cleared away now; counted up to 100,000")
    more: bool


@router.get("/job-runs/{id}/attempts", summary="A job with its attempts and their logs")
async def read_job(id: UUID, uow: CurrentUow) -> JobOutput:
    detail = await job_detail(uow, id)
    return JobOutput(
        id=id,
        function=detail.job.function,
        state=detail.job.state.value,
        arguments=concealed(plain_value(detail.arguments)),
        result=concealed(plain_value(detail.result)),
        attempts=[
            Attempt(
                number=each.number,
                state=each.state,
                worker=each.worker,
                started_at=each.started_at,
                finished_at=each.finished_at,
                error=each.error,
                log=[dict(line) for line in each.log],
            )
            for each in detail.attempts
        ],
    )


@router.post("/job-runs/{id}/retry", summary="Send a failed or aborted job off again", response_model=State)
async def retry_job(id: UUID, request: Request) -> Response:
    return await _command(request, lambda uow: runs.retry(uow, id), "queued")


@router.post("/job-runs/{id}/abort", summary="Call a job off", response_model=State)
async def abort_job(id: UUID, body: Reason, request: Request) -> Response:
    return await _command(request, lambda uow: runs.abort(uow, id, reason=body.reason), "aborted")


@router.post("/periodic-work/{id}/pause", summary="Have no worker do a periodic work", response_model=State)
async def pause_work(id: UUID, body: Reason, request: Request) -> Response:
    return await _command(request, lambda uow: periodic.pause_work(uow, id, reason=body.reason), "paused")


@router.post("/periodic-work/{id}/resume", summary="Have workers do a periodic work again", response_model=State)
async def resume_work(id: UUID, request: Request) -> Response:
    return await _command(request, lambda uow: periodic.resume_work(uow, id), "resumed")


@router.post("/periodic-work/{id}/run", summary="Have one worker do a periodic work now", response_model=State)
async def run_work(id: UUID, request: Request) -> Response:
    return await _command(request, lambda uow: periodic.ask_for_work(uow, id), "asked_for")


@router.get("/jobs/workers", summary="The workers, what each does now, and since when")
async def read_workers(uow: CurrentUow) -> list[WorkerOutput]:
    return [
        WorkerOutput(
            name=each.name,
            alive=each.alive,
            lost=each.lost,
            started_at=each.started_at,
            seen_at=each.seen_at,
            stopped_at=each.stopped_at,
            running=[dict(one) for one in each.running],
            periodic={code: dict(state) for code, state in each.works.items()},
            done=each.done,
            failed=each.failed,
            memory_mb=each.memory_mb,
            redis_ok=each.redis_ok,
            queue_depth=each.queue_depth,
        )
        for each in await seen_workers(uow)
    ]


@router.get("/jobs/backlog", summary="The open and the failed deliveries of the outbox, by job")
async def read_backlog(uow: CurrentUow) -> list[BacklogOutput]:
    return [BacklogOutput.model_validate(each, from_attributes=True) for each in await backlog_by_job(uow)]


@router.get("/jobs/trends", summary="How long jobs take and how often they fail, by function and day")
async def read_trends(uow: CurrentUow, days: Days = DAYS) -> list[Trend]:
    return [Trend.model_validate(each, from_attributes=True) for each in await function_trends(uow, days=days)]


@router.get("/jobs/retention", summary="What is kept for how long, and what would be cleared away now")
async def read_retention(uow: CurrentUow) -> list[KeptOutput]:
    return [
        KeptOutput(
            code=kept.rule.code,
            label=kept.rule.label,
            days=kept.days,
            least=kept.rule.least,
            due=kept.due,
            more=kept.more,
        )
        for kept in await retention.what_is_kept(uow)
    ]


@router.put("/jobs/retention/{code}", summary="Keep something for so many days", response_model=KeptDays)
async def set_retention(code: str, body: KeptDays, request: Request) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await retention.set_days(uow, code, body.days)
        return json_response({"days": body.days})

    return await command(request, work)


async def _command(request: Request, act: Callable[[UnitOfWork], Awaitable[None]], state: str) -> Response:
    async def work(uow: UnitOfWork) -> Response:
        await act(uow)
        return json_response({"state": state})

    return await command(request, work)
