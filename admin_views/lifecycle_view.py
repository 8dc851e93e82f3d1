"""What steps/lifecycle.html draws: a version of a lifecycle to read or to edit, its findings beside their places."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from admin_views.cells import TONES
from admin_views.formats import Formats
from admin_views.lifecycle_diagram import diagram
from admin_views.lifecycle_form import EffectRow, Rows, StateRow, StepRow
from admin_views.list_filters import filter_fields, references_in
from admin_views.titles import titles_of
from admin_views.wording import sentence, small
from app.core.errors import FieldProblem
from app.core.filters import FilterError, describe, parse
from app.core.findings import Finding, Severity
from app.core.uow import UnitOfWork
from app.domain.access.fields import readable_fields
from app.domain.lifecycles.impact import Impact, VersionSummary
from app.domain.lifecycles.recipients import ALIASES, PEOPLE
from models.lifecycle import Effect, LifecycleDef, TransitionDef
from models.registry import Registry
from models.schema import EntityDef, EntityKind, FieldDef, FieldType

Option = tuple[str, str]

CATEGORIES: tuple[Option, ...] = (
    ("draft", "Draft: begins, or begins again"), ("active", "Active: being worked on"),
    ("waiting", "Waiting: for somebody else"), ("final", "Final: done"), ("void", "Void: not wanted any more"),
)  # fmt: skip
COLOURS: tuple[Option, ...] = (
    ("", "As its category"), ("planned", "Grey"), ("ready", "Blue"), ("in_progress", "Indigo"), ("in_review", "Violet"),
    ("done", "Green"), ("waiting", "Teal"), ("on_hold", "Ochre"), ("warn", "Amber"), ("rejected", "Orange"),
    ("breach", "Red"), ("stale", "Crimson"), ("void", "Light grey"),
)  # fmt: skip
EDITING: tuple[Option, ...] = (
    ("anyone", "Who may update it"), ("nobody", "Nobody"), ("roles", "These roles only"),
)  # fmt: skip
TONE_WORDS: tuple[Option, ...] = (("neutral", "Plain"), ("primary", "Main"), ("danger", "Warning"))
DISTINCT: tuple[Option, ...] = (
    ("creator", "who created it"), ("last_editor", "who changed it last"), ("prior_approver", "who approved before"),
)  # fmt: skip
KINDS: tuple[Option, ...] = (
    ("set_field", "Set a field"), ("notify", "Tell somebody"), ("create_record", "Create a record"),
    ("start_run", "Start a workflow run"), ("emit", "Raise an event"),
)  # fmt: skip
VARIABLES: tuple[str, ...] = ("$now", "$today", "$business_date", "$me")
VERSION_TONES = {"draft": ("draft", "Draft"), "published": ("done", "Published"), "retired": ("void", "Retired")}
# What the roles of the platform's own lifecycle stand for.
ENGINE_ROLES: Mapping[str, str] = {
    "owner": "The owner role, then who has taken it", "checker": "The role of the open approval level",
    "lead": "Whom the policy allows it", "engine": "The platform itself",
}  # fmt: skip
READ_OFFERS = text(
    """
SELECT ARRAY(SELECT ARRAY[code, label] FROM role ORDER BY label) AS roles,
       ARRAY(SELECT ARRAY[code, label] FROM workflow ORDER BY label) AS workflows,
       ARRAY(SELECT ARRAY[code, label] FROM rule WHERE active AND purpose = 'guard' ORDER BY label) AS rules
