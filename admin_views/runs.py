"""Workflow runs: the list of a date, and one run with its stage tree, processes and activity."""

from collections.abc import Sequence
from datetime import date
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from sqlalchemy import Row, select
from starlette.responses import Response

from admin_views import forecast_view, reopening_view
from admin_views.pages import PageRoute
from admin_views.run_start import Tried, start_offer, start_run, typed_of
from admin_views.run_view import (
    VIEWS,
    Choice,
    block_row,
    event_row,
    find_stage,
    groups_below,
    in_view,
    process_line,
    run_actions,
    run_row,
    stage_count,
    stage_row,
    time_axis,
    worst_due,
)
from admin_views.visit import Visit, record_id
from admin_views.work_words import RUN_STATES, due_view, segments
from app.core.errors import InvalidRequest, NotFound, StepsError, Unauthenticated
from app.core.uow import UnitOfWork
from app.domain.access.scope import scope
from app.domain.workflow.ad_hoc import ACTION
from app.domain.workflow.overview import activity, latest_business_date
from app.domain.workflow.queries import RunSummary, StageNode, get_run, list_runs, run_tree
from app.domain.workflow.reopening_queries import statements_of
from app.domain.workflow.run_commands import cancel_run, hold_run, resume_run
from app.domain.workflow.states import RunState

SHOWN_RUNS = 60
MOST_WORKFLOWS = 300
ENDED = (RunState.DONE, RunState.CANCELLED)
SHOWN_EVENTS = 200


async def runs_page(visit: Visit) -> Response:
    """The runs of one business date, or the latest ones; filters are in the URL."""
    return await _list(visit)


async def start_page(visit: Visit) -> Response:
    """Start a run, and go there; a refusal shows the list with the dialog open."""
    typed = typed_of(await visit.form())
    try:
        href, is_new = await start_run(visit, typed)
    except StepsError as error:
        if isinstance(error, Unauthenticated) or visit.may("create", "workflow_run") is None:
            raise
        return await _list(visit, tried=Tried(error, typed))
    if is_new:
        return visit.go(href, flash="The run has started.")
    return visit.go(href, flash="The run of this date had begun already; here it is.", kind="info")


async def _list(visit: Visit, *, tried: Tried | None = None) -> Response:
    given = visit.request.query_params
    chosen = _date(given.get("date"))
    state = given.get("state", "")
    if state and state not in set(RunState):
        raise InvalidRequest(f"There is no run state {state!r}.")
    async with visit.uow() as uow:
        states = [RunState(state)] if state else []
        workflows = await _workflows(uow)
        workflow = next((row for row in workflows if row.code == given.get("workflow")), None)
        code = workflow.code if workflow else ""
        found = await list_runs(
            uow, business_date=chosen, states=states, workflow_id=workflow.id if workflow else None, limit=SHOWN_RUNS
        )
        latest = await latest_business_date(uow)
        chips = await forecast_view.chips(visit, uow, run_ids=[run.id for run in found if run.state not in ENDED])
        rows = [forecast_view.with_forecast(run_row(run, visit), chips.get(run.id)) for run in found]
        filters = [
            {"label": label, "href": _runs_url(chosen, value, code), "current": value == state}
            for value, label in (("", "All"), *((s.value, RUN_STATES[s][1]) for s in RunState))
        ]
        return await visit.page(
            uow,
            "steps/runs.html",
            "Workflow runs",
            status=tried.error.status if tried else 200,
            rows=rows,
            start=await start_offer(visit, uow, tried=tried),
            own_href=_runs_url(chosen, state, code),
            workflows=[{"code": row.code, "label": row.label, "chosen": row.code == code} for row in workflows],
            everything_href=_runs_url(None, "", ""),
            filters=filters,
            date=chosen.isoformat() if chosen else "",
            state=state,
            latest=latest.isoformat() if latest else "",
            is_cut=len(found) == SHOWN_RUNS,
        )


def _date(text: str | None) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest("The business date must look like 2026-10-30.") from None


def _runs_url(chosen: date | None, state: str, workflow: str) -> str:
    given = {"date": chosen.isoformat() if chosen else "", "state": state, "workflow": workflow}
    query = {name: value for name, value in given.items() if value}
    return "/runs" + (f"?{urlencode(query)}" if query else "")


async def _workflows(uow: UnitOfWork) -> Sequence[Row[Any]]:
    table = uow.table("workflow")
    statement = scope(select(table.c.id, table.c.code, table.c.label), uow, "read", "workflow")
    return (await uow.execute(statement.order_by(table.c.label).limit(MOST_WORKFLOWS))).all()


async def run_page(visit: Visit) -> Response:
    """One run; 404 for one that is out of scope."""
    given = visit.request.query_params
    view, tab = given.get("view", "all"), given.get("tab", "tree")
    choice = Choice(given.get("stage", ""), view if view in VIEWS else "all", tab if tab == "activity" else "tree")
    return await _show(visit, _run_id(visit), choice)


def _run_id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such run, or you may not see it.")
    return id_


