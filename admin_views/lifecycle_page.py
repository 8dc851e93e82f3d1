"""What the page of a lifecycle reads and says: which version, its editor or its words, findings and settings."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import text
from starlette.datastructures import FormData
from starlette.responses import Response

from admin_views import lifecycle_view as view
from admin_views.lifecycle_form import Rows, condition_text, rows_of
from admin_views.visit import Visit
from admin_views.wording import sentence, small
from app.core.errors import FieldProblem, NotFound, StepsError, ValidationFailed
from app.core.findings import Finding, Severity
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.lifecycles.impact import Impact, VersionSummary, impact_of
from app.domain.lifecycles.publishing import findings_in, read_checked
from models.lifecycle import LifecycleDef
from models.schema import EntityDef

READ_HEAD = text("SELECT * FROM lifecycle WHERE id = :id")
LOCK_HEAD = text("SELECT * FROM lifecycle WHERE id = :id FOR UPDATE")
GONE = "There is no such lifecycle."


async def show(
    visit: Visit,
    id_: UUID,
    *,
    rows: Rows | None = None,
    error: StepsError | None = None,
    settings: FormData | None = None,
    row_version: int | None = None,
) -> Response:
    """The page; `rows` is what was typed into the editor and refused, `error` why."""
    async with visit.uow() as uow:
        authorize(uow, "read", "lifecycle")
        head = await head_of(uow, id_)
        impact = await impact_on(uow, head)
        shown = _chosen(visit, impact, drafts=rows is not None)
        page = await _page(visit, uow, head, impact, shown, rows=rows, error=error, row_version=row_version)
        page["settings"] = await _settings(uow, head, settings, error)
        status = error.status if error is not None else 200
        return await visit.page(uow, "steps/lifecycle.html", head["label"], page=page, status=status)


async def _page(
    visit: Visit,
    uow: UnitOfWork,
    head: dict[str, Any],
    impact: Impact,
    shown: VersionSummary | None,
    *,
    rows: Rows | None,
    error: StepsError | None,
    row_version: int | None,
) -> dict[str, Any]:
    path, entity = f"/lifecycles/{head['id']}", uow.registry.entities.get(head["entity"])
    definition, findings = await _checked(uow, shown)
    may = visit.may("configure", "lifecycle") is not None and not head["protected"]
    is_draft = shown is not None and shown.state == "draft"
    plural = small(entity.label_plural) if entity is not None else head["entity"]
    edits = is_draft and may and entity is not None
    offers = await view.offers_for(uow, entity) if edits and entity is not None else None
    if rows is None and definition is not None and edits:
        rows = rows_of(definition, notes=(shown.notes or "") if shown is not None else "")
    roles: Mapping[str, str] = dict(offers.roles) if offers else await _role_labels(uow)
    roles = view.ENGINE_ROLES if head["protected"] else roles
    by_place = view.findings_by_place(findings)
    problems = error.problems if error is not None else ()
    beside = [p for p in problems if p.path[:2] in ("s-", "t-")]
    lines = view.impact_lines(impact, shown.number, plural, visit.formats) if shown is not None and is_draft else []
    tone, word = view.VERSION_TONES.get(shown.state, ("draft", "")) if shown is not None else ("draft", "No version")
    return {
        "id": str(head["id"]),
        "path": path,
        "code": head["code"],
        "label": head["label"],
        "description": head["description"] or "",
        "entity": entity.label_plural if entity is not None else head["entity"],
        "entity_href": f"/data/{entity.slug}" if entity is not None else None,
        "plural": plural,
        "protected": head["protected"],
        "active": head["active"],
        "version": {
            "id": str(shown.id), "number": shown.number, "tone": tone, "word": f"{word}, version {shown.number}",
            "row_version": row_version or shown.row_version, "is_draft": is_draft, "notes": shown.notes or "",
        } if shown is not None else None,
        "may": may,
        "has_draft": any(version.state == "draft" for version in impact.versions),
        "versions": view.version_rows(path, impact, visit.formats, shown=shown.id if shown is not None else None),
        "diagram": view.picture(definition, impact, shown.id) if definition is not None and shown is not None else None,
        "reading": view.reading(definition, entity, uow.registry, roles) if definition is not None else None,
        "editor": view.editor(rows, by_place, view.errors_by_control(beside), offers) if rows and offers else None,
        "titles": await _titles(uow, entity, rows) if rows and entity else {},
        "findings": by_place.get("", []),
        "errors": sum(finding.severity is Severity.ERROR for finding in findings),
        "warnings": sum(finding.severity is not Severity.ERROR for finding in findings),
        "impact": lines,
        "problem": _problem(error, beside),
        "live": f"lifecycle:{head['id']}" + (f" lifecycle_version:{shown.id}" if shown is not None else ""),
    }  # fmt: skip


async def _checked(uow: UnitOfWork, shown: VersionSummary | None) -> tuple[LifecycleDef | None, list[Finding]]:
    """The version as a definition, None where its rows make none, and what is wrong with it."""
    if shown is None:
        return None, []
    try:
        definition, entity = await read_checked(uow, shown.id)
    except ValidationFailed as error:
        return None, [
            Finding(Severity.ERROR, "shape", "", f"{p.path}: {p.message}", "Correct it.") for p in error.problems
        ]
    if entity not in uow.registry.entities:
        message = f"There is no entity {entity} any more."
        return definition, [Finding(Severity.ERROR, "entity", "", message, "Make the lifecycle inactive.")]
    return definition, await findings_in(uow, definition, entity) if shown.state == "draft" else []


async def _role_labels(uow: UnitOfWork) -> dict[str, str]:
    return {row.code: row.label for row in await uow.execute(text("SELECT code, label FROM role"))}


async def _titles(uow: UnitOfWork, entity: EntityDef, rows: Rows) -> dict[str, str]:
    conditions = []
    for step in rows.steps:
        try:
            conditions.append(json.loads(step.guard) if step.guard else None)
        except (json.JSONDecodeError, RecursionError):
            continue
    return await view.titles_in(uow, entity, conditions)


def _problem(error: StepsError | None, beside: list[FieldProblem]) -> str | None:
    """What is said above everything; problems of a control stand at the control."""
    if error is None:
        return None
    if beside:
        count = len(beside)
        return (
            "1 thing needs attention; it is marked below."
            if count == 1
            else f"{count} things need attention; they are marked below."
        )
    if error.problems:
        return " ".join(sentence(f"{p.path}: {p.message}" if p.path else p.message) for p in error.problems[:6])
    return error.detail


async def _settings(
    uow: UnitOfWork, head: dict[str, Any], form: FormData | None, error: StepsError | None
) -> dict[str, Any]:
    entity = uow.registry.entities.get(head["entity"])
    stored = condition_text(head["applies_when"])
    typed = form is not None
    problems = error.problems if error is not None and typed else ()
    return {
        "label": text_of(form, "label") if form is not None else head["label"],
        "description": text_of(form, "description") if form is not None else head["description"] or "",
        "priority": text_of(form, "priority") if form is not None else str(head["priority"]),
        "active": form.get("active") == "yes" if form is not None else head["active"],
        "applies_when": text_of(form, "applies_when") if form is not None else stored,
        "applies_text": view.condition_in_words(head["applies_when"], entity, uow.registry)
        if head["applies_when"]
        else "",
        "row_version": head["row_version"],
        "errors": {p.path: sentence(p.message) for p in problems},
        "open": typed,
        "conditions": [f for f in view.condition_fields(uow, entity) if "." not in f["path"]] if entity else [],
        "titles": await view.titles_in(uow, entity, [head["applies_when"]]) if entity else {},
    }


def _chosen(visit: Visit, impact: Impact, *, drafts: bool) -> VersionSummary | None:
    asked = visit.request.query_params.get("version", "")
    draft = next((version for version in impact.versions if version.state == "draft"), None)
    if drafts and draft is not None:
        return draft
    if asked.isascii() and asked.isdigit() and len(asked) < 6:
        found = next((version for version in impact.versions if version.number == int(asked)), None)
        if found is None:
            raise NotFound(f"This lifecycle has no version {asked}.")
        return found
    published = next((version for version in impact.versions if version.state == "published"), None)
    return draft or published or (impact.versions[0] if impact.versions else None)


async def head_of(uow: UnitOfWork, id_: UUID, *, lock: bool = False) -> dict[str, Any]:
    """The lifecycle's row. `lock`: it is about to be written, and nobody else may change it meanwhile."""
    row = (await uow.execute(LOCK_HEAD if lock else READ_HEAD, {"id": id_})).mappings().first()
    if row is None:
        raise NotFound(GONE)
    return dict(row)


async def impact_on(uow: UnitOfWork, head: dict[str, Any]) -> Impact:
    return await impact_of(uow, lifecycle_id=head["id"], entity_name=head["entity"])


def text_of(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.strip()[:20_000] if isinstance(value, str) else ""
