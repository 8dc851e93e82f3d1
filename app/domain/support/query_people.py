"""Who may be asked, named and told: the people who see where a query is, each by a grant that reaches it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.uow import UnitOfWork
from app.domain.access.policy import AccessPolicy
from app.domain.access.policy_files import ANY, PLATFORM
from app.domain.support.query_rules import QUERY, Person

MOST = 500

# Also people whose part lies below the node of the record: they see it, and may be asked about it.
READ_PEOPLE = text(
    """
SELECT DISTINCT u.name, u.id, u.email
FROM role_grant g
JOIN role o ON o.id = g.role_id AND o.code = ANY (:roles)
JOIN application a ON a.id = g.application_id AND a.active
JOIN app_user u ON u.id = g.user_id AND u.active AND u.deleted_at IS NULL AND u.account_kind = 'person'
LEFT JOIN hierarchy_node n ON n.id = g.node_id
LEFT JOIN hierarchy_node place ON place.id = CAST(:node_id AS uuid)
WHERE g.revoked_at IS NULL AND g.valid_from <= :now AND (g.valid_until IS NULL OR g.valid_until > :now)
  AND (CAST(:application_id AS uuid) IS NULL OR a.id = CAST(:application_id AS uuid)
       OR (a.code = :platform AND o.code = ANY (:wide)))
  AND (g.node_id IS NULL OR place.path <@ n.path OR place.path @> n.path)
  AND (CAST(:users AS uuid[]) IS NULL OR u.id = ANY (CAST(:users AS uuid[])))
  AND (CAST(:group_id AS uuid) IS NULL OR EXISTS (
      SELECT FROM user_group_member m JOIN user_group y ON y.id = m.parent_id AND y.active
      WHERE m.parent_id = CAST(:group_id AS uuid) AND m.user_id = u.id))
ORDER BY u.name, u.id LIMIT :most
"""
).bindparams(bindparam("roles", type_=ARRAY(Text)), bindparam("wide", type_=ARRAY(Text)))
READ_GROUPS = text("SELECT id, label FROM user_group WHERE active ORDER BY label, id LIMIT 200")
READ_MY_GROUPS = text(
    """
SELECT m.parent_id FROM user_group_member m JOIN user_group y ON y.id = m.parent_id AND y.active
WHERE m.user_id = CAST(:me AS uuid)
"""
).columns(parent_id=Uuid)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a query is: the application and the node of its record, and of which entity that is."""

    application_id: UUID | None
    node_id: UUID | None
    entity: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Something that a query can be asked of."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Choices:
    people: tuple[Person, ...]
    roles: tuple[Choice, ...]
    groups: tuple[Choice, ...]


async def people_at(
    uow: UnitOfWork,
    place: Place,
    *,
    role: str | None = None,
    group_id: UUID | None = None,
    users: Iterable[UUID] | None = None,
    action: str = "read",
) -> list[Person]:
    """The active people who may do this to queries there, by name; of a role, a group, or among some users."""
    policy: AccessPolicy = uow.resources.policy
    readers = policy.roles_that_may(ANY, place.entity, "read")
    roles = [code for code in roles_that(uow, action) if role in (None, code) and code in readers]
    values = {
        "roles": roles,
        "wide": [one.code for one in policy.roles if policy.reaches(one.code)],
        "platform": PLATFORM,
        "application_id": place.application_id,
        "node_id": place.node_id,
        "users": list(users) if users is not None else None,
        "group_id": group_id,
        "now": uow.now,
        "most": MOST,
    }
    return [Person(row.id, row.name, row.email) for row in await uow.execute(READ_PEOPLE, values)]


def roles_that(uow: UnitOfWork, action: str) -> list[str]:
    """The roles that may do this to queries in some application."""
    policy: AccessPolicy = uow.resources.policy
    return list(policy.roles_that_may(ANY, QUERY, action))


async def choices_at(uow: UnitOfWork, place: Place) -> Choices:
    """Of whom a query can be asked there: those who may answer."""
    answering = roles_that(uow, "update")
    policy: AccessPolicy = uow.resources.policy
    named = tuple(Choice(role.code, role.label) for role in policy.roles if role.code in answering)
    people = [person for person in await people_at(uow, place, action="update") if person.id != uow.actor.id]
    groups = tuple(Choice(str(row.id), row.label) for row in await uow.execute(READ_GROUPS))
    return Choices(tuple(people), named, groups)


async def my_groups(uow: UnitOfWork) -> frozenset[UUID]:
    """The active groups that the actor is a member of."""
    return frozenset(row.parent_id for row in await uow.execute(READ_MY_GROUPS, {"me": uow.actor.id}))


def ids_of(people: Sequence[Person]) -> tuple[UUID, ...]:
    return tuple(person.id for person in people)
