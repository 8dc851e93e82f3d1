"""Which fields of an entity a person may read, write, or see only that they are filled."""

from collections.abc import Mapping
from typing import Any

from app.core.actor import Actor
from app.domain.access.decisions import is_wide
from app.domain.access.policy import AccessPolicy
from app.domain.access.policy_files import FieldMode
from models.schema import EntityDef, FieldDef, FieldType

STANDARD = "standard"
INTERNAL = "internal"  # never leaves the services, for nobody
MASK = "•••"


def field_access(policy: AccessPolicy, actor: Actor, entity: EntityDef, field: FieldDef) -> FieldMode | None:
    """How far the actor's access to a field goes; None when it does not exist for them."""
    return _modes(policy, actor, entity)[field.name]


def readable_fields(policy: AccessPolicy, actor: Actor, entity: EntityDef) -> tuple[FieldDef, ...]:
    """The fields to show, in their order; those that are only masked are among them (see `mask`)."""
    modes = _modes(policy, actor, entity)
    return tuple(field for field in entity.fields if modes[field.name] is not None)


def writable_fields(policy: AccessPolicy, actor: Actor, entity: EntityDef) -> tuple[FieldDef, ...]:
    """The fields that the actor may set: of a group they may write, and writable by definition."""
    modes = _modes(policy, actor, entity)
    return tuple(field for field in entity.fields if field.writable and modes[field.name] is FieldMode.WRITE)


def masked_fields(policy: AccessPolicy, actor: Actor, entity: EntityDef) -> frozenset[str]:
    """Names of the fields of which the actor sees only that there is a value: none may be searched by."""
    modes = _modes(policy, actor, entity)
    secrets = (field.name for field in entity.fields if field.type is FieldType.SECRET and modes[field.name])
    return frozenset(name for name, mode in modes.items() if mode is FieldMode.MASK).union(secrets)


def mask(policy: AccessPolicy, actor: Actor, entity: EntityDef, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as this actor may see them: hidden fields left out, masked ones replaced; other keys stay."""
    modes = _modes(policy, actor, entity)
    secrets = {field.name for field in entity.fields if field.type is FieldType.SECRET}
    seen: dict[str, Any] = {}
    for name, value in values.items():
        mode = modes.get(name, FieldMode.READ)
        if mode is FieldMode.MASK or (mode is not None and name in secrets):
            seen[name] = None if value is None else masked(entity.field(name), value)
        elif mode is not None:
            seen[name] = value
    return seen


def masked(field: FieldDef, value: Any) -> str:
    """What stands for a masked value: a mask keeps as many of the last characters as it has `#`."""
    keep = (field.mask or "").count("#")
    tail = str(value)[-keep:] if keep and len(str(value)) > keep else ""
    return f"{MASK}{tail}"


def _modes(policy: AccessPolicy, actor: Actor, entity: EntityDef) -> dict[str, FieldMode | None]:
    """Field name -> access, worked out once for a policy, an entity and a combination of roles."""
    roles = _roles(policy, actor, entity)
    key = ("fields", id(entity), actor.is_system, roles)
    kept: tuple[EntityDef, dict[str, FieldMode | None]] | None = policy.memo.get(key)
    if kept is not None and kept[0] is entity:  # an id may be used again once its object is gone
        return kept[1]
    modes = {field.name: _mode(policy, actor, roles, entity, field) for field in entity.fields}
    policy.remember(key, (entity, modes))
    return modes


def _mode(
    policy: AccessPolicy, actor: Actor, roles: frozenset[str], entity: EntityDef, field: FieldDef
) -> FieldMode | None:
    group = policy.access_group(entity.name, field.name, field.access_group)
    if group == INTERNAL:
        return None
    return FieldMode.WRITE if group == STANDARD or actor.is_system else policy.field_mode(roles, group)


def _roles(policy: AccessPolicy, actor: Actor, entity: EntityDef) -> frozenset[str]:
    application = entity.application
    if application is None:
        return actor.roles
    return frozenset(g.role for g in actor.grants if g.application == application or is_wide(policy, g))
