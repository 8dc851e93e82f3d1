"""Titles of records by entity and id: one statement however many there are, within what the actor may see."""

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import String, Uuid, cast, literal, select, union_all

from app.core.actor import SYSTEM_ID
from app.core.uow import UnitOfWork
from app.domain.access.decisions import decide
from app.domain.access.scope import scope
from app.domain.entities.columns import title_expression

MOST_IDS = 2_000


async def titles_of(uow: UnitOfWork, wanted: Iterable[tuple[str, UUID]]) -> dict[tuple[str, UUID], str]:
    """(entity, id) -> title. What the actor may not see, and what is not there, is missing."""
    by_entity: dict[str, set[UUID]] = defaultdict(set)
    found: dict[tuple[str, UUID], str] = {}
    for entity, id_ in wanted:
        if (entity, id_) == ("user", SYSTEM_ID):
            found[entity, id_] = "STEPS"
        elif entity in uow.registry.entities and len(by_entity[entity]) < MOST_IDS:
            by_entity[entity].add(id_)
    parts = []
    for entity, ids in by_entity.items():
        if not ids or decide(uow.resources.policy, uow.registry, uow.actor, "read", entity) is None:
            continue
        table = uow.table(entity)
        title = cast(title_expression(uow, uow.registry.entity(entity), table), String)
        one = select(literal(entity).label("entity"), cast(table.c.id, Uuid).label("id"), title.label("title"))
        parts.append(scope(one.where(table.c.id.in_(list(ids))), uow, "read", entity, table))
    if parts:
        for row in await uow.execute(union_all(*parts)):
            found[row.entity, row.id] = row.title or ""
    return found
