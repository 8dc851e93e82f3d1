"""Each rule of the table, by people against the database."""

from datetime import timedelta
from uuid import uuid4

import pytest

from app.core.errors import Forbidden, NotFound, StaleVersion, TransitionRefused, ValidationFailed
from app.domain.workflow.states import ProcessState
from tests.service.workflow.bank import Bank, approval, automatic, manual, reviewed


async def test_a_submission_without_approval_levels_is_done_and_releases_the_successor(bank: Bank) -> None:
    await bank.run([manual("a"), manual("b")], [("a", "b")])
    assert await bank.states() == {"a": "ready", "b": "blocked"}
    await bank.do("start", "a", "preparer")
    result = await bank.do("submit", "a", "preparer", comment="All there.")
    assert (result.from_state, result.to_state) == (ProcessState.IN_PROGRESS, ProcessState.DONE)
    assert [item.code for item in result.released] == ["b"]
    assert await bank.states() == {"a": "done", "b": "ready"}
    row = await bank.row("a")
    assert (row["comment"], row["maker_id"]) == ("All there.", bank.people["preparer"].id)


async def test_the_run_is_done_with_its_last_process(bank: Bank) -> None:
    await bank.run([manual("a"), manual("b")], [("a", "b")])
    first = await bank.do("submit", "a", "preparer")
    assert not first.run_finished
    assert (await bank.the_run())["open_count"] == 1
    last = await bank.do("submit", "b", "preparer")
    run = await bank.the_run()
    assert last.run_finished
    assert (run["state"], run["open_count"], run["finished_at"] is not None) == ("done", 0, True)


async def test_the_maker_cannot_approve_and_is_told_the_rule_and_who_can(bank: Bank) -> None:
    await bank.person("both", "preparer", "controller")
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "both")
    with pytest.raises(
        TransitionRefused, match=r"maker is not checker.*2 can do it: controller, controller2"
    ) as refused:
        await bank.do("approve", "a", "both")
    assert refused.value.guard == "maker_is_not_checker"
    assert (await bank.do("approve", "a", "controller")).to_state is ProcessState.DONE


async def test_somebody_who_acts_for_the_maker_cannot_approve_either(bank: Bank) -> None:
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "preparer")
    from dataclasses import replace

    deputy = replace(bank.people["controller"], on_behalf_of=bank.people["preparer"].id)
    with pytest.raises(TransitionRefused, match="maker is not checker"):
        await bank.do("approve", "a", deputy)


async def test_an_approval_process_waits_for_a_checker_who_had_no_part_in_its_predecessors(bank: Bank) -> None:
    await bank.person("both", "preparer", "controller")
    await bank.run([manual("a"), approval("b")], [("a", "b")])
    await bank.do("submit", "a", "both")
    row = await bank.row("b")
    assert (row["state"], row["level"], row["maker_id"]) == ("in_review", 1, bank.people["both"].id)
    with pytest.raises(TransitionRefused, match="maker is not checker"):
        await bank.do("approve", "b", "both")
    assert (await bank.do("approve", "b", "controller")).to_state is ProcessState.DONE


async def test_whoever_approved_a_predecessor_cannot_sign_the_next_approval(bank: Bank) -> None:
    await bank.person("two_hats", "controller", "desk_head")
    await bank.run([manual("a"), approval("b"), approval("c", "desk_head")], [("a", "b"), ("b", "c")])
    await bank.do("submit", "a", "preparer")
    await bank.do("approve", "b", "two_hats")
    with pytest.raises(TransitionRefused, match="maker is not checker"):
        await bank.do("approve", "c", "two_hats")
    assert (await bank.do("approve", "c", "desk_head")).run_finished


