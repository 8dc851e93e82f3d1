"""The entities and records of vectors.json, in the three forms the evaluators take: rows, memory, JSON."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from app.core.filters import Variables
from models import expressions
from models.fieldtypes import kind_of
from models.loader import load_entity
from models.registry import Registry
from models.schema import EntityDef, FieldDef, FieldType

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))
NAMES = frozenset(record["id"] for records in VECTORS["records"].values() for record in records)
CREATED = datetime(2026, 10, 1, tzinfo=UTC)
NESTING = 4

Record = dict[str, Any]


def id_of(name: str) -> UUID:
    return uuid5(NAMESPACE_OID, name.lower())


def with_ids(value: Any) -> Any:
    """Replace each `@name` of a record by its id; `@NAME` by the same id in capitals."""
    if isinstance(value, str) and value.lower() in NAMES:
        return str(id_of(value)).upper() if value.isupper() else str(id_of(value))
    if isinstance(value, list):
        return [with_ids(item) for item in value]
    if isinstance(value, dict):
        return {key: with_ids(item) for key, item in value.items()}
    return value


REGISTRY = Registry([load_entity(json.dumps(entity)) for entity in VECTORS["entities"]])
RUN = REGISTRY.entity("run")


def _stored(field: FieldDef) -> bool:
    return field.type is not FieldType.COMPUTED and field.lookup is None


def _memory(entity: EntityDef, given: Mapping[str, Any], number: int) -> Record:
    """The record as services hold it; references as ids, lines as records."""
    created_by = given.get("created_by")
    record: Record = {
        "id": UUID(given["id"]) if "id" in given else id_of(f"{entity.name} {number}"),
        "row_version": given.get("row_version", 1),
        "created_at": _instant(given.get("created_at")) or CREATED,
        "created_by": UUID(created_by) if created_by else None,
        "updated_at": CREATED,
        "updated_by": None,
    }
    if entity.soft_delete:
        record["deleted_at"] = _instant(given.get("deleted_at"))
    for field in entity.fields:
        value = given.get(field.name)
        if field.type is FieldType.LINES:
            record[field.name] = [
                _line(REGISTRY.entity(field.target or ""), line, record["id"], position)
                for position, line in enumerate(value or ())
            ]
        elif _stored(field):
            record[field.name] = None if value is None else kind_of(field).parse(field, value)
    for field in entity.fields:
        if field.type is FieldType.COMPUTED:
            value = expressions.evaluate(field.computed or "", record)
            whole = value is not None and field.result is FieldType.INTEGER
            record[field.name] = int(value) if whole else value
    return record


def _line(entity: EntityDef, given: Mapping[str, Any], parent: UUID, position: int) -> Record:
    line = _memory(entity, {"id": str(uuid5(parent, f"{entity.name} {position}")), **given}, position)
    return {**line, "parent": parent, "position": position}


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


RECORDS: dict[str, dict[UUID, Record]] = {}
PATHS: dict[UUID, str] = {}
for _entity, _given in VECTORS["records"].items():
    _made = [_memory(REGISTRY.entity(_entity), with_ids(one), number) for number, one in enumerate(_given)]
    RECORDS[_entity] = {record["id"]: record for record in _made}
    if _entity == "hierarchy_node":
        PATHS = {id_of(one["id"]): one["path"] for one in _given if "deleted_at" not in one}


def resolve(entity: str, id_: UUID) -> Record | None:
    return RECORDS[entity].get(id_)


def references(entity: EntityDef) -> dict[str, str]:
    """Field -> target of every reference a record of the entity can nest."""
    found = {field.name: field.target for field in entity.fields if field.is_reference and field.target}
    found |= {"created_by": "user", "updated_by": "user"}
    if entity.name in REGISTRY.parents:
        found["parent"] = REGISTRY.parents[entity.name][0].name
    return found


def nested(entity: EntityDef, record: Record, depth: int = NESTING) -> Record:
    """The record with its references as records inside it, `depth` steps deep."""
    result = dict(record)
    for field in entity.fields:
        if field.type is FieldType.LINES:
            lines = REGISTRY.entity(field.target or "")
            result[field.name] = [nested(lines, line, depth - 1) for line in record[field.name]] if depth else None
    for name, target in references(entity).items():
        if depth and record.get(name) is not None:
            result[name] = nested(REGISTRY.entity(target), RECORDS[target][record[name]], depth - 1)
    return result


def as_json(entity: EntityDef, record: Record, depth: int = NESTING) -> Record:
    """The nested record as the API would send it, live lookups included."""
    result: Record = {}
    targets = references(entity)
    for name, value in record.items():
        field = entity.field(name) if entity.has_field(name) else None
        if field is not None and field.type is FieldType.LINES:
            lines = REGISTRY.entity(field.target or "")
            result[name] = [as_json(lines, line, depth - 1) for line in value] if depth else None
        elif name in targets and value is not None and depth:
            target = REGISTRY.entity(targets[name])
            result[name] = as_json(target, RECORDS[target.name][value], depth - 1)
        elif field is not None and field.type is not FieldType.SECRET:
            result[name] = kind_of(field).to_json(value)
        else:
            result[name] = _plain(value)
    for field in entity.fields:
        if field.lookup is not None:
            result[field.name] = _followed(entity, record, field.lookup.path.split("."))
    return result


def _followed(entity: EntityDef, record: Record, steps: list[str]) -> Any:
    value = record[steps[0]]
    if len(steps) == 1 or value is None:
        return value
    target = REGISTRY.entity(entity.field(steps[0]).target or "")
    found = RECORDS[target.name][value]
    return None if found.get("deleted_at") is not None else _followed(target, found, steps[1:])


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value


def variables(name: str) -> Variables:
    given = with_ids(VECTORS["variables"][name])
    business_date = given.get("business_date")
    return Variables(
        now=datetime.fromisoformat(given["now"]),
        today=date.fromisoformat(given["today"]),
        business_date=date.fromisoformat(business_date) if business_date else None,
        me=UUID(given["me"]) if given.get("me") else None,
        my_roles=frozenset(given["my_roles"]),
        my_nodes=frozenset(UUID(node) for node in given["my_nodes"]),
        node_paths=PATHS,
    )


def browser_variables(name: str, types: Mapping[str, str]) -> dict[str, Any]:
    paths = {str(node): path for node, path in PATHS.items()}
    return {**with_ids(VECTORS["variables"][name]), "node_paths": paths, "types": dict(types)}


def rows() -> list[tuple[str, Record]]:
    """(entity, column values) of every record and line, targets before what refers to them."""
    result: list[tuple[str, Record]] = []
    for name, records in RECORDS.items():
        for record in records.values():
            result += _rows(REGISTRY.entity(name), record)
    return result


def _rows(entity: EntityDef, record: Record) -> list[tuple[str, Record]]:
    row = {key: value for key, value in record.items() if not entity.has_field(key)}
    if "parent" in row:
        row["parent_id"] = row.pop("parent")
    if entity.name == "hierarchy_node":
        given = next(one for one in VECTORS["records"][entity.name] if id_of(one["id"]) == record["id"])
        row["path"] = given["path"]
    below: list[tuple[str, Record]] = []
    for field in entity.fields:
        if field.type is FieldType.LINES:
            target = REGISTRY.entity(field.target or "")
            below += [pair for line in record[field.name] for pair in _rows(target, line)]
        elif _stored(field):
            value = record[field.name]
            stored = value.encode() if field.type is FieldType.SECRET and value is not None else value
            row |= kind_of(field).split(field, stored)
    return [(entity.name, row), *below]


NESTED = {
    name: [nested(REGISTRY.entity(name), record) for record in records.values()] for name, records in RECORDS.items()
}
AS_JSON = {
    name: [as_json(REGISTRY.entity(name), record) for record in records.values()] for name, records in RECORDS.items()
}
