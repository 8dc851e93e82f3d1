"""The one statement that gives notices: it finds who is told, words it, and writes notifications and mails."""

from sqlalchemy import DateTime, Integer, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

# asked      the notices with their process
# roles      whose role is told: the open approval level's, else the owner's; the lead's; those that are named
# holders    who holds such a role for such a place now; each place and role is looked up once
# named      those of them who are of the level's group, or among the candidates; a group by itself, too
# deputies   and whoever stands in for one of them now
# people     who is told: those, the assignee, makers. Makers, their delegates and signers are not asked to approve
# told       one line per notice and person, worded
# storms     more than :storm of one rule for one person in one run are one summary
# given      what is written: a notification that was given already is not given again, nor mailed
GIVE = text("""
WITH asked AS MATERIALIZED (
    SELECT q.n, q.rule, q.filed, q.said, q.with_reason, q.due, q.waiting, q.makers AS to_makers, q.lead, q.actor,
           q.roles, q.occurrence,
           CASE WHEN q.rule = 'released' AND p.state = 'in_review' THEN :review_head ELSE q.head END AS head,
           CASE WHEN q.rule = 'released' AND p.state = 'in_review' THEN :review_many ELSE q.many END AS many,
           CASE WHEN q.waiting AND p.state = 'in_review' THEN p.level END AS level_asked,
           p.id, p.process_id, p.run_id, p.label, p.state, p.application_id, p.node_id,
           coalesce(p.owner_role, :lead) AS owner_role, p.assignee_id, p.maker_id, p.makers, p.signers, p.due_at,
           p.reason, concat_ws('.', p.round, p.level, p.row_version) AS version
    FROM jsonb_to_recordset(:notices) AS q (n int, id uuid, rule text, occurrence text, filed text, head text,
         many text, said text, with_reason boolean, due text, waiting boolean, makers boolean, lead boolean,
         roles text[], human boolean, actor boolean)
    JOIN process_run p ON p.id = q.id AND NOT (q.human AND p.kind = 'automatic')
), roles AS (
    SELECT a.n, l.role, l.user_group_id AS group_id, true AS decides
    FROM asked a JOIN process_approval_level l ON l.parent_id = a.process_id AND l.level = a.level_asked
    UNION ALL
    SELECT n, owner_role, NULL, false FROM asked WHERE waiting AND state <> 'in_review' AND assignee_id IS NULL
    UNION ALL
    SELECT n, :lead, NULL, false FROM asked WHERE lead
    UNION ALL
    SELECT n, role, NULL, false FROM asked CROSS JOIN LATERAL unnest(roles) AS named (role)
), holders AS MATERIALIZED (
    SELECT p.application_id, p.node_id, p.role, g.user_id
    FROM (SELECT DISTINCT a.application_id, a.node_id, r.role FROM roles r JOIN asked a ON a.n = r.n) p
    JOIN role o ON o.code = p.role
    JOIN role_grant g ON g.role_id = o.id AND g.revoked_at IS NULL AND g.valid_from <= :now
         AND (g.valid_until IS NULL OR g.valid_until > :now)
    JOIN application a ON a.id = g.application_id AND a.active
         AND (a.id = p.application_id OR (a.code = :platform AND p.role = ANY(:wide)))
    LEFT JOIN hierarchy_node within ON within.id = g.node_id
    LEFT JOIN hierarchy_node place ON place.id = p.node_id
    WHERE g.node_id IS NULL OR place.path <@ within.path
), named AS (
    SELECT r.n, r.decides, h.user_id
    FROM roles r
    JOIN asked a ON a.n = r.n
    JOIN holders h ON h.role = r.role AND h.application_id = a.application_id
         AND h.node_id IS NOT DISTINCT FROM a.node_id
    WHERE (r.group_id IS NULL OR EXISTS (
               SELECT FROM user_group_member m WHERE m.parent_id = r.group_id AND m.user_id = h.user_id))
      AND (r.decides OR NOT EXISTS (SELECT FROM process_candidate c WHERE c.parent_id = a.process_id)
           OR EXISTS (SELECT FROM process_candidate c LEFT JOIN user_group_member m ON m.parent_id = c.user_group_id
                      WHERE c.parent_id = a.process_id AND h.user_id IN (c.user_id, m.user_id)))
    UNION
    SELECT r.n, r.decides, m.user_id FROM roles r JOIN user_group_member m ON m.parent_id = r.group_id
    WHERE r.role IS NULL
), deputies AS (
    SELECT n, decides, user_id FROM named
    UNION
    SELECT w.n, w.decides, d.delegate_id
    FROM named w JOIN asked a ON a.n = w.n
    JOIN delegation d ON d.delegator_id = w.user_id AND d.valid_from <= :now
         AND least(d.valid_until, d.revoked_at) > :now
         AND (d.application_id IS NULL OR d.application_id = a.application_id)
), people AS (
    SELECT a.n, h.user_id
    FROM deputies h
    JOIN asked a ON a.n = h.n
    WHERE NOT h.decides OR (NOT coalesce(a.makers @> to_jsonb(h.user_id::text), false)
                            AND NOT coalesce(a.signers @> to_jsonb(h.user_id::text), false)
                            AND NOT EXISTS (SELECT FROM delegation d
                                            WHERE d.delegate_id = h.user_id AND d.valid_from <= :now
                                              AND least(d.valid_until, d.revoked_at) > :now
                                              AND coalesce(a.makers @> to_jsonb(d.delegator_id::text), false)))
    UNION
    SELECT n, assignee_id FROM asked WHERE to_makers OR (waiting AND state <> 'in_review')
    UNION
    SELECT n, maker_id FROM asked WHERE to_makers
    UNION
    SELECT n, m.id::uuid
    FROM asked CROSS JOIN LATERAL jsonb_array_elements_text(
        CASE WHEN jsonb_typeof(makers) = 'array' THEN makers ELSE '[]' END) AS m (id)
    WHERE to_makers
), told AS (
    SELECT a.n, a.rule, a.filed, a.id, a.run_id, u.id AS user_id, u.email, a.head || ': ' || a.label AS title, a.label,
           a.many, r.label || ' ' || r.reference AS run,
           a.rule || ':' || a.id || ':' || coalesce(a.occurrence, a.version) AS key,
           to_char(a.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') AS due_at,
           concat_ws(E'\\n',
               CASE WHEN a.with_reason AND a.reason <> '' THEN concat_ws(': ', a.said, left(a.reason, 1000))
                    ELSE a.said || '.' END,
               r.label || ', ' || to_char(r.business_date, 'FMDD Mon YYYY') || ' (' || r.reference || ').',
               a.due || ' ' || to_char(a.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC."')) AS body,
           row_number() OVER alike AS place,
           count(*) OVER (alike ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS together
    FROM people p
    JOIN asked a ON a.n = p.n
    JOIN workflow_run r ON r.id = a.run_id
    JOIN app_user u ON u.id = p.user_id AND u.active AND u.deleted_at IS NULL AND u.account_kind = 'person'
         AND (a.actor OR u.id <> :actor)
    WINDOW alike AS (PARTITION BY u.id, a.rule, a.run_id ORDER BY a.n)
), storms AS (
    SELECT min(n) AS n, min(filed) AS filed, run_id, user_id, min(email) AS email,
           count(*) || ' ' || min(many) || ': ' || min(run) AS title,
           concat_ws(E'\\n',
               string_agg(label || coalesce(', due ' || due_at, ''), E'\\n' ORDER BY n) FILTER (WHERE place <= :listed),
               'and ' || nullif(greatest(count(*) - :listed, 0), 0) || ' more') AS body,
           rule || ':' || run_id || ':' || encode(sha256(convert_to(string_agg(key, ' ' ORDER BY key), 'UTF8')), 'hex')
               AS key
    FROM told WHERE together > :storm
    GROUP BY rule, run_id, user_id
), given AS (
    SELECT n, filed, user_id, email, left(regexp_replace(title, '\\s+', ' ', 'g'), 300) AS title, body, key,
           'process_run' AS record_entity, id AS record_id, '/processes/' || id AS link
    FROM told WHERE together <= :storm
    UNION ALL
    SELECT n, filed, user_id, email, left(regexp_replace(title, '\\s+', ' ', 'g'), 300), body, key,
           'workflow_run', run_id, '/runs/' || run_id
    FROM storms
), notified AS (
    INSERT INTO notification (id, row_version, created_at, created_by, updated_at, updated_by, user_id, kind, title,
                              body, link, record_entity, record_id, at, dedup_key)
    SELECT uuidv7(), 1, :now, :by, :now, :by, user_id, filed, title, body, link, record_entity, record_id, :now, key
    FROM given ORDER BY n
    ON CONFLICT (user_id, dedup_key) DO NOTHING
    RETURNING user_id, dedup_key
), mailed AS (
    INSERT INTO mail_message (id, row_version, created_at, created_by, updated_at, updated_by, recipient, subject,
                              text_body, state, attempts, dedup_key)
    SELECT uuidv7(), 1, :now, :by, :now, :by, g.email, g.title,
           concat(g.title, E'\\n\\n', g.body, E'\\n\\n', CAST(:address AS text), g.link, E'\\n'), :mail_state, 0, g.key
    FROM given g JOIN notified d ON d.user_id = g.user_id AND d.dedup_key = g.key
    ORDER BY g.n
    ON CONFLICT (recipient, dedup_key) DO NOTHING
    RETURNING id
)
SELECT ARRAY(SELECT DISTINCT user_id FROM notified) AS users, ARRAY(SELECT id FROM mailed) AS mails
""").bindparams(
    bindparam("notices", type_=JSONB),
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("lead", type_=Text),
    bindparam("review_head", type_=Text),
    bindparam("review_many", type_=Text),
    bindparam("wide", type_=ARRAY(Text)),
    bindparam("storm", type_=Integer),
    bindparam("listed", type_=Integer),
    bindparam("by", type_=Uuid),
    bindparam("actor", type_=Uuid),
    bindparam("mail_state", type_=Text),
)
