"""From a path such as `process.stage.name` to its hops and the field it ends in, with the operators that takes."""

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from app.core.filters.nodes import TREE_OPERATORS, FilterError, Hop, Leaf, Operator, Path, ValueType
from models.fieldtypes import kind_of, operators_of
from models.fieldtypes.base import EQUALITY, ORDERED, TEXTUAL
from models.registry import Registry
from models.schema import EntityDef, EntityKind, FieldDef, FieldType

MAX_SEGMENTS = 5
NODE_ENTITY = "hierarchy_node"
USER_ENTITY = "user"

_VALUE_TYPES = {
    FieldType.INTEGER: ValueType.NUMBER,
    FieldType.DECIMAL: ValueType.NUMBER,
    FieldType.MONEY: ValueType.NUMBER,
    FieldType.PERCENT: ValueType.NUMBER,
    FieldType.SEQUENCE: ValueType.NUMBER,
    FieldType.BOOLEAN: ValueType.BOOLEAN,
    FieldType.DATE: ValueType.DATE,
    FieldType.DATETIME: ValueType.INSTANT,
    FieldType.TIME: ValueType.TIME,
    FieldType.DURATION: ValueType.DURATION,
    FieldType.MULTI_CHOICE: ValueType.SET,
    FieldType.REFERENCE: ValueType.ID,
    FieldType.USER: ValueType.ID,
    FieldType.HIERARCHY_NODE: ValueType.ID,
    FieldType.FILE: ValueType.ID,
    FieldType.IMAGE: ValueType.ID,
    FieldType.POLYMORPHIC_REFERENCE: ValueType.OPAQUE,
    FieldType.JSON: ValueType.OPAQUE,
    FieldType.SECRET: ValueType.OPAQUE,
}


@dataclass(frozen=True, slots=True)
class _Found:
    """A field of an entity, or one of the columns that every entity has."""

    definition: FieldDef
    column: str | None
    target: str | None
    operators: tuple[str, ...]


def _built_in(name: str, label: str, type_: FieldType, **more: Any) -> FieldDef:
    # Reserved names are refused by the validator on purpose; these are the columns they are reserved for.
    return FieldDef.model_construct(id=name, name=name, label=label, type=type_, **more)


_STANDARD = {
    "id": _Found(_built_in("id", "Id", FieldType.REFERENCE), "id", None, EQUALITY),
    "row_version": _Found(_built_in("row_version", "Version", FieldType.INTEGER), "row_version", None, ORDERED),
    "created_at": _Found(_built_in("created_at", "Created", FieldType.DATETIME), "created_at", None, ORDERED),
    "created_by": _Found(_built_in("created_by", "Created by", FieldType.USER), "created_by", USER_ENTITY, EQUALITY),
    "updated_at": _Found(_built_in("updated_at", "Updated", FieldType.DATETIME), "updated_at", None, ORDERED),
    "updated_by": _Found(_built_in("updated_by", "Updated by", FieldType.USER), "updated_by", USER_ENTITY, EQUALITY),
}
_DELETED = _Found(_built_in("deleted_at", "Deleted", FieldType.DATETIME), "deleted_at", None, ORDERED)
_PARENT = _Found(_built_in("parent", "Parent", FieldType.REFERENCE), "parent_id", None, EQUALITY)
_POSITION = _Found(_built_in("position", "Position", FieldType.INTEGER), "position", None, ORDERED)


def _built_in_fields(entity: EntityDef, registry: Registry) -> dict[str, _Found]:
    known = dict(_STANDARD)
    known["id"] = replace(known["id"], target=entity.name)
    if entity.soft_delete:
        known["deleted_at"] = _DELETED
    if entity.kind is EntityKind.CHILD and entity.name in registry.parents:
        known["parent"] = replace(_PARENT, target=registry.parents[entity.name][0].name)
        known["position"] = _POSITION
    return known


def _find(entity: EntityDef, name: str, registry: Registry, at: str) -> _Found:
    if entity.has_field(name):
        field = entity.field(name)
        computed_on_read = field.type is FieldType.COMPUTED and not field.stored
        columns = [] if computed_on_read or field.type is FieldType.LINES else kind_of(field).columns(field)
        return _Found(field, columns[0].name if columns else None, field.target, operators_of(field))
    built_in = _built_in_fields(entity, registry)
    if name in built_in:
        return built_in[name]
    names = [*(field.name for field in entity.fields), *built_in]
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}? It has" if close else "it has"
    raise FilterError(f"{entity.label} has no field {name!r}; {hint} {', '.join(names)}", at)


