"""The two ways to be known: a browser's session in a cookie, a client's access token in a header."""

from uuid import UUID

from fastapi import Request
from fastapi_users import BaseUserManager
from fastapi_users.authentication import AuthenticationBackend, CookieTransport, Strategy
from fastapi_users.authentication.strategy import StrategyDestroyNotSupportedError

from app.api.auth.users import ApiUser, client_ip
from app.core.actor import Actor
from app.core.settings import Settings
from app.domain.access.actors import Platform
from app.domain.access.sessions import LIFETIME, identify_session
from app.domain.access.sign_in import Verified, begin_session, sign_out
from app.domain.access.tokens import identify_token

SESSION_COOKIE = "steps_session"


class SessionStrategy(Strategy[ApiUser, UUID]):
    """Sessions in the database, opaque tokens in the browser."""

    def __init__(self, platform: Platform, *, ip: str | None, user_agent: str | None) -> None:
        self.platform = platform
        self.ip = ip
        self.user_agent = user_agent

    async def read_token(self, token: str | None, user_manager: BaseUserManager[ApiUser, UUID]) -> ApiUser | None:
        session = await identify_session(self.platform, token=token, ip=self.ip) if token else None
        if session is None:
            return None
        user = _user(session.actor)
        user.session = session
        user.must_change_password = session.must_change_password
        return user

    async def write_token(self, user: ApiUser) -> str:
        verified = Verified(user.id, user.name, user.email, user.must_change_password)
        user.signed_in = await begin_session(self.platform, verified, ip=self.ip, user_agent=self.user_agent)
        return user.signed_in.session_token

    async def destroy_token(self, token: str, user: ApiUser) -> None:
        await sign_out(self.platform, token, ip=self.ip)


class AccessTokenStrategy(Strategy[ApiUser, UUID]):
    """Personal access tokens: made in a signed-in session, never by signing in."""

    def __init__(self, platform: Platform, *, ip: str | None) -> None:
        self.platform = platform
        self.ip = ip

    async def read_token(self, token: str | None, user_manager: BaseUserManager[ApiUser, UUID]) -> ApiUser | None:
        """Raises RateLimited after many wrong tokens from one address."""
        loaded = await identify_token(self.platform, token=token, ip=self.ip) if token else None
        return None if loaded is None else _user(loaded.actor)

    async def write_token(self, user: ApiUser) -> str:
        raise RuntimeError("access tokens are made by app.domain.access.tokens.create_token")

    async def destroy_token(self, token: str, user: ApiUser) -> None:
        raise StrategyDestroyNotSupportedError


def session_strategy(request: Request) -> SessionStrategy:
    platform: Platform = request.app.state.runtime
    return SessionStrategy(platform, ip=client_ip(request), user_agent=request.headers.get("user-agent"))


def session_backend(settings: Settings) -> AuthenticationBackend[ApiUser, UUID]:
    """Return the backend whose cookie no script reads, and no plain connection carries where people use https."""
    transport = CookieTransport(
        cookie_name=SESSION_COOKIE,
        cookie_max_age=int(LIFETIME.total_seconds()),
        cookie_secure=settings.address.startswith("https://"),
        cookie_httponly=True,
        cookie_samesite="lax",
    )
    return AuthenticationBackend("session", transport, session_strategy)


def _user(actor: Actor) -> ApiUser:
    assert actor.id is not None
    return ApiUser(id=actor.id, email=actor.email, name=actor.name, actor=actor)
