"""Schedules: what a rule will do over 24 months, while it is entered and after; what has become of its occurrences."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select
from starlette.responses import Response

from admin_views.form_model import form_model
from admin_views.form_values import given_values, read_posted
from admin_views.pages import PageRoute
from admin_views.schedule_view import legend, simulation_view
from admin_views.switching import problem_text, switch_action, switch_page
from admin_views.visit import Visit, record_id
from app.core.errors import NotFound, StepsError, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope, scope
from app.domain.schedules.horizon import SCHEDULE
from app.domain.schedules.preview import read_values, simulate, simulate_schedule
from app.domain.schedules.service import OCCURRENCE, create_run_of
from app.domain.schedules.wording import day_text

HREF = "/schedules"
MOST_SHOWN = 60
TONES = {"created": "ready", "omitted": "skipped", "failed": "failed"}
ACTIVE = {"tone": "ready", "label": "Active"}
INACTIVE = {"tone": "on_hold", "label": "Switched off"}
OFF = "It creates no runs until it is switched on again. Runs that it has created go on."
ON = "It creates runs again, from the next date on. Dates that have passed meanwhile are not made up for."
CATCH_UP = {"all": "creates all that were missed", "latest": "creates the latest one", "none": "creates none"}


async def schedule_page(visit: Visit) -> Response:
    """One schedule."""
    return await _show(visit, _id(visit))


async def _show(visit: Visit, id_: UUID, error: StepsError | None = None) -> Response:
    async with visit.uow() as uow:
        await require_in_scope(uow, "read", SCHEDULE, id_)
        row = await _schedule(uow, id_)
        page = {
            **_head(visit, row),
            "switch": switch_action(visit, row, SCHEDULE, HREF, off=OFF, on=ON),
            "error": problem_text(error),
            "simulation": None,
            "problem": "",
            "legend": legend(),
            "occurrences": await _occurrences(visit, uow, id_),
            "live_topic": f"{SCHEDULE}:{id_}" if visit.site.listener is not None else None,
        }
        try:
            page["simulation"] = simulation_view(await simulate_schedule(uow, id_), visit.formats)
        except StepsError as problem:
            page["problem"] = "; ".join(p.message for p in problem.problems) or problem.detail
        status = error.status if error else 200
        return await visit.page(uow, "steps/schedule.html", row["label"], status=status, page=page)


async def _schedule(uow: UnitOfWork, id_: UUID) -> Mapping[Any, Any]:
    s, w, n = uow.table(SCHEDULE), uow.table("workflow"), uow.table("hierarchy_node")
    statement = (
        select(s, w.c.label.label("workflow_label"), w.c.active.label("workflow_active"), n.c.label.label("node_label"))
        .join(w, w.c.id == s.c.workflow_id)
        .outerjoin(n, n.c.id == s.c.node_id)
        .where(s.c.id == id_)
    )
    return (await uow.execute(statement)).mappings().one()


def _head(visit: Visit, row: Mapping[Any, Any]) -> dict[str, Any]:
    formats = visit.formats
    until = f" to {formats.date(row['valid_until'])}" if row["valid_until"] else ""
    valid = f"from {formats.date(row['valid_from'])}{until}" if row["valid_from"] else until.strip()
    return {
        "title": row["label"],
        "code": row["code"],
        "state": {"tone": "ready", "label": "Active"}
        if row["active"]
        else {"tone": "on_hold", "label": "Switched off"},
        "trouble": row["trouble"] or "",
        "idle": ""
        if row["workflow_active"]
        else f"The workflow {row['workflow_label']} is not active: nothing is created.",
        "facts": [
            {"label": "Creates", "value": row["workflow_label"], "href": f"/workflows/{row['workflow_id']}"},
            {"label": "For", "value": row["node_label"]},
            {"label": "Next", "value": formats.instant(row["next_due_at"]) if row["next_due_at"] else "none"},
            {"label": "After an outage", "value": CATCH_UP[row["catch_up"]]},
            {"label": "Valid", "value": valid},
        ],
        "edit_href": f"/data/schedules/{row['id']}/edit" if visit.may("update", SCHEDULE) else None,
        "history_href": f"/data/schedules/{row['id']}?tab=history",
        "log_href": f'/data/schedule-occurrences?filter={{"schedule":"{row["id"]}"}}',
        "href": f"{HREF}/{row['id']}",
    }


async def _occurrences(visit: Visit, uow: UnitOfWork, id_: UUID) -> list[dict[str, Any]]:
    o, r = uow.table(OCCURRENCE), uow.table("workflow_run")
    if visit.may("read", OCCURRENCE) is None:
        return []
    statement = scope(
        select(o, r.c.reference).outerjoin(r, r.c.id == o.c.run_id).where(o.c.schedule_id == id_),
        uow,
        "read",
        OCCURRENCE,
    )
    rows = await uow.execute(statement.order_by(o.c.due_at.desc(), o.c.id).limit(MOST_SHOWN))
    may = visit.may("retry", OCCURRENCE) is not None and visit.may("create", "workflow_run") is not None
    return [
        {
            "due": visit.formats.instant(row.due_at),
            "business_date": day_text(row.business_date),
            "tone": TONES[row.state],
            "state": row.state.capitalize(),
            "reason": row.reason or "",
            "retry": visit.formats.instant(row.retry_at) if row.retry_at else "",
            "run": {"href": f"/runs/{row.run_id}", "label": row.reference or "Run"} if row.run_id else None,
            "create_href": f"{HREF}/{id_}/occurrences/{row.id}/run" if may and row.state != "created" else None,
        }
        for row in rows
    ]


async def create_page(visit: Visit) -> Response:
    """Create the run of an occurrence that was left out."""
    id_, occurrence = _id(visit), record_id(visit.request, "occurrence")
    if occurrence is None:
        raise NotFound("There is no such occurrence.")
    try:
        async with visit.uow() as uow:
            run_id = await create_run_of(uow, occurrence_id=occurrence)
    except StepsError as error:
        if error.status != 409:
            raise
        return await _show(visit, id_, error)
    return visit.go(f"/runs/{run_id}", flash="The run is created.")


async def preview_page(visit: Visit) -> Response:
    """What the form as it is now would do, as a fragment; nothing is kept."""
    form = await visit.form()
    registry = visit.runtime.registry
    model = form_model(registry, SCHEDULE)
    context: dict[str, Any] = {"simulation": None, "problem": "", "legend": legend()}
    given = given_values(model, read_posted(model, form), visit.formats, record=None)
    try:
        if given.problems:
            raise ValidationFailed(given.problems)
        entered = {name: value for name, value in given.values.items() if registry.entity(SCHEDULE).has_field(name)}
        values = read_values(registry, entered)
        async with visit.uow() as uow:
            found = await simulate(uow, values, crowded=False, schedule_id=_optional_id(form.get("_schedule")))
        context["simulation"] = simulation_view(found, visit.formats, listed=8)
    except ValidationFailed as error:
        labels = {field.name: field.label for field in registry.entity(SCHEDULE).fields}
        problem = error.problems[0]
        context["problem"] = f"{labels.get(problem.path, '')}: {problem.message}".removeprefix(": ")
    return visit.fragment("steps/_schedule_preview.html", **context)


def _optional_id(text: Any) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) and text else None
    except ValueError:
        return None


def _id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such schedule, or you may not see it.")
    return id_


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/schedules/preview", preview_page, ("POST",)),
    PageRoute("/schedules/{id}", schedule_page),
    PageRoute("/schedules/{id}/active", switch_page(SCHEDULE, HREF, _show), ("POST",)),
    PageRoute("/schedules/{id}/occurrences/{occurrence}/run", create_page, ("POST",)),
)
