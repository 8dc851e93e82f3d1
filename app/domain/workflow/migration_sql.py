"""The statements that take a run over to another version. Those about fields are built from the metadata."""

from functools import lru_cache

from sqlalchemy import DateTime, Text, TextClause, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.domain.workflow.edges import GATES_START
from app.domain.workflow.graph import ENTRY_STATE
from app.domain.workflow.released import RELEASED
from models.registry import Registry

_CLOSED = "('done', 'skipped', 'cancelled')"

MOVE_STAGES = text(
    """
WITH wanted AS (
    SELECT s.id, s.code, s.label, nlevel(s.path) - 1 AS depth, s.rank, t.id AS stage_run_id
    FROM stage s
    LEFT JOIN stage o ON o.version_id = :from_version AND o.code = s.code
    LEFT JOIN stage_run t ON t.run_id = :run_id AND t.stage_id = o.id
    WHERE s.version_id = :to_version
), moved AS (
    UPDATE stage_run t SET
        stage_id = w.id, label = w.label, depth = w.depth, rank = w.rank, parent_stage_id = NULL, due_at = NULL,
        row_version = t.row_version + 1, updated_at = :now, updated_by = :actor_id
    FROM wanted w WHERE t.id = w.stage_run_id
)
INSERT INTO stage_run (id, run_id, stage_id, code, label, depth, rank, created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), :run_id, w.id, w.code, w.label, w.depth, w.rank, :now, :actor_id, :now, :actor_id
FROM wanted w WHERE w.stage_run_id IS NULL
"""
)
NEST_STAGES = text(
    """
UPDATE stage_run t SET parent_stage_id = above.id
FROM stage s JOIN stage_run above ON above.run_id = :run_id AND above.stage_id = s.parent_id
WHERE t.run_id = :run_id AND t.stage_id = s.id AND s.version_id = :to_version
"""
)
# A stage that the new version does not have goes, unless something of the run is still in it; then it stands last.
DROP_STAGES = text(
    """
WITH RECURSIVE occupied AS (
    SELECT t.id, t.parent_stage_id FROM stage_run t
    WHERE t.run_id = :run_id AND EXISTS (SELECT FROM process_run p WHERE p.stage_run_id = t.id)
    UNION
    SELECT t.id, t.parent_stage_id FROM stage_run t JOIN occupied o ON o.parent_stage_id = t.id
), rest AS (
    SELECT t.id, row_number() OVER (ORDER BY t.rank) AS n, t.id IN (SELECT id FROM occupied) AS stays
    FROM stage_run t JOIN stage s ON s.id = t.stage_id WHERE t.run_id = :run_id AND s.version_id <> :to_version
), last AS (
    UPDATE stage_run t SET rank = r.n + (SELECT count(*) FROM stage WHERE version_id = :to_version)
    FROM rest r WHERE t.id = r.id AND r.stays
)
DELETE FROM stage_run t USING rest r WHERE t.id = r.id AND NOT r.stays
"""
)
CLOSE = text(
    """
WITH given AS (SELECT * FROM unnest(:ids, :states) AS g (id, state)), closed AS (
    UPDATE process_run p SET
        state = g.state, reason = :reason, finished_at = :now, waiting_on = 0, finish_waiting_on = 0,
        soft_waiting_on = 0, skip_requested_by_id = NULL, skip_requested_for_id = NULL, skip_reason = NULL,
        row_version = p.row_version + 1, updated_at = :now, updated_by = :actor_id
    FROM given g WHERE p.id = g.id
)
INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, actor_id, at, round, attempt, level,
                                reason, created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), p.id, 'migrate', p.state, g.state, :user_id, :now, p.round, p.attempt, p.level, :reason,
       :now, :actor_id, :now, :actor_id
FROM given g JOIN process_run p ON p.id = g.id
"""
).bindparams(bindparam("ids", type_=ARRAY(Uuid)), bindparam("states", type_=ARRAY(Text)))
# What is behind everything that the new version has.
RANK_REST = text(
    """
UPDATE process_run p SET rank = n.rank
FROM (SELECT q.id, row_number() OVER (ORDER BY q.rank, q.id)
             + (SELECT count(*) FROM process WHERE version_id = :to_version) AS rank
      FROM process_run q JOIN process d ON d.id = q.process_id
      WHERE q.run_id = :run_id AND d.version_id IS DISTINCT FROM :to_version) n
WHERE p.id = n.id AND p.rank <> n.rank
"""
)
# Edges of work that was added to this run alone are not in any version, so they stay.
DROP_EDGES = text(
    """
DELETE FROM process_edge e USING process_run b
WHERE e.run_id = :run_id AND b.id = e.successor_id AND NOT coalesce(b.ad_hoc, false)
  AND NOT EXISTS (SELECT FROM process_run x WHERE x.id = e.predecessor_id AND x.run_id = :run_id AND x.ad_hoc)
  AND NOT EXISTS (
    SELECT FROM process_dependency d
    LEFT JOIN process_run a ON a.run_id = :run_id AND a.process_id = d.predecessor_id
    LEFT JOIN awaited_run w ON w.edge_id = e.id
    WHERE d.version_id = :to_version AND d.successor_id = b.process_id AND d.edge_type = e.edge_type
      AND (a.id = e.predecessor_id OR (w.workflow_id = d.other_workflow_id AND w.process_code = d.other_process
                                       AND w.run_selector = d.run_selector)))
"""
)
READ_OPEN_EDGES = """
SELECT e.id, e.edge_type, e.accepts, e.lag_amount, e.lag_unit, q.state, {begun} AS begun, q.started_at,
       coalesce(q.finished_at, q.updated_at) AS ended_at
FROM process_edge e JOIN process_run q ON q.id = e.predecessor_id AND q.run_id = e.run_id
WHERE e.run_id = :run_id AND e.satisfied_at IS NULL AND e.met_at IS NULL
"""
PASS = text(
    """
UPDATE process_edge e SET
    met_at = g.met_at, outcome = g.outcome, due_at = CASE WHEN g.due_at > :now THEN g.due_at END,
    satisfied_at = CASE WHEN g.due_at > :now THEN NULL ELSE CAST(:now AS timestamptz) END,
    row_version = e.row_version + 1, updated_at = :now, updated_by = :actor_id
FROM unnest(:ids, :met, :due, :outcomes) AS g (id, met_at, due_at, outcome)
WHERE e.id = g.id AND e.satisfied_at IS NULL
"""
).bindparams(
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("met", type_=ARRAY(DateTime(timezone=True))),
    bindparam("due", type_=ARRAY(DateTime(timezone=True))),
    bindparam("outcomes", type_=ARRAY(Text)),
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("actor_id", type_=Uuid),
)
# Dependencies on other workflows that the run does not have an edge for yet.
MISSING_ACROSS = text(
    """
SELECT d.id FROM process_dependency d
JOIN process_run b ON b.run_id = :run_id AND b.process_id = d.successor_id
WHERE d.version_id = :to_version AND d.other_workflow_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM process_edge e JOIN awaited_run w ON w.edge_id = e.id
    WHERE e.successor_id = b.id AND e.edge_type = d.edge_type AND w.workflow_id = d.other_workflow_id
      AND w.process_code = d.other_process AND w.run_selector = d.run_selector)
"""
)
# Nobody may both make and approve: an approval that has come to follow work decides on those who did it.
HAND_OVER = text(
    """
UPDATE process_run p SET makers = m.makers, row_version = p.row_version + 1
FROM (
    SELECT e.successor_id AS id, jsonb_agg(DISTINCT w.id) AS makers
    FROM process_edge e
    JOIN process_run s ON s.id = e.successor_id AND s.kind IN ('approval', 'sign_off')
    JOIN process_run q ON q.id = e.predecessor_id AND q.kind <> 'automatic'
    CROSS JOIN LATERAL jsonb_array_elements(
        coalesce(nullif(s.makers, 'null'), '[]') || coalesce(nullif(q.makers, 'null'), '[]')
        || coalesce(nullif(q.signers, 'null'), '[]')) AS w(id)
    WHERE e.run_id = :run_id AND e.outcome IS DISTINCT FROM 'not_binding' GROUP BY e.successor_id
) m
WHERE p.id = m.id AND p.makers IS DISTINCT FROM m.makers AND p.state NOT IN ('done', 'skipped', 'cancelled')
"""
)
_NOT_BEGUN = """(p.state IN ('blocked', 'planned') OR (p.state = 'ready' AND p.started_at IS NULL AND p.attempt = 0)
            OR (p.kind IN ('approval', 'sign_off') AND p.state = 'in_review' AND p.round = 1
                AND coalesce(p.signatures, 0) = 0 AND coalesce(jsonb_array_length(nullif(p.signers, 'null')), 0) = 0)
            OR (p.state = 'assigned' AND p.started_at IS NULL AND c.starts > 0))"""
