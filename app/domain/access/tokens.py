"""Personal access tokens for the API: shown once, kept as a hash, with an expiry, and read-only where asked for."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, insert, select, update

from app.core.actor import ANONYMOUS, Actor
from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, Forbidden, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.actors import SEEN_EVERY, Platform, actor_from_token, changing_id, identity_query, own_id
from app.domain.access.lockout import LOCKED_FOR_GOOD
from app.domain.access.scope import require_in_scope
from app.domain.access.sessions import MAX_TOKEN_LENGTH, hash_token
from app.domain.access.throttle import address_key, throttles_of
from models.base import uuid7

PREFIX = "steps_pat_"
DEFAULT_LIFETIME = timedelta(days=90)
LONGEST_LIFETIME = timedelta(days=366)
LABEL_LENGTH = 120

# The token, its user and the grants in force.
LOAD_TOKEN = identity_query(
    "c.read_only, c.last_used_at, c.expires_at",
    "access_token",
    "c.token_hash = :token_hash AND c.revoked_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > :real)",
)


@dataclass(frozen=True, slots=True)
class TokenLine:
    """One access token in a list; nothing in it lets anybody in."""

    id: UUID
    label: str
    prefix: str
    read_only: bool
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that has just been made. `token` is the only copy."""

    token: str
    line: TokenLine


@dataclass(frozen=True, slots=True)
class LoadedToken:
    """A token that is good now, with its user as actor."""

    id: UUID
    last_used_at: datetime | None
    actor: Actor


async def create_token(
    uow: UnitOfWork, *, user_id: UUID, label: str, read_only: bool, expires_at: datetime | None = None
) -> NewToken:
    """Make an access token: for oneself from a browser session, or for a service account that one may change.

    Args:
        expires_at: real time; 90 days from now where None.

    Raises:
        Forbidden: it would be another person's token, or a token would make a token.
        NotFound: there is no such user that the actor may see.
        ValidationFailed: the label or the expiry does not fit.
    """
    await _authorize_token_for(uow, user_id)
    now = uow.resources.clock.real()
    label = label.strip()
    expires_at = expires_at or now + DEFAULT_LIFETIME
    _check(label, expires_at, now)
    public = f"{PREFIX}{secrets.token_hex(6)}"
    token = f"{public}_{secrets.token_urlsafe(32)}"
    line = TokenLine(uuid7(), label, public, read_only, now, expires_at, None, None)
    await uow.execute(
        insert(uow.table("access_token")).values(
            id=line.id,
            user_id=user_id,
            label=label,
            prefix=public,
            token_hash=hash_token(token),
            read_only=read_only,
            expires_at=expires_at,
            created_at=now,
            created_by=uow.actor.id,
            updated_at=now,
            updated_by=uow.actor.id,
        )
    )
    after = {"user": user_id, "label": label, "prefix": public, "read_only": read_only, "expires_at": expires_at}
    uow.audit(AuditEntry(command="access_token.create", entity="access_token", record_id=line.id, after=after))
    return NewToken(token, line)


async def list_tokens(uow: UnitOfWork) -> Sequence[TokenLine]:
    """Return the actor's own tokens, the newest first; revoked and expired ones too."""
    tokens = uow.table("access_token")
    columns = ("id", "label", "prefix", "read_only", "created_at", "expires_at", "last_used_at", "revoked_at")
    rows = await uow.execute(
        select(*(tokens.c[name] for name in columns))
        .where(tokens.c.user_id == own_id(uow))
        .order_by(tokens.c.created_at.desc(), tokens.c.id.desc())
    )
    return [TokenLine(**row) for row in rows.mappings()]


async def revoke_token(uow: UnitOfWork, *, token_id: UUID) -> None:
    """End a token at once: one's own, or anybody's for who may delete tokens. A second time does nothing.

    Raises:
        NotFound: there is no such token that the actor may see.
        Forbidden: the actor may see it and not end it.
    """
    tokens = uow.table("access_token")
    owner = await uow.scalar(select(tokens.c.user_id).where(tokens.c.id == token_id))
    if owner is None:
        raise NotFound("There is no such access token.")
    if owner == uow.actor.id:
        changing_id(uow)
    else:
        await require_in_scope(uow, "delete", "access_token", token_id)
    await _revoke(uow, tokens.c.id == token_id)


