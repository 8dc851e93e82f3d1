"""What stands behind a sign-off: every process of its run that it builds on, however far back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.core.uow import UnitOfWork
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.states import ProcessState

# The work that had to end before it, which is what a sign-off can speak for.
READ_BEHIND = text(
    """
WITH RECURSIVE behind AS (
    SELECT e.predecessor_id AS id FROM process_edge e
    WHERE e.successor_id = :id AND e.run_id = :run_id AND e.hardness = 'hard' AND e.edge_type IN ('FS', 'FF')
      AND e.outcome IS DISTINCT FROM 'not_binding'
    UNION
    SELECT e.predecessor_id FROM behind b JOIN process_edge e ON e.successor_id = b.id
    WHERE e.run_id = :run_id AND e.hardness = 'hard' AND e.edge_type IN ('FS', 'FF')
      AND e.outcome IS DISTINCT FROM 'not_binding'
)
SELECT q.id, q.code, q.label, q.state, coalesce(q.output_hash, q.snapshot_hash) AS output, q.node_id, q.finished_at
FROM behind b JOIN process_run q ON q.id = b.id AND q.run_id = :run_id ORDER BY q.rank, q.code
"""
)


@dataclass(frozen=True, slots=True)
class Behind:
    """A process as it stands; `output` is the hash of what it has brought about."""

    id: UUID
    code: str
    label: str
    state: ProcessState
    output: str | None
    node_id: UUID | None
    finished_at: datetime | None

    @property
    def plain(self) -> dict[str, Any]:
        """As it is kept with the signature."""
        return {
            "id": str(self.id),
            "code": self.code,
            "label": self.label,
            "state": self.state.value,
            "output": self.output,
        }


async def read_behind(uow: UnitOfWork, row: ProcessRow) -> tuple[Behind, ...]:
    """In the order of the run; one statement, whatever their number."""
    found = (await uow.execute(READ_BEHIND, {"id": row.id, "run_id": row.run_id})).mappings()
    return tuple(Behind(**{**item, "state": ProcessState(item["state"])}) for item in found)
