"""Actions, hooks and look-ups that the tests of jobs share."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from app.bootstrap import Runtime
from app.core.uow import UnitOfWork
from app.domain.jobs import runs
from app.domain.jobs.context import Action, ActionResult, JobContext
from app.domain.jobs.execute import ACTIONS
from tests.factories import SYSTEM, add_row


class NoHooks:
    """For job runs that belong to no process."""

    async def begin(self, uow: UnitOfWork, process_run_id: UUID) -> None:
        raise AssertionError("there is no process")

    async def finish(self, uow: UnitOfWork, process_run_id: UUID, output_fingerprint: str) -> None:
        raise AssertionError("there is no process")

    async def fail(self, uow: UnitOfWork, process_run_id: UUID, error: str) -> None:
        raise AssertionError("there is no process")


NO_HOOKS = NoHooks()


async def leave_mark(context: JobContext) -> ActionResult:
    """Write one row that tells that the action was here."""
    context.log("info", "marking")
    await add_row(context.uow, "hierarchy", code=context.arguments["mark"], label="Mark")
    return ActionResult(output_fingerprint="marked", summary={"marks": 1})


async def always_fail(context: JobContext) -> ActionResult:
    await add_row(context.uow, "hierarchy", code=f"{context.arguments['mark']}-{context.attempt}", label="Mark")
    raise RuntimeError("SELECT secret FROM vault")


def with_actions(runtime: Runtime, **actions: Action) -> Runtime:
    runtime.services = {**runtime.services, ACTIONS: {"mark": leave_mark, "fail": always_fail, **actions}}
    return runtime


async def queued(runtime: Runtime, function: str = "mark", **options: Any) -> UUID:
    """A committed job run."""
    arguments = options.pop("arguments", {"mark": "one"})
    async with runtime.uow(SYSTEM) as uow:
        return await runs.queue_job(uow, function=function, arguments=arguments, **options)


async def job_run(runtime: Runtime, job_run_id: UUID) -> Mapping[str, Any]:
    async with runtime.uow(SYSTEM) as uow:
        table = uow.table("job_run")
        return dict((await uow.execute(select(table).where(table.c.id == job_run_id))).mappings().one())


async def attempts_of(runtime: Runtime, job_run_id: UUID) -> list[Mapping[str, Any]]:
    async with runtime.uow(SYSTEM) as uow:
        table = uow.table("job_attempt")
        rows = await uow.execute(select(table).where(table.c.job_run_id == job_run_id).order_by(table.c.number))
        return [dict(row) for row in rows.mappings()]


async def marks(runtime: Runtime) -> list[str]:
    """What the actions have written."""
    async with runtime.uow(SYSTEM) as uow:
        table = uow.table("hierarchy")
        return list((await uow.execute(select(table.c.code).where(table.c.label == "Mark"))).scalars())


async def outbox_rows(runtime: Runtime) -> list[Mapping[str, Any]]:
    async with runtime.uow(SYSTEM) as uow:
        rows = await uow.execute(text("SELECT *, clock_timestamp() AS real_now FROM outbox ORDER BY id"))
        return [dict(row) for row in rows.mappings()]


async def expire(runtime: Runtime, job_run_id: UUID) -> None:
    """Let the lease of a job run be over, as if its worker had been killed a while ago."""
    async with runtime.uow(SYSTEM) as uow:
        await uow.execute(
            text("UPDATE job_run SET lease_until = clock_timestamp() - interval '1 second' WHERE id = :id"),
            {"id": job_run_id},
        )


async def run_sql(runtime: Runtime, statement: str, **values: Any) -> None:
    async with runtime.uow(SYSTEM) as uow:
        await uow.execute(text(statement), values)
