"""Signing in and out. Failures are counted and audited in units of their own, so that they stay when the sign-in fails.

Nothing here tells whether an account exists: a name without one takes as long, is answered and paused alike.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import RowMapping, func, select, update

from app.core.actor import ANONYMOUS, Actor
from app.core.audit import AuditEntry, Outcome
from app.core.errors import FieldProblem, Forbidden, RateLimited, Unauthenticated, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.accounts import set_own_password
from app.domain.access.actors import Platform
from app.domain.access.lockout import LOCKED_FOR_GOOD, FailureRecord, after_failure
from app.domain.access.passwords import Verdict, check_password, verify_password
from app.domain.access.sessions import end_current_session, load_session, open_session
from app.domain.access.throttle import address_key, throttles_of
from models.base import uuid7
from models.system.tables import audit_entry

LONGEST_EMAIL = 255
SIGN_IN = "user.sign_in"

# Failures under a name without an account are filed under an id made from the name, which no account can have.
_UNKNOWN_NAMES = UUID("6f0f0c5e-5d0c-5b0e-9d55-3a2c8be0a9f1")


class SignInRefused(Unauthenticated):
    """The name or the password is wrong, or the account cannot sign in: the answer is the same."""

    code = "sign_in_refused"
    title = "The e-mail address or the password is not right"


class SignInPaused(RateLimited):
    """Too many wrong passwords for this name. `context`: `retry_after` seconds, `until` as an instant."""

    code = "sign_in_paused"
    title = "Sign-in for this name is paused"


class PasswordChangeRequired(Forbidden):
    """An administrator set the password; nothing else goes before the person has chosen their own."""

    code = "password_change_required"
    title = "Choose your own password first"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A browser that has signed in: both tokens go to the browser and are kept nowhere in the clear."""

    session_id: UUID
    session_token: str
    csrf_token: str
    user_id: UUID
    expires_at: datetime
    must_change_password: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """Whose password it was."""

    user_id: UUID
    name: str
    email: str
    must_change_password: bool


async def sign_in(platform: Platform, *, email: str, password: str, ip: str | None, user_agent: str | None) -> SignedIn:
    """Verify the password and begin a session.

    Raises:
        SignInRefused: the e-mail address or the password is not right.
        SignInPaused: too many failures for this name.
        RateLimited: too many failures from this address.
    """
    user = await verify_sign_in(platform, email=email, password=password, ip=ip)
    return await begin_session(platform, user, ip=ip, user_agent=user_agent)


async def begin_session(platform: Platform, user: Verified, *, ip: str | None, user_agent: str | None) -> SignedIn:
    """Open a session for a user whose password was verified just now."""
    actor = Actor(user.user_id, user.name, email=user.email, session_id=uuid7(), ip=ip)
    async with platform.uow(actor) as uow:
        opened = await open_session(uow, user_agent=user_agent)
    return SignedIn(
        opened.id, opened.token, opened.csrf_token, user.user_id, opened.expires_at, user.must_change_password
    )


async def change_own_password(platform: Platform, actor: Actor, *, current: str, new: str) -> None:
    """Change the actor's own password. A wrong current one counts as a failed sign-in: a borrowed session cannot guess.

    Raises:
        Forbidden: the access token may only read.
        ValidationFailed: the current password is wrong, or the new one too easy or the same.
        SignInPaused: too many wrong passwords.
    """
    if actor.read_only:
        raise Forbidden("This access token may only read.")
    check_password(new, email=actor.email, name=actor.name, path="new_password")
    if current == new:
        raise ValidationFailed([FieldProblem("new_password", "is the one you have; choose another", "unchanged")])
    try:
        await verify_sign_in(platform, email=actor.email, password=current, ip=actor.ip)
    except SignInRefused:
        raise ValidationFailed([FieldProblem("current_password", "is not your password", "wrong")]) from None
    async with platform.uow(actor) as uow:
        await set_own_password(uow, password=new)


async def sign_out(platform: Platform, token: str, *, ip: str | None = None) -> None:
    """End the session of the token; does nothing where it has ended already."""
    async with platform.uow(ANONYMOUS) as uow:
        session = await load_session(uow, token=token, ip=ip)
    if session is None:
        return
    async with platform.uow(session.actor) as uow:
        await end_current_session(uow)


async def verify_sign_in(platform: Platform, *, email: str, password: str, ip: str | None) -> Verified:
    """Tell who signs in, counting and auditing the failure where it is nobody. Holds no connection while it hashes.

    Raises:
        SignInRefused: the e-mail address or the password is not right.
        SignInPaused: too many failures for this name; a right password does not help either.
        RateLimited: too many failures from this address.
    """
    email = email.strip().lower()
    async with platform.uow(replace(ANONYMOUS, ip=ip)) as uow:
        throttle = throttles_of(uow.resources.engine).sign_in
        throttle.take(address_key(ip))
        account = await _candidate(uow, email)
    verdict = await verify_password(password, account["password_hash"] if account else None)
    async with platform.uow(replace(ANONYMOUS, ip=ip)) as uow:
        if account is None:
            refusal: Exception | None = await _count_unknown(uow, email)
        else:
            refusal = await _settle(uow, account, verdict)
    if refusal is not None:
        raise refusal
    assert account is not None
    throttle.give_back(address_key(ip))
    return Verified(account["id"], account["name"], email, account["must_change_password"])


