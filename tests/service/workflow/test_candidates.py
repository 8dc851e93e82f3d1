"""Who may take work: the owner role, and where candidates are named only they; giving back and assigning."""

import asyncio

import pytest

from app.core.errors import Forbidden, StepsError, TransitionRefused, ValidationFailed
from app.domain.workflow.my_work import Part, my_work
from app.domain.workflow.states import ProcessState
from tests.service.workflow.bank import Bank, manual
from tests.service.workflow.standing_in import group


async def _work(bank: Bank, who: str) -> set[tuple[str, Part]]:
    async with bank.runtime.uow(bank.people[who]) as uow:
        return {(item.code, item.part) for item in await my_work(uow)}


async def test_only_candidates_of_the_owner_role_may_take_it(bank: Bank) -> None:
    await bank.person("preparer3", "preparer")
    await group(bank, "FX", "preparer", "controller")
    await bank.run([manual("a", candidates={"groups": ["FX"], "users": ["preparer3@bank.example"]})])
    with pytest.raises(
        Forbidden, match=r"is for Fx or preparer3, and you are not among them.*2 can do it: preparer, pre"
    ):
        await bank.do("claim", "a", "preparer2")
    with pytest.raises(Forbidden, match="the role preparer"):
        await bank.do("claim", "a", "controller")  # a member, without the role
    assert await _work(bank, "preparer2") == set()
    assert await _work(bank, "preparer3") == {("a", Part.CLAIMABLE)}
    assert await _work(bank, "preparer") == {("a", Part.CLAIMABLE)}
    await bank.do("claim", "a", "preparer3")
    await bank.do("unclaim", "a", "preparer3")
    assert (await bank.do("submit", "a", "preparer")).to_state is ProcessState.DONE


async def test_a_lead_assigns_only_to_a_candidate(bank: Bank) -> None:
    await bank.run([manual("a", candidates={"users": ["preparer@bank.example"]})])
    with pytest.raises(TransitionRefused, match="or is not among its candidates"):
        await bank.do("assign", "a", "operations", data={"assignee_id": bank.people["preparer2"].id})
    await bank.do("assign", "a", "operations", data={"assignee_id": bank.people["preparer"].id})
    assert (await bank.row("a"))["assignee_id"] == bank.people["preparer"].id


async def test_a_definition_cannot_name_a_group_or_user_that_does_not_exist(bank: Bank) -> None:
    with pytest.raises(ValidationFailed, match=r"no user group NONE.*no user ghost@bank.example"):
        await bank.publish([manual("a", candidates={"groups": ["NONE"], "users": ["ghost@bank.example"]})])


async def test_what_is_given_back_is_free_for_the_others_and_keeps_its_progress(bank: Bank) -> None:
    await bank.run([manual("a"), manual("b")])
    await bank.do("claim", "a", "preparer")
    with pytest.raises(TransitionRefused, match="assigned to somebody else"):
        await bank.do("unclaim", "a", "preparer2")
    assert (await bank.do("unclaim", "a", "preparer")).to_state is ProcessState.READY
    await bank.do("start", "b", "preparer")
    started = (await bank.row("b"))["started_at"]
    assert (await bank.do("unclaim", "b", "preparer")).to_state is ProcessState.IN_PROGRESS
    with pytest.raises(TransitionRefused, match="nothing to give back"):
        await bank.do("unclaim", "b", "preparer")
    assert ("b", Part.CLAIMABLE) in await _work(bank, "preparer2")
    await bank.do("claim", "b", "preparer2")
    with pytest.raises(TransitionRefused, match="assigned to somebody else"):
        await bank.do("claim", "b", "preparer")
    row = await bank.row("b")
    assert (row["assignee_id"], row["started_at"]) == (bank.people["preparer2"].id, started)


async def test_of_ten_who_take_what_was_given_back_one_gets_it(bank: Bank) -> None:
    people = [await bank.person(f"taker{number}", "preparer") for number in range(10)]
    await bank.run([manual("a")])
    await bank.do("start", "a", people[0])
    await bank.do("unclaim", "a", people[0])

    async def take(number: int) -> bool:
        try:
            await bank.do("claim", "a", people[number])
        except StepsError:
            return False
        return True

    answers = await asyncio.gather(*(take(number) for number in range(10)))
    assert answers.count(True) == 1
