"""Work that is added to a run under way."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.core.errors import Forbidden, NotFound, TransitionRefused, ValidationFailed
from app.domain.workflow.ad_hoc import Added, NewWork, add_process, preview_process
from app.domain.workflow.definition_reading import read_definition
from app.domain.workflow.preparation import answer_item
from app.domain.workflow.run_commands import hold_run
from app.domain.workflow.states import ProcessState
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, approval, automatic, manual


async def work(bank: Bank, *, after: str = "", before: str = "", **values: Any) -> dict[str, Any]:
    """A process that is done after some and before others."""
    given = {"label": "Call the vendor", "owner_role": "preparer", "reason": "The feed looks wrong", **values}
    given["predecessors"] = tuple([(await bank.row(code))["id"] for code in after])
    given["successors"] = tuple([(await bank.row(code))["id"] for code in before])
    return given


async def add(bank: Bank, who: str, *, after: str = "", before: str = "", **values: Any) -> Added:
    given = await work(bank, after=after, before=before, **values)
    assert bank.run_id is not None
    async with bank.runtime.uow(bank.people[who]) as uow:
        return await add_process(uow, run_id=bank.run_id, work=NewWork(**given))


async def test_what_is_added_is_done_in_its_place_and_the_run_ends_after_it(bank: Bank) -> None:
    await bank.run([manual("a"), manual("b")], [("a", "b")])
    added = await add(bank, "operations", after="a", before="b")
    assert (added.state, added.held_back) == (ProcessState.BLOCKED, ())
    await bank.do("submit", "a", "preparer")
    assert await bank.states() == {"a": "done", "b": "blocked", "adhoc_1": "ready"}
    assert (await bank.the_run())["open_count"] == 2
    result = await bank.do("submit", "adhoc_1", "preparer2")
    assert [item.code for item in result.released] == ["b"]
    assert (await bank.do("submit", "b", "preparer")).run_finished
    audited = "SELECT count(*) FROM audit_entry WHERE command = 'add_process' AND reason = 'The feed looks wrong'"
    assert await bank.count(audited) == 1


async def test_what_was_free_to_begin_waits_for_what_is_added(bank: Bank) -> None:
    await bank.run([manual("a"), manual("b"), approval("c"), automatic("d")], [("a", "c")])
    await bank.do("submit", "a", "preparer")
    await bank.do("claim", "b", "preparer")
    before = await bank.states()
    assert before == {"a": "done", "b": "assigned", "c": "in_review", "d": "ready"}
    added = await add(bank, "operations", after="a", before="bcd")
    assert added.state is ProcessState.READY
    assert len(added.held_back) == 3
    assert {code: state for code, state in (await bank.states()).items() if code in "bcd"} == dict.fromkeys(
        "bcd", "blocked"
    )
    assert await bank.count("SELECT count(*) FROM job_run WHERE state = 'aborted'") == 1
    assert await bank.count("SELECT count(*) FROM process_transition WHERE name = 'block'") == 3
    await bank.do("submit", "adhoc_1", "preparer2")
    states = await bank.states()
    assert (states["b"], states["c"], states["d"]) == ("ready", "in_review", "ready")
    assert (await bank.row("b"))["assignee_id"] == bank.people["preparer"].id
    # Who did the added work is a maker of what the approval decides on.
    assert str(bank.people["preparer2"].id) in (await bank.row("c"))["makers"]
    assert await bank.count("SELECT count(*) FROM job_run WHERE state = 'queued'") == 1


async def test_nothing_is_added_before_what_has_begun(bank: Bank) -> None:
    await bank.run([manual("a"), manual("b"), manual("c")], [("a", "b"), ("b", "c")])
    await bank.do("start", "a", "preparer")
    with pytest.raises(TransitionRefused, match="“A” is In progress: work can be added before what has not begun"):
        await add(bank, "operations", before="a")
    with pytest.raises(ValidationFailed, match="wait in a circle"):
        await add(bank, "operations", after="c", before="b")
    with pytest.raises(ValidationFailed, match="both before and after"):
        await add(bank, "operations", after="b", before="b")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"label": " "}, "label: Say what"),
        ({"reason": ""}, "reason: Say why"),
        ({"owner_role": "wizard"}, "There is no role wizard"),
        ({"after": ""}, "has a place in the run"),
    ],
)
async def test_what_is_missing_is_said(bank: Bank, values: dict[str, Any], message: str) -> None:
    await bank.run([manual("a")])
    with pytest.raises(ValidationFailed, match=message):
        await add(bank, "operations", **{"after": "a", **values})
    with pytest.raises(ValidationFailed, match="still ahead"):
        await add(bank, "operations", after="a", due_at=bank.runtime.clock.now() - timedelta(hours=1))


async def test_only_a_lead_adds_work_and_only_to_an_active_run(bank: Bank) -> None:
    await bank.run([manual("a")])
    for who in ("preparer", "controller", "auditor"):
        with pytest.raises(Forbidden):
            await add(bank, who, after="a")
    await bank.person("em_lead", "operations", node="EM")
    with pytest.raises((Forbidden, NotFound)):
        await add(bank, "em_lead", after="a")
    run = await bank.the_run()
    async with bank.runtime.uow(bank.people["operations"]) as uow:
        await hold_run(uow, run_id=run["id"], expected_version=run["row_version"], reason="Wait")
    with pytest.raises(TransitionRefused, match="on hold"):
        await add(bank, "operations", after="a")


async def test_a_deadline_starts_a_clock_and_the_version_stays_as_it_was_published(bank: Bank) -> None:
    version_id = await bank.publish([manual("a")])
    async with bank.runtime.uow(SYSTEM) as uow:
        definition = await read_definition(uow, version_id)
    await bank.run([manual("a")], code="V")
    added = await add(bank, "operations", after="a", due_at=bank.runtime.clock.now() + timedelta(hours=3))
    clocks = "SELECT count(*) FROM sla_clock WHERE record_id = :id AND state = 'running' AND warn_at < due_at"
    assert await bank.count(clocks, id=added.process_run_id) == 1
    async with bank.runtime.uow(SYSTEM) as uow:
        assert await read_definition(uow, version_id) == definition
        versions = uow.table("process")
        rows = await uow.execute(select(versions.c.code).where(versions.c.version_id.is_(None)))
        assert [row.code for row in rows] == ["adhoc_1"]


async def test_added_work_may_be_skipped(bank: Bank) -> None:
    await bank.run([manual("a"), manual("b")], [("a", "b")])
    await add(bank, "operations", after="a", before="b")
    await bank.do("submit", "a", "preparer")
    await bank.do("skip", "adhoc_1", "operations", reason="The vendor called us")
    assert await bank.state("b") == "ready"


async def test_called_off_it_holds_nothing_back_any_more(bank: Bank) -> None:
    await bank.run([manual("a"), manual("b")], [("a", "b")])
    await add(bank, "operations", after="a", before="b")
    await bank.do("submit", "a", "preparer")
    assert await bank.state("b") == "blocked"
    await bank.do("cancel", "adhoc_1", "operations", reason="Not needed after all")
    assert await bank.state("b") == "ready"


async def test_a_checklist_that_two_levels_sign_is_added_to_a_stage_for_one_person(bank: Bank) -> None:
    await bank.run([manual("a"), manual("b")], [("a", "b")])
    person = bank.people["preparer2"]
    added = await add(
        bank,
        "operations",
        before="b",
        checklist=("Ask for the file", " ", "Compare totals"),
        approval_roles=("controller", "desk_head"),
        assignee_id=person.id,
        stage_run_id=(await bank.row("a"))["stage_run_id"],
    )
    row = await bank.row("adhoc_1")
    assert (added.state, row["kind"], row["levels"], row["assignee_id"]) == ("ready", "checklist", 2, person.id)
    with pytest.raises(TransitionRefused, match="assigned to somebody else"):
        await bank.do("submit", "adhoc_1", "preparer")
    with pytest.raises(TransitionRefused, match="Tick “Ask for the file”"):
        await bank.do("submit", "adhoc_1", "preparer2")
    async with bank.runtime.uow(person) as uow:
        for item in ("item_1", "item_2"):
            await answer_item(uow, process_run_id=added.process_run_id, item=item, done=True)
    await bank.do("submit", "adhoc_1", "preparer2")
    await bank.do("approve", "adhoc_1", "controller")
    assert await bank.state("adhoc_1") == "in_review"
    await bank.do("approve", "adhoc_1", "desk_head")
    assert (await bank.state("adhoc_1"), await bank.state("b")) == ("done", "blocked")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"approval_roles": ("controller", "wizard")}, "approval_roles: There is no role wizard"),
        ({"checklist": tuple(str(n) for n in range(51))}, "checklist: At most 50 items"),
        ({"stage_run_id": UUID(int=7)}, "Choose a stage of this run"),
        ({"assignee_id": UUID(int=7)}, "who has the role preparer there"),
    ],
)
async def test_what_cannot_be_of_its_details_is_said_and_nothing_is_kept(
    bank: Bank, values: dict[str, Any], message: str
) -> None:
    await bank.run([manual("a")])
    with pytest.raises(ValidationFailed, match=message):
        await add(bank, "operations", after="a", **values)
    assert await bank.states() == {"a": "ready"}


async def test_the_preview_names_everything_that_would_wait_and_changes_nothing(bank: Bank) -> None:
    codes = ("a", "b", "c", "d")
    await bank.run([manual(code) for code in codes], [("a", "b"), ("b", "c")])
    due = bank.runtime.clock.now() + timedelta(hours=3)
    given = await work(bank, after="a", before="bd", due_at=due)
    before = await bank.states()
    assert bank.run_id is not None
    async with bank.runtime.uow(bank.people["operations"]) as uow:
        seen = await preview_process(uow, run_id=bank.run_id, work=NewWork(**given))
    assert (seen.state, seen.waits_for) == (ProcessState.BLOCKED, ("A",))
    assert [(each.label, each.direct, each.stops) for each in seen.held_up] == [
        ("B", True, False),
        ("D", True, True),
        ("C", False, False),
    ]
    assert await bank.states() == before
    with pytest.raises(Forbidden):
        async with bank.runtime.uow(bank.people["preparer"]) as uow:
            await preview_process(uow, run_id=bank.run_id, work=NewWork(**given))
