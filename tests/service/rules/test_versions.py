"""Drafts, tests, publication and what is in force on which day."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from app.core.errors import Conflict, Forbidden, NotFound, StaleVersion, ValidationFailed
from app.domain.entities.service import delete_record, update_record
from app.domain.rules.comparison import Change, compare
from app.domain.rules.definitions import RuleContent
from app.domain.rules.drafts import discard_draft, new_draft_from, save_draft
from app.domain.rules.evaluation import NoRuleInForce, evaluate
from app.domain.rules.publishing import publish, retire, run_tests
from tests.factories import SYSTEM, World
from tests.service.rules.writing import BIG, CASES, HIGH, LOW, draft, in_force, new_rule
from tests.unit.rules.tables import table

INPUT = {"pnl": "1000", "desk": "EM"}


async def _row(world: World, version_id: UUID) -> Any:
    async with world.runtime.uow(SYSTEM) as uow:
        versions = uow.table("rule_version")
        return (await uow.execute(select(versions).where(versions.c.id == version_id))).one()


async def test_a_draft_is_saved_with_its_faults_which_are_named(world: World) -> None:
    rule_id = await new_rule(world)
    typed = table([({"pnl": "≥ 1000", "desk": "em, g10"}, {"severity": "huge"})])
    async with world.runtime.uow(world.actor("admin")) as uow:
        saved = await save_draft(uow, rule_id=rule_id, content=typed)
    assert [(f.rule, f.row, f.column) for f in saved.findings if f.severity == "error"] == [("cell", "r1", "severity")]
    row = await _row(world, saved.version_id)
    assert row.content["rows"][0]["tests"] == {"pnl": ">= 1000", "desk": "'em', 'g10'"}
    assert (row.state, row.number) == ("draft", 1)


async def test_a_draft_that_somebody_else_changed_is_not_overwritten(world: World) -> None:
    rule_id = await new_rule(world)
    await draft(world, rule_id)
    await draft(world, rule_id)
    with pytest.raises(StaleVersion, match="changed this draft"):
        async with world.runtime.uow(SYSTEM) as uow:
            await save_draft(uow, rule_id=rule_id, content=table(BIG), expected_version=1)


async def test_a_failing_case_blocks_publication_and_says_what_differs(world: World) -> None:
    rule_id = await new_rule(world)
    wrong = [*CASES, {"label": "odd", "input": INPUT, "expected": {"severity": "medium"}}]
    version = await draft(world, rule_id, tests=wrong)
    with pytest.raises(ValidationFailed, match="test odd: Severity is high, medium was expected"):
        async with world.runtime.uow(SYSTEM) as uow:
            await publish(uow, version_id=version)
    assert (await _row(world, version)).state == "draft"


async def test_a_rule_without_a_case_is_not_published(world: World) -> None:
    version = await draft(world, await new_rule(world), tests=[])
    with pytest.raises(ValidationFailed, match="no test case"):
        async with world.runtime.uow(SYSTEM) as uow:
            await publish(uow, version_id=version)


async def test_an_error_of_the_linter_blocks_publication(world: World) -> None:
    version = await draft(world, await new_rule(world), table([({}, HIGH), ({"pnl": "> 5"}, LOW)]))
    with pytest.raises(ValidationFailed, match="Row 2 is never reached"):
        async with world.runtime.uow(SYSTEM) as uow:
            await publish(uow, version_id=version)


async def test_the_cases_of_a_version_run_without_changing_anything(world: World) -> None:
    version = await draft(world, await new_rule(world))
    async with world.runtime.uow(world.actor("preparer")) as uow:
        checked = await run_tests(uow, version_id=version)
    assert [(r.label, r.passed, r.matched) for r in checked.results] == [
        ("big", True, ("r1",)),
        ("small", True, ("r2",)),
    ]
    assert checked.ready


async def test_a_published_version_never_changes(world: World) -> None:
    rule_id = await in_force(world)
    async with world.runtime.uow(SYSTEM) as uow:
        version = await uow.scalar(select(uow.table("rule_version").c.id))
    for act in (publish, discard_draft):
        with pytest.raises(Conflict):
            async with world.runtime.uow(SYSTEM) as uow:
                await act(uow, version_id=version)
    with pytest.raises(Forbidden):
        async with world.runtime.uow(world.actor("admin")) as uow:
            await update_record(uow, "rule_version", version, {"notes": "x"}, expected_version=2)
    before = await _row(world, version)
    await draft(world, rule_id, table([({}, LOW)]))
    after = await _row(world, version)
    assert (after.content, after.digest, after.row_version) == (before.content, before.digest, before.row_version)
    assert RuleContent.model_validate(after.content).digest() == after.digest


async def test_a_draft_of_a_version_has_its_content_and_its_cases(world: World) -> None:
    rule_id = await in_force(world)
    async with world.runtime.uow(SYSTEM) as uow:
        version = await uow.scalar(select(uow.table("rule_version").c.id))
        copy = await new_draft_from(uow, version_id=version)
        tests = uow.table("rule_test")
        count = await uow.scalar(select(func.count()).where(tests.c.version_id == copy))
    one, other = await _row(world, version), await _row(world, copy)
    assert (other.content, other.number, other.based_on_id, count) == (one.content, 2, version, len(CASES))
    with pytest.raises(Conflict, match="Version 2 is a draft"):
        async with world.runtime.uow(SYSTEM) as uow:
            await new_draft_from(uow, version_id=version)
    async with world.runtime.uow(SYSTEM) as uow:
        await discard_draft(uow, version_id=copy)
        left = await uow.scalar(select(func.count()).select_from(uow.table("rule_version")))
    assert left == 1
    assert rule_id == one.rule_id


async def test_a_version_decides_from_its_day_on(world: World) -> None:
    rule_id = await in_force(world)
    day = world.runtime.clock.now().date()
    later = await draft(world, rule_id, table([({}, LOW)]), tests=[CASES[1]])
    async with world.runtime.uow(SYSTEM) as uow:
        await publish(uow, version_id=later, valid_from=day + timedelta(days=10))
    async with world.runtime.uow(SYSTEM) as uow:
        now = await evaluate(uow, code="SEVERITY", input=INPUT)
        last = await evaluate(uow, code="SEVERITY", input=INPUT, at=day + timedelta(days=9))
        then = await evaluate(uow, code="SEVERITY", input=INPUT, at=day + timedelta(days=10))
        with pytest.raises(NoRuleInForce, match="no version in force"):
            await evaluate(uow, code="SEVERITY", input=INPUT, at=day - timedelta(days=1))
    assert [(d.version, d.output["severity"]) for d in (now, last, then)] == [(1, "high"), (1, "high"), (2, "low")]


async def test_a_version_of_a_coming_day_can_be_taken_out_and_one_in_force_cannot(world: World) -> None:
    rule_id = await in_force(world)
    day = world.runtime.clock.now().date() + timedelta(days=10)
    later = await draft(world, rule_id, table([({}, LOW)]), tests=[CASES[1]])
    async with world.runtime.uow(SYSTEM) as uow:
        await publish(uow, version_id=later, valid_from=day)
    async with world.runtime.uow(SYSTEM) as uow:
        await retire(uow, version_id=later, reason="not agreed")
    async with world.runtime.uow(SYSTEM) as uow:
        assert (await evaluate(uow, code="SEVERITY", input=INPUT, at=day)).version == 1
        versions = uow.table("rule_version")
        first = await uow.scalar(select(versions.c.id).where(versions.c.number == 1))
        with pytest.raises(Conflict, match="is in force since"):
            await retire(uow, version_id=first, reason="no")


async def test_days_that_were_decided_are_not_decided_again_by_another_version(world: World) -> None:
    rule_id = await in_force(world)
    version = await draft(world, rule_id)
    yesterday = world.runtime.clock.now().date() - timedelta(days=1)
    with pytest.raises(Conflict, match="choose today or a later day"):
        async with world.runtime.uow(SYSTEM) as uow:
            await publish(uow, version_id=version, valid_from=yesterday)


async def test_of_two_versions_from_one_day_the_later_stands(world: World) -> None:
    rule_id = await in_force(world)
    version = await draft(world, rule_id, table([({}, LOW)]), tests=[CASES[1]])
    async with world.runtime.uow(SYSTEM) as uow:
        await publish(uow, version_id=version)
        inside = await evaluate(uow, code="SEVERITY", input=INPUT)
    async with world.runtime.uow(SYSTEM) as uow:
        versions = uow.table("rule_version")
        rows = await uow.execute(select(versions.c.number, versions.c.state))
        states = {row.number: row.state for row in rows}
        after = await evaluate(uow, code="SEVERITY", input=INPUT)
    assert states == {1: "retired", 2: "published"}
    assert (inside.version, after.version) == (2, 2)


async def test_a_publication_that_is_rolled_back_leaves_the_version_before(world: World) -> None:
    rule_id = await in_force(world)
    version = await draft(world, rule_id, table([({}, LOW)]), tests=[CASES[1]])

    async def publish_and_fail() -> None:
        async with world.runtime.uow(SYSTEM) as uow:
            await publish(uow, version_id=version)
            assert (await evaluate(uow, code="SEVERITY", input=INPUT)).version == 2
            raise NotFound("something else")

    with pytest.raises(NotFound, match="something else"):
        await publish_and_fail()
    async with world.runtime.uow(SYSTEM) as uow:
        assert (await evaluate(uow, code="SEVERITY", input=INPUT)).version == 1


async def test_of_two_publications_at_once_one_is_refused(world: World) -> None:
    version = await draft(world, await new_rule(world))

    async def one() -> str:
        async with world.runtime.uow(SYSTEM) as uow:
            return await publish(uow, version_id=version, expected_version=1)

    outcomes = await asyncio.gather(one(), one(), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "str"]


async def test_two_first_drafts_at_once_are_one_draft(world: World) -> None:
    rule_id = await new_rule(world)
    ids = await asyncio.gather(draft(world, rule_id), draft(world, rule_id))
    assert ids[0] == ids[1]
    assert (await _row(world, ids[0])).row_version == 2


async def test_an_inactive_rule_decides_nothing(world: World) -> None:
    rule_id = await in_force(world)
    async with world.runtime.uow(SYSTEM) as uow:
        await evaluate(uow, code="SEVERITY", input=INPUT)
    async with world.runtime.uow(world.actor("admin")) as uow:
        await update_record(uow, "rule", rule_id, {"active": False}, expected_version=1)
    async with world.runtime.uow(SYSTEM) as uow:
        with pytest.raises(NoRuleInForce, match="is inactive"):
            await evaluate(uow, code="SEVERITY", input=INPUT)


async def test_a_rule_with_versions_is_not_deleted(world: World) -> None:
    rule_id = await in_force(world)
    with pytest.raises(Conflict):
        async with world.runtime.uow(world.actor("admin")) as uow:
            await delete_record(uow, "rule", rule_id, expected_version=1)


@pytest.mark.parametrize("role", ["preparer", "controller", "operations", "auditor"])
async def test_only_administrators_write_rules(world: World, role: str) -> None:
    rule_id = await new_rule(world)
    version = await draft(world, rule_id)
    actor = world.actor(role)
    with pytest.raises(Forbidden):
        async with world.runtime.uow(actor) as uow:
            await save_draft(uow, rule_id=rule_id, content=table(BIG))
    for act in (publish, discard_draft, new_draft_from):
        with pytest.raises(Forbidden):
            async with world.runtime.uow(actor) as uow:
                await act(uow, version_id=version)


async def test_an_administrator_of_another_application_writes_none_of_these_rules(world: World) -> None:
    version = await draft(world, await new_rule(world))
    with pytest.raises((Forbidden, NotFound)):
        async with world.runtime.uow(world.actor("admin", application="OTHER")) as uow:
            await publish(uow, version_id=version)


async def test_what_was_done_is_in_the_audit_trail(world: World) -> None:
    rule_id = await new_rule(world)
    actor = await world.stored_actor("admin")
    version = await draft(world, rule_id, actor=actor)
    async with world.runtime.uow(actor) as uow:
        digest = await publish(uow, version_id=version, notes="Agreed on Monday")
    async with world.runtime.uow(SYSTEM) as uow:
        rows = (
            await uow.execute(
                select(*(_audit().c[name] for name in ("command", "actor_id", "after", "reason", "allowed_by")))
                .where(_audit().c.entity == "rule_version")
                .order_by(_audit().c.sequence)
            )
        ).all()
    assert [row.command for row in rows] == ["rule_version.save", "rule_version.publish"]
    assert rows[1].after["digest"] == digest
    assert rows[1].reason == "Agreed on Monday"
    assert {row.actor_id for row in rows} == {actor.id}
    assert all(row.allowed_by for row in rows)


def _audit() -> Any:
    from models.system.tables import audit_entry

    return audit_entry


def test_two_versions_are_compared_by_row_and_cell() -> None:
    one = table([({"pnl": ">= 1000"}, HIGH), ({"desk": "'EM'"}, LOW), ({}, LOW)])
    data = one.plain()
    first, second, third = data["rows"]
    third["answers"] = {"severity": "'medium'"}
    new = {"id": "n", "tests": {"pnl": "< 0"}, "answers": {"severity": "'low'"}, "note": ""}
    data |= {"rows": [second, first, new, third], "hit_policy": "collect"}
    data["inputs"][1]["required"] = False
    other = RuleContent.model_validate(data)
    found = [(d.what, d.change, d.place, [(c.title, c.before, c.after) for c in d.cells]) for d in compare(one, other)]
    assert found == [
        ("setting", Change.CHANGED, "Hit policy", [("Hit policy", "first", "collect")]),
        ("fact", Change.CHANGED, "desk", [("Needed", "yes", "no")]),
        ("row", Change.MOVED, "1", [("Place", "2", "1")]),
        ("row", Change.ADDED, "3", [("Pnl", "", "< 0"), ("Severity", "", "'low'")]),
        ("row", Change.CHANGED, "4", [("Severity", "low", "'medium'")]),
    ]
    assert compare(one, one) == []
    back = compare(other, one)
    assert ("row", Change.REMOVED, "3") in [(d.what, d.change, d.place) for d in back]