async def revoke_tokens(uow: UnitOfWork, *, user_id: UUID) -> int:
    """End every token of the user; the caller has authorized. Return how many."""
    return await _revoke(uow, uow.table("access_token").c.user_id == user_id)


async def load_token(uow: UnitOfWork, *, token: str, ip: str | None) -> LoadedToken | None:
    """Return the token with user and grants, read in one statement; None where it is not good."""
    if not token.startswith(PREFIX) or len(token) > MAX_TOKEN_LENGTH:
        return None
    parameters = {
        "token_hash": hash_token(token),
        "real": uow.resources.clock.real(),
        "now": uow.now,
        "locked_for_good": LOCKED_FOR_GOOD,
    }
    row = (await uow.execute(LOAD_TOKEN, parameters)).mappings().first()
    if row is None:
        return None
    return LoadedToken(row["id"], row["last_used_at"], actor_from_token(row, ip=ip))


async def identify_token(platform: Platform, *, token: str, ip: str | None) -> LoadedToken | None:
    """Load the token of a request and note its use, at most once a minute.

    Raises:
        RateLimited: many wrong tokens came from this address.
    """
    async with platform.reading(ANONYMOUS) as uow:
        throttle = throttles_of(uow.resources.engine).access_token
        throttle.take(address_key(ip))
        loaded = await load_token(uow, token=token, ip=ip)
        if loaded is None:
            return None
        throttle.give_back(address_key(ip))
        now = platform.clock.real()
        if loaded.last_used_at is None or now - loaded.last_used_at >= SEEN_EVERY:
            tokens = uow.table("access_token")
            stale = tokens.c.last_used_at.is_(None) | (tokens.c.last_used_at <= now - SEEN_EVERY)
            await uow.execute(update(tokens).where(tokens.c.id == loaded.id, stale).values(last_used_at=now))
        return loaded


async def _authorize_token_for(uow: UnitOfWork, user_id: UUID) -> None:
    if uow.actor.id == user_id:
        if uow.actor.session_id is None:
            raise Forbidden("An access token cannot make another one. Sign in with your password to do that.")
        return
    await require_in_scope(uow, "update", "user", user_id)
    if uow.actor.is_system:
        return
    users = uow.table("user")
    kind = await uow.scalar(select(users.c.account_kind).where(users.c.id == user_id))
    if kind != "service":
        raise Forbidden("People make their own access tokens; you can make one for a service account.")


def _check(label: str, expires_at: datetime, now: datetime) -> None:
    problems = []
    if not 0 < len(label) <= LABEL_LENGTH or not label.isprintable():
        problems.append(FieldProblem("label", f"enter 1 to {LABEL_LENGTH} printable characters"))
    if expires_at.tzinfo is None:
        problems.append(FieldProblem("expires_at", "needs a zone: end it with Z or an offset such as +01:00"))
    elif not now < expires_at <= now + LONGEST_LIFETIME:
        problems.append(FieldProblem("expires_at", f"must be within the next {LONGEST_LIFETIME.days} days"))
    if problems:
        raise ValidationFailed(problems)


async def _revoke(uow: UnitOfWork, condition: ColumnElement[bool]) -> int:
    tokens, now = uow.table("access_token"), uow.resources.clock.real()
    revoked = await uow.execute(
        update(tokens)
        .where(condition, tokens.c.revoked_at.is_(None))
        .values(revoked_at=now, updated_at=now, updated_by=uow.actor.id, row_version=tokens.c.row_version + 1)
        .returning(tokens.c.id)
    )
    ids = list(revoked.scalars())
    for id_ in ids:
        uow.audit(
            AuditEntry(command="access_token.revoke", entity="access_token", record_id=id_, after={"revoked_at": now})
        )
    return len(ids)
