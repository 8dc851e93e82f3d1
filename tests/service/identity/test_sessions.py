from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import event, insert

from app.bootstrap import Runtime
from app.core.actor import ANONYMOUS, Grant, system_actor
from app.core.errors import NotFound, Unauthenticated
from app.core.events import RecordDeleted, RecordUpdated
from app.domain.access.accounts import (
    deactivate_user,
    end_access_of_deleted_user,
    end_access_of_inactive_user,
    lock_user,
    unlock_user,
)
from app.domain.access.grants import load_grants
from app.domain.access.sessions import list_sessions, load_session, revoke_session, sign_out_everywhere
from models.base import uuid7
from tests.service.identity.people import (
    AGENT,
    EMAIL,
    IP,
    actor_of,
    admin,
    columns,
    everything_stored,
    grant,
    person,
    session_of,
    set_columns,
    signed_in,
)


async def test_a_session_its_user_and_grants_are_read_in_one_statement(runtime: Runtime) -> None:
    id_ = await person(runtime)
    granted = await grant(runtime, id_, "preparer")
    signed = await signed_in(runtime)
    statements: list[str] = []
    engine = runtime.engine.sync_engine

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        session = await session_of(runtime, signed)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert len(statements) == 1
    assert session is not None
    assert session.actor.grants == (Grant(granted, "preparer", "PNL"),)


async def test_the_grants_of_a_session_are_those_in_force(runtime: Runtime) -> None:
    id_ = await person(runtime)
    now = runtime.clock.now()
    await grant(runtime, id_, "preparer", valid_until=now + timedelta(hours=1))
    await grant(runtime, id_, "controller", valid_until=now - timedelta(seconds=1))
    await grant(runtime, id_, "auditor", revoked=True)
    await grant(runtime, id_, "operations", valid_from=now + timedelta(hours=1))
    await grant(runtime, id_, "desk_head", application="OLD", active=False)
    actor = await actor_of(runtime, await signed_in(runtime))
    assert actor.roles == {"preparer"}
    async with runtime.uow(system_actor()) as uow:
        assert actor.grants == await load_grants(uow, id_, uow.now)


async def test_a_grant_below_a_node_carries_the_nodes_path(runtime: Runtime) -> None:
    id_ = await person(runtime)
    granted = await grant(runtime, id_, "preparer")
    now = runtime.clock.now()
    stamp = {"created_at": now, "updated_at": now}
    hierarchy, node = uuid7(), uuid7()
    async with runtime.uow(system_actor()) as uow:
        await uow.execute(insert(uow.table("hierarchy")).values(id=hierarchy, code="DESK", label="Desk", **stamp))
        await uow.execute(
            insert(uow.table("hierarchy_node")).values(
                id=node, hierarchy_id=hierarchy, code="FX", label="FX", path="DESK.FX", valid_from=now.date(), **stamp
            )
        )
    await set_columns(runtime, "role_grant", granted, node_id=node)
    (held,) = (await actor_of(runtime, await signed_in(runtime))).grants
    assert (held.node_id, held.node_path) == (node, "DESK.FX")


async def test_only_hashes_of_session_tokens_are_stored(runtime: Runtime) -> None:
    await person(runtime)
    signed = await signed_in(runtime)
    row = await columns(runtime, "user_session", signed.session_id)
    assert signed.session_token not in row.values()
    assert len(row["token_hash"]) == 64
    assert signed.session_token not in await everything_stored(runtime)
    assert (row["ip"], row["user_agent"]) == (IP, AGENT)


async def test_a_session_ends_after_eight_idle_hours(runtime: Runtime) -> None:
    await person(runtime)
    signed = await signed_in(runtime)
    now = runtime.clock.real()
    await set_columns(runtime, "user_session", signed.session_id, last_seen_at=now - timedelta(hours=7, minutes=59))
    assert await session_of(runtime, signed) is not None
    await set_columns(runtime, "user_session", signed.session_id, last_seen_at=now - timedelta(hours=8, seconds=1))
    assert await session_of(runtime, signed) is None


async def test_a_session_ends_after_a_day_however_busy(runtime: Runtime) -> None:
    await person(runtime)
    signed = await signed_in(runtime)
    assert timedelta(hours=23, minutes=59) < signed.expires_at - runtime.clock.real() <= timedelta(hours=24)
    await set_columns(runtime, "user_session", signed.session_id, expires_at=runtime.clock.real())
    assert await session_of(runtime, signed) is None


async def test_a_shift_of_the_demos_time_neither_ends_nor_prolongs_a_session(runtime: Runtime) -> None:
    await person(runtime)
    runtime.clock.shift = timedelta(days=-40)
    signed = await signed_in(runtime)
    runtime.clock.shift = timedelta(days=40)
    assert await session_of(runtime, signed) is not None


async def test_last_seen_is_written_at_most_once_a_minute(runtime: Runtime) -> None:
    await person(runtime)
    signed = await signed_in(runtime)
    recent = runtime.clock.real() - timedelta(seconds=50)
    await set_columns(runtime, "user_session", signed.session_id, last_seen_at=recent)
    await session_of(runtime, signed)
    assert (await columns(runtime, "user_session", signed.session_id))["last_seen_at"] == recent
    await set_columns(runtime, "user_session", signed.session_id, last_seen_at=recent - timedelta(seconds=10))
    await session_of(runtime, signed)
    assert (await columns(runtime, "user_session", signed.session_id))["last_seen_at"] > recent


