"""Messages for which there is no reason any more: unsent ones are withdrawn, unread ones do not ask for anything."""

from sqlalchemy import text

from app.core.uow import UnitOfWork

# `m` is a delivery. What asks somebody to do something is over when the work is; a request to approve when it was
# decided. What only tells of something that has happened stays true.
_ASKS = "('assignment', 'warning', 'breach', 'failure')"


def over(row: str) -> str:
    """Whether there is no reason any more for the message of this row."""
    return f"""(coalesce({row}.kind IN {_ASKS}, false) AND CASE {row}.record_entity
        WHEN 'process_run' THEN EXISTS (
            SELECT FROM process_run p WHERE p.id = {row}.record_id
            AND (p.state IN ('done', 'skipped', 'cancelled') OR ({row}.rule = 'review' AND p.state <> 'in_review')))
        WHEN 'workflow_run' THEN EXISTS (
            SELECT FROM workflow_run r WHERE r.id = {row}.record_id AND r.state IN ('done', 'cancelled'))
        ELSE false END)"""


OVER = over("m")
_WITHDRAW = text(f"""
UPDATE mail_message m
SET state = 'withdrawn', row_version = m.row_version + 1, updated_at = :now
WHERE m.id IN (SELECT id FROM mail_message m WHERE m.state = 'waiting' AND {OVER}
               ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED)
""")
_SETTLE = text(f"""
UPDATE notification n SET over_at = :now
WHERE n.id IN (SELECT id FROM notification n WHERE n.read_at IS NULL AND n.over_at IS NULL AND {over("n")}
               ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED)
RETURNING n.user_id
""")


async def withdraw_obsolete(uow: UnitOfWork) -> int:
    """Withdraw what waits and has no reason any more, and settle unread notifications; return how many."""
    withdrawn = (await uow.execute(_WITHDRAW, {"now": uow.now})).rowcount
    people = list((await uow.execute(_SETTLE, {"now": uow.now})).scalars())
    uow.touch(*(f"user:{user_id}" for user_id in dict.fromkeys(people)))
    if withdrawn:
        uow.touch("entity:mail_message")
    return int(withdrawn) + len(people)
