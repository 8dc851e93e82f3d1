"""Automatic processes, as a worker reports on them."""

from datetime import timedelta
from uuid import UUID

import pytest

from app.core.errors import TransitionRefused
from app.domain.jobs.events import JobWasAborted
from app.domain.workflow.automation import begin_automatic, fail_automatic, finish_automatic, on_job_aborted
from app.domain.workflow.run_commands import hold_run, resume_run
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, automatic, manual

QUEUED = "SELECT count(*) FROM job_run WHERE state = 'queued'"


async def _id(bank: Bank, code: str) -> UUID:
    return UUID(str((await bank.row(code))["id"]))


async def _begin(bank: Bank, code: str) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        await begin_automatic(uow, await _id(bank, code))


async def _finish(bank: Bank, code: str) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        await finish_automatic(uow, await _id(bank, code), "f" * 64)


async def _fail(bank: Bank, code: str, error: str = "No file") -> bool:
    async with bank.runtime.uow(SYSTEM) as uow:
        return await fail_automatic(uow, await _id(bank, code), error)


async def test_automatic_work_is_queued_when_it_becomes_ready_and_cascades(bank: Bank) -> None:
    retry = {"max_attempts": 5, "backoff_seconds": 30}
    await bank.run([automatic("a"), automatic("b", retry=retry, parameters={"x": 1})], [("a", "b", "done")])
    assert await bank.count(QUEUED) == 1
    await _begin(bank, "a")
    assert (await bank.row("a"))["attempt"] == 1
    await _finish(bank, "a")
    assert await bank.states() == {"a": "done", "b": "ready"}
    job = """SELECT count(*) FROM job_run WHERE function = 'test.b' AND max_attempts = 5 AND backoff_seconds = 30
             AND arguments -> 'parameters' = '{"x": 1}'"""
    assert await bank.count(job) == 1
    assert (await bank.row("a"))["snapshot_hash"] == "f" * 64


async def test_a_worker_that_was_lost_is_followed_by_another_attempt(bank: Bank) -> None:
    await bank.run([automatic("a")])
    await _begin(bank, "a")
    await _begin(bank, "a")
    await _finish(bank, "a")
    assert ((await bank.row("a"))["attempt"], (await bank.the_run())["state"]) == (2, "done")
    with pytest.raises(TransitionRefused, match="is Done"):
        await _finish(bank, "a")


async def test_failed_work_is_retried_by_operations_and_stays_open_until_then(bank: Bank) -> None:
    await bank.run([automatic("a"), manual("b")], [("a", "b")])
    await _begin(bank, "a")
    assert await _fail(bank, "a", "The rate file is missing.")
    assert (await bank.row("a"))["reason"] == "The rate file is missing."
    assert await bank.states() == {"a": "failed", "b": "blocked"}
    before = await bank.count(QUEUED)
    await bank.do("retry", "a", "operations")
    assert await bank.count(QUEUED) == before + 1
    await _begin(bank, "a")
    await _finish(bank, "a")
    assert await bank.states() == {"a": "done", "b": "ready"}


async def test_an_edge_that_accepts_failure_releases_its_successor_once(bank: Bank) -> None:
    await bank.run([automatic("a"), manual("b"), manual("c")], [("a", "b", "failed", "done"), ("c", "b")])
    await _begin(bank, "a")
    await _fail(bank, "a")
    assert (await bank.row("b"))["waiting_on"] == 1
    await bank.do("retry", "a", "operations")
    await _begin(bank, "a")
    await _finish(bank, "a")
    assert ((await bank.row("b"))["waiting_on"], await bank.state("b")) == (1, "blocked")
    await bank.do("submit", "c", "preparer")
    assert await bank.state("b") == "ready"


async def test_held_or_cancelled_work_is_taken_from_the_workers(bank: Bank) -> None:
    await bank.run([automatic("a"), automatic("b")])
    until = bank.runtime.clock.now() + timedelta(hours=1)
    await bank.do("hold", "a", "operations", reason="Wait for the vendor", data={"review_by": until})
    await bank.do("cancel", "b", "operations", reason="Not needed")
    assert await bank.count(QUEUED) == 0
    for code in ("a", "b"):
        with pytest.raises(TransitionRefused):
            await _begin(bank, code)
    assert not await _fail(bank, "b")
    await bank.do("resume", "a", "operations")
    assert await bank.count(QUEUED) == 1


async def test_a_held_run_lets_a_job_arrive_and_sends_no_other_off(bank: Bank) -> None:
    run_id = await bank.run([automatic("a"), automatic("b")], [("a", "b")])
    await _begin(bank, "a")
    async with bank.runtime.uow(bank.people["operations"]) as uow:
        version = await hold_run(uow, run_id=run_id, expected_version=1, reason="Move")
    await _finish(bank, "a")
    assert await bank.states() == {"a": "done", "b": "ready"}
    of_b = "SELECT count(*) FROM job_run WHERE function = 'test.b'"
    assert await bank.count(of_b) == 0
    async with bank.runtime.uow(bank.people["operations"]) as uow:
        await resume_run(uow, run_id=run_id, expected_version=version)
    assert await bank.count(of_b) == 1


async def test_a_worker_that_was_lost_during_the_hold_of_a_run_is_replaced_at_its_resumption(bank: Bank) -> None:
    run_id = await bank.run([automatic("a")])
    await _begin(bank, "a")
    operations = bank.people["operations"]
    async with bank.runtime.uow(operations) as uow:
        version = await hold_run(uow, run_id=run_id, expected_version=1, reason="Move")
    with pytest.raises(TransitionRefused, match="on hold"):
        await _begin(bank, "a")
    await bank.count("WITH u AS (UPDATE job_run SET state = 'aborted' RETURNING 1) SELECT count(*) FROM u")
    async with bank.runtime.uow(operations) as uow:
        await resume_run(uow, run_id=run_id, expected_version=version)
    assert await bank.count(QUEUED) == 1
    await _begin(bank, "a")
    await _finish(bank, "a")
    assert (await bank.the_run())["state"] == "done"


async def test_a_job_that_is_aborted_by_hand_leaves_its_process_failed(bank: Bank) -> None:
    await bank.run([automatic("a")])
    await _begin(bank, "a")
    async with bank.runtime.uow(bank.people["operations"]) as uow:
        id_ = await _id(bank, "a")
        await on_job_aborted(uow, JobWasAborted(at=uow.now, job_run_id=id_, process_run_id=id_, reason="Wrong date"))
    row = await bank.row("a")
    assert (row["state"], row["reason"]) == ("failed", "Wrong date")
