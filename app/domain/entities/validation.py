"""Check values against an entity's fields: types, required, conditions, what may be changed. Pure: no database."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.errors import FieldProblem
from app.core.filters import Variables, matches, parse
from models.fieldtypes import FIELD_TYPES, FieldError
from models.registry import Registry
from models.schema import Condition, EntityDef, FieldDef, FieldType

_REQUIRED = ("is required", "required")

Resolve = Callable[[str, UUID], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Checked:
    """`values`: parsed values of the fields to write, by field name. `problems`: empty when all is well."""

    values: dict[str, Any]
    problems: tuple[FieldProblem, ...]


def check(
    entity: EntityDef,
    registry: Registry,
    given: Mapping[str, Any],
    *,
    existing: Mapping[str, Any] | None,
    writable: frozenset[str],
    variables: Variables,
    resolve: Resolve | None = None,
    prefix: str = "",
) -> Checked:
    """Check a new record (`existing` None) or a change of one.

    `given` holds JSON values by field name; `writable` the fields this actor may write. Unknown and unwritable fields
    are problems, not silently dropped: a client that sends them has a wrong idea of the record.
    """
    problems: list[FieldProblem] = []
    values: dict[str, Any] = {}
    for name, value in given.items():
        problem = _refusal(entity, name, value, existing=existing, writable=writable)
        if problem is not None:
            problems.append(FieldProblem(f"{prefix}{name}", problem[0], problem[1]))
            continue
        if value is None or value == "":
            values[name] = None
            continue
        field = entity.field(name)
        try:
            values[name] = FIELD_TYPES[field.type].parse(field, value)
        except FieldError as error:
            problems.append(FieldProblem(f"{prefix}{name}", str(error)))
    if existing is None:
        _fill_defaults(entity, values, given, variables)
    if problems:
        # Conditions over values that could not be read would only add confusing complaints; what is missing in any case
        # is told at once.
        known = {problem.path.removeprefix(prefix) for problem in problems}
        missing = _always_missing(entity, {**(existing or {}), **values}) - known
        problems += [FieldProblem(f"{prefix}{f.name}", *_REQUIRED) for f in entity.fields if f.name in missing]
        return Checked(values, tuple(problems))
    conditions = _Conditions(entity, registry, {**(existing or {}), **values}, variables, resolve)
    for field in entity.fields:
        problems += _check_conditions(field, conditions, values, existing, prefix)
    return Checked(values, tuple(problems))


def _always_missing(entity: EntityDef, record: Mapping[str, Any]) -> set[str]:
    """Fields without a value that need one, whatever the others hold."""
    return {
        field.name
        for field in entity.fields
        if field.required and field.writable and field.visible_if is None and field.default != ""
        if record.get(field.name) in (None, "")
    }


def _refusal(
    entity: EntityDef, name: str, value: Any, *, existing: Mapping[str, Any] | None, writable: frozenset[str]
) -> tuple[str, str] | None:
    if not entity.has_field(name):
        return f"there is no such field; remove it. Fields: {', '.join(f.name for f in entity.fields)}", "unknown_field"
    field = entity.field(name)
    if field.access_group == "internal":
        return "there is no such field; remove it", "unknown_field"
    if not field.writable:
        return "cannot be entered: it is set by the platform", "read_only"
    if name not in writable:
        return "you may not change this field", "read_only"
    if existing is not None and field.immutable and not _same(field, existing.get(name), value):
        return "cannot be changed once the record exists", "immutable"
    return None


def _same(field: FieldDef, old: Any, value: Any) -> bool:
    try:
        return bool(old == (None if value is None else FIELD_TYPES[field.type].parse(field, value)))
    except FieldError:
        return False


def _fill_defaults(entity: EntityDef, values: dict[str, Any], given: Mapping[str, Any], variables: Variables) -> None:
    for field in entity.fields:
        if field.name in given or not (field.writable or field.read_only):
            continue
        default = field.default
        if field.default_expr:
            default = {
                "$now": variables.now,
                "$today": variables.today,
                "$business_date": variables.business_date,
                "$me": variables.me,
                "$token": secrets.token_urlsafe(24) if field.default_expr == "$token" else None,
            }[field.default_expr]
        if default is not None:
            values[field.name] = default if default == "" else FIELD_TYPES[field.type].parse(field, default)


class _Conditions:
    """Evaluates the conditions of fields over the record as it would be after the write."""

    def __init__(
        self,
        entity: EntityDef,
        registry: Registry,
        record: Mapping[str, Any],
        variables: Variables,
        resolve: Resolve | None,
    ) -> None:
        self.entity, self.registry, self.record = entity, registry, record
        self.variables, self.resolve = variables, resolve

    def holds(self, condition: Condition | None) -> bool:
        if not condition:
            return False
        node = parse(condition, self.entity, self.registry)
        return matches(node, self.record, self.variables, self.resolve)


def _check_conditions(
    field: FieldDef,
    conditions: _Conditions,
    values: dict[str, Any],
    existing: Mapping[str, Any] | None,
    prefix: str,
) -> list[FieldProblem]:
    if not field.writable:
        if existing is None and field.name in values and field.visible_if and not conditions.holds(field.visible_if):
            values[field.name] = None
        return []
    visible = field.visible_if is None or conditions.holds(field.visible_if)
    value = conditions.record.get(field.name)
    empty = value is None or value == "" or (field.type is FieldType.TEXT and not str(value).strip() and value != "")
    if not visible:
        # A value that the form no longer shows is cleared, so that no hidden rest is left behind.
        if field.name in values or (existing is not None and existing.get(field.name) is not None):
            values[field.name] = None
        return []
    if field.read_only_if and field.name in values and conditions.holds(field.read_only_if):
        before = None if existing is None else existing.get(field.name)
        if values[field.name] != before and existing is not None:
            return [FieldProblem(f"{prefix}{field.name}", "cannot be changed in this state", "read_only")]
    if empty and field.default == "" and field.required:
        return []
    if empty and (field.required or conditions.holds(field.required_if)):
        return [FieldProblem(f"{prefix}{field.name}", *_REQUIRED)]
    return []
