"""Deadlines and clocks of a run that has gone over to another version: they follow the new one, what was used stays.

A clock that measures a duration is not touched: what it has counted is carried. A deadline that moves moves its clock,
whose warning and breach lie ahead again where they do; what has been breached stays on record.
"""

from uuid import UUID

from sqlalchemy import Date, DateTime, Integer, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.core.uow import UnitOfWork
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.store import calendar_of_id
from app.domain.sla.clocks import LONGEST_WARNING_MINUTES, START_TIMED
from app.domain.sla.moved import rearm_moved
from app.domain.sla.policies import DEFAULT_WARN_MINUTES, PROCESS_DEADLINE, ensure_shipped_policies
from app.domain.workflow.events import RunMigrated
from app.domain.workflow.states import CLOSED

_RUN = text("""
SELECT r.business_date, w.calendar_id, s.id AS policy_id, s.active, s.warn_minutes, s.thresholds,
       ARRAY(SELECT deadline FROM process WHERE version_id = r.version_id AND deadline <> ''
             UNION SELECT deadline FROM stage WHERE version_id = r.version_id AND deadline <> '') AS deadlines
FROM workflow_run r
JOIN workflow w ON w.id = r.workflow_id
LEFT JOIN sla_policy s ON s.code = :policy
WHERE r.id = :run
""")

_FOLLOW = text(f"""
WITH formula AS (
    SELECT * FROM unnest(:formulas, :dues) AS f (formula, due_at)
), stages AS (
    UPDATE stage_run s SET due_at = f.due_at
    FROM stage d LEFT JOIN formula f ON f.formula = d.deadline
    WHERE s.run_id = :run AND d.id = s.stage_id AND s.due_at IS DISTINCT FROM f.due_at
), aimed AS (
    SELECT p.id, p.label, p.node_id, p.application_id, f.due_at, f.formula, NOT p.state = ANY (:closed) AS open,
           CASE WHEN p.state = ANY (:closed) THEN p.due_at ELSE f.due_at END AS stands,
           least(coalesce(d.warn_minutes, :warn_minutes), :longest) AS warn_minutes
    FROM process_run p JOIN process d ON d.id = p.process_id LEFT JOIN formula f ON f.formula = d.deadline
    WHERE p.run_id = :run AND NOT coalesce(p.ad_hoc, false)
), work AS (
    UPDATE process_run p SET due_at = a.due_at
    FROM aimed a WHERE p.id = a.id AND a.open AND p.due_at IS DISTINCT FROM a.due_at
), whole AS (
    UPDATE workflow_run SET due_at = (
        SELECT max(due) FROM (
            SELECT stands AS due FROM aimed
            UNION ALL SELECT f.due_at FROM stage_run s JOIN stage d ON d.id = s.stage_id
                      JOIN formula f ON f.formula = d.deadline WHERE s.run_id = :run
            UNION ALL SELECT due_at FROM process_run WHERE run_id = :run AND ad_hoc) AS every)
    WHERE id = :run
    RETURNING reference
), timed AS (
    SELECT a.*, CASE WHEN a.warn_minutes > 0 THEN a.due_at - a.warn_minutes * interval '1 minute' END AS warn_at
    FROM aimed a WHERE a.open AND a.due_at IS NOT NULL
), moved AS (
    UPDATE sla_clock c SET
        label = n.label || ' · ' || whole.reference, node_id = n.node_id, due_at = n.due_at, warn_at = n.warn_at,
        warn_minutes = n.warn_minutes, calendar_id = :calendar, formula = n.formula, base_date = :base_date,
        target = n.due_at - c.started_at, generation = c.generation + 1,
        next_threshold = n.threshold,
        next_fire_at = CASE n.threshold WHEN 'warning' THEN n.warn_at WHEN 'breach' THEN n.due_at END,
        warned_at = CASE WHEN n.warn_at > :now THEN NULL ELSE c.warned_at END,
        breached_at = CASE WHEN n.due_at > :now THEN NULL ELSE c.breached_at END,
        row_version = c.row_version + 1, updated_at = :now, updated_by = :by
    FROM (
        SELECT t.*, k.id AS clock_id, CASE
            WHEN t.due_at <= :now AND k.breached_at IS NOT NULL THEN NULL
            WHEN t.warn_at > :now OR (t.warn_at IS NOT NULL AND k.warned_at IS NULL) THEN 'warning'
            ELSE 'breach' END AS threshold
        FROM timed t JOIN sla_clock k ON k.record_entity = 'process_run' AND k.record_id = t.id
                                     AND k.measure = 'deadline' AND k.state = 'running' AND k.policy_id = :policy
        WHERE (k.due_at, k.warn_at) IS DISTINCT FROM (t.due_at, t.warn_at)
    ) n CROSS JOIN whole
    WHERE c.id = n.clock_id
), ended AS (
    UPDATE sla_clock c SET
        state = 'cancelled', stopped_at = :now, next_fire_at = NULL, next_threshold = NULL,
        row_version = c.row_version + 1, updated_at = :now, updated_by = :by
    WHERE c.record_entity = 'process_run' AND c.policy_version_id IS NULL AND c.state IN ('running', 'paused') AND (
        c.record_id = ANY (:gone)
        OR (c.measure = 'deadline' AND c.record_id IN (SELECT id FROM aimed WHERE open AND due_at IS NULL)))
) {START_TIMED}""").bindparams(
    bindparam("formulas", type_=ARRAY(Text)),
    bindparam("dues", type_=ARRAY(DateTime(timezone=True))),
    bindparam("closed", type_=ARRAY(Text)),
    bindparam("gone", type_=ARRAY(Uuid)),
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("policy", type_=Uuid),
    bindparam("by", type_=Uuid),
    bindparam("warn_minutes", type_=Integer),
    bindparam("longest", type_=Integer),
    bindparam("calendar", type_=Uuid),
    bindparam("base_date", type_=Date),
    bindparam("more", type_=JSONB),
)


async def on_run_migrated(uow: UnitOfWork, event: RunMigrated) -> None:
    """Let deadlines and clocks of the run follow its new version: one statement for any number of processes.

    Raises:
        InvalidDeadline, OutsideCalendarRange: a formula of the version that cannot be used.
        NotFound: the workflow's calendar has no published version.
    """
    run = (await uow.execute(_RUN, {"run": event.run_id, "policy": PROCESS_DEADLINE})).one()
    dues = {}
    policy_id: UUID | None = run.policy_id
    if run.deadlines:
        calendar = await calendar_of_id(uow, run.calendar_id)
        dues = {formula: parse_deadline(formula).resolve(run.business_date, calendar) for formula in run.deadlines}
        policy_id = policy_id or await ensure_shipped_policies(uow)
    warn_minutes = DEFAULT_WARN_MINUTES if run.warn_minutes is None else run.warn_minutes
    values = {
        "run": event.run_id,
        "formulas": list(dues),
        "dues": list(dues.values()),
        "warn_minutes": min(warn_minutes, LONGEST_WARNING_MINUTES),
        "longest": LONGEST_WARNING_MINUTES,
        "closed": [state.value for state in CLOSED],
        "gone": list(event.closed),
        "policy": None if run.active is False else policy_id,
        "calendar": run.calendar_id,
        "base_date": run.business_date,
        "more": run.thresholds or [],
        "now": uow.now,
        "by": uow.actor.id,
    }
    await uow.execute(_FOLLOW, values)
    if run.thresholds:
        await rearm_moved(uow)
