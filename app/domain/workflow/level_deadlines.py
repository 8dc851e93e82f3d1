"""Deadlines of single approval levels: worked out with the run, for those levels that have their own."""

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.uow import UnitOfWork
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.store import calendar_of_id
from app.domain.workflow.events import RunCreated, RunMigrated

READ_FORMULAS = text(
    """
SELECT r.business_date, w.calendar_id, ARRAY(
    SELECT DISTINCT l.deadline FROM process_approval_level l JOIN process d ON d.id = l.parent_id
    WHERE d.version_id = r.version_id AND l.deadline <> '') AS formulas
FROM workflow_run r JOIN workflow w ON w.id = r.workflow_id
WHERE r.id = :run_id
"""
)
SET_DEADLINES = text(
    """
UPDATE process_run p SET level_due = x.due
FROM (SELECT l.parent_id, jsonb_object_agg(CAST(l.level AS text), :instants ->> l.deadline) AS due
      FROM process_approval_level l
      WHERE l.deadline <> '' AND l.parent_id IN (SELECT process_id FROM process_run WHERE run_id = :run_id)
      GROUP BY l.parent_id) x
WHERE p.run_id = :run_id AND p.process_id = x.parent_id
"""
).bindparams(bindparam("instants", type_=JSONB))


async def on_run_created(uow: UnitOfWork, event: RunCreated | RunMigrated) -> None:
    """Give the levels of the run's processes their deadlines: one statement, and a second where there are any."""
    row = (await uow.execute(READ_FORMULAS, {"run_id": event.run_id})).one()
    if not row.formulas:
        return
    calendar = await calendar_of_id(uow, row.calendar_id)
    instants = {
        formula: parse_deadline(formula).resolve(row.business_date, calendar).isoformat() for formula in row.formulas
    }
    await uow.execute(SET_DEADLINES, {"run_id": event.run_id, "instants": instants})
