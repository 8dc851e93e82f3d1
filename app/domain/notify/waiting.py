"""What waited for the end of quiet hours or for a digest goes out when its time has come.

A digest is one message with all that a person was to be told over a channel; a single one goes out as it is. Any number
of workers may look: one of them does it.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, bindparam, insert, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.uow import UnitOfWork
from app.domain.notify.giving import enqueue_delivery
from app.domain.notify.mail import mail_transport
from app.domain.notify.withdrawal import withdraw_obsolete
from models.base import uuid7

LOCK = 7_302_002
MOST_AT_ONCE = 5_000
MOST_LISTED = 100

_ALONE = text("SELECT pg_try_advisory_xact_lock(:key)")
_DUE = text("""
SELECT id, channel, recipient, user_id, endpoint_id, subject, text_body, digest, not_before, link
FROM mail_message
WHERE state = 'waiting' AND not_before <= :now
ORDER BY not_before, id LIMIT :most FOR UPDATE
""")
_QUEUE = text("""
UPDATE mail_message SET state = 'queued', row_version = row_version + 1, updated_at = :now
WHERE id = ANY (:ids)
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))
_GATHER = text("""
UPDATE mail_message
SET state = 'gathered', gathered_in_id = :digest_id, row_version = row_version + 1, updated_at = :now
WHERE id = ANY (:ids)
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))


async def release_waiting(uow: UnitOfWork) -> int:
    """Withdraw what is over, then queue what is due; return how many messages were sent off, settled or withdrawn."""
    if not await uow.scalar(_ALONE, {"key": LOCK}):
        return 0
    settled = await withdraw_obsolete(uow)
    due = (await uow.execute(_DUE, {"now": uow.now, "most": MOST_AT_ONCE})).all()
    digests: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    singles: list[UUID] = []
    for row in due:
        if row.digest is None:
            singles.append(row.id)
        else:
            digests[row.user_id, row.channel, row.recipient].append(row)
    for rows in digests.values():
        if len(rows) == 1:
            singles.append(rows[0].id)
        else:
            await _gather(uow, rows)
    if singles:
        await uow.execute(_QUEUE, {"ids": singles, "now": uow.now})
        for id_ in singles:
            enqueue_delivery(uow, id_)
    if due:
        uow.touch("entity:mail_message")
    return settled + len(due)


async def _gather(uow: UnitOfWork, rows: Sequence[Any]) -> None:
    """Write one message with all of these, which are kept as they were."""
    first = rows[0]
    digest_id = uuid7()
    values = {
        "id": digest_id,
        "row_version": 1,
        "created_at": uow.now,
        "created_by": uow.actor.id,
        "updated_at": uow.now,
        "updated_by": uow.actor.id,
        "channel": first.channel,
        "recipient": first.recipient,
        "subject": f"{len(rows)} messages from STEPS",
        "text_body": digest_text([(row.subject, row.link or "") for row in rows], address=mail_transport(uow).address),
        "state": "queued",
        "attempts": 0,
        "user_id": first.user_id,
        "endpoint_id": first.endpoint_id,
        "link": "/notifications",
        "kind": "system",
        "dedup_key": f"digest:{digest_id}",
    }
    await uow.execute(insert(uow.table("mail_message")).values(**values))
    await uow.execute(_GATHER, {"ids": [row.id for row in rows], "digest_id": digest_id, "now": uow.now})
    enqueue_delivery(uow, digest_id)


def digest_text(messages: Sequence[tuple[str, str]], *, address: str) -> str:
    """The text of a digest: what each message is about, oldest first, with where to open it. Pure."""
    subject = f"{len(messages)} messages from STEPS"
    lines = [f"{title}\n{address}{link}" if link else title for title, link in messages[:MOST_LISTED]]
    more = len(messages) - MOST_LISTED
    if more > 0:
        lines.append(f"and {more} more")
    return "\n\n".join([subject, *lines, f"{address}/notifications\n"])
