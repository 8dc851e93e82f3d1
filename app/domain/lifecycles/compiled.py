"""Lifecycle versions made ready for decisions: immutable, kept by id, and the table of which one new records get."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from app.core.filters import FilterNode, Variables, matches, parse
from models.lifecycle import CLOSED, LifecycleDef, StateDef, TransitionDef
from models.registry import Registry
from models.schema import EntityDef

SERVICE = "lifecycles"


@dataclass(frozen=True)
class CompiledLifecycle:
    """One version: its definition with the guards parsed for the entity's fields."""

    version_id: UUID
    number: int
    entity: str
    definition: LifecycleDef
    guards: Mapping[str, FilterNode]
    applies: FilterNode | None

    @cached_property
    def states(self) -> Mapping[str, StateDef]:
        return {state.name: state for state in self.definition.states}

    @cached_property
    def transitions(self) -> Mapping[str, TransitionDef]:
        return {transition.name: transition for transition in self.definition.transitions}

    @cached_property
    def leaving(self) -> Mapping[str, tuple[TransitionDef, ...]]:
        """State -> the transitions that start there."""
        found: dict[str, tuple[TransitionDef, ...]] = dict.fromkeys(self.states, ())
        for transition in self.definition.transitions:
            for source in transition.sources:
                found[source] = (*found[source], transition)
        return found

    @cached_property
    def by_activity(self) -> Mapping[tuple[str, str], tuple[TransitionDef, ...]]:
        """State and name of the activity in a log -> the transitions it can stand for, in their order."""
        found: dict[tuple[str, str], tuple[TransitionDef, ...]] = defaultdict(tuple)
        for transition in self.definition.transitions:
            for activity in transition.known_as:
                for source in transition.sources:
                    found[source, activity] = (*found[source, activity], transition)
        return dict(found)

    def label(self, state: str | None) -> str:
        known = self.states.get(state or "")
        return known.label if known is not None else str(state)

    def is_closed(self, state: str | None) -> bool:
        known = self.states.get(state or "")
        return known is not None and known.category in CLOSED


def compile_version(
    definition: LifecycleDef, entity: EntityDef, registry: Registry, *, version_id: UUID, number: int
) -> CompiledLifecycle:
    """Raises FilterError for a guard that does not fit the entity; a published version has none."""
    guards = {t.name: parse(t.guard, entity, registry) for t in definition.transitions if t.guard}
    applies = parse(definition.applies_when, entity, registry) if definition.applies_when else None
    return CompiledLifecycle(version_id, number, entity.name, definition, guards, applies)


@dataclass
class Lifecycles:
    """What this process knows: versions by id, for ever, and what is in force, replaced whole when that changes."""

    versions: dict[UUID, CompiledLifecycle] = field(default_factory=dict)
    in_force: Mapping[str, tuple[CompiledLifecycle, ...]] = field(default_factory=dict)

    def replace(self, published: Iterable[CompiledLifecycle]) -> None:
        """Take these as the versions in force; per entity the highest priority first."""
        by_entity: dict[str, list[CompiledLifecycle]] = defaultdict(list)
        for version in published:
            self.versions[version.version_id] = version
            by_entity[version.entity].append(version)
        order = {
            entity: tuple(sorted(found, key=lambda v: (-v.definition.priority, v.definition.code)))
            for entity, found in by_entity.items()
        }
        self.in_force = order

    def for_new(self, entity: str, record: Mapping[str, Any], variables: Variables) -> CompiledLifecycle | None:
        """The lifecycle that a new record gets; None where none applies. The platform keeps its own ones itself."""
        for version in self.in_force.get(entity, ()):
            if version.definition.protected:
                continue
            if version.applies is None or matches(version.applies, record, variables, _nothing):
                return version
        return None


def _nothing(_entity: str, _id: UUID) -> None:
    """A condition that looks through a reference sees nothing before the record is written."""
    return


def lifecycles_of(services: Mapping[str, Any]) -> Lifecycles:
    found: Lifecycles = services[SERVICE]
    return found
