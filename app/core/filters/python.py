"""A filter on a record in memory: form conditions, lifecycle guards, notification triggers, SLA conditions."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from app.core.filters.nodes import (
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
    Variables,
)
from app.core.filters.operands import bind, bind_list

Record = Mapping[str, Any]
Resolve = Callable[[str, UUID], Record | None]
"""Fetches the record of an entity by id; None when there is none or it is deleted."""


class UnresolvedReferenceError(FilterError):
    """A condition reads another record that was not given."""

    code = "filter_unresolved"


def matches(node: FilterNode, record: Record, variables: Variables, resolve: Resolve | None = None) -> bool:
    """Say whether `record` (field name -> value as held in memory) passes the filter.

    A reference is an id, or the record itself as a nested mapping; ids on the way of a path are fetched by `resolve`.

    Raises:
        UnresolvedReferenceError: a path goes through a record that is neither nested nor fetched.
    """
    match node:
        case Term():
            return _Evaluation(node, variables, resolve).hop(0, record)
        case And(parts=parts):
            return all(matches(part, record, variables, resolve) for part in parts)
        case Or(parts=parts):
            return any(matches(part, record, variables, resolve) for part in parts)
        case Not(part=part):
            return not matches(part, record, variables, resolve)


class _Evaluation:
    def __init__(self, term: Term, variables: Variables, resolve: Resolve | None) -> None:
        self.term = term
        self.variables = variables
        self.resolve = resolve

    def hop(self, number: int, record: Record) -> bool:
        hops = self.term.path.hops
        leaf = self.term.path.leaf
        if number == len(hops):
            return self.value(_value_of(leaf, record.get(leaf.name)))
        hop = hops[number]
        starts_lookup = hop.lookup is not None and (number == 0 or hops[number - 1].lookup is None)
        if hop.lookup is not None and starts_lookup and hop.lookup in record:
            return self.value(_value_of(leaf, record[hop.lookup]))
        held = record.get(hop.name)
        if hop.many:
            return any(line.get("deleted_at") is None and self.hop(number + 1, line) for line in held or ())
        target = self.fetch(hop.target, hop.name, held)
        if target is None or target.get("deleted_at") is not None:
            return self.term.true_when_absent(number)
        return self.hop(number + 1, target)

    def fetch(self, entity: str, name: str, held: Any) -> Record | None:
        if held is None or isinstance(held, Mapping):
            return held
        if self.resolve is None:
            raise UnresolvedReferenceError(f"the record of {name} is needed and was not given", self.term.path.text)
        return self.resolve(entity, held)

    def value(self, value: Any) -> bool:
        leaf = self.term.path.leaf
        return all(self.test(test, leaf, value) for test in self.term.tests)

    def test(self, test: Test, leaf: Leaf, value: Any) -> bool:
        if value is None:
            return test.true_on_null
        match test.operator:
            case Operator.IS_NULL:
                return not test.values[0]
            case Operator.IN:
                return value in bind_list(test.values, self.variables)
            case Operator.NIN:
                return value not in bind_list(test.values, self.variables)
            case Operator.UNDER | Operator.ANCESTOR_OF:
                return self.in_tree(test, value)
        bound = [bind(one, self.variables) for one in test.values]
        if None in bound:
            return test.operator is Operator.NE
        if leaf.value_type is ValueType.SET:
            return bound[0] in value if test.operator is Operator.CONTAINS else set(bound[0]) == set(value)
        return _compare(test.operator, value, bound)

    def in_tree(self, test: Test, node: UUID) -> bool:
        paths = self.variables.node_paths
        if paths is None:
            raise FilterError("node_paths are needed to place a record in its tree", self.term.path.text)
        own = paths.get(node)
        given = [paths[one] for one in bind_list(test.values, self.variables) if one in paths]
        if own is None:
            return False
        if test.operator is Operator.UNDER:
            return any(_is_below(own, path) for path in given)
        return any(_is_below(path, own) for path in given)


def _value_of(leaf: Leaf, held: Any) -> Any:
    if held is None:
        return None
    if leaf.value_type is ValueType.ID and isinstance(held, Mapping):
        return held.get("id")
    return held if leaf.part is None else held[leaf.part]


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}.")


def simple_lower(text: str) -> str:
    """Lower case letter by letter, as PostgreSQL's C.UTF-8 does: no letter becomes two, no sigma looks around."""
    if text.isascii():
        return text.lower()
    return "".join("i" if letter == "\u0130" else letter.lower() for letter in text)


def _compare(operator: Operator, value: Any, bound: list[Any]) -> bool:
    match operator:
        case Operator.EQ:
            return bool(value == bound[0])
        case Operator.NE:
            return bool(value != bound[0])
        case Operator.LT:
            return bool(value < bound[0])
        case Operator.LTE:
            return bool(value <= bound[0])
        case Operator.GT:
            return bool(value > bound[0])
        case Operator.GTE:
            return bool(value >= bound[0])
        case Operator.BETWEEN:
            return bool(bound[0] <= value <= bound[1])
        case Operator.CONTAINS:
            return simple_lower(bound[0]) in simple_lower(value)
        case _:
            return simple_lower(value).startswith(simple_lower(bound[0]))
