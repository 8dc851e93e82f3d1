"""Runs for lists and pages: counts by state, worst deadlines, and the tree of stages. Nothing here writes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, case, func, literal_column, or_, select

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope, scope_condition
from app.domain.workflow.edges import EdgeType, Hardness
from app.domain.workflow.states import CLOSED, ProcessKind, ProcessState, RunState

MOST_RUNS = 500
AFTER_A_LAG = ", which has come as far, and a lag after it"
_CLOSED = [state.value for state in CLOSED]


@dataclass(frozen=True, slots=True)
class Progress:
    """Of the processes that the actor may see. `worst_due`: the earliest deadline of what is still open."""

    total: int
    closed: int
    counts: Mapping[ProcessState, int]
    worst_due: datetime | None
    late: int


@dataclass(frozen=True, slots=True)
class RunSummary:
    id: UUID
    reference: str
    label: str
    workflow_id: UUID
    workflow_code: str
    version_id: UUID
    version_number: int
    business_date: date
    node_id: UUID | None
    node_label: str | None
    application: str
    state: RunState
    due_at: datetime | None
    started_at: datetime
    finished_at: datetime | None
    row_version: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class ProcessLine:
    """A process as a row of the run's page. `hint` says in a few words what it waits for or why it stands still."""

    id: UUID
    code: str
    label: str
    kind: ProcessKind
    state: ProcessState
    row_version: int
    node_label: str | None
    owner_role: str | None
    assignee_id: UUID | None
    assignee: str | None
    critical: bool
    round: int
    level: int
    levels: int
    due_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    expected_minutes: int | None
    evidence_have: int
    evidence_need: int
    open_queries: int
    blocking_queries: int
    hint: str


@dataclass(frozen=True, slots=True)
class StageNode:
    """A stage with what is in it; `progress` counts everything below it."""

    id: UUID
    code: str
    label: str
    depth: int
    due_at: datetime | None
    progress: Progress
    processes: tuple[ProcessLine, ...]
    stages: tuple["StageNode", ...]


@dataclass(frozen=True, slots=True)
class RunTree:
    run: RunSummary
    stages: tuple[StageNode, ...]


async def list_runs(
    uow: UnitOfWork,
    *,
    business_date: date | None = None,
    workflow_id: UUID | None = None,
    states: Iterable[RunState] = (),
    limit: int = 50,
) -> list[RunSummary]:
    """The runs in the actor's scope, newest first, in one statement."""
    authorize(uow, "read", "workflow_run")
    runs = uow.table("workflow_run")
    statement = _summaries(uow).order_by(runs.c.business_date.desc(), runs.c.label, runs.c.id)
    if business_date is not None:
        statement = statement.where(runs.c.business_date == business_date)
    if workflow_id is not None:
        statement = statement.where(runs.c.workflow_id == workflow_id)
    wanted = [state.value for state in states]
    if wanted:
        statement = statement.where(runs.c.state.in_(wanted))
    rows = await uow.execute(statement.limit(max(1, min(limit, MOST_RUNS))))
    return [_summary(row) for row in rows.mappings()]


async def get_run(uow: UnitOfWork, run_id: UUID) -> RunSummary:
    """Raises NotFound, also for a run that the actor may not see."""
    authorize(uow, "read", "workflow_run")
    statement = _summaries(uow).where(uow.table("workflow_run").c.id == run_id)
    row = (await uow.execute(statement)).mappings().first()
    if row is None:
        raise NotFound("There is no such run, or you may not see it.")
    return _summary(row)


async def run_tree(uow: UnitOfWork, run_id: UUID) -> RunTree:
    """The run with its stages nested and their processes, in three statements whatever its size.

    Raises:
        NotFound: no such run, or none that the actor may see.
    """
    run = await get_run(uow, run_id)
    stages = uow.table("stage_run")
    columns = (stages.c.id, stages.c.parent_stage_id, stages.c.code, stages.c.label, stages.c.depth, stages.c.due_at)
    found = await uow.execute(select(*columns).where(stages.c.run_id == run_id).order_by(stages.c.rank, stages.c.id))
    lines: defaultdict[UUID, list[ProcessLine]] = defaultdict(list)
    for row in (await uow.execute(_lines(uow, run_id))).mappings():
        lines[row["stage_run_id"]].append(_line(row))
    return RunTree(run, _nest(found.mappings().all(), lines, uow.now))


