"""The one tree of errors a person or a client can meet. Each has a stable `code`, an HTTP status and says what to do.

`app.api.problems` renders them as problem+json; screens show the same title and detail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field: `path` such as `lines.2.account`, and what to enter instead."""

    path: str
    message: str
    code: str = "invalid"


class StepsError(Exception):
    """Base of every error that is meant to be read."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"

    def __init__(
        self, detail: str = "", *, problems: Sequence[FieldProblem] = (), context: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.problems = tuple(problems)
        self.context = dict(context or {})


class InvalidRequest(StepsError):
    """The request cannot be read: a filter, cursor, sort or header is malformed."""

    code = "invalid_request"
    status = 400
    title = "The request is not valid"


class Unauthenticated(StepsError):
    code = "unauthenticated"
    status = 401
    title = "Sign in first"


class Forbidden(StepsError):
    """The actor is known and may not do this; `context` names the missing permission."""

    code = "forbidden"
    status = 403
    title = "You are not allowed to do this"


class NotFound(StepsError):
    """No such record, or none that the actor may see: the two are never told apart."""

    code = "not_found"
    status = 404
    title = "Not found"


class Conflict(StepsError):
    """The change contradicts what is there now: a duplicate, a reference in use."""

    code = "conflict"
    status = 409
    title = "This contradicts what is already there"


class TransitionRefused(Conflict):
    """A transition is not possible now. `context`: `guard` (which rule), `satisfy` (what would make it possible)."""

    code = "transition_refused"
    title = "This step is not possible now"

    def __init__(self, detail: str, *, guard: str, satisfy: str = "", context: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail, context={**(context or {}), "guard": guard, "satisfy": satisfy})
        self.guard = guard


class StaleVersion(StepsError):
    """Somebody else changed the record since it was read."""

    code = "stale_version"
    status = 412
    title = "Somebody else changed this meanwhile"


class PreconditionRequired(StepsError):
    code = "precondition_required"
    status = 428
    title = "Say which version you are changing"


class TooLarge(StepsError):
    code = "too_large"
    status = 413
    title = "This is too large"


class UnsupportedMedia(StepsError):
    code = "unsupported_media"
    status = 415
    title = "This kind of content is not accepted"


class ValidationFailed(StepsError):
    """One or more fields do not fit; `problems` lists each with what to enter."""

    code = "validation_failed"
    status = 422
    title = "Some fields need attention"

    def __init__(self, problems: Sequence[FieldProblem], detail: str = "") -> None:
        count = len(problems)
        summary = detail or "; ".join(f"{p.path}: {p.message}" for p in problems[:5])
        super().__init__(summary or f"{count} fields need attention", problems=problems)


class RateLimited(StepsError):
    """`context["retry_after"]`: seconds to wait."""

    code = "rate_limited"
    status = 429
    title = "Too many attempts"


class Unavailable(StepsError):
    code = "unavailable"
    status = 503
    title = "Not available at the moment"
