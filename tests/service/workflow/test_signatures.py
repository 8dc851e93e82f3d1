"""Levels that several people sign, groups that decide, and how far back a rejection goes."""

import asyncio
from typing import Any

import pytest

from app.core.errors import Forbidden, StaleVersion, TransitionRefused, ValidationFailed
from app.domain.workflow.states import ProcessState
from tests.service.workflow.bank import Bank, manual, reviewed
from tests.service.workflow.standing_in import group, reason, signed_by

TWO = {"role": "controller", "needed": 2}
VALID = "SELECT count(*) FROM process_approval WHERE decision = 'approved' AND voided_at IS NULL"


async def test_a_level_closes_with_its_second_signature_and_each_is_a_row(bank: Bank) -> None:
    await bank.run([signed_by("a", TWO), manual("b")], [("a", "b")])
    await bank.do("submit", "a", "preparer")
    first = await bank.do("approve", "a", "controller")
    row = await bank.row("a")
    assert (first.to_state, row["level"], row["signatures"]) == (ProcessState.IN_REVIEW, 1, 1)
    with pytest.raises(TransitionRefused, match="one level each") as refused:
        await bank.do("approve", "a", "controller")
    assert "1 can do it: controller2" in refused.value.detail
    second = await bank.do("approve", "a", "controller2")
    assert (second.to_state, [item.code for item in second.released]) == (ProcessState.DONE, ["b"])
    assert await bank.count(VALID) == 2


async def test_each_level_counts_its_own_signatures(bank: Bank) -> None:
    await bank.person("controller3", "controller")
    await bank.run([signed_by("a", TWO, {"role": "desk_head"}, {"role": "controller"})])
    await bank.do("submit", "a", "preparer")
    await bank.do("approve", "a", "controller")
    await bank.do("approve", "a", "controller2")
    row = await bank.row("a")
    assert (row["level"], row["signatures"]) == (2, 0)
    await bank.do("approve", "a", "desk_head")
    with pytest.raises(TransitionRefused, match="one level each"):
        await bank.do("approve", "a", "controller2")
    assert (await bank.do("approve", "a", "controller3")).to_state is ProcessState.DONE


async def test_of_twenty_concurrent_approvals_two_count_and_one_closes(bank: Bank) -> None:
    people = [await bank.person(f"checker{number}", "controller") for number in range(20)]
    await bank.run([signed_by("a", TWO), manual("b")], [("a", "b")])
    await bank.do("submit", "a", "preparer")

    async def approve(number: int) -> str:
        for _ in range(30):
            try:
                done = await bank.do("approve", "a", people[number])
            except StaleVersion:
                continue
            except TransitionRefused as refused:
                return refused.guard
            return done.to_state.value
        return "never"

    answers = await asyncio.gather(*(approve(number) for number in range(20)))
    assert sorted(answer for answer in answers if answer != "state") == ["done", "in_review"]
    assert await bank.count(VALID) == 2
    assert await bank.count("SELECT count(DISTINCT actor_id) FROM process_approval") == 2
    released = "SELECT count(*) FROM process_transition WHERE name = 'release' AND to_state = 'ready'"
    assert await bank.count(released) == 2  # a with the run, b once
    assert await bank.state("b") == "ready"


async def test_a_group_decides_alone_or_together_with_a_role(bank: Bank) -> None:
    await bank.person("outsider", "controller")
    await bank.person("head2", "desk_head")
    await group(bank, "FX", "controller", "head2")
    await bank.run([signed_by("a", {"role": "controller", "group": "FX"}, {"group": "FX"})])
    await bank.do("submit", "a", "preparer")
    with pytest.raises(Forbidden, match=r"the role controller in the group Fx, and you are not a member.*controller\."):
        await bank.do("approve", "a", "outsider")
    with pytest.raises(Forbidden, match="the role controller"):
        await bank.do("approve", "a", "head2")
    await bank.do("approve", "a", "controller")
    with pytest.raises(Forbidden, match="the group Fx"):
        await bank.do("approve", "a", "outsider")
    assert (await bank.do("approve", "a", "head2")).to_state is ProcessState.DONE


async def test_a_member_who_has_left_the_group_signs_no_more(bank: Bank) -> None:
    from sqlalchemy import text

    from tests.factories import SYSTEM

    await group(bank, "FX", "controller")
    await bank.run([signed_by("a", {"role": "controller", "group": "FX"})])
    await bank.do("submit", "a", "preparer")
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("DELETE FROM user_group_member"))
    with pytest.raises(Forbidden, match=r"not a member.*Nobody can at present"):
        await bank.do("approve", "a", "controller")