def resolve_path(text: str, entity: EntityDef, registry: Registry, at: str) -> Path:
    """Raises FilterError when a step does not exist, leads nowhere, or the path is too long."""
    segments = text.split(".")
    if len(segments) > MAX_SEGMENTS:
        raise FilterError(f"the path {text!r} has {len(segments)} steps; at most {MAX_SEGMENTS} are allowed", at)
    hops: list[Hop] = []
    reads: list[tuple[str, str]] = []
    for number, name in enumerate(segments):
        found = _find(entity, name, registry, at)
        reads.append((entity.name, name))
        rest = segments[number + 1 :]
        lookup = found.definition.lookup
        if lookup is not None and lookup.mode == "live":
            if rest:
                raise FilterError(f"{name} is looked up; write the path itself: {'.'.join((lookup.path, *rest))}", at)
            inner = _looked_up(found.definition, lookup.path, entity, registry, after=number, at=at)
            return Path(text, (*hops, *inner.hops), inner.leaf, tuple(reads))
        if not rest:
            return Path(text, tuple(hops), _leaf(entity, name, found, at), tuple(reads))
        pair = _pair_part(entity, name, found, rest)
        if pair is not None:
            return Path(text, tuple(hops), pair, tuple(reads))
        if found.target is None or name == "id":
            raise FilterError(_nothing_below(found.definition, name), at)
        if found.target not in registry.entities:
            raise FilterError(f"{name} leads to {found.target!r}, which is not defined", at)
        many = found.definition.type is FieldType.LINES
        column = "id" if many else found.column or ""
        hops.append(Hop(entity.name, name, column, found.target, many, found.definition.label))
        entity = registry.entity(found.target)
    raise FilterError("a path names a field", at)


def _looked_up(field: FieldDef, path: str, entity: EntityDef, registry: Registry, *, after: int, at: str) -> Path:
    """The path that a live lookup stands for; its steps know the lookup, as records in memory hold its value."""
    if after + len(path.split(".")) > MAX_SEGMENTS:
        raise FilterError(f"{field.name} is looked up through {path}, which makes the path too long", at)
    inner = resolve_path(path, entity, registry, at)
    steps = tuple(replace(hop, lookup=field.name) for hop in inner.hops)
    return replace(inner, hops=steps, leaf=replace(inner.leaf, label=field.label))


def _nothing_below(field: FieldDef, name: str) -> str:
    if field.type is FieldType.MONEY:
        return f"{name} is an amount of money; only {name} (the amount) and {name}.currency can be filtered"
    if field.type is FieldType.POLYMORPHIC_REFERENCE:
        return f"{name} refers to records of any kind; only {name}.entity and {name}.id can be filtered"
    return f"{name} is not a reference, so nothing follows it; end the path at {name}"


def _leaf(entity: EntityDef, name: str, found: _Found, at: str) -> Leaf:
    field = found.definition
    if field.type is FieldType.LINES:
        raise FilterError(f"{name} is a list of lines; name a field of a line, for example {name}.position", at)
    operators = tuple(Operator(operator) for operator in found.operators)
    type_ = kind_of(field).type
    if found.target == NODE_ENTITY:
        operators = tuple(dict.fromkeys((*operators, *TREE_OPERATORS)))
    return Leaf(
        entity=entity.name,
        name=name,
        column=found.column,
        value_type=_VALUE_TYPES.get(type_, ValueType.TEXT),
        operators=operators,
        label=field.label,
        definition=field,
        target=found.target,
        part=0 if type_ is FieldType.MONEY else None,
    )


def _pair_part(entity: EntityDef, name: str, found: _Found, rest: list[str]) -> Leaf | None:
    """The second halves: the currency of an amount, the entity and the id of a polymorphic reference."""
    field = found.definition
    parts: dict[tuple[FieldType, str], tuple[int, str, ValueType, FieldType, tuple[str, ...]]] = {
        (FieldType.MONEY, "currency"): (1, f"{name}_currency", ValueType.TEXT, FieldType.TEXT, TEXTUAL),
        (FieldType.POLYMORPHIC_REFERENCE, "entity"): (0, f"{name}_entity", ValueType.TEXT, FieldType.TEXT, EQUALITY),
        (FieldType.POLYMORPHIC_REFERENCE, "id"): (1, f"{name}_id", ValueType.ID, FieldType.REFERENCE, EQUALITY),
    }
    part = parts.get((kind_of(field).type, rest[0])) if len(rest) == 1 else None
    if part is None:
        return None
    index, column, value_type, type_, operators = part
    label = f"{field.label} {rest[0]}"
    definition = _built_in(name, label, type_)
    operators_ = tuple(Operator(operator) for operator in operators)
    return Leaf(entity.name, name, column, value_type, operators_, label, definition, None, index)
