"""Work that nobody had foreseen: the form that adds a process to a run, with what that holds up, before it is added."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from starlette.datastructures import FormData
from starlette.responses import Response

from admin_views.pages import PageRoute
from admin_views.process_view import tone
from admin_views.run_view import find_stage
from admin_views.visit import Visit, record_id
from app.core.errors import Forbidden, NotFound, StepsError, TransitionRefused, Unauthenticated, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.workflow.ad_hoc import ACTION, NOT_BEGUN, AddedPreview, HeldUp, NewWork, add_process, preview_process
from app.domain.workflow.people import role_holders
from app.domain.workflow.queries import ProcessLine, RunSummary, StageNode, run_tree
from app.domain.workflow.states import ProcessState, RunState

GONE = "There is no such run, or you may not see it."
MOST_OFFERED = 400
MOST_SHOWN = 30
LEVELS = 2
TEXTS = ("label", "owner_role", "assignee_id", "stage_run_id", "due_at", "checklist", "instructions", "reason")
ELSEWHERE = (Unauthenticated, NotFound, Forbidden)


@dataclass(frozen=True, slots=True)
class Filled:
    """The form as it was sent."""

    texts: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys(TEXTS, ""))
    levels: tuple[str, ...] = ("",) * LEVELS
    before: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    error: StepsError | None = None
    seen: AddedPreview | None = None

    def problem(self, path: str) -> str:
        problems = self.error.problems if isinstance(self.error, ValidationFailed) else ()
        return " ".join(problem.message for problem in problems if problem.path == path)


async def add_page(visit: Visit) -> Response:
    """The form; sent, what it would hold up, or the process itself."""
    run_id = _run_id(visit)
    if visit.request.method == "GET":
        filled = Filled()
        stage = visit.request.query_params.get("stage", "")
        return await _show(visit, run_id, filled, stage=stage)
    form = await visit.form()
    filled = _filled(form)
    try:
        work = _work(visit, filled)
        if form.get("do") == "add":
            async with visit.uow() as uow:
                added = await add_process(uow, run_id=run_id, work=work)
            waits = len(added.held_back)
            more = f" {waits} {'process waits' if waits == 1 else 'processes wait'} for it now." if waits else ""
            return visit.go(f"/processes/{added.process_run_id}", flash=f"“{work.label}” is part of the run.{more}")
        async with visit.uow() as uow:
            filled = replace(filled, seen=await preview_process(uow, run_id=run_id, work=work))
    except ELSEWHERE:
        raise
    except StepsError as error:
        filled = replace(filled, error=error)
    return await _show(visit, run_id, filled)


async def people_page(visit: Visit) -> Response:
    """Who may be given it, as options of the form's list: they follow the role that is chosen there."""
    run_id = _run_id(visit)
    if visit.may(ACTION, "workflow_run") is None:
        raise Forbidden("Your roles do not add work to runs; operations may.")
    async with visit.uow() as uow:
        people = await _people(uow, run_id, visit.request.query_params.get("owner_role", ""))
    return visit.fragment("steps/_add_people.html", people=people, chosen="")


async def _people(uow: UnitOfWork, run_id: UUID, role: str) -> list[dict[str, Any]]:
    tree = await run_tree(uow, run_id)
    found = await role_holders(uow, run_id=tree.run.id, role=role) if role else []
    return [{"id": str(person.id), "name": person.name} for person in found]


# -- what was sent -----------------------------------------------------------------------------------------------------


def _filled(form: FormData) -> Filled:
    def text(name: str) -> str:
        value = form.get(name)
        return value.replace("\r\n", "\n").strip() if isinstance(value, str) else ""

    def chosen(name: str) -> frozenset[str]:
        return frozenset(value for value in form.getlist(name) if isinstance(value, str))

    levels = tuple(text(f"level_{n}") for n in range(1, LEVELS + 1))
    return Filled({name: text(name) for name in TEXTS}, levels, chosen("predecessor"), chosen("successor"))


def _work(visit: Visit, filled: Filled) -> NewWork:
    texts = filled.texts
    due_at = _instant(visit, texts["due_at"])
    return NewWork(
        label=texts["label"],
        owner_role=texts["owner_role"],
        reason=texts["reason"],
        due_at=due_at,
        instructions=texts["instructions"] or None,
        stage_run_id=_uuid(texts["stage_run_id"]),
        assignee_id=_uuid(texts["assignee_id"]),
        checklist=tuple(texts["checklist"].splitlines()),
        approval_roles=filled.levels,
        predecessors=_uuids(filled.before),
        successors=_uuids(filled.after),
    )


