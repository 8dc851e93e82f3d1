"""What starts a ladder: a threshold of a clock, a job that has failed for good, a message that cannot be delivered.

These are handlers in somebody else's transaction, so each is one statement, however many clocks there are. What has
been started is moved by the sweep; that a ladder is started twice for one matter is kept out by a constraint.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Integer, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.events import DeliveryFailed
from app.core.uow import UnitOfWork
from app.domain.jobs.events import JobFailed
from app.domain.sla.events import SlaThresholdsPassed
from models.types import UtcDateTime

MESSAGE = "mail_message"

_PLAN = """
(SELECT jsonb_agg(jsonb_build_object('wait_minutes', s.wait_minutes, 'calendar', s.calendar_id, 'target', s.target,
                                     'role', s.role_id, 'person', s.person_id, 'group', s.group_id,
                                     'repeat_times', s.repeat_times, 'repeat_minutes', s.repeat_minutes)
                  ORDER BY s.position)
 FROM escalation_step s WHERE s.parent_id = l.id)
"""
_COLUMNS = """
(id, row_version, created_at, created_by, updated_at, updated_by, ladder_id, cause, record_entity, record_id, label,
 node_id, application_id, clock_id, clock_generation, dedup_key, state, plan, step, told, round, next_at, started_at)
"""
_STAMP = "uuidv7(), 1, :now, :by, :now, :by"
_POSITION = "'running', p.plan, -1, 0, 1, :now, :now"

# After an outage only the highest threshold is announced: one that it has overtaken starts its ladder as well.
_AT_THRESHOLDS = text(
    f"""
INSERT INTO escalation {_COLUMNS}
SELECT {_STAMP}, l.id, 'threshold', c.record_entity, c.record_id, left(c.label, 300), c.node_id, c.application_id,
       c.id, c.generation, 'clock:' || c.id || ':' || c.generation, {_POSITION}
FROM unnest(:clocks, :generations, :thresholds) AS t (clock_id, generation, threshold)
JOIN sla_clock c ON c.id = t.clock_id AND c.generation = t.generation
JOIN sla_policy y ON y.id = c.policy_id
JOIN escalation_ladder l ON l.id = y.ladder_id AND l.active AND (l.threshold = t.threshold OR EXISTS (
    SELECT FROM sla_event v
    WHERE v.clock_id = c.id AND v.generation = c.generation AND v.threshold = l.threshold))
CROSS JOIN LATERAL (SELECT {_PLAN} AS plan) p
WHERE p.plan IS NOT NULL AND c.state = 'running'
ON CONFLICT (ladder_id, dedup_key) DO NOTHING
RETURNING record_entity, record_id
"""
).bindparams(
    bindparam("clocks", type_=ARRAY(Uuid)),
    bindparam("generations", type_=ARRAY(Integer)),
    bindparam("thresholds", type_=ARRAY(Text)),
    bindparam("now", type_=UtcDateTime),
    bindparam("by", type_=Uuid),
)

# The work is named where there is work; a job of the platform itself stands for itself.
_AT_FAILED_JOB = text(
    f"""
INSERT INTO escalation {_COLUMNS}
SELECT {_STAMP}, l.id, 'job_failed', 'job_run', j.id,
       left(concat_ws(' · ', 'Job ' || j.function, w.label, r.reference), 300), w.node_id, w.application_id,
       NULL, NULL, 'job:' || j.id || ':' || j.attempt, {_POSITION}
FROM job_run j
LEFT JOIN process_run w ON w.id = j.process_run_id
LEFT JOIN workflow_run r ON r.id = w.run_id
JOIN escalation_ladder l ON l.active AND l.job_failures
     AND coalesce(nullif(l.job_function, ''), j.function) = j.function
CROSS JOIN LATERAL (SELECT {_PLAN} AS plan) p
WHERE j.id = :job_run_id AND p.plan IS NOT NULL
ON CONFLICT (ladder_id, dedup_key) DO NOTHING
RETURNING record_entity, record_id
"""
).bindparams(bindparam("job_run_id", type_=Uuid), bindparam("now", type_=UtcDateTime), bindparam("by", type_=Uuid))

# One a day for a recipient and a channel: an address that is wrong fails with every message.
_AT_FAILED_DELIVERY = text(
    f"""
INSERT INTO escalation {_COLUMNS}
SELECT {_STAMP}, l.id, 'delivery_failed', 'mail_message', :delivery_id,
       left('No delivery by ' || :channel || coalesce(' to ' || u.name, ''), 300), NULL, NULL, NULL, NULL,
       concat_ws(':', 'delivery', :channel, CAST(:user_id AS text), CAST(CAST(:now AS timestamptz) AS date)),
       {_POSITION}
FROM escalation_ladder l
LEFT JOIN app_user u ON u.id = :user_id
CROSS JOIN LATERAL (SELECT {_PLAN} AS plan) p
WHERE l.active AND l.delivery_failures AND p.plan IS NOT NULL
ON CONFLICT (ladder_id, dedup_key) DO NOTHING
RETURNING record_entity, record_id
"""
).bindparams(
    bindparam("delivery_id", type_=Uuid),
    bindparam("channel", type_=Text),
    bindparam("user_id", type_=Uuid),
    bindparam("now", type_=UtcDateTime),
    bindparam("by", type_=Uuid),
)


async def on_thresholds_passed(uow: UnitOfWork, event: SlaThresholdsPassed) -> None:
    """Start the ladders that the policies of the clocks name, where one starts at this threshold."""
    rows = await uow.execute(
        _AT_THRESHOLDS,
        {
            "clocks": [each.clock_id for each in event.passed],
            "generations": [each.generation for each in event.passed],
            "thresholds": [str(each.threshold) for each in event.passed],
            "now": uow.now,
            "by": uow.actor.id,
        },
    )
    _touch(uow, rows.all())


async def on_job_failed(uow: UnitOfWork, event: JobFailed) -> None:
    """Start the ladders for failed jobs, whether the job was a process's or the platform's own."""
    values = {"job_run_id": event.job_run_id, "now": uow.now, "by": uow.actor.id}
    _touch(uow, (await uow.execute(_AT_FAILED_JOB, values)).all())


async def on_delivery_failed(uow: UnitOfWork, event: DeliveryFailed) -> None:
    """Start the ladders for messages that cannot be delivered, unless the message was about one of those."""
    if event.record_entity == MESSAGE:
        return
    values = {
        "delivery_id": event.delivery_id,
        "channel": event.channel,
        "user_id": event.user_id,
        "now": uow.now,
        "by": uow.actor.id,
    }
    _touch(uow, (await uow.execute(_AT_FAILED_DELIVERY, values)).all())


def _touch(uow: UnitOfWork, rows: Sequence[Any]) -> None:
    if rows:
        uow.touch("entity:escalation", *(f"{row.record_entity}:{row.record_id}" for row in rows))
