"""The designer: a version of a workflow as a tree with an editor beside it; a published one is shown too, fixed."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from starlette.responses import Response

from admin_views.cells import cell_of
from admin_views.designer_forms import editor, offers
from admin_views.designer_graph import edge_note, graph_view
from admin_views.designer_view import (
    Address,
    contents_text,
    diff_tally,
    edge_rows,
    finding_rows,
    findings_of_problems,
    head_view,
    impact_rows,
    tree_rows,
)
from admin_views.details import drawing_of
from admin_views.forms import Filling
from admin_views.visit import Visit
from app.core.errors import NotFound, StepsError, ValidationFailed
from app.core.findings import Finding, Severity
from app.core.uow import UnitOfWork
from app.domain.entities.queries import ListQuery, list_records
from app.domain.workflow.draft_parts import contents
from app.domain.workflow.impact import Impact, impact, next_dates, versions_of
from app.domain.workflow.publishing import check_version
from app.domain.workflow.structure import ProcessLine, StageLine, Structure, VersionHead, structure, version_head

ENTITIES = {"stage": "stage", "process": "process", "edge": "process_dependency"}
MOST_EDGES = 1_000
Part = StageLine | ProcessLine


async def version_page(visit: Visit) -> Response:
    """The tree, the chosen part in the editor, what the checks say, and what publishing would change."""
    return await show(visit, address_of(visit))


async def show(
    visit: Visit,
    address: Address,
    *,
    filling: Filling | None = None,
    error: StepsError | None = None,
    status: int = 200,
) -> Response:
    """Draw the page; `filling` is what was typed into the editor and refused, `error` what else was refused."""
    async with visit.uow() as uow:
        head = await version_head(uow, code=address.code, number=address.number)
        parts = await structure(uow, version_id=head.id)
        versions = await versions_of(uow, workflow_id=head.workflow_id)
        findings, effect = await _checked(uow, head)
        may = head.is_draft and visit.may("configure", "workflow_version") is not None
        edges = await _edges(visit, uow, head)
        page = {
            "code": head.code,
            "label": head.label,
            "path": address.path,
            "self": address.href(),
            "version_id": str(head.id),
            "number": head.number,
            "is_draft": head.is_draft,
            "may": may,
            "may_draft": visit.may("configure", "workflow_version") is not None,
            "head": head_view(head, visit.formats, versions),
            "notes": head.notes or "",
            "tab": address.tab,
            "tabs": _tabs(address, parts, head, len(versions)),
            "tree": tree_rows(address, parts, findings, effect.diff if effect and head.is_draft else None),
            "edges": edge_rows(address, edges["rows"]),
            "edge_columns": edges["columns"],
            "edges_cut": edges["cut"],
            "graph": graph_view(address, parts, edges["rows"], findings) if address.tab == "dependencies" else None,
            "findings": finding_rows(address, parts, findings),
            "errors": sum(finding.severity is Severity.ERROR for finding in findings),
            "warnings": sum(finding.severity is not Severity.ERROR for finding in findings),
            "publish": _publish(effect) if head.is_draft else None,
            "compare_href": _compare_href(address, effect),
            "editor": await _editor(
                visit, uow, address=address, head=head, parts=parts, edges=edges["rows"], filling=filling, may=may
            ),
            "stages": [{"id": str(s.id), "label": f"{s.number} {s.label}"} for s in parts.stages],
            "add": _add_links(address, parts) if may else None,
            "topic": f"workflow_version:{head.id}" if visit.site.listener is not None else None,
            "error": error.detail if error is not None else "",
        }
        title = f"{head.label}, version {head.number}"
        code = status if error is None else error.status
        return await visit.page(uow, "steps/designer.html", title, status=code, page=page)


async def _checked(uow: UnitOfWork, head: VersionHead) -> tuple[list[Finding], Impact | None]:
    """Findings and impact; a draft that cannot even be read says what is wrong with it instead."""
    try:
        return await check_version(uow, version_id=head.id), await impact(uow, version_id=head.id)
    except ValidationFailed as error:
        return findings_of_problems(error.problems), None


def _publish(effect: Impact | None) -> dict[str, Any] | None:
    if effect is None:
        return None
    return {
        "digest": effect.digest,
        "tally": diff_tally(effect.diff),
        "first": effect.published is None,
        "impact": impact_rows(effect),
    }


def _compare_href(address: Address, effect: Impact | None) -> str | None:
    if effect is None or effect.published is None or effect.published.number == address.number:
        return None
    return f"/workflows/{address.code}/compare?from={effect.published.number}&to={address.number}"


def _tabs(address: Address, parts: Structure, head: VersionHead, versions: int) -> list[dict[str, Any]]:
    processes = sum(1 for _ in parts.processes())
    return [
        {"label": "Structure", "href": address.href(tab=""), "current": address.tab == "structure",
         "count": f"{processes} {'process' if processes == 1 else 'processes'}"},
        {"label": "Dependencies", "href": address.href(tab="dependencies", item=""),
         "current": address.tab == "dependencies", "count": str(head.dependencies)},
        {"label": "Versions", "href": f"/workflows/{address.code}", "current": False, "count": str(versions)},
    ]  # fmt: skip


def _add_links(address: Address, parts: Structure) -> dict[str, str | None]:
    """Where new parts would go: into the chosen stage, or the one of the chosen process."""
    stage = _stage_of(address, parts)
    below = f".{stage.code}" if stage else ""
    return {
        "stage": address.href(item="new-stage", tab=""),
        "substage": address.href(item=f"new-stage{below}", tab="") if stage else None,
        "process": address.href(item=f"new-process{below}", tab="") if stage else None,
        "edge": address.href(item="new-edge", tab="dependencies"),
    }


def _stage_of(address: Address, parts: Structure) -> StageLine | None:
    kind, _, code = address.item.partition(".")
    if kind in ("process", "new-edge") and (process := parts.process(code)) is not None:
        return next(stage for stage in parts.stages if stage.id == process.stage_id)
    return parts.stage(code) or (parts.stages[0] if parts.stages else None)


# -- the editor --------------------------------------------------------------------------------------------------------


async def _editor(
    visit: Visit,
    uow: UnitOfWork,
    *,
    address: Address,
    head: VersionHead,
    parts: Structure,
    edges: list[dict[str, Any]],
    filling: Filling | None,
    may: bool,
) -> dict[str, Any] | None:
    kind, _, code = address.item.partition(".")
    is_new = kind.startswith("new-")
    entity = ENTITIES.get(kind.removeprefix("new-"))
    if entity is None or (is_new and not may):
        return None
    part = None if is_new else _part(entity, code, parts, edges)
    if part is None and not is_new:
        return None
    preset = _preset(entity, code, parts) if is_new else {}
    drawn = await editor(
        visit,
        uow,
        entity,
        id_=None if part is None else part["id"],
        filling=filling or Filling(),
        offered=await offers(uow, parts),
        editable=may,
        preset=preset,
    )
    if drawn["conflict"]:
        drawn["conflict"]["reload_href"] = address.href()
    label = uow.registry.entity(entity).label
    stage = _stage_of(address, parts)
    return {
        **drawn,
        "entity": entity,
        "kind": kind,
        "is_new": is_new,
        "id": "" if part is None else str(part["id"]),
        "number": "" if part is None else part["number"],
        "code": "" if part is None else part["code"],
        "title": f"New {label.lower()}" if part is None else part["label"],
        "where": _where(entity, address, parts) if is_new else "",
        "stage_id": str(stage.id) if stage is not None and (entity == "process" or code) else "",
        "editable": may,
        "first": part is not None and part["first"],
        "last": part is not None and part["last"],
        "waits": [
            {**edge, "note": edge_note(edge)}
            for edge in edges
            if part is not None and edge["successor"] == str(part["id"])
        ],
        "releases": [edge for edge in edges if part is not None and edge["predecessor"] == str(part["id"])],
        "add_edge_href": address.href(item=f"new-edge.{code}"),
        "goes": await _goes(uow, entity, part) if part is not None and may else "",
        "dates": await _dates(visit, uow, head, drawn),
    }


def _where(entity: str, address: Address, parts: Structure) -> str:
    _, _, code = address.item.partition(".")
    stage = parts.stage(code)
    if entity == "process_dependency":
        return ""
    return f"in {stage.number} {stage.label}" if stage else "at the top"


def _part(entity: str, code: str, parts: Structure, edges: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The chosen part with where it stands among its neighbours."""
    if entity == "process_dependency":
        edge = next((edge for edge in edges if edge["id"] == code), None)
        if edge is None:
            return None
        label = f"{edge['from']} → {edge['to']}"
        return {"id": UUID(edge["id"]), "number": "", "code": "", "label": label, "first": True, "last": True}
    found: Part | None = parts.stage(code) if entity == "stage" else parts.process(code)
    if found is None:
        return None
    beside = _neighbours(found, parts)
    return {
        "id": found.id,
        "number": found.number,
        "code": found.code,
        "label": found.label,
        "first": beside[0].id == found.id,
        "last": beside[-1].id == found.id,
    }


