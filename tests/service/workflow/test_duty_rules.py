"""Duties that are kept apart between the processes of one run."""

import asyncio

import pytest

from app.core.errors import StepsError, TransitionRefused
from app.domain.workflow.actions import allowed_actions
from app.domain.workflow.states import Name, ProcessState
from tests.service.workflow.bank import Bank, manual, reviewed
from tests.service.workflow.standing_in import duty_rule, stands_in


async def test_who_had_a_part_in_one_process_may_have_none_in_the_other(bank: Bank) -> None:
    await bank.run([manual("load"), manual("release")])
    await duty_rule(bank, "load", "release")
    await bank.do("submit", "load", "preparer")
    for name in ("claim", "start", "submit"):
        with pytest.raises(TransitionRefused, match="Duty rule load_release: who loads does not release") as refused:
            await bank.do(name, "release", "preparer")
        assert refused.value.guard == "duty_rule"
    with pytest.raises(TransitionRefused, match="That user had a part in “Load”"):
        await bank.do("assign", "release", "operations", data={"assignee_id": bank.people["preparer"].id})
    assert (await bank.do("submit", "release", "preparer2")).to_state is ProcessState.DONE


async def test_a_rule_holds_in_both_directions_and_for_what_is_only_taken(bank: Bank) -> None:
    await bank.run([manual("load"), manual("release")])
    await duty_rule(bank, "load", "release")
    await bank.do("claim", "release", "preparer")
    with pytest.raises(TransitionRefused, match="had a part in “Release”"):
        await bank.do("claim", "load", "preparer")
    await bank.do("unclaim", "release", "preparer")
    await bank.do("claim", "load", "preparer")


async def test_a_rule_about_parts_leaves_the_other_parts_alone(bank: Bank) -> None:
    await bank.person("both", "preparer", "controller")
    await bank.run([manual("load"), reviewed("release"), reviewed("third")])
    await duty_rule(bank, "load", "release", part="made", other_part="approved")
    await bank.do("submit", "load", "both")
    await bank.do("start", "release", "both")
    await bank.do("unclaim", "release", "both")
    await bank.do("submit", "third", "preparer")
    await bank.do("approve", "third", "both")
    await bank.do("submit", "release", "preparer")
    with pytest.raises(TransitionRefused):
        await bank.do("approve", "release", "both")
    assert (await bank.do("approve", "release", "controller")).to_state is ProcessState.DONE


async def test_the_approver_of_one_process_does_not_approve_the_other(bank: Bank) -> None:
    await bank.run([reviewed("load"), reviewed("release")])
    await duty_rule(bank, "load", "release", part="approved", other_part="approved")
    for code in ("load", "release"):
        await bank.do("submit", code, "preparer")
    await bank.do("approve", "load", "controller")
    with pytest.raises(TransitionRefused, match=r"You approved “Load” of this run.*1 can do it: controller2"):
        await bank.do("approve", "release", "controller")
    async with bank.runtime.uow(bank.people["controller"]) as uow:
        states = {a.name: a for a in await allowed_actions(uow, (await bank.row("release"))["id"])}
    assert (states[Name.APPROVE].allowed, states[Name.APPROVE].guard) == (False, "duty_rule")
    assert (await bank.do("approve", "release", "controller2")).to_state is ProcessState.DONE


async def test_a_rule_holds_for_whoever_acts_for_somebody_else(bank: Bank) -> None:
    await stands_in(bank, "preparer2", "preparer")
    await bank.run([manual("load"), manual("release")])
    await duty_rule(bank, "load", "release")
    await bank.do("claim", "load", "preparer")
    await bank.do("submit", "load", "preparer2")  # for preparer, whose it is
    for name in ("preparer", "preparer2"):
        with pytest.raises(TransitionRefused, match="Duty rule"):
            await bank.do("submit", "release", name)


async def test_a_rule_that_is_not_active_refuses_nothing(bank: Bank) -> None:
    from sqlalchemy import text

    from tests.factories import SYSTEM

    await bank.run([manual("load"), manual("release")])
    await duty_rule(bank, "load", "release")
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE duty_rule SET active = false"))
    await bank.do("submit", "load", "preparer")
    assert (await bank.do("submit", "release", "preparer")).run_finished


async def test_two_clicks_at_once_do_not_get_round_a_rule(bank: Bank) -> None:
    await bank.run([manual("load"), manual("release")])
    await duty_rule(bank, "load", "release")

    async def submit(code: str) -> bool:
        try:
            await bank.do("submit", code, "preparer")
        except StepsError:
            return False
        return True

    answers = await asyncio.gather(submit("load"), submit("release"))
    assert sorted(answers) == [False, True]
