"""What the statements that give notices share: what a person wants, and how a message is written to each channel.

Both end in `given`, a row for each message and recipient, and go on with `WRITE`, so that there is one place in which
notifications and deliveries are written, whatever they are about.
"""


def wish(attribute: str) -> str:
    """What the person of the row `u` wants of the messages of `a.code` in `a.filed`: event > category > global."""
    return (
        f"coalesce(u.notification_settings #>> ARRAY['events', a.code, '{attribute}'],"
        f" u.notification_settings #>> ARRAY['categories', a.filed, '{attribute}'],"
        f" u.notification_settings ->> '{attribute}')"
    )


# forced   the rule is mandatory or critical: its channels are used whatever else the person wants, and it is not muted
# channels a JSON array; NULL where the person has muted it
# digest   now, hourly or daily
# quiet    whether the person has quiet hours
WISHES = f"""
    CROSS JOIN LATERAL (SELECT a.mandatory OR a.critical AS forced) AS f
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN u.notification_settings IS NULL THEN a.channels
            WHEN NOT f.forced AND {wish("muted")} = 'true' THEN NULL
            WHEN f.forced THEN a.channels || coalesce(CAST({wish("channels")} AS jsonb), '[]')
            ELSE coalesce(CAST({wish("channels")} AS jsonb), a.channels) END AS channels,
            CASE WHEN u.notification_settings IS NULL OR f.forced THEN 'now'
                 ELSE coalesce({wish("digest")}, 'now') END AS digest,
            NOT a.critical AND coalesce(u.notification_settings -> 'quiet' <> 'null', false) AS quiet
    ) AS w
"""

# People may wait for the end of their quiet hours or their digest, but not with what they have to do very soon.
URGENT = "interval '4 hours'"

# given: n, code, filed, user_id | endpoint_id, email, title, body, key, record_entity, record_id, link, channels,
#        held (whether quiet hours or a digest count), digest, grows (a summary that is told again when it grows)
WRITE = """
notified AS (
    INSERT INTO notification AS known (id, row_version, created_at, created_by, updated_at, updated_by, user_id, kind,
                                       rule, title, body, link, record_entity, record_id, at, in_app, dedup_key)
    SELECT uuidv7(), 1, :now, :by, :now, :by, user_id, filed, code, title, body, link, record_entity, record_id, :now,
           jsonb_exists(channels, 'in_app'), key
    FROM given WHERE user_id IS NOT NULL ORDER BY n
    ON CONFLICT (user_id, dedup_key) DO UPDATE
        SET title = excluded.title, body = excluded.body, at = excluded.at, read_at = NULL, over_at = NULL,
            row_version = known.row_version + 1, updated_at = excluded.updated_at
        WHERE excluded.dedup_key LIKE '%/cause/%' AND known.body IS DISTINCT FROM excluded.body
    RETURNING id, user_id, dedup_key, xmax = 0 AS fresh
), outgoing AS (
    SELECT g.n, 'email' AS channel, g.email AS recipient, d.id AS notification_id, g.user_id,
           CAST(NULL AS uuid) AS endpoint_id, g.title, g.body, g.link, g.key, g.code, g.filed, g.record_entity,
           g.record_id, CASE WHEN :mails THEN CASE WHEN g.held THEN 'waiting' ELSE 'queued' END ELSE 'kept' END
               AS state, g.digest
    FROM given g JOIN notified d ON d.user_id = g.user_id AND d.dedup_key = g.key AND d.fresh
    WHERE jsonb_exists(g.channels, 'email')
    UNION ALL
    SELECT g.n, e.kind, e.kind || ':' || e.code, d.id, g.user_id, e.id, g.title, g.body, g.link, g.key, g.code,
           g.filed, g.record_entity, g.record_id,
           CASE WHEN :calls THEN CASE WHEN g.held THEN 'waiting' ELSE 'queued' END ELSE 'kept' END, g.digest
    FROM given g JOIN notified d ON d.user_id = g.user_id AND d.dedup_key = g.key AND d.fresh
         JOIN notification_endpoint e ON e.user_id = g.user_id AND e.active
    WHERE jsonb_exists(g.channels, 'chat')
    UNION ALL
    SELECT g.n, e.kind, e.kind || ':' || e.code, NULL, NULL, e.id, g.title, g.body, g.link, g.key, g.code, g.filed,
           g.record_entity, g.record_id, CASE WHEN :calls THEN 'queued' ELSE 'kept' END, 'now'
    FROM given g JOIN notification_endpoint e ON e.id = g.endpoint_id AND e.active
), sent AS (
    INSERT INTO mail_message (id, row_version, created_at, created_by, updated_at, updated_by, channel, recipient,
                              subject, text_body, state, attempts, dedup_key, notification_id, user_id, endpoint_id,
                              rule, kind, record_entity, record_id, link, digest)
    SELECT uuidv7(), 1, :now, :by, :now, :by, channel, recipient, title,
           concat(title, E'\\n\\n', body, E'\\n\\n', CAST(:address AS text), link, E'\\n'), state, 0, key,
           notification_id, user_id, endpoint_id, code, filed, record_entity, record_id, link, nullif(digest, 'now')
    FROM outgoing ORDER BY n
    ON CONFLICT (recipient, dedup_key) DO NOTHING
    RETURNING id, state, user_id, digest
)
SELECT ARRAY(SELECT DISTINCT user_id FROM notified) AS users,
       ARRAY(SELECT id FROM notified WHERE fresh) AS notifications,
       ARRAY(SELECT id FROM sent) AS deliveries,
       ARRAY(SELECT id FROM sent WHERE state = 'queued') AS queued,
       (SELECT jsonb_agg(jsonb_build_object('id', s.id, 'digest', s.digest, 'zone', u.time_zone,
                                            'settings', u.notification_settings))
        FROM sent s JOIN app_user u ON u.id = s.user_id WHERE s.state = 'waiting') AS waiting
"""
