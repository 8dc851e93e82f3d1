"""Read records: one, a page of a list, look-up choices, history. Every query goes through the actor's row scope."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Select, String, Table, Uuid, and_, bindparam, cast, func, or_, select

from app.core.errors import InvalidRequest, NotFound
from app.core.filters import FilterError, Variables, fields_read, parse, to_sql
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.fields import mask, readable_fields
from app.domain.access.scope import scope, scope_condition, scope_key
from app.domain.entities.codec import Codec, codec_of
from app.domain.entities.columns import (
    EXPAND_PREFIX,
    TITLE_PREFIX,
    expanded,
    selected_columns,
    title_columns,
    title_expression,
)
from app.domain.entities.cursor import after, decode, encode
from app.domain.entities.expansion import attach_expanded, expandable
from app.domain.entities.sorting import sort_keys
from models.schema import EntityDef, FieldDef, FieldType

MAX_LIMIT = 1_000
COUNT_BOUND = 10_000
MAX_SORT_KEYS = 4


class Count(StrEnum):
    NONE = "none"
    BOUNDED = "bounded"
    EXACT = "exact"


@dataclass(frozen=True)
class ListQuery:
    """What a list is asked for; `fields` empty means every readable one."""

    filter: Any = None
    search: str = ""
    sort: str = ""
    fields: Sequence[str] = ()
    expand: Sequence[str] = ()
    cursor: str | None = None
    limit: int = 50
    count: Count = Count.NONE
    titles: bool = False
    action: str = "read"


@dataclass(frozen=True)
class Page:
    """`records` in memory; `titles[i]` maps a reference field to the title of what record i refers to."""

    entity: EntityDef
    fields: tuple[FieldDef, ...]
    records: list[dict[str, Any]]
    titles: list[dict[str, str | None]]
    next_cursor: str | None
    count: int | None
    count_is_exact: bool = True
    items: list[dict[str, Any]] = field(default_factory=list)


def variables(uow: UnitOfWork) -> Variables:
    """What $now, $me and the rest stand for in this unit of work."""
    actor = uow.actor
    nodes = frozenset(grant.node_id for grant in actor.grants if grant.node_id is not None)
    return Variables(
        now=uow.now,
        today=uow.now.date(),
        business_date=uow.business_date,
        me=actor.id,
        my_roles=actor.roles,
        my_nodes=nodes,
    )


async def list_records(uow: UnitOfWork, entity_name: str, query: ListQuery) -> Page:
    """A page of records within scope. Raises Forbidden, InvalidRequest (filter, sort, field, cursor, limit)."""
    authorize(uow, query.action, entity_name)
    entity = uow.registry.entity(entity_name)
    table = uow.table(entity_name)
    shown = _chosen_fields(uow, entity, query.fields)
    keys = sort_keys(uow, entity, query.sort or entity.default_sort, table)
    if not 1 <= query.limit <= MAX_LIMIT:
        raise InvalidRequest(f"limit must be from 1 to {MAX_LIMIT}")
    columns = selected_columns(uow, entity, shown, table)
    columns += [key.column.label(f"sort__{n}") for n, key in enumerate(keys)]
    columns += title_columns(uow, shown, table) if query.titles else []
    columns += [expanded(uow, expandable(entity, name), table) for name in dict.fromkeys(query.expand)]
    condition = _condition(uow, entity, query, table)
    statement = select(*columns).select_from(table)
    if condition is not None:
        statement = statement.where(condition)
    if query.cursor:
        statement = statement.where(after(keys, decode(keys, query.cursor)))
    statement = statement.order_by(*(key.order() for key in keys)).limit(query.limit + 1)
    statement = scope(statement, uow, query.action, entity_name, table)
    rows = (await uow.execute(statement)).mappings().all()
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    codec = codec_of(uow.registry, entity_name)
    records = [mask(uow.resources.policy, uow.actor, entity, codec.record(row)) for row in rows]
    for record, row in zip(records, rows, strict=True):
        attach_expanded(uow, entity, query.expand, record, row)
    next_cursor = encode(keys, [rows[-1][f"sort__{n}"] for n in range(len(keys))]) if more else None
    count, exact = await _count(uow, entity, query, table, condition, more=more, seen=len(rows))
    titles = [_titles(row) for row in rows] if query.titles else []
    items = [_json(codec, record, shown, query.expand) for record in records]
    return Page(entity, shown, records, titles, next_cursor, count, exact, items)


def _json(codec: Codec, record: Mapping[str, Any], shown: Sequence[FieldDef], expand: Sequence[str]) -> dict[str, Any]:
    item = codec.json(record, shown)
    for name in expand:
        item[name] = record.get(f"{EXPAND_PREFIX}{name}")
    return item


def _titles(row: Mapping[Any, Any]) -> dict[str, str | None]:
    return {name[len(TITLE_PREFIX) :]: value for name, value in row.items() if name.startswith(TITLE_PREFIX)}


def _chosen_fields(uow: UnitOfWork, entity: EntityDef, names: Sequence[str]) -> tuple[FieldDef, ...]:
    readable = readable_fields(uow.resources.policy, uow.actor, entity)
    if not names:
        return readable
    by_name = {f.name: f for f in readable}
    unknown = [name for name in names if name not in by_name and name not in ("id", "row_version")]
    if unknown:
        raise InvalidRequest(f"fields: {unknown[0]!r} is not a field you can read; there are {', '.join(by_name)}")
    return tuple(by_name[name] for name in dict.fromkeys(names) if name in by_name)


def _condition(uow: UnitOfWork, entity: EntityDef, query: ListQuery, table: Table) -> ColumnElement[bool] | None:
    parts: list[ColumnElement[bool]] = []
    if query.filter not in (None, {}, ""):
        try:
            _refuse_unreadable(uow, entity, query.filter)
            node = parse(query.filter, entity, uow.registry)
            parts.append(to_sql(node, uow.registry, variables(uow), table=table, within=_visible(uow)))
        except FilterError as error:
            raise InvalidRequest(f"filter: {error}") from None
    if query.search.strip():
        parts.append(search_condition(uow, entity, query.search, table))
    if "deleted_at" in table.c:
        parts.append(table.c.deleted_at.is_(None))
    return and_(*parts) if parts else None


def _visible(uow: UnitOfWork) -> Callable[[str, FromClause], ColumnElement[bool] | None]:
    """Through which records a filter may look: those that the actor may read."""
    return lambda entity, table: scope_condition(uow, "read", entity, table)


def _refuse_unreadable(uow: UnitOfWork, entity: EntityDef, filter_: Any) -> None:
    """A filter on a field that the actor cannot read would tell its values by what it finds."""
    for entity_name, name in fields_read(parse(filter_, entity, uow.registry)):
        target = uow.registry.entity(entity_name)
        readable = {f.name for f in readable_fields(uow.resources.policy, uow.actor, target)}
        if target.has_field(name) and name not in readable:
            raise FilterError(f"{name!r} is not a field you can read; there are {', '.join(sorted(readable))}")


def search_condition(uow: UnitOfWork, entity: EntityDef, text: str, table: Any) -> ColumnElement[bool]:
    """Every word occurs in one of the entity's search fields (or its title)."""
    if "\x00" in text:
        raise InvalidRequest("The search contains a character that cannot be searched for; remove it.")
    columns: list[ColumnElement[Any]] = [
        cast(table.c[entity.field(name).column], String) for name in entity.search_fields if entity.has_field(name)
    ] or [title_expression(uow, entity, table)]
    return and_(*(or_(*(c.icontains(word, autoescape=True) for c in columns)) for word in text.split()[:10]))


