"""Runs of the past, inserted as the engine would have left them: a history whose figures a test can choose."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank

_RUN = text("""
WITH run AS (
    INSERT INTO workflow_run (id, row_version, created_at, updated_at, reference, label, workflow_id, version_id,
                              application_id, business_date, node_id, variant, state, process_count, open_count,
                              started_at, finished_at)
    SELECT uuidv7(), 1, :started, :started, :reference, 'Close', w.id, v.id, w.application_id, :day, w.node_id,
           :variant, 'done', 0, 0, :started, :finished
    FROM workflow w JOIN workflow_version v ON v.workflow_id = w.id AND v.state = 'published' WHERE w.code = :workflow
    RETURNING id, version_id
)
INSERT INTO stage_run (id, row_version, created_at, updated_at, run_id, stage_id, code, label, depth, rank)
SELECT uuidv7(), 1, :started, :started, run.id, s.id, s.code, s.label, 0, 1
FROM run JOIN stage s ON s.version_id = run.version_id
RETURNING run_id
""")
_PROCESS = text("""
INSERT INTO process_run (id, row_version, created_at, updated_at, run_id, stage_run_id, process_id, code, label, kind,
                         state, node_id, application_id, critical, rank, waiting_on, round, attempt, level, levels,
                         ready_at, started_at, submitted_at, finished_at)
SELECT uuidv7(), 1, :ready, :finished, r.id, s.id, p.id, p.code, p.label, p.kind, 'done',
       coalesce(CAST(:node AS uuid), r.node_id), r.application_id, false, 1, 0, 1, 0, 0, 0,
       :ready, :started, :submitted, :finished
FROM workflow_run r JOIN stage_run s ON s.run_id = r.id
JOIN process p ON p.version_id = r.version_id AND p.code = :code
WHERE r.id = :run
RETURNING id
""")


async def add_past_run(
    bank: Bank,
    day: date,
    took: Mapping[str, tuple[datetime, timedelta]],
    *,
    workflow: str = "W",
    variant: str = "",
    nodes: Mapping[str, UUID] | None = None,
) -> dict[str, UUID]:
    """A finished run: by code, when each process became ready and how long it then took. Returns their ids."""
    started = min(ready for ready, _ in took.values())
    finished = max(ready + span for ready, span in took.values())
    async with bank.runtime.uow(SYSTEM) as uow:
        run_id = await uow.scalar(
            _RUN,
            {
                "started": started,
                "finished": finished,
                "day": day,
                "workflow": workflow,
                "variant": variant,
                "reference": f"{workflow}-{day:%Y%m%d}-{variant}",
            },
        )
        ids = {}
        for code, (ready, span) in took.items():
            values = {
                "run": run_id,
                "code": code,
                "node": (nodes or {}).get(code),
                "ready": ready,
                "started": ready + span * 0.2,
                "submitted": ready + span * 0.8,
                "finished": ready + span,
            }
            ids[code] = await uow.scalar(_PROCESS, values)
        return ids


def working_days(last: date, count: int) -> list[date]:
    """The last weekdays up to and with `last`, oldest first."""
    days: list[date] = []
    while len(days) < count:
        if last.weekday() < 5:
            days.append(last)
        last -= timedelta(days=1)
    return days[::-1]


async def profiles(bank: Bank, **wanted: Any) -> Sequence[Any]:
    """The stored profiles that match."""
    async with bank.runtime.uow(SYSTEM) as uow:
        table = uow.table("duration_profile")
        statement = table.select().order_by(table.c.process_code, table.c.measure, table.c.weekday)
        for name, value in wanted.items():
            column = table.c[name]
            statement = statement.where(column.is_(None) if value is None else column == value)
        return (await uow.execute(statement)).all()
