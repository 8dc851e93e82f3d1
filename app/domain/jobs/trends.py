"""How long jobs take and how often they fail, by function and day, within the actor's scope."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Date, Integer, cast, func, select, tuple_

from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope
from app.domain.jobs.attempts import JobState

DAYS = 14
LATEST = 60
FINISHED = (JobState.SUCCEEDED.value, JobState.FAILED.value, JobState.ABORTED.value)


@dataclass(frozen=True, slots=True)
class DayOfFunction:
    """Seconds are of the jobs that succeeded, from the first start to the end; None where none did."""

    day: date
    finished: int
    failed: int
    median_seconds: float | None


@dataclass(frozen=True, slots=True)
class FunctionTrend:
    function: str
    finished: int
    failed: int
    median_seconds: float | None
    slow_seconds: float | None  # 95 of 100 took no longer
    days: Sequence[DayOfFunction] = field(default_factory=tuple)  # oldest first; a day without jobs is left out


async def function_trends(uow: UnitOfWork, *, days: int = DAYS) -> list[FunctionTrend]:
    """Every function with jobs that ended in the last days, by name. One statement. Raises: Forbidden."""
    authorize(uow, "read", "job_run")
    jobs = uow.table("job_run")
    day = cast(func.timezone("UTC", jobs.c.finished_at), Date)
    took = func.extract("epoch", jobs.c.finished_at - jobs.c.started_at)
    good = jobs.c.state == JobState.SUCCEEDED.value
    statement = (
        select(
            jobs.c.function,
            day.label("day"),
            func.grouping(day).label("whole"),
            func.count().label("finished"),
            func.count().filter(jobs.c.state == JobState.FAILED.value).label("failed"),
            func.percentile_cont(0.5).within_group(took).filter(good).label("median"),
            func.percentile_cont(0.95).within_group(took).filter(good).label("slow"),
        )
        .where(jobs.c.state.in_(FINISHED), jobs.c.finished_at >= uow.now - timedelta(days=days))
        .group_by(func.grouping_sets(tuple_(jobs.c.function), tuple_(jobs.c.function, day)))
        .order_by(jobs.c.function, cast(func.grouping(day), Integer).desc(), day)
    )
    found: list[FunctionTrend] = []
    days_of: dict[str, list[DayOfFunction]] = {}
    for row in await uow.execute(scope(statement, uow, "read", "job_run")):
        if row.whole:
            by_day = days_of.setdefault(row.function, [])
            found.append(
                FunctionTrend(row.function, row.finished, row.failed, _seconds(row.median), _seconds(row.slow), by_day)
            )
        else:
            one = DayOfFunction(row.day, row.finished, row.failed, _seconds(row.median))
            days_of.setdefault(row.function, []).append(one)
    return found


async def latest_seconds(uow: UnitOfWork, *, function: str, most: int = LATEST) -> list[float]:
    """How long the latest jobs of a function took that succeeded, oldest first. Raises: Forbidden."""
    authorize(uow, "read", "job_run")
    jobs = uow.table("job_run")
    statement = (
        select(func.extract("epoch", jobs.c.finished_at - jobs.c.started_at).label("took"))
        .where(jobs.c.function == function, jobs.c.state == JobState.SUCCEEDED.value, jobs.c.started_at.is_not(None))
        .order_by(jobs.c.finished_at.desc())
        .limit(most)
    )
    rows = await uow.execute(scope(statement, uow, "read", "job_run"))
    return [float(row.took) for row in rows][::-1]


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
