"""Clocks of processes: started with the run, stopped, restarted and paused by what happens to the process.

These are handlers of the workflow's events and run in its transactions, so each is one statement wherever the number of
processes allows it. Deadline clocks live in SQL alone; the few duration clocks are counted in `durations`.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Date, DateTime, Integer, Text, TextClause, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.core.uow import UnitOfWork
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.store import calendar_of_id
from app.domain.sla import durations
from app.domain.sla.clock_math import ClockStatus, Measure
from app.domain.sla.events import ClockEnded, EndedClock
from app.domain.sla.policies import DEFAULT_WARN_MINUTES, PROCESS_DEADLINE, ensure_shipped_policies
from app.domain.workflow.events import ProcessStateChanged, RunCreated, RunStateChanged
from app.domain.workflow.states import CLOSED, Name, ProcessState, RunState

PROCESS_RUN = "process_run"
LONGEST_WARNING_MINUTES = 525_600

_HELD = frozenset({ProcessState.ON_HOLD, ProcessState.WAITING_EXTERNAL})

_RUN = text("""
SELECT r.business_date, w.calendar_id, s.id AS policy_id, s.active, s.warn_minutes, s.thresholds,
       ARRAY(SELECT deadline FROM process WHERE version_id = r.version_id AND deadline <> ''
             UNION SELECT deadline FROM stage WHERE version_id = r.version_id AND deadline <> '') AS deadlines
FROM workflow_run r
JOIN workflow w ON w.id = r.workflow_id
LEFT JOIN sla_policy s ON s.code = :policy
WHERE r.id = :run
""")

# What a clock announces and when, where its policy has more than a warning: of CTE rows `{0}` with the clock's times.
SCHEDULED = """CASE WHEN jsonb_array_length(:more) > 0 THEN (
    SELECT jsonb_agg(jsonb_build_array(x.code, x.at) ORDER BY x.at, x.code) FROM (
        SELECT 'warning' AS code, {0}.warn_at AS at WHERE {0}.warn_at IS NOT NULL
        UNION ALL SELECT 'breach', {0}.due_at
        UNION ALL SELECT m ->> 'code', CASE
            WHEN m ? 'percent' THEN {since} + ({0}.due_at - {since}) * (CAST(m ->> 'percent' AS int) / 100.0)
            ELSE {0}.due_at + CAST(m ->> 'minutes' AS int) * interval '1 minute' END
        FROM jsonb_array_elements(:more) AS m
    ) AS x) END"""
# Follows CTEs `timed` (the processes whose clocks start, with `warn_at`) and `whole` (the run).
START_TIMED = f"""
INSERT INTO sla_clock (id, row_version, created_at, created_by, updated_at, updated_by, policy_id, record_entity,
                       record_id, label, node_id, application_id, measure, calendar_id, formula, base_date, state,
                       started_at, segment_started_at, target, warn_minutes, warn_at, due_at, next_fire_at,
                       next_threshold, schedule, generation)
SELECT uuidv7(), 1, :now, :by, :now, :by, :policy, 'process_run', t.id, t.label || ' · ' || whole.reference, t.node_id,
       t.application_id, 'deadline', :calendar, t.formula, :base_date, 'running', :now, :now, t.due_at - :now,
       t.warn_minutes, t.warn_at, t.due_at,
       CASE WHEN p.schedule IS NULL THEN coalesce(t.warn_at, t.due_at)
            ELSE CAST(p.schedule -> 0 ->> 1 AS timestamptz) END,
       CASE WHEN p.schedule IS NOT NULL THEN p.schedule -> 0 ->> 0
            WHEN t.warn_at IS NULL THEN 'breach' ELSE 'warning' END, p.schedule, 1
