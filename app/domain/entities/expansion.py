"""References expanded into the records they point at, as far as the actor may see those."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Date, Interval, Table, Time, Uuid

from app.core.errors import InvalidRequest
from app.core.uow import UnitOfWork
from app.domain.access.fields import readable_fields
from app.domain.entities.codec import codec_of
from app.domain.entities.columns import EXPAND_PREFIX, TITLE_PREFIX
from models.schema import EntityDef, FieldDef
from models.types import Amount, UtcDateTime


def expandable(entity: EntityDef, name: str) -> FieldDef:
    """The reference field of that name. Raises InvalidRequest."""
    found = entity.field(name) if entity.has_field(name) else None
    if found is None or not found.is_reference:
        names = [f.name for f in entity.fields if f.is_reference]
        raise InvalidRequest(f"expand: {name!r} is not a reference; there are {', '.join(names) or 'none'}")
    return found


def attach_expanded(
    uow: UnitOfWork, entity: EntityDef, expand: Sequence[str], record: dict[str, Any], row: Mapping[Any, Any]
) -> None:
    """Put each expanded record, as JSON, into the record that refers to it."""
    for name in expand:
        value = row[f"{EXPAND_PREFIX}{name}"]
        if value is None:
            record[f"{EXPAND_PREFIX}{name}"] = None
            continue
        target = uow.registry.entity(entity.field(name).target or "")
        fields = readable_fields(uow.resources.policy, uow.actor, target)
        codec = codec_of(uow.registry, target.name)
        parsed = codec.record(_typed(uow.table(target.name), value))
        shown = codec.json(parsed, fields)
        record[f"{EXPAND_PREFIX}{name}"] = {**shown, "title": value.get(TITLE_PREFIX)}


def _typed(table: Table, value: Mapping[str, Any]) -> dict[str, Any]:
    """A row that came as JSON, with its columns in their Python types again."""
    result = dict(value)
    for column in table.c:
        item = result.get(column.name)
        if item is not None:
            read = next((read for type_, read in _READERS if isinstance(column.type, type_)), None)
            result[column.name] = item if read is None else read(str(item))
    return result


_READERS: tuple[tuple[type[Any], Callable[[str], Any]], ...] = (
    (UtcDateTime, datetime.fromisoformat),
    (Uuid, UUID),
    (Amount, Decimal),
    (Date, date.fromisoformat),
    (Time, time.fromisoformat),
    (Interval, lambda seconds: timedelta(microseconds=int(Decimal(seconds) * 1_000_000))),
)
