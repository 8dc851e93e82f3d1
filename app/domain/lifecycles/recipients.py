"""Whom the effect `notify` tells: roles, people by their part in the record, and fields that hold a person. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from uuid import UUID

from models.schema import EntityDef, FieldType

PEOPLE: Mapping[str, str] = MappingProxyType(
    {
        "$creator": "who created it",
        "$owner": "who owns it",
        "$last_editor": "who changed it last",
        "$actor": "who takes the step",
    }
)
# The same by the names that records have for them; a field or a role of the name comes first.
ALIASES: Mapping[str, str] = MappingProxyType(
    {"created_by": "$creator", "owner": "$owner", "updated_by": "$last_editor"}
)
# The first of these that is a person's field of the record is its owner; without one it is who created it.
OWNER_FIELDS = ("owner", "assignee", "assigned_to")


def role_names(to: Sequence[str], entity: EntityDef) -> tuple[str, ...]:
    """Those of the names that are roles, whether they exist or not."""
    return tuple(name for name in to if not name.startswith("$") and not entity.has_field(name) and name not in ALIASES)


def not_a_person(to: Sequence[str], entity: EntityDef) -> tuple[str, ...]:
    """Those of the names that are a variable that there is not, or a field that holds no person."""
    return tuple(
        name
        for name in to
        if (name.startswith("$") and name not in PEOPLE)
        or (entity.has_field(name) and entity.field(name).type is not FieldType.USER)
    )


def people_among(
    to: Sequence[str], entity: EntityDef, record: Mapping[str, Any], *, actor_id: UUID | None
) -> tuple[UUID, ...]:
    """The people among the names, as far as the record has them, each once."""
    found = {
        "$creator": record.get("created_by"),
        "$owner": _owner(entity, record),
        "$last_editor": record.get("updated_by"),
        "$actor": actor_id,
    }
    named = [record.get(name) if entity.has_field(name) else found.get(ALIASES.get(name, name)) for name in to]
    return tuple(dict.fromkeys(id_ for id_ in named if isinstance(id_, UUID)))


def _owner(entity: EntityDef, record: Mapping[str, Any]) -> Any:
    held = (record.get(name) for name in OWNER_FIELDS if entity.has_field(name))
    return next((id_ for id_ in held if isinstance(id_, UUID)), record.get("created_by"))