@pytest.mark.parametrize("token", ["", "x", "x" * 201, "\x00", "\ud800", "' OR true --"])
async def test_a_made_up_token_is_no_session(runtime: Runtime, token: str) -> None:
    async with runtime.uow(ANONYMOUS) as uow:
        assert await load_session(uow, token=token, ip=IP) is None


async def test_a_revoked_session_is_refused_at_once(runtime: Runtime) -> None:
    await person(runtime)
    here, elsewhere = await signed_in(runtime), await signed_in(runtime)
    async with runtime.uow(await actor_of(runtime, here)) as uow:
        await revoke_session(uow, session_id=elsewhere.session_id)
    assert await session_of(runtime, elsewhere) is None
    assert await session_of(runtime, here) is not None


async def test_a_person_sees_and_ends_only_their_own_sessions(runtime: Runtime) -> None:
    id_ = await person(runtime)
    await person(runtime, email="other@bank.example", name="Other Person")
    await grant(runtime, id_, "preparer")
    mine, theirs = await signed_in(runtime), await signed_in(runtime, email="other@bank.example")
    actor = await actor_of(runtime, mine)
    async with runtime.uow(actor) as uow:
        lines = await list_sessions(uow)
    assert [(line.id, line.current) for line in lines] == [(mine.session_id, True)]
    for unreachable in (theirs.session_id, uuid7()):
        with pytest.raises(NotFound):
            async with runtime.uow(actor) as uow:
                await revoke_session(uow, session_id=unreachable)
    assert await session_of(runtime, theirs) is not None


async def test_an_administrator_ends_anybodys_session(runtime: Runtime) -> None:
    await person(runtime)
    signed = await signed_in(runtime)
    async with runtime.uow(admin()) as uow:
        await revoke_session(uow, session_id=signed.session_id)
    assert await session_of(runtime, signed) is None


async def test_a_person_ends_every_other_session(runtime: Runtime) -> None:
    await person(runtime)
    here = await signed_in(runtime)
    others = [await signed_in(runtime) for _ in range(3)]
    async with runtime.uow(await actor_of(runtime, here)) as uow:
        assert await sign_out_everywhere(uow, keep_current=True) == 3
    assert await session_of(runtime, here) is not None
    assert [await session_of(runtime, other) for other in others] == [None] * 3


async def test_nobody_has_no_sessions(runtime: Runtime) -> None:
    async with runtime.uow(ANONYMOUS) as uow:
        with pytest.raises(Unauthenticated):
            await list_sessions(uow)


async def test_deactivating_a_user_ends_the_sessions_for_good(runtime: Runtime) -> None:
    id_ = await person(runtime)
    signed = await signed_in(runtime)
    async with runtime.uow(admin()) as uow:
        await deactivate_user(uow, user_id=id_, reason="left the bank")
    assert await session_of(runtime, signed) is None
    await set_columns(runtime, "user", id_, active=True)
    assert await session_of(runtime, signed) is None


async def test_switching_a_user_off_in_a_form_ends_the_sessions_too(runtime: Runtime) -> None:
    id_ = await person(runtime)
    signed = await signed_in(runtime)
    await _tell(runtime, id_, fields=("active",))
    assert await session_of(runtime, signed) is not None
    await set_columns(runtime, "user", id_, active=False)
    await _tell(runtime, id_, fields=("active",))
    await set_columns(runtime, "user", id_, active=True)
    assert await session_of(runtime, signed) is None


async def test_deleting_a_user_ends_the_sessions(runtime: Runtime) -> None:
    id_ = await person(runtime)
    signed = await signed_in(runtime)
    async with runtime.uow(system_actor()) as uow:
        await end_access_of_deleted_user(uow, RecordDeleted(at=uow.now, entity="user", record_id=id_))
    assert await session_of(runtime, signed) is None


async def test_a_lock_ends_the_sessions_and_an_unlock_lets_the_user_in_again(runtime: Runtime) -> None:
    id_ = await person(runtime)
    signed = await signed_in(runtime)
    async with runtime.uow(admin()) as uow:
        await lock_user(uow, user_id=id_, reason="badge lost")
    assert await session_of(runtime, signed) is None
    async with runtime.uow(admin()) as uow:
        await unlock_user(uow, user_id=id_, reason="badge found")
    assert await session_of(runtime, signed) is None
    again = await signed_in(runtime, email=EMAIL)
    assert await session_of(runtime, again) is not None


async def test_a_pause_after_failures_leaves_open_sessions_alone(runtime: Runtime) -> None:
    id_ = await person(runtime)
    signed = await signed_in(runtime)
    await set_columns(runtime, "user", id_, locked_until=runtime.clock.real() + timedelta(minutes=30))
    assert await session_of(runtime, signed) is not None


async def _tell(runtime: Runtime, id_: UUID, *, fields: tuple[str, ...]) -> None:
    async with runtime.uow(system_actor()) as uow:
        await end_access_of_inactive_user(uow, RecordUpdated(at=uow.now, entity="user", record_id=id_, fields=fields))
