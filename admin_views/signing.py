"""Signing in and out, and choosing one's own password."""

import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import distinct, func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from admin_views.auth import SESSION_COOKIE, client_ip, identify, require_own_page, safe_next
from admin_views.errors import error_response
from admin_views.formats import formats_of
from admin_views.templating import asset_version, render
from admin_views.visit import Visit
from admin_views.wording import sentence
from app.bootstrap import Runtime
from app.core.actor import Actor, system_actor
from app.core.errors import RateLimited, StepsError, ValidationFailed
from app.domain.access.preferences import own_profile
from app.domain.access.same_origin import ForeignRequest
from app.domain.access.sessions import LIFETIME
from app.domain.access.sign_in import SignedIn, SignInPaused, SignInRefused, change_own_password, sign_in, sign_out

if TYPE_CHECKING:
    from admin_views.site import StepsAdmin

FORM_COOKIE = "steps_signin"
SECURE_PREFIX = "https://"
VERSION = "0.1"
DEMO_DOMAIN = "@demo.example"


async def sign_in_page(site: "StepsAdmin", request: Request) -> Response:
    """The sign-in form and what it sends. Never tells whether an account exists."""
    request.scope.setdefault("state", {})["route"] = "/signin"
    try:
        if request.method == "POST":
            return await _take(site, request)
        following = safe_next(request.query_params.get("next"))
        if await identify(site.runtime, request) is not None:
            return RedirectResponse(following, status_code=303)
        notice = "You are signed out." if request.query_params.get("signed_out") else None
        return await _form(site, request, following=following, notice=notice)
    except Exception as error:
        return await error_response(site, request, None, error)


async def _take(site: "StepsAdmin", request: Request) -> Response:
    form = await request.form()
    email, password, token = (_text(form.get(name)) for name in ("email", "password", "csrf_token"))
    following = safe_next(_text(form.get("next")))
    kept = request.cookies.get(FORM_COOKIE)
    try:
        require_own_page(request, site.runtime.settings.address, token, kept or secrets.token_urlsafe(16))
    except ForeignRequest as error:
        if kept is not None and request.headers.get("origin") is None:
            raise
        return await _form(site, request, following=following, email=email, notice=error.detail, status=error.status)
    if not email.strip():
        missing = "Enter the e-mail address of your account."
        return await _form(site, request, following=following, email_error=missing, status=422)
    if not password:
        problem = {"title": "Enter your password.", "text": ""}
        return await _form(site, request, following=following, email=email, error=problem, status=422)
    try:
        signed_in = await sign_in(
            site.runtime,
            email=email,
            password=password,
            ip=client_ip(request),
            user_agent=request.headers.get("user-agent"),
        )
    except SignInPaused as error:
        return await _form(site, request, following=following, email=email, locked=_until(error), status=error.status)
    except (SignInRefused, RateLimited) as error:
        problem = {"title": sentence(error.title), "text": error.detail}
        return await _form(site, request, following=following, email=email, error=problem, status=error.status)
    former = request.cookies.get(SESSION_COOKIE)
    if former:
        await sign_out(site.runtime, former, ip=client_ip(request))
    if following == "/" and not signed_in.must_change_password:
        following = await _first_page(site, signed_in)
    return _begin(site, signed_in, following)


async def _first_page(site: "StepsAdmin", signed_in: SignedIn) -> str:
    """The page that the person wants to begin with."""
    async with site.runtime.reading(Actor(signed_in.user_id, "")) as uow:
        return safe_next((await own_profile(uow))["landing_page"])


def _begin(site: "StepsAdmin", signed_in: SignedIn, following: str) -> Response:
    response = RedirectResponse(following, status_code=303, headers={"cache-control": "no-store"})
    response.set_cookie(
        SESSION_COOKIE,
        signed_in.session_token,
        max_age=int(LIFETIME.total_seconds()),
        path="/",
        httponly=True,
        secure=site.runtime.settings.address.startswith(SECURE_PREFIX),
        samesite="lax",
    )
    response.delete_cookie(FORM_COOKIE, path="/signin")
    return response