STAND = text(
    f"""
WITH counted AS (
    SELECT p.id,
           count(*) FILTER (WHERE x.hardness = 'hard' AND {GATES_START.replace("edge_type", "x.edge_type")}) AS starts,
           count(*) FILTER (WHERE x.hardness = 'hard'
                              AND NOT {GATES_START.replace("edge_type", "x.edge_type")}) AS finishes,
           count(*) FILTER (WHERE x.hardness = 'soft') AS softs
    FROM process_run p LEFT JOIN (
        SELECT e.successor_id, e.edge_type, e.hardness FROM process_edge e
        WHERE e.run_id = :run_id AND e.satisfied_at IS NULL
        UNION ALL
        SELECT b.id, d.edge_type, d.hardness FROM process_dependency d
        JOIN process_run b ON b.run_id = :run_id AND b.process_id = d.successor_id WHERE d.id = ANY (:coming)
    ) x ON x.successor_id = p.id
    WHERE p.run_id = :run_id AND p.state NOT IN {_CLOSED}
    GROUP BY p.id
), ahead AS (
    SELECT p.id, p.run_id, p.process_id, p.code, p.kind, p.state AS old_state, p.round, p.attempt, p.level,
           c.starts, c.finishes, c.softs,
           CASE WHEN {_NOT_BEGUN}
                THEN {ENTRY_STATE.format(waiting_on="c.starts", earliest_start="p.earliest_start", kind="p.kind")}
                ELSE p.state END AS new_state
    FROM process_run p JOIN counted c ON c.id = p.id
), moved AS (
    UPDATE process_run p SET
        waiting_on = a.starts, finish_waiting_on = a.finishes, soft_waiting_on = a.softs, state = a.new_state,
        state_before_hold = CASE WHEN p.state_before_hold IN ('ready', 'planned', 'assigned') AND a.starts > 0
                                      AND p.started_at IS NULL THEN 'blocked' ELSE p.state_before_hold END,
        ready_at = CASE WHEN a.new_state IN ('blocked', 'planned') THEN NULL
                        WHEN a.new_state <> a.old_state AND a.new_state IN ('ready', 'in_review') THEN :now
                        ELSE p.ready_at END,
        submitted_at = CASE WHEN a.new_state = a.old_state THEN p.submitted_at
                            WHEN a.new_state = 'in_review' THEN :now ELSE NULL END,
        level = CASE WHEN a.new_state = a.old_state THEN p.level WHEN a.new_state = 'in_review' THEN 1 ELSE 0 END,
        row_version = p.row_version + 1, updated_at = :now, updated_by = :actor_id
    FROM ahead a WHERE p.id = a.id
), logged AS (
    INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, actor_id, at, round, attempt, level,
                                    reason, created_at, created_by, updated_at, updated_by)
    SELECT uuidv7(), a.id, 'migrate', a.old_state, a.new_state, :user_id, :now, a.round, a.attempt, a.level, :reason,
           :now, :actor_id, :now, :actor_id
    FROM ahead a
)
SELECT (SELECT {RELEASED.format("a", "a.new_state")}
        FROM ahead a JOIN process d ON d.id = a.process_id
        WHERE a.new_state <> a.old_state AND a.new_state <> 'blocked') AS released,
       ARRAY(SELECT a.id FROM ahead a WHERE a.old_state = 'ready' AND a.new_state <> 'ready'
                                        AND a.kind = 'automatic') AS withdrawn,
       ARRAY(SELECT a.id FROM ahead a WHERE a.kind = 'automatic' AND a.new_state = 'waiting_external'
                                        AND a.finishes = 0) AS finishable
"""
).bindparams(bindparam("coming", type_=ARRAY(Uuid)))
SET_RUN = text(
    f"""
UPDATE workflow_run r SET
    version_id = :to_version, process_count = n.total, open_count = n.open,
    state = CASE WHEN n.open = 0 AND r.state = 'active' THEN 'done' ELSE r.state END,
    finished_at = CASE WHEN n.open = 0 AND r.state = 'active' THEN :now ELSE r.finished_at END,
    row_version = r.row_version + 1, updated_at = :now, updated_by = :actor_id
FROM (SELECT count(*) AS total, count(*) FILTER (WHERE state NOT IN {_CLOSED}) AS open
      FROM process_run WHERE run_id = :run_id) n
WHERE r.id = :run_id
RETURNING r.state, r.row_version
"""
)
JOB_STANDS = text(
    f"""
SELECT {RELEASED.format("p", "'ready'")}
FROM process_run p JOIN process d ON d.id = p.process_id
WHERE p.id = ANY (:ids) AND p.kind = 'automatic' AND p.state = 'ready'
"""
).bindparams(bindparam("ids", type_=ARRAY(Uuid)))


