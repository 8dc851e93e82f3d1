"""A filter in plain words, for chips and for the reason a condition gives."""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.core.filters.nodes import (
    And,
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
)
from models.fieldtypes import FIELD_TYPES
from models.fieldtypes.number import plain
from models.schema import FieldType

Title = Callable[[str, UUID], str | None]
"""The title of a record, given its entity and id."""

_VARIABLES = {
    VariableName.NOW: "now",
    VariableName.TODAY: "today",
    VariableName.BUSINESS_DATE: "the business date",
    VariableName.ME: "me",
    VariableName.MY_ROLES: "my roles",
    VariableName.MY_NODES: "my nodes",
}
_VERBS = {
    Operator.EQ: "is",
    Operator.NE: "is not",
    Operator.IN: "is",
    Operator.NIN: "is not",
    Operator.LT: "is below",
    Operator.LTE: "is at most",
    Operator.GT: "is above",
    Operator.GTE: "is at least",
    Operator.BETWEEN: "is between",
    Operator.CONTAINS: "contains",
    Operator.STARTS_WITH: "starts with",
    Operator.UNDER: "is under",
    Operator.ANCESTOR_OF: "is above or at",
}
_TIME_VERBS = {
    Operator.LT: "is before",
    Operator.LTE: "is at or before",
    Operator.GT: "is after",
    Operator.GTE: "is at or after",
}


def describe(node: FilterNode, title: Title | None = None) -> str:
    """Say the filter in words: "Status is ready or failed"."""
    return _describe(node, title, inside=False)


def _describe(node: FilterNode, title: Title | None, *, inside: bool) -> str:
    match node:
        case Term(path=path, tests=tests):
            said = [_test(test, path.leaf, title) for test in tests]
            return f"{path.label} {' and '.join(said)}"
        case Not(part=part):
            return f"not ({_describe(part, title, inside=False)})"
        case And(parts=()):
            return "everything"
        case Or(parts=()):
            return "nothing"
        case And(parts=parts):
            return _joined(" and ", parts, title, inside=inside)
        case Or(parts=parts):
            return _joined(" or ", parts, title, inside=inside)


def _joined(word: str, parts: tuple[FilterNode, ...], title: Title | None, *, inside: bool) -> str:
    if len(parts) == 1:
        return _describe(parts[0], title, inside=inside)
    text = word.join(_describe(part, title, inside=True) for part in parts)
    return f"({text})" if inside else text


def _test(test: Test, leaf: Leaf, title: Title | None) -> str:
    if test.operator is Operator.IS_NULL:
        return "is empty" if test.values[0] else "is not empty"
    values = [_value(value, leaf, title) for value in test.values]
    verb = _VERBS[test.operator]
    if leaf.value_type in (ValueType.DATE, ValueType.INSTANT, ValueType.TIME):
        verb = _TIME_VERBS.get(test.operator, verb)
    if test.operator is Operator.BETWEEN:
        return f"{verb} {values[0]} and {values[1]}"
    if not values:
        return f"{verb} one of none"
    word = " nor " if test.operator is Operator.NIN else " or "
    return f"{verb} {', '.join(values[:-1])}{word if len(values) > 1 else ''}{values[-1]}"


def _value(value: Any, leaf: Leaf, title: Title | None) -> str:
    match value:
        case Variable(name=name, offset=offset):
            return _VARIABLES[name] + (_offset(offset) if offset else "")
        case bool():
            return "yes" if value else "no"
        case Decimal():
            return plain(value)
        case UUID():
            return (title(leaf.target, value) if title and leaf.target else None) or str(value)
        case datetime():
            return f"{value:%Y-%m-%d %H:%M} UTC"
        case date() | time():
            return value.isoformat()
        case timedelta():
            return str(FIELD_TYPES[FieldType.DURATION].to_json(value))
        case tuple():
            return ", ".join(_option(leaf, one) for one in value) or "none"
        case str() if leaf.definition.options:
            return _option(leaf, value)
        case str():
            return f"“{value}”"
        case _:
            return str(value)


def _offset(offset: timedelta) -> str:
    sign, length = ("minus", -offset) if offset < timedelta(0) else ("plus", offset)
    hours, rest = divmod(length.seconds, 3600)
    parts = [(length.days, "day"), (hours, "hour"), (rest // 60, "minute"), (rest % 60, "second")]
    return f" {sign} " + " ".join(f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in parts if n)


def _option(leaf: Leaf, value: str) -> str:
    """The label of a choice, small in mid-sentence unless it is an abbreviation."""
    label = next((option.label for option in leaf.definition.options if option.value == value), value)
    return label[0].lower() + label[1:] if label[1:2].islower() else label
