"""Runs in progress go over to a new version: tried first, then by a job, each as a whole or not at all."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from app.core.errors import Conflict, Forbidden, NotFound, StaleVersion, ValidationFailed
from app.domain.jobs.execute import Ending, execute_job_run
from app.domain.workflow.definition_store import save_draft
from app.domain.workflow.migration_plans import (
    cancel_plan,
    create_plan,
    execute_plan,
    migrate_runs,
    read_items,
    read_plan,
)
from app.domain.workflow.package_loader import read_workflow
from app.domain.workflow.preparation import answer_item
from app.domain.workflow.publishing import publish
from app.domain.workflow.runs import create_run
from jobs.automation import HOOKS
from tests.factories import SYSTEM
from tests.service.workflow.bank import DAY, DUE, Bank, approval, automatic, manual, reviewed

LATER = "BD+1 12:00 Europe/Berlin"
Stage = tuple[str, Sequence[Mapping[str, Any]]]


async def version(bank: Bank, stages: Iterable[Stage], edges: Iterable[tuple[str, str]] = ()) -> UUID:
    """Publish the next version of W."""
    data = {
        "code": "W", "label": "Close", "application": "PNL", "calendar": "TARGET", "node_hierarchy": "DESK",
        "node": "FX", "dependencies": [{"from": a, "to": b} for a, b in edges],
        "stages": [
            {"code": code, "label": code.title(), "processes": [
                {"label": str(p["code"]).title(), "deadline": DUE, **p} for p in work]}
            for code, work in stages
        ],
    }  # fmt: skip
    async with bank.runtime.uow(SYSTEM) as uow:
        made = await save_draft(uow, definition=read_workflow(data))
        await publish(uow, version_id=made)
    return made


async def begin(bank: Bank, day: date = DAY) -> UUID:
    async with bank.runtime.uow(SYSTEM) as uow:
        bank.run_id = await create_run(uow, workflow="W", business_date=day)
    return bank.run_id


async def plan_for(bank: Bank, old: UUID, new: UUID, *mapping: Mapping[str, Any], **values: Any) -> UUID:
    async with bank.runtime.uow(bank.people["admin"]) as uow:
        return await create_plan(uow, from_version=old, to_version=new, mapping=mapping, reason="New rules", **values)


async def execute(bank: Bank, plan_id: UUID) -> Ending:
    """Execute the plan as the worker does."""
    bank.runtime.services = {**bank.runtime.services, "actions": {"workflow.migrate_runs": migrate_runs}}
    async with bank.runtime.uow(bank.people["admin"]) as uow:
        plan = await read_plan(uow, plan_id=plan_id)
        job = await execute_plan(uow, plan_id=plan_id, expected_version=plan.row_version)
    return (await execute_job_run(bank.runtime, job, hooks=HOOKS)).ending


async def items(bank: Bank, plan_id: UUID) -> list[Any]:
    async with bank.runtime.uow(bank.people["admin"]) as uow:
        return await read_items(uow, plan=await read_plan(uow, plan_id=plan_id))


async def migrated(bank: Bank, old: UUID, new: UUID, *mapping: Mapping[str, Any]) -> None:
    plan_id = await plan_for(bank, old, new, *mapping)
    assert await execute(bank, plan_id) is Ending.SUCCEEDED
    assert [item.state for item in await items(bank, plan_id)] == ["migrated"], await items(bank, plan_id)


async def edges_of(bank: Bank) -> set[tuple[str, str, bool]]:
    statement = (
        "SELECT a.code, b.code, e.satisfied_at IS NOT NULL FROM process_edge e JOIN process_run a ON "
        "a.id = e.predecessor_id JOIN process_run b ON b.id = e.successor_id WHERE e.run_id = :id"
    )
    async with bank.runtime.uow(SYSTEM) as uow:
        return {tuple(row) for row in await uow.execute(text(statement), {"id": bank.run_id})}


async def test_work_keeps_its_state_and_what_is_new_falls_into_place(bank: Bank) -> None:
    old = await version(bank, [("s", [manual("a"), manual("b"), manual("c")])], [("a", "b"), ("b", "c")])
    run_id = await begin(bank)
    await bank.do("start", "a", "preparer")
    await bank.do("submit", "a", "preparer", comment="Done")
    await bank.do("start", "b", "preparer")
    new = await version(
        bank,
        [("s", [manual("a"), manual("b", label="Other name")]), ("t", [manual("c"), reviewed("d"), manual("e")])],
        [("a", "b"), ("b", "c"), ("c", "d"), ("a", "e")],
    )
    assert (await bank.the_run())["version_id"] == old
    await migrated(bank, old, new)
    run = await bank.the_run()
    assert (run["version_id"], run["process_count"], run["open_count"], run["state"]) == (new, 5, 4, "active")
    assert await bank.states() == {"a": "done", "b": "in_progress", "c": "blocked", "d": "blocked", "e": "ready"}
    assert (await bank.row("b"))["label"] == "Other name"
    assert (await bank.row("d"))["levels"] == 1
    assert (await bank.row("b"))["assignee_id"] == bank.people["preparer"].id
    assert await edges_of(bank) == {("a", "b", True), ("b", "c", False), ("c", "d", False), ("a", "e", True)}
    stages = (
        "SELECT count(*) FROM stage_run t JOIN stage s ON s.id = t.stage_id WHERE t.run_id = :id AND s.version_id = :v"
    )
    assert await bank.count(stages, id=run_id, v=new) == 2
    assert await bank.count("SELECT count(*) FROM stage_run WHERE run_id = :id", id=run_id) == 2
    for step, code in (("submit", "b"), ("submit", "c"), ("submit", "e"), ("submit", "d")):
        await bank.do(step, code, "preparer", comment="Done")
    await bank.do("approve", "d", "controller")
    assert (await bank.the_run())["state"] == "done"


async def test_history_evidence_and_the_trail_go_along(bank: Bank) -> None:
    listed = {"code": "l", "kind": "checklist", "owner_role": "preparer"}
    before = [{"code": "x", "label": "X"}, {"code": "y", "label": "Y"}]
    old = await version(bank, [("s", [{**listed, "checklist": before}])])
    await begin(bank)
    row = await bank.row("l")
    async with bank.runtime.uow(bank.people["preparer"]) as uow:
        await answer_item(uow, process_run_id=row["id"], item="x", done=True)
        await answer_item(uow, process_run_id=row["id"], item="y", done=True)
    await bank.do("start", "l", "preparer")
    new = await version(bank, [("s", [{**listed, "checklist": [before[0], {"code": "z", "label": "Z"}]}])])
    plan_id = await plan_for(bank, old, new)
    trial = (await items(bank, plan_id))[0].trial
    assert trial.lines[0].lost == ("the answer to “Y”",)
    assert "asks for Z as well" in trial.lines[0].notes
    await migrated(bank, old, new)
    assert (await bank.row("l"))["id"] == row["id"]
    names = "SELECT count(*) FROM process_transition WHERE process_run_id = :id AND name IN ('start', 'migrate')"
    assert await bank.count(names, id=row["id"]) == 2
    trail = "SELECT count(*) FROM audit_entry WHERE command = 'migrate' AND record_id = :id AND reason = 'New rules'"
    assert await bank.count(trail, id=bank.run_id) == 1
    assert await bank.count("SELECT count(*) FROM checklist_answer WHERE done") == 2


async def test_work_that_is_gone_is_closed_by_its_rule_and_what_was_done_stays_as_history(bank: Bank) -> None:
    old = await version(bank, [("s", [manual("a"), manual("b")]), ("t", [manual("c"), manual("d")])], [("c", "d")])
    await begin(bank)
    await bank.do("submit", "a", "preparer", comment="Done")
    new = await version(bank, [("s", [manual("b"), manual("e")])])
    await migrated(bank, old, new, {"from": "c", "rule": "skip"})
    assert await bank.states() == {"a": "done", "b": "ready", "c": "skipped", "d": "cancelled", "e": "ready"}
    run = await bank.the_run()
    assert (run["process_count"], run["open_count"]) == (5, 2)
    left = "SELECT count(*) FROM stage_run WHERE run_id = :id AND code = 't'"
    assert await bank.count(left, id=bank.run_id) == 1
    for code in ("b", "e"):
        await bank.do("submit", code, "preparer", comment="Done")
    assert (await bank.the_run())["state"] == "done"


async def test_work_in_progress_that_is_gone_refuses_the_run_as_a_whole(bank: Bank) -> None:
    old = await version(bank, [("s", [manual("a"), manual("b")])])
    await begin(bank)
    await bank.do("start", "a", "preparer")
    new = await version(bank, [("s", [manual("b"), manual("c")])])
    plan_id = await plan_for(bank, old, new)
    trial = (await items(bank, plan_id))[0].trial
    assert not trial.possible
    assert "“A” is in progress and the new version does not have it" in trial.in_words()
    await execute(bank, plan_id)
    item = (await items(bank, plan_id))[0]
    assert (item.state, "finish it, cancel it, or map it" in item.message) == ("refused", True)
    assert await bank.states() == {"a": "in_progress", "b": "ready"}
    assert (await bank.the_run())["version_id"] == old
    assert await bank.count("SELECT count(*) FROM process_transition WHERE name = 'migrate'") == 0
    assert await bank.count("SELECT count(*) FROM audit_entry WHERE command = 'migrate'") == 0
    await bank.do("submit", "a", "preparer", comment="Done")
    assert await execute(bank, plan_id) is Ending.SUCCEEDED
    assert (await items(bank, plan_id))[0].state == "migrated"
    assert await bank.states() == {"a": "done", "b": "ready", "c": "ready"}


async def test_a_process_is_mapped_to_another_code_with_its_work(bank: Bank) -> None:
    old = await version(bank, [("s", [manual("a"), manual("b")])], [("a", "b")])
    await begin(bank)
    await bank.do("start", "a", "preparer")
    before = await bank.row("a")
    new = await version(bank, [("s", [manual("first"), manual("b")])], [("first", "b")])
    await migrated(bank, old, new, {"from": "a", "to": "first"})
    after = await bank.row("first")
    assert (after["id"], after["state"], after["started_at"]) == (before["id"], "in_progress", before["started_at"])
    await bank.do("submit", "first", "preparer", comment="Done")
    assert await bank.state("b") == "ready"


async def test_a_new_dependency_holds_back_what_has_not_begun_and_not_what_has(bank: Bank) -> None:
    old = await version(bank, [("s", [manual("a"), manual("b"), manual("c"), approval("d")])], [("a", "d")])
    await begin(bank)
    await bank.do("claim", "b", "preparer")
    await bank.do("start", "c", "preparer")
    new = await version(
        bank, [("s", [manual("a"), manual("b"), manual("c"), approval("d")])], [("a", "b"), ("a", "c"), ("c", "d")]
    )
    await migrated(bank, old, new)
    assert await bank.states() == {"a": "ready", "b": "blocked", "c": "in_progress", "d": "blocked"}
    await bank.do("submit", "a", "preparer", comment="Done")
    assert await bank.state("b") == "ready"
    assert (await bank.row("c"))["waiting_on"] == 0
    await bank.do("submit", "c", "preparer", comment="Done")
    assert await bank.state("d") == "in_review"
    assert str(bank.people["preparer"].id) in (await bank.row("d"))["makers"]


async def test_an_approval_that_comes_to_follow_finished_work_knows_its_makers(bank: Bank) -> None:
    old = await version(bank, [("s", [manual("a"), manual("z")])])
    await begin(bank)
    await bank.do("submit", "a", "preparer", comment="Done")
    new = await version(bank, [("s", [manual("a"), manual("z"), approval("b")])], [("a", "b")])
    await migrated(bank, old, new)
    row = await bank.row("b")
    assert (row["state"], row["level"]) == ("in_review", 1)
    assert row["makers"] == [str(bank.people["preparer"].id)]


async def test_a_review_goes_on_unless_its_level_is_gone(bank: Bank) -> None:
    old = await version(bank, [("s", [reviewed("a", "controller", "desk_head")])])
    await begin(bank)
    await bank.do("submit", "a", "preparer", comment="Done")
    await bank.do("approve", "a", "controller")
    one = await version(bank, [("s", [reviewed("a", "controller")])])
    plan_id = await plan_for(bank, old, one)
    assert "waits for level 2, which the new version does not have" in (await items(bank, plan_id))[0].trial.in_words()
    two = await version(bank, [("s", [reviewed("a", "operations", "desk_head", "controller")])])
    await migrated(bank, old, two)
    row = await bank.row("a")
    assert (row["state"], row["level"], row["levels"]) == ("in_review", 2, 3)
    await bank.do("approve", "a", "desk_head")
    assert (await bank.row("a"))["level"] == 3


async def test_jobs_that_wait_follow_the_new_definition_and_those_at_work_go_on(bank: Bank) -> None:
    old = await version(bank, [("s", [automatic("load"), automatic("check"), automatic("gone"), manual("m")])])
    await begin(bank)
    new = await version(
        bank, [("s", [manual("m"), automatic("load", action="test.other"), automatic("check")])], [("m", "check")]
    )
    await migrated(bank, old, new)
    assert await bank.states() == {"load": "ready", "check": "blocked", "gone": "cancelled", "m": "ready"}
    async with bank.runtime.uow(SYSTEM) as uow:
        rows = await uow.execute(
            text(
                "SELECT p.code, j.function FROM job_run j JOIN process_run p ON p.id = j.process_run_id "
                "WHERE j.state = 'queued'"
            )
        )
        assert [tuple(row) for row in rows] == [("load", "test.other")]


async def test_deadlines_and_clocks_follow_and_what_was_used_stays(bank: Bank) -> None:
    old = await version(bank, [("s", [manual("a"), manual("b"), manual("c")])])
    await begin(bank)
    await bank.do("submit", "c", "preparer", comment="Done")
    before = {code: await bank.row(code) for code in "abc"}
    new = await version(bank, [("s", [manual("a", deadline=LATER), manual("d"), manual("c", deadline=LATER)])])
    await migrated(bank, old, new)
    assert (await bank.row("a"))["due_at"] > before["a"]["due_at"]
    assert (await bank.row("c"))["due_at"] == before["c"]["due_at"]
    async with bank.runtime.uow(SYSTEM) as uow:
        clocks = uow.table("sla_clock")
        rows = {row.record_id: row for row in await uow.execute(select(clocks))}
    a, b = rows[before["a"]["id"]], rows[before["b"]["id"]]
    assert (a.due_at, a.generation, a.state) == ((await bank.row("a"))["due_at"], 2, "running")
    assert a.started_at + a.target == a.due_at
    assert b.state == "cancelled"
    assert rows[(await bank.row("d"))["id"]].state == "running"
    assert rows[before["c"]["id"]].state == "stopped"
    assert (await bank.the_run())["due_at"] == (await bank.row("a"))["due_at"]


async def test_a_run_whose_work_is_all_done_in_the_new_version_is_done(bank: Bank) -> None:
    old = await version(bank, [("s", [manual("a"), manual("b")])])
    await begin(bank)
    await bank.do("submit", "a", "preparer", comment="Done")
    new = await version(bank, [("s", [manual("a")])])
    await migrated(bank, old, new)
    run = await bank.the_run()
    assert (run["state"], run["open_count"]) == ("done", 0)
    assert run["finished_at"] is not None


async def test_each_run_of_a_plan_has_its_own_outcome_and_the_job_goes_on_where_it_stopped(bank: Bank) -> None:
    old = await version(bank, [("s", [manual("a"), manual("b")])])
    runs = [await begin(bank, DAY + timedelta(days=n)) for n in range(4)]
    bank.run_id = runs[1]
    await bank.do("start", "a", "preparer")
    new = await version(bank, [("s", [manual("b")])])
    plan_id = await plan_for(bank, old, new)
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(
            text("UPDATE migration_item SET state = 'migrated' WHERE run_id = :id"), {"id": runs[0]}
        )  # as a worker that was lost has left it
    assert await execute(bank, plan_id) is Ending.SUCCEEDED
    assert [item.state for item in await items(bank, plan_id)] == ["migrated", "refused", "migrated", "migrated"]
    on_new = "SELECT count(*) FROM workflow_run WHERE version_id = :v"
    assert await bank.count(on_new, v=new) == 2
    async with bank.runtime.uow(SYSTEM) as uow:
        plan = await read_plan(uow, plan_id=plan_id)
        summary = await uow.scalar(text("SELECT result FROM job_run WHERE function = 'workflow.migrate_runs'"))
    assert (plan.state, plan.executed_by) == ("done", "admin")
    assert summary == {"migrated": 3, "refused": 1}


async def test_a_run_on_hold_goes_over_and_its_jobs_wait_until_it_is_resumed(bank: Bank) -> None:
    old = await version(bank, [("s", [automatic("load")])])
    await begin(bank)
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE workflow_run SET state = 'on_hold' WHERE id = :id"), {"id": bank.run_id})
    new = await version(bank, [("s", [automatic("load"), automatic("more")])])
    await migrated(bank, old, new)
    assert (await bank.the_run())["state"] == "on_hold"
    assert await bank.states() == {"load": "ready", "more": "ready"}
    assert await bank.count("SELECT count(*) FROM job_run WHERE state = 'queued' AND process_run_id IS NOT NULL") == 0


async def test_what_a_plan_cannot_be_is_said_when_it_is_made(bank: Bank) -> None:
    old = await version(bank, [("s", [manual("a"), manual("b")])])
    new = await version(bank, [("s", [manual("a"), manual("c")])])
    with pytest.raises(Conflict, match="No run that you have chosen is in progress on version 1"):
        await plan_for(bank, old, new)
    bank.run_id = None
    with pytest.raises(Conflict, match="Version 1 is retired"):
        await plan_for(bank, new, old)
    with pytest.raises(Conflict, match="already"):
        await plan_for(bank, new, new)
    with pytest.raises(NotFound):
        await plan_for(bank, new, UUID(int=7))
    other = await bank.publish([manual("x")], code="OTHER")
    with pytest.raises(Conflict, match="of different workflows"):
        await plan_for(bank, old, other)
    with pytest.raises(ValidationFailed, match="no process zz"):
        await plan_for(bank, old, new, {"from": "zz", "to": "c"})
    with pytest.raises(ValidationFailed, match="no process zz"):
        await plan_for(bank, old, new, {"from": "b", "to": "zz"})
    with pytest.raises(ValidationFailed, match="2 processes would become a"):
        await plan_for(bank, old, new, {"from": "b", "to": "a"})
    with pytest.raises(ValidationFailed, match='"rule"'):
        await plan_for(bank, old, new, {"from": "b", "rule": "burn"})
    with pytest.raises(ValidationFailed, match="At most 2000"):
        async with bank.runtime.uow(bank.people["admin"]) as uow:
            await create_plan(uow, from_version=old, to_version=new, reason="x" * 2_001)


async def test_a_plan_is_executed_once_on_what_was_seen_and_by_who_may(bank: Bank) -> None:
    old = await version(bank, [("s", [manual("a")])])
    await begin(bank)
    new = await version(bank, [("s", [manual("a"), manual("b")])])
    for who in ("preparer", "operations", "auditor"):
        with pytest.raises(Forbidden):
            async with bank.runtime.uow(bank.people[who]) as uow:
                await create_plan(uow, from_version=old, to_version=new)
    plan_id = await plan_for(bank, old, new)
    async with bank.runtime.uow(bank.people["admin"]) as uow:
        await execute_plan(uow, plan_id=plan_id, expected_version=1)
    for expected, error in ((1, StaleVersion), (2, Conflict)):
        with pytest.raises(error):
            async with bank.runtime.uow(bank.people["admin"]) as uow:
                await execute_plan(uow, plan_id=plan_id, expected_version=expected)
    with pytest.raises(Conflict, match="is not undone"):
        async with bank.runtime.uow(bank.people["admin"]) as uow:
            await cancel_plan(uow, plan_id=plan_id, expected_version=2)
    other = await plan_for(bank, old, new)
    async with bank.runtime.uow(bank.people["admin"]) as uow:
        await cancel_plan(uow, plan_id=other, expected_version=1)
        assert (await read_plan(uow, plan_id=other)).state == "cancelled"
    with pytest.raises(NotFound):
        async with bank.runtime.uow(bank.people["admin"]) as uow:
            await read_plan(uow, plan_id=UUID(int=1))


async def test_a_migration_of_a_large_run_is_a_fixed_number_of_statements(bank: Bank) -> None:
    from tests.service.workflow.statements import counted

    async def cost(size: int) -> int:
        work = [manual(f"p{n}") for n in range(size)]
        chain = [(f"p{n}", f"p{n + 1}") for n in range(size - 1)]
        old = await version(bank, [("s", work)], chain)
        await begin(bank, DAY + timedelta(days=size))
        new = await version(bank, [("s", [*work, manual("new")])], [*chain, ("p0", "new")])
        plan_id = await plan_for(bank, old, new)
        with counted(bank.runtime) as seen:
            await execute(bank, plan_id)
        assert [item.state for item in await items(bank, plan_id)] == ["migrated"]
        return len(seen)

    assert await cost(3) == await cost(60)
