"""A parsed filter written back: as canonical JSON, as the types the browser needs, as the fields it reads."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.core.filters.nodes import LIST_OPERATORS, And, FilterNode, Not, Operator, Or, Term, Test, Variable
from models.fieldtypes import FIELD_TYPES
from models.fieldtypes.number import plain
from models.schema import FieldType

LINES = "lines"


def to_json(node: FilterNode) -> dict[str, Any]:
    """Write the filter as plain JSON; parsing that again gives an equal tree."""
    match node:
        case Term(path=path, tests=tests):
            return {path.text: {test.operator.value: _operand(test) for test in tests}}
        case And(parts=parts):
            return {"and": [to_json(part) for part in parts]}
        case Or(parts=parts):
            return {"or": [to_json(part) for part in parts]}
        case Not(part=part):
            return {"not": to_json(part)}


def _operand(test: Test) -> Any:
    values = [value_to_json(value) for value in test.values]
    return values if test.operator in LIST_OPERATORS or test.operator is Operator.BETWEEN else values[0]


def value_to_json(value: Any) -> Any:
    """One value of a filter in JSON."""
    match value:
        case Variable(name=name, offset=offset):
            return f"${name}" + (_offset(offset) if offset else "")
        case str():
            return f"${value}" if value[:1] == "$" and (value[1:2] in ("$", "_") or value[1:2].isalpha()) else value
        case Decimal():
            return plain(value)
        case UUID():
            return str(value)
        case datetime():
            return FIELD_TYPES[FieldType.DATETIME].to_json(value)
        case date() | time():
            return value.isoformat()
        case timedelta():
            return FIELD_TYPES[FieldType.DURATION].to_json(value)
        case tuple():
            return list(value)
        case _:
            return value


def _offset(offset: timedelta) -> str:
    sign = "-" if offset < timedelta(0) else "+"
    return f"{sign}{FIELD_TYPES[FieldType.DURATION].to_json(abs(offset))}"


def terms(node: FilterNode) -> Iterator[Term]:
    """Every term in the tree."""
    match node:
        case Term():
            yield node
        case Not(part=part):
            yield from terms(part)
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                yield from terms(part)


def value_types(node: FilterNode) -> dict[str, str]:
    """How the value at each path compares, for `vars.types` of filters.js; steps to child lines are marked `lines`."""
    types: dict[str, str] = {}
    for term in terms(node):
        path = term.path
        types[path.text] = path.leaf.value_type.value
        for number, hop in enumerate(path.hops):
            if hop.many and hop.lookup is None:
                types[".".join(path.text.split(".")[: number + 1])] = LINES
    return types


def fields_read(node: FilterNode) -> frozenset[tuple[str, str]]:
    """The (entity, field) pairs a person has to be allowed to read: filtering by a hidden field would reveal it."""
    return frozenset(pair for term in terms(node) for pair in term.path.reads)


def entities_read(node: FilterNode) -> frozenset[str]:
    """The entities whose records decide the filter beside its own."""
    return frozenset(hop.target for term in terms(node) for hop in term.path.hops)


def needs_node_paths(node: FilterNode) -> bool:
    """Whether evaluating it in memory needs `Variables.node_paths`."""
    return any(test.operator in (Operator.UNDER, Operator.ANCESTOR_OF) for term in terms(node) for test in term.tests)
