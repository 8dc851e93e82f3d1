"""Read a sort such as `-business_date,label` into keys of a total order."""

from functools import lru_cache
from typing import Any

from app.core.errors import InvalidRequest
from app.core.uow import UnitOfWork
from app.domain.access.fields import readable_fields
from app.domain.entities.columns import looked_up, reference_title
from app.domain.entities.cursor import SortKey
from models.fieldtypes import FIELD_TYPES, kind_of
from models.schema import EntityDef, FieldDef, FieldType

MAX_SORT_KEYS = 4


def sort_keys(uow: UnitOfWork, entity: EntityDef, text: str, table: Any) -> list[SortKey]:
    """Read `-business_date,label` into keys, ended by the id so that the order is total. Raises InvalidRequest."""
    keys: list[SortKey] = []
    readable = {f.name for f in readable_fields(uow.resources.policy, uow.actor, entity)}
    for part in [part.strip() for part in text.split(",") if part.strip()][: MAX_SORT_KEYS + 1]:
        descending, name = part.startswith("-"), part.lstrip("-+")
        if name == "id":
            continue
        keys.append(_sort_key(uow, entity, name, descending=descending, table=table, readable=readable))
    if len(keys) > MAX_SORT_KEYS:
        raise InvalidRequest(f"sort: at most {MAX_SORT_KEYS} fields")
    id_field = _standard_field("id")
    return [*keys, SortKey("id", bool(keys and keys[-1].descending), table.c.id, kind_of(id_field), id_field)]


@lru_cache(maxsize=8)
def _standard_field(name: str) -> FieldDef:
    types = {"id": FieldType.REFERENCE, "created_at": FieldType.DATETIME, "updated_at": FieldType.DATETIME}
    type_ = types.get(name, FieldType.INTEGER)
    values: dict[str, Any] = {"id": name, "name": "x", "label": name, "type": type_}
    if type_ is FieldType.REFERENCE:
        values["reference"] = {"target": "none"}
    return FieldDef(**values)


def _sort_key(
    uow: UnitOfWork, entity: EntityDef, name: str, *, descending: bool, table: Any, readable: set[str]
) -> SortKey:
    if name in ("created_at", "updated_at", "row_version", "position") and name in table.c:
        standard = _standard_field(name)
        return SortKey(name, descending, table.c[name], kind_of(standard), standard)
    if name not in readable:
        raise InvalidRequest(f"sort: {name!r} is not a field you can read; there are {', '.join(sorted(readable))}")
    found = entity.field(name)
    if found.is_reference:
        text_field = FieldDef(id=name, name="x", label=name, type=FieldType.TEXT, length=10_000)
        return SortKey(name, descending, reference_title(uow, found, table), kind_of(text_field), text_field)
    sortable = found.type not in (FieldType.LINES, FieldType.JSON, FieldType.SECRET, FieldType.MULTI_CHOICE)
    if not sortable or (found.type is FieldType.COMPUTED and not found.stored):
        raise InvalidRequest(f"sort: {name!r} cannot be sorted by")
    column = looked_up(uow.registry, entity, found, table) if found.is_live_lookup else _first_column(found, table)
    bare = FieldDef(id=name, name="x", label=name, type=_comparable(found), length=300_000, options=found.options)
    return SortKey(name, descending, column, FIELD_TYPES[bare.type], bare)


def _comparable(found: FieldDef) -> FieldType:
    """The type of a sort value: that of the column, without the checks that apply to what people enter."""
    type_ = found.result if found.type is FieldType.COMPUTED and found.result else found.type
    exact = (FieldType.MONEY, FieldType.PERCENT, FieldType.DECIMAL)
    if type_ in exact:
        return FieldType.DECIMAL
    textual = (FieldType.CHOICE, FieldType.EMAIL, FieldType.URL, FieldType.PHONE, FieldType.MARKDOWN, FieldType.CODE)
    return FieldType.TEXT if type_ in textual else type_


def _first_column(found: FieldDef, table: Any) -> Any:
    if found.column not in table.c:
        raise InvalidRequest(f"sort: {found.name!r} cannot be sorted by")
    return table.c[found.column]
