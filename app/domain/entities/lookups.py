"""What may be chosen in a reference field."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import String, cast, select

from app.core.filters import parse, to_sql
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope
from app.domain.entities.columns import title_expression
from app.domain.entities.expansion import expandable
from app.domain.entities.queries import search_condition, variables


@dataclass(frozen=True)
class Choice:
    """One option of a look-up."""

    id: UUID
    title: str
    subtitle: str


async def lookup_choices(
    uow: UnitOfWork, entity_name: str, field_name: str, *, search: str = "", limit: int = 20
) -> list[Choice]:
    """What may be chosen in a reference field: within the actor's scope and the field's own filter."""
    authorize(uow, "read", entity_name)
    entity = uow.registry.entity(entity_name)
    reference = expandable(entity, field_name)
    target = uow.registry.entity(reference.target or "")
    table = uow.table(target.name)
    subtitle = [name for name in target.search_fields if name != target.title_field and target.has_field(name)]
    title = title_expression(uow, target, table)
    second = cast(table.c[target.field(subtitle[0]).column], String) if subtitle else cast(None, String)
    statement = select(table.c.id, title.label("title"), second.label("subtitle"))
    if search.strip():
        statement = statement.where(search_condition(uow, target, search, table))
    if reference.reference and reference.reference.filter:
        node = parse(reference.reference.filter, target, uow.registry)
        statement = statement.where(to_sql(node, uow.registry, variables(uow), table=table))
    if "deleted_at" in table.c:
        statement = statement.where(table.c.deleted_at.is_(None))
    if target.has_field("active"):
        statement = statement.where(table.c.active)
    statement = scope(statement, uow, "read", target.name, table).order_by(title, table.c.id).limit(min(limit, 100))
    rows = (await uow.execute(statement)).mappings()
    return [Choice(row["id"], row["title"] or "", row["subtitle"] or "") for row in rows]