def _neighbours(part: Part, parts: Structure) -> list[Part]:
    if isinstance(part, StageLine):
        return [stage for stage in parts.stages if stage.parent_id == part.parent_id]
    return [process for process in parts.processes() if process.stage_id == part.stage_id]


def _preset(entity: str, code: str, parts: Structure) -> dict[str, str]:
    process = parts.process(code) if entity == "process_dependency" else None
    return {"successor": str(process.id)} if process is not None else {}


async def _goes(uow: UnitOfWork, entity: str, part: Mapping[str, Any]) -> str:
    if entity == "process_dependency":
        return f"The dependency {part['label']} is removed from this draft."
    gone = await contents(uow, **{f"{entity}_id": part["id"]})
    return contents_text(part["label"], gone.stages, gone.processes, gone.dependencies)


async def _dates(visit: Visit, uow: UnitOfWork, head: VersionHead, drawn: Mapping[str, Any]) -> list[dict[str, str]]:
    """When the deadline in the editor falls next."""
    fields = (f for tab in drawn["tabs"] for section in tab["sections"] for f in section["fields"])
    formula = next((str(f["value"] or "") for f in fields if f["path"] == "deadline"), "")
    if not formula:
        return []
    return [
        {"day": visit.formats.date(due.business_date), "due": visit.formats.instant(due.due_at)}
        for due in await next_dates(uow, calendar_id=head.calendar_id, formula=formula)
    ]