@lru_cache(maxsize=16)
def copied_columns(registry: Registry) -> tuple[str, ...]:
    """What a process of a run takes over from its definition: the fields that both have, of the same type."""
    definition, run = registry.entity("process"), registry.entity("process_run")
    return tuple(
        field.column
        for field in definition.fields
        if run.has_field(field.name) and run.field(field.name).type is field.type and field.name != "ad_hoc"
    )


@lru_cache(maxsize=16)
def process_statements(registry: Registry) -> tuple[TextClause, TextClause]:
    """To give processes that stay their new definition, and to add those that are new."""
    columns = copied_columns(registry)
    always = ("code", "label", "rank")

    def source(name: str) -> str:
        return f"coalesce(d.{name}, :node_id)" if name == "node_id" else f"d.{name}"

    # Closed work keeps what it was done by; only its place follows.
    sets = ", ".join(
        f"{name} = {source(name)}" if name in always else f"{name} = {_if_open(source(name), f'p.{name}')}"
        for name in columns
    )
    levels = "(SELECT count(*) FROM process_approval_level l WHERE l.parent_id = d.id)"
    start = "CAST(:start_times ->> d.earliest_start AS timestamptz)"
    keep = f"""
UPDATE process_run p SET
    process_id = d.id, stage_run_id = s.id, {sets},
    levels = {_if_open(levels, "p.levels")},
    earliest_start = {_if_open(start, "p.earliest_start")},
    level_due = {_if_open("NULL", "p.level_due")},
    row_version = p.row_version + 1, updated_at = :now, updated_by = :actor_id
FROM unnest(:ids, :codes) AS k (id, code)
JOIN process d ON d.version_id = :to_version AND d.code = k.code
JOIN stage_run s ON s.run_id = :run_id AND s.stage_id = d.stage_id
WHERE p.id = k.id
"""
    add = f"""
INSERT INTO process_run (id, run_id, stage_run_id, process_id, application_id, state, waiting_on, finish_waiting_on,
                         soft_waiting_on, round, attempt, level, levels, earliest_start, {", ".join(columns)},
                         created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), :run_id, s.id, d.id, :application_id, 'blocked', 0, 0, 0, 1, 0, 0, {levels}, {start},
       {", ".join(source(name) for name in columns)}, :now, :actor_id, :now, :actor_id
FROM process d JOIN stage_run s ON s.run_id = :run_id AND s.stage_id = d.stage_id
WHERE d.version_id = :to_version AND d.code = ANY (:codes)
"""
    times = bindparam("start_times", type_=JSONB)
    codes = bindparam("codes", type_=ARRAY(Text))
    return (
        text(keep).bindparams(times, codes, bindparam("ids", type_=ARRAY(Uuid)), bindparam("node_id", type_=Uuid)),
        text(add).bindparams(times, codes, bindparam("node_id", type_=Uuid)),
    )


