"""A record in its three forms: the row (by column), the record (by field, values in memory), and JSON."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from models import expressions
from models.fieldtypes import FIELD_TYPES, FieldKind, kind_of
from models.fieldtypes.temporal import Instant
from models.registry import Registry
from models.schema import EntityDef, FieldDef, FieldType

STANDARD = ("id", "row_version", "created_at", "created_by", "updated_at", "updated_by")
_INSTANT = Instant()


class Codec:
    """The conversions of one entity, prepared once per metadata revision."""

    def __init__(self, entity: EntityDef) -> None:
        self.entity = entity
        self.kinds: dict[str, FieldKind] = {field.name: kind_of(field) for field in entity.fields}
        # The columns that hold each field, made once: a field makes its columns anew each time it is asked for them.
        self.columns_of: dict[str, tuple[str, ...]] = {
            field.name: tuple(column.name for column in FIELD_TYPES[field.type].columns(field))
            for field in entity.fields
            if field.type not in (FieldType.LINES, FieldType.COMPUTED) and not field.is_live_lookup
        }
        self._joins: list[tuple[str, Callable[[Mapping[str, Any]], Any]]] = []
        for field in entity.fields:
            if field.type is FieldType.LINES:
                continue
            self._joins.append((field.name, self._reader(field)))

    def _reader(self, field: FieldDef) -> Callable[[Mapping[str, Any]], Any]:
        if field.type is FieldType.COMPUTED and not field.stored:
            text = field.computed or ""
            return lambda row: expressions.evaluate(text, row)
        kind = FIELD_TYPES[field.type]
        if field.type is FieldType.COMPUTED or field.is_live_lookup:
            return lambda row: row.get(field.column)
        if field.type in (FieldType.MONEY, FieldType.POLYMORPHIC_REFERENCE):
            return lambda row: kind.join(field, row)
        column = field.column
        return lambda row: row.get(column)

    def record(self, row: Mapping[Any, Any]) -> dict[str, Any]:
        """The record of a row, all fields (lines apart) and the standard columns."""
        record = {name: row.get(name) for name in STANDARD}
        for extra in ("parent_id", "position", "deleted_at"):
            if extra in row:
                record[extra] = row[extra]
        for name, read in self._joins:
            record[name] = read(row)
        return record

    def columns(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Column values of the given fields; lines and computed fields have none."""
        result: dict[str, Any] = {}
        for name, value in values.items():
            field = self.entity.field(name)
            if field.type not in (FieldType.LINES, FieldType.COMPUTED) and not field.is_live_lookup:
                result.update(FIELD_TYPES[field.type].split(field, value))
        return result

    def json(self, record: Mapping[str, Any], fields: Iterable[FieldDef]) -> dict[str, Any]:
        """The record as JSON, with the given fields only; the standard columns are always there."""
        result: dict[str, Any] = {
            "id": str(record["id"]),
            "row_version": record["row_version"],
            "created_at": _INSTANT.to_json(record["created_at"]),
            "created_by": _text(record.get("created_by")),
            "updated_at": _INSTANT.to_json(record["updated_at"]),
            "updated_by": _text(record.get("updated_by")),
        }
        for field in fields:
            if field.name not in record:
                continue
            value = record[field.name]
            result[field.name] = value if field.type is FieldType.LINES else self.kinds[field.name].to_json(value)
        return result


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


@lru_cache(maxsize=4096)
def codec_of(registry: Registry, entity: str) -> Codec:
    """The codec of an entity in this revision of the metadata."""
    return Codec(registry.entity(entity))
