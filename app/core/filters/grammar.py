"""Read a filter out of JSON: every path, operator and value is checked here, so that what follows never fails."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from weakref import WeakKeyDictionary

import orjson

from app.core.filters.fields import resolve_path
from app.core.filters.nodes import EVERYTHING, And, FilterError, FilterNode, Leaf, Not, Operator, Or, Path, Term, Test
from app.core.filters.operands import parse_values
from models.registry import Registry
from models.schema import EntityDef, FieldType

MAX_DEPTH = 12
MAX_TERMS = 100
_KEPT = 1_024
_KEPT_BYTES = 4_096
_CONNECTIVES = ("and", "or", "not")

# Parsed filters by revision (a Registry is one revision and goes when nothing uses it any more).
_Key = tuple[str, bytes, int, int]
_parsed: WeakKeyDictionary[Registry, OrderedDict[_Key, FilterNode]] = WeakKeyDictionary()


def parse(
    filter: Any, entity: EntityDef, registry: Registry, *, max_depth: int = MAX_DEPTH, max_terms: int = MAX_TERMS
) -> FilterNode:
    """Read and check a filter on records of `entity`; None is taken as `{}`, which is everything.

    Raises:
        FilterError: with the place in the filter and what to change there.
    """
    key = _cache_key(filter, entity, max_depth, max_terms)
    if key is None:
        return _Parser(entity, registry, max_depth, max_terms).parse(filter)
    kept = _parsed.setdefault(registry, OrderedDict())
    node = kept.get(key)
    if node is None:
        node = _Parser(entity, registry, max_depth, max_terms).parse(filter)
        kept[key] = node
        if len(kept) > _KEPT:
            kept.popitem(last=False)
    return node


def _cache_key(filter: Any, entity: EntityDef, max_depth: int, max_terms: int) -> _Key | None:
    """None for what is not kept: filters that are wrong, and large ones, with which memory could be filled."""
    try:
        text = orjson.dumps(filter, default=_exact, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # not JSON, or nested too deep: the parser says what
        return None
    return (entity.name, text, max_depth, max_terms) if len(text) <= _KEPT_BYTES else None


def _exact(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError


def _below(at: str, step: str) -> str:
    return f"{at}.{step}" if at else step


@dataclass
class _Parser:
    entity: EntityDef
    registry: Registry
    max_depth: int
    max_terms: int
    terms: int = 0

    def parse(self, filter: Any) -> FilterNode:
        return EVERYTHING if filter is None else self._object(filter, "", 1)

    def _object(self, filter: Any, at: str, depth: int) -> FilterNode:
        if not isinstance(filter, Mapping):
            raise FilterError('a filter is an object such as {"status": "ready"}', at)
        if depth > self.max_depth:
            raise FilterError(f"the filter is nested more than {self.max_depth} deep; make it flatter", at)
        parts = []
        for name, value in filter.items():
            if not isinstance(name, str):
                raise FilterError(f"{name!r} is not the name of a field", at)
            place = _below(at, name)
            connects = name in _CONNECTIVES
            parts.append(self._connective(name, value, place, depth) if connects else self._term(name, value, place))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _connective(self, name: str, value: Any, at: str, depth: int) -> FilterNode:
        if name == "not":
            return Not(self._object(value, at, depth + 1))
        if not isinstance(value, list | tuple):
            raise FilterError(f"{name} takes a list of filters", at)
        parts = tuple(self._object(item, f"{at}[{index}]", depth + 1) for index, item in enumerate(value))
        return And(parts) if name == "and" else Or(parts)

    def _term(self, name: str, value: Any, at: str) -> Term:
        path = resolve_path(name, self.entity, self.registry, at)
        if not isinstance(value, Mapping):
            value = {"eq": value}
        elif not value:
            raise FilterError(f"name an operator: {_names(path.leaf)}", at)
        return Term(path, tuple(self._test(path, name, operand, at) for name, operand in value.items()))

    def _test(self, path: Path, name: Any, operand: Any, at: str) -> Test:
        self.terms += 1
        if self.terms > self.max_terms:
            raise FilterError(f"the filter has more than {self.max_terms} conditions; use in for lists of values", at)
        place = _below(at, str(name))
        leaf = path.leaf
        if name not in leaf.operators:
            raise FilterError(_not_allowed(leaf, name), place)
        return Test(Operator(name), parse_values(Operator(name), operand, leaf, place))


def _names(leaf: Leaf) -> str:
    return ", ".join(operator.value for operator in leaf.operators)


def _not_allowed(leaf: Leaf, name: Any) -> str:
    if name not in list(Operator):
        return f"there is no operator {name!r}; on {leaf.label} use {_names(leaf)}"
    if leaf.definition.type is FieldType.SECRET:
        return f"{leaf.label} is secret and cannot be compared; only is_null can be asked"
    what = str(leaf.definition.result or leaf.definition.type).replace("_", " ")
    return f"{name} cannot be used on {leaf.label} ({what}); use {_names(leaf)}"
