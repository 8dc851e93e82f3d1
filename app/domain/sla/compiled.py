"""SLA policies made ready for decisions: immutable by version, with conditions parsed for their entity's fields."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from app.core.filters import FilterNode, Term, Variables, matches, parse
from app.core.filters.canonical import terms
from app.core.filters.python import Resolve
from app.domain.sla.thresholds import BREACH, Threshold
from models.registry import Registry
from models.schema import EntityDef
from models.sla import CONDITIONS, PolicyDef, TargetDef

SERVICE = "sla_policies"
TOPIC = "sla_policies"


@dataclass(frozen=True)
class CompiledPolicy:
    """One version of a policy. `conditions` has those that the definition gives; `choices` one for each target."""

    policy_id: UUID
    version_id: UUID
    number: int
    entity: str
    definition: PolicyDef
    conditions: Mapping[str, FilterNode]
    choices: tuple[FilterNode | None, ...]

    @cached_property
    def thresholds(self) -> tuple[Threshold, ...]:
        """What its clocks announce, the breach among it."""
        own = (Threshold(t.code, t.percent, t.before, t.after) for t in self.definition.thresholds)
        return (*own, BREACH)

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """Every term that a decision evaluates."""
        nodes = (*self.conditions.values(), *(choice for choice in self.choices if choice is not None))
        return tuple(term for node in nodes for term in terms(node))

    def holds(self, name: str, record: Mapping[str, Any], known: Variables, resolve: Resolve | None) -> bool:
        """Whether the record passes a condition; one that is not given is never true."""
        node = self.conditions.get(name)
        return node is not None and matches(node, record, known, resolve)

    def target_of(self, record: Mapping[str, Any], known: Variables, resolve: Resolve | None) -> TargetDef | None:
        """The first target whose condition the record passes."""
        for target, choice in zip(self.definition.targets, self.choices, strict=True):
            if choice is None or matches(choice, record, known, resolve):
                return target
        return None


def compile_policy(
    definition: PolicyDef, entity: EntityDef, registry: Registry, *, policy_id: UUID, version_id: UUID, number: int
) -> CompiledPolicy:
    """Raises FilterError for a condition that does not fit the entity; a published version has none."""
    given = {name: getattr(definition, name) for name in CONDITIONS}
    return CompiledPolicy(
        policy_id=policy_id,
        version_id=version_id,
        number=number,
        entity=entity.name,
        definition=definition,
        conditions={name: parse(value, entity, registry) for name, value in given.items() if value is not None},
        choices=tuple(parse(t.when, entity, registry) if t.when else None for t in definition.targets),
    )


@dataclass
class SlaPolicies:
    """What this process knows: versions by id, and those in force by entity, replaced whole when that changes.

    `watched`: entities whose changes are looked at: those with a policy in force, or with one that had clocks.
    """

    versions: dict[UUID, CompiledPolicy] = field(default_factory=dict)
    in_force: Mapping[str, tuple[CompiledPolicy, ...]] = field(default_factory=dict)
    watched: frozenset[str] = frozenset()

    def replace(self, published: Iterable[CompiledPolicy], watched: Iterable[str]) -> None:
        """Take these as the versions in force."""
        by_entity: dict[str, list[CompiledPolicy]] = defaultdict(list)
        for version in published:
            self.versions[version.version_id] = version
            by_entity[version.entity].append(version)
        self.in_force = {
            entity: tuple(sorted(found, key=lambda version: version.definition.code))
            for entity, found in by_entity.items()
        }
        self.watched = frozenset(watched) | frozenset(self.in_force)


def policies_of(services: Mapping[str, Any]) -> SlaPolicies:
    """Those of the process; none in force where it goes without the service."""
    found: SlaPolicies | None = services.get(SERVICE)
    return found if found is not None else SlaPolicies()
