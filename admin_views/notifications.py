"""A person's notifications on a page of their own: what is new, by kind, with what can be done about it."""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from admin_views.pages import PageRoute
from admin_views.visit import Visit, record_id
from app.core.errors import InvalidRequest, NotFound
from app.domain.notify import inbox
from app.domain.notify.inbox import InboxItem
from app.domain.notify.rules import Kind

HREF = "/notifications"
PAGE_SIZE = 30
MOST_PAGES = 1_000
ICONS = {
    Kind.ASSIGNMENT: "user-check",
    Kind.WARNING: "clock",
    Kind.BREACH: "alert-octagon",
    Kind.REJECTION: "arrow-back-up",
    Kind.APPROVAL: "checks",
    Kind.FAILURE: "alert-triangle",
    Kind.SYSTEM: "info-circle",
}


async def notifications_page(visit: Visit) -> Response:
    """The list; all of its choices stand in the address."""
    query = visit.request.query_params
    kind, unread, search = _kind(query.get("kind")), query.get("unread") == "1", query.get("q", "").strip()[:100]
    number = _number(query.get("page"))
    async with visit.uow() as uow:
        counts = await inbox.counts(uow)
        items = await inbox.page_of(
            uow, kind=kind, unread=unread, search=search, offset=(number - 1) * PAGE_SIZE, limit=PAGE_SIZE + 1
        )
        chosen = {"kind": kind.value if kind else "", "unread": "1" if unread else "", "q": search}
        page = {
            "self": _address(chosen, number),
            "live_topic": "notifications" if visit.site.listener is not None else None,
            "unread": sum(of_kind for _, of_kind in counts.values()),
            "kinds": _kinds(counts, chosen),
            "only_unread": unread,
            "unread_href": _address({**chosen, "unread": "" if unread else "1"}),
            "search": search,
            "kind": chosen["kind"],
            "filtered": any(chosen.values()),
            "entries": [_entry(visit, item, uow.now) for item in items[:PAGE_SIZE]],
            "next_href": _address(chosen, number + 1) if len(items) > PAGE_SIZE else None,
            "previous_href": _address(chosen, number - 1) if number > 1 else None,
        }
        return await visit.page(uow, "steps/notifications.html", "Notifications", page=page)


def _entry(visit: Visit, item: InboxItem, now: Any) -> dict[str, Any]:
    return {
        "id": str(item.id),
        "title": item.title,
        "lines": [line for line in item.body.split("\n") if line],
        "kind": item.kind.value,
        "label": item.kind.label,
        "icon": ICONS[item.kind],
        "at": visit.formats.moment(item.at, now),
        "unread": item.unread,
        "over": item.over,
        "opens": _is_own(item.link),
    }


def _is_own(link: str) -> bool:
    return link.startswith("/") and not link.startswith(("//", "/\\"))


def _kinds(counts: dict[Kind, tuple[int, int]], chosen: dict[str, str]) -> list[dict[str, Any]]:
    """A tab for everything and one for each kind there is, with how many are unread."""
    everything = {
        "label": "Everything",
        "count": sum(unread for _, unread in counts.values()),
        "current": not chosen["kind"],
        "href": _address({**chosen, "kind": ""}),
    }
    of_kinds = [
        {
            "label": kind.label,
            "icon": ICONS[kind],
            "count": counts.get(kind, (0, 0))[1],
            "current": chosen["kind"] == kind.value,
            "href": _address({**chosen, "kind": kind.value}),
        }
        for kind in Kind
        if kind in counts or chosen["kind"] == kind.value
    ]
    return [everything, *of_kinds]


async def open_page(visit: Visit) -> Response:
    """Mark a notification as read and lead to what it is about."""
    id_ = _id(visit)
    async with visit.uow() as uow:
        link = await inbox.link_of(uow, id_=id_)
        await inbox.mark_read(uow, ids=[id_])
    return visit.go(link if _is_own(link) else HREF)


async def mark_page(visit: Visit) -> Response:
    """Mark one as read, or as unread again."""
    id_ = _id(visit)
    form = await visit.form()
    async with visit.uow() as uow:
        if form.get("as") == "unread":
            await inbox.mark_unread(uow, id_=id_)
        else:
            await inbox.mark_read(uow, ids=[id_])
    return visit.go(_back(form.get("back")))


async def mark_all_page(visit: Visit) -> Response:
    """Mark everything as read."""
    form = await visit.form()
    async with visit.uow() as uow:
        marked = await inbox.mark_all_read(uow)
    words = "1 notification is" if marked == 1 else f"{marked} notifications are"
    return visit.go(_back(form.get("back")), flash=f"{words} marked as read.")


def _back(given: object) -> str:
    text = given if isinstance(given, str) else ""
    return text if text == HREF or text.startswith(f"{HREF}?") else HREF


def _kind(text: str | None) -> Kind | None:
    if not text:
        return None
    if text not in set(Kind):
        raise InvalidRequest(f"There are no notifications of the kind {text[:40]!r}.")
    return Kind(text)


def _number(text: str | None) -> int:
    return min(int(text), MOST_PAGES) if text and text.isascii() and text.isdigit() and int(text) > 0 else 1


def _id(visit: Visit) -> Any:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such notification.")
    return id_


def _address(chosen: dict[str, str], number: int = 1) -> str:
    values = {name: value for name, value in chosen.items() if value}
    if number > 1:
        values["page"] = str(number)
    return f"{HREF}?{urlencode(values)}" if values else HREF


ROUTES: tuple[PageRoute, ...] = (
    PageRoute(HREF, notifications_page),
    PageRoute("/notifications/all/read", mark_all_page, ("POST",)),
    PageRoute("/notifications/{id}/open", open_page, ("POST",)),
    PageRoute("/notifications/{id}/mark", mark_page, ("POST",)),
)