async def test_each_level_is_signed_by_another_person_of_its_role(bank: Bank) -> None:
    await bank.person("two_hats", "controller", "desk_head")
    await bank.run([reviewed("a", "controller", "desk_head")])
    await bank.do("submit", "a", "preparer")
    with pytest.raises(Forbidden, match="role controller"):
        await bank.do("approve", "a", "desk_head")
    first = await bank.do("approve", "a", "two_hats")
    assert (first.to_state, first.level) == (ProcessState.IN_REVIEW, 2)
    with pytest.raises(TransitionRefused, match="one level each"):
        await bank.do("approve", "a", "two_hats")
    assert (await bank.do("approve", "a", "desk_head")).to_state is ProcessState.DONE
    signed = "SELECT count(DISTINCT snapshot_hash) FROM process_approval WHERE decision = 'approved'"
    assert await bank.count(signed) == 1


async def test_a_rejection_needs_a_reason_and_sends_the_work_back_for_another_round(bank: Bank) -> None:
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "preparer")
    with pytest.raises(ValidationFailed, match="reason: Say why"):
        await bank.do("reject", "a", "controller", reason="  ")
    result = await bank.do("reject", "a", "controller", reason="The explain is missing.")
    row = await bank.row("a")
    assert (result.to_state, result.round) == (ProcessState.IN_PROGRESS, 2)
    assert (row["assignee_id"], row["reason"]) == (bank.people["preparer"].id, "The explain is missing.")
    await bank.do("submit", "a", "preparer", comment="Added.")
    assert (await bank.do("approve", "a", "controller")).run_finished
    decisions = "SELECT count(*) FROM process_approval WHERE (round, decision) IN ((1, 'rejected'), (2, 'approved'))"
    assert await bank.count(decisions) == 2


async def test_a_rejected_approval_process_is_reworked_by_its_owner_role_and_decided_again(bank: Bank) -> None:
    await bank.run([manual("a"), approval("b")], [("a", "b")])
    await bank.do("submit", "a", "preparer")
    await bank.do("reject", "b", "controller", reason="Comment on CHF.")
    await bank.do("submit", "b", "preparer2", comment="CHF: late trade.")
    for maker in ("preparer", "preparer2"):
        assert str(bank.people[maker].id) in (await bank.row("b"))["makers"]
    assert (await bank.do("approve", "b", "controller")).run_finished


async def test_only_the_owner_role_within_its_part_of_the_bank_may_do_the_work(bank: Bank) -> None:
    await bank.person("em_preparer", "preparer", node="EM")
    await bank.person("g10_preparer", "preparer", node="G10")
    await bank.person("book_preparer", "preparer", node="G10-1")
    await bank.run([manual("a", node="G10")])
    with pytest.raises(NotFound):
        await bank.do("start", "a", "em_preparer")
    with pytest.raises(Forbidden, match="none of your grants reaches it"):
        await bank.do("start", "a", "book_preparer")  # sees what is above its book, and may not do it
    assert (await bank.do("start", "a", "g10_preparer")).to_state is ProcessState.IN_PROGRESS


async def test_what_is_assigned_to_one_person_is_not_submitted_by_another(bank: Bank) -> None:
    await bank.run([manual("a")])
    await bank.do("claim", "a", "preparer")
    with pytest.raises(TransitionRefused, match="assigned to somebody else") as refused:
        await bank.do("submit", "a", "preparer2")
    assert refused.value.guard == "assignee"


async def test_work_is_assigned_only_to_somebody_who_may_do_it(bank: Bank) -> None:
    await bank.run([manual("a")])
    with pytest.raises(TransitionRefused, match="does not have the role preparer"):
        await bank.do("assign", "a", "operations", data={"assignee_id": bank.people["controller"].id})
    with pytest.raises(ValidationFailed, match="Choose a user"):
        await bank.do("assign", "a", "operations", data={"assignee_id": "nobody"})
    with pytest.raises(TransitionRefused, match="does not have the role"):
        await bank.do("assign", "a", "operations", data={"assignee_id": uuid4()})
    await bank.do("assign", "a", "operations", data={"assignee_id": bank.people["preparer2"].id})
    assert (await bank.row("a"))["assignee_id"] == bank.people["preparer2"].id


