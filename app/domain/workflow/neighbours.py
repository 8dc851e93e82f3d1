"""What a process depends on and what depends on it, and from that why it cannot go on: one statement, the rest is pure.

A neighbour may be in a run of another workflow, or in one that does not exist yet. Of other runs only the name and the
state is told: who works there is the business of those who may read them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.core.uow import UnitOfWork
from app.domain.workflow.edges import EdgeType, Hardness, LagTime, LagUnit, Outcome, RunSelector
from app.domain.workflow.process_row import ProcessRow, read_process
from app.domain.workflow.states import RESTING, ProcessState
from app.domain.workflow.ways import require_visible

NEVER = datetime.max.replace(tzinfo=UTC)

READ_NEIGHBOURS = text(
    """
SELECT e.successor_id = :id AS before, q.id, coalesce(q.code, a.process_code) AS code,
       coalesce(q.label, other.label, a.process_code) AS label, q.state, q.due_at, q.finished_at, q.started_at,
       coalesce(q.waiting_on, 0) AS waiting_on, CASE WHEN elsewhere.id IS NULL THEN q.owner_role END AS owner_role,
       CASE WHEN elsewhere.id IS NULL THEN u.name END AS assignee, e.edge_type, e.hardness, e.accepts, e.lag_amount,
       e.lag_unit, e.condition IS NOT NULL AS conditional, e.met_at, e.due_at AS lag_ends_at, e.satisfied_at, e.outcome,
       e.overridden_at, e.override_reason, w.label AS workflow, coalesce(elsewhere.reference, bound.reference) AS run,
       CASE WHEN e.successor_id = :id THEN a.business_date END AS awaited_date, a.run_selector, a.bound_run_id,
       a.expected_by, a.alerted_at
FROM process_edge e
JOIN process_run own ON own.id = :id
LEFT JOIN process_run q ON q.id = CASE WHEN e.successor_id = :id THEN e.predecessor_id ELSE e.successor_id END
LEFT JOIN workflow_run elsewhere ON elsewhere.id = q.run_id AND elsewhere.id <> own.run_id
LEFT JOIN awaited_run a ON a.edge_id = e.id
LEFT JOIN workflow_run bound ON bound.id = a.bound_run_id
LEFT JOIN workflow w ON w.id = CASE WHEN e.successor_id = :id THEN a.workflow_id ELSE elsewhere.workflow_id END
LEFT JOIN app_user u ON u.id = q.assignee_id
LEFT JOIN LATERAL (
    SELECT p.label FROM process p JOIN workflow_version v ON v.id = p.version_id AND v.state = 'published'
    WHERE q.id IS NULL AND v.workflow_id = a.workflow_id AND p.code = a.process_code) other ON true
