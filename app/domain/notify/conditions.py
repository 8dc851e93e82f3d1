"""Whether the condition of a rule holds for a record; decided in SQL, through references too."""

import logging
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from app.core.filters import FilterError, parse, to_sql
from app.core.uow import UnitOfWork
from app.domain.entities.queries import variables
from app.domain.notify.rule_book import NotificationRule

log = logging.getLogger("steps.notify")


async def matching(uow: UnitOfWork, rule: NotificationRule, entity: str, ids: Sequence[UUID]) -> frozenset[UUID]:
    """Those of the records for which the rule's condition holds.

    A condition that an entity's change has made impossible holds for all: somebody is told too much, not too little.
    """
    if not rule.condition:
        return frozenset(ids)
    try:
        node = parse(rule.condition, uow.registry.entity(entity), uow.registry)
        condition = to_sql(node, uow.registry, variables(uow))
    except FilterError as error:
        log.warning("the condition of the notification rule %s cannot be used: %s", rule.code, error)
        return frozenset(ids)
    table = uow.table(entity)
    found = await uow.execute(select(table.c.id).where(table.c.id.in_(list(ids)), condition))
    return frozenset(found.scalars())