async def _candidate(uow: UnitOfWork, email: str) -> RowMapping | None:
    if not _is_address(email):
        return None
    users = uow.table("user")
    statement = select(users.c.id, users.c.name, users.c.password_hash, users.c.must_change_password).where(
        users.c.email == email,
        users.c.active,
        users.c.deleted_at.is_(None),
        users.c.account_kind == "person",
        users.c.password_hash.is_not(None),
        users.c.locked_until.is_distinct_from(LOCKED_FOR_GOOD),
    )
    return (await uow.execute(statement)).mappings().first()


async def _settle(uow: UnitOfWork, account: RowMapping, verdict: Verdict) -> Exception | None:
    """Count a success or a failure under the user's row lock, so that of many at once each one counts.

    A guess that was verified while others failed is judged by the failures counted before it, and a password that was
    changed or an account that was switched off meanwhile does not let anybody in.
    """
    users, now, id_ = uow.table("user"), uow.resources.clock.real(), account["id"]
    row = (
        await uow.execute(
            select(users.c.failed_sign_ins, users.c.locked_until, users.c.active, users.c.password_hash)
            .where(users.c.id == id_)
            .with_for_update(key_share=True)
        )
    ).one()
    record = FailureRecord(row.failed_sign_ins, row.locked_until)
    if record.is_paused(now=now):
        return _refuse_paused(uow, id_, record, now=now)
    if not verdict.fits or not row.active or row.password_hash != account["password_hash"]:
        failed = after_failure(record, now=now)
        # No new row_version: somebody's open form of this user must not go stale because of a stranger's guesses.
        count = {"failed_sign_ins": failed.failures, "locked_until": failed.locked_until}
        await uow.execute(update(users).where(users.c.id == id_).values(**count))
        return _refuse(uow, id_, failed, now=now)
    values: dict[str, Any] = {"failed_sign_ins": 0, "locked_until": None}
    if verdict.rehashed is not None:
        values["password_hash"] = verdict.rehashed
    await uow.execute(update(users).where(users.c.id == id_).values(**values))
    return None


async def _count_unknown(uow: UnitOfWork, email: str) -> Exception:
    """Count a failure under a name without an account; the audit trail remembers, a lock queues them."""
    now = uow.resources.clock.real()
    id_ = uuid5(_UNKNOWN_NAMES, email[:LONGEST_EMAIL].encode("utf-8", "replace").decode())
    await uow.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(str(id_), 0))))
    last = await uow.scalar(
        select(audit_entry.c.context)
        .where(audit_entry.c.entity == "user", audit_entry.c.record_id == id_, audit_entry.c.command == SIGN_IN)
        .order_by(audit_entry.c.sequence.desc())
        .limit(1)
    )
    record = FailureRecord()
    if last:
        until = last.get("paused_until")
        record = FailureRecord(last["failures"], datetime.fromisoformat(until) if until else None)
    if record.is_paused(now=now):
        return _refuse_paused(uow, id_, record, now=now, email=email)
    return _refuse(uow, id_, after_failure(record, now=now), now=now, email=email)


def _refuse(
    uow: UnitOfWork, id_: UUID, record: FailureRecord, *, now: datetime, email: str | None = None
) -> SignInRefused | SignInPaused:
    _audit(uow, id_, record, email, command=SIGN_IN, outcome=Outcome.FAILED)
    if record.is_paused(now=now):
        _audit(uow, id_, record, email, command="user.pause_sign_in", outcome=Outcome.OK)
        return _paused(record, now)
    return SignInRefused("Check both and try again. After five failures sign-in pauses for a while.")


def _refuse_paused(
    uow: UnitOfWork, id_: UUID, record: FailureRecord, *, now: datetime, email: str | None = None
) -> SignInPaused:
    _audit(uow, id_, record, email, command=SIGN_IN, outcome=Outcome.DENIED)
    return _paused(record, now)


def _audit(
    uow: UnitOfWork, id_: UUID, record: FailureRecord, email: str | None, *, command: str, outcome: Outcome
) -> None:
    context: dict[str, Any] = {"failures": record.failures, "paused_until": record.locked_until}
    if email is not None:
        context["name"] = _masked(email)
    uow.audit(AuditEntry(command=command, entity="user", record_id=id_, outcome=outcome, context=context))


def _paused(record: FailureRecord, now: datetime) -> SignInPaused:
    assert record.locked_until is not None
    seconds = max(1, int((record.locked_until - now).total_seconds() + 0.999))
    wait = f"{seconds} seconds" if seconds < 90 else f"{round(seconds / 60)} minutes"
    context = {"retry_after": seconds, "until": record.locked_until.isoformat()}
    return SignInPaused(f"There were too many failed attempts. Try again in {wait}.", context=context)


def _is_address(email: str) -> bool:
    return "@" in email and len(email) <= LONGEST_EMAIL and email.isprintable()


def _masked(email: str) -> str:
    """What the trail keeps of a name without an account: people type passwords into the wrong field."""
    if not _is_address(email):
        return "(not an e-mail address)"
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}***@{domain}"
