"""People, grants and time for the tests of identity."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, text, update

from app.bootstrap import Runtime
from app.core.actor import Actor, Grant, system_actor
from app.domain.access.accounts import AccountKind, create_user
from app.domain.access.sessions import LoadedSession, identify_session
from app.domain.access.sign_in import SignedIn, sign_in
from models.base import uuid7
from models.system.tables import audit_entry

EMAIL = "jonas@bank.example"
PASSWORD = "copper lantern 27 drifts"
WRONG = "copper lantern 28 drifts"
IP = "192.0.2.7"
AGENT = "Firefox on a desk"


async def person(
    runtime: Runtime, *, email: str = EMAIL, name: str = "Jonas Weber", must_change_password: bool = False
) -> UUID:
    async with runtime.uow(system_actor()) as uow:
        return await create_user(
            uow, email=email, name=name, password=PASSWORD, must_change_password=must_change_password
        )


async def service_account(runtime: Runtime, *, email: str = "loader@bank.example") -> UUID:
    async with runtime.uow(system_actor()) as uow:
        return await create_user(uow, email=email, name="Loader", kind=AccountKind.SERVICE)


async def signed_in(runtime: Runtime, *, email: str = EMAIL) -> SignedIn:
    return await sign_in(runtime, email=email, password=PASSWORD, ip=IP, user_agent=AGENT)


async def session_of(runtime: Runtime, signed: SignedIn) -> LoadedSession | None:
    return await identify_session(runtime, token=signed.session_token, ip=IP)


async def actor_of(runtime: Runtime, signed: SignedIn) -> Actor:
    session = await session_of(runtime, signed)
    assert session is not None
    return session.actor


async def grant(
    runtime: Runtime,
    user_id: UUID,
    role: str,
    *,
    application: str = "PNL",
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    revoked: bool = False,
    active: bool = True,
) -> UUID:
    """Write a grant as it stands in the table, whatever the rules of granting would say about it."""
    now = runtime.clock.now()
    stamp = {"created_at": now, "updated_at": now}
    ids: dict[str, UUID] = {}
    async with runtime.uow(system_actor()) as uow:
        for entity, code in (("role", role), ("application", application)):
            table = uow.table(entity)
            found = await uow.scalar(select(table.c.id).where(table.c.code == code))
            if found is None:
                found = uuid7()
                extra = {"active": active} if entity == "application" else {}
                await uow.execute(insert(table).values(id=found, code=code, label=code, **extra, **stamp))
            ids[entity] = found
        id_ = uuid7()
        await uow.execute(
            insert(uow.table("role_grant")).values(
                id=id_,
                user_id=user_id,
                role_id=ids["role"],
                application_id=ids["application"],
                valid_from=valid_from or now - timedelta(days=1),
                valid_until=valid_until,
                revoked_at=now if revoked else None,
                **stamp,
            )
        )
    return id_


def admin(user_id: UUID | None = None) -> Actor:
    """Somebody with the administrator's grant, who need not be in the user table."""
    held = Grant(uuid7(), "admin", "PLATFORM")
    return Actor(user_id or uuid7(), "Mara Lindqvist", grants=(held,), session_id=uuid7(), ip=IP)


async def set_columns(runtime: Runtime, entity: str, id_: UUID, **values: Any) -> None:
    """Change stored values, such as times, as the passing of time would."""
    async with runtime.uow(system_actor()) as uow:
        table = uow.table(entity)
        await uow.execute(update(table).where(table.c.id == id_).values(**values))


async def columns(runtime: Runtime, entity: str, id_: UUID) -> Mapping[str, Any]:
    async with runtime.uow(system_actor()) as uow:
        table = uow.table(entity)
        return dict((await uow.execute(select(table).where(table.c.id == id_))).mappings().one())


async def trail(runtime: Runtime, command: str) -> list[Mapping[str, Any]]:
    async with runtime.uow(system_actor()) as uow:
        rows = await uow.execute(
            select(audit_entry).where(audit_entry.c.command == command).order_by(audit_entry.c.sequence)
        )
        return [dict(row) for row in rows.mappings()]


async def everything_stored(runtime: Runtime) -> str:
    """The text of the whole audit trail and of every session and token row."""
    async with runtime.uow(system_actor()) as uow:
        parts = []
        for table in ("audit_entry", "user_session", "access_token", "outbox"):
            rows = await uow.execute(text(f"SELECT coalesce(string_agg(t::text, chr(10)), '') FROM {table} t"))
            parts.append(str(rows.scalar_one()))
    return "\n".join(parts)
