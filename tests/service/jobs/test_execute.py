"""Job runs from claim to end: effects exactly once, attempts on record, back-off, retry, abort."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from app.bootstrap import Runtime
from app.core.errors import Forbidden, NotFound, TransitionRefused, ValidationFailed
from app.domain.jobs import attempts, recovery, runs
from app.domain.jobs.attempts import Claim, Hindrance, NotClaimed
from app.domain.jobs.context import ActionResult, JobContext
from app.domain.jobs.errors import ActionRefused, JobAborted, LeaseLost
from app.domain.jobs.execute import Ending, Execution, execute_job_run
from models.base import uuid7
from tests.factories import SYSTEM, World, add_row
from tests.service.jobs.work import (
    NO_HOOKS,
    attempts_of,
    expire,
    job_run,
    leave_mark,
    marks,
    outbox_rows,
    queued,
    run_sql,
    with_actions,
)

LEASE = timedelta(seconds=20)


async def execute(runtime: Runtime, job_run_id: UUID, *, lease: timedelta = LEASE) -> Execution:
    return await execute_job_run(runtime, job_run_id, worker="w1", hooks=NO_HOOKS, lease=lease)


async def take(runtime: Runtime, job_run_id: UUID, worker: str = "w1") -> Claim:
    async with runtime.uow(SYSTEM) as uow:
        claim = await attempts.claim(uow, job_run_id, worker=worker, lease=LEASE)
    assert isinstance(claim, Claim)
    return claim


async def end_pause(runtime: Runtime) -> None:
    await run_sql(runtime, "UPDATE job_run SET lease_until = clock_timestamp() WHERE state = 'retrying'")


async def test_a_job_run_records_arguments_timing_log_result_and_fingerprints(runtime: Runtime) -> None:
    with_actions(runtime)
    job_run_id = await queued(runtime)
    assert await execute(runtime, job_run_id) == Execution(Ending.SUCCEEDED)
    row = await job_run(runtime, job_run_id)
    assert row["state"] == "succeeded"
    assert row["arguments"] == {"mark": "one"}
    assert row["result"] == {"marks": 1}
    assert row["output_fingerprint"] == "marked"
    assert row["input_fingerprint"] == runs.fingerprint({"arguments": {"mark": "one"}, "function": "mark"})
    assert row["started_at"] <= row["finished_at"]
    (attempt,) = await attempts_of(runtime, job_run_id)
    assert (attempt["number"], attempt["state"], attempt["worker"]) == (1, "succeeded", "w1")
    assert [(line["level"], line["message"]) for line in attempt["log"]] == [("info", "marking")]
    assert await marks(runtime) == ["one"]


async def test_a_second_delivery_does_nothing(runtime: Runtime) -> None:
    with_actions(runtime)
    job_run_id = await queued(runtime)
    await execute(runtime, job_run_id)
    assert await execute(runtime, job_run_id) == Execution(Ending.NOT_RUN)
    assert len(await attempts_of(runtime, job_run_id)) == 1
    assert await marks(runtime) == ["one"]


async def test_ten_deliveries_at_once_run_it_once(runtime: Runtime) -> None:
    with_actions(runtime)
    job_run_id = await queued(runtime)
    endings = [e.ending for e in await asyncio.gather(*(execute(runtime, job_run_id) for _ in range(10)))]
    assert sorted(endings) == sorted([Ending.SUCCEEDED, *[Ending.NOT_RUN] * 9])
    assert await marks(runtime) == ["one"]


async def test_a_job_run_that_another_worker_holds_is_to_be_delivered_again_later(runtime: Runtime) -> None:
    job_run_id = await queued(runtime)
    await take(runtime, job_run_id)
    execution = await execute(runtime, job_run_id)
    assert execution.ending is Ending.NOT_RUN
    assert execution.until is not None
    assert timedelta(seconds=10) < execution.until - datetime.now(UTC) <= LEASE


async def test_a_claim_over_an_expired_lease_marks_the_old_attempt_lost(runtime: Runtime) -> None:
    with_actions(runtime)
    job_run_id = await queued(runtime)
    zombie = await take(runtime, job_run_id, "killed")
    async with runtime.uow(SYSTEM) as uow:
        await attempts.append_log(uow, zombie, [{"at": "", "level": "info", "message": "half way"}])
    await expire(runtime, job_run_id)
    assert (await execute(runtime, job_run_id)).ending is Ending.SUCCEEDED
    first, second = await attempts_of(runtime, job_run_id)
    assert (first["state"], first["worker"], second["state"]) == ("lost", "killed", "succeeded")
    assert "lost" in first["error"]
    assert first["log"][0]["message"] == "half way"
    assert await marks(runtime) == ["one"]


async def test_a_worker_that_was_taken_for_dead_cannot_complete(runtime: Runtime) -> None:
    with_actions(runtime)
    job_run_id = await queued(runtime)
    zombie = await take(runtime, job_run_id)
    await expire(runtime, job_run_id)
    successor = await take(runtime, job_run_id, "w2")

    async def come_back() -> None:
        async with runtime.uow(SYSTEM) as uow:
            await add_row(uow, "hierarchy", code="zombie", label="Mark")
            await attempts.succeed(uow, zombie, ActionResult(output_fingerprint="x"))

    with pytest.raises(LeaseLost):
        await come_back()
    with pytest.raises(LeaseLost):
        async with runtime.uow(SYSTEM) as uow:
            await attempts.fail(uow, zombie, error="x", final=True)
    with pytest.raises(LeaseLost):
        async with runtime.uow(SYSTEM) as uow:
            await attempts.heartbeat(uow, zombie, lease=LEASE)
    assert await marks(runtime) == []
    async with runtime.uow(SYSTEM) as uow:
        await attempts.succeed(uow, successor, ActionResult(output_fingerprint="y"))
    assert (await job_run(runtime, job_run_id))["output_fingerprint"] == "y"


async def test_the_heartbeat_keeps_a_lease_that_is_shorter_than_the_work(runtime: Runtime) -> None:
    async def slow(context: JobContext) -> ActionResult:
        await asyncio.sleep(1.5)
        return await leave_mark(context)

    with_actions(runtime, slow=slow)
    job_run_id = await queued(runtime, "slow")
    work = asyncio.create_task(execute(runtime, job_run_id, lease=timedelta(seconds=0.6)))
    await asyncio.sleep(1.1)
    assert (await execute(runtime, job_run_id)).ending is Ending.NOT_RUN
    assert (await work).ending is Ending.SUCCEEDED
    assert len(await attempts_of(runtime, job_run_id)) == 1


async def test_work_stops_when_somebody_else_has_taken_it_over(runtime: Runtime) -> None:
    began = asyncio.Event()

    async def stuck(context: JobContext) -> ActionResult:
        await add_row(context.uow, "hierarchy", code="half", label="Mark")
        began.set()
        await asyncio.sleep(30)
        raise AssertionError("not reached")

    with_actions(runtime, stuck=stuck)
    job_run_id = await queued(runtime, "stuck")
    work = asyncio.create_task(execute(runtime, job_run_id, lease=timedelta(seconds=0.8)))
    await began.wait()
    await expire(runtime, job_run_id)
    successor = await take(runtime, job_run_id, "w2")
    assert (await asyncio.wait_for(work, 5)).ending is Ending.LOST
    assert await marks(runtime) == []
    assert [a["state"] for a in await attempts_of(runtime, job_run_id)] == ["lost", "running"]
    assert successor.attempt == 2


async def test_a_failing_job_backs_off_and_ends_failed_after_its_last_attempt(runtime: Runtime) -> None:
    with_actions(runtime)
    job_run_id = await queued(runtime, "fail", max_attempts=3, backoff_seconds=10)
    for number, pause in ((1, 10), (2, 20)):
        assert (await execute(runtime, job_run_id)).ending is Ending.RETRYING
        delivery = (await outbox_rows(runtime))[-1]
        assert delivery["payload"] == {"job_run_id": str(job_run_id)}
        assert round((delivery["available_at"] - delivery["real_now"]).total_seconds()) == pause
        early = await execute(runtime, job_run_id)
        assert early.ending is Ending.NOT_RUN  # a delivery that comes too early waits
        assert early.until is not None
        assert len(await attempts_of(runtime, job_run_id)) == number
        await end_pause(runtime)
    assert (await execute(runtime, job_run_id)).ending is Ending.FAILED
    row = await job_run(runtime, job_run_id)
    assert (row["state"], row["failures"], row["attempt"]) == ("failed", 3, 3)
    assert row["finished_at"] is not None
    assert await marks(runtime) == []
    assert [a["state"] for a in await attempts_of(runtime, job_run_id)] == ["failed"] * 3


async def test_an_unexpected_error_is_shown_without_its_inside(runtime: Runtime) -> None:
    with_actions(runtime)
    job_run_id = await queued(runtime, "fail", max_attempts=1)
    execution = await execute(runtime, job_run_id)
    (attempt,) = await attempts_of(runtime, job_run_id)
    shown = [execution.error, attempt["error"], (await job_run(runtime, job_run_id))["error"], str(attempt["log"])]
    assert all("RuntimeError" in str(text) for text in shown)
    assert not any("vault" in str(text) for text in shown)


async def test_an_action_that_refuses_is_not_tried_again(runtime: Runtime) -> None:
    async def refuse(_context: JobContext) -> ActionResult:
        raise ActionRefused("The parameter `file` is missing.")

    with_actions(runtime, refuse=refuse)
    job_run_id = await queued(runtime, "refuse", max_attempts=5)
    assert await execute(runtime, job_run_id) == Execution(Ending.FAILED, "The parameter `file` is missing.")


async def test_an_unknown_action_fails_and_names_those_there_are(runtime: Runtime) -> None:
    with_actions(runtime)
    job_run_id = await queued(runtime, "nonsense")
    execution = await execute(runtime, job_run_id)
    assert execution.ending is Ending.FAILED
    assert execution.error == "There is no action 'nonsense'. The actions there are: fail, mark."


async def test_a_retry_starts_with_all_attempts_and_keeps_the_old_ones(runtime: Runtime, world: World) -> None:
    with_actions(runtime)
    job_run_id = await queued(runtime, "fail", max_attempts=1)
    await execute(runtime, job_run_id)
    operator = world.actor("operations")
    async with runtime.uow(operator) as uow:
        await runs.retry(uow, job_run_id)
    with_actions(runtime, fail=leave_mark)
    assert (await execute(runtime, job_run_id)).ending is Ending.SUCCEEDED
    assert [a["state"] for a in await attempts_of(runtime, job_run_id)] == ["failed", "succeeded"]
    with pytest.raises(TransitionRefused):
        async with runtime.uow(operator) as uow:
            await runs.retry(uow, job_run_id)
    async with runtime.uow(SYSTEM) as uow:
        recorded = text("SELECT actor_name, command, before, after FROM audit_entry WHERE entity = 'job_run'")
        entry = (await uow.execute(recorded)).one()
    assert tuple(entry) == ("Tester", "retry", {"state": "failed"}, {"state": "queued"})


async def test_retry_and_abort_need_the_permission_and_the_record_in_scope(runtime: Runtime, world: World) -> None:
    job_run_id = await queued(runtime)
    async with runtime.uow(world.actor("preparer")) as uow:
        with pytest.raises(Forbidden):
            await runs.retry(uow, job_run_id)
        with pytest.raises(Forbidden):
            await runs.abort(uow, job_run_id, reason="x")
    async with runtime.uow(world.actor("operations", node="EM-1")) as uow:
        with pytest.raises(NotFound):
            await runs.abort(uow, job_run_id, reason="x")  # it belongs to no node: only for wide grants
    async with runtime.uow(world.actor("operations")) as uow:
        with pytest.raises(NotFound):
            await runs.abort(uow, uuid7(), reason="x")
        with pytest.raises(ValidationFailed):
            await runs.abort(uow, job_run_id, reason="  ")


async def test_an_abort_stops_a_running_job_and_nothing_of_it_stays(runtime: Runtime, world: World) -> None:
    began = asyncio.Event()

    async def endless(context: JobContext) -> ActionResult:
        await add_row(context.uow, "hierarchy", code="half", label="Mark")
        began.set()
        while True:
            await context.check_cancelled()
            await asyncio.sleep(0.01)

    with_actions(runtime, endless=endless)
    job_run_id = await queued(runtime, "endless")
    work = asyncio.create_task(execute(runtime, job_run_id, lease=timedelta(seconds=0.8)))
    await began.wait()
    async with runtime.uow(world.actor("operations", name="Olga")) as uow:
        await runs.abort(uow, job_run_id, reason="wrong date")
    assert (await asyncio.wait_for(work, 5)).ending is Ending.ABORTED
    row = await job_run(runtime, job_run_id)
    assert (row["state"], row["error"]) == ("aborted", "Aborted by Olga: wrong date")
    assert [a["state"] for a in await attempts_of(runtime, job_run_id)] == ["aborted"]
    assert await marks(runtime) == []
    assert (await execute(runtime, job_run_id)).ending is Ending.NOT_RUN


async def test_the_reaper_brings_back_what_was_lost_and_fails_what_was_lost_too_often(runtime: Runtime) -> None:
    with_actions(runtime)
    again = await queued(runtime, max_attempts=2)
    last = await queued(runtime, max_attempts=1, arguments={"mark": "two"})
    alive = await queued(runtime, arguments={"mark": "three"})
    for job_run_id in (again, last, alive):
        await take(runtime, job_run_id)
    await expire(runtime, again)
    await expire(runtime, last)
    deliveries = len(await outbox_rows(runtime))
    assert await recovery.reap_lost(runtime, hooks=NO_HOOKS) == 2
    assert await recovery.reap_lost(runtime, hooks=NO_HOOKS) == 0
    states = [(await job_run(runtime, id_))["state"] for id_ in (again, last, alive)]
    assert states == ["retrying", "failed", "running"]
    assert len(await outbox_rows(runtime)) == deliveries + 1
    assert (await execute(runtime, again)).ending is Ending.SUCCEEDED
    assert [a["state"] for a in await attempts_of(runtime, again)] == ["lost", "succeeded"]


async def test_a_job_run_that_was_lost_in_its_last_attempt_fails_when_it_is_delivered(runtime: Runtime) -> None:
    with_actions(runtime)
    job_run_id = await queued(runtime, max_attempts=1)
    await take(runtime, job_run_id)
    await expire(runtime, job_run_id)
    assert (await execute(runtime, job_run_id)).ending is Ending.FAILED
    assert [a["state"] for a in await attempts_of(runtime, job_run_id)] == ["lost"]
    assert await marks(runtime) == []


async def test_a_stranded_job_run_gets_a_new_delivery(runtime: Runtime) -> None:
    job_run_id = await queued(runtime)
    await run_sql(runtime, "UPDATE job_run SET created_at = created_at - interval '11 minutes'")
    async with runtime.uow(SYSTEM) as uow:
        assert await recovery.deliver_stranded(uow) == 0
    await run_sql(runtime, "UPDATE outbox SET failed_at = clock_timestamp()")
    async with runtime.uow(SYSTEM) as uow:
        assert await recovery.deliver_stranded(uow) == 1
    assert (await outbox_rows(runtime))[-1]["payload"] == {"job_run_id": str(job_run_id)}


async def test_a_worker_that_shuts_down_gives_the_job_back_without_a_failure(runtime: Runtime) -> None:
    began = asyncio.Event()

    async def slow(_context: JobContext) -> ActionResult:
        began.set()
        await asyncio.sleep(30)
        raise AssertionError("not reached")

    with_actions(runtime, slow=slow)
    job_run_id = await queued(runtime, "slow", max_attempts=1)
    work = asyncio.create_task(execute(runtime, job_run_id))
    await began.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    row = await job_run(runtime, job_run_id)
    assert (row["state"], row["failures"]) == ("queued", 0)
    with_actions(runtime, slow=leave_mark)
    assert (await execute(runtime, job_run_id)).ending is Ending.SUCCEEDED


async def test_log_lines_are_there_while_the_job_still_runs(runtime: Runtime) -> None:
    logged, go_on = asyncio.Event(), asyncio.Event()

    async def talk(context: JobContext) -> ActionResult:
        context.log("info", "loading \0 rates")
        context.log("warning", "one is stale")
        logged.set()
        await go_on.wait()
        return ActionResult(output_fingerprint="x")

    with_actions(runtime, talk=talk)
    job_run_id = await queued(runtime, "talk")
    work = asyncio.create_task(execute(runtime, job_run_id))
    await logged.wait()
    await asyncio.sleep(1)
    (attempt,) = await attempts_of(runtime, job_run_id)
    assert attempt["state"] == "running"
    assert [line["message"] for line in attempt["log"]] == ["loading  rates", "one is stale"]
    go_on.set()
    await work


async def test_under_a_simulated_clock_times_are_simulated_and_pauses_are_not_waited_for(runtime: Runtime) -> None:
    with_actions(runtime)
    at = datetime(2026, 8, 3, 17, 30, tzinfo=UTC)
    async with runtime.uow(SYSTEM, now=at) as uow:
        job_run_id = await runs.queue_job(uow, function="fail", arguments={"mark": "sim"}, backoff_seconds=3600)
    first = await execute_job_run(runtime, job_run_id, now=at, hooks=NO_HOOKS)
    assert first.ending is Ending.RETRYING
    with_actions(runtime, fail=leave_mark)
    later = at + timedelta(minutes=20)
    second = await execute_job_run(
        runtime, job_run_id, now=later, finished=later + timedelta(minutes=2), hooks=NO_HOOKS
    )
    assert second.ending is Ending.SUCCEEDED
    row = await job_run(runtime, job_run_id)
    assert (row["started_at"], row["finished_at"]) == (at, later + timedelta(minutes=2))


@pytest.mark.parametrize(
    ("state", "held", "failures", "expected"),
    [
        ("queued", False, 0, None),
        ("retrying", True, 1, Hindrance.PAUSED),
        ("running", True, 0, Hindrance.BUSY),
        ("running", False, 0, None),
        ("running", False, 2, Hindrance.EXHAUSTED),
        ("succeeded", False, 0, Hindrance.FINISHED),
        ("failed", False, 3, Hindrance.FINISHED),
        ("aborted", False, 0, Hindrance.FINISHED),
    ],
)
def test_who_may_take_a_job_run(state: str, held: bool, failures: int, expected: Hindrance | None) -> None:
    previous = Claim(
        job_run_id=uuid7(),
        attempt=failures,
        failures=failures,
        max_attempts=3,
        backoff_seconds=1,
        function="x",
        arguments={},
        process_run_id=None,
    )
    assert attempts.may_be_taken(previous, state=attempts.JobState(state), held=held, patient=True) is expected


async def test_a_job_run_that_is_gone_is_finished(runtime: Runtime) -> None:
    async with runtime.uow(SYSTEM) as uow:
        assert await attempts.claim(uow, uuid7(), worker="w", lease=LEASE) == NotClaimed(why=Hindrance.FINISHED)


async def test_a_verdict_is_passed_on_to_work_that_asks(runtime: Runtime) -> None:
    seen: list[Exception] = []

    async def asking(context: JobContext) -> ActionResult:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            with pytest.raises(JobAborted) as caught:
                await context.check_cancelled()
            seen.append(caught.value)
            raise
        raise AssertionError("not reached")

    with_actions(runtime, asking=asking)
    job_run_id = await queued(runtime, "asking")
    work = asyncio.create_task(execute(runtime, job_run_id, lease=timedelta(seconds=0.4)))
    await asyncio.sleep(0.3)
    async with runtime.uow(SYSTEM) as uow:
        await runs.abort(uow, job_run_id, reason="enough")
    assert (await asyncio.wait_for(work, 5)).ending is Ending.ABORTED
    assert len(seen) == 1