async def _show(visit: Visit, run_id: UUID, choice: Choice, *, error: str = "", status: int = 200) -> Response:
    async with visit.uow() as uow:
        tree = await run_tree(uow, run_id)
        events = await activity(uow, run_id=run_id, limit=SHOWN_EVENTS) if choice.tab == "activity" else []
        run, now = tree.run, uow.now
        ahead = await forecast_view.run_forecast(visit, uow, run_id) if run.state not in ENDED else None
        predicted, risks = forecast_view.lines(ahead, visit, now), forecast_view.stage_chips(ahead, visit, now)
        statements = await statements_of(uow, run_id)
        axis = time_axis(run, now, visit, forecast_view.latest_shown(ahead, now)) if run.due_at else None
        chosen = find_stage(tree.stages, choice.stage)
        groups = list(groups_below(tree, chosen))
        lines = [line for _, found in groups for line in found]
        views = {name: [line for line in lines if in_view(name, line, visit, now)] for name in VIEWS}
        closed = run.state in (RunState.DONE, RunState.CANCELLED)
        state, word = RUN_STATES[run.state]
        context = {
            "run": {
                **run_row(run, visit),
                "id": str(run.id),
                "version": run.version_number,
                "application": run.application,
                "started": visit.formats.instant(run.started_at),
                "row_version": run.row_version,
                "percent": round(100 * run.progress.closed / run.progress.total) if run.progress.total else 0,
            },
            "state": {"state": state, "word": word},
            "closed": closed,
            "statements": reopening_view.badges(statements, run.id, visit),
            "stage_blocks": [block_row(stage, chosen, choice, run.id) for stage in tree.stages],
            "key": segments(run.progress),
            "axis": forecast_view.axis_with(axis, ahead, visit, now) if axis else None,
            "forecast": forecast_view.summary(ahead, visit, now),
            "worst": due_view(run.progress.worst_due, finished_at=None, closed=False, formats=visit.formats),
            "stages": [stage_row(stage, chosen, choice, run.id, visit, risks=risks) for stage in tree.stages],
            "stage_count": stage_count(tree.stages),
            "heading": chosen.label if chosen else "All processes",
            "shown": chosen.progress if chosen else run.progress,
            "everything_href": choice.url(run.id, stage=""),
            "groups": [
                {"label": label, "rows": rows, "worst": worst_due(found, visit)}
                for label, found in groups
                if (rows := [process_line(line, visit, now, predicted) for line in found if line in views[choice.view]])
            ],
            "views": [
                {"name": name, "label": name.capitalize(), "count": len(views[name]), "current": name == choice.view,
                 "href": choice.url(run.id, view=name)}
                for name in VIEWS
            ],
            "tabs": [
                {"label": "Tree", "icon": "list-tree", "href": choice.url(run.id, tab="tree"),
                 "current": choice.tab == "tree", "count": run.progress.total},
                {"label": "Activity", "icon": "activity", "href": choice.url(run.id, tab="activity"),
                 "current": choice.tab == "activity"},
            ],
            "tab": choice.tab,
            "events": [event_row(event, visit, now) for event in events],
            "actions": run_actions(run, visit),
            "add_href": _add_href(run, chosen, visit),
            "refresh_href": choice.url(run.id),
            "zone": visit.formats.zone_name(now),
            "error": error,
        }  # fmt: skip
        return await visit.page(uow, "steps/run.html", run.label, status=status, **context)


def _add_href(run: RunSummary, chosen: StageNode | None, visit: Visit) -> str:
    """Where work is added to the run; empty for who may not, or where nothing can be added any more."""
    if run.state is not RunState.ACTIVE or visit.may(ACTION, "workflow_run") is None:
        return ""
    return f"/runs/{run.id}/processes/new" + (f"?{urlencode({'stage': chosen.code})}" if chosen else "")


async def change_run(visit: Visit) -> Response:
    """Hold, resume or cancel; a refusal shows the run again with the reason."""
    run_id, name = _run_id(visit), str(visit.request.path_params["name"])
    form = await visit.form()
    reason = str(form.get("reason") or "")
    try:
        version = int(str(form.get("row_version") or ""))
    except ValueError:
        raise InvalidRequest("The form is not complete; open the run again.") from None
    try:
        async with visit.uow() as uow:
            await get_run(uow, run_id)
            if name == "hold":
                await hold_run(uow, run_id=run_id, expected_version=version, reason=reason)
            elif name == "resume":
                await resume_run(uow, run_id=run_id, expected_version=version)
            elif name == "cancel":
                await cancel_run(uow, run_id=run_id, expected_version=version, reason=reason)
            else:
                raise NotFound("A run can be held, resumed and cancelled.")
    except NotFound:
        raise
    except StepsError as error:
        return await _show(visit, run_id, Choice("", "all", "tree"), error=error.detail, status=error.status)
    done = {"hold": "The run is on hold.", "resume": "The run goes on.", "cancel": "The run is cancelled."}
    return visit.go(f"/runs/{run_id}", flash=done[name])


ROUTES = (
    PageRoute("/runs", runs_page),
    PageRoute("/runs/new", start_page, ("POST",)),
    PageRoute("/runs/{id}", run_page),
    PageRoute("/runs/{id}/{name}", change_run, ("POST",)),
)
