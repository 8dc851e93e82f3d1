"""Job runs as pages show them: a list by function, state and time, and one with all its attempts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Select, func, select

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope
from app.domain.jobs.attempts import JobState

MOST = 200


@dataclass(frozen=True, slots=True)
class JobLine:
    """`process`, `process_label`: what it was queued for; None for a job of the platform itself."""

    id: UUID
    function: str
    state: JobState
    process_run_id: UUID | None
    process_label: str | None
    run_reference: str | None
    attempt: int
    failures: int
    max_attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class AttemptLine:
    number: int
    state: str
    worker: str | None
    started_at: datetime
    finished_at: datetime | None
    error: str | None
    log: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class JobDetail:
    job: JobLine
    arguments: Mapping[str, Any]
    result: Any
    backoff_seconds: int
    worker: str | None
    lease_until: datetime | None
    input_fingerprint: str | None
    output_fingerprint: str | None
    attempts: tuple[AttemptLine, ...]


async def list_jobs(
    uow: UnitOfWork,
    *,
    function: str | None = None,
    states: Iterable[JobState] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[JobLine]:
    """The job runs in the actor's scope, newest first; ids grow with time, so `before` continues below one."""
    authorize(uow, "read", "job_run")
    jobs = uow.table("job_run")
    statement = scope(_lines(uow), uow, "read", "job_run").order_by(jobs.c.id.desc())
    if function:
        statement = statement.where(jobs.c.function == function)
    wanted = [state.value for state in states]
    if wanted:
        statement = statement.where(jobs.c.state.in_(wanted))
    if since is not None:
        statement = statement.where(jobs.c.created_at >= since)
    if until is not None:
        statement = statement.where(jobs.c.created_at < until)
    if before is not None:
        statement = statement.where(jobs.c.id < before)
    rows = await uow.execute(statement.limit(max(1, min(limit, MOST))))
    return [_line(row) for row in rows.mappings()]


async def job_functions(uow: UnitOfWork) -> dict[str, dict[JobState, int]]:
    """How many job runs there are of each function in each state, within the actor's scope."""
    jobs = uow.table("job_run")
    statement = select(jobs.c.function, jobs.c.state, func.count().label("number")).group_by(
        jobs.c.function, jobs.c.state
    )
    found: dict[str, dict[JobState, int]] = {}
    for row in await uow.execute(scope(statement, uow, "read", "job_run").order_by(jobs.c.function)):
        found.setdefault(row.function, {})[JobState(row.state)] = row.number
    return found


async def job_detail(uow: UnitOfWork, job_run_id: UUID) -> JobDetail:
    """One job run with its attempts, the latest first. Raises: NotFound, also for one that is out of scope."""
    authorize(uow, "read", "job_run")
    jobs, attempts = uow.table("job_run"), uow.table("job_attempt")
    more = (
        "arguments",
        "result",
        "backoff_seconds",
        "worker",
        "lease_until",
        "input_fingerprint",
        "output_fingerprint",
    )
    statement = scope(_lines(uow).add_columns(*(jobs.c[name] for name in more)), uow, "read", "job_run")
    row = (await uow.execute(statement.where(jobs.c.id == job_run_id))).mappings().first()
    if row is None:
        raise NotFound("There is no such job, or you may not see it.")
    names = ("number", "state", "worker", "started_at", "finished_at", "error", "log")
    found = await uow.execute(
        select(*(attempts.c[name] for name in names))
        .where(attempts.c.job_run_id == job_run_id)
        .order_by(attempts.c.number.desc())
    )
    return JobDetail(
        job=_line(row),
        arguments=row["arguments"] or {},
        result=row["result"],
        backoff_seconds=row["backoff_seconds"],
        worker=row["worker"],
        lease_until=row["lease_until"],
        input_fingerprint=row["input_fingerprint"],
        output_fingerprint=row["output_fingerprint"],
        attempts=tuple(AttemptLine(**{**a, "log": tuple(a["log"] or ())}) for a in found.mappings()),
    )


def _lines(uow: UnitOfWork) -> Select[Any]:
    jobs, processes, runs = uow.table("job_run"), uow.table("process_run"), uow.table("workflow_run")
    names = (
        "id", "function", "state", "process_run_id", "attempt", "failures", "max_attempts", "created_at", "started_at",
        "finished_at", "error",
    )  # fmt: skip
    return (
        select(
            *(jobs.c[name] for name in names),
            processes.c.label.label("process_label"),
            runs.c.reference.label("run_reference"),
        )
        .select_from(jobs)
        .outerjoin(processes, processes.c.id == jobs.c.process_run_id)
        .outerjoin(runs, runs.c.id == processes.c.run_id)
    )


def _line(row: RowMapping) -> JobLine:
    return JobLine(
        id=row["id"],
        function=row["function"],
        state=JobState(row["state"]),
        process_run_id=row["process_run_id"],
        process_label=row["process_label"],
        run_reference=row["run_reference"],
        attempt=row["attempt"],
        failures=row["failures"],
        max_attempts=row["max_attempts"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        error=row["error"],
    )