def progress_of(lines: Iterable[ProcessLine], now: datetime) -> Progress:
    """Count processes that have been read."""
    counts: defaultdict[ProcessState, int] = defaultdict(int)
    dues: list[datetime] = []
    for line in lines:
        counts[line.state] += 1
        if not line.state.closed and line.due_at is not None:
            dues.append(line.due_at)
    closed = sum(count for state, count in counts.items() if state.closed)
    return Progress(sum(counts.values()), closed, dict(counts), min(dues, default=None), sum(due < now for due in dues))


# -- statements --------------------------------------------------------------------------------------------------------


def _summaries(uow: UnitOfWork) -> Select[Any]:
    """One row per run; its processes are counted in the same statement, those in the actor's scope only."""
    runs, workflows, versions = uow.table("workflow_run"), uow.table("workflow"), uow.table("workflow_version")
    nodes, applications = uow.table("hierarchy_node"), uow.table("application")
    processes = uow.table("process_run")
    visible = scope_condition(uow, "read", "process_run", processes)
    by_state = select(
        processes.c.state.label("state"),
        func.count().label("count"),
        func.min(processes.c.due_at).label("due"),
        func.count().filter(processes.c.due_at < uow.now).label("late"),
    ).where(processes.c.run_id == runs.c.id)
    if visible is not None:
        by_state = by_state.where(visible)
    grouped = by_state.group_by(processes.c.state).correlate(runs).subquery("by_state")
    is_open = grouped.c.state.not_in(_CLOSED)
    counted = (
        select(
            func.jsonb_object_agg(grouped.c.state, grouped.c.count).label("counts"),
            func.min(grouped.c.due).filter(is_open).label("worst_due"),
            func.sum(grouped.c.late).filter(is_open).label("late"),
        )
        .select_from(grouped)
        .lateral("counted")
    )
    statement = (
        select(
            runs.c.id, runs.c.reference, runs.c.label, runs.c.workflow_id, workflows.c.code.label("workflow_code"),
            runs.c.version_id, versions.c.number.label("version_number"), runs.c.business_date, runs.c.node_id,
            nodes.c.label.label("node_label"), applications.c.code.label("application"), runs.c.state, runs.c.due_at,
            runs.c.started_at, runs.c.finished_at, runs.c.row_version, counted.c.counts, counted.c.worst_due,
            counted.c.late,
        )
        .join(workflows, workflows.c.id == runs.c.workflow_id)
        .join(versions, versions.c.id == runs.c.version_id)
        .join(applications, applications.c.id == runs.c.application_id)
        .outerjoin(nodes, nodes.c.id == runs.c.node_id)
        .join(counted, literal_column("true"))
    )  # fmt: skip
    return scope(statement, uow, "read", "workflow_run")


def _lines(uow: UnitOfWork, run_id: UUID) -> Select[Any]:
    p, users, nodes = uow.table("process_run"), uow.table("user"), uow.table("hierarchy_node")
    wanted, files, edges = uow.table("process_evidence"), uow.table("file"), uow.table("process_edge")
    before, awaited = p.alias("before"), uow.table("awaited_run")
    need = select(func.count()).where(wanted.c.parent_id == p.c.process_id, wanted.c.mandatory).scalar_subquery()
    given = (
        select(files.c.purpose)
        .where(
            files.c.record_entity == "process_run",
            files.c.record_id == p.c.id,
            files.c.deleted_at.is_(None),
            files.c.sha256.is_not(None),
        )
        .correlate(p)
    )
    have = (
        select(func.count())
        .where(wanted.c.parent_id == p.c.process_id, wanted.c.mandatory, wanted.c.code.in_(given))
        .correlate(p)
        .scalar_subquery()
    )
    # The first of the hard edges that hold it back: before its beginning those of its start gate, then of its end.
    label = func.coalesce(before.c.label, awaited.c.process_code)
    to_start = edges.c.edge_type.in_([type_.value for type_ in EdgeType if type_.gates_start])
    needs = (
        select(case((edges.c.due_at.is_not(None), func.concat(label, AFTER_A_LAG)), else_=label))
        .select_from(edges)
        .outerjoin(before, before.c.id == edges.c.predecessor_id)
        .outerjoin(awaited, awaited.c.edge_id == edges.c.id)
        .where(
            edges.c.successor_id == p.c.id,
            edges.c.satisfied_at.is_(None),
            edges.c.hardness == Hardness.HARD.value,
            to_start == (p.c.state != "waiting_external"),
        )
        .order_by(before.c.rank)
        .limit(1)
        .correlate(p)
        .scalar_subquery()
    )
    ended = and_(p.c.state == "waiting_external", p.c.finish_waiting_on > 0)
    waiting = or_(p.c.state == "blocked", and_(p.c.state == "on_hold", p.c.waiting_on > 0), ended)
    statement = (
        select(
            p.c.stage_run_id, p.c.id, p.c.code, p.c.label, p.c.kind, p.c.state, p.c.row_version,
            nodes.c.label.label("node_label"), p.c.owner_role, p.c.assignee_id, users.c.name.label("assignee"),
            p.c.critical, p.c.round, p.c.level, p.c.levels, p.c.due_at, p.c.started_at, p.c.finished_at,
            p.c.expected_minutes, have.label("evidence_have"), need.label("evidence_need"),
            case((ended, p.c.finish_waiting_on), else_=p.c.waiting_on).label("waiting_on"), p.c.reason,
            p.c.earliest_start, case((waiting, needs)).label("needs"), p.c.soft_waiting_on,
            func.coalesce(p.c.open_queries, 0).label("open_queries"),
            func.coalesce(p.c.blocking_queries, 0).label("blocking_queries"),
        )
        .outerjoin(users, users.c.id == p.c.assignee_id)
        .outerjoin(nodes, nodes.c.id == p.c.node_id)
        .where(p.c.run_id == run_id)
        .order_by(p.c.rank, p.c.id)
    )  # fmt: skip
    return scope(statement, uow, "read", "process_run")