async def test_sent_back_to_a_level_the_signatures_below_it_stay_and_the_rest_are_taken_back(bank: Bank) -> None:
    for name in ("controller3", "controller4"):
        await bank.person(name, "controller")
    levels: list[dict[str, Any]] = [{"role": "controller"}, {"role": "desk_head"}, TWO]
    await bank.run([signed_by("a", *levels)])
    await bank.do("submit", "a", "preparer")
    await bank.do("approve", "a", "controller")
    await bank.do("approve", "a", "desk_head")
    await bank.do("approve", "a", "controller2")
    result = await bank.do("reject", "a", "controller3", reason="The head signed too early.", data={"to_level": 2})
    row = await bank.row("a")
    assert (result.to_state, row["level"], row["round"], row["signatures"]) == (ProcessState.IN_REVIEW, 2, 2, 0)
    assert row["signers"] == [str(bank.people["controller"].id)]
    assert await bank.count(VALID) == 1
    assert await bank.count("SELECT count(*) FROM process_approval WHERE to_level = 2 AND decision = 'rejected'") == 1
    # What was handed in is unchanged, so its hash is the one that level 1 has signed.
    await bank.do("approve", "a", "desk_head")
    with pytest.raises(TransitionRefused, match="one level each"):
        await bank.do("approve", "a", "controller")
    await bank.do("approve", "a", "controller2")
    assert (await bank.do("approve", "a", "controller4")).to_state is ProcessState.DONE
    assert await bank.count(VALID) == 4
    hashes = (
        "SELECT count(DISTINCT snapshot_hash) FROM process_approval WHERE voided_at IS NULL AND decision = 'approved'"
    )
    assert await bank.count(hashes) == 1


async def test_sent_back_to_the_preparer_no_signature_stays(bank: Bank) -> None:
    await bank.run([reviewed("a", "controller", "desk_head")])
    await bank.do("submit", "a", "preparer")
    await bank.do("approve", "a", "controller")
    await bank.do("reject", "a", "desk_head", reason="Explain.")
    assert await bank.count(VALID) == 0
    row = await bank.row("a")
    assert (row["state"], row["level"], row["round"], row["signers"]) == ("in_progress", 0, 2, None)
    await bank.do("submit", "a", "preparer")
    await bank.do("approve", "a", "controller")
    assert (await bank.do("approve", "a", "desk_head")).run_finished


async def test_a_level_that_is_not_below_cannot_be_sent_back_to(bank: Bank) -> None:
    await bank.run([reviewed("a", "controller", "desk_head")])
    await bank.do("submit", "a", "preparer")
    with pytest.raises(ValidationFailed, match="there is no earlier level"):
        await bank.do("reject", "a", "controller", reason="x", data={"to_level": 1})
    await bank.do("approve", "a", "controller")
    for level in (0, 2, 9):
        with pytest.raises(ValidationFailed, match="Choose a level from 1 to 1"):
            await bank.do("reject", "a", "desk_head", reason="x", data={"to_level": level})


async def test_whoever_has_signed_may_still_reject_and_that_takes_the_signature_back(bank: Bank) -> None:
    await bank.run([signed_by("a", TWO)])
    await bank.do("submit", "a", "preparer")
    await bank.do("approve", "a", "controller")
    await bank.do("reject", "a", "controller", reason="Seen too late.")
    assert await bank.count(VALID) == 0
    assert await bank.state("a") == "in_progress"


async def test_a_rejection_names_a_reason_of_the_list_once_there_is_one(bank: Bank) -> None:
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "preparer")
    await reason(bank, "explain")
    await reason(bank, "old", active=False)
    with pytest.raises(ValidationFailed, match="reason_code: Choose a reason: explain"):
        await bank.do("reject", "a", "controller", reason="Words")
    with pytest.raises(ValidationFailed, match="There is no reason old"):
        await bank.do("reject", "a", "controller", reason="Words", data={"reason_code": "old"})
    await bank.do("reject", "a", "controller", reason="Words", data={"reason_code": "explain"})
    assert await bank.count("SELECT count(*) FROM process_approval WHERE reason_code = 'explain'") == 1


async def test_whoever_made_an_earlier_round_does_not_approve_a_later_one(bank: Bank) -> None:
    await bank.person("both", "preparer", "controller")
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "both")
    await bank.do("reject", "a", "controller", reason="Again.")
    await bank.do("assign", "a", "operations", data={"assignee_id": bank.people["preparer"].id})
    await bank.do("submit", "a", "preparer")
    with pytest.raises(TransitionRefused, match="maker is not checker"):
        await bank.do("approve", "a", "both")


async def test_whoever_only_began_the_work_does_not_approve_it(bank: Bank) -> None:
    await bank.person("both", "preparer", "controller")
    await bank.run([reviewed("a")])
    await bank.do("start", "a", "both")
    await bank.do("unclaim", "a", "both")
    await bank.do("claim", "a", "preparer")
    await bank.do("submit", "a", "preparer")
    with pytest.raises(TransitionRefused, match="maker is not checker"):
        await bank.do("approve", "a", "both")
