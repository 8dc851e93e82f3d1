"""Duration profiles: what finished runs say about how long each process takes, written set-based and read as curves."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Float, TextClause, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.calendars.store import calendar_of_id
from app.domain.prediction.curves import PROBABILITIES
from app.domain.prediction.hours import open_hours

RUNS = 250  # of each node and variant
YEARS_BACK = timedelta(days=731)
LEAST_OBSERVATIONS = 5
LEAST_OF_WEEKDAY = 8
STALE_AFTER = timedelta(hours=20)

_WORKFLOW = text("""
SELECT w.calendar_id, c.zone FROM workflow w JOIN calendar c ON c.id = w.calendar_id WHERE w.id = :workflow
""")
_LOCK = text(
    "SELECT pg_advisory_xact_lock(hashtextextended('duration_profile:' || CAST(CAST(:workflow AS uuid) AS text), 0))"
)
_CLEAR = text("DELETE FROM duration_profile WHERE workflow_id = :workflow")

# The position of an instant on the axis of working time, in seconds; `width_bucket` is a binary search.
_POSITION = """
CASE WHEN width_bucket({0}, h.starts) = 0 THEN 0.0 ELSE
     h.before[width_bucket({0}, h.starts)] + least(
         extract(epoch FROM {0} - h.starts[width_bucket({0}, h.starts)]), h.lengths[width_bucket({0}, h.starts)]) END
"""
_FRACTIONS = ", ".join(str(probability) for probability in PROBABILITIES)
# A process that was held says nothing about how long the work takes. Working time is taken where the work waits over
# closed hours, is (nearly always) finished in open ones, and varies less than the time that passes. A weekday is usable
# where its median lies outside the notch of all days (McGill, Tukey and Larsen 1978, widened from 1.57 because five
# weekdays are compared) and matters: else it only wastes observations.
_WRITE = f"""
WITH hours AS MATERIALIZED (
    SELECT CAST(:starts AS timestamptz[]) AS starts, CAST(:lengths AS float8[]) AS lengths,
           CAST(:before AS float8[]) AS before
), chosen AS (
    SELECT id, business_date, row_number() OVER (PARTITION BY node_id, variant ORDER BY business_date DESC) AS number
    FROM workflow_run
    WHERE workflow_id = :workflow AND state = 'done' AND business_date >= CAST(:since AS date)
), seen AS (
    SELECT p.code, p.node_id, p.kind, p.ready_at, p.started_at, p.submitted_at, p.finished_at, r.business_date,
           CAST(extract(isodow FROM r.business_date) AS int) - 1 AS weekday,
           CAST(r.business_date AS timestamp) AT TIME ZONE :zone AS midnight
    FROM chosen r JOIN process_run p ON p.run_id = r.id
    WHERE r.number <= :runs AND p.state = 'done' AND p.finished_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM process_transition t WHERE t.process_run_id = p.id AND t.name = 'hold')
), measured AS (
    SELECT s.code, s.node_id, s.weekday, s.business_date, m.measure,
           CAST(extract(epoch FROM s.finished_at - m.begun) AS float8) AS elapsed,
           CASE WHEN s.kind = 'automatic' OR m.measure = 'finish_of_day' OR cardinality(h.starts) = 0 THEN NULL
                ELSE ({_POSITION.format("s.finished_at")}) - ({_POSITION.format("m.begun")}) END AS working,
           CASE WHEN width_bucket(s.finished_at, h.starts) = 0 THEN false ELSE
                s.finished_at <= h.starts[width_bucket(s.finished_at, h.starts)]
                    + h.lengths[width_bucket(s.finished_at, h.starts)] * interval '1 second' END AS in_hours
    FROM seen s CROSS JOIN hours h CROSS JOIN LATERAL (VALUES
        ('ready_to_done', s.ready_at), ('start_to_done', s.started_at), ('submit_to_done', s.submitted_at),
        ('finish_of_day', s.midnight)) AS m (measure, begun)
    WHERE m.begun <= s.finished_at
), bases AS (
    SELECT code, measure, CASE
        WHEN bool_or(elapsed > working + 60) AND avg(CAST(in_hours AS int)) >= 0.9
             AND percentile_cont(0.9) WITHIN GROUP (ORDER BY working)
                 - percentile_cont(0.1) WITHIN GROUP (ORDER BY working)
               < percentile_cont(0.9) WITHIN GROUP (ORDER BY elapsed)
                 - percentile_cont(0.1) WITHIN GROUP (ORDER BY elapsed)
        THEN 'working' ELSE 'elapsed' END AS basis
    FROM measured GROUP BY code, measure
), spread AS (
    SELECT code FROM measured GROUP BY code HAVING count(DISTINCT node_id) > 1
), placed AS (
    SELECT m.*, b.basis, CASE WHEN b.basis = 'working' THEN m.working ELSE m.elapsed END AS seconds
    FROM measured m JOIN bases b USING (code, measure)
), reached AS (
    SELECT code, measure, basis, weekday, business_date, seconds, 'node' AS reach, node_id FROM placed
    WHERE node_id IS NOT NULL
    UNION ALL
    SELECT code, measure, basis, weekday, business_date, seconds, 'any', CAST(NULL AS uuid) FROM placed
    UNION ALL
    SELECT p.code, p.measure, p.basis, p.weekday, p.business_date, p.seconds, 'below', above.id
    FROM placed p JOIN spread USING (code)
    JOIN hierarchy_node n ON n.id = p.node_id
    JOIN hierarchy_node above ON above.hierarchy_id = n.hierarchy_id AND n.path <@ above.path
), summed AS (
    SELECT code, reach, node_id, measure, basis, weekday, count(*) AS observations,
           min(business_date) AS observed_from, max(business_date) AS observed_to,
           min(seconds) AS lowest, max(seconds) AS highest,
           percentile_cont(ARRAY[{_FRACTIONS}]) WITHIN GROUP (ORDER BY seconds) AS p
    FROM reached
    GROUP BY GROUPING SETS ((code, reach, node_id, measure, basis), (code, reach, node_id, measure, basis, weekday))
), judged AS (
    SELECT s.*, CASE WHEN s.weekday IS NULL THEN s.observations >= :least
        ELSE s.observations >= :least_of_weekday AND abs(s.p[3] - every.p[3]) >
             greatest(0.1 * every.p[3], 2.1 * (
                 (every.p[4] - every.p[2]) / sqrt(every.observations) + (s.p[4] - s.p[2]) / sqrt(s.observations)))
        END AS usable
    FROM summed s JOIN summed every ON every.weekday IS NULL AND every.code = s.code AND every.reach = s.reach
        AND every.node_id IS NOT DISTINCT FROM s.node_id AND every.measure = s.measure
)
INSERT INTO duration_profile (id, row_version, created_at, created_by, updated_at, updated_by, workflow_id,
                              process_code, reach, node_id, weekday, measure, basis, observations, usable,
                              observed_from, observed_to, lowest, p10, p25, p50, p75, p90, p95, highest)
