"""The values in a filter: read and checked against their field when it is parsed, variables filled in when it runs."""

import re
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.core.filters.fields import NODE_ENTITY, USER_ENTITY
from app.core.filters.nodes import (
    LIST_OPERATORS,
    LIST_VARIABLES,
    TREE_OPERATORS,
    FilterError,
    Leaf,
    Operator,
    ValueType,
    Variable,
    VariableName,
    Variables,
)
from models.fieldtypes import FIELD_TYPES, FieldError, kind_of
from models.fieldtypes.number import parse_decimal
from models.schema import FieldDef, FieldType
from models.types import AMOUNT_PRECISION, AMOUNT_SCALE

MAX_LIST = 5_000
MAX_SEARCH = 1_000
MAX_OFFSET = timedelta(days=36_525)

# A `$` before a letter names a variable; `$$` stands for a `$` that begins a text.
_VARIABLE = re.compile(r"\$(?P<name>[a-z_]+)(?:(?P<sign>[+-])(?P<offset>P.*))?")
_DURATION = FieldDef.model_construct(id="offset", name="offset", label="Offset", type=FieldType.DURATION)
_NAMES = ", ".join(f"${name}" for name in VariableName)


def parse_values(operator: Operator, raw: Any, leaf: Leaf, at: str) -> tuple[Any, ...]:
    """Read the right-hand side of an operator. Raises FilterError."""
    if raw is None:
        raise FilterError('nothing is equal to or above null; ask {"is_null": true} instead', at)
    if operator is Operator.IS_NULL:
        if not isinstance(raw, bool):
            raise FilterError("is_null takes true or false", at)
        return (raw,)
    if operator in LIST_OPERATORS:
        return _parse_list(operator, raw, leaf, at)
    if operator is Operator.BETWEEN:
        if not isinstance(raw, list | tuple) or len(raw) != 2:
            raise FilterError("between takes a list of two values, [from, to]", at)
        return tuple(_parse_one(item, leaf, f"{at}[{index}]") for index, item in enumerate(raw))
    if operator in (Operator.CONTAINS, Operator.STARTS_WITH):
        return (_parse_search(raw, leaf, at),)
    if isinstance(raw, list | tuple) and leaf.value_type is not ValueType.SET:
        raise FilterError(f"{operator} takes one value; use in for a list", at)
    return (_parse_one(raw, leaf, at),)


def _parse_list(operator: Operator, raw: Any, leaf: Leaf, at: str) -> tuple[Any, ...]:
    if isinstance(raw, set | frozenset):
        raw = sorted(raw, key=str)
    elif (isinstance(raw, str) and _is_variable(raw)) or (operator in TREE_OPERATORS and isinstance(raw, str | UUID)):
        raw = [raw]
    if not isinstance(raw, list | tuple):
        raise FilterError(f"{operator} takes a list of values", at)
    if len(raw) > MAX_LIST:
        raise FilterError(f"{operator} takes at most {MAX_LIST} values; there are {len(raw)}", at)
    return tuple(_parse_one(item, leaf, f"{at}[{index}]", in_list=True) for index, item in enumerate(raw))


def _parse_one(raw: Any, leaf: Leaf, at: str, *, in_list: bool = False) -> Any:
    if raw is None:
        raise FilterError('null is not a value to compare with; ask {"is_null": true} instead', at)
    if isinstance(raw, str):
        if _is_variable(raw):
            return _parse_variable(raw, leaf, at, in_list=in_list)
        raw = _unescaped(raw, at)
    elif isinstance(raw, dict) and leaf.part is not None:
        raise FilterError(f"give the amount alone, and ask for the currency as {leaf.name}.currency", at)
    try:
        if leaf.part == 0 and leaf.value_type is ValueType.NUMBER:
            return _parse_amount(leaf.definition, raw)
        field = _unbounded(leaf.definition)
        value = kind_of(field).parse(field, raw)
    except FieldError as error:
        raise FilterError(f"{leaf.label} {error}", at) from None
    return tuple(value) if leaf.value_type is ValueType.SET else value


