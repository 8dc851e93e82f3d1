"""Values with a shape of their own: JSON, child lines, computed fields."""

import json
from typing import Any

from sqlalchemy import Column, Computed
from sqlalchemy.dialects.postgresql import JSONB

from models.fieldtypes.base import FieldError, FieldKind, column
from models.schema import FieldDef, FieldType

_MAX_JSON = 1_000_000
_MAX_LINES = 5_000


class Json(FieldKind):
    type = FieldType.JSON
    widget = "json"
    operators = ("is_null",)
    python = Any

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return [column(field, JSONB(none_as_null=True))]

    def parse(self, field: FieldDef, value: Any) -> Any:
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise FieldError("must be JSON") from error
        if len(text) > _MAX_JSON:
            raise FieldError("is larger than 1 MB")
        if "\\u0000" in text:
            raise FieldError("contains a null character; remove it")
        return value

    def from_text(self, field: FieldDef, text: str) -> Any:
        try:
            return self.parse(field, json.loads(text))
        except ValueError:
            raise FieldError("must be JSON") from None

    def to_text(self, value: Any) -> str:
        return "" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {}


class Lines(FieldKind):
    """Rows of a child entity, replaced as a whole or matched by `id`; checked by the entities service per row."""

    type = FieldType.LINES
    widget = "lines"
    operators = ()
    python = list[dict[str, Any]]

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return []

    def parse(self, field: FieldDef, value: Any) -> Any:
        if not isinstance(value, list) or not all(isinstance(line, dict) for line in value):
            raise FieldError("must be a list of lines")
        if len(value) > _MAX_LINES:
            raise FieldError(f"has {len(value)} lines; at most {_MAX_LINES} are allowed")
        return value

    def from_text(self, field: FieldDef, text: str) -> Any:
        raise FieldError("child lines are not imported from a cell; import the child list instead")

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "object"}, "maxItems": _MAX_LINES}

    def split(self, field: FieldDef, value: Any) -> dict[str, Any]:
        return {}


class ComputedValue(FieldKind):
    """Never written. Stored ones are generated columns, so SQL filters and sorts on them like on any other."""

    type = FieldType.COMPUTED
    widget = "readonly"
    operators = ()  # those of the result type; see `models.fieldtypes.operators_of`

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        raise NotImplementedError("the builder adds generated columns: they need the names of the other columns")

    def generated(self, field: FieldDef, result: Column[Any], sql: str) -> Column[Any]:
        return Column(field.column, result.type, Computed(sql, persisted=True), nullable=True)

    def parse(self, field: FieldDef, value: Any) -> Any:
        raise FieldError("is computed and cannot be entered")

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {"readOnly": True}


KINDS: tuple[FieldKind, ...] = (Json(), Lines(), ComputedValue())
