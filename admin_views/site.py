"""The back office: SQLAdmin's application with our views, pages and rules, mounted at the root of the site.

SQLAdmin brings routes of its own (deleting without a token, actions by GET, exports past the scope): none of them is
kept. Every route here is led through `visit.guarded`, but the sign-in, which a person needs before there is a session.

A site is built whole for one revision of the metadata and swapped whole when the revision changes: requests in flight
finish on the one they began with.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI
from sqladmin import Admin
from sqlalchemy.ext.asyncio import async_sessionmaker
from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match, NoMatchFound, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from admin_views import (
    ad_hoc,
    bulk_work,
    calendars,
    deliveries,
    designer_changes,
    escalations,
    hierarchies,
    home,
    issues,
    jobs,
    lifecycles,
    live,
    message_templates,
    migrations,
    notices,
    notifications,
    preferences,
    preferences_page,
    process,
    queries,
    reopenings,
    rules,
    runs,
    saved_views,
    schedules,
    signing,
    sla,
    sla_policies,
    triggers,
    workflows,
)
from admin_views.auth import SIGN_OUT, StepsAuthorization, identify
from admin_views.base import StepsModelView
from admin_views.errors import error_response
from admin_views.factory import view_classes
from admin_views.navigation import first_list
from admin_views.pages import PageRoute
from admin_views.templating import TEMPLATES
from admin_views.visit import Visit, guarded, record_id
from app.bootstrap import Runtime
from app.core.errors import NotFound
from app.core.listen import Listener
from app.core.touched import Touched
from models.registry import Registry

# What other parts of the application answer, also where they have nothing: a client of the API gets the API's 404.
NOT_OURS = ("/api", "/static", "/health", "/metrics")

GET, POST, BOTH = ("GET",), ("POST",), ("GET", "POST")

# The pages of features, beside those of entities.
FEATURE_PAGES: tuple[Sequence[PageRoute], ...] = (
    home.ROUTES,
    issues.ROUTES,
    bulk_work.ROUTES,
    ad_hoc.ROUTES,
    runs.ROUTES,
    process.ROUTES,
    queries.ROUTES,
    reopenings.ROUTES,
    jobs.ROUTES,
    escalations.ROUTES,
    hierarchies.ROUTES,
    lifecycles.ROUTES,
    schedules.ROUTES,
    calendars.ROUTES,
    triggers.ROUTES,
    rules.ROUTES,
    workflows.ROUTES,
    designer_changes.ROUTES,
    migrations.ROUTES,
    notifications.ROUTES,
    preferences_page.ROUTES,
    deliveries.ROUTES,
    message_templates.ROUTES,
    sla.ROUTES,
    sla_policies.ROUTES,
)
FEATURE_PATHS = frozenset(page.path for pages in FEATURE_PAGES for page in pages)

EntityPage = Callable[[StepsModelView, Visit], Awaitable[Response]]
ENTITY_PAGES: tuple[tuple[str, EntityPage, Sequence[str]], ...] = (
    ("/data/{slug}", StepsModelView.list_page, GET),
    ("/data/{slug}/new", StepsModelView.new_page, BOTH),
    ("/data/{slug}/export", StepsModelView.export_page, BOTH),
    ("/data/{slug}/columns", StepsModelView.columns_page, POST),
    ("/data/{slug}/lookup/{field}", StepsModelView.lookup_page, GET),
    ("/data/{slug}/steps/{name}", StepsModelView.bulk_step_page, POST),
    ("/data/{slug}/{id}", StepsModelView.detail_page, GET),
    ("/data/{slug}/{id}/edit", StepsModelView.edit_page, BOTH),
    ("/data/{slug}/{id}/delete", StepsModelView.delete_page, POST),
    ("/data/{slug}/{id}/history", StepsModelView.history_page, GET),
    ("/data/{slug}/{id}/steps/{name}", StepsModelView.step_page, POST),
)


class StepsAdmin(Admin):
    """One revision's back office."""

    def __init__(self, runtime: Runtime, state: State) -> None:
        """`state` is the web process's: it may begin to listen after the site was made."""
        self.runtime = runtime
        self.registry: Registry = runtime.registry
        self.brand: dict[str, Any] = {"name": "STEPS", "logo_url": None, "css_url": None}
        self._state = state
        super().__init__(
            Starlette(),
            # Bound to nothing: SQLAdmin has no sessions of its own here.
            session_maker=async_sessionmaker(),
            base_url="",
            title="STEPS",
            templates_dir=str(TEMPLATES),
            authorization_backend=StepsAuthorization(runtime),
        )
        for view in view_classes(self.registry):
            self.add_model_view(view)
        self.views_by_slug = {view.identity: view for view in self.views if isinstance(view, StepsModelView)}
        self.admin.router.routes = [Route("/signin", self._sign_in, methods=list(BOTH)), *self._page_routes()]
        self.admin.exception_handlers = {HTTPException: self._no_route}

    @property
    def listener(self) -> Listener | None:
        """What hears of changes in the database; None where the process does not listen."""
        return getattr(self._state, "listener", None)

    @property
    def touched(self) -> Touched | None:
        """What the process has heard of lately."""
        return getattr(self._state, "touched", None)

    def has_page(self, path: str) -> bool:
        """Whether a page of a feature has exactly this path."""
        return path in FEATURE_PATHS

    def _page_routes(self) -> list[BaseRoute]:
        own_pages = (
            PageRoute(SIGN_OUT, signing.sign_out_page, POST),
            PageRoute("/password", signing.password_page, BOTH),
            PageRoute("/preferences/{name}", preferences.preference_page, POST),
            PageRoute("/saved-views", saved_views.save_view, POST),
            PageRoute("/saved-views/{id}/delete", _delete_view, POST),
            PageRoute("/live", live.live_page, GET),
            PageRoute("/notifications/panel", notices.panel, GET),
            PageRoute("/notifications/read", notices.mark_all_read, POST),
        )
        entity_pages = [PageRoute(path, self._of_entity(page), methods) for path, page, methods in ENTITY_PAGES]
        features = [page for pages in FEATURE_PAGES for page in pages]
        first = [] if self.has_page("/") else [PageRoute("/", _to_first_list, GET)]
        return [
            Route(page.path, guarded(self, page.endpoint, path=page.path), methods=list(page.methods))
            for page in (*first, *own_pages, *features, *entity_pages)
        ]

    def _of_entity(self, page: EntityPage) -> Callable[[Visit], Awaitable[Response]]:
        async def endpoint(visit: Visit) -> Response:
            view = self.views_by_slug.get(visit.request.path_params["slug"])
            if view is None:
                raise NotFound("There is no such list.")
            return await page(view, visit)

        return endpoint

    async def _sign_in(self, request: Request) -> Response:
        return await signing.sign_in_page(self, request)

    async def _no_route(self, request: Request, error: Exception) -> Response:
        try:
            visitor = await identify(self.runtime, request)
        except Exception as trouble:
            return await error_response(self, request, None, trouble)
        return await error_response(self, request, visitor, error)


