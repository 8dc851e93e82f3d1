"""Read trees: as of today or any date, what differs between two dates, and what refers to a node."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Row,
    Select,
    Text,
    cast,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    union_all,
)

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize, decide
from app.domain.access.scope import require_in_scope, scope_condition
from app.domain.hierarchy.store import read_nodes
from app.domain.hierarchy.timeline import ENDED, Timeline
from models.schema import FieldType

NODE = "hierarchy_node"
VERSION = "hierarchy_node_version"


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node in its tree. `path` is the ids from the top, `level` counts from 1; the dates are those of the node."""

    id: UUID
    parent_id: UUID | None
    code: str
    label: str
    attributes: Mapping[str, Any]
    path: str
    level: int
    valid_from: date
    valid_to: date | None


@dataclass(frozen=True, slots=True)
class NodeState:
    label: str
    parent: str | None  # its code
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One node on two dates; None where it is not in force."""

    node_id: UUID
    code: str
    before: NodeState | None
    after: NodeState | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A node that was both moved and renamed stands in both."""

    added: tuple[Difference, ...]
    removed: tuple[Difference, ...]
    moved: tuple[Difference, ...]
    renamed: tuple[Difference, ...]
    changed: tuple[Difference, ...]  # in its attributes


@dataclass(frozen=True, slots=True)
class Usage:
    """How many records of an entity, as far as the actor sees them, name the node in a field."""

    entity: str
    field: str
    label: str
    count: int


async def tree(
    uow: UnitOfWork, hierarchy_code: str, *, as_of: date | None = None, action: str = "read"
) -> list[TreeNode]:
    """The nodes in force on that date (today), each before those below it, siblings by code. One statement.

    Raises: Forbidden; NotFound when there is no such hierarchy.
    """
    authorize(uow, action, NODE)
    today = uow.now.date()
    statement = _as_of(uow, hierarchy_code, as_of) if as_of not in (None, today) else _today(uow, hierarchy_code)
    rows = (await uow.execute(statement.where(_in_scope(uow, action)))).all()
    if not rows:
        await _require_hierarchy(uow, hierarchy_code)
    return _in_tree_order(_tree_node(row) for row in rows)


def _in_scope(uow: UnitOfWork, action: str = "read") -> ColumnElement[bool]:
    condition = scope_condition(uow, action, NODE, uow.table(NODE))
    return true() if condition is None else condition


async def _require_hierarchy(uow: UnitOfWork, code: str) -> None:
    hierarchies = uow.table("hierarchy")
    if await uow.scalar(select(hierarchies.c.id).where(hierarchies.c.code == code)) is None:
        raise NotFound(f"There is no hierarchy {code!r}.")


def _today(uow: UnitOfWork, hierarchy_code: str) -> Select[Any]:
    nodes, hierarchies, day = uow.table(NODE), uow.table("hierarchy"), uow.now.date()
    return (
        select(nodes)
        .join(hierarchies, hierarchies.c.id == nodes.c.hierarchy_id)
        .where(hierarchies.c.code == hierarchy_code)
        .where(nodes.c.valid_from <= day, or_(nodes.c.valid_to.is_(None), nodes.c.valid_to > day))
    )


def _in_force(uow: UnitOfWork, hierarchy_code: str, day: date | None, name: str) -> CTE:
    """The versions in force on a day, with the codes of their nodes."""
    nodes = uow.table(NODE).alias()
    versions, hierarchies = uow.table(VERSION).alias(), uow.table("hierarchy").alias()
    v = versions.c
    statement = (
        select(nodes.c.id, nodes.c.code, v.parent_id, v.label, v.attributes, nodes.c.valid_from, nodes.c.valid_to)
        .select_from(versions)
        .join(nodes, nodes.c.id == v.node_id)
        .join(hierarchies, hierarchies.c.id == nodes.c.hierarchy_id)
        .where(hierarchies.c.code == hierarchy_code)
        .where(v.valid_from <= day, or_(v.valid_to.is_(None), v.valid_to > day))
        .where(v.change.not_in([change.value for change in ENDED]))
    )
    return statement.cte(name)