FROM timed t CROSS JOIN whole CROSS JOIN LATERAL (SELECT {SCHEDULED.format("t", since=":now")} AS schedule) p
WHERE :policy IS NOT NULL
ON CONFLICT (policy_id, record_entity, record_id) DO NOTHING
"""
_START = text(f"""
WITH formula AS (
    SELECT * FROM unnest(:formulas, :dues) AS f (formula, due_at)
), work AS (
    UPDATE process_run p SET due_at = f.due_at
    FROM process d JOIN formula f ON f.formula = d.deadline
    WHERE p.run_id = :run AND d.id = p.process_id
    RETURNING p.id, p.state, p.label, p.node_id, p.application_id, p.due_at, d.deadline AS formula,
              least(coalesce(d.warn_minutes, :warn_minutes), :longest) AS warn_minutes
), stages AS (
    UPDATE stage_run s SET due_at = f.due_at
    FROM stage d JOIN formula f ON f.formula = d.deadline
    WHERE s.run_id = :run AND d.id = s.stage_id
    RETURNING s.due_at
), whole AS (
    UPDATE workflow_run
    SET due_at = (SELECT max(due_at) FROM (SELECT due_at FROM work UNION ALL SELECT due_at FROM stages) AS every)
    WHERE id = :run
    RETURNING reference
), timed AS (
    SELECT work.*, CASE WHEN warn_minutes > 0 THEN due_at - warn_minutes * interval '1 minute' END AS warn_at FROM work
    WHERE NOT state = ANY(:closed)
) {START_TIMED}""").bindparams(
    bindparam("formulas", type_=ARRAY(Text)),
    bindparam("dues", type_=ARRAY(DateTime(timezone=True))),
    bindparam("closed", type_=ARRAY(Text)),
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("policy", type_=Uuid),
    bindparam("by", type_=Uuid),
    bindparam("warn_minutes", type_=Integer),
    bindparam("longest", type_=Integer),
    bindparam("calendar", type_=Uuid),
    bindparam("base_date", type_=Date),
    bindparam("more", type_=JSONB),
)

_OF_PROCESS = "record_id = :id"
_OF_RUN = "record_id IN (SELECT id FROM process_run WHERE run_id = :id)"

# What was missed because no sweep had looked yet is recorded here: a breach is a fact, however soon the work was done.
_STOP = """
WITH open AS (
    SELECT id, state, generation, next_threshold, warn_at, due_at, started_at, schedule FROM sla_clock
    WHERE record_entity = 'process_run' AND {which} AND state IN ('running', 'paused') AND policy_version_id IS NULL
    FOR UPDATE
), point AS (
    SELECT open.id, n, threshold, at,
           max(n) FILTER (WHERE threshold = next_threshold) OVER (PARTITION BY open.id) AS first
    FROM open CROSS JOIN LATERAL (
        SELECT n, threshold, at FROM (VALUES (1, 'warning', warn_at), (2, 'breach', due_at)) AS v (n, threshold, at)
        WHERE schedule IS NULL
        UNION ALL
        SELECT n, item ->> 0, CAST(item ->> 1 AS timestamptz)
        FROM jsonb_array_elements(schedule) WITH ORDINALITY AS e (item, n)
    ) AS t
), missed AS (
    SELECT open.id, generation, threshold, greatest(at, started_at) AS at
    FROM open JOIN point ON point.id = open.id
    WHERE state = 'running' AND at <= :now AND n >= first
), recorded AS (
    INSERT INTO sla_event (id, row_version, created_at, updated_at, clock_id, generation, threshold, at, fired_at,
                           notified)
    SELECT uuidv7(), 1, :now, :now, id, generation, threshold, at, :now, false FROM missed
    ON CONFLICT (clock_id, generation, threshold) DO NOTHING
)
UPDATE sla_clock c
SET state = :state, stopped_at = :now, next_fire_at = NULL, next_threshold = NULL,
    warned_at = coalesce(c.warned_at, (SELECT at FROM missed m WHERE m.id = c.id AND m.threshold = 'warning')),
    breached_at = coalesce(c.breached_at, (SELECT at FROM missed m WHERE m.id = c.id AND m.threshold = 'breach')),
    row_version = c.row_version + 1, updated_at = :now, updated_by = :by
FROM open WHERE c.id = open.id
RETURNING c.id, c.measure, c.policy_id, c.record_id, c.breached_at IS NOT NULL AS breached
"""

# Thresholds that still lie ahead can fire again; those that have passed fire only if they never have.
_RESTART = text("""
UPDATE sla_clock c
SET state = 'running', stopped_at = NULL, generation = c.generation + 1, next_threshold = n.threshold,
    next_fire_at = CASE
        WHEN c.schedule IS NOT NULL THEN (
            SELECT CAST(item ->> 1 AS timestamptz) FROM jsonb_array_elements(c.schedule) AS e (item)
            WHERE item ->> 0 = n.threshold)
        WHEN n.threshold = 'warning' THEN c.warn_at WHEN n.threshold = 'breach' THEN c.due_at END,
    warned_at = CASE WHEN c.warn_at > :now THEN NULL ELSE c.warned_at END,
    row_version = c.row_version + 1, updated_at = :now, updated_by = :by
