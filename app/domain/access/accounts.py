"""User accounts: create, password, lock, deactivate. Ending an account ends its sessions and tokens at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import ColumnElement, RowMapping, Select, insert, select, update

from app.core.audit import AuditEntry, Outcome
from app.core.errors import Conflict, FieldProblem, NotFound, ValidationFailed
from app.core.events import RecordCreated, RecordDeleted, RecordUpdated
from app.core.uow import UnitOfWork
from app.domain.access.actors import changing_id
from app.domain.access.decisions import authorize
from app.domain.access.lockout import LOCKED_FOR_GOOD
from app.domain.access.passwords import (
    DEMO_LENGTH,
    PERSON_LENGTH,
    check_password,
    hash_password,
)
from app.domain.access.scope import require_in_scope
from app.domain.access.sessions import end_sessions
from app.domain.access.tokens import revoke_tokens
from models.base import uuid7
from models.fieldtypes import kind_of
from models.fieldtypes.base import FieldError


class AccountKind(StrEnum):
    PERSON = "person"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Account:
    """A user as lists and commands show it; the password's hash is not part of it."""

    id: UUID
    email: str
    name: str
    kind: AccountKind
    active: bool
    locked_until: datetime | None
    must_change_password: bool
    last_sign_in_at: datetime | None

    def is_locked(self, *, now: datetime) -> bool:
        return self.locked_until is not None and self.locked_until > now