SELECT uuidv7(), 1, :now, :by, :now, :by, :workflow, code, reach, node_id, weekday, measure, basis, observations,
       usable, observed_from, observed_to, {
    ", ".join(
        f"make_interval(secs => {x})" for x in ("lowest", "p[1]", "p[2]", "p[3]", "p[4]", "p[5]", "p[6]", "highest")
    )
}
FROM judged
"""


def _typed(statement: str) -> TextClause:
    return text(statement).bindparams(
        bindparam("starts", type_=ARRAY(DateTime(timezone=True))),
        bindparam("lengths", type_=ARRAY(Float)),
        bindparam("before", type_=ARRAY(Float)),
        bindparam("now", type_=DateTime(timezone=True)),
        bindparam("workflow", type_=Uuid),
        bindparam("by", type_=Uuid),
    )


WRITE = _typed(_WRITE)

# Whose runs have finished since their profiles were written, or that have none; those of today are refreshed by events.
STALE = text("""
SELECT w.id
FROM workflow w
LEFT JOIN LATERAL (SELECT max(d.updated_at) AS at FROM duration_profile d WHERE d.workflow_id = w.id) p ON true
WHERE EXISTS (SELECT FROM workflow_run r WHERE r.workflow_id = w.id AND r.state = 'done'
              AND r.finished_at > coalesce(p.at, '-infinity'))
  AND (p.at IS NULL OR p.at < :before)
ORDER BY p.at NULLS FIRST
LIMIT :limit
""")
WORKFLOW_OF_RUN = text("""
SELECT r.workflow_id FROM workflow_run r
WHERE r.id = :run AND NOT EXISTS (
    SELECT FROM duration_profile d WHERE d.workflow_id = r.workflow_id AND d.updated_at > r.finished_at)
""")


async def refresh_profiles(uow: UnitOfWork, *, workflow_id: UUID) -> int:
    """Write the profiles of a workflow anew from its finished runs; return how many there are.

    Raises:
        NotFound: there is no such workflow, or its calendar has no published version.
    """
    row = (await uow.execute(_WORKFLOW, {"workflow": workflow_id})).one_or_none()
    if row is None:
        raise NotFound("There is no such workflow.")
    calendar = await calendar_of_id(uow, row.calendar_id)
    hours = open_hours(calendar, around=uow.now, back=YEARS_BACK + timedelta(days=7), ahead=timedelta(days=1))
    # Whoever reads meanwhile reads the profiles from before.
    await uow.execute(_LOCK, {"workflow": workflow_id})
    await uow.execute(_CLEAR, {"workflow": workflow_id})
    values: dict[str, Any] = {
        "workflow": workflow_id,
        "zone": row.zone,
        "since": (uow.now - YEARS_BACK).date(),
        "runs": RUNS,
        "starts": _instants(uow.now, hours.starts),
        "lengths": [end - start for start, end in zip(hours.starts, hours.ends, strict=True)],
        "before": list(hours.before),
        "least": LEAST_OBSERVATIONS,
        "least_of_weekday": LEAST_OF_WEEKDAY,
        "now": uow.now,
        "by": uow.actor.id,
    }
    written = int((await uow.execute(WRITE, values)).rowcount)
    uow.touch("entity:duration_profile")
    return written


def _instants(zero: datetime, seconds: Sequence[float]) -> list[datetime]:
    return [zero + timedelta(seconds=each) for each in seconds]


async def refresh_after(uow: UnitOfWork, *, run_id: UUID) -> bool:
    """Refresh the profiles of a finished run's workflow, unless that has been done since; say whether."""
    workflow_id = await uow.scalar(WORKFLOW_OF_RUN, {"run": run_id})
    if workflow_id is None:
        return False
    await refresh_profiles(uow, workflow_id=workflow_id)
    return True


async def stale_workflows(uow: UnitOfWork, *, limit: int) -> list[UUID]:
    """Workflows whose profiles lack runs that have finished, the longest neglected first."""
    values = {"before": uow.now - STALE_AFTER, "limit": limit}
    return list((await uow.execute(STALE, values)).scalars())
