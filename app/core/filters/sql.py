"""A filter as SQL. References become correlated EXISTS, each step under an alias of its own, never lists of ids."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Uuid,
    and_,
    any_,
    exists,
    false,
    literal,
    or_,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from app.core.filters.fields import NODE_ENTITY
from app.core.filters.nodes import (
    TREE_OPERATORS,
    And,
    FilterError,
    FilterNode,
    Leaf,
    Not,
    Operator,
    Or,
    Term,
    Test,
    ValueType,
    Variable,
    VariableName,
    Variables,
)
from app.core.filters.operands import bind, bind_list
from models.registry import Registry

Condition = ColumnElement[bool]
Within = Callable[[str, FromClause], Condition | None]

KEPT = 2_048
KEPT_VALUES = 100

# Building conditions costs more than reading filters, and the same terms come again and again: scopes, saved views.
# A term is known by its identity, as `parse` keeps it; it is held here, so that its id cannot become another one's.
_Key = tuple[int, bool, tuple[Any, ...]]
_compiled: WeakKeyDictionary[Registry, OrderedDict[_Key, tuple[Term, Condition]]] = WeakKeyDictionary()
_aliases: WeakKeyDictionary[Registry, dict[tuple[str, str], FromClause]] = WeakKeyDictionary()


def to_sql(
    node: FilterNode,
    registry: Registry,
    variables: Variables,
    *,
    table: FromClause | None = None,
    within: Within | None = None,
) -> ColumnElement[bool]:
    """Compile to a condition on the entity's table, or on `table`, an alias of it.

    `within` (entity, its table) says which records may be looked through on the way along a path: one outside counts
    as absent, so that a filter tells nothing about what its author cannot see.

    It is for WHERE, where SQL's unknown counts as false. To negate a filter, wrap the node in Not; `~` on the result
    would turn unknown into unknown and lose rows.

    Raises:
        FilterError: a field is computed on read, so that the database does not have it.
    """
    return _Compiler(registry, variables, table, within).node(node, negated=False)


class _Compiler:
    """Pushes `not` down to the comparisons, where alone null needs care; indexes stay usable everywhere else."""

    def __init__(
        self, registry: Registry, variables: Variables, table: FromClause | None, within: Within | None
    ) -> None:
        self.registry = registry
        self.variables = variables
        self.table = table
        self.within = within

    def node(self, node: FilterNode, *, negated: bool) -> Condition:
        match node:
            case Term():
                return self._term(node, negated=negated)
            case Not(part=part):
                return self.node(part, negated=not negated)
            case And(parts=parts):
                conditions = [self.node(part, negated=negated) for part in parts]
                return or_(false(), *conditions) if negated else and_(true(), *conditions)
            case Or(parts=parts):
                conditions = [self.node(part, negated=negated) for part in parts]
                return and_(true(), *conditions) if negated else or_(false(), *conditions)

    def _term(self, term: Term, *, negated: bool) -> Condition:
        used = _variables_in(term)
        if self.table is not None or self.within is not None or used is None:
            return self._hop(term, 0, self._root(term), negated=negated)
        kept = _compiled.setdefault(self.registry, OrderedDict())
        key = (id(term), negated, tuple(getattr(self.variables, name) for name in used))
        if key not in kept:
            kept[key] = (term, self._hop(term, 0, self._root(term), negated=negated))
            if len(kept) > KEPT:
                kept.popitem(last=False)
        return kept[key][1]

    def _root(self, term: Term) -> FromClause:
        if self.table is not None:
            return self.table
        path = term.path
        return self.registry.table(path.hops[0].entity if path.hops else path.leaf.entity)

    def _hop(self, term: Term, number: int, table: FromClause, *, negated: bool) -> Condition:
        path = term.path
        if number == len(path.hops):
            tests = [self._test(test, path.leaf, path.text, table, negated=negated) for test in term.tests]
            if len(tests) == 1:
                return tests[0]
            return or_(*tests) if negated else and_(*tests)
        hop = path.hops[number]
        target = _alias(self.registry, hop.target, f"filter_{number}")
        joined = [target.c.parent_id == table.c.id if hop.many else target.c.id == table.c[hop.column]]
        if "deleted_at" in target.c:
            joined.append(target.c.deleted_at.is_(None))
        # Child lines are seen by whoever sees the record they belong to.
        visible = self.within(hop.target, target) if self.within is not None and not hop.many else None
        if visible is not None:
            joined.append(visible)
        # A term that holds where the reference leads nowhere is "there is no target for which it does not hold".
        by_absence = not hop.many and term.true_when_absent(number)
        inner = self._hop(term, number + 1, target, negated=by_absence)
        found = exists().select_from(target).where(*joined, inner).correlate_except(target)
        return ~found if by_absence is not negated else found

    def _test(self, test: Test, leaf: Leaf, path: str, table: FromClause, *, negated: bool) -> Condition:
        if leaf.column is None:
            raise FilterError(
                f"{leaf.label} is computed when it is read, so lists cannot be filtered by it; "
                "filter by the fields it is computed from",
                path,
            )
        column = table.c[leaf.column]
        match test.operator:
            case Operator.IS_NULL:
                return column.is_(None) if test.values[0] is not negated else column.is_not(None)
            case Operator.NE | Operator.NIN:
                positive = Test(Operator.EQ if test.operator is Operator.NE else Operator.IN, test.values)
                return self._comparison(positive, leaf, column, negated=not negated)
            case _:
                return self._comparison(test, leaf, column, negated=negated)

    def _comparison(self, test: Test, leaf: Leaf, column: ColumnElement[Any], *, negated: bool) -> Condition:
        """A test that is false on null."""
        condition = self._positive(test, leaf, column)
        if condition is None:
            return true() if negated else false()
        if not negated:
            return condition
        return ~condition if test.operator in TREE_OPERATORS else condition.is_not(true())

    def _positive(self, test: Test, leaf: Leaf, column: ColumnElement[Any]) -> Condition | None:
        """The condition, or None where it cannot hold because the variables in it stand for nothing."""
        operator = test.operator
        type_ = _bind_type(column)
        if operator in TREE_OPERATORS:
            nodes = bind_list(test.values, self.variables)
            return self._in_tree(operator, nodes, column) if nodes else None
        if operator is Operator.IN:
            values = bind_list(test.values, self.variables)
            return column == any_(literal(values, ARRAY(type_))) if values else None
        bound = [bind(value, self.variables) for value in test.values]
        if None in bound:
            return None
        if leaf.value_type is ValueType.SET:
            return _set_condition(operator, column, bound[0], type_)
        if operator in (Operator.CONTAINS, Operator.STARTS_WITH):
            return column.ilike(("%" if operator is Operator.CONTAINS else "") + _escaped(bound[0]) + "%")
        return _compare(operator, column, [literal(value, type_) for value in bound])

    def _in_tree(self, operator: Operator, nodes: Sequence[Any], column: ColumnElement[Any]) -> Condition:
        own = _alias(self.registry, NODE_ENTITY, "filter_own")
        given = _alias(self.registry, NODE_ENTITY, "filter_given")
        related = "<@" if operator is Operator.UNDER else "@>"
        conditions = [
            own.c.id == column,
            given.c.id == any_(literal(list(nodes), ARRAY(Uuid()))),
            own.c.path.op(related, is_comparison=True)(given.c.path),
        ]
        if "deleted_at" in own.c:
            conditions += [own.c.deleted_at.is_(None), given.c.deleted_at.is_(None)]
        return exists().select_from(own, given).where(*conditions).correlate_except(own, given)


def _variables_in(term: Term) -> list[VariableName] | None:
    """The variables a term reads; None when it is not worth keeping: `$now` never comes twice, long lists are large."""
    if sum(len(test.values) for test in term.tests) > KEPT_VALUES:
        return None
    names = sorted({value.name for test in term.tests for value in test.values if isinstance(value, Variable)})
    return None if VariableName.NOW in names else names


def _alias(registry: Registry, entity: str, name: str) -> FromClause:
    """One alias per entity and depth: making one costs more than the rest, and each EXISTS is a scope of its own."""
    kept = _aliases.setdefault(registry, {})
    if (entity, name) not in kept:
        table = registry.table(entity)
        kept[entity, name] = table.alias(f"{name}_{table.name}"[:63])
    return kept[entity, name]


def _bind_type(column: ColumnElement[Any]) -> TypeEngine[Any]:
    # A value may be larger than a 32-bit column can hold; it is compared as it is, not refused by the driver.
    return BigInteger() if isinstance(column.type, Integer) else column.type


def _set_condition(operator: Operator, column: Any, value: Any, type_: TypeEngine[Any]) -> Condition:
    if operator is Operator.CONTAINS:
        contained: Condition = column.contains(literal([value], type_))
        return contained
    chosen = literal(list(value), type_)
    return and_(column.contains(chosen), column.contained_by(chosen))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _compare(operator: Operator, column: ColumnElement[Any], values: list[ColumnElement[Any]]) -> Condition:
    match operator:
        case Operator.LT:
            return column < values[0]
        case Operator.LTE:
            return column <= values[0]
        case Operator.GT:
            return column > values[0]
        case Operator.GTE:
            return column >= values[0]
        case Operator.BETWEEN:
            return column.between(values[0], values[1])
        case _:
            return column == values[0]