def _parse_search(raw: Any, leaf: Leaf, at: str) -> Any:
    if leaf.value_type is ValueType.SET:
        return _parse_one([raw], leaf, at)[0]
    if not isinstance(raw, str):
        raise FilterError("takes the text to look for", at)
    if _is_variable(raw):
        raise FilterError(f"a variable cannot be searched for; write ${raw} for the text {raw}", at)
    if len(raw) > MAX_SEARCH:
        raise FilterError(f"the text to look for has {len(raw)} characters; at most {MAX_SEARCH} are allowed", at)
    return _unescaped(raw, at)


def _unbounded(field: FieldDef) -> FieldDef:
    """A filter may ask for values that the field would refuse to store: `amount > 1000` where 100 is the most."""
    return field.model_copy(update={"min": None, "max": None, "pattern": None})


def _parse_amount(field: FieldDef, raw: Any) -> Decimal:
    scale = AMOUNT_SCALE if field.scale is None else field.scale
    return parse_decimal(raw, precision=field.precision or AMOUNT_PRECISION, scale=scale)


def _unescaped(text: str, at: str) -> str:
    if "\x00" in text:
        raise FilterError("contains a null character; remove it", at)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise FilterError("contains half a character (a lone surrogate); remove it", at) from None
    return text[1:] if text.startswith("$$") else text


def _is_variable(text: str) -> bool:
    return text[:1] == "$" and (text[1:2].isalpha() or text[1:2] == "_")


def _parse_variable(text: str, leaf: Leaf, at: str, *, in_list: bool) -> Variable:
    match = _VARIABLE.fullmatch(text)
    if match is None or match["name"] not in list(VariableName):
        raise FilterError(f"there is no variable {text}; there are {_NAMES}. For the text itself write ${text}", at)
    name = VariableName(match["name"])
    allowed = _variables_for(leaf)
    if name not in allowed:
        usable = ", ".join(f"${one}" for one in allowed) or "none"
        raise FilterError(f"${name} does not fit {leaf.label} ({leaf.value_type}); variables that do: {usable}", at)
    if name in LIST_VARIABLES and not in_list:
        more = ", under or ancestor_of" if leaf.target == NODE_ENTITY else " or nin"
        raise FilterError(f"${name} is a list: use it with in{more}", at)
    return Variable(name, _parse_offset(match, name, at))


def _parse_offset(match: re.Match[str], name: VariableName, at: str) -> timedelta:
    if match["offset"] is None:
        return timedelta(0)
    if name not in (VariableName.NOW, VariableName.TODAY, VariableName.BUSINESS_DATE):
        raise FilterError(f"${name} takes no offset", at)
    try:
        offset: timedelta = FIELD_TYPES[FieldType.DURATION].parse(_DURATION, match["offset"])
    except FieldError as error:
        raise FilterError(f"the offset {match['offset']} {error}", at) from None
    if offset > MAX_OFFSET:
        raise FilterError("an offset is at most a hundred years", at)
    if name is not VariableName.NOW and offset % timedelta(days=1):
        raise FilterError(f"${name} is a date: its offset is in whole days, such as P2D", at)
    return -offset if match["sign"] == "-" else offset


def _variables_for(leaf: Leaf) -> tuple[VariableName, ...]:
    if leaf.value_type is ValueType.INSTANT:
        return (VariableName.NOW,)
    if leaf.value_type is ValueType.DATE:
        return (VariableName.TODAY, VariableName.BUSINESS_DATE)
    if leaf.value_type is ValueType.TEXT:
        return (VariableName.MY_ROLES,)
    by_target = {USER_ENTITY: (VariableName.ME,), NODE_ENTITY: (VariableName.MY_NODES,)}
    return by_target.get(leaf.target or "", ())


def bind(value: Any, variables: Variables) -> Any:
    """The value, or what the variable stands for; None where it stands for nothing."""
    if not isinstance(value, Variable):
        return value
    bound = getattr(variables, value.name.value)
    return bound if bound is None or not value.offset else bound + value.offset


def bind_list(values: Iterable[Any], variables: Variables) -> list[Any]:
    """The values with list variables spread and empty ones left out, each once."""
    bound: dict[Any, None] = {}
    for value in values:
        one = bind(value, variables)
        if isinstance(one, frozenset):
            bound.update(dict.fromkeys(sorted(one)))
        elif one is not None:
            bound[one] = None
    return list(bound)
