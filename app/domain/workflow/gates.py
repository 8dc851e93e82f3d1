"""What holds a process back: hard edges forbid, soft ones ask for a reason. Its beginning and its end are two gates."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from app.core.uow import UnitOfWork
from app.domain.workflow.acting import Acting, Command
from app.domain.workflow.decisions import Refusal
from app.domain.workflow.edges import GATES_START, EdgeType, Hardness
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.states import Guard, ProcessState

AUTOMATIC_REASON = "The platform did it: a soft dependency does not hold back automatic work."

# Whether a process run `q` has begun: `begun` in SQL.
BEGUN = """(q.started_at IS NOT NULL OR q.state = 'done' OR (q.kind IN ('approval', 'sign_off') AND (q.round > 1
            OR jsonb_array_length(CASE WHEN jsonb_typeof(q.signers) = 'array' THEN q.signers ELSE '[]' END) > 0)))"""

READ_OPEN = text(
    """
SELECT e.id, e.edge_type, e.hardness, coalesce(q.label, a.process_code) AS label, w.label AS workflow, e.due_at
FROM process_edge e
LEFT JOIN process_run q ON q.id = e.predecessor_id
LEFT JOIN awaited_run a ON a.edge_id = e.id
LEFT JOIN workflow w ON w.id = a.workflow_id
WHERE e.successor_id = :id AND e.satisfied_at IS NULL AND e.overridden_at IS NULL AND e.hardness <> 'advisory'
ORDER BY q.rank, label
"""
)
OVERRIDE = text(
    f"""
UPDATE process_edge SET
    overridden_at = :now, override_reason = :reason, row_version = row_version + 1, updated_at = :now,
    updated_by = :actor_id
WHERE successor_id = :id AND satisfied_at IS NULL AND overridden_at IS NULL AND hardness = 'soft'
  AND ((:starts AND {GATES_START}) OR (:ends AND NOT {GATES_START}))
"""
)


@dataclass(frozen=True, slots=True)
class OpenEdge:
    """An edge that is not satisfied, with the name of its predecessor."""

    id: UUID
    type: EdgeType
    hardness: Hardness
    label: str

    @property
    def words(self) -> str:
        """“Load rates” has not ended."""
        return f"“{self.label}” has not {'begun' if self.type.on_start else 'ended'}"


def begun(row: ProcessRow) -> bool:
    """Whether anything has been done. An approval begins with the first decision."""
    decided = row.kind.decided and (bool(row.signers) or row.round > 1)
    return row.started_at is not None or row.state is ProcessState.DONE or decided


def begins(before: ProcessRow, now_is: ProcessRow) -> bool:
    return not begun(before) and begun(now_is)


def ends(before: ProcessRow, now_is: ProcessRow) -> bool:
    """Whether the work is complete with this step, at once or as soon as its finish gate opens."""
    complete = (ProcessState.DONE, ProcessState.WAITING_EXTERNAL)
    return now_is.state in complete and before.state not in complete


def may_matter(row: ProcessRow) -> bool:
    """Whether an open edge can speak against anything that is still to be done."""
    return row.finish_waiting_on > 0 or row.soft_waiting_on > 0


def end_refused(row: ProcessRow, now_is: ProcessRow, open_edges: Sequence[OpenEdge]) -> Refusal | None:
    """The hard edges that forbid the end. An automatic process does not come here: it waits until they open."""
    if now_is.state is not ProcessState.DONE or row.finish_waiting_on <= 0:
        return None
    closed = [edge for edge in open_edges if edge.hardness is Hardness.HARD and not edge.type.gates_start]
    why = "; ".join(edge.words for edge in closed) or "a predecessor has not come as far"
    detail = f"“{row.label}” cannot be completed yet: {why}."
    return Refusal(Guard.FINISH_GATE, detail, "It can be worked on meanwhile, and completed then.")


def soft_in_the_way(row: ProcessRow, now_is: ProcessRow, open_edges: Sequence[OpenEdge]) -> list[OpenEdge]:
    """The soft edges that this step goes over."""
    if row.soft_waiting_on <= 0:
        return []
    starts, end = begins(row, now_is), ends(row, now_is)
    return [
        edge for edge in open_edges if edge.hardness is Hardness.SOFT and (starts if edge.type.gates_start else end)
    ]


def soft_warning(edges: Sequence[OpenEdge]) -> str:
    return f"{'; '.join(edge.words for edge in edges)}."


def soft_refused(row: ProcessRow, edges: Sequence[OpenEdge]) -> Refusal:
    detail = f"“{row.label}” should wait: {soft_warning(edges)}"
    return Refusal(Guard.SOFT_DEPENDENCY, detail, "Give a reason to go on all the same, or wait.")


async def open_edges(uow: UnitOfWork, row: ProcessRow) -> list[OpenEdge]:
    """The hard and soft edges that are open and that nobody has gone over; no statement where there are none."""
    if not may_matter(row):
        return []
    return [
        OpenEdge(
            found.id,
            EdgeType(found.edge_type),
            Hardness(found.hardness),
            f"{found.label} of {found.workflow}" if found.workflow else found.label,
        )
        for found in await uow.execute(READ_OPEN, {"id": row.id})
    ]


async def pass_gates(
    uow: UnitOfWork, row: ProcessRow, now_is: ProcessRow, command: Command, acting: Acting
) -> tuple[Refusal | None, list[OpenEdge]]:
    """What forbids the step, and the soft edges that it has gone over with the command's reason."""
    if not (begins(row, now_is) or ends(row, now_is)):
        return None, []
    found = await open_edges(uow, row)
    refusal = end_refused(row, now_is, found)
    over = soft_in_the_way(row, now_is, found)
    if refusal is not None or not over:
        return refusal, []
    reason = AUTOMATIC_REASON if acting.actor.is_system else command.reason
    if reason is None:
        return soft_refused(row, over), []
    await override(uow, row, now_is, reason)
    return None, over


async def override(uow: UnitOfWork, row: ProcessRow, now_is: ProcessRow, reason: str) -> None:
    """Note on the soft edges that somebody has gone on over them, and why."""
    values = {
        "id": row.id,
        "reason": reason,
        "starts": begins(row, now_is),
        "ends": ends(row, now_is),
        "now": uow.now,
        "actor_id": uow.actor.id,
    }
    await uow.execute(OVERRIDE, values)
