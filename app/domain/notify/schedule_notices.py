"""A run that its schedule could not create: operations there are told at once, and again when it is given up."""

from uuid import UUID

from sqlalchemy import Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.uow import UnitOfWork
from app.domain.access.policy import AccessPolicy
from app.domain.lifecycles.events import RecordNoticeWanted
from app.domain.schedules.events import ScheduledRunFailed

READ_FAILURE = text(
    """
SELECT s.id, s.label, w.label AS workflow, w.id AS workflow_id, w.application_id, a.code AS application,
       o.business_date, o.attempts, coalesce(s.node_id, w.node_id) AS node_id
FROM schedule_occurrence o
JOIN schedule s ON s.id = o.schedule_id
JOIN workflow w ON w.id = o.workflow_id
JOIN application a ON a.id = w.application_id
WHERE o.id = :id
"""
)
# Whoever may create the run of an occurrence where the workflow is at home, and who made the schedule.
READ_PEOPLE = text(
    """
SELECT array_agg(DISTINCT x.user_id) FROM (
    SELECT g.user_id FROM role_grant g
    JOIN role o ON o.id = g.role_id AND o.code = ANY (:roles)
    LEFT JOIN hierarchy_node within ON within.id = g.node_id
    LEFT JOIN hierarchy_node place ON place.id = :node_id
    WHERE g.application_id = :application_id AND g.revoked_at IS NULL AND g.valid_from <= :now
      AND (g.valid_until IS NULL OR g.valid_until > :now)
      AND (g.node_id IS NULL OR place.id IS NULL OR place.path <@ within.path)
    UNION ALL
    SELECT s.created_by FROM schedule s JOIN app_user u ON u.id = s.created_by WHERE s.id = :schedule_id
) x
"""
).bindparams(bindparam("roles", type_=ARRAY(Text)))


async def on_scheduled_run_failed(uow: UnitOfWork, event: ScheduledRunFailed) -> None:
    """Tell operations of the first failure and of the last; the attempts between change nothing for them."""
    found = (await uow.execute(READ_FAILURE, {"id": event.occurrence_id})).one_or_none()
    if found is None or not (event.final or found.attempts <= 1):
        return
    policy: AccessPolicy = uow.resources.policy
    values = {
        "roles": list(policy.roles_that_may(found.application, "schedule_occurrence", "retry")),
        "node_id": found.node_id,
        "application_id": found.application_id,
        "schedule_id": found.id,
        "now": uow.now,
    }
    people: list[UUID] = await uow.scalar(READ_PEOPLE, values) or []
    what = "is given up" if event.final else "has failed and is tried again"
    day = f"{found.business_date:%d %b %Y}"
    uow.emit(
        RecordNoticeWanted(
            at=event.at,
            entity="schedule",
            record_id=found.id,
            title=found.label,
            roles=(),
            user_ids=tuple(people),
            subject=f"The run of {found.workflow} for {day} {what}",
            text=f"The schedule “{found.label}” could not create it: {event.reason}",
        )
    )