def _until(error: SignInPaused) -> dict[str, str]:
    until = error.context.get("until")
    if until is None:
        return {"until_text": "later"}
    formats = formats_of("Europe/Berlin", "en-GB")
    instant = datetime.fromisoformat(str(until))
    return {"until_text": f"after {formats.local(instant):%H:%M:%S} {formats.zone_name(instant)}"}


async def _form(site: "StepsAdmin", request: Request, *, following: str, status: int = 200, **more: Any) -> Response:
    token = request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(24)
    people = await demo_people(site.runtime) if site.runtime.settings.demo else []
    context = {
        "brand": site.brand,
        "asset_version": asset_version(),
        "csrf_token": token,
        "action": "/signin",
        "next": following,
        "continue_to": _name_of(site, following),
        "sso": (),
        "demo_users": people,
        "demo_hint": "The password was printed where the demo was started." if people else None,
        "contact": "your platform administrator",
        "version": VERSION,
        **more,
    }
    response = render("steps/signin.html", context, status=status)
    secure = site.runtime.settings.address.startswith(SECURE_PREFIX)
    response.set_cookie(FORM_COOKIE, token, max_age=3_600, path="/signin", httponly=True, secure=secure, samesite="lax")
    return response


async def demo_people(runtime: Runtime) -> list[dict[str, str]]:
    """The demo's users with their roles. Only a demo tells who there is, and only about its own made-up people."""
    async with runtime.uow(system_actor("Sign-in")) as uow:
        users, grants, roles = uow.table("user"), uow.table("role_grant"), uow.table("role")
        statement = (
            select(
                users.c.email,
                users.c.name,
                func.string_agg(distinct(roles.c.label), aggregate_order_by(literal(", "), roles.c.label)).label(
                    "what"
                ),
            )
            .join(grants, grants.c.user_id == users.c.id)
            .join(roles, roles.c.id == grants.c.role_id)
            .where(users.c.email.endswith(DEMO_DOMAIN), users.c.active, users.c.deleted_at.is_(None))
            .where(grants.c.revoked_at.is_(None))
            .group_by(users.c.id)
            .order_by(users.c.id)
            .limit(12)
        )
        rows = (await uow.execute(statement)).mappings()
        return [{"email": row["email"], "label": row["name"], "what": row["what"]} for row in rows]


def _name_of(site: "StepsAdmin", address: str) -> str | None:
    """The list that was asked for, in words."""
    parts = address.split("?", maxsplit=1)[0].strip("/").split("/")
    entity = site.registry.by_slug.get(parts[1]) if parts[0] == "data" and len(parts) > 1 else None
    return entity.label_plural if entity else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


async def sign_out_page(visit: Visit) -> Response:
    token = visit.request.cookies.get(SESSION_COOKIE, "")
    await sign_out(visit.runtime, token, ip=client_ip(visit.request))
    response = RedirectResponse("/signin?signed_out=1", status_code=303)
    response.delete_cookie(SESSION_COOKIE, path="/")
    return response


async def password_page(visit: Visit) -> Response:
    """Choose one's own password: asked for after an administrator has set one."""
    if visit.request.method == "GET":
        return _password_form(visit, {}, 200)
    form = await visit.form()
    current, new, again = (_text(form.get(name)) for name in ("current_password", "new_password", "again"))
    if new != again:
        return _password_form(visit, {"again": "The two new passwords differ."}, 422)
    try:
        await change_own_password(visit.runtime, visit.visitor.session.actor, current=current, new=new)
    except ValidationFailed as error:
        return _password_form(visit, {p.path: sentence(p.message) for p in error.problems}, error.status)
    except StepsError as error:
        return _password_form(visit, {"current_password": error.detail}, error.status)
    return visit.go("/", flash="Your password is changed.")


def _password_form(visit: Visit, errors: dict[str, str], status: int) -> Response:
    session = visit.visitor.session
    context = {
        "brand": visit.site.brand,
        "asset_version": asset_version(),
        "csrf_token": session.csrf_token,
        "errors": errors,
        "required": session.must_change_password,
        "email": visit.actor.email,
    }
    return render("steps/password.html", context, status=status)