"""
)


@dataclass(frozen=True, slots=True)
class Offers:
    """What can be chosen in the editor: (value, label) each."""

    roles: Sequence[Option]
    workflows: Sequence[Option]
    rules: Sequence[Option]
    fields: Sequence[Option]
    dates: Sequence[Option]
    people: Sequence[Option]
    entities: Sequence[Option]
    conditions: Sequence[Mapping[str, Any]]


async def offers_for(uow: UnitOfWork, entity: EntityDef) -> Offers:
    """One statement."""
    row = (await uow.execute(READ_OFFERS)).one()
    own = (entity.state_field, "lifecycle_version")
    settable = [f for f in entity.fields if f.writable and f.name not in own and f.type is not FieldType.LINES]
    roles = _options(row.roles)
    everybody = [(name, f"{words[0].upper()}{words[1:]}") for name, words in PEOPLE.items()]
    users = [(f.name, f.label) for f in settable if f.type is FieldType.USER]
    dates = [(f.name, f.label) for f in entity.fields if f.type in (FieldType.DATE, FieldType.DATETIME)]
    creatable = sorted(
        (e.name, e.label) for e in uow.registry.entities.values() if not e.managed and e.kind is not EntityKind.CHILD
    )
    return Offers(
        roles=roles,
        workflows=_options(row.workflows),
        rules=_options(row.rules),
        fields=[(f.name, f.label) for f in settable],
        dates=[("$business_date", "The business date"), *dates],
        people=[*everybody, *users, *roles],
        entities=creatable,
        conditions=condition_fields(uow, entity),
    )


def _options(pairs: Iterable[Sequence[str]] | None) -> list[Option]:
    return [(pair[0], pair[1]) for pair in pairs or ()]


def condition_fields(uow: UnitOfWork, entity: EntityDef) -> list[dict[str, Any]]:
    """The fields that the condition builder offers, as the filter of a list has them."""

    def readable(other: EntityDef) -> tuple[FieldDef, ...]:
        return tuple(readable_fields(uow.resources.policy, uow.actor, other))

    return filter_fields(entity, uow.registry, readable=readable)


async def titles_in(uow: UnitOfWork, entity: EntityDef, conditions: Iterable[Any]) -> dict[str, str]:
    """Id -> title of the records that conditions name, for the builder."""
    wanted = set()
    for condition in conditions:
        try:
            wanted |= set(references_in(parse(condition, entity, uow.registry))) if condition else set()
        except FilterError:
            continue
    found = await titles_of(uow, wanted) if wanted else {}
    return {str(id_): title for (_, id_), title in found.items()}


# -- findings --------------------------------------------------------------------------------------------------------


def findings_by_place(findings: Iterable[Finding]) -> dict[str, list[dict[str, str]]]:
    """State or step -> its findings; "" for those of the whole."""
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for finding in findings:
        severity = "error" if finding.severity is Severity.ERROR else "warn"
        found[finding.place].append({"severity": severity, "message": finding.message, "satisfy": finding.satisfy})
    return found


def errors_by_control(problems: Iterable[FieldProblem]) -> dict[str, str]:
    return {problem.path: sentence(problem.message) for problem in problems}


# -- the editor ------------------------------------------------------------------------------------------------------


def editor(
    rows: Rows, findings: Mapping[str, list[dict[str, str]]], errors: Mapping[str, str], offers: Offers
) -> dict[str, Any]:
    """States, steps and templates of new ones, each control with what can be chosen."""
    known = [(state.name, state.label or state.name) for state in rows.states if state.name]
    return {
        "initial": rows.initial or (rows.states[0].name if rows.states else ""),
        "states": [
            {**_state(row, f"s-{n}", errors), "findings": findings.get(row.name, [])}
            for n, row in enumerate(rows.states)
        ],
        "steps": [
            {**_step(row, f"t-{n}", known, offers, errors), "findings": findings.get(row.name, [])}
            for n, row in enumerate(rows.steps)
        ],
        "blank_state": {**_state(StateRow(), "s-__i__", {}), "findings": []},
        "blank_step": {**_step(StepRow(), "t-__i__", known, offers, {}), "findings": []},
        "blank_effect": _effect(EffectRow(kind="set_field"), "t-__i__-e-__e__", offers, {}),
        "categories": CATEGORIES,
        "colours": COLOURS,
        "editing": EDITING,
        "tones": TONE_WORDS,
        "variables": VARIABLES,
        "kinds": KINDS,
        "roles": offers.roles,
        "conditions": list(offers.conditions),
        "notes": rows.notes,
    }


def _state(row: StateRow, at: str, errors: Mapping[str, str]) -> dict[str, Any]:
    return {
        "at": at,
        "name": row.name,
        "label": row.label,
        "category": row.category,
        "colour": row.colour,
        "editing": row.editing,
        "roles": row.roles,
        "tone": row.colour if row.colour in TONES else row.category,
        "errors": _errors(errors, at),
    }


def _step(row: StepRow, at: str, states: Sequence[Option], offers: Offers, errors: Mapping[str, str]) -> dict[str, Any]:
    return {
        "at": at,
        "name": row.name,
        "label": row.label,
        "from": _choices(states, row.sources),
        "to": row.to,
        "to_choices": _choices(states, [row.to] if row.to else []),
        "to_label": dict(states).get(row.to, row.to),
        "from_labels": ", ".join(dict(states).get(name, name) for name in row.sources),
        "roles": _choices(offers.roles, row.roles),
        "tone": row.tone,
        "require_comment": row.require_comment,
        "fields": _choices(offers.fields, row.require_fields),
        "approvals": row.approvals,
        "distinct": _choices(DISTINCT, row.distinct_from),
        "guard": row.guard,
        "rule": row.rule,
        "rules": _choices(offers.rules, [row.rule] if row.rule else []),
        "activities": row.activities,
        "effects": [_effect(effect, f"{at}-e-{n}", offers, errors) for n, effect in enumerate(row.effects)],
        "errors": _errors(errors, at),
        "has_errors": any(path.startswith(f"{at}-") for path in errors),
    }


def _effect(row: EffectRow, at: str, offers: Offers, errors: Mapping[str, str]) -> dict[str, Any]:
    return {
        "at": at,
        "kind": row.kind,
        "kinds": KINDS,
        "fields": _choices(offers.fields, [row.field] if row.field else []),
        "value": row.value,
        "event": row.event,
        "to": _choices(offers.people, row.to),
        "subject": row.subject,
        "text": row.text,
        "entities": _choices(offers.entities, [row.entity] if row.entity else []),
        "values": row.values,
        "workflows": _choices(offers.workflows, [row.workflow] if row.workflow else []),
        "dates": _choices(offers.dates, [row.business_date]),
        "errors": _errors(errors, at),
    }


def _choices(options: Sequence[Option], chosen: Sequence[str]) -> list[dict[str, Any]]:
    """Every option, and what was chosen though it is not there any more."""
    known = {value for value, _ in options}
    shown = [*options, *((value, f"{value} (does not exist)") for value in chosen if value not in known)]
    return [{"value": value, "label": label, "chosen": value in chosen} for value, label in shown]


def _errors(errors: Mapping[str, str], at: str) -> dict[str, str]:
    """Control -> what is wrong with it, for the controls of one row and not those of its effects."""
    found = {path.removeprefix(f"{at}-"): text for path, text in errors.items() if path.startswith(f"{at}-")}
    return {name: text for name, text in found.items() if not name.startswith("e-") or at.count("-e-")}


# -- to read ---------------------------------------------------------------------------------------------------------


def reading(
    lifecycle: LifecycleDef, entity: EntityDef | None, registry: Registry, roles: Mapping[str, str]
) -> dict[str, Any]:
    """States and steps in words."""
    labels = {state.name: state.label for state in lifecycle.states}
    return {
        "states": [
            {
                "name": state.name,
                "label": state.label,
                "tone": state.colour if state.colour in TONES else state.category,
                "category": state.category.capitalize(),
                "first": state.name == lifecycle.initial,
                "editing": _editing(state.editable_by, roles),
            }
            for state in lifecycle.states
        ],
        "steps": [_step_in_words(step, labels, entity, registry, roles) for step in lifecycle.transitions],
    }


def _editing(editable_by: tuple[str, ...] | None, roles: Mapping[str, str]) -> str:
    if editable_by is None:
        return "Who may update it"
    return f"Only {_named(editable_by, roles)}" if editable_by else "Nobody"


def _named(codes: Iterable[str], roles: Mapping[str, str]) -> str:
    return ", ".join(roles.get(code, code) for code in codes)


def _step_in_words(
    step: TransitionDef,
    labels: Mapping[str, str],
    entity: EntityDef | None,
    registry: Registry,
    roles: Mapping[str, str],
) -> dict[str, Any]:
    needs = []
    if step.guard:
        needs.append(f"Only where {condition_in_words(step.guard, entity, registry)}")
    if step.rule:
        needs.append(f"The rule {step.rule} allows it")
    if step.require_comment:
        needs.append("A comment")
    if step.require_fields:
        fields = (_field_label(entity, name) for name in step.require_fields)
        needs.append(f"Filled in: {', '.join(fields)}")
    approvals = step.approvals
    if approvals.count > 1:
        needs.append(f"{approvals.count} people approve")
    if approvals.distinct_from:
        needs.append(f"Not by {' or '.join(dict(DISTINCT)[who] for who in approvals.distinct_from)}")
    return {
        "label": step.label,
        "name": step.name,
        "from": ", ".join(labels.get(name, name) for name in step.sources),
        "to": " or ".join(labels.get(name, name) for name in step.targets),
        "who": _named(step.roles, roles) or "Who may update it",
        "needs": needs,
        "effects": [effect_in_words(effect, entity, registry, roles) for effect in step.effects],
        "tone": step.tone,
    }


def condition_in_words(condition: Any, entity: EntityDef | None, registry: Registry) -> str:
    try:
        return describe(parse(condition, entity, registry)) if entity is not None else str(condition)
    except FilterError as error:
        return f"a condition that does not fit any more ({error})"


def _field_label(entity: EntityDef | None, name: str) -> str:
    return entity.field(name).label if entity is not None and entity.has_field(name) else name


def _recipient(name: str, entity: EntityDef | None, roles: Mapping[str, str]) -> str:
    if entity is not None and entity.has_field(name):
        return _field_label(entity, name)
    return roles.get(name) or PEOPLE.get(ALIASES.get(name, name), name)


def effect_in_words(effect: Effect, entity: EntityDef | None, registry: Registry, roles: Mapping[str, str]) -> str:
    match effect.kind:
        case "set_field":
            value = "empty" if effect.value is None else effect.value
            return f"{_field_label(entity, effect.field or '')} becomes {value}"
        case "notify":
            to = ", ".join(_recipient(name, entity, roles) for name in effect.to)
            return f"Tells {to}: {effect.subject}"
        case "create_record":
            target = registry.entities.get(effect.entity or "")
            return f"Creates a {small(target.label) if target else effect.entity}"
        case "start_run":
            return f"Starts the workflow {effect.workflow}"
    return f"Raises the event {effect.event}"


# -- versions --------------------------------------------------------------------------------------------------------


def version_rows(path: str, impact: Impact, formats: Formats, *, shown: UUID | None) -> list[dict[str, Any]]:
    return [_version(path, version, formats, shown=shown) for version in impact.versions]


def _version(path: str, version: VersionSummary, formats: Formats, *, shown: UUID | None) -> dict[str, Any]:
    tone, word = VERSION_TONES.get(version.state, ("draft", version.state.capitalize()))
    return {
        "id": str(version.id),
        "number": version.number,
        "href": f"{path}?version={version.number}",
        "current": version.id == shown,
        "tone": tone,
        "word": word,
        "when": formats.date(formats.local(version.published_at or version.at)),
        "by": version.published_by or ("STEPS" if version.published_at else ""),
        "notes": version.notes or "",
        "records": formats.number(version.records),
        "pinned": [
            {
                "label": each.label,
                "tone": each.colour if each.colour in TONES else each.category,
                "count": formats.number(each.count),
            }
            for each in version.pinned
        ],
    }


def impact_lines(impact: Impact, number: int, plural: str, formats: Formats) -> list[dict[str, str]]:
    """What publishing a draft means."""
    staying = [v for v in impact.versions if v.records]
    text_ = ", ".join(f"{formats.number(v.records)} on version {v.number}" for v in staying) or "none"
    lines = [
        {"label": f"New {plural}", "text": f"get version {number}"},
        {"label": f"{plural[:1].upper()}{plural[1:]} there are", "text": f"stay as they are: {text_}"},
    ]
    if impact.without:
        lines.append({"label": "Without a lifecycle", "text": f"{formats.number(impact.without)}, left as they are"})
    return lines


def picture(lifecycle: LifecycleDef, impact: Impact, shown: UUID | None) -> dict[str, Any]:
    """The diagram with the number of records in each state of the version."""
    version = next((v for v in impact.versions if v.id == shown), None)
    return diagram(lifecycle, {each.state: each.count for each in version.pinned} if version else None)
