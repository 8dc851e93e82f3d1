"""Thresholds of clocks whose deadline was moved: their schedule moves with it, and what lies ahead fires again."""

from sqlalchemy import text

from app.core.uow import UnitOfWork

# A schedule has its breach at the due instant: where the two differ, the deadline was moved since it was written.
_REARM = text("""
UPDATE sla_clock c SET
    schedule = n.schedule, next_threshold = n.threshold, next_fire_at = n.at, row_version = c.row_version + 1
FROM (
    SELECT k.id, s.schedule, f.threshold, f.at
    FROM sla_clock k
    CROSS JOIN LATERAL (
        SELECT k.due_at - CAST(item ->> 1 AS timestamptz) AS shift
        FROM jsonb_array_elements(k.schedule) AS e (item) WHERE item ->> 0 = 'breach') d
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(
            jsonb_build_array(item ->> 0, CAST(item ->> 1 AS timestamptz) + d.shift) ORDER BY n) AS schedule
        FROM jsonb_array_elements(k.schedule) WITH ORDINALITY AS e (item, n)) s
    LEFT JOIN LATERAL (
        SELECT item ->> 0 AS threshold, CAST(item ->> 1 AS timestamptz) AS at
        FROM jsonb_array_elements(s.schedule) WITH ORDINALITY AS e (item, n)
        WHERE CAST(item ->> 1 AS timestamptz) > :now
           OR NOT EXISTS (SELECT FROM sla_event v WHERE v.clock_id = k.id AND v.threshold = item ->> 0)
        ORDER BY n LIMIT 1) f ON true
    WHERE k.state = 'running' AND k.schedule IS NOT NULL AND d.shift <> interval '0' AND k.updated_at = :now
) n
WHERE c.id = n.id
""")


async def rearm_moved(uow: UnitOfWork) -> None:
    """Move the schedules of the running clocks whose deadline was moved in this transaction, all in one statement."""
    await uow.execute(_REARM, {"now": uow.now})
