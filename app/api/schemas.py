"""JSON Schemas of an entity's records, derived from its fields: as they are read, as they are created and changed.

They describe; the checking is done by `app.domain.entities`, once, for every way in.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from models.fieldtypes import FIELD_TYPES, kind_of
from models.registry import Registry
from models.schema import EntityDef, EntityKind, FieldDef, FieldType

Schema = dict[str, Any]

_ID = "0198f3c2-7a10-7cc3-9f5e-3b1d2a4c6e80"
_UUID: Mapping[str, Any] = {"type": "string", "format": "uuid"}
_INSTANT: Mapping[str, Any] = {"type": "string", "format": "date-time"}

STANDARD: Mapping[str, Schema] = {
    "id": {**_UUID, "description": "Never changes; newer records have greater ids", "examples": [_ID]},
    "row_version": {"type": "integer", "minimum": 1, "description": "Grows with each change; send it as If-Match"},
    "created_at": {**_INSTANT, "examples": ["2026-10-30T16:00:00Z"]},
    "created_by": {"type": ["string", "null"], "format": "uuid", "description": "id of a user"},
    "updated_at": {**_INSTANT, "examples": ["2026-10-30T16:00:00Z"]},
    "updated_by": {"type": ["string", "null"], "format": "uuid", "description": "id of a user"},
}

_EXAMPLES: Mapping[FieldType, Any] = {
    FieldType.LONG_TEXT: "Checked against the confirmation.",
    FieldType.MARKDOWN: "Checked against the **confirmation**.",
    FieldType.EMAIL: "person@bank.example",
    FieldType.URL: "https://bank.example/policy",
    FieldType.PHONE: "+49 69 1234567",
    FieldType.INTEGER: 1,
    FieldType.SEQUENCE: 1,
    FieldType.DECIMAL: "1250.75",
    FieldType.PERCENT: "12.5",
    FieldType.BOOLEAN: False,
    FieldType.DATE: "2026-10-30",
    FieldType.DATETIME: "2026-10-30T16:00:00Z",
    FieldType.TIME: "16:30",
    FieldType.DURATION: "PT1H30M",
    FieldType.POLYMORPHIC_REFERENCE: {"entity": "process_run", "id": _ID},
}
_TEXT_CANDIDATES = (
    "USD",
    "EURUSD",
    "PNL",
    "G10",
    "A-1",
    "fx_close",
    "desk",
    "Europe/Berlin",
    "BD+1 09:00 Europe/Berlin",
)


def camel(name: str) -> str:
    """`process_run` -> `ProcessRun`, the name under which its schemas stand."""
    return "".join(part.capitalize() for part in name.split("_"))


@lru_cache(maxsize=4)
def component_schemas(registry: Registry) -> Mapping[str, Schema]:
    """Every entity's `...Read`, and `...Create` and `...Patch` where people write it. One set per metadata revision."""
    schemas: dict[str, Schema] = {}
    for entity in registry.entities.values():
        name = camel(entity.name)
        if entity.kind is EntityKind.CHILD:
            schemas[f"{name}Line"] = line_schema(registry, entity)
        schemas[f"{name}Read"] = read_schema(registry, entity)
        if not entity.managed and entity.kind is not EntityKind.CHILD:
            schemas[f"{name}Create"] = create_schema(registry, entity)
            schemas[f"{name}Patch"] = patch_schema(registry, entity)
    return schemas


def read_schema(registry: Registry, entity: EntityDef) -> Schema:
    """A record as it is read. Fields that the reader may not see are left out, so only the standard ones are sure."""
    properties = {name: dict(schema) for name, schema in STANDARD.items()}
    for field in visible(entity):
        properties[field.name] = {**field_schema(registry, field), **_words(field)}
    described = {"description": entity.description} if entity.description else {}
    return {"type": "object", "title": entity.label, **described, "required": [*STANDARD], "properties": properties}


def create_schema(registry: Registry, entity: EntityDef) -> Schema:
    """A new record: required is what has no default and is not numbered by the platform."""
    fields = [field for field in visible(entity) if field.writable]
    return {
        "type": "object",
        "title": f"New {_lower(entity.label)}",
        "additionalProperties": False,
        "required": [field.name for field in fields if must_be_given(entity, field)],
        "properties": {f.name: _input_schema(registry, f, required=f.required) for f in fields},
        "examples": [example_values(entity)],
    }