def _instant(visit: Visit, text: str) -> datetime | None:
    """A wall time of the person's zone. What is none counts as a time without a zone, which the service refuses."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(visit.formats.from_wall(text))
    except ValueError:
        return datetime.min  # noqa: DTZ901


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise NotFound("What was chosen is not there any more; reload the page.") from None


def _uuids(texts: frozenset[str]) -> tuple[UUID, ...]:
    return tuple(id_ for text in sorted(texts) if (id_ := _uuid(text)) is not None)


# -- drawing -----------------------------------------------------------------------------------------------------------


async def _show(visit: Visit, run_id: UUID, filled: Filled, *, stage: str = "") -> Response:
    if visit.may(ACTION, "workflow_run") is None:
        raise Forbidden("Your roles do not add work to runs; operations may.")
    async with visit.uow() as uow:
        tree = await run_tree(uow, run_id)
        run = tree.run
        if run.state is not RunState.ACTIVE and filled.error is None:
            words = run.state.value.replace("_", " ")
            raise TransitionRefused(f"“{run.label}” is {words}: work is added to a run in progress.", guard="state")
        chosen = find_stage(tree.stages, stage) if stage else None
        if chosen is not None:
            filled = replace(filled, texts={**filled.texts, "stage_run_id": str(chosen.id)})
        role = filled.texts["owner_role"]
        people = [
            {"id": str(person.id), "name": person.name}
            for person in (await role_holders(uow, run_id=run_id, role=role) if role else [])
        ]
        roles = uow.table("role")
        known = await uow.execute(select(roles.c.code, roles.c.label).order_by(roles.c.label))
        offered = _Offered.of(tree.stages, chosen)
        page = {
            "href": f"/runs/{run_id}/processes/new",
            "run_href": f"/runs/{run_id}",
            "run": run.label,
            "reference": run.reference,
            "business_date": visit.formats.date(run.business_date),
            "zone": visit.formats.zone_name(uow.now),
            "values": dict(filled.texts),
            "errors": {name: filled.problem(name) for name in (*TEXTS, "predecessors", "successors")},
            "levels": _levels(filled),
            "level_error": filled.problem("approval_roles"),
            "roles": [(row.code, row.label) for row in known],
            "people": people,
            "stages": [(str(each.id), name) for each, name in offered.stages],
            "before": _choices(offered.lines, filled.before),
            "after": _choices(_not_begun(offered.lines), filled.after),
            "cut": offered.cut,
            "error": "" if filled.error is None or filled.error.problems else filled.error.detail,
            "missing": _missing(filled),
            "seen": _seen(filled.seen, visit),
        }
        status = filled.error.status if filled.error is not None else 200
        return await visit.page(uow, "steps/add_process.html", _title(run), status=status, page=page)


def _title(run: RunSummary) -> str:
    return f"Add a process: {run.label}"


@dataclass(frozen=True, slots=True)
class _Offered:
    """The stages of the run, and processes to stand between; `cut`: there are more than can be chosen from."""

    stages: tuple[tuple[StageNode, str], ...]
    lines: tuple[tuple[str, tuple[ProcessLine, ...]], ...]
    cut: bool

    @classmethod
    def of(cls, stages: Sequence[StageNode], chosen: StageNode | None) -> "_Offered":
        named = tuple(_named(stages, ""))
        first = [pair for pair in named if chosen is None or _within(pair[0], chosen)]
        lines: list[tuple[str, tuple[ProcessLine, ...]]] = []
        left = MOST_OFFERED
        for stage, name in first:
            if stage.processes and left > 0:
                lines.append((name, stage.processes[:left]))
                left -= len(stage.processes)
        return cls(named, tuple(lines), left < 0)


def _named(stages: Sequence[StageNode], above: str) -> Sequence[tuple[StageNode, str]]:
    found: list[tuple[StageNode, str]] = []
    for stage in stages:
        name = f"{above}, {stage.label}" if above else stage.label
        found += [(stage, name), *_named(stage.stages, name)]
    return found


def _within(stage: StageNode, chosen: StageNode) -> bool:
    return stage.id == chosen.id or any(_within(stage, below) for below in chosen.stages)


def _not_begun(
    lines: Sequence[tuple[str, tuple[ProcessLine, ...]]],
) -> Sequence[tuple[str, tuple[ProcessLine, ...]]]:
    return [(name, tuple(line for line in found if line.state in NOT_BEGUN)) for name, found in lines]


def _choices(lines: Sequence[tuple[str, tuple[ProcessLine, ...]]], chosen: frozenset[str]) -> list[dict[str, Any]]:
    return [
        {
            "label": name,
            "items": [
                {"id": str(line.id), "label": line.label, "state": line.state.label, "chosen": str(line.id) in chosen}
                for line in found
                if line.state is not ProcessState.CANCELLED
            ],
        }
        for name, found in lines
        if any(line.state is not ProcessState.CANCELLED for line in found)
    ]


def _levels(filled: Filled) -> list[dict[str, Any]]:
    return [{"name": f"level_{n}", "number": n, "value": value} for n, value in enumerate(filled.levels, 1)]


def _missing(filled: Filled) -> list[str]:
    return [problem.message for problem in filled.error.problems] if filled.error is not None else []


def _seen(seen: AddedPreview | None, visit: Visit) -> dict[str, Any] | None:
    if seen is None:
        return None
    direct = [each for each in seen.held_up if each.direct]
    later = [each for each in seen.held_up if not each.direct]
    stops = sum(each.stops for each in direct)
    late = sum(each.late for each in seen.held_up)
    return {
        "begins": "It can begin at once." if seen.state is ProcessState.READY else "It begins after",
        "waits_for": ", ".join(seen.waits_for),
        "stops": f"{stops} {'process that is' if stops == 1 else 'processes that are'} free to begin "
        f"{'waits' if stops == 1 else 'wait'} for it." if stops else "",
        "late": f"{late} {'is' if late == 1 else 'are'} due before it." if late else "",
        "groups": [
            {"title": title, "rows": [_held(each, visit) for each in found[:MOST_SHOWN]], "count": len(found),
             "more": max(0, len(found) - MOST_SHOWN)}
            for title, found in (("Wait for it", direct), ("Wait in turn", later))
            if found
        ],
    }  # fmt: skip


def _held(each: HeldUp, visit: Visit) -> dict[str, Any]:
    return {
        "label": each.label,
        "href": f"/processes/{each.id}",
        "tone": tone(each.state),
        "state": each.state.label,
        "due": visit.formats.instant(each.due_at) if each.due_at else "",
        "late": each.late,
    }


def _run_id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound(GONE)
    return id_


ROUTES = (
    PageRoute("/runs/{id}/processes/new", add_page, ("GET", "POST")),
    PageRoute("/runs/{id}/processes/people", people_page),
)
