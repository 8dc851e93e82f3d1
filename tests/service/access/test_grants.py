"""Giving and revoking roles: who may, what conflicts, what is recorded, who learns of it."""

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import insert, select, text, update

from app.core.actor import Actor
from app.core.db import asyncpg_dsn
from app.core.errors import Conflict, Forbidden, NotFound, ValidationFailed
from app.core.events import RecordCreated, RecordUpdated
from app.domain.access.decisions import decide
from app.domain.access.grants import check_written_grant, grant_role, load_grants, revoke_grant, touch_policy
from app.domain.access.policy import load_policy
from models.system.tables import audit_entry
from tests.factories import SYSTEM
from tests.service.access.conftest import Bank, add_row

REASON = "joined the desk"


@pytest.fixture
async def person(bank: Bank) -> UUID:
    return await bank.user("person@bank.example")


@pytest.fixture
def admin(bank: Bank) -> Actor:
    return bank.actor("admin", application="PLATFORM")


async def give(bank: Bank, actor: Actor, user_id: UUID, role: str, node: str | None = None, **values: object) -> UUID:
    node_id = bank.nodes[node] if node else None
    given = {"application": "PNL", "reason": REASON, **values}
    async with bank.runtime.uow(actor) as uow:
        return await grant_role(uow, user_id=user_id, role=role, node_id=node_id, **given)  # type: ignore[arg-type]


async def test_a_granted_role_is_in_force_with_its_place(bank: Bank, admin: Actor, person: UUID) -> None:
    id_ = await give(bank, admin, person, "preparer", "G10")
    async with bank.runtime.uow(SYSTEM) as uow:
        (grant,) = await load_grants(uow, person, uow.now)
        assert (grant.id, grant.role, grant.application) == (id_, "preparer", "PNL")
        assert grant.node_id == bank.nodes["G10"]
        assert grant.node_path == bank.path("G10")


async def test_grants_out_of_force_are_not_loaded(bank: Bank, admin: Actor, person: UUID) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        soon = uow.now + timedelta(hours=1)
    await give(bank, admin, person, "preparer", valid_until=soon)
    await give(bank, admin, person, "operations", application="TREASURY")
    async with bank.runtime.uow(SYSTEM) as uow:
        assert [g.role for g in await load_grants(uow, person, uow.now)] == ["preparer", "operations"]
        assert [g.role for g in await load_grants(uow, person, soon)] == ["operations"]
        assert await load_grants(uow, person, uow.now - timedelta(days=1)) == ()
        apps = uow.table("application")
        await uow.execute(update(apps).where(apps.c.code == "TREASURY").values(active=False))
        assert [g.role for g in await load_grants(uow, person, uow.now)] == ["preparer"]


async def test_only_administrators_of_the_platform_grant_and_revoke(bank: Bank, admin: Actor, person: UUID) -> None:
    for actor in (bank.actor("admin"), bank.actor("controller"), bank.actor("auditor", application="PLATFORM")):
        with pytest.raises(Forbidden):
            await give(bank, actor, person, "preparer")
    id_ = await give(bank, admin, person, "preparer")
    async with bank.runtime.uow(bank.actor("admin")) as uow:
        with pytest.raises(Forbidden):
            await revoke_grant(uow, grant_id=id_, reason=REASON)


async def test_conflicting_roles_are_refused_where_they_overlap(bank: Bank, admin: Actor, person: UUID) -> None:
    await give(bank, admin, person, "preparer", "G10")
    with pytest.raises(Conflict, match=r"Controller in PNL conflicts with Preparer in PNL.*must not check it"):
        await give(bank, admin, person, "controller", "G10-1")
    with pytest.raises(Conflict):
        await give(bank, admin, person, "controller")
    with pytest.raises(Conflict, match="who audits must not do the work"):
        await give(bank, admin, person, "auditor", application="PLATFORM")
    await give(bank, admin, person, "controller", "EM")
    await give(bank, admin, person, "controller", application="TREASURY")


async def test_a_conflict_ends_with_the_grant(bank: Bank, admin: Actor, person: UUID) -> None:
    id_ = await give(bank, admin, person, "preparer")
    async with bank.runtime.uow(admin) as uow:
        await revoke_grant(uow, grant_id=id_, reason="moved to product control")
    await give(bank, admin, person, "controller")


async def test_of_two_conflicting_grants_given_at_once_one_wins(bank: Bank, admin: Actor, person: UUID) -> None:
    attempts = [give(bank, admin, person, role) for role in ("preparer", "controller") * 4]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert len([r for r in results if isinstance(r, UUID)]) == 1
    assert all(isinstance(r, UUID | Conflict) for r in results)


async def test_what_is_wrong_with_a_grant_is_said_field_by_field(bank: Bank, admin: Actor, person: UUID) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        past = uow.now - timedelta(days=1)
    with pytest.raises(ValidationFailed) as refused:
        await give(bank, admin, UUID(int=5), "boss", application="NOWHERE", valid_until=past, reason=" ")
    messages = {problem.path: problem.message for problem in refused.value.problems}
    assert messages.keys() == {"user", "role", "application", "valid_until", "reason"}
    assert "there is: admin, auditor, controller" in messages["role"]


