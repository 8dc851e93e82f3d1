"""The statements that find and move what a changed calendar moves.

A shift says: what this formula on this date under this calendar gave before, and what it gives now. A deadline is moved
where it stands where the calendar before had put it; one that somebody has set to another instant stays there.
"""

from sqlalchemy import Date, DateTime, Integer, Text, TextClause, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

_INSTANTS = ARRAY(DateTime(timezone=True))
_SHIFT = """
shift AS (
    SELECT * FROM unnest(:calendars, :formulas, :bases, :olds, :news)
        AS s (calendar_id, formula, base_date, old_due, new_due)
)"""
_SHIFT_TYPES = (
    bindparam("calendars", type_=ARRAY(Uuid)),
    bindparam("formulas", type_=ARRAY(Text)),
    bindparam("bases", type_=ARRAY(Date)),
    bindparam("olds", type_=_INSTANTS),
    bindparam("news", type_=_INSTANTS),
)
_RUNS = """
FROM shift s
JOIN workflow w ON w.calendar_id = s.calendar_id
JOIN workflow_run r ON r.workflow_id = w.id AND r.business_date = s.base_date AND r.state IN ('active', 'on_hold')"""


def _of_shifts(statement: str, *more: bindparam) -> TextClause:  # type: ignore[valid-type]
    return text(f"WITH {_SHIFT} {statement}").bindparams(*_SHIFT_TYPES, *more)


# Which formulas count from which dates in what is open: few, however many deadlines there are.
READ_BASES = text("""
WITH open_runs AS (
    SELECT DISTINCT w.calendar_id, r.version_id, r.business_date
    FROM workflow_run r JOIN workflow w ON w.id = r.workflow_id
    WHERE w.calendar_id = ANY (:calendars) AND r.state IN ('active', 'on_hold')
)
SELECT o.calendar_id, x.formula, o.business_date AS base_date
FROM open_runs o CROSS JOIN LATERAL (
    SELECT deadline FROM process WHERE version_id = o.version_id AND deadline <> ''
    UNION SELECT deadline FROM stage WHERE version_id = o.version_id AND deadline <> ''
    UNION SELECT l.deadline FROM process_approval_level l JOIN process d ON d.id = l.parent_id
          WHERE d.version_id = o.version_id AND l.deadline <> '') AS x (formula)
UNION
SELECT calendar_id, formula, base_date FROM sla_clock
WHERE calendar_id = ANY (:calendars) AND state = 'running' AND measure = 'deadline'
  AND formula IS NOT NULL AND base_date IS NOT NULL
""").bindparams(bindparam("calendars", type_=ARRAY(Uuid)))

_WORK = f"""
SELECT p.id, p.run_id, 'process_run' AS entity, p.id AS record_id, p.label || ' · ' || r.reference AS label,
       s.old_due, s.new_due
{_RUNS}
JOIN process_run p ON p.run_id = r.id AND p.due_at = s.old_due
JOIN process d ON d.id = p.process_id AND d.deadline = s.formula
WHERE NOT p.state = ANY (:closed) AND NOT coalesce(p.ad_hoc, false)
"""
_STAGES = f"""
SELECT t.id, t.run_id, 'stage_run' AS entity, t.id AS record_id, t.label || ' · ' || r.reference AS label,
       s.old_due, s.new_due
{_RUNS}
JOIN stage_run t ON t.run_id = r.id AND t.due_at = s.old_due
JOIN stage d ON d.id = t.stage_id AND d.deadline = s.formula
"""
# Clocks that began before they kept what they were computed from are found by the definition of their process.
_CLOCKS = f"""
SELECT c.id, NULL::uuid AS run_id, c.record_entity AS entity, c.record_id, c.label, s.old_due, s.new_due
FROM shift s
JOIN sla_clock c ON c.calendar_id = s.calendar_id AND c.formula = s.formula AND c.base_date = s.base_date
                AND c.due_at = s.old_due
WHERE c.state = 'running' AND c.measure = 'deadline'
UNION ALL
SELECT c.id, NULL::uuid, c.record_entity, c.record_id, c.label, s.old_due, s.new_due
{_RUNS}
JOIN process_run p ON p.run_id = r.id AND NOT coalesce(p.ad_hoc, false)
JOIN process d ON d.id = p.process_id AND d.deadline = s.formula
JOIN sla_clock c ON c.record_entity = 'process_run' AND c.record_id = p.id AND c.due_at = s.old_due
WHERE c.formula IS NULL AND c.state = 'running' AND c.measure = 'deadline'
"""
_CLOSED = bindparam("closed", type_=ARRAY(Text))
_LIMIT = bindparam("limit", type_=Integer)
FIND_WORK = _of_shifts(f"{_WORK} ORDER BY p.run_id, p.id LIMIT :limit", _CLOSED, _LIMIT)
FIND_STAGES = _of_shifts(f"{_STAGES} ORDER BY t.run_id, t.id LIMIT :limit", _LIMIT)
FIND_CLOCKS = _of_shifts(f"SELECT * FROM ({_CLOCKS}) AS found ORDER BY id LIMIT :limit", _LIMIT)

# A process and its own clock are one deadline; clocks of other policies on it count by themselves.
_EVERY = f"""
{_WORK} UNION ALL {_STAGES} UNION ALL
SELECT * FROM ({_CLOCKS}) AS found
WHERE NOT EXISTS (SELECT FROM process_run p JOIN process d ON d.id = p.process_id
                  WHERE found.entity = 'process_run' AND p.id = found.record_id AND p.due_at = found.old_due)
"""
SHOW_SHIFTED = _of_shifts(f"SELECT * FROM ({_EVERY}) AS every ORDER BY new_due, id LIMIT :limit", _CLOSED, _LIMIT)
COUNT_SHIFTED = _of_shifts(
    f"""
SELECT count(*) AS total, count(*) FILTER (WHERE new_due > old_due) AS later,
       count(*) FILTER (WHERE new_due < old_due) AS earlier,
       count(*) FILTER (WHERE new_due <= :now AND old_due > :now) AS late_at_once
FROM ({_EVERY}) AS every
""",
    _CLOSED,
    bindparam("now", type_=DateTime(timezone=True)),
)

