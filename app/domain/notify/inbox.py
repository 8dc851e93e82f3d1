"""A person's own notifications: nobody reads or marks those of somebody else here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Integer, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.notify.messages import localise, zone_of
from app.domain.notify.rules import Kind

LATEST = 20
MOST_COUNTED = 1_000  # past this the bell says 999+ and the count stops


@dataclass(frozen=True, slots=True)
class InboxItem:
    """A notification as the bell shows it; `read_at` None: unread. `over`: it does not ask for anything any more."""

    id: UUID
    kind: Kind
    title: str
    body: str
    link: str
    at: datetime
    read_at: datetime | None
    over: bool = False
    record_entity: str | None = None
    record_id: UUID | None = None

    @property
    def unread(self) -> bool:
        return self.read_at is None and not self.over


_SHOWN = "user_id = :user AND in_app"
_LATEST = text(f"""
SELECT id, kind, title, body, link, at, read_at, over_at, record_entity, record_id FROM notification
WHERE {_SHOWN} ORDER BY at DESC, id DESC LIMIT :limit
""")
_PAGE = text(f"""
SELECT id, kind, title, body, link, at, read_at, over_at, record_entity, record_id FROM notification
WHERE {_SHOWN} AND (CAST(:kind AS text) IS NULL OR kind = :kind)
  AND (NOT :unread OR (read_at IS NULL AND over_at IS NULL))
  AND (CAST(:search AS text) IS NULL OR title ILIKE :search OR body ILIKE :search)
ORDER BY at DESC, id DESC LIMIT :limit OFFSET :offset
""").bindparams(
    bindparam("unread", type_=Boolean), bindparam("limit", type_=Integer), bindparam("offset", type_=Integer)
)
_COUNTS = text(f"""
SELECT kind, count(*) AS every, count(*) FILTER (WHERE read_at IS NULL AND over_at IS NULL) AS unread
FROM notification WHERE {_SHOWN} GROUP BY kind
""")
_UNREAD = text(f"""
SELECT count(*) FROM (
    SELECT 1 FROM notification WHERE {_SHOWN} AND read_at IS NULL AND over_at IS NULL LIMIT :most) AS unread
""")
_LINK = text("SELECT link FROM notification WHERE user_id = :user AND id = :id")
_MARK_UNREAD = text("""
UPDATE notification SET read_at = NULL, row_version = row_version + 1, updated_at = :now, updated_by = :user
WHERE user_id = :user AND id = :id AND read_at IS NOT NULL
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
    return [_item(row, zone) for row in rows]


async def page_of(
    uow: UnitOfWork, *, kind: Kind | None = None, unread: bool = False, search: str = "", offset: int = 0, limit: int
) -> list[InboxItem]:
    """A page of the actor's notifications, newest first; `search` is looked for in what they say."""
    authorize(uow, "read", "notification")
    zone = zone_of(uow.actor.time_zone)
    escaped = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    values = {
        "user": uow.actor.id,
        "kind": kind.value if kind else None,
        "unread": unread,
        "search": f"%{escaped}%" if search else None,
        "limit": limit,
        "offset": offset,
    }
    return [_item(row, zone) for row in await uow.execute(_PAGE, values)]


async def counts(uow: UnitOfWork) -> dict[Kind, tuple[int, int]]:
    """How many notifications of each kind the actor has: all, and unread."""
    authorize(uow, "read", "notification")
    rows = await uow.execute(_COUNTS, {"user": uow.actor.id})
    return {Kind(row.kind): (row.every, row.unread) for row in rows}


def _item(row: Any, zone: tzinfo) -> InboxItem:
    return InboxItem(
        id=row.id,
        kind=Kind(row.kind),
        title=row.title,
        body=localise(row.body or "", zone),
        link=row.link or "",
        at=row.at,
        read_at=row.read_at,
        over=row.over_at is not None,
        record_entity=row.record_entity,
        record_id=row.record_id,
    )


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


async def mark_unread(uow: UnitOfWork, *, id_: UUID) -> int:
    """Mark one of the actor's notifications as unread again. Returns whether it was read, as 0 or 1."""
    authorize(uow, "update", "notification")
    marked = await uow.execute(_MARK_UNREAD, {"user": uow.actor.id, "now": uow.now, "id": id_})
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


async def link_of(uow: UnitOfWork, *, id_: UUID) -> str:
    """Where one of the actor's notifications leads. Raises NotFound for one of somebody else."""
    authorize(uow, "read", "notification")
    row = (await uow.execute(_LINK, {"user": uow.actor.id, "id": id_})).one_or_none()
    if row is None:
        raise NotFound("There is no such notification.")
    return row.link or ""
