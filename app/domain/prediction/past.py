"""Reading finished runs with all that happened in them, to compare forecasts with it."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.calendars.store import calendar_of_id
from app.domain.calendars.wall_time import zone_info
from app.domain.prediction.backtest import PastRun, PastWork
from app.domain.prediction.hours import OpenHours, open_hours
from app.domain.prediction.inputs import links_of, stages_of
from app.domain.prediction.picture import Habit, Source, Work
from app.domain.workflow.states import ProcessState

_WORKFLOW = text("SELECT id, calendar_id FROM workflow WHERE code = :code")
_RUNS = text("""
SELECT * FROM (
    SELECT id, business_date, started_at, finished_at, due_at FROM workflow_run
    WHERE workflow_id = :workflow AND state = 'done' AND finished_at IS NOT NULL
    ORDER BY business_date DESC, id DESC LIMIT :limit) AS latest
ORDER BY business_date, id
""")
_WORKS = text("""
SELECT id, code, node_id, stage_run_id, state, expected_minutes, earliest_start, due_at, ready_at, started_at,
       submitted_at, finished_at
FROM process_run WHERE run_id = :run ORDER BY rank, id
""")
_CHANGES = text("""
SELECT t.process_run_id, t.at, t.to_state
FROM process_transition t JOIN process_run p ON p.id = t.process_run_id
WHERE p.run_id = :run ORDER BY t.at, t.id
""")
UNKNOWN = Habit({}, Source.EXPECTED, 0)


async def past_runs(uow: UnitOfWork, *, workflow: str, limit: int = 60) -> list[PastRun]:
    """The latest finished runs of a workflow, oldest first.

    Raises:
        NotFound: there is no such workflow.
    """
    found = (await uow.execute(_WORKFLOW, {"code": workflow})).one_or_none()
    if found is None:
        raise NotFound(f"There is no workflow {workflow}.")
    calendar = await calendar_of_id(uow, found.calendar_id)
    zone = zone_info(calendar.zone)
    runs = []
    for run in (await uow.execute(_RUNS, {"workflow": found.id, "limit": limit})).all():
        hours = open_hours(calendar, around=run.started_at, back=timedelta(days=30), ahead=timedelta(days=30))
        day = run.business_date
        runs.append(
            PastRun(
                run.id,
                day,
                datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC),
                run.started_at,
                run.finished_at,
                run.due_at,
                await _works(uow, run.id),
                await links_of(uow, run.id, hours),
                await stages_of(uow, run.id),
                OpenHours((), (), ()),  # what is measured here is the time that passed
            )
        )
    return runs


async def _works(uow: UnitOfWork, run_id: UUID) -> list[PastWork]:
    changes: defaultdict[UUID, list[tuple[datetime, ProcessState]]] = defaultdict(list)
    for change in await uow.execute(_CHANGES, {"run": run_id}):
        changes[change.process_run_id].append((change.at, ProcessState(change.to_state)))
    return [
        PastWork(
            Work(
                row.id,
                ProcessState(row.state),
                row.stage_run_id,
                UNKNOWN,
                row.earliest_start,
                row.due_at,
                row.ready_at,
                row.started_at,
                row.submitted_at,
                row.finished_at,
            ),
            row.code,
            row.node_id,
            row.expected_minutes,
            changes[row.id],
        )
        for row in await uow.execute(_WORKS, {"run": run_id})
    ]
