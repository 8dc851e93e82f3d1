"""The generated form: what steps/form.html draws for a person, a record and what was typed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqladmin.authorization import Action

from admin_views.cells import cell_of
from admin_views.form_model import Control, FormModel, LinesModel, SectionModel
from admin_views.form_values import (
    Posted,
    PostedLine,
    Raw,
    currency_name,
    default_raw,
    editable,
    line_raw,
    raw_of,
    read_raw,
)
from admin_views.formats import Formats
from admin_views.wording import sentence, small
from app.core.errors import FieldProblem
from app.core.filters import FilterError, UnresolvedReferenceError, Variables, matches, parse
from app.core.uow import UnitOfWork
from app.domain.access.fields import readable_fields, writable_fields
from app.domain.entities.queries import variables
from models.fieldtypes import FIELD_TYPES, FieldError
from models.schema import Condition, EntityDef, FieldDef, FieldType

if TYPE_CHECKING:
    from admin_views.base import StepsModelView
    from admin_views.cells import Drawing
    from admin_views.visit import Visit

CURRENCIES = (
    "EUR",
    "USD",
    "GBP",
    "CHF",
    "JPY",
    "AUD",
    "CAD",
    "CNY",
    "CZK",
    "DKK",
    "HKD",
    "HUF",
    "NOK",
    "PLN",
    "SEK",
    "SGD",
)
LINE_INDEX = "__i__"
MOST_ROWS = 14
NOTHING = "\u2013"


@dataclass(slots=True)
class Filling:
    """What fills a form: the record (None for a new one), what was typed, what was wrong with it."""

    record: Mapping[str, Any] | None = None
    titles: Mapping[str, str | None] = field(default_factory=dict)
    other_titles: Mapping[tuple[str, UUID], str] = field(default_factory=dict)
    posted: Posted | None = None
    problems: Sequence[FieldProblem] = ()
    conflict: dict[str, Any] | None = None
    row_version: int | None = None


class FormPage:
    """One form for one person. Built per request from a model that is not."""

    def __init__(self, visit: "Visit", uow: UnitOfWork, model: FormModel, filling: Filling, drawing: "Drawing") -> None:
        self.visit, self.uow, self.model, self.filling, self.drawing = visit, uow, model, filling, drawing
        self.entity: EntityDef = model.entity
        self.formats: Formats = visit.formats
        self.exists = filling.record is not None
        self.variables: Variables = variables(uow)
        policy = uow.resources.policy
        self.readable = frozenset(f.name for f in readable_fields(policy, uow.actor, self.entity))
        self.writable = frozenset(f.name for f in writable_fields(policy, uow.actor, self.entity))
        self.errors = {problem.path: sentence(problem.message) for problem in filling.problems}
        self.record = self._present_record()
        self.locked: str | None = None

    def lock(self, reason: str) -> None:
        """Show everything and let nothing be changed: the state of the record does not allow it to this person."""
        self.locked, self.writable = reason, frozenset()

    def tabs(self) -> list[dict[str, Any]]:
        """The tabs with their sections; those without anything to show are left out."""
        tabs = []
        for tab in self.model.tabs:
            sections = [shown for section in tab.sections if (shown := self._section(section)) is not None]
            if sections:
                count = sum(self._errors_in(section) for section in tab.sections)
                tabs.append({"id": tab.id, "label": tab.label, "error_count": count, "sections": sections})
        return tabs

    def controls(self) -> list[dict[str, Any]]:
        """The controls by themselves, in their order, where they stand outside of sections."""
        return [self._field(control, in_section=True) for control in self._controls()]

    def help_of(self, name: str) -> str | None:
        return self.entity.field(name).help or None

    def summary(self) -> list[dict[str, Any]]:
        """Each problem with the field it belongs to; those of fields that are not shown come without a link."""
        shown = {c.field.name: c.field for c in self._controls()}
        lines = {lines.field.name: lines for lines in self.model.lines}
        return [self._summary_line(problem, shown, lines) for problem in self.filling.problems]

    def raw(self, definition: FieldDef) -> Raw:
        """What the control holds: what was typed, else the record's value, else the default."""
        posted, record = self.filling.posted, self.filling.record
        if posted is not None and definition.name in posted.raw:
            return posted.raw[definition.name]
        if record is not None:
            return raw_of(definition, record.get(definition.name), self.formats)
        if posted is not None:
            return raw_of(definition, None, self.formats)
        v = self.variables
        given = {"$now": v.now, "$today": v.today, "$business_date": v.business_date, "$me": v.me}
        return default_raw(definition, self.formats, variables=given)

    # -- sections ----------------------------------------------------------------------------------------------------

    def _controls(self) -> list[Control]:
        return [control for control in self.model.controls if self._is_shown(control.field)]

    def _is_shown(self, definition: FieldDef) -> bool:
        if definition.name not in self.readable:
            return False
        # A new record has no values that only services write.
        return self.exists or editable(self.entity, self.writable, definition, exists=False)

    def _section(self, section: SectionModel) -> dict[str, Any] | None:
        controls = [control for control in section.controls if self._is_shown(control.field)]
        lines = section.lines if section.lines and section.lines.field.name in self.readable else None
        if not controls and lines is None:
            return None
        return {
            "id": section.id,
            "label": section.label,
            "help": section.lines.field.help if section.lines else None,
            "why": section.why,
            "visible_if": section.visible_if,
            "hidden": bool(section.visible_if) and not self._holds(dict(section.visible_if or {})),
            "fields": [self._field(control, in_section=bool(section.visible_if)) for control in controls],
            "lines": self._lines(lines) if lines else None,
        }

    def _field(self, control: Control, *, in_section: bool) -> dict[str, Any]:
        definition = control.field
        raw = self.raw(definition)
        drawn = self._control(control, raw, definition.name, f"f-{definition.name}", self.entity)
        fixed = not editable(self.entity, self.writable, definition, exists=self.exists)
        in_state = self.fixed_in_state(definition)
        drawn["read_only"] = fixed or in_state or (self.exists and self._holds(definition.read_only_if))
        if fixed:
            drawn |= {"widget": "static", "value": self._static(definition), "options": None, "help": None}
        if in_state and not fixed:
            drawn["help"] = "Cannot be changed in this state."
        # A box is always answered: off is an answer, too.
        asked = definition.required or self._holds(definition.required_if)
        drawn["required"] = asked and definition.type is not FieldType.BOOLEAN
        numbering = self.entity.reference_number
        if numbering is not None and definition.name == numbering.field and not self.exists:
            drawn["required"] = False
        drawn["error"] = self.errors.get(definition.name)
        drawn["visible_if"] = None if in_section else definition.visible_if
        drawn["hidden"] = bool(drawn["visible_if"]) and not self._holds(definition.visible_if)
        drawn["required_if"] = definition.required_if
        drawn["read_only_if"] = definition.read_only_if if self.exists else None
        return drawn

    def fixed_in_state(self, definition: FieldDef) -> bool:
        """Whether the record's state lets nobody change the field."""
        state = self.record.get(self.entity.state_field) if self.exists else None
        allowed = definition.editable_in_states
        return self.entity.lifecycle and state is not None and allowed is not None and state not in allowed

    def _static(self, definition: FieldDef) -> str:
        value = self.record.get(definition.name)
        title = self.filling.titles.get(definition.name)
        return str(cell_of(definition, value, self.drawing, title=title).get("text") or NOTHING)

    def _control(self, control: Control, raw: Raw, name: str, id_: str, owner: EntityDef) -> dict[str, Any]:
        """What every control has, of the record and of its lines alike."""
        definition = control.field
        money = isinstance(raw, dict)
        return {
            "id": id_,
            "name": name,
            "label": definition.label,
            "widget": control.widget,
            "value": raw["amount"] if money else raw,
            "help": definition.help or None,
            "hint": self._hint(definition),
            "error": None,
            "placeholder": control.placeholder,
            "required": definition.required,
            "read_only": False,
            "options": [{"value": o.value, "label": o.label} for o in definition.options] or None,
            "currency": self._currency(definition, raw, name) if money else None,
            "lookup": self._lookup(definition, raw, owner) if definition.is_reference else None,
            "maxlength": definition.length
            if control.widget in ("text", "long_text", "email", "url", "phone")
            else None,
            "min": definition.min,
            "max": definition.max,
            "rows": min(max(str(raw).count("\n") + 2, 3), MOST_ROWS) if isinstance(raw, str) else None,
            "unit": "%" if control.widget == "percent" else None,
            "width": control.width,
            "path": definition.name,
        }

    def _hint(self, definition: FieldDef) -> str | None:
        return self.formats.zone_name(self.uow.now) if definition.type is FieldType.DATETIME else None

    def _currency(self, definition: FieldDef, raw: Mapping[str, str], name: str) -> dict[str, Any]:
        current = raw.get("currency") or definition.currency or ""
        options = [] if definition.currency else list(dict.fromkeys([*([current] if current else []), *CURRENCIES]))
        return {"name": currency_name(name), "value": current, "options": options}

    def _lookup(self, definition: FieldDef, raw: Raw, owner: EntityDef) -> dict[str, Any]:
        target = self.uow.registry.entity(definition.target or "")
        may_add = target.name != "file" and not target.managed and self.visit.may("create", target.name) is not None
        return {
            "url": f"/data/{owner.slug}/lookup/{definition.name}",
            "label": self._title(definition, str(raw)),
            "icon": "user" if definition.type is FieldType.USER else "search",
            "create_href": f"/data/{target.slug}/new" if may_add else None,
        }

    def _title(self, definition: FieldDef, raw: str) -> str:
        if not raw:
            return ""
        record = self.filling.record
        known = self.filling.titles.get(definition.name)
        if known and record is not None and str(record.get(definition.name)) == raw:
            return known
        try:
            return self.filling.other_titles.get((definition.target or "", UUID(raw)), "(not available)")
        except ValueError:
            return ""

    # -- lines -------------------------------------------------------------------------------------------------------

    def _lines(self, lines: LinesModel) -> dict[str, Any]:
        name = lines.field.name
        fixed = not editable(self.entity, self.writable, lines.field, exists=self.exists)
        rows = self.line_rows(lines)
        return {
            "name": name,
            "label": lines.field.label,
            "columns": [
                {"label": c.field.label, "required": c.field.required, "kind": c.widget} for c in lines.controls
            ],
            "rows": [
                {
                    "index": number,
                    "id": row.id,
                    "fields": self._line_fields(lines, row.raw, str(number), fixed=fixed),
                    "error": self.errors.get(f"{name}.{number}.id"),
                }
                for number, row in enumerate(rows)
            ],
            "blank": self._line_fields(lines, self._blank(lines), LINE_INDEX, fixed=fixed),
            "add_label": f"Add {small(lines.child.label)}",
            "read_only": fixed,
            "min": 0,
            "max": None,
        }

    def line_rows(self, lines: LinesModel) -> list[PostedLine]:
        """The rows as they were typed, else as they are stored."""
        posted = self.filling.posted
        if posted is not None and lines.field.name in posted.lines:
            return posted.lines[lines.field.name]
        stored = self.filling.record.get(lines.field.name) if self.filling.record else None
        return [
            PostedLine(
                str(line.get("id") or ""),
                {c.field.name: line_raw(c.field, line.get(c.field.name), self.formats) for c in lines.controls},
            )
            for line in stored or ()
        ]

    def _blank(self, lines: LinesModel) -> dict[str, Raw]:
        return {c.field.name: default_raw(c.field, self.formats, variables={}) for c in lines.controls}

    def _line_fields(
        self, lines: LinesModel, raw: Mapping[str, Raw], index: str, *, fixed: bool
    ) -> list[dict[str, Any]]:
        fields = []
        for control in lines.controls:
            name = control.field.name
            value = raw.get(name, raw_of(control.field, None, self.formats))
            full = f"{lines.field.name}-{index}-{name}"
            drawn = self._control(control, value, full, f"f-{full}", lines.child)
            drawn["error"] = self.errors.get(f"{lines.field.name}.{index}.{name}")
            drawn["read_only"] = fixed or not control.field.writable
            drawn["widget"] = "choice" if control.widget == "radio" else control.widget
            fields.append(drawn)
        return fields

    # -- errors and conditions ---------------------------------------------------------------------------------------

    def _errors_in(self, section: SectionModel) -> int:
        names = {control.field.name for control in section.controls}
        if section.lines:
            names.add(section.lines.field.name)
        return sum(path.split(".")[0] in names for path in self.errors)

    def _summary_line(
        self, problem: FieldProblem, shown: Mapping[str, FieldDef], lines: Mapping[str, LinesModel]
    ) -> dict[str, Any]:
        name, *rest = problem.path.split(".")
        message = sentence(problem.message)
        if name in lines and len(rest) == 2 and rest[0].isdigit():
            owner = lines[name]
            label = next((c.field.label for c in owner.controls if c.field.name == rest[1]), rest[1])
            line = f"{owner.field.label}, line {int(rest[0]) + 1}, {small(label)}"
            return {"field_id": f"f-{name}-{rest[0]}-{rest[1]}", "label": line, "message": message}
        if name in shown:
            return {"field_id": f"f-{name}", "label": shown[name].label, "message": message}
        label = self.entity.field(name).label if self.entity.has_field(name) else name
        return {"field_id": None, "label": label or None, "message": message}

    def _present_record(self) -> Mapping[str, Any]:
        """The record as the form shows it: what is stored, or would be by default, under what was typed."""
        present = dict(self.filling.record or {})
        if self.exists and self.filling.posted is None:
            return present
        for control in self.model.controls:
            field, name = control.field, control.field.name
            if self.exists and name not in (self.filling.posted.raw if self.filling.posted else ()):
                continue
            value, _ = read_raw(field, self.raw(field), self.formats, name)
            try:
                present[name] = None if value is None else FIELD_TYPES[field.type].parse(field, value)
            except FieldError:
                present[name] = None
        return present

    def _holds(self, condition: Condition | None) -> bool:
        """Whether a condition holds for the record as stored; what looks through references is left to the service."""
        if not condition:
            return False
        try:
            return matches(parse(condition, self.entity, self.uow.registry), self.record, self.variables)
        except (UnresolvedReferenceError, FilterError):
            return False


