"""Lifecycles: which there are, one with its versions and its picture, and the editor of a draft for administrators."""

import json
from typing import Any
from uuid import UUID

from sqlalchemy import text
from starlette.responses import Response

from admin_views.lifecycle_form import code_of, definition_from, read_rows
from admin_views.lifecycle_page import GONE, head_of, impact_on, show, text_of
from admin_views.pages import PageRoute
from admin_views.visit import Visit, record_id
from admin_views.wording import sentence
from app.core.errors import Conflict, FieldProblem, Forbidden, NotFound, StaleVersion, StepsError, ValidationFailed
from app.core.filters import FilterError, parse
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.entities.service import update_record
from app.domain.lifecycles.publishing import (
    discard_draft,
    new_draft_from,
    publish,
    save_draft,
    source_of_draft,
)
from models.lifecycle import LifecycleDef
from models.schema import EntityDef

READ_ALL = text(
    """
SELECT l.id, l.code, l.label, l.entity, l.priority, l.active, l.protected, l.description,
       max(v.number) FILTER (WHERE v.state = 'published') AS published,
       max(v.number) FILTER (WHERE v.state = 'draft') AS draft, max(v.published_at) AS at
FROM lifecycle l LEFT JOIN lifecycle_version v ON v.lifecycle_id = l.id
GROUP BY l.id ORDER BY l.entity, l.priority DESC, l.label
"""
)
FIRST = {
    "states": [{"name": "draft", "label": "Draft", "category": "draft"},
               {"name": "done", "label": "Done", "category": "final", "editable_by": []}],
    "transitions": [{"name": "finish", "label": "Finish", "from": "draft", "to": "done", "tone": "primary"}],
}  # fmt: skip


async def list_page(visit: Visit) -> Response:
    """Every lifecycle, by what it is about."""
    return await _show_list(visit)


async def create_page(visit: Visit) -> Response:
    """Begin a lifecycle with a draft of two states."""
    form = await visit.form()
    typed = {name: text_of(form, name) for name in ("label", "entity")}
    try:
        async with visit.uow() as uow:
            authorize(uow, "configure", "lifecycle")
            entity = _steppable(uow, typed["entity"])
            if not 1 <= len(typed["label"]) <= 200:
                raise ValidationFailed([FieldProblem("label", "Give it a name of at most 200 letters.")])
            codes = set((await uow.execute(text("SELECT code FROM lifecycle"))).scalars())
            code = code_of(typed["label"], codes)
            given = LifecycleDef.model_validate({"code": code, "label": typed["label"], **FIRST})
            await save_draft(uow, entity=entity.name, definition=given)
            id_ = await uow.scalar(text("SELECT id FROM lifecycle WHERE code = :code"), {"code": code})
    except (ValidationFailed, Conflict) as error:
        return await _show_list(visit, error=error, typed=typed)
    return visit.go(f"/lifecycles/{id_}", flash=f"“{typed['label']}” has a first draft; change it, then publish it.")


def _steppable(uow: UnitOfWork, name: str) -> EntityDef:
    entity = uow.registry.entities.get(name)
    if entity is None or not entity.takes_steps:
        raise ValidationFailed([FieldProblem("entity", "Choose what it is about.")])
    return entity


async def _show_list(visit: Visit, *, error: StepsError | None = None, typed: dict[str, str] | None = None) -> Response:
    async with visit.uow() as uow:
        authorize(uow, "read", "lifecycle")
        entities = uow.registry.entities
        rows = [
            {
                "href": f"/lifecycles/{row.id}",
                "label": row.label,
                "entity": entities[row.entity].label_plural if row.entity in entities else row.entity,
                "description": row.description or "",
                "published": row.published,
                "draft": row.draft,
                "active": row.active,
                "protected": row.protected,
                "priority": row.priority,
                "at": visit.formats.moment(row.at, uow.now) if row.at else "",
            }
            for row in await uow.execute(READ_ALL)
        ]
        steppable = sorted(((e.name, e.label_plural) for e in entities.values() if e.takes_steps), key=lambda e: e[1])
        page = {
            "rows": rows,
            "may": visit.may("configure", "lifecycle") is not None,
            "entities": steppable,
            "typed": typed or {},
            "errors": {p.path: sentence(p.message) for p in error.problems} if error else {},
            "error": error.detail if error is not None and not error.problems else None,
            "live": "entity:lifecycle entity:lifecycle_version",
        }
        status = error.status if error is not None else 200
        return await visit.page(uow, "steps/lifecycles.html", "Lifecycles", page=page, status=status)


async def lifecycle_page(visit: Visit) -> Response:
    """A version: the draft where there is one, else the one in force, or the one that is asked for."""
    return await show(visit, _id(visit))