FROM (
    SELECT id, CASE
        WHEN schedule IS NOT NULL THEN (
            SELECT item ->> 0 FROM jsonb_array_elements(schedule) WITH ORDINALITY AS e (item, n)
            WHERE CAST(item ->> 1 AS timestamptz) > :now
               OR NOT EXISTS (SELECT FROM sla_event v WHERE v.clock_id = sla_clock.id AND v.threshold = item ->> 0)
            ORDER BY n LIMIT 1)
        WHEN due_at <= :now AND breached_at IS NOT NULL THEN NULL
        WHEN warn_at > :now OR (warn_at IS NOT NULL AND warned_at IS NULL) THEN 'warning'
        ELSE 'breach' END AS threshold
    FROM sla_clock
    WHERE record_entity = 'process_run' AND record_id = :id AND policy_version_id IS NULL
    FOR UPDATE
) n
WHERE c.id = n.id
RETURNING c.id, c.measure
""")


async def on_run_created(uow: UnitOfWork, event: RunCreated) -> None:
    """Set when everything in the run is due, and start the clocks: one statement for any number of processes.

    Raises:
        InvalidDeadline, OutsideCalendarRange: a formula of the version that cannot be used.
        NotFound: the workflow's calendar has no published version.
    """
    run = (await uow.execute(_RUN, {"run": event.run_id, "policy": PROCESS_DEADLINE})).one()
    if not run.deadlines:
        return
    calendar = await calendar_of_id(uow, run.calendar_id)
    policy_id = run.policy_id or await ensure_shipped_policies(uow)
    given = {formula: parse_deadline(formula).resolve(run.business_date, calendar) for formula in run.deadlines}
    warn_minutes = DEFAULT_WARN_MINUTES if run.warn_minutes is None else run.warn_minutes
    values = {
        "run": event.run_id,
        "formulas": list(given),
        "dues": list(given.values()),
        "warn_minutes": min(warn_minutes, LONGEST_WARNING_MINUTES),
        "longest": LONGEST_WARNING_MINUTES,
        "closed": [state.value for state in CLOSED],
        "policy": None if run.active is False else policy_id,  # a policy that was switched off measures nothing
        "calendar": run.calendar_id,
        "base_date": run.business_date,
        "more": run.thresholds or [],
        "now": uow.now,
        "by": uow.actor.id,
    }
    await uow.execute(_START, values)


async def on_process_state_changed(uow: UnitOfWork, event: ProcessStateChanged) -> None:
    """Stop the clocks of work that has closed, restart those of work that came back, pause what its policy pauses."""
    before, after = ProcessState(event.from_state), ProcessState(event.to_state)
    if after in CLOSED:
        await _stop(uow, _OF_PROCESS, event.process_run_id, _end_of(after))
    elif before in CLOSED or event.name == Name.REJECT:
        await _restart(uow, event.process_run_id)
    elif after in _HELD and before not in _HELD:
        await durations.pause_on_hold(uow, event.process_run_id)
    elif before in _HELD and after not in _HELD:
        await durations.resume_after_hold(uow, event.process_run_id)


async def on_run_state_changed(uow: UnitOfWork, event: RunStateChanged) -> None:
    """Call the clocks of a cancelled run off; pause and resume with the run what its policy pauses."""
    match RunState(event.to_state):
        case RunState.CANCELLED:
            await _stop(uow, _OF_RUN, event.run_id, ClockStatus.CANCELLED)
        case RunState.ON_HOLD:
            await durations.pause_on_hold(uow, event.run_id, whole_run=True)
        case RunState.ACTIVE if event.from_state == RunState.ON_HOLD:
            await durations.resume_after_hold(uow, event.run_id, whole_run=True)


def _end_of(state: ProcessState) -> ClockStatus:
    return ClockStatus.STOPPED if state is ProcessState.DONE else ClockStatus.CANCELLED


async def _stop(uow: UnitOfWork, which: str, id_: UUID, status: ClockStatus) -> None:
    rows = (await uow.execute(_STOPS[which], _values(uow, id_) | {"state": status.value})).all()
    await durations.freeze(uow, _durations(rows))
    if rows:
        ended = tuple(
            EndedClock(row.id, row.policy_id, PROCESS_RUN, row.record_id, status.value, row.breached) for row in rows
        )
        uow.emit(ClockEnded(at=uow.now, clocks=ended))


async def _restart(uow: UnitOfWork, process_run_id: UUID) -> None:
    rows = await uow.execute(_RESTART, _values(uow, process_run_id))
    await durations.begin_again(uow, _durations(rows.all()))


def _values(uow: UnitOfWork, id_: UUID) -> dict[str, UUID | datetime | None]:
    return {"id": id_, "now": uow.now, "by": uow.actor.id}


def _durations(rows: Any) -> list[UUID]:
    return [row.id for row in rows if row.measure == Measure.DURATION]


def _statement(which: str) -> TextClause:
    return text(_STOP.format(which=which)).bindparams(
        bindparam("now", type_=DateTime(timezone=True)), bindparam("by", type_=Uuid)
    )


_STOPS = {which: _statement(which) for which in (_OF_PROCESS, _OF_RUN)}