# -- rows into values --------------------------------------------------------------------------------------------------


def _summary(row: Mapping[Any, Any]) -> RunSummary:
    values = dict(row)
    counts = {ProcessState(state): count for state, count in (values.pop("counts") or {}).items()}
    progress = Progress(
        total=sum(counts.values()),
        closed=sum(count for state, count in counts.items() if state.closed),
        counts=counts,
        worst_due=values.pop("worst_due"),
        late=int(values.pop("late") or 0),
    )
    return RunSummary(**{**values, "state": RunState(values["state"])}, progress=progress)


def _line(row: Mapping[Any, Any]) -> ProcessLine:
    values = dict(row)
    values["kind"], values["state"] = ProcessKind(values["kind"]), ProcessState(values["state"])
    hint = _hint(values)
    for name in ("stage_run_id", "waiting_on", "reason", "earliest_start", "needs", "soft_waiting_on"):
        values.pop(name)
    return ProcessLine(**values, hint=hint)


def _hint(values: Mapping[str, Any]) -> str:
    state: ProcessState = values["state"]
    if values["needs"]:
        others = values["waiting_on"] - 1
        return f"Needs {values['needs']}" + (f" and {others} more" if others > 0 else "")
    if state is ProcessState.PLANNED and values["earliest_start"] is not None:
        return "Waits for its earliest start"
    if state is ProcessState.IN_REVIEW and values["levels"] > 1:
        return f"Level {values['level']} of {values['levels']}"
    soft = values["soft_waiting_on"] or 0
    if soft > 0 and state in (ProcessState.READY, ProcessState.ASSIGNED):
        return f"Should wait for {'one more process' if soft == 1 else f'{soft} more processes'}"
    blocking = values["blocking_queries"]
    if blocking > 0 and not state.closed:
        return "An open query holds it up" if blocking == 1 else f"{blocking} open queries hold it up"
    if values["reason"] and state is not ProcessState.DONE:
        return str(values["reason"])
    missing = values["evidence_need"] - values["evidence_have"]
    if missing > 0 and not state.closed:
        return f"{missing} of {values['evidence_need']} required documents missing"
    return ""


def _nest(
    stages: Sequence[Mapping[Any, Any]], lines: Mapping[UUID, list[ProcessLine]], now: datetime
) -> tuple[StageNode, ...]:
    """Build from the deepest up: stages come from top to bottom, so each one's children are there before it."""
    children: defaultdict[UUID | None, list[StageNode]] = defaultdict(list)
    below: defaultdict[UUID | None, list[ProcessLine]] = defaultdict(list)
    for stage in reversed(stages):
        own = lines.get(stage["id"], [])
        everything = [*own, *below[stage["id"]]]
        below[stage["parent_stage_id"]].extend(everything)
        node = StageNode(
            stage["id"],
            stage["code"],
            stage["label"],
            stage["depth"],
            stage["due_at"],
            progress_of(everything, now),
            tuple(own),
            tuple(reversed(children[stage["id"]])),
        )
        children[stage["parent_stage_id"]].append(node)
    return tuple(reversed(children[None]))
