"""Every error as a page that says what to do, or as JSON for a script; refusals and faults are put on record."""

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import orjson
import structlog
from asyncpg import PostgresConnectionError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from admin_views.auth import PASSWORD_PAGE, Visitor, safe_next
from admin_views.shell import shell_context
from admin_views.templating import asset_version, render
from app.core.actor import ANONYMOUS
from app.core.audit import AuditEntry, Outcome
from app.core.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    StepsError,
    Unauthenticated,
    Unavailable,
)
from app.domain.access.sign_in import PasswordChangeRequired

if TYPE_CHECKING:
    from admin_views.site import StepsAdmin

UNREACHABLE = (PostgresConnectionError, InterfaceError, OperationalError, PoolTimeoutError, ConnectionError)

log = structlog.get_logger("steps.errors")


class PageFault(StepsError):
    """Something that must not happen did; what it was is in the log."""

    code = "internal_error"
    status = 500
    title = "Something went wrong on our side"


class NotThisWay(StepsError):
    """The address is right, the method is not."""

    code = "method_not_allowed"
    status = 405
    title = "This cannot be done here"


async def error_response(site: "StepsAdmin", request: Request, visitor: Visitor | None, error: Exception) -> Response:
    """The answer to an error of a page."""
    known = understood(error)
    request_id = str(request.scope.get("state", {}).get("request_id") or "") or None
    if isinstance(error, ClientDisconnect):
        raise error
    if known is None:
        log.error("unexpected fault", request_id=request_id, path=request.url.path, exc_info=error)
        known = PageFault("It has been recorded. Try again; if it happens again, tell support the number below.")
    if isinstance(known, PasswordChangeRequired) and _wants_page(request):
        return RedirectResponse(PASSWORD_PAGE, status_code=303)
    if isinstance(known, Unauthenticated) and _wants_page(request):
        return RedirectResponse(f"/signin?next={quote(_where_from(request), safe='')}", status_code=303)
    if isinstance(known, Forbidden):
        await _record_refusal(site, request, visitor, known)
    headers = {"cache-control": "no-store"}
    if isinstance(known, RateLimited):
        headers["retry-after"] = str(max(1, int(known.context.get("retry_after", 1))))
    if not _wants_page(request):
        problems = [{"path": p.path, "message": p.message, "code": p.code} for p in known.problems]
        content = {"title": known.title, "detail": known.detail, "code": known.code, "errors": problems}
        body = orjson.dumps({**content, "status": known.status, "correlation_id": request_id})
        return Response(body, status_code=known.status, headers=headers, media_type="application/problem+json")
    context = {
        "shell": await _shell(site, request, visitor, known),
        "error": page_of(known, request_id),
        "brand": site.brand,
        "asset_version": asset_version(),
    }
    response = render("steps/error.html", context, status=known.status)
    response.headers.update(headers)
    return response


def understood(error: Exception) -> StepsError | None:
    """The product's error for an exception; None where it is a fault of ours."""
    match error:
        case StepsError():
            return error
        case HTTPException(status_code=404):
            return NotFound("There is no page at this address.")
        case HTTPException(status_code=405):
            return NotThisWay("This address does not take this kind of request. Go back and use the page's buttons.")
        case HTTPException(status_code=400):
            return InvalidRequest(str(error.detail))
        case _ if isinstance(error, UNREACHABLE):
            log.error("the database is not reachable", error=str(error)[:300])
            return Unavailable("The database is not reachable. Try again in a moment.")
    return None


def page_of(error: StepsError, request_id: str | None) -> dict[str, Any]:
    """What steps/error.html shows."""
    advice = {
        403: ["Ask an administrator for the permission, or go back to what you were doing."],
        404: ["Check the address, or look for the record in its list.", "It may belong to a part that you cannot see."],
        409: ["Go back, reload the page and try again."],
        412: ["Go back, reload the page and repeat your change."],
        429: ["Wait a moment and try again."],
    }
    return {
        "status": error.status,
        "title": error.title,
        "text": error.detail if error.detail != error.title else "",
        "what_to_do": [*(f"{p.path}: {p.message}" for p in error.problems), *advice.get(error.status, [])],
        "error_id": request_id if error.status >= 500 else None,
        "actions": None,
    }


def _wants_page(request: Request) -> bool:
    if request.headers.get("hx-request") or request.headers.get("x-csrf-token"):
        return False
    accept = request.headers.get("accept", "*/*")
    return "text/html" in accept or ("json" not in accept and "event-stream" not in accept)


def _where_from(request: Request) -> str:
    """The page to come back to: the one asked for, or for a change the one that it was sent from."""
    if request.method in ("GET", "HEAD"):
        query = f"?{request.url.query}" if request.url.query else ""
        return safe_next(f"{request.url.path}{query}")
    referer = urlsplit(request.headers.get("referer", ""))
    return safe_next(f"{referer.path}{'?' + referer.query if referer.query else ''}")


async def _shell(
    site: "StepsAdmin", request: Request, visitor: Visitor | None, error: StepsError
) -> dict[str, Any] | None:
    """The shell around the error, where somebody is signed in and the database still answers."""
    if visitor is None or visitor.session.must_change_password:
        return None
    from admin_views.visit import Visit

    visit = Visit(request, site.runtime, visitor, site)
    try:
        async with visit.uow() as uow:
            return await shell_context(visit, uow, error.title)
    except Exception as trouble:
        log.error("an error page goes without its shell", error=str(trouble)[:300])
        return None


async def _record_refusal(site: "StepsAdmin", request: Request, visitor: Visitor | None, error: Forbidden) -> None:
    """Write who was refused what. That it cannot be written must not turn a refusal into something else."""
    entity = error.context.get("entity")
    action = str(error.context.get("action") or error.code)
    entry = AuditEntry(
        command=f"{entity}.{action}" if entity else action,
        entity=entity,
        outcome=Outcome.DENIED,
        reason=error.detail,
        context={"method": request.method, "path": request.url.path[:1_000], "code": error.code},
    )

    async def write() -> None:
        async with site.runtime.uow(visitor.actor if visitor else ANONYMOUS) as uow:
            uow.audit(entry)

    try:
        # Shielded: a browser that hangs up at the refusal does not erase it from the trail.
        await asyncio.shield(write())
    except Exception as trouble:
        log.error("a refusal was not recorded", command=entry.command, error=str(trouble)[:300])
