"""From what a browser or a client presents to an `Actor` with the grants in force: one statement each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import JSON, RowMapping, TextualSelect, Uuid, text

from app.core.actor import Actor, ActorKind, Grant
from app.core.clock import Clock
from app.core.errors import Forbidden, Unauthenticated
from app.core.settings import Settings
from app.core.uow import UnitOfWork
from models.types import UtcDateTime

SEEN_EVERY = timedelta(minutes=1)  # how often "last seen" and "last used" are written at most


class Platform(Protocol):
    """What identification needs of the running platform: `app.bootstrap.Runtime` is one."""

    settings: Settings
    clock: Clock

    def uow(self, actor: Actor, *, now: datetime | None = None) -> UnitOfWork: ...
    def reading(self, actor: Actor) -> UnitOfWork: ...


@dataclass(frozen=True, slots=True)
class Preferences:
    """How the person wants times and screens."""

    time_zone: str
    locale: str
    theme: str
    contrast: str
    density: str


# The user and the grants in force, for a statement whose FROM has `c`, the credential. Grants follow the platform's
# clock (a demo's shift included), sessions and tokens the real one.
_USER_COLUMNS = """
    u.id AS user_id, u.name, u.email, u.account_kind, u.must_change_password, u.time_zone, u.locale, u.theme,
    u.contrast, u.density, coalesce(held.grants, '[]'::json) AS grants
"""
_USER_JOIN = """
    JOIN app_user u ON u.id = c.user_id AND u.active AND u.deleted_at IS NULL
                   AND u.locked_until IS DISTINCT FROM :locked_for_good
    LEFT JOIN LATERAL (
        SELECT json_agg(json_build_object('id', g.id, 'role', r.code, 'application', a.code, 'node_id', g.node_id,
                                          'node_path', n.path::text, 'valid_until', g.valid_until)
                        ORDER BY g.id) AS grants
        FROM role_grant g
        JOIN role r ON r.id = g.role_id
        JOIN application a ON a.id = g.application_id AND a.active
        LEFT JOIN hierarchy_node n ON n.id = g.node_id
        WHERE g.user_id = u.id AND g.revoked_at IS NULL AND g.valid_from <= :now
          AND (g.valid_until IS NULL OR g.valid_until > :now)
    ) held ON true
"""


def identity_query(credential_columns: str, credential: str, condition: str) -> TextualSelect:
    """Return the statement that reads a credential with its user and grants.

    Args:
        credential_columns: columns of `c` beside `c.id`.
        credential: table of the credential; the user must be active and not locked.
        condition: what makes the credential good. Parameters: `locked_for_good`, `now`, and its own.
    """
    # Built from constants of this package only; every value is a bound parameter.
    statement = f"SELECT c.id, {credential_columns}, {_USER_COLUMNS} FROM {credential} c {_USER_JOIN} WHERE {condition}"
    return text(statement).columns(
        id=Uuid,
        user_id=Uuid,
        grants=JSON,
        last_seen_at=UtcDateTime,
        expires_at=UtcDateTime,
        last_used_at=UtcDateTime,
    )


def own_id(uow: UnitOfWork) -> UUID:
    """Return the id of the user who acts.

    Raises:
        Unauthenticated: nobody is signed in.
    """
    if uow.actor.id is None:
        raise Unauthenticated
    return uow.actor.id


def changing_id(uow: UnitOfWork) -> UUID:
    """Return the id of the user who changes something of their own.

    Raises:
        Unauthenticated: nobody is signed in.
        Forbidden: the access token may only read.
    """
    if uow.actor.read_only:
        raise Forbidden("This access token may only read.")
    return own_id(uow)


def actor_from_session(row: RowMapping, *, ip: str | None) -> Actor:
    """Return the actor of a row of `sessions.LOAD_SESSION`."""
    return _actor(row, session_id=row["id"], ip=ip, read_only=False)


def actor_from_token(row: RowMapping, *, ip: str | None) -> Actor:
    """Return the actor of a row of `tokens.LOAD_TOKEN`; it has no session, and may be confined to reading."""
    return _actor(row, session_id=None, ip=ip, read_only=row["read_only"])


def preferences_from(row: RowMapping) -> Preferences:
    return Preferences(
        time_zone=row["time_zone"] or "Europe/Berlin",
        locale=row["locale"] or "en-GB",
        theme=row["theme"] or "system",
        contrast=row["contrast"] or "normal",
        density=row["density"] or "normal",
    )


def _actor(row: RowMapping, *, session_id: UUID | None, ip: str | None, read_only: bool) -> Actor:
    return Actor(
        id=row["user_id"],
        name=row["name"],
        kind=ActorKind.SERVICE if row["account_kind"] == "service" else ActorKind.USER,
        email=row["email"],
        grants=_grants(row["grants"]),
        session_id=session_id,
        ip=ip,
        read_only=read_only,
        time_zone=row["time_zone"] or "Europe/Berlin",
    )


def _grants(items: Sequence[Mapping[str, Any]]) -> tuple[Grant, ...]:
    return tuple(
        Grant(
            id=UUID(item["id"]),
            role=item["role"],
            application=item["application"],
            node_id=UUID(item["node_id"]) if item["node_id"] else None,
            node_path=item["node_path"],
            valid_until=datetime.fromisoformat(item["valid_until"]) if item["valid_until"] else None,
        )
        for item in items
    )
