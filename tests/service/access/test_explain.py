"""Explanations agree with what is refused and filtered, and tell nobody what they may not see."""

from uuid import UUID

import pytest

from app.core.actor import Actor
from app.core.errors import Forbidden, NotFound
from app.domain.access.explain import explain, who_can
from app.domain.access.grants import grant_role, load_grants
from app.domain.access.scope import record_in_scope
from tests.factories import SYSTEM
from tests.service.access.conftest import Bank, add_row


async def employ(bank: Bank, name: str, *roles: tuple[str, str | None], application: str = "PNL") -> Actor:
    """A stored person with stored grants, as the actor they are after signing in."""
    user_id = await bank.user(f"{name.lower()}@bank.example", name=name)
    async with bank.runtime.uow(SYSTEM) as uow:
        for role, node in roles:
            node_id = bank.nodes[node] if node else None
            await grant_role(
                uow, user_id=user_id, role=role, application=application, node_id=node_id, reason="employed"
            )
        return Actor(user_id, name, grants=await load_grants(uow, user_id, uow.now))


@pytest.fixture
async def staff(bank: Bank) -> dict[str, Actor]:
    return {
        "Ada": await employ(bank, "Ada", ("auditor", None)),
        "Ben": await employ(bank, "Ben", ("preparer", "G10"), ("controller", "EM")),
        "Cleo": await employ(bank, "Cleo", ("controller", None)),
        "Dan": await employ(bank, "Dan", ("operations", None), application="TREASURY"),
    }


async def test_the_chain_names_the_grant_the_line_and_the_place(bank: Bank, staff: dict[str, Actor]) -> None:
    ben = staff["Ben"]
    async with bank.runtime.uow(staff["Ada"]) as uow:
        told = await explain(
            uow, user_id=ben.id or UUID(int=0), action="update", entity="trade", record_id=bank.ids["trade G10-1"]
        )
    assert told.allowed
    assert told.node == "G10-1"
    assert told.application == "PNL"
    assert "update trade (policies/finance.csv line" in (told.allowed_by or "")
    by_role = {verdict.grant.role: verdict for verdict in told.grants}
    assert (by_role["preparer"].counts, by_role["preparer"].covers_record) == (True, True)
    assert by_role["controller"].said == "no line of the policy allows controller to update trade"


async def test_a_record_elsewhere_is_explained_as_outside(bank: Bank, staff: dict[str, Actor]) -> None:
    async with bank.runtime.uow(staff["Ada"]) as uow:
        told = await explain(
            uow,
            user_id=staff["Ben"].id or UUID(int=0),
            action="update",
            entity="trade",
            record_id=bank.ids["trade EM-1"],
        )
    assert not told.allowed
    assert told.allowed_by is None
    assert [v.covers_record for v in told.grants if v.grant.role == "preparer"] == [False]
    assert "lies in another part" in told.verdict


async def test_a_missing_permission_and_a_deny_are_told_apart(bank: Bank, staff: dict[str, Actor]) -> None:
    boss = await employ(bank, "Boss", ("admin", None), application="PLATFORM")
    async with bank.runtime.uow(boss) as uow:
        assert boss.id is not None
        told = await explain(uow, user_id=boss.id, action="transition:approve", entity="process_run")
        assert not told.allowed
        assert "denied, whatever else allows it: deny admin in every application" in told.grants[0].said
        other = await explain(uow, user_id=staff["Dan"].id or UUID(int=0), action="create", entity="trade")
        assert other.verdict.startswith("Dan may not create trades")
        assert "it is a grant in TREASURY, and trades belong to PNL" in other.grants[0].said


async def test_anybody_may_ask_about_themselves_and_only_auditors_and_administrators_about_others(
    bank: Bank, staff: dict[str, Actor]
) -> None:
    ben, cleo = staff["Ben"], staff["Cleo"]
    assert ben.id is not None
    assert cleo.id is not None
    async with bank.runtime.uow(ben) as uow:
        mine = await explain(uow, user_id=ben.id, action="create", entity="trade")
        assert mine.allowed
        with pytest.raises(Forbidden):
            await explain(uow, user_id=cleo.id, action="read", entity="trade")
        with pytest.raises(Forbidden):
            await who_can(uow, "read", "trade")


async def test_an_explanation_does_not_reveal_a_record_out_of_sight(bank: Bank, staff: dict[str, Actor]) -> None:
    ben = staff["Ben"]
    assert ben.id is not None
    async with bank.runtime.uow(ben) as uow:
        hidden = await explain(
            uow, user_id=ben.id, action="read", entity="process_run", record_id=bank.ids["run TREASURY"]
        )
        missing = await explain(uow, user_id=ben.id, action="read", entity="process_run", record_id=UUID(int=3))
    assert (hidden.node, hidden.verdict, hidden.allowed) == (missing.node, missing.verdict, missing.allowed)
    async with bank.runtime.uow(await employ(bank, "Eve", ("auditor", "G10"))) as uow:
        with pytest.raises(NotFound):
            await explain(uow, user_id=ben.id, action="read", entity="trade", record_id=bank.ids["trade EM-1"])


async def test_who_can_is_everybody_of_whom_the_scope_says_so(bank: Bank, staff: dict[str, Actor]) -> None:
    people = {**staff, "Boss": await employ(bank, "Boss", ("admin", None), application="PLATFORM")}
    cases = [
        (action, entity, name)
        for entity, actions, names in (
            ("trade", ("read", "update"), ("trade G10-1", "trade EM-2")),
            ("process_run", ("read", "transition:approve"), ("process EM", "process FX", "process TREASURY G10")),
            ("job_run", ("read",), ("job none", "job G10")),
        )
        for action in actions
        for name in names
    ]
    answers = []
    for action, entity, name in cases:
        expected = set()
        for person, actor in people.items():
            async with bank.runtime.uow(actor) as uow:
                if await record_in_scope(uow, action, entity, bank.ids[name]):
                    expected.add(person)
        async with bank.runtime.uow(people["Boss"]) as uow:
            holders = await who_can(uow, action, entity, bank.ids[name])
        assert {holder.name for holder in holders} == expected, (action, name)
        answers.append(frozenset(expected))
    assert len(set(answers)) >= 5, "answers that are all alike would prove nothing"


async def test_who_can_follows_row_conditions_person_by_person(bank: Bank, staff: dict[str, Actor]) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        note = await add_row(
            uow, "notification", user_id=staff["Ben"].id, kind="system", title="T", at=uow.now, dedup_key="k"
        )
    async with bank.runtime.uow(SYSTEM) as uow:
        assert [holder.name for holder in await who_can(uow, "read", "notification", note)] == ["Ben"]
        assert [holder.name for holder in await who_can(uow, "create", "trade")] == ["Ben"]


async def test_closed_fields_are_part_of_the_explanation(bank: Bank, staff: dict[str, Actor]) -> None:
    ben = staff["Ben"]
    assert ben.id is not None
    async with bank.runtime.uow(ben) as uow:
        told = await explain(uow, user_id=ben.id, action="read", entity="user")
    closed = {field.name: field.mode for field in told.fields}
    assert closed["last_sign_in_at"] is None
    assert "email" not in closed
    assert "password_hash" not in closed
