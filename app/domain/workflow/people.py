"""Who holds a role where a process is: for assignments, and for refusals that name who could do it."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import DateTime, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.uow import UnitOfWork
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.states import ProcessState

MANY = 20

READ_HOLDERS = text(
    """
SELECT DISTINCT u.name, u.id
FROM role_grant g
JOIN role o ON o.id = g.role_id
JOIN application a ON a.id = g.application_id
JOIN app_user u ON u.id = g.user_id
LEFT JOIN hierarchy_node n ON n.id = g.node_id
WHERE (CAST(:role AS text) IS NULL OR o.code = :role) AND a.code = :application AND a.active
  AND u.active AND u.deleted_at IS NULL
  AND (CAST(:user_id AS uuid) IS NULL OR u.id = :user_id)
  AND (CAST(:group_id AS uuid) IS NULL OR EXISTS (
      SELECT FROM user_group_member m JOIN user_group y ON y.id = m.parent_id AND y.active
      WHERE m.parent_id = :group_id AND m.user_id = u.id))
  AND (CAST(:candidates_of AS uuid) IS NULL
       OR NOT EXISTS (SELECT FROM process_candidate c WHERE c.parent_id = :candidates_of)
       OR EXISTS (SELECT FROM process_candidate c WHERE c.parent_id = :candidates_of AND (
            c.user_id = u.id OR EXISTS (
                SELECT FROM user_group_member m JOIN user_group y ON y.id = m.parent_id AND y.active
                WHERE m.parent_id = c.user_group_id AND m.user_id = u.id))))
  AND NOT EXISTS (
      SELECT FROM delegation d
      WHERE d.delegate_id = u.id AND d.delegator_id = ANY (:makers) AND d.valid_from <= :now
        AND least(d.valid_until, d.revoked_at) > coalesce(CAST(:since AS timestamptz), :now)
        AND (d.application_id IS NULL OR d.application_id = g.application_id))
  AND g.revoked_at IS NULL AND g.valid_from <= :now AND (g.valid_until IS NULL OR g.valid_until > :now)
  AND (g.node_id IS NULL OR CAST(CAST(:node_path AS text) AS ltree) <@ n.path)
ORDER BY u.name, u.id
LIMIT :many
"""
).bindparams(
    bindparam("makers", type_=ARRAY(Uuid)),
    bindparam("user_id", type_=Uuid),
    bindparam("group_id", type_=Uuid),
    bindparam("candidates_of", type_=Uuid),
    bindparam("since", type_=DateTime(timezone=True)),
    bindparam("now", type_=DateTime(timezone=True)),
)


READ_PLACE = text(
    """
SELECT a.code AS application, n.path AS node_path FROM workflow_run r
JOIN application a ON a.id = r.application_id LEFT JOIN hierarchy_node n ON n.id = r.node_id WHERE r.id = :id
"""
)


@dataclass(frozen=True, slots=True)
class Person:
    id: UUID
    name: str


async def holders(uow: UnitOfWork, row: ProcessRow, role: str | None, *, user_id: UUID | None = None) -> list[Person]:
    """The active users who may do it now: their grant of the role reaches the process, and they are of the group of the
    open level, or else among the candidates, and stand in for no maker of what is decided. By name, the first twenty.
    """
    deciding = row.state is ProcessState.IN_REVIEW and row.level_rule is not None
    values = {
        "group_id": row.level_rule.group_id if deciding and row.level_rule is not None else None,
        "candidates_of": None if deciding or not row.candidates.named else row.process_id,
        "makers": list(row.makers) if deciding else [],
        "since": row.submitted_at,
        "role": role,
        "application": row.application,
        "user_id": user_id,
        "now": uow.now,
        "node_path": row.node_path,
        "many": MANY,
    }
    return [Person(row.id, row.name) for row in await uow.execute(READ_HOLDERS, values)]


async def who_else(uow: UnitOfWork, row: ProcessRow, role: str | None) -> list[Person]:
    """Those of the role who had no part in what is decided: they could do what was refused."""
    taken = {*row.makers, *row.signers, uow.actor.id}
    return [person for person in await holders(uow, row, role) if person.id not in taken]


def in_words(people: list[Person], role: str) -> str:
    """`2 can do it: Elena Rossi, Tomasz Nowak.`"""
    if not people:
        what = f"grant somebody the role {role}" if role else "add somebody to the group"
        return f"Nobody can at present: {what}."
    names = ", ".join(person.name for person in people[:3])
    more = f" and {len(people) - 3} more" if len(people) > 3 else ""
    return f"{len(people)} can do it: {names}{more}."


async def role_holders(uow: UnitOfWork, *, run_id: UUID, role: str) -> list[Person]:
    """The active users whose grant of the role reaches a run that the caller has read, by name, the first twenty."""
    place = (await uow.execute(READ_PLACE, {"id": run_id})).one()
    values = {
        "group_id": None,
        "candidates_of": None,
        "makers": [],
        "since": None,
        "role": role,
        "application": place.application,
        "user_id": None,
        "now": uow.now,
        "node_path": place.node_path,
        "many": MANY,
    }
    return [Person(row.id, row.name) for row in await uow.execute(READ_HOLDERS, values)]
