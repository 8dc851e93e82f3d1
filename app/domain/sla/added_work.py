"""The clock of a process that was added to a run under way: it runs from then to the deadline that it was given."""

from sqlalchemy import text

from app.core.uow import UnitOfWork
from app.domain.sla.policies import DEFAULT_WARN_MINUTES, PROCESS_DEADLINE, ensure_shipped_policies
from app.domain.workflow.events import ProcessAdded

START = text(
    """
INSERT INTO sla_clock (id, row_version, created_at, created_by, updated_at, updated_by, policy_id, record_entity,
                       record_id, label, node_id, application_id, measure, calendar_id, state, started_at,
                       segment_started_at, target, warn_minutes, warn_at, due_at, next_fire_at, next_threshold,
                       generation)
SELECT uuidv7(), 1, :now, :by, :now, :by, s.id, 'process_run', p.id, p.label || ' · ' || r.reference, p.node_id,
       p.application_id, 'deadline', f.calendar_id, 'running', :now, :now, p.due_at - :now, w.minutes, w.at, p.due_at,
       coalesce(w.at, p.due_at), CASE WHEN w.at IS NULL THEN 'breach' ELSE 'warning' END, 1
FROM process_run p
JOIN workflow_run r ON r.id = p.run_id
JOIN workflow f ON f.id = r.workflow_id
JOIN sla_policy s ON s.id = :policy_id AND s.active
CROSS JOIN LATERAL (SELECT coalesce(s.warn_minutes, :warn_minutes) AS minutes) m
CROSS JOIN LATERAL (SELECT m.minutes, CASE WHEN m.minutes > 0 AND p.due_at - m.minutes * interval '1 minute' > :now
                                           THEN p.due_at - m.minutes * interval '1 minute' END AS at) w
WHERE p.id = :id AND p.due_at IS NOT NULL
ON CONFLICT (policy_id, record_entity, record_id) DO NOTHING
"""
)
FIND_POLICY = text("SELECT id FROM sla_policy WHERE code = :code")


async def on_process_added(uow: UnitOfWork, event: ProcessAdded) -> None:
    """Start its clock, where it has a deadline."""
    policy_id = await uow.scalar(FIND_POLICY, {"code": PROCESS_DEADLINE}) or await ensure_shipped_policies(uow)
    values = {"id": event.process_run_id, "policy_id": policy_id, "warn_minutes": DEFAULT_WARN_MINUTES}
    await uow.execute(START, {**values, "now": uow.now, "by": uow.actor.id})
