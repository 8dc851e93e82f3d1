"""One request of a signed-in person, and how every page of the back office is entered.

`guarded` is the only way in: it knows who comes, refuses changes that are not sent by one of our own pages, and turns
every error into a page or, for scripts, into JSON. Nothing of an unexpected fault reaches the person but its number.
"""

import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

import orjson
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_views.auth import BEFORE_PASSWORD_CHANGE, Visitor, identify, require_own_page
from admin_views.errors import error_response
from admin_views.formats import Formats, formats_of
from admin_views.shell import shell_context
from admin_views.templating import render
from app.bootstrap import Runtime
from app.core.actor import Actor
from app.core.errors import Unauthenticated
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, decide
from app.domain.access.sign_in import PasswordChangeRequired

if TYPE_CHECKING:
    from admin_views.site import StepsAdmin

FLASH_COOKIE = "steps_flash"
FLASH_KINDS = ("ok", "info", "warn", "error")
MAX_FORM_FIELDS = 60_000
SAFE_METHODS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Visit:
    """A signed-in person at one page. `uow()` opens the page's transaction; nothing is open before."""

    request: Request
    runtime: Runtime
    visitor: Visitor
    site: "StepsAdmin"
    began: float = field(default_factory=time.time)  # what happens after it, the page may not show

    @property
    def actor(self) -> Actor:
        return self.visitor.actor

    @property
    def formats(self) -> Formats:
        preferences = self.visitor.session.preferences
        return formats_of(preferences.time_zone, preferences.locale)

    def uow(self) -> UnitOfWork:
        return self.runtime.uow(self.actor)

    def may(self, action: str, entity: str) -> Decision | None:
        """Whether this may be done to some record of the entity."""
        return decide(self.runtime.policy, self.runtime.registry, self.actor, action, entity)

    async def form(self) -> FormData:
        return await self.request.form(max_fields=MAX_FORM_FIELDS, max_part_size=2_000_000)

    async def page(
        self, uow: UnitOfWork, template: str, title: str, /, *, status: int = 200, **context: Any
    ) -> Response:
        """A whole page in the shell. Reads what the shell shows with one statement."""
        shell = await shell_context(self, uow, title)
        response = render(template, {"shell": shell, **context}, status=status)
        if FLASH_COOKIE in self.request.cookies:
            response.delete_cookie(FLASH_COOKIE, path="/")
        return response

    def fragment(self, template: str, /, **context: Any) -> Response:
        """A part of a page, for htmx."""
        return render(template, context)

    def go(self, path: str, *, flash: str = "", kind: str = "ok") -> Response:
        """Lead on after a change, with a message on the next page."""
        response = RedirectResponse(path, status_code=303)
        if flash:
            value = quote(f"{kind}:{flash[:500]}")
            response.set_cookie(FLASH_COOKIE, value, max_age=60, path="/", httponly=True, samesite="lax")
        return response


def json_answer(content: Mapping[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(content, default=str), status_code=status, media_type="application/json")


Endpoint = Callable[[Visit], Awaitable[Response]]
Handler = Callable[[Request], Awaitable[Response]]


def guarded(site: "StepsAdmin", endpoint: Endpoint, *, path: str) -> Handler:
    """The route's handler: identify, check the origin and the token of a change, run, and answer errors."""

    @functools.wraps(endpoint)
    async def handler(request: Request) -> Response:
        request.scope.setdefault("state", {})["route"] = path
        visitor: Visitor | None = None
        try:
            visitor = await identify(site.runtime, request)
            if visitor is None:
                raise Unauthenticated("Sign in to see this page.")
            request.state.steps_user = visitor
            visit = Visit(request, site.runtime, visitor, site)
            request.state.steps_visit = visit
            if request.method not in SAFE_METHODS:
                await _require_own_page(visit)
            if visitor.session.must_change_password and request.url.path not in BEFORE_PASSWORD_CHANGE:
                raise PasswordChangeRequired("Your password was set by an administrator. Choose your own, then go on.")
            return await endpoint(visit)
        except Exception as error:
            return await error_response(site, request, visitor, error)

    return handler


async def _require_own_page(visit: Visit) -> None:
    token = visit.request.headers.get("x-csrf-token")
    if token is None:
        given = (await visit.form()).get("csrf_token")
        token = given if isinstance(given, str) else None
    require_own_page(visit.request, visit.runtime.settings.address, token, visit.visitor.session.csrf_token)


def record_id(request: Request, name: str = "id") -> UUID | None:
    """The id in the path; None when it cannot be one."""
    try:
        return UUID(request.path_params[name])
    except ValueError:
        return None
