"""Who calls: sign-in, sessions, access tokens, and the dependencies that every other route takes its actor from."""

from app.api.auth.dependencies import CurrentActor, get_actor, require_csrf
from app.api.auth.routes import router

__all__ = ["CurrentActor", "get_actor", "require_csrf", "router"]
