"""What surrounds every page: navigation, business date, applications, unread messages, the person's choices."""

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from sqlalchemy import func, select

from admin_views.navigation import navigation
from admin_views.templating import asset_version
from app.core.uow import UnitOfWork

if TYPE_CHECKING:
    from admin_views.visit import Visit

ALL_APPLICATIONS = "*"


async def shell_context(visit: "Visit", uow: UnitOfWork, title: str) -> dict[str, Any]:
    """The `shell` of steps/base.html, with one statement."""
    preferences, actor = visit.visitor.session.preferences, visit.actor
    notifications, applications = uow.table("notification"), uow.table("application")
    unread = (
        select(func.count())
        .select_from(notifications)
        .where(
            notifications.c.user_id == actor.id,
            notifications.c.in_app,
            notifications.c.read_at.is_(None),
            notifications.c.over_at.is_(None),
        )
        .scalar_subquery()
    )
    granted = sorted({grant.application for grant in visit.visitor.session.actor.grants})
    labels = (
        select(func.jsonb_object_agg(applications.c.code, applications.c.label))
        .where(applications.c.code.in_(granted))
        .scalar_subquery()
    )
    row = (await uow.execute(select(unread.label("unread"), labels.label("labels")))).one()
    shifted = bool(uow.resources.clock.shift)
    at = visit.formats.local(uow.now)
    return {
        "nav": navigation(
            uow.registry,
            has_page=visit.site.has_page,
            may=lambda action, entity: visit.may(action, entity) is not None,
            at=visit.request.url.path,
        ),
        "user": {"name": actor.name, "email": actor.email, "initials": initials(actor.name)},
        "business_date": uow.business_date,
        "demo_time": f"Demo time {at:%H:%M} {visit.formats.zone_name(uow.now)}" if shifted else None,
        "applications": _applications(granted, row.labels or {}, visit.visitor.application),
        "unread": row.unread,
        "theme": preferences.theme,
        "contrast": preferences.contrast,
        "density": preferences.density,
        "csrf_token": visit.visitor.session.csrf_token,
        "page_title": title,
        "search_enabled": visit.site.has_page("/search"),
        "help_url": "/help" if visit.site.has_page("/help") else None,
        "brand": visit.site.brand,
        "asset_version": asset_version(),
        "server_now": uow.now.isoformat(),
        "live": visit.site.listener is not None,
        "live_since": int(visit.began * 1_000),
        "flashes": _flashes(visit),
    }


def _applications(granted: list[str], labels: dict[str, str], current: str | None) -> list[dict[str, Any]]:
    """The applications to choose from: those in which the person has a role, and all of them together."""
    shown = [{"code": code, "label": labels.get(code, code), "current": code == current} for code in granted]
    if len(shown) < 2:
        return [{**entry, "current": True} for entry in shown]
    return [{"code": ALL_APPLICATIONS, "label": "All applications", "current": current is None}, *shown]


def _flashes(visit: "Visit") -> list[dict[str, str]]:
    """The message of the change before this page; kept in a cookie for one page."""
    from admin_views.visit import FLASH_COOKIE, FLASH_KINDS

    kind, _, text = unquote(visit.request.cookies.get(FLASH_COOKIE, "")).partition(":")
    return [{"kind": kind, "text": text[:500]}] if kind in FLASH_KINDS and text else []


def initials(name: str) -> str:
    """Up to two letters that stand for a person."""
    words = [word for word in name.split() if word[:1].isalnum()]
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words)).upper() or "?"
