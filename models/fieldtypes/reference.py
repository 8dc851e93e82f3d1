"""Links to other records: reference, user, hierarchy node, file, image, and a reference to any entity."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Column, ForeignKey, Text, Uuid

from models.fieldtypes.base import EQUALITY, FieldError, FieldKind
from models.schema import FieldDef, FieldType

_ON_DELETE = {"restrict": "RESTRICT", "cascade": "CASCADE", "set_null": "SET NULL"}


def parse_uuid(value: Any) -> UUID:
    """Raises FieldError."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value) if isinstance(value, str) and len(value) in (32, 36) else _refuse()
    except ValueError:
        return _refuse()


def _refuse() -> UUID:
    raise FieldError("must be the id of a record")


class Reference(FieldKind):
    type = FieldType.REFERENCE
    widget = "lookup"
    python = UUID

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        on_delete = _ON_DELETE[field.reference.on_delete] if field.reference else "RESTRICT"
        # The table name; a definition whose table differs from its name is resolved by the builder.
        key = ForeignKey(f"{field.target}.id", ondelete=on_delete)
        return [Column(field.column, Uuid, key, nullable=True, index=True)]

    def parse(self, field: FieldDef, value: Any) -> Any:
        return parse_uuid(value)

    def to_json(self, value: Any) -> Any:
        return None if value is None else str(value)

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {"type": "string", "format": "uuid", "description": f"id of a {field.target}"}


class User(Reference):
    type = FieldType.USER
    operators = EQUALITY


class HierarchyNode(Reference):
    type = FieldType.HIERARCHY_NODE
    widget = "node"
    operators = (*EQUALITY, "under", "ancestor_of")


class File(Reference):
    type = FieldType.FILE
    widget = "file"


class Image(Reference):
    type = FieldType.IMAGE
    widget = "image"


class PolymorphicReference(FieldKind):
    """A record of any entity: `{"entity": "process_run", "id": "..."}`; held as a pair."""

    type = FieldType.POLYMORPHIC_REFERENCE
    widget = "polymorphic"
    operators = ("is_null",)
    python = tuple[str, UUID]

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return [
            Column(f"{field.name}_entity", Text, nullable=True),
            Column(f"{field.name}_id", Uuid, nullable=True, index=True),
        ]

    def parse(self, field: FieldDef, value: Any) -> Any:
        if isinstance(value, tuple):
            value = {"entity": value[0], "id": value[1]}
        if not isinstance(value, dict) or not isinstance(value.get("entity"), str):
            raise FieldError('must name a record: {"entity": "process_run", "id": "..."}')
        return (value["entity"], parse_uuid(value.get("id")))

    def to_json(self, value: Any) -> Any:
        return None if value is None else {"entity": value[0], "id": str(value[1])}

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        properties = {"entity": {"type": "string"}, "id": {"type": "string", "format": "uuid"}}
        return {"type": "object", "required": ["entity", "id"], "additionalProperties": False, "properties": properties}

    def from_text(self, field: FieldDef, text: str) -> Any:
        entity, _, id_ = text.partition(":")
        return self.parse(field, {"entity": entity, "id": id_})

    def to_text(self, value: Any) -> str:
        return "" if value is None else f"{value[0]}:{value[1]}"

    def split(self, field: FieldDef, value: Any) -> Mapping[str, Any]:
        entity, id_ = value or (None, None)
        return {f"{field.name}_entity": entity, f"{field.name}_id": id_}

    def join(self, field: FieldDef, row: Mapping[str, Any]) -> Any:
        id_ = row.get(f"{field.name}_id")
        return None if id_ is None else (row.get(f"{field.name}_entity"), id_)


KINDS: tuple[FieldKind, ...] = (Reference(), User(), HierarchyNode(), File(), Image(), PolymorphicReference())
