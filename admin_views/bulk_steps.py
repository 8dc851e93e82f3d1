"""One step for the records that were chosen in a list: first what would happen to each, then what has happened."""

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from admin_views.navigation import record_path
from admin_views.record_steps import ICONS
from admin_views.wording import small
from app.core.errors import FieldProblem, InvalidRequest, NotFound, StepsError, TransitionRefused, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.entities.queries import ListQuery, list_records
from app.domain.lifecycles.bulk import Result, RowResult, step_many
from app.domain.lifecycles.decisions import Guard
from app.domain.lifecycles.queries import in_force
from app.domain.lifecycles.subjects import decision_on
from app.domain.lifecycles.transitions import MAX_COMMENT
from models.lifecycle import TransitionDef
from models.schema import EntityDef

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.responses import Response

    from admin_views.base import StepsModelView
    from admin_views.visit import Visit

MOST = 1_000
MAX_FILTER = 20_000
MARKS = {
    Result.DONE: ("done", "check"),
    Result.APPROVED: ("in_review", "checks"),
    Result.REFUSED: ("warn", "lock"),
    Result.STALE: ("stale", "refresh-alert"),
    Result.NOT_FOUND: ("void", "eye-off"),
}


def offered_steps(uow: UnitOfWork, entity: EntityDef) -> list[TransitionDef]:
    """The steps of the lifecycles in force that the actor may take on some record, each name once."""
    if not entity.takes_steps:
        return []
    found: dict[str, TransitionDef] = {}
    for lifecycle in in_force(uow, entity.name):
        for step in lifecycle.definition.transitions:
            if step.name not in found and decision_on(uow, entity, step) is not None:
                found[step.name] = step
    return list(found.values())


def bulk_actions(uow: UnitOfWork, entity: EntityDef, base: str) -> list[dict[str, Any]]:
    """The `bulk` of steps/list.html: each leads to the page that says what would happen."""
    lifecycles = in_force(uow, entity.name)
    to = {step.name: version.states[step.to] for version in lifecycles for step in version.definition.transitions}
    return [
        {
            "name": step.name,
            "label": step.label,
            "icon": ICONS[to[step.name].category],
            "href": f"{base}/steps/{step.name}",
            "ask": "page",
            "confirm": None,
            "danger": step.tone == "danger",
        }
        for step in offered_steps(uow, entity)
    ]


async def take_steps(visit: "Visit", view: "StepsModelView") -> "Response":
    """Show what the step would do to each record; with `confirmed`, do it and show what it did."""
    form, name, entity = await visit.form(), visit.request.path_params["name"], view.entity
    confirmed, comment = form.get("confirmed") == "yes", _text(form, "comment")
    error: StepsError | None = None
    async with visit.uow() as uow:
        ids = await _chosen(uow, entity, form)
    if confirmed:
        try:
            if len(comment) > MAX_COMMENT:
                comment = comment[:MAX_COMMENT]
                raise ValidationFailed([FieldProblem("comment", f"At most {MAX_COMMENT:,} characters.", "too_long")])
            async with visit.uow() as uow:
                step = _step(uow, entity, name)
                if step.require_comment and not comment:
                    raise ValidationFailed([FieldProblem("comment", "Say why.", "required")])
                results = await step_many(uow, entity=entity.name, name=name, record_ids=ids, comment=comment)
                return await _page(visit, view, uow, step, results, comment=comment, done=True)
        except (TransitionRefused, ValidationFailed) as refused:
            error = refused
    async with visit.uow() as uow:
        step = _step(uow, entity, name)
        # The comment is entered on this very page, so that it is missing refuses nothing yet.
        entered = comment or ("…" if step.require_comment else None)
        results = await step_many(uow, entity=entity.name, name=name, record_ids=ids, comment=entered, dry_run=True)
        return await _page(visit, view, uow, step, results, comment=comment, done=False, error=error)


def _step(uow: UnitOfWork, entity: EntityDef, name: str) -> TransitionDef:
    for lifecycle in in_force(uow, entity.name):
        if name in lifecycle.transitions:
            return lifecycle.transitions[name]
    raise NotFound(f"No lifecycle of {small(entity.label_plural)} that is in force has the step {name[:48]!r}.")


