"""Which records an actor's grants reach, as one SQL condition that lists, counts, details and exports share.

A record is in scope when one of the grants that allow the action covers it: its application, its place in the hierarchy
(the node of the grant or below; for reading also above, where the entity asks for it) and the policy's row conditions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Select, Uuid, and_, bindparam, false, literal, or_, select, true

from app.core.actor import Actor, Grant
from app.core.errors import NotFound
from app.core.filters import Variables, parse, to_sql
from app.core.uow import UnitOfWork
from app.domain.access.decisions import READING, Decision, decide, governing, is_wide, refusal
from app.domain.access.policy import AccessPolicy
from app.domain.access.policy_files import RowCondition
from models.registry import Registry
from models.schema import EntityDef
from models.types import Ltree

Condition = ColumnElement[bool]
# Gives the condition on the last step of a path: the entity there, its table, the name of the field.
_Leaf = Callable[[EntityDef, FromClause, str], Condition]

# Grants that are alike: in one application (None: any), under the same row conditions.
_Way = tuple[str | None, tuple[RowCondition, ...]]

NODE = "hierarchy_node"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whose scope is asked for, under which policy and metadata, and when."""

    actor: Actor
    policy: AccessPolicy
    registry: Registry
    now: datetime
    business_date: date

    @property
    def variables(self) -> Variables:
        """What $me, $now and the rest stand for."""
        nodes = frozenset(grant.node_id for grant in self.actor.grants if grant.node_id is not None)
        return Variables(
            now=self.now,
            today=self.now.date(),
            business_date=self.business_date,
            me=self.actor.id,
            my_roles=self.actor.roles,
            my_nodes=nodes,
        )


def viewer_of(uow: UnitOfWork, actor: Actor | None = None) -> Viewer:
    """The unit of work's actor, or another one in its place."""
    return Viewer(actor or uow.actor, uow.resources.policy, uow.registry, uow.now, uow.business_date)


def scope(
    statement: Select[Any], uow: UnitOfWork, action: str, entity: str, table: FromClause | None = None
) -> Select[Any]:
    """Limit the statement to the records on which the actor may do this; to none where the policy does not allow it.

    `table` is the alias under which the statement reads the entity, when it is not the plain table.
    """
    condition = scope_condition(uow, action, entity, table)
    return statement if condition is None else statement.where(condition)


def scope_condition(uow: UnitOfWork, action: str, entity: str, table: FromClause | None = None) -> Condition | None:
    """The WHERE of `scope`; None when every record is in scope."""
    decision = decide(uow.resources.policy, uow.registry, uow.actor, action, entity)
    if decision is None:
        return false()
    definition = uow.registry.entities.get(entity)
    if definition is None:  # a system table has no nodes: whoever may read it may read all of it
        return None
    return condition_of(viewer_of(uow), action, definition, decision, uow.table(entity) if table is None else table)


def scope_key(uow: UnitOfWork, action: str, entity: str) -> tuple[Any, ...] | None:
    """What `scope_condition` follows from, for keeping a query that contains it; None: from who asks, or when."""
    policy: AccessPolicy = uow.resources.policy
    decision = decide(policy, uow.registry, uow.actor, action, entity)
    if decision is None:
        return None
    ruling, ruling_action = governing(policy, entity, action)
    if any(policy.row_conditions(g.role, g.application, ruling, ruling_action) for g in decision.grants):
        return None
    reach = tuple((g.role, g.application, g.node_id, g.node_path) for g in decision.grants)
    return (uow.registry, entity, action, decision.is_system, reach)


async def record_in_scope(uow: UnitOfWork, action: str, entity: str, record_id: UUID) -> bool:
    """Whether the actor may do this to this record; False also when there is no such record."""
    table = uow.table(entity)
    statement = scope(select(literal(1)).where(table.c.id == record_id), uow, action, entity)
    return await uow.scalar(statement) is not None


