"""Records that follow a lifecycle: where they begin, who may take which step, and what a step leaves behind."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from app.core.actor import Actor
from app.core.errors import (
    Conflict,
    Forbidden,
    NotFound,
    StaleVersion,
    StepsError,
    TransitionRefused,
    ValidationFailed,
)
from app.domain.entities.service import create_record, delete_record, update_record
from app.domain.lifecycles.transitions import StepCommand, transition_record, transition_records
from tests.factories import SYSTEM, World
from tests.service.lifecycles.conftest import CONFIRMATION, TRADE, publish_lifecycle


async def _trade(world: World, actor: Actor, **values: Any) -> dict[str, Any]:
    async with world.runtime.uow(actor) as uow:
        given = {"counterparty": "Bank A", **TRADE, "book": str(world.nodes["G10-1"]), **values}
        return await create_record(uow, "trade", given)


async def _step(world: World, actor: Actor, record_id: UUID, name: str, version: int | None = None, **more: Any) -> Any:
    async with world.runtime.uow(actor) as uow:
        return await transition_record(
            uow, entity="trade", record_id=record_id, name=name, expected_version=version, **more
        )


async def _state(world: World, record_id: UUID) -> str:
    async with world.runtime.uow(SYSTEM) as uow:
        table = uow.table("trade")
        state: str = await uow.scalar(select(table.c.lifecycle_state).where(table.c.id == record_id))
        return state


async def test_a_new_record_begins_in_the_first_state_of_the_version_in_force(bank: World) -> None:
    record = await _trade(bank, bank.actor("preparer"))
    assert record["lifecycle_state"] == "captured"
    assert record["lifecycle_version"] is not None


async def test_the_whole_way_with_two_approvals_writes_log_audit_fields_and_notice(bank: World) -> None:
    maker = await bank.stored_actor("preparer")
    first, second = await bank.stored_actor("controller"), await bank.stored_actor("controller")
    record = await _trade(bank, maker)
    done = await _step(bank, maker, record["id"], "submit", 1)
    assert (done.from_state, done.to_state, done.row_version) == ("captured", "submitted", 2)
    half = await _step(bank, first, record["id"], "confirm", 2)
    assert (half.to_state, half.waiting_for) == ("submitted", 1)
    whole = await _step(bank, second, record["id"], "confirm", 2)
    assert (whole.to_state, whole.waiting_for) == ("confirmed", 0)
    async with bank.runtime.uow(SYSTEM) as uow:
        trades = uow.table("trade")
        row = (await uow.execute(select(trades).where(trades.c.id == record["id"]))).one()
        assert (row.lifecycle_state, row.note, row.row_version) == ("confirmed", "confirmed", 3)
        log = (await uow.execute(text("SELECT * FROM record_transition ORDER BY sequence"))).all()
        assert [(line.name, line.from_state, line.to_state) for line in log] == [
            ("submit", "captured", "submitted"),
            ("confirm", "submitted", "confirmed"),
        ]
        assert log[1].actor_id == second.id
        assert [each["id"] for each in log[1].approvers] == [str(first.id)]
        commands = await uow.execute(text("SELECT command FROM audit_entry WHERE entity = 'trade' ORDER BY sequence"))
        assert commands.scalars().all() == [
            "trade.create",
            "transition:submit",
            "approve:confirm",
            "transition:confirm",
        ]
        notice = (await uow.execute(text("SELECT user_id, title FROM notification"))).one()
        assert notice.user_id == maker.id
        assert notice.title == f"{record['reference']} is Confirmed"


async def test_an_approver_counts_once_and_is_neither_creator_nor_last_editor(bank: World) -> None:
    maker, editor = await bank.stored_actor("preparer", "controller"), await bank.stored_actor("controller")
    record = await _trade(bank, maker)
    await _step(bank, maker, record["id"], "submit")
    async with bank.runtime.uow(editor) as uow:
        with pytest.raises(Forbidden):
            await update_record(uow, "trade", record["id"], {"trader": "X"}, expected_version=2)
    changer = await bank.stored_actor("preparer", "controller")
    async with bank.runtime.uow(changer) as uow:
        await update_record(uow, "trade", record["id"], {"trader": "X"}, expected_version=2)
    with pytest.raises(TransitionRefused, match=r"You created .* Rule: who creates it must not approve it"):
        await _step(bank, maker, record["id"], "confirm")
    with pytest.raises(TransitionRefused, match=r"You changed .* Rule: who changed it last"):
        await _step(bank, changer, record["id"], "confirm")
    await _step(bank, editor, record["id"], "confirm")
    with pytest.raises(TransitionRefused, match="You have approved this already"):
        await _step(bank, editor, record["id"], "confirm")
    assert await _state(bank, record["id"]) == "submitted"


async def test_somebody_acting_for_the_creator_is_refused_like_the_creator(bank: World) -> None:
    maker, checker = await bank.stored_actor("preparer"), await bank.stored_actor("controller")
    record = await _trade(bank, maker)
    await _step(bank, maker, record["id"], "submit")
    with pytest.raises(TransitionRefused, match="You created"):
        await _step(bank, replace(checker, on_behalf_of=maker.id), record["id"], "confirm")


async def test_a_record_that_returns_to_draft_forgets_its_approvals(bank: World) -> None:
    maker, one, two = [await bank.stored_actor(role) for role in ("preparer", "controller", "controller")]
    record = await _trade(bank, maker)
    await _step(bank, maker, record["id"], "submit")
    await _step(bank, one, record["id"], "confirm")
    with pytest.raises(ValidationFailed, match="comment: Say why"):
        await _step(bank, two, record["id"], "return")
    await _step(bank, two, record["id"], "return", comment="Wrong book")
    await _step(bank, maker, record["id"], "submit")
    again = await _step(bank, one, record["id"], "confirm")
    assert again.waiting_for == 1


async def test_each_refusal_says_by_which_rule(bank: World) -> None:
    maker, checker = await bank.stored_actor("preparer"), await bank.stored_actor("controller")
    bare = await _trade(bank, maker, counterparty=None)
    with pytest.raises(ValidationFailed, match="counterparty: Fill in Counterparty"):
        await _step(bank, maker, bare["id"], "submit")
    with pytest.raises(Forbidden, match="needs the role preparer"):
        await _step(bank, checker, bare["id"], "submit")
    with pytest.raises(TransitionRefused, match="is “Captured”; Confirm is possible from “Submitted”"):
        await _step(bank, checker, bare["id"], "confirm")
    with pytest.raises(NotFound, match="has no step 'burn'; its lifecycle has submit, confirm, return, cancel"):
        await _step(bank, maker, bare["id"], "burn")
    with pytest.raises(StaleVersion):
        await _step(bank, maker, bare["id"], "cancel", 7)
    other = await _trade(bank, maker, book=str(bank.nodes["EM-2"]))
    with pytest.raises(TransitionRefused, match="Submit is possible only where"):
        await _step(bank, maker, other["id"], "submit")


async def test_a_step_may_bring_the_fields_it_requires_and_no_others(bank: World) -> None:
    maker = await bank.stored_actor("preparer")
    bare = await _trade(bank, maker, counterparty=None)
    with pytest.raises(ValidationFailed, match="trader: is not asked for by this step"):
        await _step(bank, maker, bare["id"], "submit", 1, values={"trader": "X"})
    done = await _step(bank, maker, bare["id"], "submit", 1, values={"counterparty": "Bank B"})
    assert (done.to_state, done.row_version) == ("submitted", 3)


async def test_a_grant_that_does_not_reach_the_record_allows_no_step(bank: World) -> None:
    maker = await bank.stored_actor("preparer")
    record = await _trade(bank, maker)
    far = await bank.stored_actor("preparer", node="EM")
    with pytest.raises(NotFound):
        await _step(bank, far, record["id"], "submit")


async def test_the_state_decides_who_may_change_or_delete(bank: World) -> None:
    maker = await bank.stored_actor("preparer")
    record = await _trade(bank, maker)
    await _step(bank, maker, record["id"], "submit")
    async with bank.runtime.uow(maker) as uow:
        with pytest.raises(TransitionRefused, match="in this state only the role controller changes it"):
            await update_record(uow, "trade", record["id"], {"trader": "X"}, expected_version=2)
    await _step(bank, maker, record["id"], "cancel")
    async with bank.runtime.uow(SYSTEM) as uow:
        await update_record(uow, "trade", record["id"], {"trader": "Y"}, expected_version=3)
    admin = await bank.stored_actor("admin")
    async with bank.runtime.uow(admin) as uow:
        with pytest.raises(StepsError):
            await delete_record(uow, "trade", record["id"], expected_version=4)


async def test_records_keep_the_version_they_began_with(bank: World) -> None:
    maker = await bank.stored_actor("preparer")
    old = await _trade(bank, maker)
    renamed = [{**t, "name": "drop"} if t["name"] == "cancel" else t for t in CONFIRMATION["transitions"]]
    await publish_lifecycle(bank, {**CONFIRMATION, "transitions": renamed})
    new = await _trade(bank, maker)
    assert (await _step(bank, maker, old["id"], "cancel")).to_state == "cancelled"
    with pytest.raises(NotFound, match="has no step 'cancel'"):
        await _step(bank, maker, new["id"], "cancel")


async def test_the_lifecycle_with_the_highest_priority_that_applies_is_taken(bank: World) -> None:
    await publish_lifecycle(
        bank,
        {"code": "transfers", "label": "Transfers", "priority": 5, "applies_when": {"product": "transfer"},
         "states": [{"name": "noted", "category": "final"}]},
    )  # fmt: skip
    maker = await bank.stored_actor("preparer")
    assert (await _trade(bank, maker, product="transfer"))["lifecycle_state"] == "noted"
    assert (await _trade(bank, maker))["lifecycle_state"] == "captured"


async def test_of_twenty_who_confirm_at_once_two_count_and_one_step_is_taken(bank: World) -> None:
    maker = await bank.stored_actor("preparer")
    checkers = [await bank.stored_actor("controller") for _ in range(20)]
    record = await _trade(bank, maker)
    await _step(bank, maker, record["id"], "submit")
    results = await asyncio.gather(
        *(_step(bank, checker, record["id"], "confirm") for checker in checkers), return_exceptions=True
    )
    refused = [r for r in results if isinstance(r, TransitionRefused)]
    taken = [r for r in results if not isinstance(r, BaseException)]
    assert len(refused) == 18
    assert sorted(r.waiting_for for r in taken) == [0, 1]
    async with bank.runtime.uow(SYSTEM) as uow:
        assert await uow.scalar(text("SELECT count(*) FROM record_approval")) == 2
        assert await uow.scalar(text("SELECT count(*) FROM record_transition WHERE name = 'confirm'")) == 1


async def test_many_steps_are_taken_in_their_order_and_a_refusal_holds_back_nothing_else(bank: World) -> None:
    maker = await bank.stored_actor("preparer")
    one, two = await _trade(bank, maker), await _trade(bank, maker, counterparty=None)
    commands = [StepCommand(one["id"], "submit"), StepCommand(two["id"], "submit"), StepCommand(one["id"], "cancel")]
    async with bank.runtime.uow(maker) as uow:
        outcomes = await transition_records(uow, entity="trade", commands=commands)
    assert [(o.to_state, o.refusal is None) for o in outcomes] == [
        ("submitted", True), ("captured", False), ("cancelled", True),
    ]  # fmt: skip
    assert await _state(bank, one["id"]) == "cancelled"
    assert await _state(bank, two["id"]) == "captured"
    async with bank.runtime.uow(SYSTEM) as uow:
        assert await uow.scalar(text("SELECT row_version FROM trade WHERE id = :id"), {"id": one["id"]}) == 2


async def test_a_record_created_before_there_was_a_lifecycle_takes_no_steps(world: World) -> None:
    maker = await world.stored_actor("preparer")
    record = await _trade(world, maker)
    assert record["lifecycle_state"] is None
    with pytest.raises(Conflict, match="follows no lifecycle"):
        await _step(world, maker, record["id"], "submit")


async def test_an_effect_that_is_not_possible_takes_the_step_back(bank: World) -> None:
    await publish_lifecycle(
        bank,
        {"code": "doubling", "label": "Doubling", "priority": 9,
         "states": [{"name": "one", "category": "draft"}, {"name": "two", "category": "final"}],
         "transitions": [
             {"name": "copy", "from": "one", "to": "two", "effects": [
                 {"kind": "create_record", "entity": "trade",
                  "values": {"book": "$record.book", "trade_date": "$record.trade_date", "currency": "USD",
                             "quantity": "5", "rate": "1", "trader": "$record.reference"}}]},
             {"name": "spoil", "from": "one", "to": "two", "effects": [
                 {"kind": "create_record", "entity": "trade", "values": {"currency": "USD"}}]},
         ]},
    )  # fmt: skip
    maker = await bank.stored_actor("preparer")
    record = await _trade(bank, maker)
    with pytest.raises(TransitionRefused, match="is to create a trade, and that is not possible: book: is required"):
        await _step(bank, maker, record["id"], "spoil")
    assert await _state(bank, record["id"]) == "one"
    await _step(bank, maker, record["id"], "copy")
    async with bank.runtime.uow(SYSTEM) as uow:
        assert await uow.scalar(text("SELECT count(*) FROM trade WHERE trader = :r"), {"r": record["reference"]}) == 1
