"""Pages about finished work that is opened again: its impact before it is done, the second person, what was signed."""

from uuid import UUID

from starlette.datastructures import FormData
from starlette.responses import Response

from admin_views import reopening_view
from admin_views.pages import PageRoute
from admin_views.visit import Visit, record_id
from app.core.errors import Conflict, InvalidRequest, NotFound, StaleVersion, StepsError, ValidationFailed
from app.domain.workflow.process_row import read_process
from app.domain.workflow.queries import get_run
from app.domain.workflow.reopening import Reopening, confirm_reopening, decline_reopening, impact_of, reopen
from app.domain.workflow.reopening_queries import read_statement, statements_of

NO_PROCESS = "There is no such process, or you may not see it."
NO_REQUEST = "There is no such request."
SHOWN_ON_PAGE = (ValidationFailed, StaleVersion, Conflict)


async def reopen_page(visit: Visit) -> Response:
    """What opening the process again means; sent from there, do it or ask for it."""
    id_ = _id(visit, "id", NO_PROCESS)
    if visit.request.method == "GET":
        return await _show(visit, id_)
    form = await visit.form()
    reason, digest, version = (_text(form, name) for name in ("reason", "digest", "version"))
    if not version.isdecimal() or len(version) > 18 or len(digest) != 64:
        raise InvalidRequest("The form is not complete; open the page again.")
    if _text(form, "accept") != "yes":
        return await _show(visit, id_, reason=reason, not_accepted=True)
    try:
        async with visit.uow() as uow:
            done = await reopen(
                uow, process_run_id=id_, expected_version=int(version), reason=reason, impact_digest=digest
            )
    except SHOWN_ON_PAGE as error:
        return await _show(visit, id_, reason=reason, error=error)
    return visit.go(f"/processes/{id_}", flash=_said(done))


async def decide_page(visit: Visit) -> Response:
    """Confirm or decline a request."""
    id_, reopening_id = _id(visit, "id", NO_PROCESS), _id(visit, "reopening_id", NO_REQUEST)
    decision, form = visit.request.path_params["decision"], await visit.form()
    try:
        async with visit.uow() as uow:
            if decision == "confirm":
                done = await confirm_reopening(uow, reopening_id=reopening_id)
            elif decision == "decline":
                done = await decline_reopening(uow, reopening_id=reopening_id, reason=_text(form, "reason"))
            else:
                raise NotFound("A request can be confirmed or declined.")
    except SHOWN_ON_PAGE as error:
        words = " ".join(problem.message for problem in error.problems) or error.detail
        return visit.go(f"/processes/{id_}", flash=f"Not done. {words}", kind="error")
    return visit.go(f"/processes/{id_}", flash=_said(done))


async def statement_page(visit: Visit) -> Response:
    """A run as it was signed, before it was restated."""
    run_id, number = (
        _id(visit, "id", "There is no such run, or you may not see it."),
        visit.request.path_params["number"],
    )
    if not number.isdecimal() or len(number) > 9:
        raise NotFound("The run has no such statement.")
    async with visit.uow() as uow:
        run = await get_run(uow, run_id)
        statement = await read_statement(uow, run_id=run_id, number=int(number))
        page = reopening_view.statement_page(statement, run_id, run.label, visit)
        return await visit.page(uow, "steps/statement.html", f"Statement {number}: {run.label}", page=page)


async def _show(
    visit: Visit, id_: UUID, *, reason: str = "", error: StepsError | None = None, not_accepted: bool = False
) -> Response:
    async with visit.uow() as uow:
        impact = await impact_of(uow, process_run_id=id_)
        row = await read_process(uow, id_)
        page = reopening_view.impact_page(row, impact, len(await statements_of(uow, row.run_id)))
        problems = {problem.path: problem.message for problem in error.problems} if error is not None else {}
        page |= {
            "reason": reason,
            "reason_error": problems.get("reason", ""),
            "accept_error": "Accept what it means first." if not_accepted else "",
            "error": error.detail if error is not None and not problems else "",
        }
        status = error.status if error is not None else 422 if not_accepted else 200
        return await visit.page(uow, "steps/reopen.html", f"Open again: {row.label}", status=status, page=page)


def _said(done: Reopening) -> str:
    if done.state == "requested":
        return "Asked. A second person confirms it or declines it."
    if done.state == "declined":
        return "Declined. It stays as it is."
    doubted = f" {len(done.stale)} in doubt until it has ended." if done.stale else ""
    return f"It is open again.{doubted}"


def _id(visit: Visit, name: str, gone: str) -> UUID:
    id_ = record_id(visit.request, name)
    if id_ is None:
        raise NotFound(gone)
    return id_


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value.replace("\r\n", "\n").strip() if isinstance(value, str) else ""


ROUTES = (
    PageRoute("/processes/{id}/reopen", reopen_page, ("GET", "POST")),
    PageRoute("/processes/{id}/reopenings/{reopening_id}/{decision}", decide_page, ("POST",)),
    PageRoute("/runs/{id}/statements/{number}", statement_page),
)
