"""Asking rules: kept decisions, memory, PnL thresholds and the routing of processes."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select, text

from app.core.errors import Forbidden, NotFound, ValidationFailed
from app.domain.access.decisions import authorize
from app.domain.entities.service import create_record
from app.domain.finance.breaches import run_threshold_tests
from app.domain.rules.compiled import RuleFailed
from app.domain.rules.evaluation import KeepFor, book_of, evaluate, evaluate_many
from app.domain.rules.record_rules import ask_guard, validate_by_rule
from app.domain.rules.routing import Moment, route_process, route_processes, routing_facts
from app.domain.rules.uses import uses_of
from models.base import uuid7
from tests.factories import SYSTEM, World, add_row
from tests.service.rules.writing import draft, in_force, new_rule
from tests.service.workflow.statements import counted
from tests.unit.rules.tables import table

INPUT = {"pnl": "-0.10", "desk": "EM"}
DAY = date(2026, 3, 2)


async def test_a_decision_is_kept_with_what_it_was_given_and_why(world: World) -> None:
    rule_id = await in_force(world)
    actor = await world.stored_actor("controller")
    about = uuid7()
    async with world.runtime.uow(actor) as uow:
        made = await evaluate(uow, code="SEVERITY", input=INPUT, keep_for=("breach", about, "severity"))
    async with world.runtime.uow(SYSTEM) as uow:
        row = (await uow.execute(select(uow.table("rule_evaluation")))).one()
    assert (row.rule_id, row.version_id, row.record_entity, row.record_id) == (
        rule_id,
        made.version_id,
        "breach",
        about,
    )
    assert (row.purpose, row.actor_id) == ("severity", actor.id)
    assert row.input == {"pnl": "-0.10", "desk": "EM"}
    assert row.output == [{"severity": "low"}]
    assert row.trace == {"values": {"pnl": "-0.1", "desk": "EM"}, "matched": ["r2"], "rows": [["r1", "pnl"], ["r2"]]}


async def test_a_rule_that_is_known_is_asked_without_a_statement(world: World) -> None:
    await in_force(world)
    async with world.runtime.uow(SYSTEM) as uow:
        with counted(world.runtime) as first:
            await evaluate(uow, code="SEVERITY", input=INPUT)
        with counted(world.runtime) as second:
            await evaluate(uow, code="SEVERITY", input=INPUT)
        with counted(world.runtime) as many:
            kept = [KeepFor("breach", uuid7(), "x") for _ in range(200)]
            await evaluate_many(uow, code="SEVERITY", inputs=[INPUT] * 200, keep_for=kept)
        count = await uow.scalar(select(func.count()).select_from(uow.table("rule_evaluation")))
    assert (len(first), len(second), len(many), count) == (1, 0, 1, 200)


async def test_another_process_that_publishes_is_heard_of(world: World) -> None:
    rule_id = await in_force(world)
    async with world.runtime.uow(SYSTEM) as uow:
        await evaluate(uow, code="SEVERITY", input=INPUT)
        await uow.execute(text("UPDATE rule SET active = false WHERE id = :id"), {"id": rule_id})
    await world.runtime.reactions["rules"]()
    async with world.runtime.uow(SYSTEM) as uow:
        assert book_of(uow).rules == {}
        assert not (await book_of(uow).read(uow, "SEVERITY")).active


async def test_a_rule_that_is_not_there_is_not_found(world: World) -> None:
    async with world.runtime.uow(SYSTEM) as uow:
        with pytest.raises(NotFound, match="no rule NOTHING"):
            await evaluate(uow, code="NOTHING", input={})


async def test_kept_decisions_are_read_by_those_who_see_every_desk(world: World) -> None:
    for role, allowed in (("auditor", True), ("operations", True), ("admin", True), ("preparer", False)):
        async with world.runtime.uow(world.actor(role)) as uow:
            if allowed:
                authorize(uow, "read", "rule_evaluation")
                continue
            with pytest.raises(Forbidden):
                authorize(uow, "read", "rule_evaluation")


# -- thresholds --------------------------------------------------------------------------------------------------------

LIMITS = table(
    [
        ({"path": "EM", "value": "< 0"}, {"absolute_limit": "100", "severity": "critical"}),
        ({"path": "EM"}, {"absolute_limit": "500.005", "severity": "high"}),
        ({}, {"severity": "medium"}),
    ],
    inputs=[{"name": "path", "type": "texts"}, {"name": "value", "type": "decimal"}],
    outputs=[
        {"name": "absolute_limit", "type": "decimal", "required": False},
        {"name": "severity", "type": "choice", "options": ["medium", "high", "critical"]},
    ],
)
LIMIT_CASES = [{"label": "loss", "input": {"path": ["FX", "EM"], "value": "-1"}, "expected": {"absolute_limit": "100"}}]


async def _figures(world: World, **values: str) -> None:
    async with world.runtime.uow(SYSTEM) as uow:
        for code, value in values.items():
            await add_row(
                uow,
                "pnl_fact",
                business_date=DAY,
                book_id=world.nodes[code.replace("_", "-")],
                measure="actual",
                currency="EUR",
                source="book",
                version=1,
                value=Decimal(value),
                current=True,
            )


async def _threshold(world: World, node: str, **values: Any) -> Any:
    async with world.runtime.uow(SYSTEM) as uow:
        given = {"label": node, "node": str(world.nodes[node]), "measure": "actual", **values}
        return await create_record(uow, "pnl_threshold", given)


async def test_a_rule_decides_the_limit_and_the_severity_of_a_threshold(world: World) -> None:
    rule = await in_force(world, "LIMITS", LIMITS, tests=LIMIT_CASES, purpose="pnl_threshold", valid_from=DAY)
    for node in ("EM-1", "EM-2", "G10-1"):
        await _threshold(world, node, absolute_limit="1000", rule=str(rule))
    await _threshold(world, "G10-2", absolute_limit="1000")
    await _figures(world, EM_1="-100.01", EM_2="500.004", G10_1="-1000.01", G10_2="1000.01")
    async with world.runtime.uow(SYSTEM) as uow:
        found = await run_threshold_tests(uow, DAY, node_id=None, run_id=None)
        breaches, nodes = uow.table("breach"), uow.table("hierarchy_node")
        rows = await uow.execute(
            select(nodes.c.code, breaches.c.limit, breaches.c.severity)
            .join(nodes, nodes.c.id == breaches.c.book_id)
            .order_by(nodes.c.code)
        )
        stored = [(row.code, row._mapping["limit"], row.severity) for row in rows]
        kept = await uow.scalar(select(func.count()).select_from(uow.table("rule_evaluation")))
    assert [breach.node for breach in found] == ["EM-1", "G10-1", "G10-2"]
    assert stored == [("EM-1", 100, "critical"), ("G10-1", 1000, "medium"), ("G10-2", 1000, None)]
    assert kept == 3


async def test_a_threshold_whose_rule_cannot_decide_says_which(world: World) -> None:
    rule = await new_rule(world, "LIMITS", purpose="pnl_threshold")
    await _threshold(world, "EM-1", absolute_limit="1000", rule=str(rule))
    await _figures(world, EM_1="5")
    with pytest.raises(ValidationFailed, match="The rule LIMITS gives no limits"):
        async with world.runtime.uow(SYSTEM) as uow:
            await run_threshold_tests(uow, DAY, node_id=None, run_id=None)


async def test_who_uses_a_rule_is_listed_before_it_changes(world: World) -> None:
    rule = await in_force(world, "LIMITS", LIMITS, tests=LIMIT_CASES, purpose="pnl_threshold")
    for node in ("EM-1", "EM-2"):
        await _threshold(world, node, absolute_limit="1000", rule=str(rule))
    async with world.runtime.uow(world.actor("admin")) as uow:
        uses = await uses_of(uow, rule_id=rule, code="LIMITS")
    assert [(u.entity, u.count, [title for _, title in u.examples]) for u in uses] == [
        ("pnl_threshold", 2, ["EM-1", "EM-2"])
    ]


# -- routing -----------------------------------------------------------------------------------------------------------

ROUTING = table(
    [
        ({"critical": "true", "largest_breach": ">= 1000000"}, {"approval_levels": "3", "owner_role": "controller"}),
        ({"critical": "true"}, {"approval_levels": "2"}),
        ({"kind": "manual"}, {"skip": "yes", "reason": "Nothing to do on this day"}),
        ({}, {}),
    ],
    inputs=[
        {"name": "critical", "type": "boolean"},
        {"name": "kind", "type": "text"},
        {"name": "largest_breach", "type": "decimal", "required": False},
    ],
    outputs=[
        {"name": "approval_levels", "type": "integer", "required": False},
        {"name": "owner_role", "type": "text", "required": False},
        {"name": "skip", "type": "boolean", "required": False},
        {"name": "reason", "type": "text", "required": False},
    ],
)
ROUTING_CASES = [
    {"label": "critical", "input": {"critical": True, "kind": "manual"}, "expected": {"approval_levels": 2}}
]
FACTS = {"workflow": "DFX", "process": "COMMENT", "kind": "manual", "critical": True, "round": 1, "business_date": DAY}


async def test_a_rule_routes_processes_and_each_decision_is_kept(world: World) -> None:
    await in_force(world, "ROUTE", ROUTING, tests=ROUTING_CASES, purpose="process_routing")
    async with world.runtime.uow(SYSTEM) as uow:
        await add_row(uow, "role", code="controller", label="Controller")
        big, small, calm = uuid7(), uuid7(), uuid7()
        found = await route_processes(
            uow,
            code="ROUTE",
            moment=Moment.READY,
            processes=[
                (big, {**FACTS, "largest_breach": Decimal(1000000)}),
                (small, FACTS),
                (calm, {**FACTS, "critical": False}),
            ],
        )
        purposes = set((await uow.execute(select(uow.table("rule_evaluation").c.purpose))).scalars())
    assert (found[big].approval_levels, found[big].owner_role, found[big].skip) == (3, "controller", False)
    assert (found[small].approval_levels, found[small].owner_role) == (2, None)
    assert (found[calm].skip, found[calm].reason) == (True, "Nothing to do on this day")
    assert purposes == {"routing:ready"}
    assert {"kind", "critical", "largest_breach"} <= set(routing_facts())


async def test_a_rule_that_names_a_role_that_does_not_exist_is_refused(world: World) -> None:
    await in_force(world, "ROUTE", ROUTING, tests=ROUTING_CASES, purpose="process_routing")
    facts = {**FACTS, "largest_breach": Decimal(2000000)}
    async with world.runtime.uow(SYSTEM) as uow:
        with pytest.raises(RuleFailed, match="the role controller, which does not exist"):
            await route_process(uow, code="ROUTE", moment=Moment.SUBMIT, process_run_id=uuid7(), facts=facts)


async def test_drafts_decide_nothing(world: World) -> None:
    await draft(world, await new_rule(world))
    async with world.runtime.uow(SYSTEM) as uow:
        with pytest.raises(Exception, match="no version in force"):
            await evaluate(uow, code="SEVERITY", input=INPUT)


# -- guards and validation ---------------------------------------------------------------------------------------------

NOTIONAL: list[dict[str, Any]] = [
    {"name": "quantity", "type": "decimal"},
    {"name": "late", "type": "boolean", "required": False},
]


async def test_a_rule_guards_a_step_and_says_what_would_satisfy_it(world: World) -> None:
    content = table(
        [({"quantity": "<= 1000000"}, {"allowed": "yes"}), ({}, {"allowed": "no", "message": "Split the trade"})],
        inputs=NOTIONAL[:1],
        outputs=[{"name": "allowed", "type": "boolean"}, {"name": "message", "type": "text", "required": False}],
    )
    cases = [{"label": "small", "input": {"quantity": "1"}, "expected": {"allowed": True}}]
    await in_force(world, "SMALL", content, tests=cases, purpose="guard")
    trade = uuid7()
    record = {"id": trade, "quantity": Decimal("1000000.01"), "book": uuid7()}
    async with world.runtime.uow(SYSTEM) as uow:
        refused = await ask_guard(uow, code="SMALL", record=record, keep_for=("trade", trade, "guard:approve"))
        allowed = await ask_guard(uow, code="SMALL", record={**record, "quantity": Decimal(1)})
        kept = await uow.scalar(select(func.count()).select_from(uow.table("rule_evaluation")))
    assert (refused.allowed, refused.message, kept) == (False, "Split the trade", 1)
    assert (allowed.allowed, allowed.message) == (True, "")


async def test_a_rule_validates_a_record_field_by_field(world: World) -> None:
    content = table(
        [
            ({"quantity": "0"}, {"field": "'quantity'", "message": "must not be zero"}),
            ({"late": "yes"}, {"field": "late_reason", "message": "say why it is late"}),
        ],
        inputs=NOTIONAL,
        outputs=[{"name": "field", "type": "text"}, {"name": "message", "type": "text"}],
        hit_policy="collect",
    )
    cases = [{"label": "good", "input": {"quantity": "1"}, "expected": None}]
    await in_force(world, "TRADE_CHECK", content, tests=cases, purpose="field_validation")
    async with world.runtime.uow(SYSTEM) as uow:
        found = await validate_by_rule(uow, code="TRADE_CHECK", record={"quantity": Decimal("0.00"), "late": True})
        clean = await validate_by_rule(uow, code="TRADE_CHECK", record={"quantity": Decimal(5), "late": False})
    assert [(problem.path, problem.message) for problem in found] == [
        ("quantity", "must not be zero"),
        ("late_reason", "say why it is late"),
    ]
    assert clean == []
