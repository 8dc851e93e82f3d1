"""SQL of work that is added to a run under way; see `ad_hoc`."""

from sqlalchemy import BigInteger, DateTime, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

# The run is locked first, as by everybody who changes its processes.
LOCK_RUN = text(
    """
SELECT r.id, r.reference, r.state, r.node_id, r.application_id, a.code AS application, n.path AS node_path,
       ARRAY(SELECT code FROM role WHERE code = ANY (:roles)) AS known_roles,
       EXISTS (SELECT FROM app_user WHERE id = :assignee_id) AS assignee_known,
       (SELECT s.id FROM stage_run s WHERE s.run_id = r.id AND s.id = :stage_run_id) AS stage_run_id,
       (SELECT max(p.rank) FROM process_run p WHERE p.run_id = r.id AND p.stage_run_id = :stage_run_id) AS stage_rank
FROM workflow_run r
JOIN application a ON a.id = r.application_id
LEFT JOIN hierarchy_node n ON n.id = r.node_id
WHERE r.id = :id
FOR NO KEY UPDATE OF r
"""
).bindparams(
    bindparam("roles", type_=ARRAY(Text)), bindparam("stage_run_id", type_=Uuid), bindparam("assignee_id", type_=Uuid)
)
READ_NEIGHBOURS = text(
    """
SELECT id, code, label, kind, state, rank, stage_run_id, node_id, due_at, round, level,
       coalesce(signatures, 0) AS signatures, makers::text AS makers
FROM process_run WHERE run_id = :run_id AND id = ANY (:ids)
ORDER BY rank, id FOR NO KEY UPDATE
"""
).bindparams(bindparam("ids", type_=ARRAY(Uuid)))
# Whether one of the new predecessors waits for one of the new successors already, over any number of edges.
FIND_CIRCLE = text(
    """
WITH RECURSIVE later AS (
    SELECT unnest(:after) AS id
    UNION
    SELECT e.successor_id FROM process_edge e JOIN later l ON l.id = e.predecessor_id WHERE e.run_id = :run_id
)
SELECT p.label FROM process_run p JOIN later l ON l.id = p.id WHERE p.id = ANY (:before) ORDER BY p.rank LIMIT 1
"""
).bindparams(bindparam("after", type_=ARRAY(Uuid)), bindparam("before", type_=ARRAY(Uuid)))
INSERT = text(
    """
WITH number AS (
    SELECT 'adhoc_' || (count(*) + 1) AS code FROM process_run WHERE run_id = :run_id AND ad_hoc
), definition AS (
    INSERT INTO process (id, row_version, stage_id, code, label, rank, kind, owner_role, instructions, critical,
                         require_comment, skip_allowed, ad_hoc, warn_minutes,
                         created_at, created_by, updated_at, updated_by)
    SELECT :process_id, 1, s.stage_id, number.code, :label, :rank, :kind, :owner_role, :instructions, false,
           false, true, true, 30, :now, :by, :now, :by
    FROM stage_run s, number WHERE s.id = :stage_run_id
    RETURNING id, code
), items AS (
    INSERT INTO process_checklist_item (id, row_version, parent_id, position, code, label, mandatory,
                                        created_at, created_by, updated_at, updated_by)
    SELECT uuidv7(), 1, d.id, x.n, 'item_' || x.n, x.label, true, :now, :by, :now, :by
    FROM definition d, unnest(:checklist) WITH ORDINALITY AS x (label, n)
), approvals AS (
    INSERT INTO process_approval_level (id, row_version, parent_id, position, level, role, needed,
                                        created_at, created_by, updated_at, updated_by)
    SELECT uuidv7(), 1, d.id, x.n, x.n, x.role, 1, :now, :by, :now, :by
    FROM definition d, unnest(:approvals) WITH ORDINALITY AS x (role, n)
), work AS (
    INSERT INTO process_run (id, row_version, run_id, stage_run_id, process_id, code, label, kind, state, node_id,
                             application_id, owner_role, assignee_id, critical, rank, waiting_on, finish_waiting_on,
                             soft_waiting_on, round, attempt, level, levels, due_at, ready_at, ad_hoc,
                             created_at, created_by, updated_at, updated_by)
    SELECT :id, 1, :run_id, :stage_run_id, d.id, d.code, :label, :kind, :state, :node_id,
           :application_id, :owner_role, :assignee_id, false, :rank, :waiting_on, 0, 0, 1, 0, 0, :levels, :due_at,
           CASE WHEN :state = 'ready' THEN CAST(:now AS timestamptz) END, true, :now, :by, :now, :by
    FROM definition d
    RETURNING id, code
), run AS (
    UPDATE workflow_run SET
        process_count = process_count + 1, open_count = open_count + 1, row_version = row_version + 1,
        due_at = greatest(due_at, :due_at), updated_at = :now, updated_by = :by
    WHERE id = :run_id
), logged AS (
    INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, at, round, attempt, level,
                                    created_at, created_by, updated_at, updated_by)
    SELECT uuidv7(), :id, 'release', 'blocked', :state, :now, 1, 0, 0, :now, :by, :now, :by
    WHERE :state = 'ready'
)
SELECT code FROM work
"""
).bindparams(
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("due_at", type_=DateTime(timezone=True)),
    bindparam("node_id", type_=Uuid),
    bindparam("assignee_id", type_=Uuid),
    bindparam("checklist", type_=ARRAY(Text)),
    bindparam("approvals", type_=ARRAY(Text)),
)
# An edge whose predecessor has closed already is satisfied from the beginning; the others are counted. What waits for
# the added work may begin when that is called off, too.
INSERT_EDGES = text(
    """
INSERT INTO process_edge (id, row_version, run_id, predecessor_id, successor_id, edge_type, hardness, accepts, met_at,
                          satisfied_at, outcome, created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), 1, :run_id, x.before, x.after, 'FS', 'hard',
       CASE WHEN x.before = :id THEN ARRAY['done', 'skipped', 'cancelled'] ELSE ARRAY['done', 'skipped'] END,
       CASE WHEN x.closed THEN CAST(:now AS timestamptz) END, CASE WHEN x.closed THEN CAST(:now AS timestamptz) END,
       CASE WHEN x.closed THEN 'met' END, :now, :by, :now, :by
FROM (SELECT p.id AS before, CAST(:id AS uuid) AS after, p.state IN ('done', 'skipped') AS closed
      FROM process_run p WHERE p.id = ANY (:before)
      UNION ALL
      SELECT CAST(:id AS uuid), s, false FROM unnest(:after) AS s) x
"""
).bindparams(bindparam("before", type_=ARRAY(Uuid)), bindparam("after", type_=ARRAY(Uuid)))
BLOCK_SUCCESSORS = text(
    """
WITH moved AS (
    UPDATE process_run SET
        waiting_on = waiting_on + 1, state = 'blocked',
        level = CASE WHEN state = 'in_review' THEN 0 ELSE level END,
        submitted_at = CASE WHEN state = 'in_review' THEN NULL ELSE submitted_at END,
        row_version = row_version + 1, updated_at = :now, updated_by = :by
    WHERE id = ANY (:after)
    RETURNING id, round, attempt
)
INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, actor_id, at, round, attempt, level,
                                reason, created_at, created_by, updated_at, updated_by)
SELECT uuidv7(), m.id, 'block', o.state, 'blocked', :user_id, :now, m.round, m.attempt, o.level, :reason,
       :now, :by, :now, :by
FROM moved m JOIN unnest(:after, :states, :levels) AS o (id, state, level) ON o.id = m.id
WHERE o.state <> 'blocked'
"""
).bindparams(
    bindparam("after", type_=ARRAY(Uuid)),
    bindparam("states", type_=ARRAY(Text)),
    bindparam("levels", type_=ARRAY(BigInteger)),
    bindparam("user_id", type_=Uuid),
)


# What waits for the successors in turn, however far on, as far as it is still open.
READ_LATER = text(
    """
WITH RECURSIVE later AS (
    SELECT e.successor_id AS id FROM process_edge e
    WHERE e.run_id = :run_id AND e.predecessor_id = ANY (:after) AND e.hardness = 'hard' AND e.satisfied_at IS NULL
    UNION
    SELECT e.successor_id FROM process_edge e JOIN later l ON l.id = e.predecessor_id
    WHERE e.run_id = :run_id AND e.hardness = 'hard' AND e.satisfied_at IS NULL
)
SELECT p.id, p.code, p.label, p.state, p.due_at FROM later l JOIN process_run p ON p.id = l.id
WHERE p.run_id = :run_id AND p.id <> ALL (:after) AND p.state NOT IN ('done', 'skipped', 'cancelled')
ORDER BY p.rank, p.id
"""
).bindparams(bindparam("after", type_=ARRAY(Uuid)))
