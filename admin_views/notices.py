"""The bell: a person's own messages."""

from starlette.responses import Response

from admin_views.visit import Visit
from app.domain.notify import inbox

SHOWN = 12


async def panel(visit: Visit) -> Response:
    """The list under the bell, as a fragment."""
    async with visit.uow() as uow:
        unread = await inbox.unread_count(uow)
        entries = [
            {
                "id": str(item.id),
                "title": item.title,
                "body": item.body[:200],
                "href": item.link if item.link.startswith("/") and not item.link.startswith("//") else None,
                "kind": item.kind.value,
                "at_text": visit.formats.moment(item.at, uow.now),
                "unread": item.unread,
            }
            for item in await inbox.latest(uow, limit=SHOWN)
        ]
    return visit.fragment("steps/notices.html", entries=entries, unread=unread)


async def mark_all_read(visit: Visit) -> Response:
    """Every message is read now; the answer is the list as it then stands."""
    async with visit.uow() as uow:
        await inbox.mark_all_read(uow)
    return await panel(visit)