async def require_in_scope(uow: UnitOfWork, action: str, entity: str, record_id: UUID) -> Decision:
    """Decide about one record, in one statement.

    Raises:
        NotFound: there is no such record, or none that the actor may see.
        Forbidden: the actor sees the record and may not do this to it, or may do this to no record of the entity.
    """
    policy: AccessPolicy = uow.resources.policy
    decision = decide(policy, uow.registry, uow.actor, action, entity)
    readable = decision if action == "read" else decide(policy, uow.registry, uow.actor, "read", entity)
    definition = uow.registry.entity(entity)
    if decision is None and readable is None:
        raise refusal(policy, uow.registry, uow.actor, action, entity)
    table, viewer = uow.table(entity), viewer_of(uow)

    def condition(decided: Decision | None, what: str) -> Condition:
        if decided is None:
            return false()
        found = condition_of(viewer, what, definition, decided, table)
        return true() if found is None else found

    def query() -> Select[Any]:
        allowed = condition(decision, action)
        seen = allowed if action == "read" else or_(allowed, condition(readable, "read"))
        return select(allowed.label("allowed")).where(table.c.id == bindparam("record_id", type_=Uuid), seen)

    keys = (scope_key(uow, action, entity), scope_key(uow, "read", entity))
    kept = None not in keys
    statement = policy.kept(("allowed", *keys), query) if kept else query()
    row = (await uow.execute(statement, {"record_id": record_id}, kept=kept)).first()
    if row is None:
        raise NotFound(f"There is no such {definition.label.lower()}, or you may not see it.")
    if not row.allowed or decision is None:
        raise refusal(policy, uow.registry, uow.actor, action, entity, on_record=decision is not None)
    return decision


# -- building the condition ------------------------------------------------------------------------------------------


def condition_of(
    viewer: Viewer, action: str, definition: EntityDef, decision: Decision, table: FromClause
) -> Condition | None:
    """The condition under which a row of `table` is covered by the decision; None when each row is."""
    owner = viewer.registry.parents.get(definition.name)
    if owner is not None:
        above = viewer.registry.table(owner[0].name).alias()
        _, action = governing(viewer.policy, definition.name, action)
        inherited = condition_of(viewer, action, owner[0], decision, above)
        if inherited is None:
            return None
        return select(literal(1)).select_from(above).where(above.c.id == table.c.parent_id, inherited).exists()
    parts: list[Condition] = [table.c.deleted_at.is_(None)] if definition.soft_delete else []
    granted = None if decision.is_system else _covered(viewer, action, definition, decision.grants, table)
    if granted is not None:
        parts.append(granted)
    return and_(*parts) if parts else None


def _covered(
    viewer: Viewer, action: str, definition: EntityDef, grants: Sequence[Grant], table: FromClause
) -> Condition | None:
    """OR over the grants. Grants that differ in nothing but their node share one look at the hierarchy."""
    policy = viewer.policy
    ways: dict[_Way, list[Grant]] = {}
    for grant in grants:
        anywhere = definition.application_field is None or is_wide(policy, grant)
        rows = policy.row_conditions(grant.role, grant.application, definition.name, action)
        ways.setdefault((None if anywhere else grant.application, rows), []).append(grant)
    # People whose grants reach the same have the same condition. Row conditions are about one person, and not shared.
    shared = table is viewer.registry.table(definition.name) and not any(rows for _, rows in ways)
    if not shared:
        return _any_way(viewer, action, definition, ways, table)
    reach = tuple((way, tuple((g.node_id, g.node_path) for g in alike)) for way, alike in ways.items())
    key = ("scope", viewer.registry, definition.name, action in READING, reach)
    if key not in policy.memo:
        policy.remember(key, _any_way(viewer, action, definition, ways, table))
    condition: Condition | None = policy.memo[key]
    return condition


def _any_way(
    viewer: Viewer, action: str, definition: EntityDef, ways: Mapping[_Way, Sequence[Grant]], table: FromClause
) -> Condition | None:
    alternatives: list[Condition] = []
    for (application, rows), alike in ways.items():
        place = _place(viewer.registry, action, definition, application, grants=alike, table=table)
        limits = [_rows_condition(viewer, definition, row, table) for row in rows if row.condition]
        parts = [*([] if place is None else [place]), *limits]
        if not parts:
            return None
        alternatives.append(and_(*parts))
    return or_(*alternatives)


