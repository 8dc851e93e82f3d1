"""Set-based statements for work that is opened again: what lies below it, and what becomes of that."""

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

# What has to be looked at anew lies behind hard edges that wait for an end; a start that was made stays made. Behind
# work that is not finished nothing is finished, so nothing has to be looked at there.
_FINISHED = "('done', 'skipped')"
_RESTING_OR_CLOSED = "('planned', 'blocked', 'done', 'skipped', 'cancelled')"
_BELOW = f"""
WITH RECURSIVE below AS (
    SELECT e.successor_id AS id FROM process_edge e JOIN process_run s ON s.id = e.successor_id AND s.run_id = :run_id
    WHERE e.predecessor_id = ANY (:roots) AND e.hardness = 'hard' AND e.edge_type IN ('FS', 'FF')
    UNION
    SELECT e.successor_id FROM below b
    JOIN process_run p ON p.id = b.id AND p.state IN {_FINISHED}
    JOIN process_edge e ON e.predecessor_id = b.id AND e.hardness = 'hard' AND e.edge_type IN ('FS', 'FF')
    JOIN process_run s ON s.id = e.successor_id AND s.run_id = :run_id
)
"""
IMPACT = text(
    f"""
{_BELOW}
SELECT p.id, p.code, p.label, p.kind, p.state, p.started_at IS NOT NULL AS begun, p.owner_role,
       p.row_version
FROM below b JOIN process_run p ON p.id = b.id AND p.id <> ALL (:roots) ORDER BY p.rank, p.id
"""
).bindparams(bindparam("roots", type_=ARRAY(Uuid)))
OTHER_RUNS = text(
    f"""
{_BELOW}
, mine AS (
    SELECT unnest(CAST(:roots AS uuid[])) AS id
    UNION SELECT b.id FROM below b JOIN process_run p ON p.id = b.id AND p.state IN {_FINISHED}
)
SELECT DISTINCT s.id, s.code, s.label, s.kind, s.state, s.started_at IS NOT NULL AS begun, s.owner_role, s.row_version,
       r.id AS run_id, r.reference, r.state AS run_state
FROM mine m JOIN process_edge e ON e.predecessor_id = m.id AND e.hardness = 'hard' AND e.edge_type IN ('FS', 'FF')
JOIN process_run s ON s.id = e.successor_id AND s.run_id <> :run_id
JOIN workflow_run r ON r.id = s.run_id
ORDER BY r.reference, s.label
"""
).bindparams(bindparam("roots", type_=ARRAY(Uuid)))

