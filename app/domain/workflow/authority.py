"""By whose authority somebody acts on a process: their own, or that of a person they stand in for at that moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from app.core.actor import Grant

# Administration is never delegated: neither this role nor what it may do.
NOT_DELEGATED = frozenset({"admin"})

DELEGATION_IN_FORCE = (
    "{0}.valid_from <= :now AND {0}.valid_until > :now AND ({0}.revoked_at IS NULL OR {0}.revoked_at > :now)"
)
GROUPS_OF = """(SELECT jsonb_agg(m.parent_id)
        FROM user_group_member m JOIN user_group y ON y.id = m.parent_id AND y.active
        WHERE m.user_id = {0})"""
GRANTS_OF = """(SELECT jsonb_agg(jsonb_build_object(
            'id', g.id, 'role', o.code, 'application', a.code, 'node_id', g.node_id, 'node_path', n.path::text)
            ORDER BY g.id)
        FROM role_grant g
        JOIN role o ON o.id = g.role_id
        JOIN application a ON a.id = g.application_id AND a.active
        LEFT JOIN hierarchy_node n ON n.id = g.node_id
        WHERE g.user_id = {0} AND g.revoked_at IS NULL AND g.valid_from <= :now
          AND (g.valid_until IS NULL OR g.valid_until > :now))"""

_PRINCIPALS = f"""(SELECT jsonb_agg(jsonb_build_object(
        'id', u.id, 'name', u.name, 'application', z.code, 'grants', {GRANTS_OF.format("u.id")},
        'groups', {GROUPS_OF.format("u.id")}) ORDER BY u.name, u.id)
     FROM delegation d
     JOIN app_user u ON u.id = d.delegator_id AND u.active AND u.deleted_at IS NULL
     LEFT JOIN application z ON z.id = d.application_id
     WHERE d.delegate_id = :actor_id AND {DELEGATION_IN_FORCE.format("d")})"""

# What counts about a person, read in the statement that reads the process. `stands_in` has the actor's delegations and
# those of whom the actor stands in for now, as far back as `p`, the process run, exists; they are never deleted.
AUTHORITY = f"""(SELECT jsonb_build_object(
    'groups', {GROUPS_OF.format(":actor_id")},
    'stands_in', (
        SELECT jsonb_agg(jsonb_build_object(
            'delegate', t.delegate_id, 'delegator', t.delegator_id, 'name', w.name, 'application', z.code,
            'since', t.valid_from, 'until', least(t.valid_until, t.revoked_at)))
        FROM delegation t JOIN app_user w ON w.id = t.delegator_id LEFT JOIN application z ON z.id = t.application_id
        WHERE least(t.valid_until, t.revoked_at) > p.created_at AND t.valid_from <= :now
          AND (t.delegate_id = :actor_id OR t.delegate_id IN (
              SELECT d.delegator_id FROM delegation d
              WHERE d.delegate_id = :actor_id AND {DELEGATION_IN_FORCE.format("d")}))),
    'principals', {_PRINCIPALS})
    WHERE CAST(:actor_id AS uuid) IS NOT NULL)::text"""

PRINCIPALS = f"SELECT {_PRINCIPALS}::text"


@dataclass(frozen=True, slots=True)
class Standing:
    """One person stands, or stood, in for another: `[since, until)`, in one application or in all (None)."""

    delegate: UUID
    delegator: UUID
    name: str  # of the delegator
    application: str | None
    since: datetime
    until: datetime

    def overlaps(self, application: str, since: datetime, now: datetime) -> bool:
        """Whether it was in force for the application at some moment from `since` until now."""
        return self.application in (None, application) and self.since <= now and self.until > since


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom the actor stands in for now, with what that person may do in process work."""

    id: UUID
    name: str
    application: str | None
    grants: tuple[Grant, ...]
    groups: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class Authority:
    """What counts about the actor beside their own grants."""

    groups: frozenset[UUID] = frozenset()
    standings: tuple[Standing, ...] = ()
    principals: tuple[Principal, ...] = ()

    def principals_in(self, application: str) -> tuple[Principal, ...]:
        return tuple(p for p in self.principals if p.application in (None, application))


NO_AUTHORITY = Authority()


def authority_from(json_text: str | None) -> Authority:
    """Read what `AUTHORITY` has built."""
    if not json_text:
        return NO_AUTHORITY
    found = orjson.loads(json_text)
    standings = tuple(
        Standing(
            UUID(item["delegate"]),
            UUID(item["delegator"]),
            item["name"],
            item["application"],
            datetime.fromisoformat(item["since"]),
            datetime.fromisoformat(item["until"]),
        )
        for item in found["stands_in"] or ()
    )
    return Authority(_ids(found["groups"]), standings, principals_from(found["principals"]))


def principals_from(items: Sequence[dict[str, Any]] | None) -> tuple[Principal, ...]:
    """Read what `PRINCIPALS` has built. Grants that administer are left out."""
    return tuple(
        Principal(
            UUID(item["id"]),
            item["name"],
            item["application"],
            tuple(_grant(grant) for grant in item["grants"] or () if grant["role"] not in NOT_DELEGATED),
            _ids(item["groups"]),
        )
        for item in items or ()
    )


def _grant(item: dict[str, Any]) -> Grant:
    node_id = UUID(item["node_id"]) if item["node_id"] else None
    return Grant(UUID(item["id"]), item["role"], item["application"], node_id, item["node_path"])


def _ids(items: Sequence[str] | None) -> frozenset[UUID]:
    return frozenset(UUID(item) for item in items or ())
