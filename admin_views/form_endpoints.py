"""New and edit: show the form, take it, and show it again with what is wrong next to each field."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from admin_views.details import drawing_of, line_references, people_of, title_of
from admin_views.form_model import FormModel, form_model
from admin_views.form_values import Posted, given_values, raw_of, read_posted
from admin_views.forms import Filling, FormPage, form_page
from admin_views.navigation import record_path
from admin_views.record_history import text_of
from admin_views.titles import titles_of
from admin_views.wording import small
from app.core.errors import Conflict, FieldProblem, Forbidden, StaleVersion, StepsError, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import require_in_scope
from app.domain.entities.history import history
from app.domain.entities.queries import Page, get_record
from app.domain.entities.record_states import SERVICE as RECORD_STATES
from app.domain.entities.record_states import RecordStates
from models.schema import EntityDef

if TYPE_CHECKING:
    from starlette.responses import Response

    from admin_views.base import StepsModelView
    from admin_views.visit import Visit

# Errors that are shown in the form, with everything that was typed.
SHOWN_IN_FORM = (ValidationFailed, Conflict, Forbidden)
MOST_VERSIONS = 200


async def show_new(visit: "Visit", view: "StepsModelView") -> "Response":
    async with visit.uow() as uow:
        authorize(uow, "create", view.entity.name)
        view.require_writable()
        return await _new_form(visit, view, uow, Filling())


async def take_new(visit: "Visit", view: "StepsModelView") -> "Response":
    """Create the record, or show the form again."""
    view.require_writable()
    form = await visit.form()
    model = form_model(visit.runtime.registry, view.entity.name)
    posted = read_posted(model, form)
    try:
        given = given_values(model, posted, visit.formats, record=None)
        if given.problems:
            raise ValidationFailed(given.problems)
        record = await view.insert_model(visit.request, given.values)
    except SHOWN_IN_FORM as error:
        filling = Filling(posted=posted, problems=problems_of(error))
        async with visit.uow() as uow:
            authorize(uow, "create", view.entity.name)
            return await _new_form(visit, view, uow, filling, status=error.status)
    return _after_save(visit, view, record["id"], form.get("_then"), f"{view.entity.label} created.")


async def _new_form(
    visit: "Visit", view: "StepsModelView", uow: UnitOfWork, filling: Filling, *, status: int = 200
) -> "Response":
    model = form_model(uow.registry, view.entity.name)
    filling.other_titles = await titles_in_form(uow, model, filling)
    page = FormPage(visit, uow, model, filling, drawing_of(visit, uow, view.entity, titles={}))
    title = f"New {small(view.entity.label)}"
    context = form_page(view, page, title=title, side=None)
    return await visit.page(uow, "steps/form.html", title, page=context, status=status)


async def show_edit(visit: "Visit", view: "StepsModelView", id_: UUID) -> "Response":
    async with visit.uow() as uow:
        await require_in_scope(uow, "update", view.entity.name, id_)
        view.require_writable()
        found = await get_record(uow, view.entity.name, id_, titles=True)
        return await _edit_form(visit, view, uow, found, Filling())


async def take_edit(visit: "Visit", view: "StepsModelView", id_: UUID) -> "Response":
    """Change the record by what differs from it, or show the form again."""
    view.require_writable()
    form = await visit.form()
    model = form_model(visit.runtime.registry, view.entity.name)
    posted, expected = read_posted(model, form), _version(form.get("row_version"))
    async with visit.uow() as uow:
        found = await get_record(uow, view.entity.name, id_, titles=True)
        record = found.records[0]
        if record["row_version"] != expected:
            await require_in_scope(uow, "update", view.entity.name, id_)
            filling = await merged(visit, uow, model, found, posted, expected=expected)
            return await _edit_form(visit, view, uow, found, filling, status=StaleVersion.status)
    try:
        given = given_values(model, posted, visit.formats, record=record)
        if given.problems:
            raise ValidationFailed(given.problems)
        await view.update_model(visit.request, str(id_), {**given.values, "row_version": expected})
    except StaleVersion:
        # Somebody was faster between our reading and our writing: the next round of this request sees their version.
        return await take_edit(visit, view, id_)
    except SHOWN_IN_FORM as error:
        async with visit.uow() as uow:
            found = await get_record(uow, view.entity.name, id_, titles=True)
            filling = Filling(posted=posted, problems=problems_of(error))
            return await _edit_form(visit, view, uow, found, filling, status=error.status)
    text = "Saved." if given.values else "Nothing was changed."
    return _after_save(visit, view, id_, form.get("_then"), text)


async def _edit_form(
    visit: "Visit", view: "StepsModelView", uow: UnitOfWork, found: Page, filling: Filling, *, status: int = 200
) -> "Response":
    entity, model = view.entity, form_model(uow.registry, view.entity.name)
    filling.record, filling.titles = found.records[0], found.titles[0] if found.titles else {}
    filling.row_version = found.records[0]["row_version"]
    filling.other_titles = {**filling.other_titles, **await titles_in_form(uow, model, filling)}
    drawing = drawing_of(visit, uow, entity, titles=filling.other_titles)
    title = title_of(entity, found, drawing)
    page = FormPage(visit, uow, model, filling, drawing)
    locked = await locked_reason(uow, entity, found.records[0])
    if locked is not None:
        page.lock(locked)
    context = form_page(view, page, title=title, side=None)
    return await visit.page(uow, "steps/form.html", title, page=context, status=status)


async def locked_reason(uow: UnitOfWork, entity: EntityDef, record: Mapping[str, Any]) -> str | None:
    """Why nobody, or not this person, changes the record in the state of its lifecycle."""
    port: RecordStates | None = uow.resources.services.get(RECORD_STATES)
    if port is None or not entity.lifecycle or entity.managed or record.get("lifecycle_version") is None:
        return None
    return await port.refusal(uow, entity, record)


async def titles_in_form(uow: UnitOfWork, model: FormModel, filling: Filling) -> dict[tuple[str, UUID], str]:
    """The titles of what was chosen, of what the lines refer to, and of who saved last; at most one statement."""
    wanted = set(_chosen(model, filling.posted))
    if uow.actor.id is not None and any(control.field.default_expr == "$me" for control in model.controls):
        wanted.add(("user", uow.actor.id))
    if filling.record is not None:
        wanted |= {*people_of(filling.record), *line_references(uow, model, filling.record)}
    return await titles_of(uow, wanted) if wanted else {}


def _chosen(model: FormModel, posted: Posted | None) -> Iterable[tuple[str, UUID]]:
    if posted is None:
        return
    values = [(control.field, posted.raw.get(control.field.name)) for control in model.controls]
    for lines in model.lines:
        for row in posted.lines.get(lines.field.name, ()):
            values += [(control.field, row.raw.get(control.field.name)) for control in lines.controls]
    for field, raw in values:
        if field.is_reference and isinstance(raw, str) and raw:
            try:
                yield field.target or "", UUID(raw)
            except ValueError:
                continue


def problems_of(error: StepsError) -> list[FieldProblem]:
    """The problems of an error; one that names no field stands for the whole form."""
    return list(error.problems) or [FieldProblem("", error.detail, error.code)]


def _version(given: Any) -> int:
    text = given if isinstance(given, str) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _after_save(visit: "Visit", view: "StepsModelView", id_: UUID, then: Any, text: str) -> "Response":
    address = f"{view.path}/{id_}"
    if then == "new":
        return visit.go(f"{view.path}/new", flash=text)
    return visit.go(f"{address}/edit" if then == "stay" else record_path(view.entity, id_), flash=text)


# -- somebody else saved first ---------------------------------------------------------------------------------------


async def merged(
    visit: "Visit", uow: UnitOfWork, model: FormModel, found: Page, posted: Posted, *, expected: int
) -> Filling:
    """What was typed over the record as it is now.

    Fields that only the others changed take their new value. Where both changed the same field, the form keeps what was
    typed, and says at the field what the others entered; saving again then overwrites it knowingly.
    """
    entity, record = model.entity, found.records[0]
    theirs = await _changed_since(uow, entity, record, expected)
    base = {name: before for name, (before, _) in theirs.items()}
    who = next((name for _, name in theirs.values()), None)
    titles = await titles_of(uow, set(_chosen(model, posted)))
    drawing = drawing_of(visit, uow, entity, titles=titles)
    problems: list[FieldProblem] = []
    rows: list[dict[str, str]] = []
    for control in model.controls:
        field = control.field
        if field.name not in base or field.name not in posted.raw:
            continue
        mine, now = posted.raw[field.name], raw_of(field, record.get(field.name), visit.formats)
        if mine == now:
            continue
        if text_of(field, base[field.name], drawing) == _said(visit, control.field, mine, drawing):
            posted.raw[field.name] = now
            continue
        shown = text_of(field, _json(field, record.get(field.name)), drawing) or "empty"
        by = theirs[field.name][1]
        problems.append(FieldProblem(field.name, f"{by} has set this to “{shown}” meanwhile; saving replaces it"))
        rows.append({"label": field.label, "theirs": shown, "mine": _said(visit, field, mine, drawing) or "empty"})
    for lines in model.lines:
        if lines.field.name in base and lines.field.name in posted.lines:
            by = theirs[lines.field.name][1]
            problems.append(
                FieldProblem(lines.field.name, f"{by} has changed these lines; saving replaces them by yours")
            )
            rows.append({"label": lines.field.label, "theirs": "changed", "mine": "as below"})
    text = _conflict_text(entity, who, bool(rows))
    conflict = {"text": text, "reload_href": f"/data/{entity.slug}/{record['id']}/edit", "fields": rows}
    return Filling(posted=posted, problems=problems, conflict=conflict)


def _conflict_text(entity: EntityDef, who: str | None, clashes: bool) -> str:
    what = f"{who or 'Somebody'} changed this {small(entity.label)} after you opened it. Nothing of yours is saved yet."
    if clashes:
        return f"{what} These fields differ; check them, then save again."
    return f"{what} Your fields do not clash with theirs, which are taken over below. Save again to keep both."


async def _changed_since(uow: UnitOfWork, entity: EntityDef, record: Any, expected: int) -> dict[str, tuple[Any, str]]:
    """Field -> (its value in the version that was edited, who changed it last), by the audit trail."""
    versions = record["row_version"] - expected
    if expected < 1 or versions < 1:
        return {}
    entries = await history(uow, entity.name, record["id"], limit=min(versions, MOST_VERSIONS))
    found: dict[str, tuple[Any, str]] = {}
    for entry in entries:  # newest first: the last one seen has the oldest value
        for name in entry["after"] or ():
            last = found[name][1] if name in found else entry["actor_name"]
            found[name] = ((entry["before"] or {}).get(name), last)
    return found


def _said(visit: "Visit", field: Any, raw: Any, drawing: Any) -> str:
    from admin_views.form_values import read_raw

    value, problem = read_raw(field, raw, visit.formats, field.name)
    return str(raw) if problem is not None else text_of(field, value, drawing)


def _json(field: Any, value: Any) -> Any:
    from models.fieldtypes import FIELD_TYPES

    return FIELD_TYPES[field.type].to_json(value)