async def _edges(visit: Visit, uow: UnitOfWork, head: VersionHead) -> dict[str, Any]:
    """The dependencies with the columns of their list; more fields in the definition are more columns."""
    query = ListQuery(filter={"version": str(head.id)}, limit=MOST_EDGES, titles=True, sort="id")
    found = await list_records(uow, "process_dependency", query)
    fields = [f for f in found.entity.fields if f.in_list and f.name not in ("version", "predecessor", "successor")]
    drawing = drawing_of(visit, uow, found.entity, titles={})
    used = [f for f in fields if f.required or any(record.get(f.name) is not None for record in found.records)]
    rows = []
    for record, titles in zip(found.records, found.titles, strict=True):
        cells = [cell_of(f, record.get(f.name), drawing, title=titles.get(f.name)).get("text", "") for f in used]
        other = " ".join(str(titles.get(n) or record.get(n) or "") for n in ("other_workflow", "other_process"))
        rows.append(
            {
                "id": str(record["id"]),
                "row_version": record["row_version"],
                "predecessor": str(record.get("predecessor") or ""),
                "successor": str(record.get("successor") or ""),
                "from": titles.get("predecessor") or other.strip() or "?",
                "to": titles.get("successor") or "?",
                "type": record["edge_type"],
                "hardness": record["hardness"],
                "lag": record.get("lag_amount"),
                "lag_unit": record.get("lag_unit"),
                "conditional": bool(record.get("condition")),
                "cells": cells,
            }
        )
    rows.sort(key=lambda row: (str(row["to"]), str(row["from"])))
    return {"columns": [f.label for f in used], "rows": rows, "cut": found.next_cursor is not None}


# -- the address -------------------------------------------------------------------------------------------------------


def address_of(visit: Visit) -> Address:
    given, query = visit.request.path_params, visit.request.query_params
    number = given["number"]
    if not number.isdecimal() or len(number) > 9:
        raise NotFound("There is no such workflow version.")
    tab = query.get("tab", "structure")
    return Address(
        code=given["code"],
        number=int(number),
        tab=tab if tab in ("structure", "dependencies") else "structure",
        item=query.get("item", "")[:120],
    )
