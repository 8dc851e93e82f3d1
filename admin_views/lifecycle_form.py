"""The form of a lifecycle's draft: read from what was posted or from a definition, and made into a definition. Pure.

Rows hold what the controls hold, so that a form that does not make a lifecycle is shown again with nothing lost.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as given
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData

from app.core.errors import FieldProblem
from app.core.filters import FilterError, parse
from models.lifecycle import Effect, LifecycleDef, StateDef, TransitionDef
from models.registry import Registry
from models.schema import EntityDef, FieldType

MOST_ROWS = 100
MOST_EFFECTS = 20
LONGEST = 20_000
_STATE = re.compile(r"^s-(\d{1,4})-label$")
_STEP = re.compile(r"^t-(\d{1,4})-label$")
_EFFECT = re.compile(r"^t-(\d{1,4})-e-(\d{1,4})-kind$")


@dataclass(slots=True)
class StateRow:
    name: str = ""
    label: str = ""
    category: str = "active"
    colour: str = ""
    editing: str = "anyone"
    roles: list[str] = given(default_factory=list)


@dataclass(slots=True)
class EffectRow:
    """`values`: one `field = value` in a line."""

    kind: str = "set_field"
    field: str = ""
    value: str = ""
    event: str = ""
    to: list[str] = given(default_factory=list)
    subject: str = ""
    text: str = ""
    entity: str = ""
    values: str = ""
    workflow: str = ""
    business_date: str = "$business_date"


@dataclass(slots=True)
class StepRow:
    """`guard`: the condition as JSON text, which the condition builder writes."""

    name: str = ""
    label: str = ""
    sources: list[str] = given(default_factory=list)
    to: str = ""
    roles: list[str] = given(default_factory=list)
    tone: str = "neutral"
    require_comment: bool = False
    require_fields: list[str] = given(default_factory=list)
    approvals: str = "1"
    distinct_from: list[str] = given(default_factory=list)
    guard: str = ""
    rule: str = ""
    activities: str = ""
    effects: list[EffectRow] = given(default_factory=list)


@dataclass(slots=True)
class Rows:
    """A draft as the form holds it."""

    initial: str = ""
    states: list[StateRow] = given(default_factory=list)
    steps: list[StepRow] = given(default_factory=list)
    notes: str = ""


def rows_of(lifecycle: LifecycleDef, *, notes: str = "") -> Rows:
    """A definition as the form shows it."""
    return Rows(
        initial=lifecycle.initial,
        states=[_state_row(state) for state in lifecycle.states],
        steps=[_step_row(step) for step in lifecycle.transitions],
        notes=notes,
    )


def _state_row(state: StateDef) -> StateRow:
    editing = "anyone" if state.editable_by is None else "roles" if state.editable_by else "nobody"
    roles = list(state.editable_by or ())
    return StateRow(state.name, state.label, state.category, state.colour or "", editing, roles)


def _step_row(step: TransitionDef) -> StepRow:
    return StepRow(
        name=step.name,
        label=step.label,
        sources=list(step.sources),
        to=step.to,
        roles=list(step.roles),
        tone=step.tone,
        require_comment=step.require_comment,
        require_fields=list(step.require_fields),
        approvals=str(step.approvals.count),
        distinct_from=list(step.approvals.distinct_from),
        guard=condition_text(step.guard),
        rule=step.rule or "",
        activities="\n".join(step.activities),
        effects=[_effect_row(effect) for effect in step.effects],
    )


def condition_text(condition: Any) -> str:
    """A condition as the builder reads it."""
    return json.dumps(condition, ensure_ascii=False) if condition else ""


def _effect_row(effect: Effect) -> EffectRow:
    return EffectRow(
        kind=effect.kind,
        field=effect.field or "",
        value=_as_text(effect.value),
        event=effect.event or "",
        to=list(effect.to),
        subject=effect.subject or "",
        text=effect.text or "",
        entity=effect.entity or "",
        values="\n".join(f"{name} = {_as_text(value)}" for name, value in effect.values.items()),
        workflow=effect.workflow or "",
        business_date=effect.business_date,
    )


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# -- what was posted ---------------------------------------------------------------------------------------------------


def read_rows(form: FormData) -> Rows:
    """The rows in the order in which they were sent; new ones get a name made of their label."""
    states = [_posted_state(form, f"s-{index}") for index in _indexes(form, _STATE)][:MOST_ROWS]
    _name(states)
    steps = [_posted_step(form, index) for index in _indexes(form, _STEP)][:MOST_ROWS]
    _name(steps)
    return Rows(initial=_text(form, "initial"), states=states, steps=steps, notes=_text(form, "notes"))


def _indexes(form: FormData, pattern: re.Pattern[str]) -> list[str]:
    return list(dict.fromkeys(found[1] for key in form if (found := pattern.match(key))))


def _name(rows: Sequence[StateRow] | Sequence[StepRow]) -> None:
    taken = {row.name for row in rows if row.name}
    for row in rows:
        if not row.name and row.label:
            row.name = code_of(row.label, taken)
            taken.add(row.name)


def code_of(label: str, taken: Iterable[str]) -> str:
    """A name out of a label: `Sent back` is `sent_back`, and `sent_back_2` where that is taken."""
    base = "_".join(re.findall(r"[a-z0-9]+", label.lower()))[:40].strip("_")
    base = base if base[:1].isalpha() else f"x_{base}".rstrip("_")
    name, number, known = base, 2, set(taken)
    while name in known:
        name, number = f"{base}_{number}", number + 1
    return name


def _posted_state(form: FormData, at: str) -> StateRow:
    return StateRow(
        name=_text(form, f"{at}-name"),
        label=_text(form, f"{at}-label"),
        category=_text(form, f"{at}-category") or "active",
        colour=_text(form, f"{at}-colour"),
        editing=_text(form, f"{at}-editing") or "anyone",
        roles=_texts(form, f"{at}-roles"),
    )


def _posted_step(form: FormData, index: str) -> StepRow:
    at = f"t-{index}"
    effects = [found[2] for key in form if (found := _EFFECT.match(key)) and found[1] == index]
    return StepRow(
        name=_text(form, f"{at}-name"),
        label=_text(form, f"{at}-label"),
        sources=_texts(form, f"{at}-from"),
        to=_text(form, f"{at}-to"),
        roles=_texts(form, f"{at}-roles"),
        tone=_text(form, f"{at}-tone") or "neutral",
        require_comment=_text(form, f"{at}-comment") == "yes",
        require_fields=_texts(form, f"{at}-fields"),
        approvals=_text(form, f"{at}-approvals") or "1",
        distinct_from=_texts(form, f"{at}-distinct"),
        guard=_text(form, f"{at}-guard"),
        rule=_text(form, f"{at}-rule"),
        activities=_text(form, f"{at}-activities"),
        effects=[_posted_effect(form, f"{at}-e-{number}") for number in dict.fromkeys(effects)][:MOST_EFFECTS],
    )


def _posted_effect(form: FormData, at: str) -> EffectRow:
    return EffectRow(
        kind=_text(form, f"{at}-kind"),
        field=_text(form, f"{at}-field"),
        value=_text(form, f"{at}-value"),
        event=_text(form, f"{at}-event"),
        to=_texts(form, f"{at}-to"),
        subject=_text(form, f"{at}-subject"),
        text=_text(form, f"{at}-text"),
        entity=_text(form, f"{at}-entity"),
        values=_text(form, f"{at}-values"),
        workflow=_text(form, f"{at}-workflow"),
        business_date=_text(form, f"{at}-business_date") or "$business_date",
    )


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.replace("\r\n", "\n").strip()[:LONGEST] if isinstance(value, str) else ""


def _texts(form: FormData, name: str) -> list[str]:
    values = [value.strip() for value in form.getlist(name) if isinstance(value, str)]
    return [value for value in dict.fromkeys(values) if value]


# -- the definition ----------------------------------------------------------------------------------------------------


def definition_from(
    rows: Rows, head: Mapping[str, Any], entity: EntityDef | None, registry: Registry
) -> tuple[LifecycleDef | None, list[FieldProblem]]:
    """The lifecycle that the rows make. A problem's path is the control it is about, or the row, or empty.

    `head`: code, label, description, applies_when, priority.
    """
    problems = _empty_rows(rows)
    steps = [_step_data(step, number, entity, registry, problems) for number, step in enumerate(rows.steps)]
    if not rows.states:
        problems.append(FieldProblem("", "A lifecycle needs at least one state; add the first one."))
    if problems:
        return None, problems
    data = {
        **head,
        "initial": rows.initial or rows.states[0].name,
        "states": [_state_data(state) for state in rows.states],
        "transitions": steps,
    }
    try:
        return LifecycleDef.model_validate(data), []
    except ValidationError as error:
        return None, [_problem(each) for each in error.errors()]


def _empty_rows(rows: Rows) -> list[FieldProblem]:
    found = [FieldProblem(f"s-{n}-label", "Give the state a name.") for n, s in enumerate(rows.states) if not s.label]
    for number, step in enumerate(rows.steps):
        if not step.label:
            found.append(FieldProblem(f"t-{number}-label", "Give the step a name."))
        if not step.sources:
            found.append(FieldProblem(f"t-{number}-from", "Choose at least one state that it leaves."))
        if not step.to:
            found.append(FieldProblem(f"t-{number}-to", "Choose the state that it leads to."))
    return found


def _state_data(row: StateRow) -> dict[str, Any]:
    editable = {"anyone": None, "nobody": []}.get(row.editing, row.roles)
    return {
        "name": row.name,
        "label": row.label,
        "category": row.category,
        "colour": row.colour or None,
        "editable_by": editable,
    }


def _step_data(
    row: StepRow, number: int, entity: EntityDef | None, registry: Registry, problems: list[FieldProblem]
) -> dict[str, Any]:
    guard: Any = None
    if row.guard:
        try:
            guard = json.loads(row.guard)
            if guard and entity is not None:
                parse(guard, entity, registry)
        except (json.JSONDecodeError, RecursionError):
            problems.append(FieldProblem(f"t-{number}-guard", "The condition is not JSON; correct or empty it."))
        except FilterError as error:
            problems.append(FieldProblem(f"t-{number}-guard", f"The condition: {error}."))
    count = row.approvals
    if not (count.isascii() and count.isdigit() and 1 <= int(count) <= 20):
        problems.append(FieldProblem(f"t-{number}-approvals", "Give a number from 1 to 20."))
        count = "1"
    return {
        "name": row.name,
        "label": row.label,
        "from": row.sources,
        "to": row.to,
        "roles": row.roles,
        "tone": row.tone,
        "require_comment": row.require_comment,
        "require_fields": row.require_fields,
        "approvals": {"count": int(count), "distinct_from": row.distinct_from},
        "guard": guard or None,
        "rule": row.rule or None,
        "activities": [line.strip() for line in row.activities.splitlines() if line.strip()],
        "effects": [_effect_data(effect, f"t-{number}-e-{n}", entity, registry, problems)
                    for n, effect in enumerate(row.effects)],
    }  # fmt: skip


def _effect_data(
    row: EffectRow, at: str, entity: EntityDef | None, registry: Registry, problems: list[FieldProblem]
) -> dict[str, Any]:
    match row.kind:
        case "set_field":
            return {"kind": row.kind, "field": row.field, "value": _value(row.value, entity, row.field)}
        case "emit":
            return {"kind": row.kind, "event": row.event}
        case "notify":
            return {"kind": row.kind, "to": row.to, "subject": row.subject, "text": row.text or None}
        case "create_record":
            target = registry.entities.get(row.entity)
            return {"kind": row.kind, "entity": row.entity, "values": _pairs(row.values, at, target, problems)}
        case "start_run":
            values = _pairs(row.values, at, None, problems)
            given = {"workflow": row.workflow, "business_date": row.business_date, "values": values}
            return {"kind": row.kind, **given}
    problems.append(FieldProblem(f"{at}-kind", "Choose what happens."))
    return {"kind": "emit", "event": "?"}


def _pairs(text: str, at: str, target: EntityDef | None, problems: list[FieldProblem]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            problems.append(FieldProblem(f"{at}-values", f"Write “{line.strip()[:40]}” as: field = value."))
            continue
        found[name.strip()] = _value(value.strip(), target, name.strip())
    return found


def _value(text: str, entity: EntityDef | None, name: str) -> Any:
    """What a person writes as the plain value that the field takes; variables stay as they are."""
    if text == "":
        return None
    definition = entity.field(name) if entity is not None and entity.has_field(name) else None
    if text.startswith("$") or definition is None:
        return text
    if definition.type is FieldType.BOOLEAN:
        return {"yes": True, "true": True, "no": False, "false": False}.get(text.lower(), text)
    if definition.type is FieldType.INTEGER and re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    if definition.type in (FieldType.JSON, FieldType.MULTI_CHOICE, FieldType.MONEY):
        try:
            return json.loads(text)
        except (json.JSONDecodeError, RecursionError):
            return text
    return text


def _problem(error: Mapping[str, Any]) -> FieldProblem:
    """A refusal of the definition at the row that it is about."""
    message = str(error["msg"]).removeprefix("Value error, ")
    place = list(error["loc"])
    if len(place) >= 2 and place[0] in ("states", "transitions") and isinstance(place[1], int):
        row = f"{'s' if place[0] == 'states' else 't'}-{place[1]}"
        rest = str(place[2]) if len(place) > 2 else "label"
        if rest == "effects" and len(place) > 3:
            return FieldProblem(f"{row}-e-{place[3]}-kind", message)
        return FieldProblem(f"{row}-{rest}", message)
    return FieldProblem("", message)
