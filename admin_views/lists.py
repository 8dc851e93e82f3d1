"""The generated list of an entity: what steps/list.html draws, from one page of records."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqladmin.authorization import Action

from admin_views import list_states
from admin_views.bulk_steps import bulk_actions
from admin_views.cells import Cell, Drawing, cell_of, column_kind, places_of, type_of
from admin_views.list_filters import chips, filter_fields, references_in
from admin_views.list_state import (
    LIMITS,
    ListState,
    next_page,
    previous_page,
    read_state,
    sort_marks,
    sorted_by,
)
from admin_views.navigation import group_of, record_path
from admin_views.saved_views import SavedViews, load_views, view_tabs
from admin_views.titles import titles_of
from admin_views.wording import small
from app.core.errors import InvalidRequest
from app.core.filters import FilterError, parse
from app.core.uow import UnitOfWork
from app.domain.access.fields import masked_fields, readable_fields
from app.domain.entities.queries import COUNT_BOUND, Count, ListQuery, Page, list_records
from models.schema import EntityDef, FieldDef, FieldType

if TYPE_CHECKING:
    from admin_views.base import StepsModelView
    from admin_views.visit import Visit

_UNSORTED = (
    FieldType.LINES,
    FieldType.JSON,
    FieldType.SECRET,
    FieldType.MULTI_CHOICE,
    FieldType.POLYMORPHIC_REFERENCE,
)
_NOT_IN_LISTS = (FieldType.LINES, FieldType.SECRET)
ALWAYS_SHOWN = 4  # columns that stay on a narrow screen
SHOWN_IF_WIDE = 6
SHOWN_BESIDE_STATE = 10
MOST_BY_DEFAULT = 6


async def list_page(visit: "Visit", view: "StepsModelView", uow: UnitOfWork) -> dict[str, Any]:
    """The `page` of steps/list.html, with at most three statements and those of titles in the filter."""
    entity, base = view.entity, view.path
    views = await load_views(uow, entity.name)
    state = asked_state(visit, views)
    found, state = await _found(uow, entity, state, views)
    columns = chosen_columns(uow, entity, state.columns or views.columns)
    filter_titles = await _filter_titles(uow, entity, state)
    titles = found.titles or [{} for _ in found.records]
    states = await list_states.states_in(uow, entity, found.records)
    drawing = drawing_of(visit, uow, entity, columns, found)
    offset_after = state.offset + len(found.records)
    exports = _exports(view, visit, state, columns)
    return {
        "entity": entity.name,
        "title": entity.label_plural,
        "summary": _summary(visit, found),
        "crumbs": [{"label": group, "href": None}] if (group := group_of(entity.name)) else [],
        "new": _new(view, visit),
        "import_href": None,
        "exports": exports,
        "export_note": f"{_summary(visit, found)}, {len(columns)} columns, as filtered and sorted here. "
        "Recorded in the audit trail.",
        "views": view_tabs(views, base, current=state.view),
        "view_actions": _view_actions(visit, views, state, entity, base),
        "search": {"placeholder": f"Search {_search_words(entity)}", "value": state.q},
        "keep": [{"name": name, "value": value} for name, value in _kept(state)],
        "chips": [
            {**chip, "remove_href": state.address(base, filter=chip.pop("rest"), view="")}
            for chip in (
                list_states.labelled(
                    chips(state.filter, entity, uow.registry, titles=filter_titles, formats=visit.formats),
                    entity,
                    states,
                )
                if state.filter
                else ()
            )
        ],
        "clear_href": state.address(base, q="", filter=None, view=""),
        "filter": state.filter or {},
        "filter_fields": list_states.with_states(
            filter_fields(entity, uow.registry, readable=lambda other: filterable(visit, uow, other)), entity, states
        ),
        "base_href": base,
        "columns": _columns(visit, uow, entity, columns, state=state, base=base),
        "all_columns": _all_columns(uow, entity, columns),
        "columns_action": f"{base}/columns",
        "rows": [
            _row(entity, columns, record, titles=titles[number], drawing=drawing, states=states)
            for number, record in enumerate(found.records)
        ],
        "selection_total": found.count or 0,
        "bulk": bulk_actions(uow, entity, base) if found.records else [],
        "pager": _pager(visit, state, base, found, offset_after),
        "empty": None if found.records else _empty(view, visit, state, base),
        "live_topic": f"entity:{entity.name}" if visit.site.listener is not None else None,
        "problem": state.problem or None,
    }


def asked_state(visit: "Visit", views: SavedViews) -> ListState:
    """What the address asks for; a view that is only named in it is opened as it was saved."""
    parameters = visit.request.query_params
    state = read_state(parameters, visit.formats)
    if state.view and not parameters.keys() & {"filter", "q", "sort", "columns"}:
        saved = views.state_of(state.view)
        if saved is not None:
            return replace(saved, view=state.view, limit=state.limit)
    return state


async def _found(uow: UnitOfWork, entity: EntityDef, state: ListState, views: SavedViews) -> tuple[Page, ListState]:
    """The page asked for; where filter, order or page make no sense, the first page without them and why."""
    try:
        return await list_records(uow, entity.name, query_of(uow, entity, state, views)), state
    except InvalidRequest as error:
        plain = ListState(limit=state.limit, columns=state.columns, problem=error.detail)
        return await list_records(uow, entity.name, query_of(uow, entity, plain, views)), plain


def query_of(uow: UnitOfWork, entity: EntityDef, state: ListState, views: SavedViews) -> ListQuery:
    columns = chosen_columns(uow, entity, state.columns or views.columns)
    names = dict.fromkeys(
        [*(column.name for column in columns), *_title_names(uow, entity), *list_states.needed(uow, entity, columns)]
    )
    return ListQuery(
        filter=state.filter,
        search=state.q,
        sort=state.sort,
        fields=tuple(names),
        cursor=state.cursor,
        limit=state.limit,
        count=Count.BOUNDED,
        titles=True,
    )


def _title_names(uow: UnitOfWork, entity: EntityDef) -> list[str]:
    readable = readable_fields(uow.resources.policy, uow.actor, entity)
    return [field.name for field in readable if field.name == entity.title_field]


def listable(uow: UnitOfWork, entity: EntityDef) -> tuple[FieldDef, ...]:
    """The fields that can be columns for this actor."""
    readable = readable_fields(uow.resources.policy, uow.actor, entity)
    return tuple(field for field in readable if field.type not in _NOT_IN_LISTS)


def chosen_columns(uow: UnitOfWork, entity: EntityDef, names: tuple[str, ...]) -> tuple[FieldDef, ...]:
    """The columns to show: those chosen, else the definition's; the title always, and first unless placed."""
    fields = {field.name: field for field in listable(uow, entity)}
    chosen = [fields[name] for name in names if name in fields]
    title = fields.get(entity.title_field)
    if not chosen:
        usual = [field for field in fields.values() if field.in_list and field is not title]
        if list_states.in_lists(uow, entity) and entity.state_field in fields:
            usual.insert(0, fields[entity.state_field])
        return tuple([*([title] if title else []), *usual] or list(fields.values())[:MOST_BY_DEFAULT])
    if title is not None and title not in chosen:
        chosen.insert(0, title)
    return tuple(chosen)


