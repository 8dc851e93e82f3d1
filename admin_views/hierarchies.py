"""Hierarchies: the tree as of any date, a node with its life in time, changes from a date on, import with a diff."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import quote
from uuid import UUID

from sqlalchemy import select
from starlette.datastructures import FormData, UploadFile
from starlette.responses import RedirectResponse, Response

from admin_views import hierarchy_view
from admin_views.hierarchy_view import Refused, View
from admin_views.pages import PageRoute
from admin_views.visit import Visit
from app.core.errors import (
    FieldProblem,
    Forbidden,
    InvalidRequest,
    NotFound,
    StepsError,
    Unauthenticated,
    ValidationFailed,
)
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope
from app.domain.hierarchy import service
from app.domain.hierarchy.csv_export import export_csv
from app.domain.hierarchy.csv_import import MAX_BYTES, apply_import, plan_counts, plan_import, read_csv
from app.domain.hierarchy.import_diff import ImportPlan
from app.domain.hierarchy.queries import compare, node_by_code, timeline_of, tree, where_used

NODE = "hierarchy_node"
MOST_ROWS_SHOWN = 500
# What a preview carries to its confirmation goes through the page, so it is limited as any field of a form is.
MAX_IMPORT_BYTES = 1_500_000

ACTIONS = ("add", "rename", "move", "attributes", "retire", "restore")


async def first_page(visit: Visit) -> Response:
    """Lead to the first hierarchy."""
    async with visit.uow() as uow:
        found = await _hierarchies(uow)
        if found:
            return RedirectResponse(f"/hierarchies/{quote(found[0]['code'])}", status_code=303)
        return await visit.page(uow, "steps/hierarchy.html", "Hierarchies", page={"none": True})


async def hierarchy_page(visit: Visit) -> Response:
    """The tree, and the chosen node beside it."""
    return await _show(visit, _view(visit))


async def _show(visit: Visit, view: View, refused: Refused | None = None) -> Response:
    async with visit.uow() as uow:
        hierarchies = await _hierarchies(uow)
        current = next((h for h in hierarchies if h["code"] == view.code), None)
        if current is None:
            raise NotFound("There is no such hierarchy, or you may not see it.")
        day = view.as_of or uow.now.date()
        nodes = await tree(uow, view.code, as_of=view.as_of)
        comparison = (
            await compare(uow, view.code, earlier=min(view.compare, day), later=max(view.compare, day))
            if view.compare is not None and view.compare != day
            else None
        )
        may = {action: visit.may(action, NODE) is not None for action in ("create", "update", "import", "export")}
        page = {
            "none": False,
            "code": view.code,
            "label": current["label"],
            "others": [{**h, "href": f"/hierarchies/{quote(h['code'])}", "current": h is current} for h in hierarchies],
            "tree": hierarchy_view.tree_rows(view, nodes, comparison, visit.formats),
            "day": day.isoformat(),
            "day_text": visit.formats.date(day),
            "is_today": view.as_of is None or view.as_of == uow.now.date(),
            "today": uow.now.date().isoformat(),
            "view": {
                "as_of": _iso(view.as_of),
                "compare": _iso(view.compare),
                "node": view.node or "",
                "q": view.search,
            },
            "comparison": {
                "with": visit.formats.date(view.compare),
                "tally": hierarchy_view.tally(comparison),
                "end_href": view.href(compare=None),
            }
            if comparison is not None and view.compare is not None
            else None,
            "node": await _node(visit, uow, view, day) if view.node else None,
            "may": may,
            "href": f"/hierarchies/{quote(view.code)}",
            "codes": [{"code": n.code, "label": n.label} for n in nodes[:MOST_ROWS_SHOWN]],
            "refused": _refused(refused),
        }
        status = refused.error.status if refused is not None else 200
        return await visit.page(uow, "steps/hierarchy.html", current["label"], status=status, page=page)


def _refused(refused: Refused | None) -> dict[str, Any]:
    if refused is None:
        return {"place": "", "values": {}, "errors": {}, "error": ""}
    errors = {problem.path: problem.message for problem in refused.error.problems}
    return {
        "place": refused.place,
        "values": dict(refused.values),
        "errors": errors,
        "error": "" if errors else refused.error.detail,
    }


async def _hierarchies(uow: UnitOfWork) -> list[dict[str, Any]]:
    authorize(uow, "read", NODE)
    table = uow.table("hierarchy")
    statement = scope(select(table.c.id, table.c.code, table.c.label), uow, "read", "hierarchy")
    return [dict(row) for row in (await uow.execute(statement.order_by(table.c.label))).mappings()]


async def _node(visit: Visit, uow: UnitOfWork, view: View, day: date) -> dict[str, Any]:
    node = await node_by_code(uow, view.code, view.node or "")
    timeline = await timeline_of(uow, node.id)
    table = uow.table(NODE)
    ids = {version.parent_id for version in timeline if version.parent_id}
    rows = await uow.execute(
        select(table.c.id, table.c.code, table.c.row_version).where(table.c.id.in_([*ids, node.id]))
    )
    names: dict[UUID, str] = {}
    version = 0
    for row in rows:
        names[row.id] = row.code
        version = row.row_version if row.id == node.id else version
    panel = hierarchy_view.node_panel(
        view,
        node,
        timeline,
        await where_used(uow, node.id),
        names=names,
        day=day,
        formats=visit.formats,
        registry=visit.runtime.registry,
    )
    return {**panel, "id": str(node.id), "row_version": version, "record_href": f"/data/hierarchy-nodes/{node.id}"}


# -- changes -----------------------------------------------------------------------------------------------------------


async def change_page(visit: Visit) -> Response:
    """Add, rename, move, retire or restore a node, or set its attributes, from a date on."""
    view, form = _view(visit), await visit.form()
    action = visit.request.path_params["action"]
    if action not in ACTIONS:
        raise NotFound("There is no such page.")
    view = replace(view, node=_text(form, "node") or None, as_of=_date(_text(form, "as_of"), "as_of"))
    typed = {name: _text(form, name) for name in form if isinstance(form.get(name), str)}
    try:
        async with visit.uow() as uow:
            code = await CHANGES[action](uow, view.code, typed)
    except (Unauthenticated, NotFound, Forbidden):
        raise
    except StepsError as error:
        return await _show(visit, view, Refused(action, error, typed))
    return visit.go(view.href(node=code), flash=f"{code}: {SAID[action]}.")


async def _add(uow: UnitOfWork, hierarchy: str, typed: Mapping[str, str]) -> str:
    parent_id = await _by_code(uow, hierarchy, typed.get("parent", ""), "parent")
    await service.add_node(
        uow,
        hierarchy_code=hierarchy,
        code=typed.get("code", ""),
        label=typed.get("label", ""),
        parent_id=parent_id,
        effective=_effective(typed),
        attributes={"kind": typed["kind"]} if typed.get("kind") else {},
        reason=typed.get("reason") or None,
    )
    return typed["code"]


async def _rename(uow: UnitOfWork, hierarchy: str, typed: Mapping[str, str]) -> str:
    node = await node_by_code(uow, hierarchy, typed.get("node", ""))
    await service.rename_node(
        uow,
        node_id=node.id,
        label=typed.get("label", ""),
        expected_version=_version(typed),
        effective=_effective(typed),
        reason=typed.get("reason") or None,
    )
    return node.code


async def _move(uow: UnitOfWork, hierarchy: str, typed: Mapping[str, str]) -> str:
    node = await node_by_code(uow, hierarchy, typed.get("node", ""))
    await service.move_node(
        uow,
        node_id=node.id,
        parent_id=await _by_code(uow, hierarchy, typed.get("parent", ""), "parent"),
        expected_version=_version(typed),
        effective=_effective(typed),
        reason=typed.get("reason") or None,
    )
    return node.code


async def _attributes(uow: UnitOfWork, hierarchy: str, typed: Mapping[str, str]) -> str:
    node = await node_by_code(uow, hierarchy, typed.get("node", ""))
    given: dict[str, Any] = {
        name.removeprefix("attribute."): value or None for name, value in typed.items() if name.startswith("attribute.")
    }
    if typed.get("new_name"):
        given[typed["new_name"]] = typed.get("new_value") or None
    await service.set_attributes(
        uow,
        node_id=node.id,
        attributes=given,
        expected_version=_version(typed),
        effective=_effective(typed),
        reason=typed.get("reason") or None,
    )
    return node.code


async def _retire(uow: UnitOfWork, hierarchy: str, typed: Mapping[str, str]) -> str:
    node = await node_by_code(uow, hierarchy, typed.get("node", ""))
    await service.retire_node(
        uow,
        node_id=node.id,
        expected_version=_version(typed),
        effective=_effective(typed),
        reason=typed.get("reason", ""),
    )
    return node.code


async def _restore(uow: UnitOfWork, hierarchy: str, typed: Mapping[str, str]) -> str:
    node = await node_by_code(uow, hierarchy, typed.get("node", ""))
    await service.restore_node(
        uow,
        node_id=node.id,
        expected_version=_version(typed),
        effective=_effective(typed),
        reason=typed.get("reason", ""),
    )
    return node.code


CHANGES: Mapping[str, Callable[[UnitOfWork, str, Mapping[str, str]], Awaitable[str]]] = {
    "add": _add,
    "rename": _rename,
    "move": _move,
    "attributes": _attributes,
    "retire": _retire,
    "restore": _restore,
}
SAID = {
    "add": "the node is added",
    "rename": "the new name is kept",
    "move": "it has a new place",
    "attributes": "the attributes are kept",
    "retire": "it ends on the date",
    "restore": "it is in force again",
}


async def _by_code(uow: UnitOfWork, hierarchy: str, code: str, path: str) -> UUID | None:
    if not code:
        return None
    try:
        return (await node_by_code(uow, hierarchy, code)).id
    except NotFound as error:
        raise ValidationFailed([FieldProblem(path, error.detail, "unknown")]) from None


# -- import and export -------------------------------------------------------------------------------------------------


async def import_page(visit: Visit) -> Response:
    """Choose a file (GET); see what it would change (POST); and carry that out (POST with `confirm`)."""
    code = _view(visit).code
    if visit.request.method == "GET":
        return await _import(visit, code, {})
    form = await visit.form()
    typed = {name: _text(form, name) for name in ("as_of", "retire_missing", "reason")}
    confirmed = _text(form, "confirm") == "yes"
    try:
        as_of = _date(typed["as_of"], "as_of")
        given = form.get("content") if confirmed else await _uploaded(form)
        if not isinstance(given, str):
            raise InvalidRequest("Choose a file first.")
        async with visit.uow() as uow:
            day = as_of or uow.now.date()
            retire = typed["retire_missing"] == "yes"
            plan = await plan_import(uow, hierarchy_code=code, rows=read_csv(given), as_of=day, retire_missing=retire)
            if not confirmed:
                return await _preview(visit, uow, plan, content=given, typed=typed)
            if plan.basis != _text(form, "basis"):
                error = "The tree has changed since you looked at this; look at the new differences before you confirm."
                return await _preview(visit, uow, plan, content=given, typed=typed, error=error)
            counts = await apply_import(uow, plan, reason=typed["reason"] or None)
    except (Unauthenticated, NotFound, Forbidden):
        raise
    except StepsError as error:
        return await _import(visit, code, typed, error)
    done = ", ".join(f"{getattr(counts, name)} {name}" for name in counts.__slots__ if getattr(counts, name))
    return visit.go(f"/hierarchies/{quote(code)}", flash=f"Imported: {done or 'nothing had changed'}.")


async def _uploaded(form: FormData) -> str | None:
    upload = form.get("file")
    if not isinstance(upload, UploadFile) or not upload.filename:
        return None
    content = await upload.read(min(MAX_BYTES, MAX_IMPORT_BYTES) + 1)
    if len(content) > MAX_IMPORT_BYTES:
        raise InvalidRequest("The file is larger than 1.5 MB; divide it, or import it with the command line.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidRequest("The file is not UTF-8 text; save it as “CSV UTF-8”.") from None


async def _import(visit: Visit, code: str, typed: Mapping[str, str], error: StepsError | None = None) -> Response:
    async with visit.uow() as uow:
        authorize(uow, "import", NODE)
        page = {
            **await _import_head(uow, code),
            "plan": None,
            "typed": {"as_of": uow.now.date().isoformat(), "retire_missing": "", "reason": "", **typed},
            "error": error.detail if error else "",
        }
        status = error.status if error else 200
        return await visit.page(uow, "steps/hierarchy_import.html", "Import", status=status, page=page)


async def _import_head(uow: UnitOfWork, code: str) -> dict[str, Any]:
    current = next((h for h in await _hierarchies(uow) if h["code"] == code), None)
    if current is None:
        raise NotFound("There is no such hierarchy, or you may not see it.")
    href = f"/hierarchies/{quote(code)}"
    return {"code": code, "label": current["label"], "href": href, "action": f"{href}/import"}


async def _preview(
    visit: Visit,
    uow: UnitOfWork,
    plan: ImportPlan,
    *,
    content: str,
    typed: Mapping[str, str],
    error: str = "",
) -> Response:
    rows, counts = hierarchy_view.plan_rows(plan, visit.formats), plan_counts(plan)
    page = {
        **await _import_head(uow, plan.hierarchy_code),
        "typed": dict(typed),
        "error": error,
        "plan": {
            "basis": plan.basis,
            "content": content,
            "rows": rows[:MOST_ROWS_SHOWN],
            "more": max(0, len(rows) - MOST_ROWS_SHOWN),
            "empty": plan.is_empty,
            "problems": [{"row": p.row_number, "text": p.message} for p in plan.problems[:MOST_ROWS_SHOWN]],
            "counts": [f"{getattr(counts, n)} {n}" for n in counts.__slots__ if getattr(counts, n)],
            "day": visit.formats.date(plan.as_of),
        },
    }
    status = 422 if plan.problems else (412 if error else 200)
    return await visit.page(uow, "steps/hierarchy_import.html", "Import", status=status, page=page)


async def export_page(visit: Visit) -> Response:
    """The tree as a file that the import reads. POST, because it goes on record."""
    view, form = _view(visit), await visit.form()
    as_of = _date(_text(form, "as_of"), "as_of")
    async with visit.uow() as uow:
        content = await export_csv(uow, hierarchy_code=view.code, as_of=as_of)
        day = as_of or uow.now.date()
    headers = {"content-disposition": f"attachment; filename*=UTF-8''{quote(f'{view.code}_{day}.csv')}"}
    return Response(content.encode("utf-8-sig"), media_type="text/csv; charset=utf-8", headers=headers)


# -- reading what was sent ---------------------------------------------------------------------------------------------


def _view(visit: Visit) -> View:
    query = visit.request.query_params
    return View(
        code=visit.request.path_params["code"],
        as_of=_date(query.get("as_of", ""), "as_of"),
        compare=_date(query.get("compare", ""), "compare"),
        node=query.get("node") or None,
        search=query.get("q", "").strip()[:100],
    )


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""


def _iso(day: date | None) -> str:
    return day.isoformat() if day else ""


def _date(text: str, path: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ValidationFailed([FieldProblem(path, "write a date such as 2026-10-30")]) from None


def _effective(typed: Mapping[str, str]) -> date | None:
    return _date(typed.get("effective", ""), "effective")


def _version(typed: Mapping[str, str]) -> int:
    given = typed.get("version", "")
    if not given.isdecimal() or len(given) > 18:
        raise InvalidRequest("The form has lost the version of the node. Reload the page and repeat your change.")
    return int(given)


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/hierarchies", first_page),
    PageRoute("/hierarchies/{code}", hierarchy_page),
    PageRoute("/hierarchies/{code}/import", import_page, ("GET", "POST")),
    PageRoute("/hierarchies/{code}/export", export_page, ("POST",)),
    PageRoute("/hierarchies/{code}/change/{action}", change_page, ("POST",)),
)
