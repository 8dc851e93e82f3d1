"""What a field type has to say: its columns, its checks, its JSON and text forms, its widget and its operators."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from sqlalchemy import Column

from models.schema import FieldDef, FieldType


class FieldError(ValueError):
    """A value does not fit its field; the message says what to enter."""


EQUALITY = ("eq", "ne", "in", "nin", "is_null")
ORDERED = (*EQUALITY, "lt", "lte", "gt", "gte", "between")
TEXTUAL = (*EQUALITY, "contains", "starts_with")


class FieldKind(ABC):
    """One field type. Stateless: everything that varies is in the FieldDef."""

    type: ClassVar[FieldType]
    widget: ClassVar[str]
    operators: ClassVar[tuple[str, ...]] = EQUALITY
    python: ClassVar[Any] = str  # the type of a value as services and records hold it

    @abstractmethod
    def columns(self, field: FieldDef) -> list[Column[Any]]:
        """The columns that hold the value; the first one is the one filtered and sorted on."""

    @abstractmethod
    def parse(self, field: FieldDef, value: Any) -> Any:
        """Check a JSON value (never None) and return it as held in memory. Raises FieldError."""

    def to_json(self, value: Any) -> Any:
        return value

    @abstractmethod
    def json_schema(self, field: FieldDef) -> dict[str, Any]:
        """The JSON Schema of a non-null value."""

    def from_text(self, field: FieldDef, text: str) -> Any:
        """Read a CSV or XLSX cell (not empty). Raises FieldError."""
        return self.parse(field, text)

    def to_text(self, value: Any) -> str:
        return "" if value is None else str(self.to_json(value))

    def split(self, field: FieldDef, value: Any) -> Mapping[str, Any]:
        """The column values of a parsed value; one column for most types."""
        return {field.column: value}

    def join(self, field: FieldDef, row: Mapping[str, Any]) -> Any:
        """The inverse of `split`: the value out of a row keyed by column."""
        return row.get(field.column)


def column(field: FieldDef, type_: Any, *args: Any, **kwargs: Any) -> Column[Any]:
    return Column(field.column, type_, *args, nullable=True, **kwargs)


def check_bounds(field: FieldDef, value: Any, *, low: Any, high: Any) -> Any:
    if low is not None and value < low:
        raise FieldError(f"must be at least {field.min}")
    if high is not None and value > high:
        raise FieldError(f"must be at most {field.max}")
    return value
