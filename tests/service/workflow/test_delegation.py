"""Standing in for somebody: what it allows, what it does not, and what is recorded about it."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from app.core.errors import Forbidden, NotFound, TransitionRefused
from app.domain.workflow.my_work import Part, my_work
from app.domain.workflow.preparation import answer_item, save_comment
from app.domain.workflow.states import ProcessState
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, approval, manual, reviewed
from tests.service.workflow.standing_in import group, signed_by, stands_in

CHECKLIST = [{"code": "ties", "label": "Positions tie", "required": True}]


async def test_a_delegate_acts_with_the_rights_of_the_absent_and_all_records_say_so(bank: Bank) -> None:
    await bank.person("deputy")
    await stands_in(bank, "deputy", "controller")
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "preparer")
    assert (await bank.do("approve", "a", "deputy")).to_state is ProcessState.DONE
    deputy, absent = bank.people["deputy"].id, bank.people["controller"].id
    for table in ("process_transition", "process_approval"):
        sql = f"SELECT count(*) FROM {table} WHERE actor_id = :actor AND on_behalf_of_id = :absent"
        assert await bank.count(sql, actor=deputy, absent=absent) == 1, table
    audited = """SELECT count(*) FROM audit_entry WHERE command = 'transition:approve' AND actor_id = :actor
        AND on_behalf_of = :absent AND grant_id = :grant"""
    grant = bank.people["controller"].grants[0].id
    assert await bank.count(audited, actor=deputy, absent=absent, grant=grant) == 1


async def test_own_rights_come_first(bank: Bank) -> None:
    await stands_in(bank, "controller2", "controller")
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "preparer")
    await bank.do("approve", "a", "controller2")
    assert await bank.count("SELECT count(*) FROM process_approval WHERE on_behalf_of_id IS NULL") == 1


@pytest.mark.parametrize(
    ("since", "until", "revoked"),
    [(timedelta(hours=1), timedelta(hours=2), False), (timedelta(hours=-2), timedelta(hours=-1), False),
     (timedelta(hours=-1), timedelta(hours=1), True)],
)  # fmt: skip
async def test_a_delegation_counts_only_while_it_is_in_force(
    bank: Bank, since: timedelta, until: timedelta, revoked: bool
) -> None:
    await bank.person("deputy")
    revoked_at = bank.runtime.clock.now() if revoked else None
    await stands_in(bank, "deputy", "controller", since=since, until=until, revoked_at=revoked_at)
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "preparer")
    with pytest.raises(Forbidden):
        await bank.do("approve", "a", "deputy")


async def test_a_delegation_for_one_application_gives_nothing_in_another(bank: Bank) -> None:
    await bank.person("deputy")
    await stands_in(bank, "deputy", "controller", application="PLATFORM")
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "preparer")
    with pytest.raises((Forbidden, NotFound)):
        await bank.do("approve", "a", "deputy")
    await stands_in(bank, "deputy", "controller", application="PNL")
    assert (await bank.do("approve", "a", "deputy")).to_state is ProcessState.DONE


async def test_nobody_passes_on_what_was_delegated_to_them(bank: Bank) -> None:
    await bank.person("deputy")
    await bank.person("next")
    await stands_in(bank, "deputy", "controller")
    await stands_in(bank, "next", "deputy")
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "preparer")
    with pytest.raises((Forbidden, NotFound)):
        await bank.do("approve", "a", "next")


async def test_administration_is_not_delegated(bank: Bank) -> None:
    await bank.person("deputy")
    await stands_in(bank, "deputy", "admin")
    await bank.run([manual("a")])
    with pytest.raises((Forbidden, NotFound)):
        await bank.do("cancel", "a", "deputy", reason="No")


@pytest.mark.parametrize("level", [1, 2, 3])
async def test_the_delegate_of_the_maker_is_refused_at_every_level_and_told_the_rule(bank: Bank, level: int) -> None:
    await bank.person("desk_head2", "desk_head")
    await stands_in(bank, "controller", "preparer")
    below = [{"role": "desk_head"}] * (level - 1)
    await bank.run([signed_by("a", *below, {"role": "controller"})])
    await bank.do("submit", "a", "preparer")
    for name in ("desk_head", "desk_head2")[: level - 1]:
        await bank.do("approve", "a", name)
    with pytest.raises(TransitionRefused, match="neither is a delegate of the maker") as refused:
        await bank.do("approve", "a", "controller")
    assert refused.value.guard == "not_the_makers_delegate"
    assert "You stand in for preparer" in refused.value.detail
    assert "1 can do it: controller2" in refused.value.detail
    with pytest.raises(TransitionRefused, match="delegate of the maker"):
        await bank.do("reject", "a", "controller", reason="Mine")
    assert (await bank.do("approve", "a", "controller2")).to_state is ProcessState.DONE


async def test_who_stood_in_for_the_maker_when_it_was_submitted_does_not_approve_it_afterwards(bank: Bank) -> None:
    id_ = await stands_in(bank, "controller", "preparer")
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "preparer")
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE delegation SET revoked_at = :now WHERE id = :id"), {"now": uow.now, "id": id_})
    with pytest.raises(TransitionRefused, match="stood in for preparer"):
        await bank.do("approve", "a", "controller")


async def test_who_becomes_the_makers_delegate_after_the_submission_does_not_approve_it_either(bank: Bank) -> None:
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "preparer")
    await stands_in(bank, "controller", "preparer", since=timedelta(0))
    with pytest.raises(TransitionRefused, match="delegate of the maker"):
        await bank.do("approve", "a", "controller")


async def test_a_delegation_that_ended_before_the_submission_hinders_nobody(bank: Bank) -> None:
    await bank.run([reviewed("a")])
    await stands_in(bank, "controller", "preparer", since=timedelta(hours=-2), until=timedelta(seconds=-1))
    await bank.do("submit", "a", "preparer")
    assert (await bank.do("approve", "a", "controller")).to_state is ProcessState.DONE


async def test_the_makers_delegate_does_not_approve_by_the_authority_of_a_third_person(bank: Bank) -> None:
    await bank.person("deputy")
    await stands_in(bank, "deputy", "preparer")
    await stands_in(bank, "deputy", "controller")
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "preparer")
    with pytest.raises(TransitionRefused, match="delegate of the maker"):
        await bank.do("approve", "a", "deputy")


async def test_whoever_made_it_by_somebodys_authority_is_the_maker_and_so_is_that_person(bank: Bank) -> None:
    await bank.person("both", "preparer", "controller")
    await bank.person("deputy", "controller")
    await stands_in(bank, "deputy", "both")
    await bank.run([reviewed("a")])
    await bank.do("submit", "a", "deputy")
    row = await bank.row("a")
    assert set(row["makers"]) == {str(bank.people[name].id) for name in ("deputy", "both")}
    for name in ("deputy", "both"):
        with pytest.raises(TransitionRefused, match="maker is not checker"):
            await bank.do("approve", "a", name)
    assert (await bank.do("approve", "a", "controller2")).to_state is ProcessState.DONE


async def test_one_natural_person_signs_once_with_their_own_and_with_delegated_rights(bank: Bank) -> None:
    await stands_in(bank, "controller2", "controller")
    await bank.person("controller3", "controller")
    await bank.run([signed_by("a", {"role": "controller", "needed": 2})])
    await bank.do("submit", "a", "preparer")
    await bank.do("approve", "a", "controller2")
    with pytest.raises(TransitionRefused, match="one level each"):
        await bank.do("approve", "a", "controller2")
    assert (await bank.do("approve", "a", "controller3")).to_state is ProcessState.DONE


async def test_what_was_ticked_by_somebodys_authority_is_approved_by_neither(bank: Bank) -> None:
    await bank.person("both", "preparer", "controller")
    await bank.person("deputy", "controller")
    await stands_in(bank, "deputy", "both")
    await bank.run([reviewed("a", checklist=CHECKLIST)])
    row = await bank.row("a")
    async with bank.runtime.uow(bank.people["deputy"]) as uow:
        await answer_item(uow, process_run_id=row["id"], item="ties", done=True)
    await bank.do("submit", "a", "preparer")
    for name in ("deputy", "both"):
        with pytest.raises(TransitionRefused, match="added evidence or answers"):
            await bank.do("approve", "a", name)
    assert (await bank.do("approve", "a", "controller")).to_state is ProcessState.DONE


async def test_the_delegate_of_whoever_ticked_an_item_does_not_approve(bank: Bank) -> None:
    await stands_in(bank, "controller", "preparer2")
    await bank.run([reviewed("a", checklist=CHECKLIST)])
    row = await bank.row("a")
    async with bank.runtime.uow(bank.people["preparer2"]) as uow:
        await answer_item(uow, process_run_id=row["id"], item="ties", done=True)
    await bank.do("submit", "a", "preparer")
    with pytest.raises(TransitionRefused, match="delegate of the maker"):
        await bank.do("approve", "a", "controller")


async def test_whoever_wrote_the_comment_does_not_approve_it(bank: Bank) -> None:
    await bank.person("both", "preparer", "controller")
    await bank.run([reviewed("a")])
    row = await bank.row("a")
    async with bank.runtime.uow(bank.people["both"]) as uow:
        await save_comment(uow, process_run_id=row["id"], comment="Words", expected_version=row["row_version"])
    await bank.do("submit", "a", "preparer")
    with pytest.raises(TransitionRefused, match="maker is not checker"):
        await bank.do("approve", "a", "both")


async def test_an_approval_of_earlier_work_is_refused_to_who_stood_in_for_its_maker_at_that_time(bank: Bank) -> None:
    id_ = await stands_in(bank, "controller", "preparer")
    await bank.run([manual("a"), manual("b"), approval("c")], [("a", "c"), ("b", "c")])
    await bank.do("submit", "a", "preparer")
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE delegation SET revoked_at = :now WHERE id = :id"), {"now": uow.now, "id": id_})
    await bank.do("submit", "b", "preparer2")
    with pytest.raises(TransitionRefused, match="delegate of the maker"):
        await bank.do("approve", "c", "controller")
    assert (await bank.do("approve", "c", "controller2")).run_finished


async def test_a_delegate_of_the_assignee_goes_on_with_the_work(bank: Bank) -> None:
    await bank.person("deputy")
    await stands_in(bank, "deputy", "preparer")
    await bank.run([manual("a")])
    await bank.do("claim", "a", "preparer")
    assert (await bank.do("submit", "a", "deputy")).to_state is ProcessState.DONE


async def test_membership_of_a_group_is_that_of_the_absent_person(bank: Bank) -> None:
    await bank.person("deputy", "controller")
    await group(bank, "FX", "controller")
    await stands_in(bank, "deputy", "controller")
    await bank.run([signed_by("a", {"role": "controller", "group": "FX"})])
    await bank.do("submit", "a", "preparer")
    assert (await bank.do("approve", "a", "deputy")).to_state is ProcessState.DONE
    assert await bank.count("SELECT count(*) FROM process_approval WHERE on_behalf_of_id IS NOT NULL") == 1


async def test_my_work_shows_what_a_delegate_may_do_and_for_whom(bank: Bank) -> None:
    await bank.person("deputy")
    await stands_in(bank, "deputy", "controller")
    await stands_in(bank, "deputy", "preparer2")
    await bank.run([reviewed("a"), manual("b"), reviewed("c")])
    await bank.do("submit", "a", "preparer")
    await bank.do("claim", "b", "preparer2")
    await bank.do("submit", "c", "preparer2")
    async with bank.runtime.uow(bank.people["deputy"]) as uow:
        found = {(item.code, item.part, item.acting_for) for item in await my_work(uow)}
    # c was made by somebody the deputy stands in for, so it is not theirs to approve.
    assert found == {("a", Part.TO_APPROVE, "controller"), ("b", Part.ASSIGNED, "preparer2")}
