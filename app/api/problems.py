"""The only place where an error becomes an answer: problem+json (RFC 9457) with a stable code, and what to do.

No stack trace, statement or path of ours is ever in it: an unexpected fault is logged under the request's id, and the
answer names that id alone.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from uuid import UUID

import orjson
import structlog
from asyncpg import PostgresConnectionError
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.bootstrap import Runtime
from app.core.actor import ANONYMOUS, Actor
from app.core.audit import AuditEntry, Outcome
from app.core.errors import (
    FieldProblem,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    StepsError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
    ValidationFailed,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:steps:problem:"

log = structlog.get_logger("steps.errors")

# What is out of order then is the way to the database, not the request; a load balancer may send it elsewhere.
UNREACHABLE = (PostgresConnectionError, InterfaceError, OperationalError, PoolTimeoutError, ConnectionError)


class MethodNotAllowed(StepsError):
    """The address is right, the method is not; `context["allow"]` lists those that are."""

    code = "method_not_allowed"
    status = 405
    title = "This cannot be done here"


class InternalFault(StepsError):
    """Something that must not happen did; what it was is in the log."""

    code = "internal_error"
    status = 500
    title = "Something went wrong on our side"


_BY_STATUS: Mapping[int, type[StepsError]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
    415: UnsupportedMedia,
    429: RateLimited,
    503: Unavailable,
}


# Where pydantic says a value stood; a client knows it by its own name alone.
_PLACES = frozenset({"body", "query", "path", "header", "cookie"})


def register(app: FastAPI) -> None:
    """Render every error of the application's routes here."""
    app.add_exception_handler(StepsError, answer)
    app.add_exception_handler(RequestValidationError, answer)
    app.add_exception_handler(HTTPException, answer)


async def answer(request: Request, error: Exception) -> Response:
    """Return the answer to an error. A refusal is put on record first, in a transaction of its own."""
    known = understood(error)
    if known is None:
        fault = InternalFault(f"It has been recorded under {request_id(request)}; tell that number to support.")
        log.error("unexpected fault", request_id=str(request_id(request)), exc_info=error)
        return render(request, fault)
    if isinstance(known, Forbidden):
        await _record_refusal(request, known)
    return render(request, known)


def understood(error: Exception) -> StepsError | None:
    """The product's error for an exception; None where it is a fault of ours."""
    match error:
        case StepsError():
            return error
        case RequestValidationError():
            return ValidationFailed(_problems(error))
        case HTTPException():
            return _from_http(error)
        case RecursionError():
            return InvalidRequest("What was sent is nested too deeply.")
        case _ if isinstance(error, UNREACHABLE):
            log.error("the database is not reachable", error=str(error)[:300])
            return Unavailable("The database is not reachable; try again in a moment.")
    return None


def render(request: Request, error: StepsError) -> Response:
    """The problem document of an error."""
    headers = {"cache-control": "no-store"}
    match error:
        case Unauthenticated():
            headers["www-authenticate"] = "Bearer"
        case RateLimited():
            headers["retry-after"] = str(max(1, int(error.context.get("retry_after", 1))))
        case MethodNotAllowed():
            headers["allow"] = ", ".join(error.context.get("allow", ()))
    content = document(error, instance=request.url.path, correlation_id=request_id(request))
    return Response(content=_dumps(content), status_code=error.status, headers=headers, media_type=MEDIA_TYPE)


def document(error: StepsError, *, instance: str | None = None, correlation_id: UUID | None = None) -> dict[str, Any]:
    """The members of a problem document; what the error knows beyond the standard ones stands beside them."""
    content: dict[str, Any] = dict(error.context)
    content |= {
        "type": f"{TYPE_PREFIX}{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "errors": [{"path": p.path, "message": p.message, "code": p.code} for p in error.problems],
    }
    if instance is not None:
        content["instance"] = instance
    if correlation_id is not None:
        content["correlation_id"] = correlation_id
    return content


def request_id(request: Request) -> UUID | None:
    """The id under which the request is in the log and in the trail."""
    found: UUID | None = request.scope.get("state", {}).get("request_id")
    return found


def _dumps(content: Mapping[str, Any]) -> bytes:
    return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS)


def _problems(error: RequestValidationError) -> list[FieldProblem]:
    return [_problem(item) for item in error.errors()]


def _problem(item: Mapping[str, Any]) -> FieldProblem:
    """Pydantic's findings in our words: where the value stands, and what is wrong with it."""
    place, *rest = [str(part) for part in item["loc"]] or [""]
    path = ".".join(rest or [place]) if place in _PLACES else ".".join([place, *rest])
    if item["type"] == "missing":
        return FieldProblem(path, "is required", "required")
    if item["type"] == "extra_forbidden":
        return FieldProblem(path, "there is no such field; remove it", "unknown_field")
    if item["type"] == "json_invalid":
        return FieldProblem("body", "is not valid JSON", "invalid_json")
    message = str(item["msg"]).removeprefix("Value error, ")
    return FieldProblem(path, f"{message[:1].lower()}{message[1:]}")


def _from_http(error: HTTPException) -> StepsError | None:
    if isinstance(error.__cause__, StepsError):  # the framework wraps what reading the body raises
        return error.__cause__
    kind = _BY_STATUS.get(error.status_code)
    if kind is None:
        return None if error.status_code >= 500 else InvalidRequest(_phrase(error))
    if kind is MethodNotAllowed:
        allow = [name.strip() for name in (error.headers or {}).get("Allow", "").split(",") if name.strip()]
        return MethodNotAllowed(f"Use {' or '.join(allow) or 'another method'} here.", context={"allow": allow})
    if kind is NotFound:
        return NotFound("There is nothing at this address.")
    return kind(_phrase(error))


def _phrase(error: HTTPException) -> str:
    return str(error.detail or HTTPStatus(error.status_code).phrase)


async def _record_refusal(request: Request, error: Forbidden) -> None:
    """Write who was refused what. That the record cannot be written must not turn a refusal into something else."""
    runtime: Runtime | None = getattr(request.app.state, "runtime", None)
    if runtime is None:
        return
    correlation_id = request_id(request)
    actor = _actor_of(request)
    if correlation_id is not None:
        actor = actor.correlated(correlation_id)
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
        async with runtime.uow(actor) as uow:
            uow.audit(entry)

    try:
        # Shielded: a client that hangs up at the refusal does not erase it from the trail.
        await asyncio.shield(write())
    except Exception as trouble:
        log.error("a refusal was not recorded", command=entry.command, error=str(trouble)[:300])


def _actor_of(request: Request) -> Actor:
    user = request.scope.get("state", {}).get("steps_user")
    actor: Actor | None = getattr(user, "actor", None)
    return actor or ANONYMOUS