async def draft_page(visit: Visit) -> Response:
    """Begin a draft: a copy of the version that is named, or of the published one."""
    id_, form = _id(visit), await visit.form()
    try:
        async with visit.uow() as uow:
            source = _uuid(form.get("version")) or await source_of_draft(uow, lifecycle_id=id_)
            draft = await new_draft_from(uow, version_id=source)
            number = await uow.scalar(text("SELECT number FROM lifecycle_version WHERE id = :id"), {"id": draft})
    except Conflict as error:
        return await show(visit, id_, error=error)
    return visit.go(
        f"/lifecycles/{id_}?version={number}", flash="A draft is begun; nothing changes until it is published."
    )


async def save_page(visit: Visit) -> Response:
    """Save the draft as it stands in the form; `then` publishes or only checks it."""
    id_, form = _id(visit), await visit.form()
    rows, then = read_rows(form), text_of(form, "then")
    version = _number(form.get("row_version"))
    try:
        async with visit.uow() as uow:
            authorize(uow, "configure", "lifecycle")
            head = await head_of(uow, id_, lock=True)
            entity = uow.registry.entities.get(head["entity"])
            definition, problems = definition_from(rows, _definition_head(head), entity, uow.registry)
            if definition is None:
                raise ValidationFailed(problems)
            draft = await save_draft(
                uow, entity=head["entity"], definition=definition, notes=rows.notes or None, expected_version=version
            )
            if then == "publish":
                await publish(uow, version_id=draft, notes=rows.notes or None)
    except Forbidden:
        raise
    except StepsError as error:
        return await show(visit, id_, rows=rows, error=error, row_version=version)
    said = {
        "publish": f"“{head['label']}” is published: new records get it from now on.",
        "check": "Saved. What is not right is said beside its place.",
    }.get(then, "Saved.")
    return visit.go(f"/lifecycles/{id_}", flash=said)


async def discard_page(visit: Visit) -> Response:
    """Delete the draft."""
    id_ = _id(visit)
    async with visit.uow() as uow:
        impact = await impact_on(uow, await head_of(uow, id_))
        draft = next((version for version in impact.versions if version.state == "draft"), None)
        if draft is None:
            raise NotFound("There is no draft of this lifecycle any more.")
        await discard_draft(uow, version_id=draft.id)
    return visit.go(
        f"/lifecycles/{id_}" if len(impact.versions) > 1 else "/lifecycles", flash="The draft is discarded."
    )


async def settings_page(visit: Visit) -> Response:
    """Name, priority, which records get it, and whether new ones do at all."""
    id_, form = _id(visit), await visit.form()
    condition = text_of(form, "applies_when")
    try:
        async with visit.uow() as uow:
            head = await head_of(uow, id_)
            values: dict[str, Any] = {
                "label": text_of(form, "label"),
                "description": text_of(form, "description") or None,
                "priority": text_of(form, "priority") or "0",
                "active": form.get("active") == "yes",
                "applies_when": _condition(uow, condition, head),
            }
            values["priority"] = _priority(values["priority"])
            version = _number(form.get("row_version"))
            await update_record(uow, "lifecycle", id_, values, expected_version=version)
    except (ValidationFailed, StaleVersion, Conflict) as error:
        return await show(visit, id_, error=error, settings=form)
    return visit.go(f"/lifecycles/{id_}", flash="Saved.")


def _condition(uow: UnitOfWork, given: str, head: dict[str, Any]) -> Any:
    if not given:
        return None
    try:
        condition = json.loads(given)
        parse(condition, uow.registry.entity(head["entity"]), uow.registry)
    except (json.JSONDecodeError, RecursionError):
        raise ValidationFailed(
            [FieldProblem("applies_when", "The condition is not JSON; correct or empty it.")]
        ) from None
    except FilterError as error:
        raise ValidationFailed([FieldProblem("applies_when", f"The condition: {error}.")]) from None
    return condition or None


def _priority(given: str) -> int:
    number = given.replace("\N{MINUS SIGN}", "-")
    if not number.lstrip("-").isdigit() or len(number) > 6:
        raise ValidationFailed([FieldProblem("priority", "Give a whole number; the highest wins.")])
    return int(number)


def _definition_head(head: dict[str, Any]) -> dict[str, Any]:
    names = ("code", "label", "priority", "applies_when")
    return {name: head[name] for name in names} | {"description": head["description"] or ""}


def _id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound(GONE)
    return id_


def _number(given: Any) -> int:
    ok = isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 10
    return int(given) if ok else 0


def _uuid(given: Any) -> UUID | None:
    try:
        return UUID(given) if isinstance(given, str) and given else None
    except ValueError:
        return None


ROUTES = (
    PageRoute("/lifecycles", list_page),
    PageRoute("/lifecycles/new", create_page, ("POST",)),
    PageRoute("/lifecycles/{id}", lifecycle_page),
    PageRoute("/lifecycles/{id}/draft", draft_page, ("POST",)),
    PageRoute("/lifecycles/{id}/save", save_page, ("POST",)),
    PageRoute("/lifecycles/{id}/discard", discard_page, ("POST",)),
    PageRoute("/lifecycles/{id}/settings", settings_page, ("POST",)),
)
