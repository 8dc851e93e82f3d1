"""A record's page: its values read-only, its child lines, and its history."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqladmin.authorization import Action

from admin_views.cells import Cell, Drawing, cell_of, column_kind, tone_of
from admin_views.clock_facts import clock_facts
from admin_views.form_model import FormModel, LinesModel, SectionModel, form_model
from admin_views.forms import delete_dialog, delete_entry
from admin_views.record_history import history_panel
from admin_views.titles import titles_of
from app.core.filters import FilterError, UnresolvedReferenceError, matches, parse
from app.core.uow import UnitOfWork
from app.domain.access.fields import masked_fields, readable_fields
from app.domain.entities.queries import Page, get_record, variables
from models.fieldtypes import FIELD_TYPES
from models.schema import EntityDef, FieldDef, FieldType

if TYPE_CHECKING:
    from admin_views.base import StepsModelView
    from admin_views.visit import Visit

# A choice of one of these names is what the record's state is.
STATE_FIELDS = ("state", "status", "quality")


async def read_record(uow: UnitOfWork, entity: EntityDef, id_: UUID, *, tab: str) -> Page:
    """What the page of a record shows. Raises NotFound, also for one that is out of scope."""
    return await get_record(uow, entity.name, id_, titles=True, lines=tab == "details")


async def detail_page(
    visit: "Visit",
    view: "StepsModelView",
    uow: UnitOfWork,
    found: Page,
    *,
    tab: str,
    steps: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The `page` of steps/detail.html. `steps`: what `record_steps` says of a record with a lifecycle."""
    entity, id_ = view.entity, found.records[0]["id"]
    record, model = found.records[0], form_model(uow.registry, entity.name)
    wanted = set(line_references(uow, model, record)) | set(people_of(record)) | set(any_records(entity, record))
    titles = await titles_of(uow, wanted) if wanted else {}
    drawing = drawing_of(visit, uow, entity, titles=titles)
    title = title_of(entity, found, drawing)
    address = f"{view.path}/{id_}"
    deletable = view.can_delete and view.has_permission(visit.request, Action.DELETE)
    return {
        "title": title,
        "subtitle": entity.label,
        "crumbs": [{"label": entity.label_plural, "href": view.path}, {"label": title, "href": None}],
        "state": steps["state"] if steps else _state(entity, record, drawing),
        "row_version": record["row_version"],
        "tabs": [
            {"label": "Details", "href": address, "current": tab == "details", "icon": None},
            *(
                [{"label": "Steps", "href": f"{address}?tab=steps", "current": tab == "steps", "icon": None}]
                if steps
                else []
            ),
            *(
                [{"label": "History", "href": f"{address}?tab=history", "current": tab == "history", "icon": None}]
                if entity.history
                else []
            ),
        ],
        "tab": tab,
        "edit": _edit(visit, view, address, locked=steps["locked"] if steps else None),
        "more": delete_entry(entity) if deletable else [],
        "delete": delete_dialog(entity, title, f"{address}/delete") if deletable else None,
        "facts": [*stamps(visit, uow, record, titles), *await clock_facts(visit, uow, entity.name, id_)],
        "sections": _sections(uow, model, found, drawing) if tab == "details" else [],
        "steps": steps,
        "self_href": address if tab == "details" else f"{address}?tab={tab}",
        "history": await history_panel(visit, view, uow, id_) if tab == "history" else None,
        "previous_href": None,
        "next_href": None,
        "side": None,
        "live_topic": f"{entity.name}:{id_}" if visit.site.listener is not None else None,
    }


def drawing_of(
    visit: "Visit", uow: UnitOfWork, entity: EntityDef, *, titles: Mapping[tuple[str, UUID], str]
) -> Drawing:
    return Drawing(
        registry=uow.registry,
        formats=visit.formats,
        readable=lambda target: visit.may("read", target) is not None,
        titles=titles,
        masked=masked_fields(uow.resources.policy, uow.actor, entity),
        whole=True,
    )


def title_of(entity: EntityDef, found: Page, drawing: Drawing) -> str:
    """What the record is called: its title field, which may be a reference, or its kind and the start of its id."""
    record = found.records[0]
    value = record.get(entity.title_field)
    if entity.has_field(entity.title_field) and value is not None:
        title = found.titles[0].get(entity.title_field) if found.titles else None
        text = cell_of(entity.field(entity.title_field), value, drawing, title=title).get("text")
        if text:
            return str(text)
    return f"{entity.label} {str(record['id'])[-8:]}"


def stamps(
    visit: "Visit", uow: UnitOfWork, record: Mapping[str, Any], titles: Mapping[tuple[str, UUID], str]
) -> list[dict[str, Any]]:
    """Who made the record and who changed it last."""

    def said(at: str, by: str) -> str:
        who = titles.get(("user", record[by])) if record.get(by) else None
        return f"{visit.formats.moment(record[at], uow.now)}{', ' + who if who else ''}"

    lines = [{"label": "Created", "value": said("created_at", "created_by"), "href": None}]
    if record["row_version"] > 1:
        lines.append({"label": "Changed", "value": said("updated_at", "updated_by"), "href": None})
    return [*lines, {"label": "Version", "value": str(record["row_version"]), "href": None}]


