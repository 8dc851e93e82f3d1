"""A person's own notifications: nobody reads or marks those of somebody else here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.notify.messages import localise, zone_of
from app.domain.notify.rules import Kind

LATEST = 20
MOST_COUNTED = 1_000  # past this the bell says 999+ and the count stops


@dataclass(frozen=True, slots=True)
class InboxItem:
    """A notification as the bell shows it; `read_at` None: unread."""

    id: UUID
    kind: Kind
    title: str
    body: str
    link: str
    at: datetime
    read_at: datetime | None


_LATEST = text("""
SELECT id, kind, title, body, link, at, read_at FROM notification
WHERE user_id = :user ORDER BY at DESC, id DESC LIMIT :limit
""")
_UNREAD = text("""
SELECT count(*) FROM (SELECT 1 FROM notification WHERE user_id = :user AND read_at IS NULL LIMIT :most) AS unread
""")
_MARK = """
UPDATE notification SET read_at = :now, row_version = row_version + 1, updated_at = :now, updated_by = :user
WHERE user_id = :user AND read_at IS NULL {}
"""
_MARK_ALL = text(_MARK.format(""))
_MARK_SOME = text(_MARK.format("AND id = ANY(:ids)")).bindparams(bindparam("ids", type_=ARRAY(Uuid)))


async def latest(uow: UnitOfWork, *, limit: int = LATEST) -> list[InboxItem]:
    """The actor's notifications, newest first, with times in the actor's zone."""
    authorize(uow, "read", "notification")
    zone = zone_of(uow.actor.time_zone)
    rows = await uow.execute(_LATEST, {"user": uow.actor.id, "limit": limit})
    return [
        InboxItem(
            row.id, Kind(row.kind), row.title, localise(row.body or "", zone), row.link or "", row.at, row.read_at
        )
        for row in rows
    ]


async def unread_count(uow: UnitOfWork) -> int:
    """How many of the actor's notifications are unread; 1,000 stands for that many or more."""
    authorize(uow, "read", "notification")
    count: int = await uow.scalar(_UNREAD, {"user": uow.actor.id, "most": MOST_COUNTED})
    return count


async def mark_read(uow: UnitOfWork, *, ids: Sequence[UUID]) -> int:
    """Mark these of the actor's notifications as read; ids of others are ignored. Returns how many were unread."""
    authorize(uow, "update", "notification")
    marked = await uow.execute(_MARK_SOME, {"user": uow.actor.id, "now": uow.now, "ids": list(ids)})
    return _touched(uow, marked.rowcount)


async def mark_all_read(uow: UnitOfWork) -> int:
    """Mark all of the actor's notifications as read. Returns how many were unread."""
    authorize(uow, "update", "notification")
    marked = await uow.execute(_MARK_ALL, {"user": uow.actor.id, "now": uow.now})
    return _touched(uow, marked.rowcount)


def _touched(uow: UnitOfWork, count: int) -> int:
    if count:
        uow.touch(f"user:{uow.actor.id}")
    return count
