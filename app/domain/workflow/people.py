"""Who holds a role where a process is: for assignments, and for refusals that name who could do it."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from app.core.uow import UnitOfWork
from app.domain.workflow.process_row import ProcessRow

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
  AND g.revoked_at IS NULL AND g.valid_from <= :now AND (g.valid_until IS NULL OR g.valid_until > :now)
  AND (g.node_id IS NULL OR CAST(CAST(:node_path AS text) AS ltree) <@ n.path)
ORDER BY u.name, u.id
LIMIT :many
"""
)


@dataclass(frozen=True, slots=True)
class Person:
    id: UUID
    name: str


async def holders(uow: UnitOfWork, row: ProcessRow, role: str | None, *, user_id: UUID | None = None) -> list[Person]:
    """The active users whose grant of the role reaches the process now, by name; the first twenty."""
    values = {
        "role": role,
        "application": row.application,
        "user_id": user_id,
        "now": uow.now,
        "node_path": row.node_path,
        "many": MANY,
    }
    return [Person(row.id, row.name) for row in await uow.execute(READ_HOLDERS, values)]


async def who_else(uow: UnitOfWork, row: ProcessRow, role: str) -> list[Person]:
    """Those of the role who had no part in what is decided: they could do what was refused."""
    taken = {*row.makers, *row.signers, uow.actor.id}
    return [person for person in await holders(uow, row, role) if person.id not in taken]


def in_words(people: list[Person], role: str) -> str:
    """`2 can do it: Elena Rossi, Tomasz Nowak.`"""
    if not people:
        return f"Nobody can at present: grant somebody the role {role}."
    names = ", ".join(person.name for person in people[:3])
    more = f" and {len(people) - 3} more" if len(people) > 3 else ""
    return f"{len(people)} can do it: {names}{more}."