async def _delete_view(visit: Visit) -> Response:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such saved view.")
    return await saved_views.delete_view(visit, id_)


async def _to_first_list(visit: Visit) -> Response:
    """Where a person begins as long as there is no home page."""
    path = first_list(visit.runtime.registry, may=lambda action, entity: visit.may(action, entity) is not None)
    if path is None:
        raise NotFound("There is nothing that your roles let you see. Ask an administrator for a role.")
    return RedirectResponse(path, status_code=303)


class Site:
    """The site in force. It is built when it is first asked for, and anew when the metadata has changed."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self._built: StepsAdmin | None = None

    def current(self) -> StepsAdmin:
        """The site of the revision in force; the comparison is the backstop to being told of a change."""
        runtime: Runtime = self.app.state.runtime
        built = self._built
        if built is None or built.runtime is not runtime or built.registry is not runtime.registry:
            built = self._built = StepsAdmin(runtime, self.app.state)
        return built

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        site: ASGIApp = self.current().admin
        await site(scope, receive, send)


class SiteRoute(BaseRoute):
    """Everything that no other part of the application answers."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path: str = scope["path"]
        ours = scope["type"] == "http" and not any(path == p or path.startswith(f"{p}/") for p in NOT_OURS)
        return (Match.FULL if ours else Match.NONE), {}

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.site(scope, receive, send)


def mount(app: FastAPI) -> None:
    """Serve the back office at the root of the site, behind every other route: call it last."""
    site = Site(app)
    app.state.site = site
    app.router.routes.append(SiteRoute(site))
