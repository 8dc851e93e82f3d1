"""Browser sessions: kept on the server, revocable at any moment. The browser holds a random token, we its hash."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, insert, select, update

from app.core.actor import ANONYMOUS, Actor
from app.core.audit import AuditEntry
from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.access.actors import (
    SEEN_EVERY,
    Platform,
    Preferences,
    actor_from_session,
    changing_id,
    identity_query,
    own_id,
    preferences_from,
)
from app.domain.access.lockout import LOCKED_FOR_GOOD
from app.domain.access.scope import require_in_scope

IDLE_TIMEOUT = timedelta(hours=8)
LIFETIME = timedelta(hours=24)
MAX_TOKEN_LENGTH = 200

# The session, its user and the grants in force: what every signed-in request begins with.
LOAD_SESSION = identity_query(
    "c.csrf_token, c.last_seen_at, c.expires_at",
    "user_session",
    "c.token_hash = :token_hash AND c.revoked_at IS NULL AND c.expires_at > :real AND c.last_seen_at > :idle_since",
)


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A session that has just begun; `token` is shown to the browser and kept nowhere."""

    id: UUID
    token: str
    csrf_token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LoadedSession:
    """A session that is good now, with its user as actor."""

    id: UUID
    csrf_token: str
    last_seen_at: datetime
    expires_at: datetime
    must_change_password: bool
    preferences: Preferences
    actor: Actor


@dataclass(frozen=True, slots=True)
class SessionLine:
    """One session in the list of a person's own."""

    id: UUID
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    ip: str | None
    user_agent: str | None
    current: bool


def hash_token(token: str) -> str:
    """Return the SHA-256 of a token. Tokens have 256 random bits: a slow hash would add nothing."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


async def open_session(uow: UnitOfWork, *, user_agent: str | None) -> OpenedSession:
    """Begin a session of the actor, under the actor's `session_id`; the caller has verified who it is."""
    actor, now = uow.actor, uow.resources.clock.real()
    if actor.id is None or actor.session_id is None:
        raise ValueError("a session begins for a known user, under an id that the actor carries already")
    opened = OpenedSession(actor.session_id, secrets.token_urlsafe(32), secrets.token_urlsafe(32), now + LIFETIME)
    await uow.execute(
        insert(uow.table("user_session")).values(
            id=opened.id,
            user_id=actor.id,
            token_hash=hash_token(opened.token),
            csrf_token=opened.csrf_token,
            user_agent=storable(user_agent, length=500),
            ip=storable(actor.ip, length=64),
            created_at=now,
            updated_at=now,
            last_seen_at=now,
            expires_at=opened.expires_at,
        )
    )
    users = uow.table("user")
    await uow.execute(update(users).where(users.c.id == actor.id).values(last_sign_in_at=now))
    uow.audit(AuditEntry(command="user.sign_in", entity="user", record_id=actor.id, context={"session": opened.id}))
    return opened


async def load_session(uow: UnitOfWork, *, token: str, ip: str | None) -> LoadedSession | None:
    """Return the session of the token with user and grants, read in one statement; None where it is not good."""
    if not 0 < len(token) <= MAX_TOKEN_LENGTH:
        return None
    real = uow.resources.clock.real()
    parameters = {
        "token_hash": hash_token(token),
        "real": real,
        "idle_since": real - IDLE_TIMEOUT,
        "now": uow.now,
        "locked_for_good": LOCKED_FOR_GOOD,
    }
    row = (await uow.execute(LOAD_SESSION, parameters)).mappings().first()
    if row is None:
        return None
    return LoadedSession(
        id=row["id"],
        csrf_token=row["csrf_token"],
        last_seen_at=row["last_seen_at"],
        expires_at=row["expires_at"],
        must_change_password=row["must_change_password"],
        preferences=preferences_from(row),
        actor=actor_from_session(row, ip=ip),
    )


