"""The one statement that gives notices: it finds who is told, words it, and writes notifications and mails."""

from sqlalchemy import Boolean, DateTime, Integer, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from app.domain.notify.giving_sql import URGENT, WISHES, WRITE

# asked      the notices with their process
# roles      whose role is told: the open approval level's, else the owner's; the lead's; those that are named
# holders    who holds such a role for such a place now; each place and role is looked up once
# named      those of them who are of the level's group, or among the candidates; a group by itself, too
# deputies   and whoever stands in for one of them now
# people     who is told: those, the assignee, makers, whom the rule names itself, and who follows the process and holds
#            a role there. Makers, their delegates and signers are not asked to approve
# targets    those, and the endpoints of the rule
# told       one line per notice and target, worded, with what the person wants of it
# storms     more than :storm of one rule for one person in one run are one summary, and so are several of one cause
# given      what is written: a notification that was given already is not given again, nor sent
GIVE = text(f"""
WITH asked AS MATERIALIZED (
    SELECT q.n, q.event, q.code, q.filed, q.said, q.with_reason, q.due, q.waiting, q.makers AS to_makers, q.lead,
           q.actor, q.owner, q.watchers, q.roles, q.user_ids, q.group_ids, q.endpoint_ids, q.occurrence, q.cause,
           q.critical, q.mandatory, q.channels,
           CASE WHEN q.code = 'released' AND p.state = 'in_review' THEN :review_head ELSE q.head END AS head,
           CASE WHEN q.code = 'released' AND p.state = 'in_review' THEN :review_many ELSE q.many END AS many,
           CASE WHEN q.waiting AND p.state = 'in_review' THEN p.level END AS level_asked,
           p.id, p.process_id, p.run_id, p.label, p.state, p.application_id, p.node_id,
           coalesce(p.owner_role, :lead) AS owner_role, p.assignee_id, p.maker_id, p.makers, p.signers, p.due_at,
           p.reason, concat_ws('.', p.round, p.level, p.row_version) AS version
    FROM jsonb_to_recordset(:notices) AS q (n int, id uuid, event text, code text, occurrence text, filed text,
         head text, many text, said text, with_reason boolean, due text, waiting boolean, makers boolean, lead boolean,
         owner boolean, watchers boolean, roles text[], user_ids uuid[], group_ids uuid[], endpoint_ids uuid[],
         human boolean, actor boolean, cause uuid, critical boolean, mandatory boolean, channels jsonb)
    JOIN process_run p ON p.id = q.id AND NOT (q.human AND p.kind = 'automatic')
), roles AS (
    SELECT a.n, l.role, l.user_group_id AS group_id, true AS decides
    FROM asked a JOIN process_approval_level l ON l.parent_id = a.process_id AND l.level = a.level_asked
    UNION ALL
    SELECT n, owner_role, NULL, false FROM asked
    WHERE owner OR (waiting AND state <> 'in_review' AND assignee_id IS NULL)
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
    UNION
    SELECT n, named.id FROM asked CROSS JOIN LATERAL unnest(user_ids) AS named (id)
    UNION
    SELECT a.n, m.user_id FROM asked a JOIN user_group_member m ON m.parent_id = ANY (a.group_ids)
    UNION
    SELECT a.n, w.user_id
    FROM asked a JOIN record_watch w ON w.record_id IN (a.id, a.run_id)
    WHERE a.watchers AND EXISTS (
        SELECT FROM role_grant g LEFT JOIN hierarchy_node within ON within.id = g.node_id
               LEFT JOIN hierarchy_node place ON place.id = a.node_id
        WHERE g.user_id = w.user_id AND g.application_id = a.application_id AND g.revoked_at IS NULL
          AND g.valid_from <= :now AND (g.valid_until IS NULL OR g.valid_until > :now)
          AND (g.node_id IS NULL OR place.path <@ within.path))
), targets AS (
    SELECT n, user_id, CAST(NULL AS uuid) AS endpoint_id FROM people
    UNION ALL
    SELECT n, NULL, e.id FROM asked CROSS JOIN LATERAL unnest(endpoint_ids) AS e (id)
), told AS (
    SELECT a.n, a.event, a.code, a.filed, a.id, a.run_id, a.cause, u.id AS user_id, t.endpoint_id, u.email,
           w.channels, w.digest,
           (w.quiet OR w.digest <> 'now')
               AND NOT (a.critical OR (a.filed = 'assignment' AND coalesce(a.due_at < :now + {URGENT}, false))) AS held,
           a.head || ': ' || a.label AS title, a.label,
           a.many, r.label || ' ' || r.reference AS run,
           a.code || ':' || a.id || ':' || coalesce(a.occurrence, a.version) AS key,
           to_char(a.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') AS due_at,
           concat_ws(E'\\n',
               CASE WHEN a.with_reason AND a.reason <> '' THEN concat_ws(': ', a.said, left(a.reason, 1000))
                    ELSE a.said || '.' END,
               r.label || ', ' || to_char(r.business_date, 'FMDD Mon YYYY') || ' (' || r.reference || ').',
               a.due || ' ' || to_char(a.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC."')) AS body,
           row_number() OVER alike AS place,
           count(*) OVER (alike ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS together
    FROM targets t
    JOIN asked a ON a.n = t.n
    JOIN workflow_run r ON r.id = a.run_id
    LEFT JOIN app_user u ON u.id = t.user_id AND u.active AND u.deleted_at IS NULL AND u.account_kind = 'person'
         AND (a.actor OR u.id <> :actor)
    {WISHES}
    WHERE (u.id IS NOT NULL OR t.endpoint_id IS NOT NULL) AND w.channels IS NOT NULL
    WINDOW alike AS (PARTITION BY u.id, t.endpoint_id, a.code, coalesce(a.cause, a.run_id) ORDER BY a.n)
), storms AS (
    SELECT min(n) AS n, code, min(filed) AS filed, cause, coalesce(cause, run_id) AS of_id, user_id, endpoint_id,
           min(email) AS email, (array_agg(channels))[1] AS channels, min(digest) AS digest, bool_and(held) AS held,
           count(*) || ' ' || min(many) || ': ' || coalesce(
               (SELECT 'waiting for ' || p.label FROM process_run p WHERE p.id = cause), min(run)) AS title,
           concat_ws(E'\\n',
               string_agg(label || coalesce(', due ' || due_at, ''), E'\\n' ORDER BY n) FILTER (WHERE place <= :listed),
               'and ' || nullif(greatest(count(*) - :listed, 0), 0) || ' more') AS body,
           code || coalesce('/cause/' || cause,
               ':' || (array_agg(run_id))[1] || ':'
                   || encode(sha256(convert_to(string_agg(key, ' ' ORDER BY key), 'UTF8')), 'hex')) AS key
    FROM told WHERE together > CASE WHEN cause IS NULL THEN :storm ELSE 1 END
    GROUP BY code, cause, coalesce(cause, run_id), user_id, endpoint_id
), given AS (
    SELECT n, code, filed, user_id, endpoint_id, email, left(regexp_replace(title, '\\s+', ' ', 'g'), 300) AS title,
           body, key, 'process_run' AS record_entity, id AS record_id, '/processes/' || id AS link, channels, digest,
           held
    FROM told WHERE together <= CASE WHEN cause IS NULL THEN :storm ELSE 1 END
    UNION ALL
    SELECT n, code, filed, user_id, endpoint_id, email, left(regexp_replace(title, '\\s+', ' ', 'g'), 300), body, key,
           CASE WHEN cause IS NULL THEN 'workflow_run' ELSE 'process_run' END, of_id,
           CASE WHEN cause IS NULL THEN '/runs/' ELSE '/processes/' END || of_id, channels, digest, held
    FROM storms
), {WRITE}""").bindparams(
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
    bindparam("mails", type_=Boolean),
    bindparam("calls", type_=Boolean),
)
