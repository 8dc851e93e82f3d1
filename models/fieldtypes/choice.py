"""Yes or no, one of a list, several of a list."""

from typing import Any

from sqlalchemy import Boolean, Column, Text
from sqlalchemy.dialects.postgresql import ARRAY

from models.fieldtypes.base import FieldError, FieldKind, column
from models.schema import FieldDef, FieldType


class YesNo(FieldKind):
    type = FieldType.BOOLEAN
    widget = "checkbox"
    operators = ("eq", "ne", "is_null")
    python = bool

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return [column(field, Boolean)]

    def parse(self, field: FieldDef, value: Any) -> Any:
        if not isinstance(value, bool):
            raise FieldError("must be true or false")
        return value

    def from_text(self, field: FieldDef, text: str) -> Any:
        known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.strip().lower() not in known:
            raise FieldError("must be yes or no")
        return known[text.strip().lower()]

    def to_text(self, value: Any) -> str:
        return "" if value is None else ("yes" if value else "no")

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {"type": "boolean"}


def _known(field: FieldDef, value: Any) -> str:
    values = [option.value for option in field.options]
    if value not in values:
        raise FieldError(f"must be one of: {', '.join(values)}")
    return str(value)


class Choice(FieldKind):
    type = FieldType.CHOICE
    widget = "select"

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return [column(field, Text)]

    def parse(self, field: FieldDef, value: Any) -> Any:
        return _known(field, value)

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        return {"type": "string", "enum": [option.value for option in field.options]}


class MultiChoice(FieldKind):
    type = FieldType.MULTI_CHOICE
    widget = "multiselect"
    operators = ("contains", "eq", "is_null")
    python = list[str]

    def columns(self, field: FieldDef) -> list[Column[Any]]:
        return [column(field, ARRAY(Text))]

    def parse(self, field: FieldDef, value: Any) -> Any:
        if not isinstance(value, list):
            raise FieldError("must be a list")
        chosen = [_known(field, item) for item in value]
        if len(set(chosen)) != len(chosen):
            raise FieldError("names one choice twice")
        return chosen

    def from_text(self, field: FieldDef, text: str) -> Any:
        return self.parse(field, [part.strip() for part in text.split(";") if part.strip()])

    def to_text(self, value: Any) -> str:
        return ";".join(value or ())

    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        items = {"type": "string", "enum": [option.value for option in field.options]}
        return {"type": "array", "items": items, "uniqueItems": True}


KINDS: tuple[FieldKind, ...] = (YesNo(), Choice(), MultiChoice())