def _as_of(uow: UnitOfWork, hierarchy_code: str, day: date | None) -> Select[Any]:
    there = _in_force(uow, hierarchy_code, day, "there")
    label = func.replace(cast(there.c.id, Text), "-", "", type_=Text)
    top = select(there, label.label("path")).where(there.c.parent_id.is_(None)).cte("placed", recursive=True)
    below = select(there, top.c.path + "." + label).join(top, there.c.parent_id == top.c.id)
    placed = top.union_all(below)
    nodes = uow.table(NODE)
    return select(placed).join(nodes, nodes.c.id == placed.c.id)


def _tree_node(row: Row[Any]) -> TreeNode:
    return TreeNode(
        id=row.id,
        parent_id=row.parent_id,
        code=row.code,
        label=row.label,
        attributes=row.attributes or {},
        path=row.path,
        level=row.path.count(".") + 1,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
    )


def _in_tree_order(found: Iterable[TreeNode]) -> list[TreeNode]:
    nodes = sorted(found, key=lambda node: node.code, reverse=True)
    shown = {node.id for node in nodes}
    below: dict[UUID | None, list[TreeNode]] = {}
    for node in nodes:
        below.setdefault(node.parent_id if node.parent_id in shown else None, []).append(node)
    ordered: list[TreeNode] = []
    waiting = below.get(None, [])
    while waiting:
        node = waiting.pop()
        ordered.append(node)
        waiting.extend(below.get(node.id, ()))
    return ordered


async def compare(uow: UnitOfWork, hierarchy_code: str, *, earlier: date, later: date) -> Comparison:
    """What a tree became between two dates, by code. One statement. Raises: Forbidden, NotFound."""
    authorize(uow, "read", NODE)
    nodes = uow.table(NODE)
    a, b = _in_force(uow, hierarchy_code, earlier, "earlier"), _in_force(uow, hierarchy_code, later, "later")
    above_a, above_b = nodes.alias(), nodes.alias()
    id_ = func.coalesce(a.c.id, b.c.id)
    statement = (
        select(
            nodes.c.id,
            nodes.c.code,
            a.c.id.label("a_id"),
            a.c.label.label("a_label"),
            a.c.attributes.label("a_attributes"),
            above_a.c.code.label("a_parent"),
            b.c.id.label("b_id"),
            b.c.label.label("b_label"),
            b.c.attributes.label("b_attributes"),
            above_b.c.code.label("b_parent"),
        )
        .select_from(a.outerjoin(b, a.c.id == b.c.id, full=True))
        .join(nodes, nodes.c.id == id_)
        .outerjoin(above_a, above_a.c.id == a.c.parent_id)
        .outerjoin(above_b, above_b.c.id == b.c.parent_id)
        .where(
            or_(
                a.c.id.is_(None),
                b.c.id.is_(None),
                a.c.label != b.c.label,
                a.c.parent_id.is_distinct_from(b.c.parent_id),
                a.c.attributes.is_distinct_from(b.c.attributes),
            )
        )
        .where(_in_scope(uow))
        .order_by(nodes.c.code)
    )
    differences = [_difference(row) for row in await uow.execute(statement)]
    if not differences:
        await _require_hierarchy(uow, hierarchy_code)
    both = [(d, d.before, d.after) for d in differences if d.before is not None and d.after is not None]
    return Comparison(
        added=tuple(d for d in differences if d.before is None),
        removed=tuple(d for d in differences if d.after is None),
        moved=tuple(d for d, old, new in both if old.parent != new.parent),
        renamed=tuple(d for d, old, new in both if old.label != new.label),
        changed=tuple(d for d, old, new in both if dict(old.attributes) != dict(new.attributes)),
    )


def _difference(row: Row[Any]) -> Difference:
    before = NodeState(row.a_label, row.a_parent, row.a_attributes or {}) if row.a_id is not None else None
    after = NodeState(row.b_label, row.b_parent, row.b_attributes or {}) if row.b_id is not None else None
    return Difference(row.id, row.code, before, after)


