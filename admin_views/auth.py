"""Who visits: the session cookie; and SQLAdmin's question of what they may do, answered by the compiled policy."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from sqladmin.authorization import Action, AuthorizationBackend
from starlette.requests import Request

from app.bootstrap import Runtime
from app.core.actor import Actor
from app.domain.access.decisions import decide, is_wide
from app.domain.access.same_origin import require_csrf_token, require_same_origin
from app.domain.access.sessions import LoadedSession, identify_session

if TYPE_CHECKING:
    from admin_views.site import StepsAdmin

SESSION_COOKIE = "steps_session"
APPLICATION_COOKIE = "steps_application"
PASSWORD_PAGE = "/password"  # noqa: S105  (an address)
SIGN_OUT = "/signout"
BEFORE_PASSWORD_CHANGE = frozenset({PASSWORD_PAGE, SIGN_OUT, "/preferences/theme", "/preferences/contrast"})

# SQLAdmin's actions in the words of the policy.
_ACTIONS: dict[str, str] = {
    Action.LIST: "read",
    Action.DETAILS: "read",
    Action.CREATE: "create",
    Action.EDIT: "update",
    Action.DELETE: "delete",
    Action.EXPORT: "export",
    Action.IMPORT: "import",
}


@dataclass(frozen=True, slots=True)
class Visitor:
    """A signed-in person. `actor` may be narrowed to one application; `session.actor` has all grants."""

    session: LoadedSession
    actor: Actor
    application: str | None

    @property
    def id(self) -> UUID | None:
        return self.actor.id


def client_ip(request: Request) -> str | None:
    return request.client.host if request.client else None


async def identify(runtime: Runtime, request: Request) -> Visitor | None:
    """The person of the session cookie; None where it is missing, ended or revoked."""
    token = request.cookies.get(SESSION_COOKIE)
    session = await identify_session(runtime, token=token, ip=client_ip(request)) if token else None
    if session is None:
        return None
    actor = session.actor
    request_id = request.scope.get("state", {}).get("request_id")
    if request_id is not None:
        actor = actor.correlated(request_id)
    chosen = request.cookies.get(APPLICATION_COOKIE) or None
    narrowed = tuple(g for g in actor.grants if g.application == chosen or is_wide(runtime.policy, g))
    if chosen is None or not any(grant.application == chosen for grant in actor.grants):
        return Visitor(session, actor, None)
    return Visitor(session, replace(actor, grants=narrowed), chosen)


def require_own_page(request: Request, address: str, given: str | None, expected: str) -> None:
    """Refuse a change that one of our own pages did not send. Raises ForeignRequest."""
    require_same_origin(
        origin=request.headers.get("origin"),
        referer=request.headers.get("referer"),
        base_url=address,
        own_url=str(request.base_url),
    )
    require_csrf_token(given=given, expected=expected)


def safe_next(address: str | None) -> str:
    """Where to go after the sign-in: a path of this site, never another one's address."""
    if not address or not address.startswith("/") or address.startswith(("//", "/\\")):
        return "/"
    if any(ord(character) < 32 for character in address) or "\\" in address:
        return "/"
    parts = urlsplit(address)
    if parts.scheme or parts.netloc or parts.path in ("/signin", SIGN_OUT):
        return "/"
    return address


class StepsAuthorization(AuthorizationBackend):
    """SQLAdmin asks what somebody may do; the compiled policy answers, by the visitor that `guarded` has identified."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.entities: dict[str, str] = {}

    def setup(self, admin: "StepsAdmin") -> None:  # type: ignore[override]
        """Know which entity each view of the site shows."""
        self.entities = {entity.slug: entity.name for entity in admin.registry.entities.values()}

    def has_permission(self, request: Request, identity: str, action: str, obj: Any | None = None) -> bool:
        visitor: Visitor | None = getattr(request.state, "steps_user", None)
        entity = self.entities.get(identity)
        if visitor is None or entity is None or action not in _ACTIONS:
            return False
        return decide(self.runtime.policy, self.runtime.registry, visitor.actor, _ACTIONS[action], entity) is not None