def filterable(visit: "Visit", uow: UnitOfWork, entity: EntityDef) -> tuple[FieldDef, ...]:
    if visit.may("read", entity.name) is None:
        return ()
    hidden = masked_fields(uow.resources.policy, uow.actor, entity)
    return tuple(f for f in readable_fields(uow.resources.policy, uow.actor, entity) if f.name not in hidden)


def drawing_of(
    visit: "Visit", uow: UnitOfWork, entity: EntityDef, columns: tuple[FieldDef, ...], found: Page
) -> Drawing:
    places = {
        field.name: places
        for field in columns
        if (places := places_of(field, [record.get(field.name) for record in found.records])) is not None
    }
    return Drawing(
        registry=uow.registry,
        formats=visit.formats,
        readable=lambda target: visit.may("read", target) is not None,
        masked=masked_fields(uow.resources.policy, uow.actor, entity),
        header_zone=visit.formats.zone_name(uow.now),
        places=places,
    )


async def _filter_titles(uow: UnitOfWork, entity: EntityDef, state: ListState) -> dict[Any, str]:
    if not state.filter:
        return {}
    try:
        named = set(references_in(parse(state.filter, entity, uow.registry)))
    except FilterError:
        return {}
    return await titles_of(uow, named) if named else {}


def _kept(state: ListState) -> list[tuple[str, str]]:
    first = replace(state, q="", cursor=None, trail=(), offset=0, view="")
    return first.parameters()


