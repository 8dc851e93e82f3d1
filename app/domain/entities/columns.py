"""What a list or a record selects: columns, live look-ups through references, titles and expanded references."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Interval, Label, ScalarSelect, String, cast, extract, func, literal_column, select

from app.core.uow import UnitOfWork
from app.domain.access.decisions import decide
from app.domain.access.fields import readable_fields
from app.domain.access.scope import scope_condition
from app.domain.entities.codec import codec_of
from models.registry import Registry
from models.schema import EntityDef, FieldDef, FieldType

TITLE_PREFIX = "title__"
EXPAND_PREFIX = "expand__"
MOST_ARGUMENTS = 100  # of a function in PostgreSQL: fifty fields


def selected_columns(uow: UnitOfWork, entity: EntityDef, fields: Iterable[FieldDef], table: Any) -> list[Any]:
    """The columns of the given fields and the standard ones; never those of the `internal` group."""
    names = {"id", "row_version", "created_at", "created_by", "updated_at", "updated_by", "parent_id", "position"}
    columns_of = codec_of(uow.registry, entity.name).columns_of
    result: list[Any] = [column for column in table.c if column.name in names]
    for field in fields:
        if field.type is FieldType.LINES:
            continue
        if field.is_live_lookup:
            result.append(looked_up(uow.registry, entity, field, table).label(field.column))
        elif field.type is FieldType.COMPUTED and not field.stored:
            continue
        elif field.type is FieldType.COMPUTED:
            result.append(table.c[field.column])
        else:
            result += [table.c[name] for name in columns_of[field.name]]
    seen: dict[str, Any] = {column.name: column for column in result}
    return list(seen.values())


def looked_up(registry: Registry, entity: EntityDef, field: FieldDef, table: Any) -> ScalarSelect[Any]:
    """The value of a look-up field: a scalar subquery along its path of references."""
    *hops, last = (field.lookup.path if field.lookup else "").split(".")
    target = registry.entity(entity.field(hops[0]).target or "")
    first = registry.table(target.name).alias()
    inner = first
    condition = inner.c.id == table.c[entity.field(hops[0]).column]
    joined: Any = inner
    for name in hops[1:]:
        step = target.field(name)
        target = registry.entity(step.target or "")
        following = registry.table(target.name).alias()
        joined = joined.join(following, following.c.id == inner.c[step.column])
        inner = following
    return select(inner.c[target.field(last).column]).select_from(joined).where(condition).scalar_subquery()


def title_expression(uow: UnitOfWork, entity: EntityDef, table: Any, *, depth: int = 0) -> ColumnElement[Any]:
    """The text by which a record is known; a title that is itself a reference shows that record's title."""
    if entity.title_field in table.c:
        return cast(table.c[entity.title_field], String)
    field = entity.field(entity.title_field)
    if depth < 2 and field.is_reference:
        return _title_of(uow, field, table, depth=depth + 1, scoped=False)
    return cast(table.c[field.column], String)


def _title_of(uow: UnitOfWork, field: FieldDef, table: Any, *, depth: int, scoped: bool) -> ColumnElement[Any]:
    target = uow.registry.entity(field.target or "")
    inner = uow.registry.table(target.name).alias()
    statement = select(title_expression(uow, target, inner, depth=depth)).where(inner.c.id == table.c[field.column])
    if scoped:
        condition = scope_condition(uow, "read", target.name, inner)
        if condition is not None:
            statement = statement.where(condition)
    return statement.scalar_subquery()


def reference_title(uow: UnitOfWork, field: FieldDef, table: Any) -> ColumnElement[Any]:
    """The title of the referenced record, null where the actor may not see that record."""
    if decide(uow.resources.policy, uow.registry, uow.actor, "read", field.target or "") is None:
        return literal_column("NULL::text")
    return _title_of(uow, field, table, depth=0, scoped=True)


def title_columns(uow: UnitOfWork, fields: Iterable[FieldDef], table: Any) -> list[Label[Any]]:
    return [
        reference_title(uow, field, table).label(f"{TITLE_PREFIX}{field.name}")
        for field in fields
        if field.is_reference
    ]


def expanded(uow: UnitOfWork, field: FieldDef, table: Any) -> Label[Any]:
    """The referenced record as one JSON object of its readable columns, null where the actor may not see it."""
    target = uow.registry.entity(field.target or "")
    inner = uow.registry.table(target.name).alias()
    condition = scope_condition(uow, "read", target.name, inner)
    fields = [f for f in readable_fields(uow.resources.policy, uow.actor, target) if f.type is not FieldType.SECRET]
    columns = selected_columns(uow, target, fields, inner)
    named: list[Any] = [_key(TITLE_PREFIX), title_expression(uow, target, inner)]
    for column in columns:
        # PostgreSQL writes an interval in a style of its own; its length in seconds is read back exactly.
        value = extract("epoch", column) if isinstance(column.type, Interval) else column
        named += [_key(column.name), value]
    parts = [func.jsonb_build_object(*named[at : at + MOST_ARGUMENTS]) for at in range(0, len(named), MOST_ARGUMENTS)]
    whole: ColumnElement[Any] = parts[0]
    for part in parts[1:]:
        whole = whole.op("||")(part)
    statement = select(whole).where(inner.c.id == table.c[field.column])
    if condition is not None:
        statement = statement.where(condition)
    return statement.scalar_subquery().label(f"{EXPAND_PREFIX}{field.name}")


def _key(name: str) -> ColumnElement[Any]:
    """A JSON key as a literal: a bound parameter would have no type there. Names are identifiers of ours."""
    return literal_column(f"'{name}'")