async def node_by_code(uow: UnitOfWork, hierarchy_code: str, code: str) -> TreeNode:
    """One node as it is today, in force or not. Raises: Forbidden, NotFound."""
    authorize(uow, "read", NODE)
    nodes, hierarchies = uow.table(NODE), uow.table("hierarchy")
    statement = (
        select(nodes)
        .join(hierarchies, hierarchies.c.id == nodes.c.hierarchy_id)
        .where(hierarchies.c.code == hierarchy_code, nodes.c.code == code, _in_scope(uow))
    )
    row = (await uow.execute(statement)).first()
    if row is None:
        raise NotFound(f"There is no node {code!r} in the hierarchy {hierarchy_code!r}, or you may not see it.")
    return _tree_node(row)


async def ancestors(uow: UnitOfWork, node_id: UUID) -> list[TreeNode]:
    """The nodes above, the top one first; as of today, within the actor's sight. Raises: NotFound."""
    return await _related(uow, node_id, "@>")


async def descendants(uow: UnitOfWork, node_id: UUID) -> list[TreeNode]:
    """The nodes below that are in force today, each before those below it. Raises: NotFound."""
    day = uow.now.date()
    below = await _related(uow, node_id, "<@")
    return _in_tree_order(
        node for node in below if node.valid_from <= day and (node.valid_to is None or node.valid_to > day)
    )


async def _related(uow: UnitOfWork, node_id: UUID, operator: str) -> list[TreeNode]:
    await require_in_scope(uow, "read", NODE, node_id)
    nodes = uow.table(NODE)
    start = nodes.alias()
    here = select(start.c.path).where(start.c.id == node_id).scalar_subquery()
    statement = (
        select(nodes)
        .where(nodes.c.path.op(operator, is_comparison=True)(here), nodes.c.id != node_id, _in_scope(uow))
        .order_by(func.nlevel(nodes.c.path), nodes.c.code)
    )
    return [_tree_node(row) for row in await uow.execute(statement)]


async def timeline_of(uow: UnitOfWork, node_id: UUID) -> Timeline:
    """What the node was, is and will be. Raises: NotFound."""
    await require_in_scope(uow, "read", NODE, node_id)
    return (await read_nodes(uow, [node_id]))[node_id].timeline


async def where_used(uow: UnitOfWork, node_id: UUID) -> list[Usage]:
    """Every field of the metadata that names the node, with the number of records in sight. One statement.

    Raises: NotFound.
    """
    await require_in_scope(uow, "read", NODE, node_id)
    counts: list[Select[str, int]] = []
    labels: dict[str, str] = {}
    for entity in uow.registry.entities.values():
        if entity.name == VERSION or decide(uow.resources.policy, uow.registry, uow.actor, "read", entity.name) is None:
            continue
        table = uow.table(entity.name).alias()
        condition = scope_condition(uow, "read", entity.name, table)
        for field in entity.fields:
            if field.target == NODE and field.is_reference and not field.is_live_lookup:
                names = table.c[field.column] == node_id
            elif field.type is FieldType.POLYMORPHIC_REFERENCE:
                names = (table.c[f"{field.name}_entity"] == NODE) & (table.c[f"{field.name}_id"] == node_id)
            else:
                continue
            # Names of the metadata are identifiers, so they stand in the statement as they are.
            key: ColumnElement[str] = literal_column(f"'{entity.name}.{field.name}'", Text)
            number = select(key.label("key"), func.count().label("number"))
            counts.append(number.select_from(table).where(names, literal(True) if condition is None else condition))
            labels[f"{entity.name}.{field.name}"] = f"{entity.label_plural}: {field.label}"
    found = await uow.execute(union_all(*counts))
    used = [(*row.key.split("."), labels[row.key], row.number) for row in found if row.number]
    return [Usage(entity, field, label, number) for entity, field, label, number in used]
