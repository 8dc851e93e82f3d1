"""Which field of a record an attribute of a case fills: by name, however it is written. Pure."""

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from models.schema import EntityDef, FieldDef, FieldType
from models.types import AMOUNT_SCALE

CASE_NAMES = frozenset({"conceptname", "case", "caseid", "casename"})
_SCALES = {FieldType.DECIMAL: AMOUNT_SCALE, FieldType.PERCENT: 6}


def values_of(entity: EntityDef, attributes: Mapping[str, str], case: str) -> dict[str, Any]:
    """The record of a case: `BudgetNumber` fills `budget_number`; the name of the case fills the title field.

    Attributes without a field are left out. A number with more digits than its field keeps is rounded half to even.
    """
    known = {_plain(key): value for key, value in attributes.items()}
    values: dict[str, Any] = {}
    for field in entity.fields:
        if not field.writable:
            continue
        name = _plain(field.name)
        if name in CASE_NAMES:
            values[field.name] = case
        elif name in known and known[name] != "":
            values[field.name] = _fitted(field, known[name])
    values.setdefault(entity.title_field, case)
    return values


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.rpartition(":")[2].lower() if name != "concept:name" else name)


def _fitted(field: FieldDef, value: str) -> Any:
    if field.type is FieldType.BOOLEAN:
        return {"true": True, "false": False}.get(value.lower(), value)
    if field.type not in _SCALES:
        return value
    try:
        number = Decimal(value)
    except InvalidOperation:
        return value  # the record's own check says what is wrong with it
    scale = _SCALES[field.type] if field.scale is None else field.scale
    return str(number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_EVEN))
