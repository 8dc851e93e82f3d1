"""Whom a step tells at the moment it is told: who holds the role then, who stands in for whom, who is the fallback."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.uow import UnitOfWork
from app.domain.access.policy import AccessPolicy
from app.domain.access.policy_files import PLATFORM
from app.domain.escalation.ladders import Step, Target
from models.types import UtcDateTime

# People who are away are replaced by who stands in for them; without anybody standing in they count as there.
# Role holders count where their grant covers the application and the node. The owner of a node is named by its
# attribute `owner`, an e-mail address, or by that of the nearest node above it.
_WHO = text(
    """
WITH place AS (
    SELECT n.path FROM hierarchy_node n WHERE n.id = CAST(:node AS uuid)
), named AS (
    SELECT g.user_id
    FROM role_grant g JOIN application a ON a.id = g.application_id AND a.active
    JOIN role r ON r.id = g.role_id
    LEFT JOIN hierarchy_node within ON within.id = g.node_id
    WHERE g.role_id = ANY (:roles) AND g.revoked_at IS NULL AND g.valid_from <= :now
      AND (g.valid_until IS NULL OR g.valid_until > :now)
      AND (CAST(:application AS uuid) IS NULL OR a.id = :application OR (a.code = :platform AND r.code = ANY (:wide)))
      AND (g.node_id IS NULL OR NOT EXISTS (SELECT FROM place) OR (SELECT path FROM place) <@ within.path)
    UNION
    SELECT m.user_id FROM user_group_member m JOIN user_group g ON g.id = m.parent_id AND g.active
    WHERE g.id = CAST(:group AS uuid)
    UNION
    SELECT u.manager_id FROM app_user u WHERE u.id = CAST(:managed AS uuid)
    UNION
    SELECT u.id FROM app_user u
    WHERE :owner AND lower(u.email) = (
        SELECT lower(above.attributes ->> 'owner') FROM hierarchy_node above, place
        WHERE place.path <@ above.path AND above.attributes ->> 'owner' <> ''
        ORDER BY nlevel(above.path) DESC LIMIT 1)
    UNION
    SELECT unnest(:people)
), there AS (
    SELECT u.id FROM named JOIN app_user u ON u.id = named.user_id
    WHERE u.active AND u.deleted_at IS NULL AND u.account_kind = 'person'
), away AS (
    SELECT t.id, d.delegate_id
    FROM there t JOIN delegation d ON d.delegator_id = t.id AND d.valid_from <= :now
         AND least(d.valid_until, d.revoked_at) > :now
         AND (d.application_id IS NULL OR d.application_id = CAST(:application AS uuid))
    JOIN app_user u ON u.id = d.delegate_id AND u.active AND u.deleted_at IS NULL
)
SELECT id FROM there WHERE id NOT IN (SELECT id FROM away)
UNION SELECT delegate_id FROM away
ORDER BY 1
"""
).bindparams(
    bindparam("roles", type_=ARRAY(Uuid)),
    bindparam("people", type_=ARRAY(Uuid)),
    bindparam("wide", type_=ARRAY(Text)),
    bindparam("now", type_=UtcDateTime),
    bindparam("node", type_=Uuid),
    bindparam("application", type_=Uuid),
    bindparam("group", type_=Uuid),
    bindparam("managed", type_=Uuid),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the matter lies: it limits which role holders count. `assignee`: whose work it is."""

    node: UUID | None
    application: UUID | None
    assignee: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    role: UUID | None
    person: UUID | None


@dataclass(frozen=True, slots=True)
class Reached:
    """Who is told; `fallback`: the step itself reached nobody."""

    user_ids: tuple[UUID, ...]
    fallback: bool


async def reach(uow: UnitOfWork, step: Step, *, place: Place, fallback: Fallback) -> Reached:
    """Return whom the step tells now, or else whom the ladder falls back on; nobody where neither reaches anybody."""
    found = await _who(
        uow,
        place,
        roles=_given(step.role if step.target is Target.ROLE else None),
        people=_given(step.person if step.target is Target.PERSON else None),
        group=step.group if step.target is Target.GROUP else None,
        managed=place.assignee if step.target is Target.MANAGER else None,
        owner=step.target is Target.OWNER,
    )
    if found:
        return Reached(found, fallback=False)
    found = await _who(uow, place, roles=_given(fallback.role), people=_given(fallback.person))
    return Reached(found, fallback=True)


def _given(id_: UUID | None) -> list[UUID]:
    return [] if id_ is None else [id_]


async def _who(
    uow: UnitOfWork,
    place: Place,
    *,
    roles: Sequence[UUID],
    people: Sequence[UUID],
    group: UUID | None = None,
    managed: UUID | None = None,
    owner: bool = False,
) -> tuple[UUID, ...]:
    if not (roles or people or group or managed or owner):
        return ()
    policy: AccessPolicy = uow.resources.policy
    rows = await uow.execute(
        _WHO,
        {
            "roles": list(roles),
            "people": list(people),
            "group": group,
            "managed": managed,
            "owner": owner,
            "node": place.node,
            "application": place.application,
            "platform": PLATFORM,
            "wide": [role.code for role in policy.roles if policy.reaches(role.code)],
            "now": uow.now,
        },
    )
    return tuple(rows.scalars())