def _summary(visit: "Visit", found: Page) -> str:
    count = found.count or 0
    if not found.count_is_exact:
        return f"more than {visit.formats.number(COUNT_BOUND)} records"
    return f"{visit.formats.number(count)} {'record' if count == 1 else 'records'}"


def _search_words(entity: EntityDef) -> str:
    labels = [entity.field(name).label.lower() for name in entity.search_fields if entity.has_field(name)]
    return ", ".join(labels) or entity.field(entity.title_field).label.lower()


def _new(view: "StepsModelView", visit: "Visit") -> dict[str, str] | None:
    if not view.can_create or not view.has_permission(visit.request, Action.CREATE):
        return None
    return {"label": f"New {small(view.entity.label)}", "href": f"{view.path}/new"}


def _exports(
    view: "StepsModelView", visit: "Visit", state: ListState, columns: tuple[FieldDef, ...]
) -> list[dict[str, str]]:
    if not view.can_export or not view.has_permission(visit.request, Action.EXPORT):
        return []
    asked = replace(state, cursor=None, trail=(), offset=0, view="", columns=tuple(column.name for column in columns))
    formats = (
        ("xlsx", "Excel (XLSX)", "file-spreadsheet"),
        ("csv", "CSV", "file-type-csv"),
        ("json", "JSON", "braces"),
    )
    address = asked.address(f"{view.path}/export")
    return [{"label": label, "icon": icon, "href": f"{address}&format={code}"} for code, label, icon in formats]


def _view_actions(
    visit: "Visit", views: SavedViews, state: ListState, entity: EntityDef, base: str
) -> list[dict[str, str]]:
    if visit.may("create", "saved_view") is None:
        return []
    here = state.address(base, view="", cursor=None, trail=(), offset=0)
    query = here.partition("?")[2]
    actions = [
        {
            "name": "save",
            "label": "Save view",
            "icon": "plus",
            "href": f"/saved-views?entity={entity.name}{'&' + query if query else ''}",
        }
    ]
    if views.owns(state.view, visit.actor.id):
        actions.append(
            {"name": "delete", "label": "Delete view", "icon": "trash", "href": f"/saved-views/{state.view}/delete"}
        )
    return actions


def _columns(
    visit: "Visit", uow: UnitOfWork, entity: EntityDef, columns: tuple[FieldDef, ...], *, state: ListState, base: str
) -> list[dict[str, Any]]:
    marks = sort_marks(state.sort or entity.default_sort)
    zone = visit.formats.zone_name(uow.now)
    title = _title_column(entity, columns)
    hidden = masked_fields(uow.resources.policy, uow.actor, entity)
    shown = []
    for number, field in enumerate(columns):
        direction, rank = marks.get(field.name, (None, None))
        sortable = (
            type_of(field) not in _UNSORTED
            and not (field.type is FieldType.COMPUTED and not field.stored)
            and field.name not in hidden
        )
        shown.append(
            {
                "name": field.name,
                "label": f"{field.label}, {zone}" if type_of(field) is FieldType.DATETIME else field.label,
                "kind": "title" if field is title else list_states.kind_of(entity, field) or column_kind(field),
                "sort": direction,
                "sort_rank": rank,
                "sort_href": state.address(base, sort=sorted_by(state.sort, field.name)) if sortable else None,
                "title": field is title,
                "priority": _priority(number, with_state=any(list_states.kind_of(entity, c) for c in columns)),
            }
        )
    return shown