async def _chosen(uow: UnitOfWork, entity: EntityDef, form: "FormData") -> list[UUID]:
    """The records by their ids, or all that the list's filter holds."""
    if form.get("all") != "1":
        ids = [id_ for text in form.getlist("ids") if (id_ := _uuid(text)) is not None]
        if not ids:
            raise InvalidRequest("No records are chosen. Go back to the list and tick some.")
        if len(ids) > MOST:
            raise InvalidRequest(f"At most {MOST:,} records at once; these are {len(ids):,}.")
        return ids
    query = ListQuery(filter=_filter(form), search=_text(form, "q")[:200], fields=("id",), limit=MOST)
    found = await list_records(uow, entity.name, query)
    if found.next_cursor is not None:
        raise InvalidRequest(f"These are more than {MOST:,} records. Filter the list until it holds fewer.")
    return [record["id"] for record in found.records]


def _filter(form: "FormData") -> Any:
    text = _text(form, "filter")
    if len(text) > MAX_FILTER:
        raise InvalidRequest("The filter is too long.")
    try:
        return json.loads(text) if text else None
    except (json.JSONDecodeError, RecursionError):
        raise InvalidRequest("The filter cannot be read. Go back to the list and choose again.") from None


async def _page(
    visit: "Visit",
    view: "StepsModelView",
    uow: UnitOfWork,
    step: TransitionDef,
    results: list[RowResult],
    *,
    comment: str,
    done: bool,
    error: StepsError | None = None,
) -> "Response":
    entity = view.entity
    fit = [result for result in results if result.fits]
    page: dict[str, Any] = {
        "title": f"{step.label}: {len(results)} {small(entity.label if len(results) == 1 else entity.label_plural)}",
        "crumbs": [{"label": entity.label_plural, "href": view.path}, {"label": step.label, "href": None}],
        "step": step.label,
        "done": done,
        "danger": step.tone == "danger",
        "summary": _summary(results, done=done),
        "rows": [_row(entity, result, done=done) for result in results],
        "fit": len(fit),
        "ids": [str(result.record_id) for result in fit],
        "action": f"{view.path}/steps/{step.name}",
        "back_href": view.path,
        "comment": comment,
        "comment_required": step.require_comment,
        "error": error.detail if error is not None else None,
    }
    status = error.status if error is not None else 200
    return await visit.page(uow, "steps/bulk_steps.html", page["title"], page=page, status=status)


def _summary(results: list[RowResult], *, done: bool) -> list[dict[str, Any]]:
    """How many records fare in which way."""
    words = {
        Result.DONE: "done" if done else "would be done",
        Result.APPROVED: "approved, and wait for more people"
        if done
        else "would be approved, and wait for more people",
        Result.REFUSED: "refused" if done else "would be refused",
        Result.STALE: "changed meanwhile",
        Result.NOT_FOUND: "not there any more, or not for you to see",
    }
    counts = {kind: sum(result.result is kind for result in results) for kind in Result}
    return [
        {"tone": MARKS[kind][0], "icon": MARKS[kind][1], "count": count, "text": words[kind]}
        for kind, count in counts.items()
        if count
    ]


def _row(entity: EntityDef, result: RowResult, *, done: bool) -> dict[str, Any]:
    tone, icon = MARKS[result.result]
    verdict = {
        Result.DONE: "Done" if done else "Possible",
        Result.APPROVED: "Approved" if done else "Your approval counts",
        Result.REFUSED: "Refused",
        Result.STALE: "Changed meanwhile",
        Result.NOT_FOUND: "Not found",
    }[result.result]
    satisfy = result.refusal.satisfy if result.refusal and result.refusal.guard is not Guard.STATE else ""
    return {
        "title": result.title or f"{entity.label} {str(result.record_id)[-8:]}",
        "href": record_path(entity, result.record_id) if result.result is not Result.NOT_FOUND else None,
        "from": result.from_state,
        "to": result.to_state if result.to_state != result.from_state else "",
        "tone": tone,
        "icon": icon,
        "verdict": verdict,
        "said": f"{result.said} {satisfy}".strip(),
    }


def _uuid(text: Any) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _text(form: "FormData", name: str) -> str:
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""
