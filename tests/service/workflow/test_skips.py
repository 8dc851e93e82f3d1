"""Skipping: not allowed, by a lead alone, or asked for by one person and confirmed by another."""

import pytest
from sqlalchemy import select

from app.core.errors import Forbidden, TransitionRefused, ValidationFailed
from app.domain.workflow.actions import allowed_actions
from app.domain.workflow.states import Name, ProcessState
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, manual, reviewed
from tests.service.workflow.standing_in import stands_in

SECOND = {"skip_allowed": True, "skip_second_person": True}
CHECKLIST = [{"code": "ties", "label": "Positions tie", "required": True}]


async def test_one_person_asks_and_another_confirms_and_what_was_not_met_is_listed(bank: Bank) -> None:
    await bank.person("operations2", "operations")
    await bank.run([reviewed("a", checklist=CHECKLIST, require_comment=True, **SECOND), manual("b")], [("a", "b")])
    with pytest.raises(TransitionRefused, match="Nobody has asked yet"):
        await bank.do("skip", "a", "operations", reason="Holiday")
    with pytest.raises(ValidationFailed, match="Say why"):
        await bank.do("request_skip", "a", "operations")
    asked = await bank.do("request_skip", "a", "operations", reason="No trades today")
    assert (asked.from_state, asked.to_state) == (ProcessState.READY, ProcessState.READY)
    with pytest.raises(TransitionRefused, match="a second person confirms") as refused:
        await bank.do("skip", "a", "operations")
    assert refused.value.guard == "second_person"
    result = await bank.do("skip", "a", "operations2")
    assert (result.to_state, [item.code for item in result.released]) == (ProcessState.SKIPPED, ["b"])
    row = await bank.row("a")
    assert (row["reason"], row["skip_requested_by_id"]) == ("No trades today", None)
    unmet = ["Comment", "Positions tie", "Approval level 1 by the role controller: 0 of 1 signatures"]
    async with bank.runtime.uow(SYSTEM) as uow:
        table = uow.table("process_transition")
        rows = await uow.execute(
            select(table.c.name, table.c.details).where(table.c.name.in_(["request_skip", "skip"]))
        )
        assert {row.name: row.details["controls_not_met"] for row in rows} == {"request_skip": unmet, "skip": unmet}
    audited = "SELECT count(*) FROM audit_entry WHERE context -> 'controls_not_met' ->> 1 = 'Positions tie'"
    assert await bank.count(audited) == 2


async def test_a_delegate_of_whoever_asked_does_not_confirm(bank: Bank) -> None:
    await bank.person("operations2", "operations")
    await bank.person("deputy")
    await stands_in(bank, "operations2", "operations")
    await stands_in(bank, "deputy", "operations")
    await bank.run([manual("a", **SECOND)])
    await bank.do("request_skip", "a", "operations", reason="No trades")
    for name in ("operations2", "deputy"):
        with pytest.raises(TransitionRefused, match="or stand in for who did"):
            await bank.do("skip", "a", name)
    assert (await bank.do("skip", "a", "controller")).to_state is ProcessState.SKIPPED


async def test_neither_who_asked_by_somebodys_authority_nor_that_person_confirms(bank: Bank) -> None:
    await bank.person("deputy")
    await stands_in(bank, "deputy", "operations")
    await bank.run([manual("a", **SECOND)])
    await bank.do("request_skip", "a", "deputy", reason="No trades")
    for name in ("deputy", "operations"):
        with pytest.raises(TransitionRefused, match="a second person"):
            await bank.do("skip", "a", name)


async def test_a_request_can_be_declined_and_asked_again(bank: Bank) -> None:
    await bank.run([manual("a", **SECOND)])
    with pytest.raises(TransitionRefused, match="Nobody has asked"):
        await bank.do("decline_skip", "a", "controller", reason="No")
    await bank.do("request_skip", "a", "operations", reason="No trades")
    with pytest.raises(TransitionRefused, match="already"):
        await bank.do("request_skip", "a", "controller", reason="Me too")
    await bank.do("decline_skip", "a", "controller", reason="There are trades")
    assert (await bank.row("a"))["skip_requested_by_id"] is None
    await bank.do("request_skip", "a", "operations", reason="Cancelled ones")
    assert (await bank.do("skip", "a", "controller")).to_state is ProcessState.SKIPPED


async def test_a_request_ends_when_the_work_goes_on(bank: Bank) -> None:
    await bank.run([reviewed("a", **SECOND)])
    await bank.do("request_skip", "a", "operations", reason="No trades")
    await bank.do("submit", "a", "preparer")
    assert (await bank.row("a"))["skip_requested_by_id"] is None
    with pytest.raises(TransitionRefused, match="Nobody has asked"):
        await bank.do("skip", "a", "controller", reason="Now")


async def test_the_page_offers_asking_or_deciding_but_never_both(bank: Bank) -> None:
    await bank.run([manual("a", **SECOND), manual("alone", skip_allowed=True), manual("never")])

    async def offered(code: str, who: str) -> dict[Name, bool]:
        async with bank.runtime.uow(bank.people[who]) as uow:
            found = await allowed_actions(uow, (await bank.row(code))["id"])
        names = (Name.SKIP, Name.REQUEST_SKIP, Name.DECLINE_SKIP)
        return {action.name: action.allowed for action in found if action.name in names}

    assert await offered("never", "operations") == {}
    assert await offered("alone", "operations") == {Name.SKIP: True}
    assert await offered("a", "operations") == {Name.REQUEST_SKIP: True}
    await bank.do("request_skip", "a", "operations", reason="No trades")
    assert await offered("a", "operations") == {Name.SKIP: False, Name.DECLINE_SKIP: True}
    assert await offered("a", "controller") == {Name.SKIP: True, Name.DECLINE_SKIP: True}


async def test_only_who_may_skip_may_ask(bank: Bank) -> None:
    await bank.run([manual("a", **SECOND)])
    with pytest.raises(Forbidden):
        await bank.do("request_skip", "a", "preparer", reason="No trades")