WHERE e.successor_id = :id OR e.predecessor_id = :id
ORDER BY q.rank, q.id, e.edge_type
"""
)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A process at the other end of an edge; without an `id` its run does not exist yet, or does not have it.

    `lag_ends_at`: the predecessor is as far, and the lag lasts until then. `workflow` and `run` are told of processes
    in other runs, `awaited_date` is the business date of the run that is waited for.
    """

    before: bool
    id: UUID | None
    code: str
    label: str
    state: ProcessState | None
    due_at: datetime | None
    finished_at: datetime | None
    started_at: datetime | None
    waiting_on: int
    owner_role: str | None
    assignee: str | None
    type: EdgeType
    hardness: Hardness
    accepts: tuple[str, ...]
    lag: LagTime | None
    conditional: bool
    met_at: datetime | None
    lag_ends_at: datetime | None
    satisfied_at: datetime | None
    outcome: Outcome | None
    overridden_at: datetime | None
    override_reason: str | None
    workflow: str | None
    run: str | None
    awaited_date: date | None
    run_selector: RunSelector | None
    bound_run_id: UUID | None
    expected_by: datetime | None
    alerted_at: datetime | None

    @property
    def satisfied(self) -> bool:
        return self.satisfied_at is not None

    @property
    def binds(self) -> bool:
        return self.outcome is not Outcome.NOT_BINDING

    @property
    def impossible(self) -> bool:
        """Whether waiting will not help: it has closed in a way that the dependency does not accept."""
        if self.satisfied or self.met_at is not None:
            return False
        if self.state is None:
            return self.bound_run_id is not None
        return self.state.closed and self.state.value not in self.accepts

    def sentence(self, at: Callable[[datetime], str]) -> str:
        """What is still missing, in words; `at` words an instant."""
        if self.lag_ends_at is not None:
            return f"“{self.label}” has {self._verb}; {self.lag} after that is {at(self.lag_ends_at)}."
        place = f" of {self.workflow}" if self.workflow else ""
        if self.id is None:
            return self._without_a_process(at)
        if self.impossible:
            state = self.state.label.lower() if self.state else ""
            return f"“{self.label}”{place} is {state}, which this dependency does not accept: waiting will not help."
        lag = f", and {self.lag} must pass after that" if self.lag else ""
        until = f"; due {at(self.due_at)}" if self.due_at else ""
        return f"“{self.label}”{place} has not {self._verb}{lag}{until}."

    def _without_a_process(self, at: Callable[[datetime], str]) -> str:
        if self.bound_run_id is not None:
            return f"The run {self.run} has no process {self.code}: waiting will not help."
        expected = f"; expected by {at(self.expected_by)}" if self.expected_by else ""
        if self.run_selector is RunSelector.LATEST_SIGNED:
            return f"No run of {self.workflow} up to {self.awaited_date} is done yet{expected}."
        return f"No run of {self.workflow} for {self.awaited_date} yet{expected}."

    @property
    def _verb(self) -> str:
        return "begun" if self.type.on_start else "ended"


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why it cannot go on: what it waits for, until when, and the reason that somebody or a job has given.

    `predecessors` are those that hold it back where it stands, `later` those that will hold back its end, `soft` those
    that it should wait for.
    """

    state: ProcessState
    reason: str | None
    predecessors: tuple[Neighbour, ...]
    later: tuple[Neighbour, ...]
    soft: tuple[Neighbour, ...]
    earliest_start: datetime | None
    review_by: datetime | None
    queries: tuple[str, ...] = ()  # subjects of the open queries that hold it up


async def why_blocked(uow: UnitOfWork, process_run_id: UUID) -> Blocked:
    """Why the process cannot go on, from what is stored. Raises NotFound."""
    row = await read_process(uow, process_run_id)
    require_visible(uow, row)
    return blocked_by(row, await neighbours(uow, row.id))


async def neighbours(uow: UnitOfWork, process_run_id: UUID) -> tuple[Neighbour, ...]:
    """Both sides, for a process run that the caller has read under its actor's scope."""
    return tuple(_neighbour(row) for row in (await uow.execute(READ_NEIGHBOURS, {"id": process_run_id})).mappings())


def blocked_by(row: ProcessRow, around: Iterable[Neighbour]) -> Blocked:
    """Pure: which of the open edges hold the process back, the ones that are due first before the others."""
    open_ = sorted(
        (n for n in around if n.before and not n.satisfied), key=lambda n: (n.due_at or n.expected_by or NEVER, n.label)
    )
    hard = [n for n in open_ if n.hardness is Hardness.HARD]
    to_start = tuple(n for n in hard if n.type.gates_start)
    to_end = tuple(n for n in hard if not n.type.gates_start)
    resting = row.state in RESTING or row.state_before_hold in RESTING
    doubted = row.state is ProcessState.STALE  # whatever of it has to end again
    closed = row.state.closed
    return Blocked(
        row.state,
        row.reason,
        () if closed else (*to_start, *to_end) if doubted else to_start if resting else to_end,
        () if closed or not resting else to_end,
        () if closed else tuple(n for n in open_ if n.hardness is Hardness.SOFT and n.overridden_at is None),
        row.earliest_start,
        row.review_by,
        () if closed else row.blocking_subjects,
    )


def predecessors(around: Sequence[Neighbour]) -> tuple[Neighbour, ...]:
    return tuple(n for n in around if n.before)


def successors(around: Sequence[Neighbour]) -> tuple[Neighbour, ...]:
    return tuple(n for n in around if not n.before)


def _neighbour(row: Any) -> Neighbour:
    values = dict(row)
    amount, unit = values.pop("lag_amount"), values.pop("lag_unit")
    values["type"] = EdgeType(values.pop("edge_type"))
    values["hardness"] = Hardness(values["hardness"])
    values["state"] = ProcessState(values["state"]) if values["state"] else None
    values["accepts"] = tuple(values["accepts"])
    values["outcome"] = Outcome(values["outcome"]) if values["outcome"] else None
    values["run_selector"] = RunSelector(values["run_selector"]) if values["run_selector"] else None
    return Neighbour(**values, lag=LagTime(amount, LagUnit(unit)) if amount is not None else None)