# `marked` becomes stale; every edge from a root or from what is stale counts its successor up again, once. What had not
# begun waits, what is being worked on is told. `closing` says how much more of the run is open than before.
MARK = text(
    f"""
{_BELOW}
, marked AS (
    SELECT p.id, p.state FROM below b JOIN process_run p ON p.id = b.id
    WHERE p.state IN {_FINISHED} AND p.id <> ALL (:roots)
), reset AS (
    UPDATE process_edge e SET
        satisfied_at = NULL, met_at = NULL, due_at = NULL, outcome = NULL, row_version = e.row_version + 1,
        updated_at = :now, updated_by = :actor_id
    FROM (SELECT unnest(CAST(:roots AS uuid[])) AS id WHERE :with_roots UNION SELECT id FROM marked) m
    WHERE e.predecessor_id = m.id AND e.run_id = :run_id AND e.edge_type IN ('FS', 'FF')
      AND e.satisfied_at IS NOT NULL
    RETURNING e.successor_id, e.edge_type, e.hardness
), tally AS (
    SELECT successor_id AS id, count(*) FILTER (WHERE hardness = 'hard' AND edge_type = 'FS') AS starts,
           count(*) FILTER (WHERE hardness = 'hard' AND edge_type = 'FF') AS finishes,
           count(*) FILTER (WHERE hardness = 'soft') AS softs
    FROM reset GROUP BY successor_id
), ahead AS (
    SELECT p.id, p.kind, p.state AS old_state, p.round, p.attempt, p.level, coalesce(t.starts, 0) AS starts,
           coalesce(t.finishes, 0) AS finishes, coalesce(t.softs, 0) AS softs, m.id IS NOT NULL AS stale,
           CASE WHEN m.id IS NOT NULL THEN 'stale'
                WHEN coalesce(t.starts, 0) > 0 AND (p.state IN ('planned', 'ready', 'assigned')
                     OR (p.kind IN ('approval', 'sign_off') AND p.state = 'in_review' AND p.level = 1
                         AND coalesce(p.signatures, 0) = 0)) THEN 'blocked'
                ELSE p.state END AS new_state,
           coalesce(t.starts + t.finishes, 0) > 0 AND p.state NOT IN {_RESTING_OR_CLOSED} AS held
    FROM process_run p LEFT JOIN tally t ON t.id = p.id LEFT JOIN marked m ON m.id = p.id
    WHERE p.run_id = :run_id AND (t.id IS NOT NULL OR m.id IS NOT NULL) AND p.id <> ALL (:roots)
), moved AS (
    UPDATE process_run p SET
        state = a.new_state, waiting_on = p.waiting_on + a.starts,
        finish_waiting_on = coalesce(p.finish_waiting_on, 0) + a.finishes,
        soft_waiting_on = coalesce(p.soft_waiting_on, 0) + a.softs,
        state_before_stale = CASE WHEN a.stale THEN a.old_state ELSE p.state_before_stale END,
        output_before = CASE WHEN a.stale THEN coalesce(p.output_before, p.output_hash, '') ELSE p.output_before END,
        inputs_changed = CASE WHEN a.stale THEN :changed AND EXISTS (
                                  SELECT FROM process_edge e WHERE e.successor_id = a.id
                                    AND e.predecessor_id = ANY (:roots) AND e.edge_type IN ('FS', 'FF'))
                              ELSE p.inputs_changed END,
        stale_reason = CASE WHEN a.stale OR (a.held AND a.new_state <> 'blocked') THEN :why ELSE p.stale_reason END,
        finished_at = CASE WHEN a.stale THEN NULL ELSE p.finished_at END,
        level = CASE WHEN a.new_state = 'blocked' THEN 0 ELSE p.level END,
        row_version = p.row_version + 1, updated_at = :now, updated_by = :actor_id
    FROM ahead a WHERE p.id = a.id
), logged AS (
    INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, at, round, attempt, level, reason,
                                    created_at, created_by, updated_at, updated_by)
    SELECT uuidv7(), a.id, CASE WHEN a.stale THEN 'stale' ELSE 'block' END, a.old_state, a.new_state, :now, a.round,
           a.attempt, a.level, :why, :now, :actor_id, :now, :actor_id
    FROM ahead a WHERE a.new_state <> a.old_state
), reopened AS (
    UPDATE workflow_run SET
        open_count = open_count + CAST(:roots_opened AS int) + (SELECT count(*) FROM marked),
        state = CASE WHEN state = 'done' AND CAST(:roots_opened AS int) + (SELECT count(*) FROM marked) > 0
                     THEN 'active' ELSE state END,
        finished_at = CASE WHEN state = 'done' AND CAST(:roots_opened AS int) + (SELECT count(*) FROM marked) > 0
                           THEN NULL ELSE finished_at END,
        row_version = row_version + 1, updated_at = :now, updated_by = :actor_id
    WHERE id = :run_id
)
SELECT ARRAY(SELECT id FROM ahead WHERE stale) AS stale,
       ARRAY(SELECT id FROM ahead WHERE NOT stale AND new_state = 'blocked' AND old_state <> 'blocked') AS blocked,
       ARRAY(SELECT id FROM ahead WHERE held AND NOT stale AND new_state NOT IN ('blocked', 'stale')) AS told,
       ARRAY(SELECT id FROM ahead WHERE kind = 'automatic' AND old_state = 'ready' AND new_state = 'blocked') AS queued
"""
).bindparams(bindparam("roots", type_=ARRAY(Uuid)))