LOCK_RUNS = text("SELECT id FROM workflow_run WHERE id = ANY (:runs) ORDER BY id FOR NO KEY UPDATE").bindparams(
    bindparam("runs", type_=ARRAY(Uuid))
)
_MOVES = (bindparam("ids", type_=ARRAY(Uuid)), bindparam("olds", type_=_INSTANTS), bindparam("news", type_=_INSTANTS))
MOVE_WORK = text("""
UPDATE process_run p SET due_at = m.new_due
FROM unnest(:ids, :olds, :news) AS m (id, old_due, new_due)
WHERE p.id = m.id AND p.due_at = m.old_due AND NOT p.state = ANY (:closed)
RETURNING p.id
""").bindparams(*_MOVES, bindparam("closed", type_=ARRAY(Text)))
MOVE_STAGES = text("""
UPDATE stage_run t SET due_at = m.new_due
FROM unnest(:ids, :olds, :news) AS m (id, old_due, new_due)
WHERE t.id = m.id AND t.due_at = m.old_due
RETURNING t.id
""").bindparams(*_MOVES)
# A run is due when the last of it is.
MOVE_RUNS = text("""
UPDATE workflow_run r SET due_at = due.last
FROM (
    SELECT run_id, max(due_at) AS last FROM (
        SELECT run_id, due_at FROM process_run WHERE run_id = ANY (:runs)
        UNION ALL SELECT run_id, due_at FROM stage_run WHERE run_id = ANY (:runs)) AS every
    GROUP BY run_id
) due
WHERE r.id = due.run_id AND r.due_at IS DISTINCT FROM due.last
""").bindparams(bindparam("runs", type_=ARRAY(Uuid)))
LOCK_RUNS_WITH_LEVELS = text("""
SELECT r.id FROM workflow_run r JOIN workflow w ON w.id = r.workflow_id
WHERE w.calendar_id = :calendar AND r.business_date = :base AND r.state IN ('active', 'on_hold')
  AND EXISTS (SELECT FROM process_run p WHERE p.run_id = r.id AND p.level_due IS NOT NULL)
ORDER BY r.id FOR NO KEY UPDATE OF r
""")
MOVE_LEVELS = text("""
UPDATE process_run p SET level_due = p.level_due || x.due
FROM workflow_run r, workflow w, (
    SELECT l.parent_id, jsonb_object_agg(CAST(l.level AS text), :instants ->> l.deadline) AS due
    FROM process_approval_level l WHERE jsonb_exists(:instants, l.deadline) GROUP BY l.parent_id
) x
WHERE p.run_id = r.id AND r.workflow_id = w.id AND w.calendar_id = :calendar AND r.business_date = :base
  AND r.state IN ('active', 'on_hold') AND p.process_id = x.parent_id AND p.level_due IS NOT NULL
  AND NOT p.state = ANY (:closed)
""").bindparams(bindparam("instants", type_=JSONB), bindparam("closed", type_=ARRAY(Text)))

LOCK_CLOCKS = text("""
SELECT * FROM sla_clock WHERE id = ANY (:ids) AND state = 'running' ORDER BY id FOR UPDATE
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))
# What counts working time, page by page: what it comes to is reckoned for each.
FIND_DURATIONS = text("""
SELECT c.*, coalesce(c.calendar_id, s.calendar_id) AS counts_by
FROM sla_clock c JOIN sla_policy s ON s.id = c.policy_id
WHERE coalesce(c.calendar_id, s.calendar_id) = ANY (:calendars) AND c.measure = 'duration' AND c.state = 'running'
  AND c.due_at > :since AND c.id > :after
ORDER BY c.id LIMIT :limit
""").bindparams(
    bindparam("calendars", type_=ARRAY(Uuid)),
    bindparam("since", type_=DateTime(timezone=True)),
    bindparam("after", type_=Uuid),
    _LIMIT,
)
# A moved clock is another generation, whose thresholds can fire again; a breach that has happened stays on record.
MOVE_CLOCKS = text("""
UPDATE sla_clock c SET
    due_at = m.due_at, warn_at = m.warn_at, next_threshold = m.threshold, next_fire_at = m.fire_at,
    target = CASE c.measure WHEN 'deadline' THEN m.due_at - c.started_at ELSE c.target END,
    schedule = coalesce(CAST(m.schedule AS jsonb), c.schedule),
    generation = c.generation + 1, warned_at = CASE WHEN m.warn_at > :now THEN NULL ELSE c.warned_at END,
    row_version = c.row_version + 1, updated_at = :now, updated_by = :by
FROM unnest(:ids, :dues, :warns, :thresholds, :fires, :schedules)
     AS m (id, due_at, warn_at, threshold, fire_at, schedule)
WHERE c.id = m.id
""").bindparams(
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("dues", type_=_INSTANTS),
    bindparam("warns", type_=_INSTANTS),
    bindparam("thresholds", type_=ARRAY(Text)),
    bindparam("fires", type_=_INSTANTS),
    bindparam("schedules", type_=ARRAY(Text)),
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("by", type_=Uuid),
)
READ_IN_FORCE = text("""
SELECT id FROM calendar_version WHERE calendar_id = :id AND state = 'published' ORDER BY number DESC LIMIT 1
""")