# Entities whose form shows beside it what it would do.
PREVIEWS = {"schedule": ("/schedules/preview", "What it will do")}


def form_page(view: "StepsModelView", page: FormPage, *, title: str, side: dict[str, Any] | None) -> dict[str, Any]:
    """The `page` of steps/form.html."""
    visit, entity, filling = page.visit, view.entity, page.filling
    record = filling.record
    address = f"{view.path}/{record['id']}" if record else f"{view.path}/new"
    deletable = record is not None and view.can_delete and view.has_permission(visit.request, Action.DELETE)
    return {
        "title": title,
        "subtitle": entity.label if record else "",
        "crumbs": [{"label": entity.label_plural, "href": view.path}]
        + ([{"label": title, "href": address}, {"label": "Edit", "href": None}] if record else []),
        "state": None,
        "action": f"{address}/edit" if record else address,
        "cancel_href": address if record else view.path,
        "is_new": record is None,
        "row_version": filling.row_version,
        "errors": [] if filling.conflict else page.summary(),
        "conflict": filling.conflict,
        "locked": page.locked,
        "more": delete_entry(entity) if deletable else [],
        "delete": delete_dialog(entity, title, f"{address}/delete") if deletable else None,
        "tabs": page.tabs(),
        "save_another": record is None,
        "saved_text": _saved_text(page, record) if record else "",
        "side": side,
        "business_date": page.uow.business_date.isoformat(),
        "me": str(visit.actor.id),
        "field_types": dict(page.model.field_types),
        "preview": _preview(entity, record),
    }


def _preview(entity: EntityDef, record: Mapping[str, Any] | None) -> dict[str, str] | None:
    if entity.name not in PREVIEWS:
        return None
    href, label = PREVIEWS[entity.name]
    return {"href": href, "label": label, "record": str(record["id"]) if record else ""}


def delete_entry(entity: EntityDef) -> list[dict[str, Any]]:
    label = f"Delete this {small(entity.label)}"
    return [{"label": label, "icon": "trash", "href": None, "danger": True, "dialog": "delete-dialog"}]


def delete_dialog(entity: EntityDef, title: str, href: str) -> dict[str, str]:
    """What the dialog says will happen."""
    if entity.soft_delete:
        what = f"“{title}” is taken out of every list and can no longer be chosen. Its history stays."
    else:
        what = f"“{title}” is removed for good; its history is kept. A record that others refer to cannot be removed."
    return {"href": href, "confirm": what}


def _saved_text(page: FormPage, record: Mapping[str, Any]) -> str:
    who = page.filling.other_titles.get(("user", record["updated_by"])) if record.get("updated_by") else None
    saved = page.formats.moment(record["updated_at"], page.uow.now)
    return f"Version {record['row_version']}, saved {saved}{' by ' + who if who else ''}"