async def identify_session(platform: Platform, *, token: str, ip: str | None) -> LoadedSession | None:
    """Load the session of a request and note that it was seen, at most once a minute."""
    async with platform.reading(ANONYMOUS) as uow:
        session = await load_session(uow, token=token, ip=ip)
        now = platform.clock.real()
        if session is not None and now - session.last_seen_at >= SEEN_EVERY:
            sessions = uow.table("user_session")
            stale = (sessions.c.id == session.id) & (sessions.c.last_seen_at <= now - SEEN_EVERY)
            await uow.execute(update(sessions).where(stale).values(last_seen_at=now))
        return session


async def list_sessions(uow: UnitOfWork) -> Sequence[SessionLine]:
    """Return the actor's own sessions that are good now, the last seen first."""
    sessions, now = uow.table("user_session"), uow.resources.clock.real()
    columns = ("id", "created_at", "last_seen_at", "expires_at", "ip", "user_agent")
    rows = await uow.execute(
        select(*(sessions.c[name] for name in columns))
        .where(
            sessions.c.user_id == own_id(uow),
            sessions.c.revoked_at.is_(None),
            sessions.c.expires_at > now,
            sessions.c.last_seen_at > now - IDLE_TIMEOUT,
        )
        .order_by(sessions.c.last_seen_at.desc(), sessions.c.id)
    )
    return [SessionLine(**row, current=row["id"] == uow.actor.session_id) for row in rows.mappings()]


async def revoke_session(uow: UnitOfWork, *, session_id: UUID) -> None:
    """End a session: one's own, or anybody's for who may delete sessions.

    Raises:
        NotFound: there is no such session that the actor may see.
        Forbidden: the actor may see it and not end it.
    """
    sessions = uow.table("user_session")
    owner = await uow.scalar(select(sessions.c.user_id).where(sessions.c.id == session_id))
    if owner is None:
        raise NotFound("There is no such session.")
    if owner == uow.actor.id:
        changing_id(uow)
    else:
        await require_in_scope(uow, "delete", "user_session", session_id)
    await _end(uow, sessions.c.id == session_id, user_id=owner, command="user.end_session")


async def end_current_session(uow: UnitOfWork) -> None:
    """End the session that the actor came with."""
    user_id = own_id(uow)
    await _end(uow, uow.table("user_session").c.id == uow.actor.session_id, user_id=user_id, command="user.sign_out")


async def sign_out_everywhere(uow: UnitOfWork, *, keep_current: bool) -> int:
    """End the actor's own sessions, all or all but this one; return how many."""
    return await end_sessions(uow, user_id=changing_id(uow), keep=uow.actor.session_id if keep_current else None)


async def end_sessions(uow: UnitOfWork, *, user_id: UUID, keep: UUID | None = None) -> int:
    """End the user's sessions, but for `keep`; the caller has authorized. Return how many."""
    sessions = uow.table("user_session")
    condition = sessions.c.user_id == user_id
    if keep is not None:
        condition &= sessions.c.id != keep
    return await _end(uow, condition, user_id=user_id, command="user.end_sessions")


async def _end(uow: UnitOfWork, condition: ColumnElement[bool], *, user_id: UUID, command: str) -> int:
    sessions, now = uow.table("user_session"), uow.resources.clock.real()
    ended = (
        await uow.execute(
            update(sessions)
            .where(condition, sessions.c.revoked_at.is_(None), sessions.c.expires_at > now)
            .values(revoked_at=now, updated_at=now, updated_by=uow.actor.id)
            .returning(sessions.c.id)
        )
    ).scalars()
    ids = list(ended)
    if ids:
        uow.audit(AuditEntry(command=command, entity="user", record_id=user_id, context={"sessions": ids}))
        uow.touch(f"user:{user_id}")
    return len(ids)


def storable(value: str | None, *, length: int) -> str | None:
    """A header's text as a column can hold it."""
    if value is None:
        return None
    return "".join(character for character in value if character.isprintable())[:length]