# What has come out of work that had been opened again: told to its successors, which is where it is decided whether
# they have to be done again. `finished`: those that were completed meanwhile on what has changed now.
PASS_ON = text(
    """
WITH told AS (
    UPDATE process_run s SET
        inputs_changed = s.inputs_changed OR :changed,
        stale_reason = CASE WHEN s.state = 'stale' THEN s.stale_reason WHEN :changed THEN :news ELSE NULL END,
        row_version = s.row_version + 1, updated_at = :now, updated_by = :actor_id
    FROM process_edge e
    WHERE e.predecessor_id = :id AND s.id = e.successor_id AND s.run_id = :run_id AND e.hardness = 'hard'
      AND e.edge_type IN ('FS', 'FF')
      AND (s.state = 'stale' OR s.stale_reason IS NOT NULL)
    RETURNING s.id, s.state, s.waiting_on, s.finish_waiting_on
)
SELECT ARRAY(SELECT id FROM told WHERE state = 'stale' AND waiting_on <= 0 AND coalesce(finish_waiting_on, 0) <= 0)
           AS decided,
       ARRAY(SELECT s.id FROM process_edge e JOIN process_run s ON s.id = e.successor_id AND s.run_id = :run_id
             WHERE e.predecessor_id = :id AND e.hardness = 'hard' AND e.edge_type IN ('FS', 'FF')
               AND s.state IN ('done', 'skipped') AND :changed) AS finished
"""
)
REMEMBER = text(
    """
UPDATE process_run SET output_before = coalesce(output_before, output_hash, ''), state_before_stale = state,
                       inputs_changed = false, stale_reason = NULL
WHERE id = :id
"""
)
WAITING_RUNS = text(
    """
SELECT DISTINCT s.run_id FROM process_edge e JOIN process_run s ON s.id = e.successor_id AND s.run_id <> :run_id
WHERE e.predecessor_id = :id AND e.hardness = 'hard' AND e.edge_type IN ('FS', 'FF')
"""
)
FORGET = text(
    """
UPDATE process_run SET output_before = NULL, state_before_stale = NULL, inputs_changed = false, stale_reason = NULL
WHERE id = :id
"""
)
STATEMENT = text(
    """
SELECT jsonb_build_object(
    'reference', r.reference, 'business_date', r.business_date, 'variant', r.variant, 'version', r.version_id,
    'processes', (
        SELECT jsonb_agg(jsonb_build_object(
            'code', p.code, 'label', p.label, 'kind', p.kind, 'state', p.state, 'round', p.round, 'maker', m.name,
            'started_at', p.started_at, 'finished_at', p.finished_at, 'hash', p.snapshot_hash, 'output', p.output_hash,
            'comment', p.comment, 'signatures', (
                SELECT coalesce(jsonb_agg(jsonb_build_object('level', a.level, 'role', a.role, 'by', u.name,
                           'for', f.name, 'at', a.at, 'hash', a.snapshot_hash) ORDER BY a.level, a.at), '[]')
                FROM process_approval a JOIN app_user u ON u.id = a.actor_id
                LEFT JOIN app_user f ON f.id = a.on_behalf_of_id
                WHERE a.process_run_id = p.id AND a.decision = 'approved' AND a.voided_at IS NULL)
        ) ORDER BY p.rank, p.code)
        FROM process_run p LEFT JOIN app_user m ON m.id = p.maker_id WHERE p.run_id = r.id)
)::text AS content, r.finished_at,
(SELECT coalesce(max(s.number), 0) + 1 FROM run_statement s WHERE s.run_id = r.id) AS number
FROM workflow_run r WHERE r.id = :run_id
"""
)