async def create_user(
    uow: UnitOfWork,
    *,
    email: str,
    name: str,
    password: str | None = None,
    kind: AccountKind = AccountKind.PERSON,
    time_zone: str = "Europe/Berlin",
    must_change_password: bool = True,
    demo: bool = False,
) -> UUID:
    """Create an account and return its id. Without a password nobody can sign in to it.

    Args:
        must_change_password: whether a person has to choose their own password at the first sign-in.
        demo: accepts the demo's shorter password.

    Raises:
        ValidationFailed: a value does not fit, or the password is too easy.
        Conflict: there is an account of this e-mail address.
    """
    decision = authorize(uow, "create", "user")
    values = _checked(uow, {"email": email, "name": name, "time_zone": time_zone})
    if kind is AccountKind.SERVICE and password is not None:
        raise ValidationFailed([FieldProblem("password", "a service account has access tokens and no password")])
    if password is not None:
        _check_new(password, values, demo=demo)
    id_ = uuid7()
    values |= {"account_kind": kind.value, "must_change_password": must_change_password and password is not None}
    await uow.execute(
        insert(uow.table("user")).values(
            id=id_,
            **values,
            active=True,
            failed_sign_ins=0,
            password_hash=None if password is None else await hash_password(password),
            created_at=uow.now,
            created_by=uow.actor.id,
            updated_at=uow.now,
            updated_by=uow.actor.id,
        )
    )
    uow.audit(
        AuditEntry(
            command="user.create",
            entity="user",
            record_id=id_,
            after=values,
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
    uow.emit(RecordCreated(at=uow.now, entity="user", record_id=id_))
    uow.touch("entity:user")
    return id_


async def set_password(
    uow: UnitOfWork, *, user_id: UUID, password: str, must_change_password: bool = True, demo: bool = False
) -> None:
    """Give a user another password, lift a pause of sign-in and end the user's sessions.

    Raises:
        NotFound: there is no such user that the actor may see.
        ValidationFailed: the password is too easy, or the account is a service account.
    """
    await require_in_scope(uow, "update", "user", user_id)
    user = await _locked_row(uow, user_id)
    if user["account_kind"] == AccountKind.SERVICE:
        raise ValidationFailed([FieldProblem("password", "a service account has access tokens and no password")])
    _check_new(password, user, demo=demo)
    values: dict[str, Any] = {"must_change_password": must_change_password, "failed_sign_ins": 0}
    if user["locked_until"] != LOCKED_FOR_GOOD:
        values["locked_until"] = None
    await _write(uow, user_id, {**values, "password_hash": await hash_password(password)})
    await end_sessions(uow, user_id=user_id)
    _record(uow, "set_password", user_id, context={"must_change_password": must_change_password})


async def set_own_password(uow: UnitOfWork, *, password: str) -> None:
    """Change the actor's own password after the current one was verified; every other session ends.

    Raises:
        ValidationFailed: the new password is too easy.
    """
    user_id = changing_id(uow)
    user = await _locked_row(uow, user_id)
    check_password(password, email=user["email"], name=user["name"], path="new_password")
    await _write(uow, user_id, {"password_hash": await hash_password(password), "must_change_password": False})
    await end_sessions(uow, user_id=user_id, keep=uow.actor.session_id)
    _record(uow, "change_password", user_id)


async def lock_user(uow: UnitOfWork, *, user_id: UUID, reason: str) -> None:
    """Keep a user out until somebody unlocks the account: sessions end, access tokens are refused meanwhile.

    Raises:
        NotFound: there is no such user that the actor may see.
        Conflict: it is the actor's own account.
    """
    await require_in_scope(uow, "update", "user", user_id)
    _refuse_own(uow, user_id, "lock")
    await _locked_row(uow, user_id)
    await _write(uow, user_id, {"locked_until": LOCKED_FOR_GOOD})
    await end_sessions(uow, user_id=user_id)
    _record(uow, "lock", user_id, reason=reason)


async def unlock_user(uow: UnitOfWork, *, user_id: UUID, reason: str) -> None:
    """End a lock or a pause of sign-in and forget the failed sign-ins.

    Raises:
        NotFound: there is no such user that the actor may see.
    """
    await require_in_scope(uow, "update", "user", user_id)
    await _locked_row(uow, user_id)
    await _write(uow, user_id, {"locked_until": None, "failed_sign_ins": 0})
    _record(uow, "unlock", user_id, reason=reason)


async def deactivate_user(uow: UnitOfWork, *, user_id: UUID, reason: str) -> None:
    """Switch an account off; every session and access token of it ends for good.

    Raises:
        NotFound: there is no such user that the actor may see.
        Conflict: it is the actor's own account.
    """
    await require_in_scope(uow, "update", "user", user_id)
    _refuse_own(uow, user_id, "deactivate")
    before = await _locked_row(uow, user_id)
    await _write(uow, user_id, {"active": False})
    await _end_access(uow, user_id)
    _record(uow, "deactivate", user_id, reason=reason, before={"active": before["active"]}, after={"active": False})
    uow.emit(RecordUpdated(at=uow.now, entity="user", record_id=user_id, fields=("active",)))


async def end_access_of_inactive_user(uow: UnitOfWork, event: RecordUpdated) -> None:
    """End sessions and tokens when a form or the API switched an account off. Handler of `RecordUpdated`."""
    if event.entity != "user" or "active" not in event.fields:
        return
    users = uow.table("user")
    if await uow.scalar(select(users.c.active).where(users.c.id == event.record_id)) is False:
        await _end_access(uow, event.record_id)


async def end_access_of_deleted_user(uow: UnitOfWork, event: RecordDeleted) -> None:
    """End sessions and tokens of an account that was deleted. Handler of `RecordDeleted`."""
    if event.entity == "user":
        await _end_access(uow, event.record_id)


async def list_accounts(uow: UnitOfWork) -> Sequence[Account]:
    """Return every account, by name."""
    authorize(uow, "read", "user")
    users = uow.table("user")
    rows = await uow.execute(_accounts(uow).order_by(users.c.name, users.c.id))
    return [_account(row) for row in rows.mappings()]


async def find_account(uow: UnitOfWork, *, email: str) -> Account:
    """Return the account of an e-mail address.

    Raises:
        NotFound: there is none.
    """
    authorize(uow, "read", "user")
    return await read_account(uow, uow.table("user").c.email == email.strip().lower())


async def read_account(uow: UnitOfWork, condition: ColumnElement[bool]) -> Account:
    """Return the one account that fits; the caller has authorized.

    Raises:
        NotFound: there is none.
    """
    row = (await uow.execute(_accounts(uow).where(condition))).mappings().first()
    if row is None:
        raise NotFound("There is no such user.")
    return _account(row)


def _accounts(uow: UnitOfWork) -> Select[Any]:
    users = uow.table("user")
    columns = (
        "id", "email", "name", "account_kind", "active", "locked_until", "must_change_password", "last_sign_in_at"
    )  # fmt: skip
    return select(*(users.c[name] for name in columns)).where(users.c.deleted_at.is_(None))


def _account(row: RowMapping) -> Account:
    values = dict(row)
    return Account(kind=AccountKind(values.pop("account_kind")), **values)


def _checked(uow: UnitOfWork, values: Mapping[str, str]) -> dict[str, Any]:
    entity = uow.registry.entity("user")
    parsed, problems = {}, []
    for name, value in values.items():
        field = entity.field(name)
        try:
            parsed[name] = kind_of(field).parse(field, value.strip())
            if not parsed[name]:
                problems.append(FieldProblem(name, "must not be empty"))
        except FieldError as error:
            problems.append(FieldProblem(name, str(error)))
    try:
        ZoneInfo(values["time_zone"].strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        problems.append(FieldProblem("time_zone", "is not a time zone such as Europe/Berlin"))
    if problems:
        raise ValidationFailed(problems)
    return parsed


def _check_new(password: str, user: Mapping[str, Any], *, demo: bool) -> None:
    shortest = DEMO_LENGTH if demo else PERSON_LENGTH
    check_password(password, email=user["email"], name=user["name"], shortest=shortest)


async def _locked_row(uow: UnitOfWork, user_id: UUID) -> Mapping[str, Any]:
    """Read and lock the user; a sign-in that is being counted waits, and so do we for it."""
    users = uow.table("user")
    names = ("email", "name", "account_kind", "active", "locked_until")
    statement = (
        select(*(users.c[name] for name in names))
        .where(users.c.id == user_id, users.c.deleted_at.is_(None))
        .with_for_update(key_share=True)
    )
    row = (await uow.execute(statement)).mappings().first()
    if row is None:
        raise NotFound("There is no such user.")
    return dict(row)


async def _write(uow: UnitOfWork, user_id: UUID, values: Mapping[str, Any]) -> None:
    users = uow.table("user")
    stamp = {"updated_at": uow.now, "updated_by": uow.actor.id, "row_version": users.c.row_version + 1}
    await uow.execute(update(users).where(users.c.id == user_id).values(**values, **stamp))


async def _end_access(uow: UnitOfWork, user_id: UUID) -> None:
    await end_sessions(uow, user_id=user_id)
    await revoke_tokens(uow, user_id=user_id)


def _record(
    uow: UnitOfWork,
    command: str,
    user_id: UUID,
    *,
    reason: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
) -> None:
    uow.audit(
        AuditEntry(
            command=f"user.{command}",
            entity="user",
            record_id=user_id,
            reason=reason,
            before=before,
            after=after,
            context=context or {},
            outcome=Outcome.OK,
        )
    )
    uow.touch("entity:user", f"user:{user_id}")


def _refuse_own(uow: UnitOfWork, user_id: UUID, verb: str) -> None:
    if uow.actor.id == user_id:
        raise Conflict(f"You cannot {verb} your own account; ask another administrator.")
