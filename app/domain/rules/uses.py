"""Who asks a rule: every record with a reference to it, in whichever entity, and what other features add."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, select

from app.core.uow import UnitOfWork
from app.domain.access.decisions import decide
from app.domain.access.scope import scope

RULE_USERS = "rule_users"  # service: further finders, for what names a rule by its code
OWN = frozenset({"rule_version", "rule_evaluation"})
SHOWN = 5


@dataclass(frozen=True, slots=True)
class RuleUse:
    """`examples`: ids and titles of some of the records that ask; `count`: of how many."""

    entity: str
    label: str
    count: int
    examples: tuple[tuple[UUID, str], ...]


RuleUsers = Callable[[UnitOfWork, UUID, str], Awaitable[Sequence[RuleUse]]]


async def uses_of(uow: UnitOfWork, *, rule_id: UUID, code: str) -> list[RuleUse]:
    """What will decide otherwise when the rule changes: as far as the reader may see it."""
    found: list[RuleUse] = []
    for entity in uow.registry.entities.values():
        if entity.name in OWN or decide(uow.resources.policy, uow.registry, uow.actor, "read", entity.name) is None:
            continue
        for field in entity.fields:
            if field.target != "rule" or field.is_live_lookup:
                continue
            table = uow.table(entity.name)
            title = entity.field(entity.title_field) if entity.has_field(entity.title_field) else None
            shown = table.c[title.column] if title is not None and not title.is_live_lookup else table.c.id
            statement = select(table.c.id, shown.label("title"), func.count().over().label("count"))
            statement = statement.where(table.c[field.column] == rule_id).order_by(shown).limit(SHOWN)
            rows = (await uow.execute(scope(statement, uow, "read", entity.name))).all()
            if rows:
                examples = tuple((row.id, str(row.title)) for row in rows)
                found.append(RuleUse(entity.name, entity.label_plural, rows[0]._mapping["count"], examples))
    for finder in uow.resources.services.get(RULE_USERS, ()):
        found += await finder(uow, rule_id, code)
    return found
