"""Migration of runs: choose the versions, what becomes of processes and which runs; try it; execute it; the outcome."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote
from uuid import UUID

from starlette.datastructures import FormData
from starlette.responses import Response

from admin_views.designer_view import Address
from admin_views.pages import PageRoute
from admin_views.visit import Visit, record_id
from admin_views.workflows import find_workflow
from app.core.errors import NotFound, StepsError, Unauthenticated
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.workflow.definition_reading import read_definition
from app.domain.workflow.impact import VersionSummary, versions_of
from app.domain.workflow.migration_plans import (
    MOST_RUNS,
    Item,
    Plan,
    cancel_plan,
    create_plan,
    execute_plan,
    read_items,
    read_plan,
)
from app.domain.workflow.migration_rules import Fate, Rule, suggested
from app.domain.workflow.queries import RunSummary, list_runs
from app.domain.workflow.states import RunState

MAP = "map."
STATES = {
    "draft": ("draft", "Trial"), "running": ("in_progress", "Under way"), "done": ("done", "Executed"),
    "cancelled": ("cancelled", "Called off"),
}  # fmt: skip
ITEM_STATES = {
    "pending": ("planned", "Waits"), "migrated": ("done", "Gone over"), "refused": ("rejected", "Refused"),
    "failed": ("failed", "Failed"),
}  # fmt: skip
FATES = {
    Fate.KEPT: "stays", Fate.RENAMED: "renamed", Fate.ADDED: "added", Fate.CLOSED: "closed",
    Fate.HISTORY: "kept as history", Fate.AD_HOC: "of this run alone", Fate.REFUSED: "refused",
}  # fmt: skip


async def new_page(visit: Visit) -> Response:
    """Choose what goes where (GET); make the plan and try it (POST)."""
    code = visit.request.path_params["code"]
    if visit.request.method == "GET":
        return await _choose(visit, code, _number(visit.request.query_params.get("from", "")), {})
    form = await visit.form()
    typed = {name: value for name in form if isinstance(value := form.get(name), str)}
    from_number = _number(typed.get("from", ""))
    try:
        async with visit.uow() as uow:
            old, new, _ = await _versions(uow, code, from_number)
            plan_id = await create_plan(
                uow,
                from_version=old.id,
                to_version=new.id,
                mapping=_mapping(typed),
                run_ids=_runs(form),
                reason=typed.get("reason", ""),
            )
    except (Unauthenticated, NotFound):
        raise
    except StepsError as error:
        return await _choose(visit, code, from_number, typed, error)
    return visit.go(f"/migrations/{plan_id}", flash="Tried below. Nothing has happened to the runs yet.")


async def _choose(
    visit: Visit, code: str, from_number: int | None, typed: Mapping[str, str], error: StepsError | None = None
) -> Response:
    async with visit.uow() as uow:
        authorize(uow, "configure", "workflow_version")
        workflow = await find_workflow(uow, code=code)
        old, new, versions = await _versions(uow, code, from_number)
        before, after = await read_definition(uow, old.id), await read_definition(uow, new.id)
        there = {process.code for process, _ in after.processes()}
        likely = suggested(before, after)
        states = (RunState.ACTIVE, RunState.ON_HOLD)
        runs = await list_runs(uow, workflow_id=workflow["id"], states=states, limit=MOST_RUNS)
        page = {
            "code": code,
            "label": workflow["label"],
            "path": f"/workflows/{quote(code)}",
            "from": old.number,
            "to": new.number,
            "versions": [{"number": v.number, "open_runs": v.open_runs} for v in versions if v.open_runs and v != new],
            "compare_href": f"/workflows/{quote(code)}/compare?from={old.number}&to={new.number}",
            "gone": [
                {
                    "code": process.code,
                    "label": process.label,
                    "name": f"{MAP}{process.code}",
                    "value": typed.get(f"{MAP}{process.code}")
                    or (f"to:{likely[process.code]}" if process.code in likely else Rule.CANCEL.value),
                    "guessed": process.code in likely,
                }
                for process, _ in before.processes()
                if process.code not in there
            ],
            "targets": [{"value": f"to:{process.code}", "label": process.label} for process, _ in after.processes()],
            "runs": [_run_row(visit, run) for run in runs if run.version_id == old.id],
            "reason": typed.get("reason", ""),
            "error": error.detail if error is not None else "",
        }
        status = error.status if error is not None else 200
        return await visit.page(uow, "steps/migration_new.html", "Migrate runs", status=status, page=page)


def _run_row(visit: Visit, run: RunSummary) -> dict[str, Any]:
    return {
        "id": str(run.id),
        "label": run.label,
        "reference": run.reference,
        "href": f"/runs/{run.id}",
        "date": visit.formats.date(run.business_date),
        "closed": run.progress.closed,
        "total": run.progress.total,
    }


async def _versions(
    uow: UnitOfWork, code: str, from_number: int | None
) -> tuple[VersionSummary, VersionSummary, list[VersionSummary]]:
    """The version to leave, the one in force, and all of them. Raises NotFound."""
    workflow = await find_workflow(uow, code=code)
    versions = await versions_of(uow, workflow_id=workflow["id"])
    new = next((v for v in versions if v.state == "published"), None)
    if new is None:
        raise NotFound("The workflow has no version in force that runs could go over to.")
    others = [v for v in versions if v.open_runs and v.id != new.id]
    old = next((v for v in versions if v.number == from_number), None) or next(iter(others), None)
    if old is None or old.id == new.id:
        raise NotFound("Every run in progress is on the version in force already.")
    return old, new, versions


def _mapping(typed: Mapping[str, str]) -> list[dict[str, str]]:
    mapping = []
    for name, value in typed.items():
        if not name.startswith(MAP):
            continue
        code = name.removeprefix(MAP)
        to = value.removeprefix("to:") if value.startswith("to:") else ""
        mapping.append({"from": code, "to": to} if to else {"from": code, "rule": value})
    return mapping


def _runs(form: FormData) -> list[UUID]:
    found = []
    for value in form.getlist("run"):
        try:
            found.append(UUID(str(value)))
        except ValueError:
            raise NotFound("There is no such run.") from None
    return found


# -- a plan ------------------------------------------------------------------------------------------------------------


async def plan_page(visit: Visit) -> Response:
    """The trial of a plan, how far it is, or what has become of each run."""
    return await _show(visit)


async def _show(visit: Visit, error: StepsError | None = None) -> Response:
    async with visit.uow() as uow:
        plan = await read_plan(uow, plan_id=_id(visit))
        items = await read_items(uow, plan=plan)
        rows = [_item_row(visit, item) for item in items]
        state, word = STATES[plan.state]
        possible = sum(1 for item in items if item.trial is not None and item.trial.possible)
        left = sum(item.state in ("refused", "failed") for item in items)
        may = visit.may("configure", "workflow_version") is not None
        page = {
            "id": str(plan.id),
            "path": f"/migrations/{plan.id}",
            "label": plan.workflow,
            "workflow_href": f"/workflows/{quote(plan.code)}",
            "from": plan.from_number,
            "to": plan.to_number,
            "from_href": Address(plan.code, plan.from_number).path,
            "to_href": Address(plan.code, plan.to_number).path,
            "compare_href": f"/workflows/{quote(plan.code)}/compare?from={plan.from_number}&to={plan.to_number}",
            "row_version": plan.row_version,
            "state": state,
            "word": word,
            "plan_state": plan.state,
            "reason": plan.reason or "",
            "mapping": _mapping_rows(plan.mapping),
            "facts": _facts(visit, uow, plan),
            "rows": rows,
            "done": sum(item.state != "pending" for item in items),
            "summary": _summary(plan, items, possible),
            "may_execute": may and plan.state == "draft" and possible > 0,
            "may_cancel": may and plan.state == "draft",
            "may_retry": may and plan.state == "done" and left > 0,
            "possible": possible,
            "left": left,
            "error": error.detail if error is not None else "",
            "topic": f"migration_plan:{plan.id}" if visit.site.listener is not None else None,
        }
        status = error.status if error is not None else 200
        title = f"Migrate {plan.workflow}: version {plan.from_number} to {plan.to_number}"
        return await visit.page(uow, "steps/migration.html", title, status=status, page=page)


def _facts(visit: Visit, uow: UnitOfWork, plan: Plan) -> list[dict[str, Any]]:
    def moment(at: Any) -> str | None:
        return visit.formats.moment(at, uow.now) if at is not None else None

    return [
        {"label": "Reason", "value": plan.reason, "href": None},
        {"label": "Executed by", "value": plan.executed_by, "href": None},
        {"label": "Started", "value": moment(plan.started_at), "href": None},
        {"label": "Finished", "value": moment(plan.finished_at) if plan.state != "running" else None, "href": None},
    ]


def _summary(plan: Plan, items: Sequence[Item], possible: int) -> str:
    if plan.state == "draft":
        refused = len(items) - possible
        tail = f", {refused} would be refused" if refused else ""
        return f"{possible} of {len(items)} runs can go over now{tail}"
    counts = {state: sum(item.state == state for item in items) for state in ITEM_STATES}
    return ", ".join(f"{number} {ITEM_STATES[state][1].lower()}" for state, number in counts.items() if number)


def _mapping_rows(mapping: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    words = {Rule.SKIP.value: "is skipped", Rule.CANCEL.value: "is cancelled"}
    return [
        {"from": str(m["from"]), "to": f"becomes {m['to']}" if m.get("to") else words.get(str(m.get("rule")), "")}
        for m in mapping
    ]


def _item_row(visit: Visit, item: Item) -> dict[str, Any]:
    if item.trial is not None:
        state = ("done", "Can go over") if item.trial.possible else ("rejected", "Refused")
        message = item.trial.in_words()
        shown = [line for line in item.trial.lines if line.fate is not Fate.KEPT or line.notes or line.lost]
        lines = [line.plain() for line in shown]
    else:
        state, message = ITEM_STATES[item.state], item.message or ""
        lines = list((item.outcome or {}).get("lines", ()))
    return {
        "href": f"/runs/{item.run_id}",
        "label": item.label,
        "reference": item.reference,
        "date": visit.formats.date(item.business_date),
        "state": state[0],
        "word": state[1],
        "message": message,
        "lines": [_line_row(line) for line in lines],
    }


def _line_row(line: Mapping[str, Any]) -> dict[str, Any]:
    fate = Fate(line["fate"])
    word = FATES[fate]
    if fate is Fate.RENAMED:
        word = f"becomes {line['to_label']}"
    elif fate is Fate.CLOSED:
        word = "is skipped" if line["rule"] == Rule.SKIP.value else "is cancelled"
    return {
        "label": line["label"],
        "code": line["code"],
        "state": (line["state"] or "").replace("_", " "),
        "fate": word,
        "kind": {Fate.ADDED: "add", Fate.CLOSED: "ret", Fate.REFUSED: "ret", Fate.RENAMED: "ren"}.get(fate, ""),
        "notes": [*line["notes"], *(f"lost: {lost}" for lost in line["lost"]), *filter(None, [line["refusal"]])],
    }


async def act_page(visit: Visit) -> Response:
    """Execute the plan, or call it off."""
    action, form = visit.request.path_params["action"], await visit.form()
    version = _number(str(form.get("row_version", ""))) or 0
    try:
        async with visit.uow() as uow:
            if action == "execute":
                await execute_plan(uow, plan_id=_id(visit), expected_version=version)
                flash = "A worker takes the runs over; the outcome of each appears here."
            elif action == "cancel":
                await cancel_plan(uow, plan_id=_id(visit), expected_version=version)
                flash = "The plan is called off. No run has changed."
            else:
                raise NotFound("There is no such page.")
    except (Unauthenticated, NotFound):
        raise
    except StepsError as error:
        return await _show(visit, error)
    return visit.go(f"/migrations/{_id(visit)}", flash=flash)


def _id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such migration plan.")
    return id_


def _number(given: str) -> int | None:
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else None


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/workflows/{code}/migrate", new_page, ("GET", "POST")),
    PageRoute("/migrations/{id}", plan_page),
    PageRoute("/migrations/{id}/{action}", act_page, ("POST",)),
)