def patch_schema(registry: Registry, entity: EntityDef) -> Schema:
    """A change: only the fields that change, null to clear one."""
    fields = [field for field in visible(entity) if field.writable and not field.immutable]
    example = {f.name: value for f in fields[:6] if (value := example_value(f)) is not None}
    return {
        "type": "object",
        "title": f"Change of {_lower(entity.label)}",
        "additionalProperties": False,
        "properties": {f.name: _input_schema(registry, f, required=f.required) for f in fields},
        "examples": [dict(list(example.items())[-1:])],
    }


def line_schema(registry: Registry, entity: EntityDef) -> Schema:
    """A child line inside its record: with `id` it is an existing one, without it a new one."""
    fields = [field for field in visible(entity) if field.writable]
    properties: dict[str, Schema] = {"id": {"type": ["string", "null"], "format": "uuid"}}
    properties |= {f.name: _input_schema(registry, f, required=f.required) for f in fields}
    required = [field.name for field in fields if must_be_given(entity, field)]
    return {"type": "object", "title": entity.label, "required": required, "properties": properties}


def visible(entity: EntityDef) -> Iterable[FieldDef]:
    """The fields that are ever shown to anybody."""
    return (field for field in entity.fields if field.access_group != "internal")


def must_be_given(entity: EntityDef, field: FieldDef) -> bool:
    """Whether a new record is refused without a value for the field."""
    numbered = entity.reference_number is not None and entity.reference_number.field == field.name
    return field.required and field.default is None and field.default_expr is None and not numbered


def field_schema(registry: Registry, field: FieldDef) -> Schema:
    """The schema of a value that is read; any may be null."""
    if field.type is FieldType.LINES:
        child = registry.entity(field.target or "")
        return {"type": "array", "items": {"$ref": f"#/components/schemas/{camel(child.name)}Line"}}
    if field.type is FieldType.SECRET:
        return {"type": ["string", "null"], "description": "Only whether there is one is ever shown"}
    return nullable(kind_of(field).json_schema(field))


def _input_schema(registry: Registry, field: FieldDef, *, required: bool) -> Schema:
    if field.type is FieldType.LINES:
        schema = {**field_schema(registry, field), "maxItems": 5_000}
    else:
        schema = FIELD_TYPES[field.type].json_schema(field)
    if not required:
        schema = nullable(schema)
    if field.default is not None and field.type is not FieldType.LINES:
        schema = {**schema, "default": field.default}
    return {**schema, **_words(field)}


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    if not schema or "anyOf" in schema:
        return schema
    result = {**schema, "type": [schema["type"], "null"]}
    if "enum" in result:
        result["enum"] = [*result["enum"], None]
    return result


def _words(field: FieldDef) -> Schema:
    words: Schema = {"title": field.label}
    target = f"id of a {field.target.replace('_', ' ')}" if field.target and field.type is not FieldType.LINES else ""
    description = ". ".join(part.rstrip(".") for part in (field.help, target) if part)
    if description:
        words["description"] = description
    if field.deprecated:
        words["deprecated"] = True
    if not field.writable:
        words["readOnly"] = True
    example = example_value(field)
    if example is not None:
        words["examples"] = [example]
    return words


def example_values(entity: EntityDef) -> dict[str, Any]:
    """A new record that could be sent, with what must be given and what is most often given."""
    chosen = [f for f in visible(entity) if f.writable and (must_be_given(entity, f) or f.in_list)]
    return {f.name: value for f in chosen if (value := example_value(f)) is not None and not f.visible_if}


def example_value(field: FieldDef) -> Any:
    """A value that fits the field; None where none can be told from its definition."""
    if field.default not in (None, ""):
        return field.default
    type_ = field.result if field.type is FieldType.COMPUTED and field.result else field.type
    if field.is_reference:
        return _ID
    match type_:
        case FieldType.CHOICE:
            return field.options[0].value
        case FieldType.MULTI_CHOICE:
            return [field.options[0].value]
        case FieldType.MONEY:
            return {"amount": "1250.75", "currency": field.currency or "EUR"}
        case FieldType.TEXT | FieldType.CODE:
            return _example_text(field)
        case FieldType.INTEGER if field.min is not None:
            return field.min
    return _EXAMPLES.get(type_)


def _example_text(field: FieldDef) -> str | None:
    longest = field.length or 100
    if field.pattern:
        fitting = (text for text in _TEXT_CANDIDATES if len(text) <= longest and re.fullmatch(field.pattern, text))
        return next(fitting, None)
    return field.label[:longest]


def _lower(label: str) -> str:
    return label if label[:2].isupper() or label.startswith("PnL") else label[:1].lower() + label[1:]
