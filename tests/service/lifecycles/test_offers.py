"""What records offer, decided like the steps themselves: guards that look around, rules, pages of records, the log."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, text

from app.core.actor import Actor
from app.core.errors import Conflict, Forbidden, NotFound, TransitionRefused
from app.domain.entities.service import create_record
from app.domain.lifecycles.bulk import Result, step_many
from app.domain.lifecycles.queries import log_of, steps_of, steps_of_many
from app.domain.lifecycles.transitions import transition_record
from app.domain.rules.drafts import save_draft as save_rule
from app.domain.rules.publishing import publish as publish_rule
from tests.factories import SYSTEM, World
from tests.service.lifecycles.conftest import CONFIRMATION, TRADE, publish_lifecycle

STATES = [{"name": "open", "category": "draft"}, {"name": "closed", "category": "final"}]


async def _trade(world: World, actor: Actor, **values: Any) -> UUID:
    async with world.runtime.uow(actor) as uow:
        given = {"counterparty": "Bank A", **TRADE, "book": str(world.nodes["G10-1"]), **values}
        id_: UUID = (await create_record(uow, "trade", given))["id"]
        return id_


async def _offer(world: World, actor: Actor, id_: UUID, name: str) -> Any:
    async with world.runtime.uow(actor) as uow:
        steps = await steps_of(uow, entity="trade", record_id=id_)
        return next(offer for offer in steps.offers if offer.step.name == name)


async def _take(world: World, actor: Actor, id_: UUID, name: str, **more: Any) -> Any:
    async with world.runtime.uow(actor) as uow:
        return await transition_record(uow, entity="trade", record_id=id_, name=name, expected_version=None, **more)


@contextmanager
def statements(world: World) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    engine = world.runtime.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def _guarded(world: World, guard: dict[str, Any], **more: Any) -> None:
    step = {"name": "close", "from": "open", "to": "closed", "guard": guard, **more}
    await publish_lifecycle(
        world,
        {"code": "guarded", "priority": 9, "states": STATES, "transitions": [{k: v for k, v in step.items() if v}]},
    )


@pytest.mark.parametrize(
    ("guard", "fits", "not_fitting"),
    [
        ({"book.parent.code": "G10"}, "G10-1", "EM-1"),
        ({"book.parent.parent.code": {"ne": "EM"}}, "G10-1", None),
        ({"not": {"book.code": {"starts_with": "EM"}}}, "G10-2", "EM-2"),
    ],
)
async def test_a_guard_looks_through_references_however_far(
    bank: World, guard: dict[str, Any], fits: str, not_fitting: str | None
) -> None:
    await _guarded(bank, guard)
    maker = await bank.stored_actor("preparer")
    good = await _trade(bank, maker, book=str(bank.nodes[fits]))
    assert (await _offer(bank, maker, good, "close")).allowed
    assert (await _take(bank, maker, good, "close")).to_state == "closed"
    if not_fitting:
        bad = await _trade(bank, maker, book=str(bank.nodes[not_fitting]))
        assert (await _offer(bank, maker, bad, "close")).refusal.guard == "guard"
        with pytest.raises(TransitionRefused, match="is possible only where"):
            await _take(bank, maker, bad, "close")


async def test_a_guard_asks_where_a_record_lies_in_its_tree(bank: World) -> None:
    await _guarded(bank, {"book": {"under": str(bank.nodes["G10"])}})
    maker = await bank.stored_actor("preparer")
    inside, outside = await _trade(bank, maker), await _trade(bank, maker, book=str(bank.nodes["EM-1"]))
    assert (await _offer(bank, maker, inside, "close")).allowed
    assert not (await _offer(bank, maker, outside, "close")).allowed
    assert (await _take(bank, maker, inside, "close")).to_state == "closed"


async def test_a_business_rule_allows_a_step_or_says_why_not_and_its_decision_is_kept(bank: World) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        given = {"code": "LIMITS", "label": "Limits", "kind": "expression", "purpose": "guard",
                 "application": str(bank.applications["PNL"])}  # fmt: skip
        rule = await create_record(uow, "rule", given)
        content = {
            "inputs": [{"name": "quantity", "type": "decimal", "required": True}],
            "outputs": [{"name": "allowed", "type": "boolean"}, {"name": "message", "type": "text"}],
            "formulas": {"allowed": "quantity <= 100", "message": "'More than a hundred needs the desk head.'"},
        }
        test = {"label": "Small", "input": {"quantity": "5"}, "expected": {"allowed": True}}
        saved = await save_rule(uow, rule_id=rule["id"], content=content, tests=[test])
        await publish_rule(uow, version_id=saved.version_id, notes="x")
    await _guarded(bank, {}, rule="LIMITS")
    maker = await bank.stored_actor("preparer")
    small, large = await _trade(bank, maker, quantity="7"), await _trade(bank, maker, quantity="101")
    assert (await _offer(bank, maker, small, "close")).allowed
    refused = await _offer(bank, maker, large, "close")
    assert (refused.refusal.guard, refused.refusal.detail) == ("rule", "More than a hundred needs the desk head.")
    with pytest.raises(TransitionRefused, match="More than a hundred"):
        await _take(bank, maker, large, "close")
    await _take(bank, maker, small, "close")
    async with bank.runtime.uow(SYSTEM) as uow:
        kept = (await uow.execute(text("SELECT record_id, purpose, input FROM rule_evaluation"))).all()
    assert [(row.record_id, row.purpose) for row in kept] == [(small, "transition:close")]


async def test_a_step_whose_rule_is_not_in_force_is_refused_and_not_let_through(bank: World) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        given = {"code": "LIMITS", "label": "Limits", "kind": "expression", "purpose": "guard",
                 "application": str(bank.applications["PNL"])}  # fmt: skip
        await create_record(uow, "rule", given)
    await _guarded(bank, {}, rule="LIMITS")
    maker = await bank.stored_actor("preparer")
    id_ = await _trade(bank, maker)
    offer = await _offer(bank, maker, id_, "close")
    assert offer.refusal.guard == "rule"
    assert "has no version in force" in offer.refusal.detail
    with pytest.raises(TransitionRefused):
        await _take(bank, maker, id_, "close")


async def test_what_is_offered_is_what_the_command_allows(bank: World) -> None:
    """Every step of every state for everybody: the verdict of the page and that of the command agree."""
    maker, checker = await bank.stored_actor("preparer"), await bank.stored_actor("controller")
    far = await bank.stored_actor("controller", node="EM")
    both = await bank.stored_actor("preparer", "controller")
    fresh, sent = await _trade(bank, maker), await _trade(bank, maker)
    own = await _trade(bank, both)
    await _take(bank, maker, sent, "submit")
    await _take(bank, both, own, "submit")
    for id_ in (fresh, sent, own):
        for actor in (maker, checker, both):
            async with bank.runtime.uow(actor) as uow:
                offers = (await steps_of(uow, entity="trade", record_id=id_)).offers
            for offer in offers:
                allowed = await _tried(bank, actor, id_, offer.step.name)
                assert offer.allowed is allowed, (offer.step.name, actor.roles)
    with pytest.raises(NotFound):
        await _offer(bank, far, fresh, "submit")


async def _tried(world: World, actor: Actor, id_: UUID, name: str) -> bool:
    """Whether the command takes the step; it is taken back."""
    try:
        async with world.runtime.uow(actor) as uow:
            await transition_record(
                uow, entity="trade", record_id=id_, name=name, expected_version=None, comment="Because"
            )
            raise _TakenBack
    except _TakenBack:
        return True
    except (Forbidden, TransitionRefused):
        return False


class _TakenBack(Exception):
    pass


async def test_a_page_of_records_costs_as_many_statements_as_one(bank: World) -> None:
    maker, checker = await bank.stored_actor("preparer"), await bank.stored_actor("controller", node="FX")
    ids = [await _trade(bank, maker) for _ in range(12)]
    for id_ in ids[::2]:
        await _take(bank, maker, id_, "submit")
    counts = []
    for some in (ids[:2], ids):
        async with bank.runtime.uow(checker) as uow:
            with statements(bank) as seen:
                found = await steps_of_many(uow, entity="trade", record_ids=some)
        assert set(found) == set(some)
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 5
    confirm = {id_: any(o.step.name == "confirm" and o.allowed for o in steps.offers) for id_, steps in found.items()}
    assert [confirm[id_] for id_ in ids] == [True, False] * 6


async def test_somebody_who_may_not_write_a_required_field_is_not_offered_the_step(bank: World) -> None:
    step = {
        "name": "close",
        "from": "open",
        "to": "closed",
        "roles": ["controller"],
        "require_fields": ["counterparty"],
    }
    await publish_lifecycle(bank, {"code": "asking", "priority": 9, "states": STATES, "transitions": [step]})
    maker, checker = await bank.stored_actor("preparer"), await bank.stored_actor("controller")
    bare = await _trade(bank, maker, counterparty=None)
    offer = await _offer(bank, checker, bare, "close")
    assert (offer.refusal.guard, offer.refusal.satisfy) == ("fields", "Fill in Counterparty.")


async def test_the_log_tells_steps_and_approvals_and_is_read_with_the_record_only(bank: World) -> None:
    maker, one, two = [await bank.stored_actor(role) for role in ("preparer", "controller", "controller")]
    id_ = await _trade(bank, maker)
    await _take(bank, maker, id_, "submit")
    await _take(bank, one, id_, "confirm", comment="Fine")
    await _take(bank, two, id_, "return", comment="Wrong book")
    await _take(bank, maker, id_, "submit")
    async with bank.runtime.uow(maker) as uow:
        log = await log_of(uow, entity="trade", record_id=id_)
    assert [(entry.name, entry.taken, entry.ended, entry.to_label) for entry in log] == [
        ("submit", True, False, "Submitted"),
        ("return", True, False, "Captured"),
        ("confirm", False, True, "Submitted"),
        ("submit", True, False, "Submitted"),
    ]
    far = await bank.stored_actor("preparer", node="EM")
    async with bank.runtime.uow(far) as uow:
        with pytest.raises(NotFound):
            await log_of(uow, entity="trade", record_id=id_)


async def test_a_version_that_does_not_fit_its_entity_any_more_is_said_and_breaks_nothing_else(bank: World) -> None:
    maker = await bank.stored_actor("preparer")
    id_ = await _trade(bank, maker)
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE lifecycle_transition SET guard = '{\"gone\": 1}' WHERE name = 'submit'"))
    bank.runtime.services["lifecycles"].versions.clear()
    await bank.runtime.reload_lifecycles()
    async with bank.runtime.uow(maker) as uow:
        with pytest.raises(Conflict, match="cannot be read: it does not fit trade"):
            await steps_of(uow, entity="trade", record_id=id_)
    async with bank.runtime.uow(maker) as uow:
        assert (await log_of(uow, entity="trade", record_id=id_)) == []
    assert await _trade(bank, maker) is not None


async def test_many_records_by_one_step_each_with_its_result_and_an_impossible_effect_undoes_all(bank: World) -> None:
    maker = await bank.stored_actor("preparer")
    fit, bare = await _trade(bank, maker), await _trade(bank, maker, counterparty=None)
    async with bank.runtime.uow(maker) as uow:
        results = await step_many(uow, entity="trade", name="submit", record_ids=[bare, fit, UUID(int=3)])
    assert [row.result for row in results] == [Result.REFUSED, Result.DONE, Result.NOT_FOUND]
    effect = {"kind": "create_record", "entity": "trade", "values": {"currency": "USD"}}
    step = {"name": "close", "from": "open", "to": "closed", "effects": [effect]}
    await publish_lifecycle(bank, {"code": "spoiling", "priority": 9, "states": STATES, "transitions": [step]})
    some = [await _trade(bank, maker) for _ in range(2)]
    with pytest.raises(TransitionRefused, match="is to create a trade"):
        async with bank.runtime.uow(maker) as uow:
            await step_many(uow, entity="trade", name="close", record_ids=some)
    async with bank.runtime.uow(SYSTEM) as uow:
        assert await uow.scalar(text("SELECT count(*) FROM record_transition WHERE name = 'close'")) == 0
    assert CONFIRMATION["code"] == "confirmation"