async def _count(
    uow: UnitOfWork,
    entity: EntityDef,
    query: ListQuery,
    table: Table,
    condition: ColumnElement[bool] | None,
    *,
    more: bool,
    seen: int,
) -> tuple[int | None, bool]:
    if query.count is Count.NONE:
        return None, True
    if not more and not query.cursor:
        return seen, True
    inner: Select[Any] = select(table.c.id)
    if condition is not None:
        inner = inner.where(condition)
    inner = scope(inner, uow, query.action, entity.name, table)
    if query.count is Count.BOUNDED:
        inner = inner.limit(COUNT_BOUND + 1)
    found = await uow.scalar(select(func.count()).select_from(inner.subquery()))
    if query.count is Count.BOUNDED and found > COUNT_BOUND:
        return COUNT_BOUND, False
    return found, True


async def get_record(
    uow: UnitOfWork,
    entity_name: str,
    record_id: UUID,
    *,
    expand: Sequence[str] = (),
    titles: bool = False,
    lines: bool = True,
    action: str = "read",
) -> Page:
    """One record within scope, as a page of one. Raises NotFound, also for one that the actor may not see."""
    authorize(uow, action, entity_name)
    entity = uow.registry.entity(entity_name)
    table = uow.table(entity_name)
    shown = _chosen_fields(uow, entity, ())

    def query() -> Select[Any]:
        columns = selected_columns(uow, entity, shown, table)
        columns += title_columns(uow, shown, table) if titles else []
        columns += [expanded(uow, expandable(entity, name), table) for name in dict.fromkeys(expand)]
        statement = select(*columns).where(table.c.id == bindparam("record_id", type_=Uuid))
        if "deleted_at" in table.c:
            statement = statement.where(table.c.deleted_at.is_(None))
        return scope(statement, uow, action, entity_name, table)

    # Titles and expanded records have scopes of their own: only the plain record's query is kept.
    key = None if titles or expand else scope_key(uow, action, entity_name)
    roles = tuple((grant.role, grant.application) for grant in uow.actor.grants)  # which fields are shown
    statement = query() if key is None else uow.resources.policy.kept(("one", key, roles), query)
    found = await uow.execute(statement, {"record_id": record_id}, kept=key is not None)
    row = found.mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no such {entity.label.lower()}, or you may not see it.")
    codec = codec_of(uow.registry, entity_name)
    record = mask(uow.resources.policy, uow.actor, entity, codec.record(row))
    attach_expanded(uow, entity, expand, record, row)
    if lines:
        await attach_lines(uow, entity, [record])
    found_titles = [_titles(row)] if titles else []
    return Page(entity, shown, [record], found_titles, None, 1, True, [_json(codec, record, shown, expand)])


async def attach_lines(uow: UnitOfWork, entity: EntityDef, records: Sequence[dict[str, Any]]) -> None:
    """Add the child lines of the records as JSON, one statement per lines field however many records there are."""
    by_id = {record["id"]: record for record in records}
    for lines_field in entity.fields:
        if lines_field.type is not FieldType.LINES or not by_id:
            continue
        child = uow.registry.entity(lines_field.target or "")
        table = uow.table(child.name)
        statement = (
            select(table).where(table.c.parent_id.in_(list(by_id))).order_by(table.c.parent_id, table.c.position)
        )
        codec = codec_of(uow.registry, child.name)
        fields = readable_fields(uow.resources.policy, uow.actor, child)
        for record in records:
            record[lines_field.name] = []
        for row in (await uow.execute(statement)).mappings():
            line = codec.json(codec.record(row), fields)
            by_id[row["parent_id"]][lines_field.name].append(
                {"id": line["id"], **{f.name: line[f.name] for f in fields if f.name in line}}
            )