async def test_a_hold_has_a_reason_and_a_review_date_and_returns_to_where_it_was(bank: Bank) -> None:
    await bank.run([manual("a")])
    await bank.do("start", "a", "preparer")
    until = bank.runtime.clock.now() + timedelta(hours=2)
    with pytest.raises(ValidationFailed, match="still ahead"):
        await bank.do("hold", "a", "operations", reason="Vendor", data={"review_by": until - timedelta(days=1)})
    await bank.do("hold", "a", "operations", reason="Vendor", data={"review_by": until})
    with pytest.raises(TransitionRefused, match="is On hold"):
        await bank.do("submit", "a", "preparer")
    resumed = await bank.do("resume", "a", "operations")
    assert resumed.to_state is ProcessState.IN_PROGRESS
    assert (await bank.row("a"))["review_by"] is None


async def test_a_process_that_was_held_while_blocked_goes_on_once_its_predecessors_have_closed(bank: Bank) -> None:
    await bank.run([manual("a"), approval("b")], [("a", "b")])
    until = bank.runtime.clock.now() + timedelta(hours=2)
    await bank.do("hold", "b", "operations", reason="Later", data={"review_by": until})
    await bank.do("submit", "a", "preparer")
    assert await bank.state("b") == "on_hold"
    assert (await bank.do("resume", "b", "operations")).to_state is ProcessState.IN_REVIEW
    with pytest.raises(Forbidden):
        await bank.do("approve", "b", "preparer")
    assert (await bank.do("approve", "b", "controller")).run_finished


async def test_a_skip_is_allowed_by_the_definition_and_satisfies_only_edges_that_accept_it(bank: Bank) -> None:
    processes = [manual("a", skip_allowed=True), manual("b"), manual("c"), manual("d")]
    await bank.run(processes, [("a", "b", "done", "skipped"), ("a", "c", "done")])
    with pytest.raises(TransitionRefused, match="may not be skipped"):
        await bank.do("skip", "d", "operations", reason="No trades")
    result = await bank.do("skip", "a", "operations", reason="No trades")
    assert [item.code for item in result.released] == ["b"]
    assert await bank.states() == {"a": "skipped", "b": "ready", "c": "blocked", "d": "ready"}


async def test_a_stale_version_is_refused_and_says_what_is_there_now(bank: Bank) -> None:
    await bank.run([manual("a")])
    before = (await bank.row("a"))["row_version"]
    await bank.do("start", "a", "preparer")
    with pytest.raises(StaleVersion, match="In progress") as stale:
        await bank.do("start", "a", "preparer", version=before)
    assert stale.value.context["row_version"] == before + 1


async def test_nobody_does_what_the_platform_does(bank: Bank) -> None:
    await bank.run([automatic("a")])
    with pytest.raises(Forbidden):
        await bank.do("finish", "a", "operations")
    with pytest.raises(TransitionRefused, match="done by a worker"):
        await bank.do("start", "a", "operations")


async def test_the_policy_comes_first(bank: Bank) -> None:
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "preparer")
    for who in ("admin", "auditor", "preparer2"):
        with pytest.raises(Forbidden):
            await bank.do("approve", "a", who)
    assert await bank.state("a") == "in_review"


async def test_every_command_is_in_the_history_and_in_the_audit_trail(bank: Bank) -> None:
    await bank.run([reviewed("a"), manual("b")], [("a", "b")])
    await bank.do("submit", "a", "preparer", comment="Ready")
    await bank.do("approve", "a", "controller")
    names = "SELECT count(*) FROM process_transition WHERE name = :name"
    assert await bank.count(names, name="submit") == 1
    assert await bank.count(names, name="approve") == 1
    assert await bank.count(names, name="release") == 2
    audited = """SELECT count(*) FROM audit_entry
        WHERE command = 'transition:approve' AND actor_id = :who AND before ->> 'state' = 'in_review'
          AND after ->> 'state' = 'done' AND context -> 'released' = '["b"]' AND grant_id = :grant"""
    controller = bank.people["controller"]
    assert await bank.count(audited, who=controller.id, grant=controller.grants[0].id) == 1
