"""The bell: a person's latest messages."""

from starlette.responses import Response

from admin_views.visit import Visit
from app.domain.entities.queries import ListQuery, list_records

LATEST = 12


async def panel(visit: Visit) -> Response:
    """The list under the bell, as a fragment; one's own messages only."""
    async with visit.uow() as uow:
        mine = {"user": str(visit.actor.id)}
        found = await list_records(uow, "notification", ListQuery(filter=mine, sort="-at", limit=LATEST))
        entries = [
            {
                "title": record["title"],
                "body": (record["body"] or "")[:200],
                "href": record["link"] if str(record["link"] or "").startswith("/") else None,
                "kind": record["kind"],
                "at_text": visit.formats.moment(record["at"], uow.now),
                "unread": record["read_at"] is None,
            }
            for record in found.records
        ]
    return visit.fragment("steps/notices.html", entries=entries, csrf_token=visit.visitor.session.csrf_token)
