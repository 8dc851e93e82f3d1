"""Definitions out of YAML and back: `definition -> YAML -> definition` is the identity."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from models.schema import EntityDef

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEFINITIONS = Path(__file__).parent / "definitions"


_LIFECYCLE_FIELDS: tuple[dict[str, Any], ...] = (
    {
        "name": "lifecycle_state", "label": "State", "type": "text", "length": 48, "read_only": True, "index": True,
        "in_filter": True, "copyable": False, "visible_if": {"lifecycle_version": {"is_null": False}},
    },
    {
        "name": "lifecycle_version", "type": "reference", "reference": {"target": "lifecycle_version"},
        "read_only": True, "copyable": False, "visible_if": {"lifecycle_version": {"is_null": False}},
    },
)  # fmt: skip


class DefinitionError(ValueError):
    """A definition file cannot be used; the message names the file and what to change."""


def load_entity(text: str, *, source: str = "definition") -> EntityDef:
    """Read one entity definition. Raises DefinitionError."""
    try:
        data = yaml.load(text, Loader=_LOADER)  # noqa: S506  (the safe loader, in C)
    except yaml.YAMLError as error:
        raise DefinitionError(f"{source}: not YAML: {error}") from error
    if not isinstance(data, dict):
        raise DefinitionError(f"{source}: a definition is a mapping that starts with `id:` and `name:`")
    try:
        return EntityDef.model_validate(_with_defaults(data))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DefinitionError(f"{source}: {place or 'entity'}: {first['msg'].removeprefix('Value error, ')}") from error


def _with_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """Fill what follows from the name, so that a file says each thing once."""
    name = str(data.get("name", ""))
    words = name.replace("_", " ")
    label = data.setdefault("label", words.capitalize())
    plural = data.setdefault("label_plural", _plural(str(label)))
    data.setdefault("slug", str(plural).lower().replace(" ", "-"))
    data.setdefault("id", name)
    _add_lifecycle(data)
    for field in data.get("fields") or ():
        if isinstance(field, dict) and "name" in field:
            field.setdefault("id", f"{data['id']}.{field['name']}")
            field.setdefault("label", str(field["name"]).replace("_", " ").capitalize())
            target = field.get("reference")
            if isinstance(target, str):
                field["reference"] = {"target": target}
            field["options"] = [_option(option) for option in field.get("options") or ()]
    return data


def _add_lifecycle(data: dict[str, Any]) -> None:
    """`lifecycle:` is true, or the lifecycle itself; either way its records have the two fields that keep the state."""
    given = data.get("lifecycle")
    if isinstance(given, dict):
        data["lifecycles"] = [given]
    data["lifecycle"] = bool(given or data.get("lifecycles"))
    for lifecycle in data.get("lifecycles") or ():
        if isinstance(lifecycle, dict):
            lifecycle.setdefault("code", data.get("name"))
            lifecycle.setdefault("label", data.get("label"))
    if data["lifecycle"] and "state_field" not in data:
        fields = data.setdefault("fields", [])
        there = {field.get("name") for field in fields if isinstance(field, dict)}
        fields += [dict(field) for field in _LIFECYCLE_FIELDS if field["name"] not in there]


def _option(option: Any) -> Any:
    return {"value": option, "label": option.replace("_", " ").capitalize()} if isinstance(option, str) else option


def _plural(label: str) -> str:
    if label.endswith("y") and label[-2:-1] not in "aeiou":
        return f"{label[:-1]}ies"
    return f"{label}es" if label.endswith(("s", "x", "ch", "sh")) else f"{label}s"


def dump_entity(entity: EntityDef) -> str:
    """Write a definition as YAML that `load_entity` reads back to an equal one."""
    data = entity.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


def load_definitions(folder: Path = DEFINITIONS) -> tuple[EntityDef, ...]:
    """Read every `*.yaml` below `folder`, in a stable order. Raises DefinitionError, also for a name used twice."""
    entities = [load_entity(path.read_text("utf-8"), source=str(path.name)) for path in sorted(folder.rglob("*.yaml"))]
    check_whole(entities)
    return tuple(entities)


def check_whole(entities: Iterable[EntityDef]) -> None:
    """Check what only shows between entities: unique names, known targets. Raises DefinitionError."""
    by_name: dict[str, EntityDef] = {}
    slugs: dict[str, str] = {}
    for entity in entities:
        if entity.name in by_name:
            raise DefinitionError(f"entity {entity.name!r} is defined twice")
        if entity.slug in slugs:
            raise DefinitionError(f"entities {slugs[entity.slug]!r} and {entity.name!r} share the slug {entity.slug!r}")
        by_name[entity.name], slugs[entity.slug] = entity, entity.name
    for entity in by_name.values():
        for field in entity.fields:
            if field.target and field.target not in by_name:
                raise DefinitionError(f"{entity.name}.{field.name} refers to {field.target!r}, which is not defined")
