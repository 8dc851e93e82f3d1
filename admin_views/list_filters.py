"""The filter of a list on the screen: chips of what is set, and the fields that can be added."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any
from uuid import UUID

from admin_views.formats import Formats
from app.core.filters import And, FilterNode, Not, Operator, Or, Term, describe, parse, to_json
from app.core.filters.fields import MAX_SEGMENTS
from models.fieldtypes import operators_of
from models.registry import Registry
from models.schema import EntityDef, FieldDef, FieldType

Titles = Mapping[tuple[str, UUID], str]

_LABELS: dict[Operator, tuple[str, str]] = {
    Operator.EQ: ("is", "one"),
    Operator.NE: ("is not", "one"),
    Operator.IN: ("is any of", "many"),
    Operator.NIN: ("is none of", "many"),
    Operator.LT: ("is below", "one"),
    Operator.LTE: ("is at most", "one"),
    Operator.GT: ("is above", "one"),
    Operator.GTE: ("is at least", "one"),
    Operator.BETWEEN: ("is between", "two"),
    Operator.CONTAINS: ("contains", "one"),
    Operator.STARTS_WITH: ("starts with", "one"),
    Operator.UNDER: ("is under", "one"),
    Operator.ANCESTOR_OF: ("is above or at", "one"),
    Operator.IS_NULL: ("is empty", "none"),
}
_TIME_LABELS = {
    Operator.LT: "is before",
    Operator.LTE: "is at or before",
    Operator.GT: "is after",
    Operator.GTE: "is at or after",
}
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_TIMES = (FieldType.DATE, FieldType.DATETIME, FieldType.TIME)
# What describe() begins its words with, the longest first.
_VERBS = sorted(
    {*(label for label, _ in _LABELS.values()), *_TIME_LABELS.values(), "is not empty", "is empty"},
    key=len,
    reverse=True,
)
_ICONS: dict[FieldType, str] = {
    FieldType.INTEGER: "123", FieldType.DECIMAL: "123", FieldType.MONEY: "currency-euro",
    FieldType.PERCENT: "percentage", FieldType.DATE: "calendar", FieldType.DATETIME: "clock",
    FieldType.BOOLEAN: "toggle-left", FieldType.CHOICE: "flag",
    FieldType.REFERENCE: "link", FieldType.USER: "user", FieldType.HIERARCHY_NODE: "sitemap",
}  # fmt: skip


def conditions(node: FilterNode) -> tuple[FilterNode, ...]:
    """The parts of a filter that are shown, and taken away, each by itself."""
    return node.parts if isinstance(node, And) else (node,)


def chips(
    filter_: Any, entity: EntityDef, registry: Registry, *, titles: Titles, formats: Formats
) -> list[dict[str, Any]]:
    """One chip per condition with `rest`: the filter without it. Raises FilterError."""
    parts = conditions(parse(filter_, entity, registry))
    found = []
    for number, part in enumerate(parts):
        rest = [to_json(other) for index, other in enumerate(parts) if index != number]
        label, operator, value = _words(part, titles)
        value = _DATE.sub(lambda day: _shown(day[0], formats), value) if value else None
        found.append({"label": label, "operator": operator, "value": value, "rest": {"and": rest} if rest else None})
    return found


def _shown(day: str, formats: Formats) -> str:
    try:
        return formats.date(date.fromisoformat(day))
    except ValueError:
        return day


def _words(part: FilterNode, titles: Titles) -> tuple[str, str, str | None]:
    said = describe(part, lambda entity, id_: titles.get((entity, id_)))
    if not isinstance(part, Term):
        return said, "", None
    rest = said.removeprefix(part.path.label).strip()
    verb = next((verb for verb in _VERBS if rest == verb or rest.startswith(f"{verb} ")), "")
    return part.path.label, verb, rest.removeprefix(verb).strip() or None


def references_in(node: FilterNode) -> Iterable[tuple[str, UUID]]:
    """The records that a filter names, whose titles its chips show."""
    match node:
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                yield from references_in(part)
        case Not(part=part):
            yield from references_in(part)
        case Term(path=path, tests=tests) if path.leaf.target:
            for value in (value for test in tests for value in test.values):
                if isinstance(value, UUID):
                    yield path.leaf.target, value


def filter_fields(
    entity: EntityDef, registry: Registry, *, readable: Callable[[EntityDef], tuple[FieldDef, ...]]
) -> list[dict[str, Any]]:
    """What "Add filter" offers: the entity's own fields, then those of the records that it refers to.

    `readable` gives the fields of an entity that the actor may filter by; none where they may not read it.
    """
    own = list(readable(entity))
    offered = [
        entry for field in own if (entry := _offer(entity, field, path=field.name, group=None, label=field.label))
    ]
    for field in own:
        target = registry.entities.get(field.target or "") if field.is_reference else None
        if target is None or field.is_live_lookup:
            continue
        for inner in readable(target):
            if inner.in_filter or inner.name in (target.title_field, "code"):
                offer = _offer(
                    target,
                    inner,
                    path=f"{field.name}.{inner.name}",
                    group="Through references",
                    label=f"{field.label} \u203a {inner.label}",
                )
                if offer is not None and offer["path"].count(".") < MAX_SEGMENTS:
                    offered.append(offer)
    return offered


def _offer(owner: EntityDef, field: FieldDef, *, path: str, group: str | None, label: str) -> dict[str, Any] | None:
    type_ = field.result if field.type is FieldType.COMPUTED and field.result else field.type
    if field.type is FieldType.LINES or (field.type is FieldType.COMPUTED and not field.stored):
        return None
    operators = [Operator(code) for code in operators_of(field)]
    if not operators:
        return None
    return {
        "path": path,
        "label": label,
        "group": group,
        "icon": _ICONS.get(type_, "abc"),
        "kind": type_.value,
        # Of a tree it is a branch that people look for, so that comes first.
        "operators": [_operator(code, type_) for code in sorted(operators, key=lambda code: code != Operator.UNDER)],
        "options": [{"value": o.value, "label": o.label} for o in field.options] or None,
        "lookup_url": f"/data/{owner.slug}/lookup/{field.name}" if field.is_reference else None,
    }


def _operator(operator: Operator, type_: FieldType) -> dict[str, str]:
    label, takes = _LABELS[operator]
    if type_ in _TIMES:
        label = _TIME_LABELS.get(operator, label)
    return {"code": operator.value, "label": label, "takes": takes}
