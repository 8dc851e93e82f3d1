from datetime import timedelta

import pytest

from app.bootstrap import Runtime
from app.core.actor import ANONYMOUS, Actor, system_actor
from app.core.errors import Conflict, Forbidden, NotFound, ValidationFailed
from app.domain.access.accounts import (
    AccountKind,
    create_user,
    deactivate_user,
    find_account,
    list_accounts,
    lock_user,
    set_password,
    unlock_user,
)
from models.base import uuid7
from tests.service.identity.people import (
    EMAIL,
    PASSWORD,
    actor_of,
    admin,
    columns,
    everything_stored,
    grant,
    person,
    service_account,
    set_columns,
    signed_in,
    trail,
)


async def test_an_administrator_creates_an_account_whose_password_must_be_changed(runtime: Runtime) -> None:
    async with runtime.uow(admin()) as uow:
        id_ = await create_user(uow, email="New.Person@Bank.example", name=" New Person ", password=PASSWORD)
    row = await columns(runtime, "user", id_)
    assert (row["email"], row["name"], row["account_kind"]) == ("new.person@bank.example", "New Person", "person")
    assert row["must_change_password"]
    assert row["password_hash"].startswith("$argon2id$")
    (entry,) = await trail(runtime, "user.create")
    assert (entry["record_id"], entry["actor_name"], entry["after"]["email"]) == (id_, "Mara Lindqvist", row["email"])
    assert entry["allowed_by"]


async def test_no_hash_and_no_password_reaches_the_audit_trail(runtime: Runtime) -> None:
    id_ = await person(runtime)
    async with runtime.uow(admin()) as uow:
        await set_password(uow, user_id=id_, password="brass kettle 41 hums")
    stored = await everything_stored(runtime)
    assert "argon2" not in stored
    assert "brass kettle" not in stored
    assert PASSWORD not in stored


async def test_two_accounts_never_share_an_e_mail_address(runtime: Runtime) -> None:
    await person(runtime)
    with pytest.raises(Conflict, match="already"):
        await person(runtime, email=EMAIL.upper())


async def test_what_does_not_fit_is_named_field_by_field(runtime: Runtime) -> None:
    with pytest.raises(ValidationFailed) as refused:
        async with runtime.uow(system_actor()) as uow:
            await create_user(uow, email="nobody", name=" ", time_zone="Europe/Atlantis")
    assert {problem.path for problem in refused.value.problems} == {"email", "name", "time_zone"}


async def test_a_service_account_has_no_password(runtime: Runtime) -> None:
    with pytest.raises(ValidationFailed):
        async with runtime.uow(system_actor()) as uow:
            await create_user(uow, email="x@bank.example", name="X", password=PASSWORD, kind=AccountKind.SERVICE)
    id_ = await service_account(runtime)
    with pytest.raises(ValidationFailed):
        async with runtime.uow(system_actor()) as uow:
            await set_password(uow, user_id=id_, password=PASSWORD)


async def test_a_short_password_passes_for_the_demo_only(runtime: Runtime) -> None:
    async with runtime.uow(system_actor()) as uow:
        await create_user(uow, email="a@bank.example", name="A B", password="fx-close", demo=True)
    with pytest.raises(ValidationFailed):
        async with runtime.uow(system_actor()) as uow:
            await create_user(uow, email="b@bank.example", name="B C", password="fx-close")


async def test_people_without_the_role_and_strangers_manage_no_accounts(runtime: Runtime) -> None:
    id_ = await person(runtime)
    other = await person(runtime, email="other@bank.example", name="Other Person")
    await grant(runtime, id_, "preparer")
    actor = await actor_of(runtime, await signed_in(runtime))
    nobody: Actor = ANONYMOUS
    for who in (actor, nobody):
        with pytest.raises((Forbidden, NotFound)):
            async with runtime.uow(who) as uow:
                await create_user(uow, email="x@bank.example", name="X Y", password=PASSWORD)
        for change in (lock_user, unlock_user, deactivate_user):
            with pytest.raises((Forbidden, NotFound)):
                async with runtime.uow(who) as uow:
                    await change(uow, user_id=other, reason="because")
    row = await columns(runtime, "user", other)
    assert (row["active"], row["locked_until"]) == (True, None)


async def test_nobody_locks_or_deactivates_their_own_account(runtime: Runtime) -> None:
    id_ = await person(runtime)
    for change in (lock_user, deactivate_user):
        with pytest.raises(Conflict, match="your own"):
            async with runtime.uow(admin(id_)) as uow:
                await change(uow, user_id=id_, reason="mistake")


async def test_an_unknown_user_is_not_found(runtime: Runtime) -> None:
    for change in (lock_user, unlock_user, deactivate_user):
        with pytest.raises(NotFound):
            async with runtime.uow(system_actor()) as uow:
                await change(uow, user_id=uuid7(), reason="because")


async def test_an_unlock_ends_a_pause_and_forgets_the_failures(runtime: Runtime) -> None:
    id_ = await person(runtime)
    until = runtime.clock.real() + timedelta(hours=1)
    await set_columns(runtime, "user", id_, failed_sign_ins=9, locked_until=until)
    async with runtime.uow(admin()) as uow:
        await unlock_user(uow, user_id=id_, reason="identity confirmed by phone")
    row = await columns(runtime, "user", id_)
    assert (row["failed_sign_ins"], row["locked_until"]) == (0, None)
    (entry,) = await trail(runtime, "user.unlock")
    assert entry["reason"] == "identity confirmed by phone"


async def test_a_new_password_does_not_lift_an_administrators_lock(runtime: Runtime) -> None:
    id_ = await person(runtime)
    async with runtime.uow(admin()) as uow:
        await lock_user(uow, user_id=id_, reason="investigation")
    async with runtime.uow(admin()) as uow:
        await set_password(uow, user_id=id_, password="brass kettle 41 hums")
    async with runtime.uow(system_actor()) as uow:
        account = await find_account(uow, email=EMAIL)
    assert account.is_locked(now=runtime.clock.real() + timedelta(days=3_650))


async def test_accounts_are_listed_by_name(runtime: Runtime) -> None:
    await person(runtime, email="z@bank.example", name="Anna")
    await person(runtime, email="a@bank.example", name="Zoe")
    async with runtime.uow(system_actor()) as uow:
        assert [account.name for account in await list_accounts(uow)] == ["Anna", "Zoe"]