def _if_open(value: str, otherwise: str) -> str:
    return f"CASE WHEN p.state NOT IN {_CLOSED} THEN {value} ELSE {otherwise} END"


@lru_cache(maxsize=16)
def edge_statements(registry: Registry) -> tuple[TextClause, TextClause]:
    """To renew edges that stay and to add those that are new; both copy what edges and definitions share."""
    definition, edge = registry.entity("process_dependency"), registry.entity("process_edge")
    ends = ("predecessor", "successor", "version", "run", "edge_type")
    shared = [f.column for f in definition.fields if edge.has_field(f.name) and f.name not in ends]
    differs = " OR ".join(f"e.{name} IS DISTINCT FROM d.{name}" for name in shared)
    renew = f"""
UPDATE process_edge e SET
    {", ".join(f"{name} = d.{name}" for name in shared)}, row_version = e.row_version + 1, updated_at = :now,
    updated_by = :actor_id, met_at = CASE WHEN e.satisfied_at IS NULL THEN NULL ELSE e.met_at END,
    due_at = NULL
FROM process_dependency d
JOIN process_run b ON b.run_id = :run_id AND b.process_id = d.successor_id
LEFT JOIN process_run a ON a.run_id = :run_id AND a.process_id = d.predecessor_id
WHERE d.version_id = :to_version AND e.run_id = :run_id AND e.successor_id = b.id AND e.edge_type = d.edge_type
  AND ({differs})
  AND (e.predecessor_id = a.id OR EXISTS (
        SELECT FROM awaited_run w WHERE w.edge_id = e.id AND w.workflow_id = d.other_workflow_id
                                    AND w.process_code = d.other_process AND w.run_selector = d.run_selector))
"""
    names = ", ".join(shared)
    add = f"""
INSERT INTO process_edge (id, run_id, predecessor_id, successor_id, edge_type, {names},
                          created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), :run_id, a.id, b.id, d.edge_type, {", ".join(f"d.{name}" for name in shared)},
       :now, :actor_id, :now, :actor_id
FROM process_dependency d
JOIN process_run a ON a.run_id = :run_id AND a.process_id = d.predecessor_id
JOIN process_run b ON b.run_id = :run_id AND b.process_id = d.successor_id
WHERE d.version_id = :to_version AND NOT EXISTS (
    SELECT FROM process_edge e
    WHERE e.predecessor_id = a.id AND e.successor_id = b.id AND e.edge_type = d.edge_type)
"""
    return text(renew), text(add)
