"""The log of deliveries: what went out to whom, over which channel, in which state, and why not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, Uuid, bindparam, text

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize

STATES = ("queued", "waiting", "sent", "kept", "failed", "gathered", "withdrawn")
CHANNELS = ("email", "webhook", "chat")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one recipient over one channel."""

    id: UUID
    channel: str
    recipient: str
    person: str | None
    subject: str
    state: str
    attempts: int
    error: str | None
    rule: str | None
    created_at: datetime
    sent_at: datetime | None
    not_before: datetime | None
    link: str | None
    text_body: str = ""
    gathered_in: UUID | None = None


_COLUMNS = """
m.id, m.channel, m.recipient, u.name AS person, m.subject, m.state, m.attempts, m.error, m.rule, m.created_at,
m.sent_at, m.not_before, m.link
"""
# Pages go back by the id, which grows with time, so that a long log costs no more than a short one.
_PAGE = text(f"""
SELECT {_COLUMNS} FROM mail_message m LEFT JOIN app_user u ON u.id = m.user_id
WHERE (CAST(:state AS text) IS NULL OR m.state = :state) AND (CAST(:channel AS text) IS NULL OR m.channel = :channel)
  AND (CAST(:search AS text) IS NULL OR m.recipient ILIKE :search OR m.subject ILIKE :search)
  AND (CAST(:before AS uuid) IS NULL OR m.id < :before)
ORDER BY m.id DESC LIMIT :limit
""").bindparams(bindparam("before", type_=Uuid), bindparam("limit", type_=Integer))
_ONE = text(f"""
SELECT {_COLUMNS}, m.text_body, m.gathered_in_id AS gathered_in
FROM mail_message m LEFT JOIN app_user u ON u.id = m.user_id WHERE m.id = :id
""")
_COUNTS = text("SELECT state, count(*) AS number FROM mail_message GROUP BY state")
_WITH = text("SELECT id, subject FROM mail_message WHERE gathered_in_id = :id ORDER BY id LIMIT 200")


async def deliveries(
    uow: UnitOfWork, *, state: str | None, channel: str | None, search: str, before: UUID | None, limit: int
) -> list[Delivery]:
    """A page of the log, the latest first."""
    authorize(uow, "read", "mail_message")
    escaped = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    values: dict[str, Any] = {
        "state": state,
        "channel": channel,
        "search": f"%{escaped}%" if search else None,
        "before": before,
        "limit": limit,
    }
    return [Delivery(**row) for row in (await uow.execute(_PAGE, values)).mappings()]


async def delivery(uow: UnitOfWork, *, id_: UUID) -> Delivery:
    """One delivery with its text. Raises NotFound."""
    authorize(uow, "read", "mail_message")
    row = (await uow.execute(_ONE, {"id": id_})).mappings().one_or_none()
    if row is None:
        raise NotFound("There is no such message.")
    return Delivery(**row)


async def gathered(uow: UnitOfWork, *, id_: UUID) -> Sequence[tuple[UUID, str]]:
    """What a digest carries: ids and subjects, oldest first."""
    authorize(uow, "read", "mail_message")
    return [(row.id, row.subject) for row in await uow.execute(_WITH, {"id": id_})]


async def state_counts(uow: UnitOfWork) -> Mapping[str, int]:
    """How many deliveries are in each state."""
    authorize(uow, "read", "mail_message")
    return {row.state: row.number for row in await uow.execute(_COUNTS)}
