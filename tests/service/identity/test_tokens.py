import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from app.bootstrap import Runtime
from app.core.actor import Actor, ActorKind
from app.core.errors import Forbidden, NotFound, RateLimited, ValidationFailed
from app.domain.access.accounts import deactivate_user, lock_user, unlock_user
from app.domain.access.tokens import LoadedToken, NewToken, create_token, identify_token, list_tokens, revoke_token
from tests.service.identity.people import (
    IP,
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


async def made(
    runtime: Runtime, actor: Actor, *, user_id: UUID | None = None, read_only: bool = False, label: str = "Export"
) -> NewToken:
    async with runtime.uow(actor) as uow:
        owner = user_id or actor.id
        assert owner is not None
        return await create_token(uow, user_id=owner, label=label, read_only=read_only)


async def loaded(runtime: Runtime, token: str) -> LoadedToken | None:
    return await identify_token(runtime, token=token, ip=IP)


async def someone(runtime: Runtime) -> Actor:
    await person(runtime)
    return await actor_of(runtime, await signed_in(runtime))


async def test_a_token_acts_for_its_owner_with_the_grants_in_force(runtime: Runtime) -> None:
    id_ = await person(runtime)
    await grant(runtime, id_, "preparer")
    await grant(runtime, id_, "controller", valid_until=runtime.clock.now() - timedelta(seconds=1))
    new = await made(runtime, await actor_of(runtime, await signed_in(runtime)))
    known = await loaded(runtime, new.token)
    assert known is not None
    assert (known.actor.id, known.actor.kind, known.actor.roles) == (id_, ActorKind.USER, frozenset({"preparer"}))
    assert (known.actor.session_id, known.actor.read_only, known.actor.ip) == (None, False, IP)


async def test_a_token_is_shown_once_and_only_its_hash_is_kept(runtime: Runtime) -> None:
    actor = await someone(runtime)
    new = await made(runtime, actor)
    assert new.token.startswith(f"{new.line.prefix}_")
    assert len(new.token.removeprefix(f"{new.line.prefix}_")) == 43
    secret = new.token.removeprefix(new.line.prefix)
    assert secret not in await everything_stored(runtime)
    row = await columns(runtime, "access_token", new.line.id)
    async with runtime.uow(actor) as uow:
        (line,) = await list_tokens(uow)
    assert row["token_hash"] not in repr(line)
    (entry,) = await trail(runtime, "access_token.create")
    assert row["token_hash"] not in repr(entry)
    assert entry["record_id"] == new.line.id


async def test_a_read_only_token_says_so_in_its_actor(runtime: Runtime) -> None:
    new = await made(runtime, await someone(runtime), read_only=True)
    known = await loaded(runtime, new.token)
    assert known is not None
    assert known.actor.read_only


async def test_a_read_only_token_cannot_revoke_its_owners_tokens(runtime: Runtime) -> None:
    actor = await someone(runtime)
    new = await made(runtime, actor, read_only=True)
    known = await loaded(runtime, new.token)
    assert known is not None
    with pytest.raises(Forbidden):
        async with runtime.uow(known.actor) as uow:
            await revoke_token(uow, token_id=new.line.id)
    assert await loaded(runtime, new.token) is not None


async def test_a_token_cannot_make_a_token(runtime: Runtime) -> None:
    new = await made(runtime, await someone(runtime))
    known = await loaded(runtime, new.token)
    assert known is not None
    with pytest.raises(Forbidden, match="Sign in"):
        await made(runtime, known.actor)


async def test_a_revoked_token_is_refused_at_once(runtime: Runtime) -> None:
    actor = await someone(runtime)
    new = await made(runtime, actor)
    assert await loaded(runtime, new.token) is not None
    async with runtime.uow(actor) as uow:
        await revoke_token(uow, token_id=new.line.id)
    assert await loaded(runtime, new.token) is None
    async with runtime.uow(actor) as uow:
        (line,) = await list_tokens(uow)
    assert line.revoked_at is not None


async def test_an_expired_token_is_refused_whatever_the_demos_time_is(runtime: Runtime) -> None:
    new = await made(runtime, await someone(runtime))
    runtime.clock.shift = timedelta(days=400)
    assert await loaded(runtime, new.token) is not None
    runtime.clock.shift = timedelta(days=-400)
    await set_columns(runtime, "access_token", new.line.id, expires_at=runtime.clock.real())
    assert await loaded(runtime, new.token) is None


async def test_a_deactivated_users_token_is_refused_for_good(runtime: Runtime) -> None:
    actor = await someone(runtime)
    new = await made(runtime, actor)
    assert actor.id is not None
    async with runtime.uow(admin()) as uow:
        await deactivate_user(uow, user_id=actor.id, reason="left the bank")
    assert await loaded(runtime, new.token) is None
    await set_columns(runtime, "user", actor.id, active=True)
    assert await loaded(runtime, new.token) is None


async def test_a_locked_users_token_is_refused_until_the_unlock(runtime: Runtime) -> None:
    actor = await someone(runtime)
    new = await made(runtime, actor)
    assert actor.id is not None
    async with runtime.uow(admin()) as uow:
        await lock_user(uow, user_id=actor.id, reason="badge lost")
    assert await loaded(runtime, new.token) is None
    async with runtime.uow(admin()) as uow:
        await unlock_user(uow, user_id=actor.id, reason="badge found")
    assert await loaded(runtime, new.token) is not None


async def test_last_used_is_written_at_most_once_a_minute(runtime: Runtime) -> None:
    new = await made(runtime, await someone(runtime))
    await loaded(runtime, new.token)
    first: datetime = (await columns(runtime, "access_token", new.line.id))["last_used_at"]
    await loaded(runtime, new.token)
    assert (await columns(runtime, "access_token", new.line.id))["last_used_at"] == first
    await set_columns(runtime, "access_token", new.line.id, last_used_at=first - timedelta(minutes=1))
    await loaded(runtime, new.token)
    assert (await columns(runtime, "access_token", new.line.id))["last_used_at"] >= first


async def test_an_administrator_makes_tokens_for_service_accounts_and_for_no_person(runtime: Runtime) -> None:
    service, other = await service_account(runtime), await person(runtime)
    new = await made(runtime, admin(), user_id=service)
    known = await loaded(runtime, new.token)
    assert known is not None
    assert (known.actor.id, known.actor.kind) == (service, ActorKind.SERVICE)
    with pytest.raises(Forbidden, match="their own"):
        await made(runtime, admin(), user_id=other)


async def test_nobody_else_makes_a_token_for_a_service_account(runtime: Runtime) -> None:
    service = await service_account(runtime)
    id_ = await person(runtime)
    await grant(runtime, id_, "preparer")
    actor = await actor_of(runtime, await signed_in(runtime))
    with pytest.raises(Forbidden):
        await made(runtime, actor, user_id=service)


async def test_a_person_cannot_revoke_anothers_token_nor_learn_of_it(runtime: Runtime) -> None:
    id_ = await person(runtime)
    await grant(runtime, id_, "preparer")
    mine = await actor_of(runtime, await signed_in(runtime))
    await person(runtime, email="other@bank.example", name="Other Person")
    theirs = await made(runtime, await actor_of(runtime, await signed_in(runtime, email="other@bank.example")))
    with pytest.raises(NotFound):
        async with runtime.uow(mine) as uow:
            await revoke_token(uow, token_id=theirs.line.id)
    assert await loaded(runtime, theirs.token) is not None


@pytest.mark.parametrize(
    ("label", "days", "path"),
    [
        ("", 1, "label"),
        ("x" * 121, 1, "label"),
        ("a\nb", 1, "label"),
        ("ok", 0, "expires_at"),
        ("ok", 367, "expires_at"),
    ],
)
async def test_a_token_needs_a_label_and_an_end_within_a_year(
    runtime: Runtime, label: str, days: int, path: str
) -> None:
    actor = await someone(runtime)
    assert actor.id is not None
    end = runtime.clock.real() + timedelta(days=days)
    with pytest.raises(ValidationFailed) as refused:
        async with runtime.uow(actor) as uow:
            await create_token(uow, user_id=actor.id, label=label, read_only=True, expires_at=end)
    assert [problem.path for problem in refused.value.problems] == [path]


async def test_made_up_tokens_are_braked_and_a_good_one_is_not(runtime: Runtime) -> None:
    new = await made(runtime, await someone(runtime))
    for _ in range(100):
        assert await loaded(runtime, new.token) is not None
    for number in range(60):
        assert await loaded(runtime, f"{new.token}{number}") is None
    more = (loaded(runtime, f"{new.token}x{number}") for number in range(60))
    answers = await asyncio.gather(*more, return_exceptions=True)
    assert sum(isinstance(answer, RateLimited) for answer in answers) > 20
    assert await identify_token(runtime, token=new.token, ip="192.0.2.50") is not None
