"""What would not work in a lifecycle, found before it is published: pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from app.core.filters import FilterError, describe, needs_node_paths, parse
from app.core.filters.canonical import terms
from app.core.findings import Finding, Severity, error, warning
from app.domain.lifecycles.recipients import PEOPLE, not_a_person, role_names
from models.fieldtypes import FIELD_TYPES, FieldError
from models.lifecycle import CLOSED, Effect, LifecycleDef, TransitionDef
from models.registry import Registry
from models.schema import EntityDef


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a lifecycle can name. None: not known, so not checked."""

    entity: EntityDef
    registry: Registry
    roles: frozenset[str] | None = None
    workflows: frozenset[str] | None = None
    rules: frozenset[str] | None = None


def lint(lifecycle: LifecycleDef, around: Surroundings) -> list[Finding]:
    """Every finding, errors first."""
    found = [finding for rule in _RULES for finding in rule(lifecycle, around)]
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def _entity(lifecycle: LifecycleDef, around: Surroundings) -> Iterator[Finding]:
    entity = around.entity
    if not entity.lifecycle:
        message = f"{entity.label_plural} have no field for the state."
        yield error("no_state_field", "", message, "Set `lifecycle: true` in the entity's definition.")
    if lifecycle.applies_when:
        yield from _condition(lifecycle.applies_when, "", "applies_when", around)
        yield from _on_record_alone(lifecycle.applies_when, around)


def _on_record_alone(condition: object, around: Surroundings) -> Iterator[Finding]:
    """Which lifecycle a new record gets is decided before it is written, from its own fields."""
    try:
        node = parse(condition, around.entity, around.registry)
    except FilterError:
        return
    for term in terms(node):
        if term.path.hops or needs_node_paths(term):
            message = f"applies_when looks beyond the new record: {describe(term)}."
            yield error("condition", "", message, "Use fields of the record itself, and no branch of a tree.")


def _reach(lifecycle: LifecycleDef, around: Surroundings) -> Iterator[Finding]:
    leaving = {state.name: [t for t in lifecycle.transitions if state.name in t.sources] for state in lifecycle.states}
    reached, pending = {lifecycle.initial}, [lifecycle.initial]
    while pending:
        for step in leaving[pending.pop()]:
            pending += set(step.targets) - reached
            reached |= set(step.targets)
    for state in lifecycle.states:
        if state.name not in reached:
            message = f"No way leads from the first state to “{state.label}”."
            yield error("unreachable", state.name, message, "Add a transition that leads there, or remove the state.")
        if state.category in CLOSED or leaving[state.name]:
            continue
        message = f"“{state.label}” is an end, and is not marked as one."
        yield error(
            "dead_end", state.name, message, "Give it the category final or void, or a transition that leaves it."
        )
    if not any(state.category in CLOSED for state in lifecycle.states):
        yield warning("no_end", "", "No state is final, so no record is ever done.", "Mark the last state as final.")


def _people(lifecycle: LifecycleDef, around: Surroundings) -> Iterator[Finding]:
    if around.roles is None:
        return
    named = [(t.name, t.label, t.roles) for t in lifecycle.transitions]
    named += [(s.name, s.label, s.editable_by or ()) for s in lifecycle.states]
    named += [(t.name, t.label, role_names(e.to, around.entity)) for t in lifecycle.transitions for e in t.effects]
    for place, label, roles in named:
        for role in roles:
            if role not in around.roles:
                message = f"“{label}” names the role {role}, which does not exist."
                yield error("unknown_role", place, message, "Choose a role that exists, or create it.")


def _approvals(lifecycle: LifecycleDef, around: Surroundings) -> Iterator[Finding]:
    for step in lifecycle.transitions:
        if step.approvals.count > 1 and not step.roles:
            message = f"“{step.label}” takes {step.approvals.count} people and names no role."
            yield warning("approval_by_anybody", step.name, message, "Name the role that approves.")


