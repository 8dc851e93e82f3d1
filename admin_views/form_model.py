"""The form of an entity as its definition says: tabs, sections and controls. Built once per metadata revision."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app.core.filters import describe, parse, value_types
from models.registry import Registry
from models.schema import EntityDef, FieldDef, FieldType

WIDTHS = {"quarter": 1, "third": 1, "half": 2, "full": 3}
MAIN_TAB = "Details"
RADIO_MOST = 3
RADIO_LETTERS = 24

_WIDGETS: dict[FieldType, str] = {
    FieldType.TEXT: "text", FieldType.LONG_TEXT: "long_text", FieldType.MARKDOWN: "markdown", FieldType.CODE: "code",
    FieldType.EMAIL: "email", FieldType.URL: "url", FieldType.PHONE: "phone", FieldType.INTEGER: "integer",
    FieldType.DECIMAL: "decimal", FieldType.PERCENT: "percent", FieldType.MONEY: "money", FieldType.BOOLEAN: "boolean",
    FieldType.DATE: "date", FieldType.DATETIME: "datetime", FieldType.TIME: "time", FieldType.DURATION: "duration",
    FieldType.CHOICE: "choice", FieldType.MULTI_CHOICE: "multi_choice", FieldType.JSON: "json",
    FieldType.POLYMORPHIC_REFERENCE: "json", FieldType.SECRET: "secret",
}  # fmt: skip
_PLACEHOLDERS = {
    FieldType.DURATION: "PT1H30M",
    FieldType.POLYMORPHIC_REFERENCE: '{"entity": "process_run", "id": "…"}',
    FieldType.JSON: '{"key": "value"}',
}


@dataclass(frozen=True, slots=True)
class Control:
    """One field and how it is entered."""

    field: FieldDef
    widget: str
    width: int
    placeholder: str | None


@dataclass(frozen=True, slots=True)
class LinesModel:
    """Child lines: the field that owns them, the child entity and its controls."""

    field: FieldDef
    child: EntityDef
    controls: tuple[Control, ...]


@dataclass(frozen=True, slots=True)
class SectionModel:
    """A titled group. `visible_if` is set where every field of it has the same condition."""

    id: str
    label: str
    visible_if: Mapping[str, Any] | None
    why: str | None
    controls: tuple[Control, ...]
    lines: LinesModel | None


@dataclass(frozen=True, slots=True)
class TabModel:
    id: str
    label: str
    sections: tuple[SectionModel, ...]


@dataclass(frozen=True, slots=True)
class FormModel:
    """What is the same for every person and record."""

    entity: EntityDef
    tabs: tuple[TabModel, ...]
    field_types: Mapping[str, str]

    @property
    def sections(self) -> tuple[SectionModel, ...]:
        return tuple(section for tab in self.tabs for section in tab.sections)

    @property
    def controls(self) -> tuple[Control, ...]:
        return tuple(control for section in self.sections for control in section.controls)

    @property
    def lines(self) -> tuple[LinesModel, ...]:
        return tuple(section.lines for section in self.sections if section.lines)


@lru_cache(maxsize=2048)
def form_model(registry: Registry, name: str) -> FormModel:
    """The form of an entity in this revision of the metadata; a new revision is a new registry."""
    entity = registry.entity(name)
    ordered = [f for _, f in sorted(enumerate(entity.fields), key=lambda item: (item[1].order, item[0]))]
    tabs: dict[str, dict[str, list[FieldDef]]] = {}
    for field in ordered:
        if field.access_group == "internal" or field.deprecated or field.name in _shown_in_head(entity):
            continue
        sections = tabs.setdefault(field.tab or MAIN_TAB, {})
        # Lines stand by themselves, behind the fields of their section.
        label = field.label if field.type is FieldType.LINES else field.section or entity.label
        sections.setdefault(label, []).append(field)
    return FormModel(
        entity,
        tuple(
            TabModel(
                f"t{n}", label, tuple(_section(registry, entity, f"s{n}-{m}", *item) for m, item in _behind(parts))
            )
            for n, (label, parts) in enumerate(tabs.items())
        ),
        _types(registry, entity),
    )


def _shown_in_head(entity: EntityDef) -> tuple[str, ...]:
    """Where a record stands in its lifecycle is said by the head of its page, and changed by steps only."""
    return (entity.state_field, "lifecycle_version") if entity.lifecycle and not entity.managed else ()


def _behind(parts: Mapping[str, list[FieldDef]]) -> enumerate[tuple[str, list[FieldDef]]]:
    """Sections of fields first, tables of lines behind them."""
    return enumerate(sorted(parts.items(), key=lambda item: item[1][0].type is FieldType.LINES))


def _section(registry: Registry, entity: EntityDef, id_: str, label: str, fields: list[FieldDef]) -> SectionModel:
    conditions = [field.visible_if for field in fields]
    shared = conditions[0] if conditions and all(c == conditions[0] for c in conditions) else None
    lines = next((field for field in fields if field.type is FieldType.LINES), None)
    return SectionModel(
        id=id_,
        label=label,
        visible_if=shared,
        why=f"Only when {describe(parse(shared, entity, registry))}" if shared else None,
        controls=tuple(_control(field) for field in fields if field.type is not FieldType.LINES),
        lines=_lines(registry, lines) if lines else None,
    )


def _lines(registry: Registry, field: FieldDef) -> LinesModel:
    child = registry.entity(field.target or "")
    fields = [f for f in child.fields if f.access_group != "internal" and f.type is not FieldType.LINES]
    return LinesModel(field, child, tuple(_control(f) for f in fields))


def _control(field: FieldDef) -> Control:
    widget = _WIDGETS.get(field.type, "text")
    if field.is_reference:
        widget = "lookup"
    elif field.type is FieldType.CHOICE and field.required and _fits_a_row(field):
        widget = "radio"
    wide = field.type in (FieldType.LONG_TEXT, FieldType.MARKDOWN, FieldType.CODE, FieldType.JSON)
    width = 3 if wide else WIDTHS[field.width]
    return Control(field, widget, width, _PLACEHOLDERS.get(field.type))


def _fits_a_row(field: FieldDef) -> bool:
    letters = sum(len(option.label) for option in field.options)
    return 1 < len(field.options) <= RADIO_MOST and letters <= RADIO_LETTERS


def _types(registry: Registry, entity: EntityDef) -> dict[str, str]:
    """The value types of the paths in conditions, so that the browser compares as the server does."""
    types: dict[str, str] = {}
    for field in entity.fields:
        for condition in (field.visible_if, field.required_if, field.read_only_if):
            if condition:
                types |= value_types(parse(condition, entity, registry))
    return types