def _rows_condition(viewer: Viewer, definition: EntityDef, row: RowCondition, table: FromClause) -> Condition:
    node = parse(row.condition, definition, viewer.registry)
    return to_sql(node, viewer.registry, viewer.variables, table=table)


def _place(
    registry: Registry,
    action: str,
    definition: EntityDef,
    application: str | None,
    *,
    grants: Sequence[Grant],
    table: FromClause,
) -> Condition | None:
    """The application and the nodes of grants that are alike otherwise; None when they limit nothing."""
    whole = definition.scope_field is None or any(grant.node_id is None for grant in grants)
    leaves: list[tuple[str, _Leaf]] = []
    if application is not None and definition.application_field is not None:
        leaves.append((definition.application_field, _in_application(registry, application)))
    if not whole and definition.scope_field is not None:
        ancestors = definition.scope_ancestors and action in READING
        leaves.append((definition.scope_field, _below_nodes(registry, grants, ancestors=ancestors)))
    by_way: dict[tuple[str, ...], list[tuple[str, _Leaf]]] = {}
    for path, leaf in leaves:
        *steps, last = path.split(".")
        by_way.setdefault(tuple(steps), []).append((last, leaf))
    parts = [_along(registry, definition, table, steps, ends, orphans=whole) for steps, ends in by_way.items()]
    return and_(*parts) if parts else None


def _along(
    registry: Registry,
    definition: EntityDef,
    table: FromClause,
    steps: tuple[str, ...],
    ends: list[tuple[str, _Leaf]],
    *,
    orphans: bool,
) -> Condition:
    """Follow the references to the conditions at their end; a way that ends early counts only for `orphans`."""
    if not steps:
        return and_(*(_or_null(definition, table, name, leaf, orphans=orphans) for name, leaf in ends))
    field = definition.field(steps[0])
    target = registry.entity(field.target or "")
    there = registry.table(target.name).alias()
    column = table.c[field.column]
    beyond = _along(registry, target, there, steps[1:], ends, orphans=orphans)
    exists: Condition = select(literal(1)).select_from(there).where(there.c.id == column, beyond).exists()
    return or_(column.is_(None), exists) if orphans and column.nullable else exists


def _or_null(definition: EntityDef, table: FromClause, name: str, leaf: _Leaf, *, orphans: bool) -> Condition:
    condition = leaf(definition, table, name)
    column = table.c[definition.field(name).column] if definition.has_field(name) else table.c[name]
    return or_(column.is_(None), condition) if orphans and column.nullable else condition


def _in_application(registry: Registry, code: str) -> _Leaf:
    application = registry.table("application").alias()
    id_ = select(application.c.id).where(application.c.code == code).scalar_subquery()

    def leaf(definition: EntityDef, table: FromClause, name: str) -> Condition:
        condition: Condition = table.c[definition.field(name).column] == id_
        return condition

    return leaf


def _below_nodes(registry: Registry, grants: Sequence[Grant], *, ancestors: bool) -> _Leaf:
    def leaf(definition: EntityDef, table: FromClause, name: str) -> Condition:
        if definition.name == NODE and name == "id":
            return _on_paths(registry, table.c.path, grants, ancestors=ancestors)
        node = registry.table(NODE).alias()
        ids = select(node.c.id).where(_on_paths(registry, node.c.path, grants, ancestors=ancestors))
        return table.c[definition.field(name).column].in_(ids)

    return leaf


def _on_paths(registry: Registry, path: ColumnElement[Any], grants: Sequence[Grant], *, ancestors: bool) -> Condition:
    alternatives: list[Condition] = []
    for grant in grants:
        granted: ColumnElement[Any]
        if grant.node_path is not None:
            granted = literal(grant.node_path, Ltree())
        else:
            node = registry.table(NODE).alias()
            granted = select(node.c.path).where(node.c.id == grant.node_id).scalar_subquery()
        alternatives.append(path.op("<@", is_comparison=True)(granted))
        if ancestors:
            alternatives.append(path.op("@>", is_comparison=True)(granted))
    return or_(*alternatives)
