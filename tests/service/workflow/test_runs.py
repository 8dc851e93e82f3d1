"""Runs as a whole: created once, in a handful of statements, held, resumed and cancelled."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from app.core.errors import Conflict, Forbidden, NotFound, StaleVersion, TransitionRefused, ValidationFailed
from app.domain.workflow.automation import release_planned
from app.domain.workflow.run_commands import cancel_run, hold_run, resume_run
from app.domain.workflow.runs import create_run
from tests.factories import SYSTEM
from tests.service.workflow.bank import DAY, Bank, approval, automatic, manual
from tests.service.workflow.statements import counted


async def _create(bank: Bank, **values: object) -> UUID:
    async with bank.runtime.uow(SYSTEM) as uow:
        return await create_run(uow, **{"workflow": "W", "business_date": DAY, **values})  # type: ignore[arg-type]


async def test_a_run_has_the_stages_processes_edges_and_first_states_of_its_version(bank: Bank) -> None:
    processes = [automatic("load"), manual("a"), approval("b", "controller", "desk_head"), manual("c")]
    run_id = await bank.run(processes, [("load", "a"), ("a", "b"), ("b", "c"), ("a", "c", "done")])
    run = await bank.the_run()
    assert (run["reference"], run["state"], run["process_count"], run["open_count"]) == ("W-20261030", "active", 4, 4)
    assert run["node_id"] == bank.nodes["FX"]
    assert await bank.states() == {"load": "ready", "a": "blocked", "b": "blocked", "c": "blocked"}
    rows = {code: await bank.row(code) for code in ("a", "b", "c")}
    assert [(rows[code]["waiting_on"], rows[code]["levels"]) for code in "abc"] == [(1, 0), (1, 2), (2, 0)]
    assert rows["a"]["node_id"] == bank.nodes["FX"]
    assert await bank.count("SELECT count(*) FROM process_edge WHERE run_id = :id", id=run_id) == 4
    assert await bank.count("SELECT count(*) FROM stage_run WHERE run_id = :id AND depth = 0", id=run_id) == 1
    queued = "SELECT count(*) FROM job_run WHERE function = 'test.load' AND state = 'queued' AND process_run_id = :id"
    assert await bank.count(queued, id=(await bank.row("load"))["id"]) == 1


async def test_an_occurrence_has_one_run_however_often_and_at_once_it_is_asked_for(bank: Bank) -> None:
    await bank.publish([manual("a")])
    runs = await asyncio.gather(*(_create(bank) for _ in range(8)))
    assert len(set(runs)) == 1
    assert await bank.count("SELECT count(*) FROM workflow_run") == 1
    assert await bank.count("SELECT count(*) FROM process_run") == 1
    other = await _create(bank, node_id=bank.nodes["EM"])
    again = await _create(bank, variant="restated")
    assert len({runs[0], other, again}) == 3
    references = "SELECT count(*) FROM workflow_run WHERE reference IN ('W-20261030-EM', 'W-20261030-restated')"
    assert await bank.count(references) == 2


async def test_creating_a_run_takes_the_same_statements_whatever_its_size(bank: Bank) -> None:
    await bank.publish([manual("a"), manual("b")], [("a", "b")], code="SMALL")
    many = [manual(f"p{number}") for number in range(300)]
    await bank.publish(many, [(f"p{n}", f"p{n + 1}") for n in range(299)], code="LARGE")
    await _create(bank, workflow="SMALL", business_date=date(2026, 10, 29))  # the calendar is read once
    with counted(bank.runtime) as small:
        await _create(bank, workflow="SMALL")
    with counted(bank.runtime) as large:
        await _create(bank, workflow="LARGE")
    assert len(small) == len(large) <= 12


async def test_a_run_needs_a_published_version_of_an_active_workflow(bank: Bank) -> None:
    with pytest.raises(NotFound, match="no workflow NONE"):
        await _create(bank, workflow="NONE")
    await bank.publish([manual("a")])
    await bank.count("WITH u AS (UPDATE workflow SET active = false RETURNING 1) SELECT count(*) FROM u")
    with pytest.raises(Conflict, match="not active"):
        await _create(bank)
    with pytest.raises(ValidationFailed, match="variant"):
        await _create_active(bank, variant="x y")


async def _create_active(bank: Bank, **values: object) -> UUID:
    await bank.count("WITH u AS (UPDATE workflow SET active = true RETURNING 1) SELECT count(*) FROM u")
    return await _create(bank, **values)


async def test_runs_are_created_by_whoever_may_within_their_part_of_the_bank(bank: Bank) -> None:
    await bank.publish([manual("a")])
    em = await bank.person("em_operations", "operations", node="EM")
    for actor, error in ((bank.people["preparer"], Forbidden), (em, Forbidden)):
        with pytest.raises(error):
            async with bank.runtime.uow(actor) as uow:
                await create_run(uow, workflow="W", business_date=DAY)
    async with bank.runtime.uow(em) as uow:
        await create_run(uow, workflow="W", business_date=DAY, node_id=bank.nodes["EM"])


async def test_runs_stay_with_the_version_they_were_made_from(bank: Bank) -> None:
    first = await bank.publish([manual("a")])
    await _create(bank)
    second = await bank.publish([manual("a"), manual("b")])
    await _create(bank, business_date=date(2026, 11, 2))
    of_version = "SELECT count(*) FROM workflow_run WHERE version_id = :version AND process_count = :count"
    assert await bank.count(of_version, version=first, count=1) == 1
    assert await bank.count(of_version, version=second, count=2) == 1


async def test_a_process_waits_for_its_earliest_start_and_is_released_once(bank: Bank) -> None:
    now = datetime(2026, 10, 30, 14, 0, tzinfo=UTC)
    await bank.publish(
        [
            manual("a", earliest_start="BD+0 16:00 Europe/Berlin"),
            automatic("b", earliest_start="BD+1 16:00 Europe/Berlin", deadline="BD+2 9:00 Europe/Berlin"),
        ]
    )
    async with bank.runtime.uow(SYSTEM, now=now) as uow:
        bank.run_id = await create_run(uow, workflow="W", business_date=DAY)
    assert await bank.states() == {"a": "planned", "b": "planned"}

    async def release(at: datetime) -> int:
        async with bank.runtime.uow(SYSTEM, now=at) as uow:
            return await release_planned(uow)

    assert await release(now) == 0
    released = await asyncio.gather(*(release(now + timedelta(hours=1)) for _ in range(4)))
    assert sum(released) == 1
    assert await bank.states() == {"a": "ready", "b": "planned"}
    assert (await bank.row("a"))["ready_at"] == now + timedelta(hours=1)
    assert await release(now + timedelta(days=3, hours=1)) == 1
    assert await bank.count("SELECT count(*) FROM job_run WHERE state = 'queued'") == 1


async def test_on_a_held_run_nobody_goes_on_and_jobs_wait_for_its_resumption(bank: Bank) -> None:
    run_id = await bank.run([manual("a"), manual("b"), automatic("load")], [("a", "load")])
    operations = bank.people["operations"]
    await bank.do("start", "a", "preparer")
    async with bank.runtime.uow(operations) as uow:
        version = await hold_run(uow, run_id=run_id, expected_version=1, reason="Data centre move")
    with pytest.raises(TransitionRefused, match="on hold") as refused:
        await bank.do("submit", "a", "preparer")
    assert refused.value.guard == "run_is_active"
    with pytest.raises(StaleVersion):
        async with bank.runtime.uow(operations) as uow:
            await resume_run(uow, run_id=run_id, expected_version=version - 1)
    async with bank.runtime.uow(operations) as uow:
        await resume_run(uow, run_id=run_id, expected_version=version)
    await bank.do("submit", "a", "preparer")
    assert await bank.state("load") == "ready"


async def test_a_cancelled_run_takes_its_open_processes_and_their_jobs_with_it(bank: Bank) -> None:
    run_id = await bank.run([manual("a"), manual("b"), automatic("load")], [("a", "b")])
    await bank.do("submit", "a", "preparer")
    operations = bank.people["operations"]
    with pytest.raises(ValidationFailed, match="Say why"):
        async with bank.runtime.uow(operations) as uow:
            await cancel_run(uow, run_id=run_id, expected_version=1, reason=" ")
    with pytest.raises(Forbidden):
        async with bank.runtime.uow(bank.people["controller"]) as uow:
            await cancel_run(uow, run_id=run_id, expected_version=1, reason="No trades")
    async with bank.runtime.uow(operations) as uow:
        await cancel_run(uow, run_id=run_id, expected_version=1, reason="No trades")
    assert await bank.states() == {"a": "done", "b": "cancelled", "load": "cancelled"}
    run = await bank.the_run()
    assert (run["state"], run["open_count"]) == ("cancelled", 0)
    assert await bank.count("SELECT count(*) FROM job_run WHERE state = 'aborted'") == 1
    with pytest.raises(TransitionRefused, match="is cancelled"):
        async with bank.runtime.uow(operations) as uow:
            await resume_run(uow, run_id=run_id, expected_version=2)
