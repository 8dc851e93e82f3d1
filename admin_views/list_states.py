"""The states of lifecycles in lists: a column of chips instead of names, and a filter that offers the states."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from admin_views.cells import TONES, Cell
from app.core.errors import StepsError
from app.core.uow import UnitOfWork
from app.domain.lifecycles.compiled import CompiledLifecycle
from app.domain.lifecycles.queries import in_force, state_of
from app.domain.lifecycles.store import version_of
from models.schema import EntityDef, FieldDef

VERSION = "lifecycle_version"
_QUOTED = re.compile("“([^”]+)”")
# What a filter on a choice offers; see admin_views/static/js/filter-builder.js.
OPERATORS = [
    {"code": "in", "label": "is any of", "takes": "many"},
    {"code": "nin", "label": "is none of", "takes": "many"},
    {"code": "is_null", "label": "is empty", "takes": "none"},
]


@dataclass(frozen=True, slots=True)
class States:
    """The versions that the records of a page follow, and those in force."""

    versions: Mapping[UUID, CompiledLifecycle]
    current: Sequence[CompiledLifecycle]

    def cell(self, record: Mapping[str, Any], entity: EntityDef) -> Cell:
        name = record.get(entity.state_field)
        if not name:
            return {"kind": "state", "text": ""}
        version = self.versions.get(record[VERSION]) if record.get(VERSION) else None
        if version is None:
            return {"kind": "text", "text": str(name).replace("_", " ").capitalize()}
        state = state_of(version, str(name))
        tone = state.colour if state.colour in TONES else state.category
        return {"kind": "state", "text": state.label, "tone": tone, "icon": None}

    @property
    def labels(self) -> dict[str, str]:
        """State -> what it is called; the versions in force have the word."""
        found: dict[str, str] = {}
        for version in (*self.current, *self.versions.values()):
            for state in version.definition.states:
                found.setdefault(state.name, state.label)
        return found


def in_lists(uow: UnitOfWork, entity: EntityDef) -> bool:
    """Whether the list shows the state unless somebody chose other columns."""
    return entity.takes_steps and bool(in_force(uow, entity.name))


def kind_of(entity: EntityDef, field: FieldDef) -> str | None:
    """The kind of the column that shows the state of a lifecycle; None for every other field."""
    return "state" if entity.takes_steps and field.name == entity.state_field else None


def needed(uow: UnitOfWork, entity: EntityDef, columns: Iterable[FieldDef]) -> list[str]:
    """The field that says what a record's state is called, where the list shows it."""
    return [VERSION] if any(kind_of(entity, column) for column in columns) else []


async def states_in(uow: UnitOfWork, entity: EntityDef, records: Iterable[Mapping[str, Any]]) -> States:
    """The versions of the records: from memory, or read once each."""
    found: dict[UUID, CompiledLifecycle] = {}
    if entity.takes_steps:
        for id_ in dict.fromkeys(record.get(VERSION) for record in records):
            if id_ is None:
                continue
            try:
                found[id_] = await version_of(uow, id_)
            except StepsError:
                continue  # one that does not fit any more: its states are shown by their names
    return States(found, in_force(uow, entity.name))


def with_states(fields: list[dict[str, Any]], entity: EntityDef, states: States) -> list[dict[str, Any]]:
    """The filter on the state offers the states by their labels, first of all fields."""
    labels = states.labels
    if not labels:
        return fields
    for field in fields:
        if field["path"] == entity.state_field:
            options = [{"value": name, "label": label} for name, label in labels.items()]
            field |= {"kind": "choice", "icon": "route", "options": options, "operators": OPERATORS}
    return sorted(fields, key=lambda field: field["path"] != entity.state_field)


def labelled(chips: list[dict[str, Any]], entity: EntityDef, states: States) -> list[dict[str, Any]]:
    """Chips that say "Captured" where the filter says captured."""
    if not entity.takes_steps:
        return chips
    label, labels = entity.field(entity.state_field).label, states.labels
    for chip in chips:
        if chip["label"] == label and chip["value"]:
            chip["value"] = _QUOTED.sub(lambda name: labels.get(name[1], name[1]), str(chip["value"]))
    return chips
