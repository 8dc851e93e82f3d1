"""Automatic processes of a workflow, through the worker: begun, finished, failed, retried and called off."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis

from app.bootstrap import Runtime
from app.core.errors import Forbidden, TransitionRefused
from app.domain.jobs import runs
from app.domain.jobs.context import ActionResult, JobContext
from app.domain.jobs.execute import Ending, Execution, execute_job_run
from jobs.automation import HOOKS
from tests.factories import SYSTEM, add_row
from tests.jobs.running import running_worker, until
from tests.service.jobs.work import attempts_of, job_run, leave_mark, marks, run_sql, with_actions
from tests.service.workflow.bank import DAY, Bank, automatic, manual


@pytest.fixture
async def bank(runtime: Runtime) -> Bank:
    return await Bank(runtime).build()


async def jobs_of(bank: Bank, code: str) -> list[UUID]:
    row = await bank.row(code)
    async with bank.runtime.uow(SYSTEM) as uow:
        return await runs.job_runs_of(uow, process_run_id=row["id"])


async def execute(bank: Bank, code: str) -> Execution:
    """Run one attempt of the newest job of the process."""
    job_run_id = (await jobs_of(bank, code))[0]
    await run_sql(bank.runtime, "UPDATE job_run SET lease_until = NULL WHERE state = 'retrying'")
    return await execute_job_run(bank.runtime, job_run_id, hooks=HOOKS, lease=timedelta(seconds=1))


async def fail(_context: JobContext) -> ActionResult:
    raise RuntimeError("broken")


async def test_a_run_whose_worker_is_killed_and_whose_queue_is_flushed_completes_with_nothing_twice(
    bank: Bank, runtime: Runtime, tmp_path: Path
) -> None:
    assert runtime.settings.redis_url is not None
    redis = Redis.from_url(runtime.settings.redis_url)
    await redis.flushall()
    await bank.run([automatic("load"), automatic("publish")], [("load", "publish")])
    (load,) = await jobs_of(bank, "load")

    async def half_way() -> bool:
        return any(attempt["log"] for attempt in await attempts_of(runtime, load))

    async def finished() -> bool:
        return bool((await bank.the_run())["state"] == "done")

    with running_worker(runtime, tmp_path, name="first") as first:
        await until(half_way, what="half of the work")
        assert await bank.states() == {"load": "in_progress", "publish": "blocked"}
        first.kill()
    await redis.flushall()
    await redis.aclose()
    with running_worker(runtime, tmp_path, name="second"):
        await until(finished, what="the end of the run")
    assert [a["state"] for a in await attempts_of(runtime, load)] == ["lost", "succeeded"]
    (publish,) = await jobs_of(bank, "publish")
    assert [a["state"] for a in await attempts_of(runtime, publish)] == ["succeeded"]
    assert sorted(await marks(runtime)) == ["half-2", f"published {DAY}", "whole"]
    assert await bank.count("SELECT count(*) FROM process_transition WHERE name = 'finish'") == 2


async def test_an_action_sees_the_run_and_its_parameters(bank: Bank, runtime: Runtime) -> None:
    seen: dict[str, Any] = {}

    async def look(context: JobContext) -> ActionResult:
        row: Mapping[str, Any] = context.process_run or {}
        seen.update(
            date=context.business_date, node=context.node_id, parameters=context.parameters, state=row.get("state")
        )
        return ActionResult(output_fingerprint="x")

    with_actions(runtime, **{"test.load": look})
    await bank.run([automatic("load", parameters={"file": "ecb.csv"})])
    assert (await execute(bank, "load")).ending is Ending.SUCCEEDED
    assert seen == {
        "date": DAY,
        "node": bank.nodes["FX"],
        "parameters": {"file": "ecb.csv"},
        "state": "in_progress",
    }


async def test_a_process_fails_with_its_last_attempt_and_a_retry_of_the_job_completes_it(
    bank: Bank, runtime: Runtime
) -> None:
    with_actions(runtime, **{"test.load": fail})
    await bank.run([automatic("load", retry={"max_attempts": 2}), manual("check")], [("load", "check")])
    assert (await execute(bank, "load")).ending is Ending.RETRYING
    assert await bank.state("load") == "in_progress"
    assert (await execute(bank, "load")).ending is Ending.FAILED
    assert await bank.states() == {"load": "failed", "check": "blocked"}
    (load,) = await jobs_of(bank, "load")
    async with runtime.uow(bank.people["operations"]) as uow:
        await runs.retry(uow, load)

    async def work(_context: JobContext) -> ActionResult:
        return ActionResult(output_fingerprint="loaded")

    with_actions(runtime, **{"test.load": work})
    assert (await execute(bank, "load")).ending is Ending.SUCCEEDED
    assert await bank.states() == {"load": "done", "check": "ready"}
    assert [a["state"] for a in await attempts_of(runtime, load)] == ["failed", "failed", "succeeded"]


async def test_an_operator_sees_and_retries_only_the_jobs_below_their_node(bank: Bank, runtime: Runtime) -> None:
    with_actions(runtime, **{"test.load": fail})
    await bank.run([automatic("load", retry={"max_attempts": 1})])
    await execute(bank, "load")
    (load,) = await jobs_of(bank, "load")
    desk = await bank.person("desk operations", "operations", node="G10")
    async with runtime.uow(desk) as uow:
        with pytest.raises(Forbidden, match="elsewhere"):
            await runs.retry(uow, load)  # the run is at FX, above the desk
    whole = await bank.person("fx operations", "operations", node="FX")
    async with runtime.uow(whole) as uow:
        await runs.retry(uow, load)
    assert (await job_run(runtime, load))["state"] == "queued"


async def test_what_a_job_did_for_a_process_that_was_cancelled_meanwhile_does_not_count(
    bank: Bank, runtime: Runtime
) -> None:
    began = asyncio.Event()

    async def slow(context: JobContext) -> ActionResult:
        await add_row(context.uow, "hierarchy", code="half", label="Mark")
        began.set()
        await asyncio.sleep(30)
        raise AssertionError("not reached")

    with_actions(runtime, **{"test.load": slow})
    await bank.run([automatic("load"), manual("other")])
    work = asyncio.create_task(execute(bank, "load"))
    await began.wait()
    await bank.do("cancel", "load", "operations", reason="wrong day")
    assert (await asyncio.wait_for(work, 10)).ending is Ending.ABORTED
    (load,) = await jobs_of(bank, "load")
    assert (await job_run(runtime, load))["state"] == "aborted"
    assert await bank.state("load") == "cancelled"
    assert await marks(runtime) == []


async def test_aborting_a_job_fails_its_process(bank: Bank, runtime: Runtime) -> None:
    with_actions(runtime, **{"test.load": leave_mark})
    await bank.run([automatic("load")])
    (load,) = await jobs_of(bank, "load")
    async with runtime.uow(bank.people["operations"]) as uow:
        await runs.abort(uow, load, reason="the file is wrong")
    assert await bank.state("load") == "failed"
    assert (await execute(bank, "load")).ending is Ending.NOT_RUN
    assert (await bank.row("load"))["reason"] == "the file is wrong"


async def test_a_job_is_not_retried_while_the_process_has_a_newer_one(bank: Bank, runtime: Runtime) -> None:
    with_actions(runtime, **{"test.load": fail})
    await bank.run([automatic("load", retry={"max_attempts": 1})])
    await execute(bank, "load")
    await bank.do("retry", "load", "operations")
    newer, older = await jobs_of(bank, "load")
    assert newer != older
    async with runtime.uow(bank.people["operations"]) as uow:
        with pytest.raises(TransitionRefused, match="newer job"):
            await runs.retry(uow, older)