def people_of(record: Mapping[str, Any]) -> Iterable[tuple[str, UUID]]:
    return (("user", record[name]) for name in ("created_by", "updated_by") if record.get(name))


def any_records(entity: EntityDef, record: Mapping[str, Any]) -> Iterable[tuple[str, UUID]]:
    """The records that fields refer to which can hold one of any entity."""
    for field in entity.fields:
        value = record.get(field.name)
        if field.type is FieldType.POLYMORPHIC_REFERENCE and isinstance(value, tuple):
            yield value


def line_references(uow: UnitOfWork, model: FormModel, record: Mapping[str, Any]) -> Iterable[tuple[str, UUID]]:
    """What the child lines refer to."""
    for lines in model.lines:
        for field in (control.field for control in lines.controls if control.field.is_reference):
            for line in record.get(lines.field.name) or ():
                if line.get(field.name):
                    yield field.target or "", UUID(str(line[field.name]))


def _state(entity: EntityDef, record: Mapping[str, Any], drawing: Drawing) -> dict[str, Any] | None:
    for name in STATE_FIELDS:
        if entity.has_field(name) and entity.field(name).type is FieldType.CHOICE and record.get(name):
            field = entity.field(name)
            cell = cell_of(field, record[name], drawing)
            if cell["kind"] in ("state", "text"):
                tone = tone_of(field, str(record[name])) or "planned"
                return {"state": tone, "label": cell["text"], "icon": cell.get("icon")}
    return None


def _edit(visit: "Visit", view: "StepsModelView", address: str, *, locked: str | None) -> dict[str, Any] | None:
    if not view.can_edit:
        return None
    allowed = view.has_permission(visit.request, Action.EDIT)
    reason = locked if allowed else f"Your roles do not allow you to change {view.entity.label_plural.lower()}."
    return {"href": f"{address}/edit", "allowed": reason is None, "reason": reason}


def _sections(uow: UnitOfWork, model: FormModel, found: Page, drawing: Drawing) -> list[dict[str, Any]]:
    readable = {field.name for field in readable_fields(uow.resources.policy, uow.actor, model.entity)}
    shown = (_section(uow, model, section, found, drawing=drawing, readable=readable) for section in model.sections)
    return [section for section in shown if section is not None]


def _section(
    uow: UnitOfWork, model: FormModel, section: SectionModel, found: Page, *, drawing: Drawing, readable: set[str]
) -> dict[str, Any] | None:
    record, titles = found.records[0], found.titles[0] if found.titles else {}
    fields = [
        {
            "label": control.field.label,
            "cell": cell_of(
                control.field, record.get(control.field.name), drawing, title=titles.get(control.field.name)
            ),
            "width": control.width,
            "help": None,
        }
        for control in section.controls
        if control.field.name in readable and _applies(uow, model.entity, control.field, record)
    ]
    lines = section.lines if section.lines and section.lines.field.name in readable else None
    if not fields and lines is None:
        return None
    return {
        "label": section.label,
        "why": None,
        "fields": fields,
        "lines": _lines(uow, lines, record, drawing) if lines else None,
    }


def _applies(uow: UnitOfWork, entity: EntityDef, field: FieldDef, record: Mapping[str, Any]) -> bool:
    """A field whose condition does not hold has no value and no place on the page."""
    if field.visible_if is None or record.get(field.name) is not None:
        return True
    try:
        return matches(parse(field.visible_if, entity, uow.registry), record, variables(uow))
    except (UnresolvedReferenceError, FilterError):
        return True


def _lines(uow: UnitOfWork, lines: LinesModel, record: Mapping[str, Any], drawing: Drawing) -> dict[str, Any]:
    policy = uow.resources.policy
    readable = {field.name for field in readable_fields(policy, uow.actor, lines.child)}
    fields = [control.field for control in lines.controls if control.field.name in readable]
    inner = replace(drawing, masked=masked_fields(policy, uow.actor, lines.child), whole=False)
    return {
        "label": lines.field.label,
        "columns": [{"label": field.label, "kind": column_kind(field)} for field in fields],
        "rows": [
            {"href": None, "cells": [_line_cell(field, line.get(field.name), inner) for field in fields]}
            for line in record.get(lines.field.name) or ()
        ],
        "empty_text": f"No {lines.field.label.lower()}.",
    }


def _line_cell(field: FieldDef, value: Any, drawing: Drawing) -> Cell:
    """Lines are held as JSON; a cell shows values as records hold them."""
    if value is None or field.type is FieldType.COMPUTED:
        return cell_of(field, value, drawing)
    return cell_of(field, FIELD_TYPES[field.type].parse(field, value), drawing)