def _priority(number: int, *, with_state: bool) -> int:
    """From which width of the screen on a column is shown. Beside a state fewer columns have room."""
    if number < SHOWN_IF_WIDE:
        return 1 if number < ALWAYS_SHOWN else 2
    return 4 if with_state and number >= SHOWN_BESIDE_STATE else 3


def _title_column(entity: EntityDef, columns: tuple[FieldDef, ...]) -> FieldDef | None:
    return next((field for field in columns if field.name == entity.title_field), columns[0] if columns else None)


def _all_columns(uow: UnitOfWork, entity: EntityDef, columns: tuple[FieldDef, ...]) -> list[dict[str, Any]]:
    others = [field for field in listable(uow, entity) if field not in columns]
    return [
        {
            "name": field.name,
            "label": field.label,
            "shown": field in columns,
            "locked": field.name == entity.title_field,
        }
        for field in (*columns, *others)
    ]


def _row(
    entity: EntityDef,
    columns: tuple[FieldDef, ...],
    record: dict[str, Any],
    *,
    titles: dict[str, str | None],
    drawing: Drawing,
    states: list_states.States,
) -> dict[str, Any]:
    href = record_path(entity, record["id"])
    title = _title_column(entity, columns)
    cells: list[Cell] = []
    name = ""
    for field in columns:
        cell = cell_of(field, record.get(field.name), drawing, title=titles.get(field.name))
        if list_states.kind_of(entity, field) and cell["kind"] != "masked":
            cell = states.cell(record, entity)
        if field is title:
            name = str(cell.get("text") or "") or str(record["id"])[:8]
            cell = {"kind": "title", "text": name, "href": href}
        cells.append(cell)
    return {"id": str(record["id"]), "href": href, "title": name, "cells": cells, "selectable": True, "tone": None}


def _pager(visit: "Visit", state: ListState, base: str, found: Page, after: int) -> dict[str, Any]:
    number = visit.formats.number
    count, first = found.count or 0, state.offset + 1
    bound = number(count) if found.count_is_exact else f"more than {number(COUNT_BOUND)}"
    before = previous_page(state)
    following = next_page(state, found.next_cursor, len(found.records)) if found.next_cursor else None
    return {
        "summary": f"{number(first)}\u2013{number(after)} of {bound}" if found.records else "No records",
        "first_href": state.address(base, cursor=None, trail=(), offset=0) if state.cursor else None,
        "previous_href": before.address(base) if before else None,
        "next_href": following.address(base) if following else None,
        "limit": state.limit,
        "limits": [{"value": limit, "href": state.address(base, limit=limit)} for limit in LIMITS],
    }


def _empty(view: "StepsModelView", visit: "Visit", state: ListState, base: str) -> dict[str, Any]:
    entity = view.entity
    plural = small(entity.label_plural)
    if state.filter or state.q:
        action = {"label": "Show all", "href": state.address(base, q="", filter=None, view=""), "icon": "filter-off"}
        text = "Take away a condition or search for fewer letters."
        return {"icon": "filter-off", "title": f"No {plural} match", "text": text, "action": action}
    new = _new(view, visit)
    action_new = {**new, "icon": "plus"} if new else None
    text = entity.description or (f"Add the first {small(entity.label)}." if new else "They appear here by themselves.")
    return {"icon": entity.icon, "title": f"No {plural} yet", "text": text, "action": action_new}
