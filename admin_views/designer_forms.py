"""The editor of one part of a draft: the generated form of its entity, without what its place in the tree says."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import select

from admin_views.details import drawing_of
from admin_views.form_endpoints import titles_in_form
from admin_views.form_model import FormModel, form_model
from admin_views.form_values import Posted
from admin_views.forms import Filling, FormPage
from admin_views.visit import Visit
from app.core.uow import UnitOfWork
from app.domain.entities.queries import get_record
from app.domain.jobs.execute import ACTIONS
from app.domain.workflow.structure import Structure
from models.registry import Registry
from models.schema import FieldDef

# What a part's place in the tree says, so the form does not ask for it.
PLACE = {
    "stage": frozenset({"version", "parent", "rank"}),
    "process": frozenset({"version", "stage", "rank"}),
    "process_dependency": frozenset({"version"}),
}
ENDS = ("predecessor", "successor")
OF_THE_ENGINE = "workflow."  # actions that are no work of a process


@dataclass(frozen=True, slots=True)
class Offers:
    """What can be chosen where the definition keeps a code or an id: (value, label)."""

    roles: Sequence[tuple[str, str]]
    actions: Sequence[tuple[str, str]]
    processes: Sequence[tuple[str, str]]


def part_model(registry: Registry, entity: str) -> FormModel:
    """The form of a stage, process or dependency in the designer."""
    model = form_model(registry, entity)
    tabs = []
    for tab in model.tabs:
        sections = [
            replace(section, controls=tuple(c for c in section.controls if _asked(c.field, entity)))
            for section in tab.sections
        ]
        kept = tuple(section for section in sections if section.controls or section.lines)
        tabs.append(replace(tab, sections=kept))
    return replace(model, tabs=tuple(tab for tab in tabs if tab.sections))


def _asked(field: FieldDef, entity: str) -> bool:
    return field.writable and field.name not in PLACE[entity]


async def offers(uow: UnitOfWork, parts: Structure) -> Offers:
    """Roles, actions and processes to choose from, in one statement."""
    roles = uow.table("role")
    rows = await uow.execute(select(roles.c.code, roles.c.label).order_by(roles.c.label))
    actions: Iterable[str] = uow.resources.services.get(ACTIONS) or ()
    return Offers(
        roles=[(row.code, row.label) for row in rows],
        actions=[(name, name) for name in sorted(actions) if not name.startswith(OF_THE_ENGINE)],
        processes=[(str(p.id), f"{p.number} {p.label}") for p in parts.processes()],
    )


async def editor(
    visit: Visit,
    uow: UnitOfWork,
    entity: str,
    *,
    id_: UUID | None,
    filling: Filling,
    offered: Offers,
    editable: bool,
    preset: Mapping[str, str],
) -> dict[str, Any]:
    """Tabs with sections and fields as steps/_editor.html draws them; `preset` fills a new part's controls."""
    model = part_model(uow.registry, entity)
    if id_ is not None:
        found = await get_record(uow, entity, id_, titles=True)
        filling.record, filling.titles = found.records[0], found.titles[0] if found.titles else {}
        filling.row_version = found.records[0]["row_version"]
    elif filling.posted is None and preset:
        filling.posted = Posted(raw={**_defaults(visit, uow, model), **preset})
    filling.other_titles = {**filling.other_titles, **await titles_in_form(uow, model, filling)}
    page = FormPage(visit, uow, model, filling, drawing_of(visit, uow, model.entity, titles=filling.other_titles))
    if not editable:
        page.writable = frozenset()
    tabs = page.tabs()
    for field in _fields(tabs):
        _offer(field, offered, is_new=id_ is None)
    return {
        "tabs": tabs,
        "row_version": filling.row_version,
        "errors": [] if filling.conflict else page.summary(),
        "conflict": filling.conflict,
        "field_types": dict(model.field_types),
        "business_date": uow.business_date.isoformat(),
        "me": str(visit.actor.id),
    }


def _defaults(visit: Visit, uow: UnitOfWork, model: FormModel) -> dict[str, Any]:
    empty = FormPage(visit, uow, model, Filling(), drawing_of(visit, uow, model.entity, titles={}))
    return {control.field.name: empty.raw(control.field) for control in model.controls}


def _fields(tabs: Sequence[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    for tab in tabs:
        for section in tab["sections"]:
            yield from section["fields"]
            if section["lines"]:
                for row in section["lines"]["rows"]:
                    yield from row["fields"]
                yield from section["lines"]["blank"]


def _offer(field: dict[str, Any], offered: Offers, *, is_new: bool) -> None:
    """Let people choose from what there is instead of typing codes."""
    name = str(field["path"])
    if field["widget"] == "static":
        return
    if name == "code" and is_new:
        field |= {"required": False, "help": "Empty: made of the label. It names the part in other versions, too."}
    elif name == "role" or name.endswith("_role"):
        _choices(field, offered.roles)
    elif name == "action" and offered.actions:
        _choices(field, offered.actions)
    elif name in ENDS and field["lookup"] is not None:
        _choices(field, offered.processes)
        field["lookup"] = None


def _choices(field: dict[str, Any], values: Sequence[tuple[str, str]]) -> None:
    options = [{"value": value, "label": label} for value, label in values]
    current = field["value"]
    if current and current not in {value for value, _ in values}:
        options.insert(0, {"value": current, "label": f"{current} (does not exist)"})
    field |= {"widget": "choice", "options": options, "maxlength": None, "help": None}
