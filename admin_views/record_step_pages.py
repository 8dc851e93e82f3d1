"""The page of a record, and the steps taken on it. A refused step shows the page again, with what was typed."""

from typing import TYPE_CHECKING
from uuid import UUID

from admin_views import details
from admin_views.form_values import given_values, read_posted
from admin_views.record_steps import RefusedStep, follows_lifecycle, step_model, steps_log, steps_panel
from app.core.errors import Conflict, StaleVersion, StepsError, ValidationFailed
from app.domain.entities.queries import get_record
from app.domain.lifecycles.transitions import StepOutcome, transition_record

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.responses import Response

    from admin_views.base import StepsModelView
    from admin_views.visit import Visit

OWN = frozenset({"csrf_token", "row_version", "comment", "tab"})
# Refusals by permission are answered by a page of their own, which puts them on record.
SHOWN_ON_PAGE = (StaleVersion, ValidationFailed, Conflict)


async def show_record(
    visit: "Visit", view: "StepsModelView", id_: UUID, *, tab: str, refused: RefusedStep | None = None
) -> "Response":
    """The record with its state, its steps, and the tab that was asked for."""
    async with visit.uow() as uow:
        found = await details.read_record(uow, view.entity, id_, tab=tab)
        steps, problem = None, None
        if follows_lifecycle(view.entity, found.records[0]):
            try:
                steps = await steps_panel(visit, view, uow, found, refused=refused)
            except Conflict as error:  # its lifecycle does not fit any more; the record is still there to be read
                problem = error.detail
        tab = "details" if steps is None and tab == "steps" else tab
        page = await details.detail_page(visit, view, uow, found, tab=tab, steps=steps)
        page["problem"] = problem
        page["log"] = await steps_log(visit, uow, view.entity, id_) if tab == "steps" else None
        status = refused.error.status if refused is not None else 200
        return await visit.page(uow, "steps/detail.html", page["title"], page=page, status=status)


async def take_step(visit: "Visit", view: "StepsModelView", id_: UUID) -> "Response":
    """Take the step; `row_version` is the one on which the person decided."""
    form = await visit.form()
    name, comment = visit.request.path_params["name"], _text(form, "comment")
    given = _text(form, "row_version")
    version = int(given) if given.isascii() and given.isdigit() and len(given) < 10 else 0
    async with visit.uow() as uow:
        found = await get_record(uow, view.entity.name, id_)
    names = [field.name for field in view.entity.fields if field.name in form and field.name not in OWN]
    model = step_model(visit.runtime.registry, view.entity, names)
    posted = read_posted(model, form)
    posted.extra.pop("comment", None)
    try:
        values = given_values(model, posted, visit.formats, record=found.records[0])
        if values.problems:
            raise ValidationFailed(values.problems)
        async with visit.uow() as uow:
            done = await transition_record(
                uow,
                entity=view.entity.name,
                record_id=id_,
                name=name,
                expected_version=version,
                comment=comment or None,
                values=values.values,
            )
    except SHOWN_ON_PAGE as error:
        refused = RefusedStep(name, _in_words(error), comment, posted)
        return await show_record(visit, view, id_, tab="details", refused=refused)
    return visit.go(f"{view.path}/{id_}", flash=said(done))


def said(done: StepOutcome) -> str:
    """What the next page says: the step by its label, and where it led."""
    if done.waiting_for:
        people = "one more person" if done.waiting_for == 1 else f"{done.waiting_for} more people"
        return f"{done.label}: your approval counts. It takes {people}."
    return f"{done.label}: the state is “{done.to_label}” now."


def _in_words(error: StepsError) -> StepsError:
    """A stale record is shown as it is now, so the text need not ask to load it again."""
    if isinstance(error, StaleVersion):
        return StaleVersion("Somebody changed this record meanwhile. Here it is as it is now; decide anew.")
    return error


def _text(form: "FormData", name: str) -> str:
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""
