"""A published validation rule refuses bad records, at their fields, whichever way they come."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, func, select

from app.core.errors import ValidationFailed
from app.domain.entities.service import create_record, create_records, update_record
from app.domain.rules.publishing import publish
from tests.factories import SYSTEM, World
from tests.service.rules.writing import draft, in_force, new_rule
from tests.unit.rules.tables import table

OUTPUTS: Sequence[Mapping[str, Any]] = [
    {"name": "field", "type": "text", "required": False},
    {"name": "message", "type": "text"},
]
CHECK = table(
    [
        ({"quantity": "> 5000000"}, {"field": "'quantity'", "message": "'is too large'"}),
        ({"rate": "> 100"}, {"field": "'rate'", "message": "'is far off'"}),
        ({"quantity": "< -5000000"}, {"message": "'is more than may be sold'"}),
    ],
    inputs=[{"name": "quantity", "type": "decimal"}, {"name": "rate", "type": "decimal", "required": False}],
    outputs=OUTPUTS,
    hit_policy="collect",
)
CASES = [{"label": "good", "input": {"quantity": "1"}, "expected": None}]


async def _rule(world: World, **values: Any) -> UUID:
    given = {"purpose": "field_validation", "entity": "trade", **values}
    return await in_force(world, "TRADE_CHECK", CHECK, tests=CASES, **given)


def _trade(world: World, **values: Any) -> dict[str, Any]:
    deal = {"trade_date": "2026-10-30", "currency": "USD", "quantity": "1000000", "rate": "1.1"}
    return {"book": str(world.nodes["EM-1"]), **deal, **values}


async def _create(world: World, *trades: dict[str, Any]) -> list[dict[str, Any]]:
    async with world.runtime.uow(SYSTEM) as uow:
        return await create_records(uow, "trade", trades)


async def test_a_bad_record_is_refused_at_the_field_that_the_rule_names(world: World) -> None:
    await _create(world, _trade(world, quantity="9000000"))
    await _rule(world)
    given: tuple[dict[str, str], ...] = ({}, {"quantity": "9000000", "rate": "101"}, {"quantity": "-9000000"})
    with pytest.raises(ValidationFailed) as refused:
        await _create(world, *(_trade(world, **values) for values in given))
    assert [(problem.path, problem.message) for problem in refused.value.problems] == [
        ("1.quantity", "is too large"),
        ("1.rate", "is far off"),
        ("2", "is more than may be sold"),
    ]
    assert len(await _create(world, _trade(world))) == 1


async def test_a_change_is_judged_on_the_record_as_it_would_be(world: World) -> None:
    (trade,) = await _create(world, _trade(world))
    await _rule(world)
    for values, accepted in (({"quantity": "9000000"}, False), ({"quantity": "5"}, True)):
        async with world.runtime.uow(SYSTEM) as uow:
            if accepted:
                await update_record(uow, "trade", trade["id"], values, expected_version=trade["row_version"])
                continue
            with pytest.raises(ValidationFailed, match="quantity: is too large"):
                await update_record(uow, "trade", trade["id"], values, expected_version=trade["row_version"])


async def test_a_rule_that_is_inactive_or_not_in_force_yet_refuses_nothing(world: World) -> None:
    rule = await _rule(world, valid_from=date(2099, 1, 1))
    assert await _create(world, _trade(world, quantity="9000000"))
    version = await draft(world, rule, CHECK, tests=CASES)
    async with world.runtime.uow(SYSTEM) as uow:
        await publish(uow, version_id=version)
    with pytest.raises(ValidationFailed):
        await _create(world, _trade(world, quantity="9000000"))
    async with world.runtime.uow(SYSTEM) as uow:
        row_version = await uow.scalar(select(uow.table("rule").c.row_version).where(uow.table("rule").c.id == rule))
        await update_record(uow, "rule", rule, {"active": False}, expected_version=row_version)
    assert await _create(world, _trade(world, quantity="9000000"))


async def test_a_rule_without_an_answer_refuses_rather_than_lets_pass(world: World) -> None:
    content = table(
        [({"quantity": "1 / ($ - 4) > 1000"}, {"field": "'rate'", "message": "'is close to four'"})],
        inputs=[{"name": "quantity", "type": "decimal"}],
        outputs=OUTPUTS,
        hit_policy="collect",
    )
    await in_force(world, "CLOSE", content, tests=CASES, purpose="field_validation", entity="trade")
    assert await _create(world, _trade(world, quantity="5"))
    with pytest.raises(ValidationFailed, match="rate: is close to four"):
        await _create(world, _trade(world, quantity="4.0001"))
    with pytest.raises(ValidationFailed, match="The rule CLOSE gives no answer"):
        await _create(world, _trade(world, quantity="4"))


async def test_its_facts_are_fields_of_the_entity_that_it_is_about(world: World) -> None:
    with pytest.raises(ValidationFailed, match="entity: There is no such entity"):
        await new_rule(world, "OTHER", purpose="field_validation", entity="trades")
    content = table(
        [({"notional": "0"}, {"message": "'is nothing'"})],
        inputs=[{"name": "notional", "type": "decimal"}],
        outputs=OUTPUTS,
        hit_policy="collect",
    )
    rule = await new_rule(world, "TRADE_CHECK", purpose="field_validation", entity="trade")
    version = await draft(world, rule, content, tests=[{"label": "a", "input": {"notional": "1"}, "expected": None}])
    with pytest.raises(ValidationFailed, match="Trades have no field notional"):
        async with world.runtime.uow(SYSTEM) as uow:
            await publish(uow, version_id=version)


async def test_without_rules_for_the_entity_a_record_costs_no_further_statement(world: World) -> None:
    content = table(
        [({"measure": "actual"}, {"message": "'is not watched'"})],
        inputs=[{"name": "measure", "type": "text"}],
        outputs=OUTPUTS,
        hit_policy="collect",
    )
    cases = [{"label": "flash", "input": {"measure": "flash"}, "expected": None}]
    await in_force(world, "WATCHED", content, tests=cases, purpose="field_validation", entity="pnl_threshold")
    await _create(world, _trade(world))
    seen: list[str] = []
    event.listen(
        world.runtime.engine.sync_engine, "before_cursor_execute", lambda _c, _k, statement, *_: seen.append(statement)
    )
    async with world.runtime.uow(SYSTEM) as uow:
        created = await create_record(uow, "trade", _trade(world, quantity="9000000"))
        assert created["quantity"] == Decimal(9_000_000)
        trades = uow.table("trade")
        assert await uow.scalar(select(func.count()).select_from(trades)) == 2
    assert seen
    assert not [statement for statement in seen if "rule" in statement]