def _guards(lifecycle: LifecycleDef, around: Surroundings) -> Iterator[Finding]:
    for step in lifecycle.transitions:
        if step.guard:
            yield from _condition(step.guard, step.name, f"the guard of “{step.label}”", around)
        if step.rule and around.rules is not None and step.rule not in around.rules:
            message = f"“{step.label}” asks the rule {step.rule}, which does not exist or is inactive."
            yield error("unknown_rule", step.name, message, "Choose a rule that there is, or leave it out.")
        for name in step.require_fields:
            if not around.entity.has_field(name):
                yield _unknown_field(step, name, around)


def _condition(condition: object, place: str, what: str, around: Surroundings) -> Iterator[Finding]:
    try:
        parse(condition, around.entity, around.registry)
    except FilterError as problem:
        yield error("condition", place, f"{what}: {problem}", "Correct it.")


def _unknown_field(step: TransitionDef, name: str, around: Surroundings) -> Finding:
    there = ", ".join(field.name for field in around.entity.fields)
    message = f"“{step.label}” names the field {name}, which {around.entity.label_plural.lower()} do not have."
    return error("unknown_field", step.name, message, f"Choose one of: {there}.")


def _effects(lifecycle: LifecycleDef, around: Surroundings) -> Iterator[Finding]:
    for step in lifecycle.transitions:
        for effect in step.effects:
            yield from _EFFECTS.get(effect.kind, _nothing)(step, effect, around)


def _nothing(step: TransitionDef, effect: Effect, around: Surroundings) -> Iterable[Finding]:
    return ()


def _set_field(step: TransitionDef, effect: Effect, around: Surroundings) -> Iterator[Finding]:
    name = effect.field or ""
    if not around.entity.has_field(name):
        yield _unknown_field(step, name, around)
        return
    definition = around.entity.field(name)
    if definition.computed or definition.is_live_lookup or name in (around.entity.state_field, "lifecycle_version"):
        message = f"“{step.label}” sets {definition.label}, which is worked out and cannot be set."
        yield error("not_settable", step.name, message, "Choose another field.")
    elif effect.value is not None and not (isinstance(effect.value, str) and effect.value.startswith("$")):
        try:
            FIELD_TYPES[definition.type].parse(definition, effect.value)
        except FieldError as problem:
            message = f"“{step.label}” sets {definition.label} to a value that does not fit: {problem}."
            yield error("value", step.name, message, "Correct the value.")


def _create_record(step: TransitionDef, effect: Effect, around: Surroundings) -> Iterator[Finding]:
    target = around.registry.entities.get(effect.entity or "")
    if target is None or target.managed:
        message = f"“{step.label}” creates a record of {effect.entity}, which cannot be entered."
        yield error("unknown_entity", step.name, message, "Name an entity that people can enter.")
        return
    for name in effect.values:
        if not target.has_field(name):
            message = f"“{step.label}” fills {name} of a {target.label.lower()}, which has no such field."
            yield error("unknown_field", step.name, message, "Correct the field's name.")


def _start_run(step: TransitionDef, effect: Effect, around: Surroundings) -> Iterator[Finding]:
    if around.workflows is not None and effect.workflow not in around.workflows:
        message = f"“{step.label}” starts the workflow {effect.workflow}, which does not exist."
        yield error("unknown_workflow", step.name, message, "Name a workflow by its code.")
    day = effect.business_date
    if not day.startswith("$") and not around.entity.has_field(day):
        yield _unknown_field(step, day, around)


def _notify(step: TransitionDef, effect: Effect, around: Surroundings) -> Iterator[Finding]:
    for name in not_a_person(effect.to, around.entity):
        message = f"“{step.label}” tells {name}, which is nobody."
        there = f"a role, a field that holds a person, or one of {', '.join(PEOPLE)}"
        yield error("unknown_recipient", step.name, message, f"Name {there}.")


_EFFECTS: dict[str, Callable[[TransitionDef, Effect, Surroundings], Iterable[Finding]]] = {
    "set_field": _set_field,
    "create_record": _create_record,
    "start_run": _start_run,
    "notify": _notify,
}
_RULES: tuple[Callable[[LifecycleDef, Surroundings], Iterable[Finding]], ...] = (
    _entity,
    _reach,
    _people,
    _approvals,
    _guards,
    _effects,
)
