"""Rules as screens read them."""

from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope
from app.domain.rules.cases import Case
from app.domain.rules.definitions import RuleContent
from app.domain.rules.publishing import cases_of

READ_RULE = text(
    """
SELECT r.id, r.code, r.label, r.kind, r.purpose, r.active, r.description, r.row_version, a.label AS application
FROM rule r JOIN application a ON a.id = r.application_id WHERE r.id = :id
"""
)
READ_VERSIONS = text(
    """
SELECT v.id, v.number, v.state, v.valid_from, v.notes, v.digest, v.published_at, v.row_version, v.updated_at,
       u.name AS published_by,
       (SELECT count(*) FROM rule_test t WHERE t.version_id = v.id) AS tests,
       lead(v.valid_from) OVER (PARTITION BY v.state ORDER BY v.valid_from) AS valid_to
FROM rule_version v LEFT JOIN app_user u ON u.id = v.published_by_id
WHERE v.rule_id = :id ORDER BY v.number DESC
"""
)


async def read_rule(uow: UnitOfWork, rule_id: UUID) -> dict[str, Any]:
    """Raises NotFound, Forbidden."""
    await require_in_scope(uow, "read", "rule", rule_id)
    row = (await uow.execute(READ_RULE, {"id": rule_id})).mappings().one_or_none()
    if row is None:
        raise NotFound("There is no such rule.")
    return dict(row)


async def versions_of(uow: UnitOfWork, rule_id: UUID) -> list[dict[str, Any]]:
    """The versions of a rule, the latest first; `valid_to` is the day on which the next takes over."""
    return [dict(row) for row in (await uow.execute(READ_VERSIONS, {"id": rule_id})).mappings()]


async def content_of(uow: UnitOfWork, version_id: UUID) -> tuple[RuleContent, list[Case]]:
    """A version's content and cases. Raises NotFound."""
    row = (await uow.execute(text("SELECT content FROM rule_version WHERE id = :id"), {"id": version_id})).one_or_none()
    if row is None:
        raise NotFound("There is no such version.")
    return RuleContent.model_validate(row.content), await cases_of(uow, version_id)
