"""Every field type there is. To add one: write it in the file of its family and list it in that file's KINDS."""

from models.fieldtypes import choice, number, reference, structure, temporal, text
from models.fieldtypes.base import FieldError, FieldKind
from models.schema import FieldDef, FieldType

FIELD_TYPES: dict[FieldType, FieldKind] = {
    kind.type: kind
    for kind in (
        *text.KINDS, *number.KINDS, *choice.KINDS, *temporal.KINDS, *reference.KINDS, *structure.KINDS,
    )
}  # fmt: skip


def kind_of(field: FieldDef) -> FieldKind:
    """The type that checks and renders a field's values; a computed field has that of its result."""
    return FIELD_TYPES[field.result if field.type is FieldType.COMPUTED and field.result else field.type]


def operators_of(field: FieldDef) -> tuple[str, ...]:
    """The filter operators that may be used on a field."""
    return kind_of(field).operators


__all__ = ["FIELD_TYPES", "FieldError", "FieldKind", "kind_of", "operators_of"]
