"""Who calls, for every route: the actor of the session cookie or of the bearer token, and the check against forgery."""

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer

from app.api.auth.backends import SESSION_COOKIE, AccessTokenStrategy, session_strategy
from app.api.auth.users import ApiUser, UserManager, client_ip
from app.api.problems import request_id
from app.core.actor import Actor
from app.core.errors import Unauthenticated
from app.domain.access.actors import Platform
from app.domain.access.same_origin import SAFE_METHODS, require_csrf_token, require_same_origin
from app.domain.access.sign_in import PasswordChangeRequired

CSRF_HEADER = "X-CSRF-Token"

# What a person can still do whose password an administrator has set.
BEFORE_PASSWORD_CHANGE = frozenset({"/api/v1/auth/me", "/api/v1/auth/password", "/api/v1/auth/sign-out"})

# Named for the API description only; `_identify` reads the headers.
_COOKIE = APIKeyCookie(name=SESSION_COOKIE, scheme_name="session", auto_error=False)
_BEARER = HTTPBearer(scheme_name="access token", bearerFormat="steps_pat_<id>_<secret>", auto_error=False)


async def get_user(request: Request) -> ApiUser:
    """Return who calls, read once for a request.

    A changing request that is known by its cookie must also pass `require_csrf`. Where a bearer token is given it alone
    counts: a wrong one is not replaced by a cookie.

    Raises:
        Unauthenticated: there is no session or token, or it is not good any more.
        ForeignRequest: a changing request did not come from one of our pages.
        PasswordChangeRequired: the person has to choose their own password first.
        RateLimited: many wrong tokens came from this address.
    """
    user: ApiUser | None = getattr(request.state, "steps_user", None)
    if user is None:
        user = await _identify(request)
        correlation_id = request_id(request)
        if user.actor is not None and correlation_id is not None:
            user.actor = user.actor.correlated(correlation_id)
        request.state.steps_user = user
    return user


async def get_actor(
    request: Request,
    _cookie: Annotated[object, Security(_COOKIE)] = None,
    _bearer: Annotated[object, Security(_BEARER)] = None,
) -> Actor:
    """Return the actor who calls; see `get_user` for what it raises."""
    user = await get_user(request)
    assert user.actor is not None
    return user.actor


async def require_csrf(request: Request) -> None:
    """Refuse a changing request that rides on a session cookie without being sent by one of our own pages.

    Raises:
        Unauthenticated: there is no session.
        ForeignRequest: the Origin is foreign or missing, or the CSRF token is not the session's.
    """
    await get_user(request)


CurrentUser = Annotated[ApiUser, Depends(get_user)]
CurrentActor = Annotated[Actor, Depends(get_actor)]


async def _identify(request: Request) -> ApiUser:
    platform: Platform = request.app.state.runtime
    manager = UserManager(platform, ip=client_ip(request))
    authorization = request.headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("Send an access token as `Authorization: Bearer steps_pat_...`.")
        user = await AccessTokenStrategy(platform, ip=client_ip(request)).read_token(token.strip(), manager)
        if user is None:
            raise Unauthenticated("The access token is not valid: it is wrong, expired or revoked.")
        return user
    user = await session_strategy(request).read_token(request.cookies.get(SESSION_COOKIE), manager)
    if user is None or user.session is None:
        raise Unauthenticated("Sign in, or send an access token as `Authorization: Bearer steps_pat_...`.")
    if request.method not in SAFE_METHODS:
        check_origin(request)
        require_csrf_token(given=request.headers.get(CSRF_HEADER), expected=user.session.csrf_token)
    if user.must_change_password and request.url.path not in BEFORE_PASSWORD_CHANGE:
        raise PasswordChangeRequired("Your password was set by an administrator. Choose your own, then go on.")
    return user


def check_origin(request: Request) -> None:
    """Refuse a request from a page of another site. Raises ForeignRequest."""
    platform: Platform = request.app.state.runtime
    require_same_origin(
        origin=request.headers.get("origin"),
        referer=request.headers.get("referer"),
        base_url=platform.settings.address,
        own_url=str(request.base_url),
    )