async def test_granting_is_audited_and_all_processes_are_told(bank: Bank, admin: Actor, person: UUID) -> None:
    heard: list[str] = []
    listener = await asyncpg.connect(asyncpg_dsn(bank.runtime.engine))
    try:
        await listener.add_listener("steps_live", lambda *args: heard.append(args[-1]))
        id_ = await give(bank, admin, person, "preparer", "G10")
        await listener.execute("SELECT 1")
    finally:
        await listener.close()
    assert "policy" in heard[0].split(",")
    async with bank.runtime.uow(admin) as uow:
        await revoke_grant(uow, grant_id=id_, reason="left")
    async with bank.runtime.uow(SYSTEM) as uow:
        entries = (
            await uow.execute(
                select(audit_entry).where(audit_entry.c.record_id == id_).order_by(audit_entry.c.sequence)
            )
        ).all()
    assert [(e.command, e.reason) for e in entries] == [
        ("access.grant_role", REASON), ("access.revoke_grant", "left"),
    ]  # fmt: skip
    assert entries[0].after["role"] == "preparer"
    assert entries[0].grant_id == admin.grants[0].id
    assert "in PLATFORM: create *" in entries[0].allowed_by


async def test_the_last_administrator_cannot_be_revoked(bank: Bank, admin: Actor, person: UUID) -> None:
    first = await give(bank, admin, person, "admin", application="PLATFORM")
    async with bank.runtime.uow(admin) as uow:
        with pytest.raises(Conflict, match="last administrator"):
            await revoke_grant(uow, grant_id=first, reason="left")
    second = await bank.user("second@bank.example")
    await give(bank, admin, second, "admin", application="PLATFORM")
    async with bank.runtime.uow(admin) as uow:
        await revoke_grant(uow, grant_id=first, reason="left")
        with pytest.raises(Conflict, match="revoked already"):
            await revoke_grant(uow, grant_id=first, reason="left")
        with pytest.raises(NotFound):
            await revoke_grant(uow, grant_id=UUID(int=9), reason="left")


async def test_the_last_administrator_gets_no_end_by_a_form_either(bank: Bank, admin: Actor, person: UUID) -> None:
    id_ = await give(bank, admin, person, "admin", application="PLATFORM")
    async with bank.runtime.uow(SYSTEM) as uow:
        grants = uow.table("role_grant")
        end = uow.now + timedelta(days=1)
        await uow.execute(update(grants).where(grants.c.id == id_).values(valid_until=end))
        with pytest.raises(Conflict, match="last administrator"):
            await check_written_grant(
                uow, RecordUpdated(at=uow.now, entity="role_grant", record_id=id_, fields=("valid_until",))
            )
        await uow.connection.rollback()


async def test_grants_are_never_deleted(bank: Bank, admin: Actor) -> None:
    assert decide(bank.runtime.policy, bank.runtime.registry, admin, "delete", "role_grant") is None


async def test_a_grant_written_through_a_form_obeys_the_same_rules(bank: Bank, admin: Actor, person: UUID) -> None:
    await give(bank, admin, person, "preparer")
    async with bank.runtime.uow(SYSTEM) as uow:
        roles = uow.table("role")
        controller = await uow.scalar(select(roles.c.id).where(roles.c.code == "controller"))
        id_ = await add_row(
            uow, "role_grant", user_id=person, role_id=controller, valid_from=uow.now,
            application_id=bank.applications["PNL"],
        )  # fmt: skip
        with pytest.raises(Conflict, match="must not check it"):
            await check_written_grant(uow, RecordCreated(at=uow.now, entity="role_grant", record_id=id_))
        await uow.connection.rollback()


async def test_a_policy_line_in_a_row_layers_over_the_files_after_loading(bank: Bank) -> None:
    runtime, actor = bank.runtime, bank.actor("preparer")
    assert decide(runtime.policy, runtime.registry, actor, "create", "trade")
    async with runtime.uow(SYSTEM) as uow:
        id_ = await add_row(
            uow, "policy_line", role="preparer", application="PNL", entity="trade", action="create", effect="deny"
        )
        await touch_policy(uow, RecordCreated(at=uow.now, entity="policy_line", record_id=id_))
    await runtime.reload_policy()
    assert decide(runtime.policy, runtime.registry, actor, "create", "trade") is None
    assert decide(runtime.policy, runtime.registry, actor, "update", "trade")
    explained = runtime.policy.verdict(frozenset({"preparer"}), "PNL", "trade", "create")
    assert explained is not None
    assert explained.source == f"policy line {id_}"


async def test_a_policy_whose_rows_cannot_be_read_is_not_loaded(bank: Bank) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("ALTER TABLE policy_line RENAME COLUMN effect TO outcome"))
    with pytest.raises(Exception, match="effect"):
        await load_policy(bank.runtime.engine, bank.runtime.registry)
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("DROP TABLE policy_line"))
    policy = await load_policy(bank.runtime.engine, bank.runtime.registry)
    assert policy.allows(frozenset({"preparer"}), "PNL", "trade", "create")


async def test_loading_grants_takes_one_statement(bank: Bank, admin: Actor, person: UUID) -> None:
    await give(bank, admin, person, "preparer")
    async with bank.runtime.engine.connect() as connection:
        async with bank.runtime.uow(SYSTEM) as uow:
            now = uow.now
        grants = await load_grants(connection, person, now)
    assert [grant.role for grant in grants] == ["preparer"]


async def test_an_administrator_denied_by_a_row_may_still_read(bank: Bank) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        lines = uow.table("policy_line")
        stamp = {"created_at": uow.now, "updated_at": uow.now, "row_version": 1}
        await uow.execute(
            insert(lines).values(
                id=UUID(int=1), role="admin", application="*", entity="*", action="transition:*", effect="deny", **stamp
            )
        )
    await bank.runtime.reload_policy()
    admin = bank.actor("admin")
    assert decide(bank.runtime.policy, bank.runtime.registry, admin, "transition:hold", "process_run") is None
    assert decide(bank.runtime.policy, bank.runtime.registry, admin, "read", "process_run")
