"""What a call or a file name carries, as checked values. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.core.errors import FieldProblem, ValidationFailed
from app.core.filters import Variables, matches, parse
from app.domain.triggers.definitions import Trigger
from models.fieldtypes import FIELD_TYPES, FieldError
from models.registry import Registry


def read_payload(trigger: Trigger, body: Mapping[str, Any]) -> dict[str, Any]:
    """The declared fields of a call. What is not declared is not looked at; what is not there is null.

    Raises:
        ValidationFailed: a value is not what was declared.
    """
    entity = trigger.payload_entity
    values: dict[str, Any] = {}
    problems: list[FieldProblem] = []
    for field in trigger.payload_fields:
        found = _at(body, field.path)
        if found is None:
            values[field.name] = None
            continue
        try:
            values[field.name] = FIELD_TYPES[field.type].parse(entity.field(field.name), found)
        except FieldError as error:
            problems.append(FieldProblem(".".join(field.path), str(error)))
    if problems:
        raise ValidationFailed(problems)
    return values


def _at(body: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(body, Mapping):
            return None
        body = body.get(name)
    return body


def as_json(trigger: Trigger, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that decide about the run, as the log of firings keeps them; no other content is kept."""
    wanted = (
        trigger.date_field if trigger.date_rule == "payload" else None,
        trigger.node_field,
        trigger.variant_field,
    )
    return {name: _plain(values.get(name)) for name in wanted if name}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)[:200]


def condition_holds(trigger: Trigger, values: Mapping[str, Any], registry: Registry, now: datetime) -> bool:
    """Whether what has arrived is what the trigger waits for."""
    if not trigger.condition:
        return True
    node = parse(trigger.condition, trigger.payload_entity, registry)
    return matches(node, values, Variables(now=now, today=now.date(), business_date=now.date()))
