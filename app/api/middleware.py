"""What surrounds every request: its id, its log line and meters, the security headers, the size limit, faults."""

import time
from collections.abc import Iterable, Mapping

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.metrics import Metrics
from app.api.problems import answer
from app.core.errors import TooLarge
from models.base import uuid7

CONTENT_SECURITY_POLICY = "; ".join((
    "default-src 'self'",
    "img-src 'self' data:",
    "style-src 'self'",
    "script-src 'self'",
    "object-src 'none'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'self'",
))  # fmt: skip

SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
STRICT_TRANSPORT = "max-age=31536000; includeSubDomains"

# Where the number of requests says nothing about the product: assets, and those who only look whether it is there.
UNLOGGED = ("/static/", "/health/", "/metrics")
FIXED = frozenset({"/health/live", "/health/ready", "/metrics"})

MEBIBYTE = 1_048_576

Header = tuple[bytes, bytes]

access = structlog.get_logger("steps.access")


class Observed:
    """Outermost: gives the request its id, adds the security headers, then logs and counts the answer."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, https: bool) -> None:
        self.app = app
        self.metrics = metrics
        headers = {**SECURITY_HEADERS, **({"strict-transport-security": STRICT_TRANSPORT} if https else {})}
        self.headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = uuid7()
        scope.setdefault("state", {})["request_id"] = request_id
        status = 499  # what is logged where the client left before there was an answer

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._completed(message.get("headers", ()), str(request_id).encode())
            await send(message)

        try:
            await self.app(scope, receive, observed)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _completed(self, given: Iterable[Header], request_id: bytes) -> list[Header]:
        """The answer's headers with ours; one that a route has set itself stays as it is."""
        headers = list(given)
        names = {name.lower() for name, _ in headers}
        headers += [header for header in self.headers if header[0] not in names]
        if b"cache-control" not in names:
            headers.append((b"cache-control", b"no-store"))
        headers.append((b"x-request-id", request_id))
        return headers

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path: str = scope["path"]
        route = route_template(scope)
        self.metrics.observe(scope["method"], route, status, seconds)
        if path.startswith(UNLOGGED) and status < 400:
            return
        user = scope["state"].get("steps_user")
        access.info(
            "request",
            method=scope["method"],
            path=path,
            route=route,
            status=status,
            ms=round(seconds * 1_000, 1),
            user=str(user.id) if user is not None else None,
            ip=scope["client"][0] if scope.get("client") else None,
            request_id=str(scope["state"]["request_id"]),
        )


def route_template(scope: Scope) -> str:
    """The route of a request with its parameters unfilled, so that meters stay few; `unknown` where none matched."""
    named: str | None = scope["state"].get("route")
    if named is None:
        named = getattr(scope.get("route"), "path", None)
    if named is None:
        path: str = scope["path"]
        named = "/static" if path.startswith("/static/") else path if path in FIXED else None
    return named or "unknown"


class Faults:
    """Turns what no route has handled into an answer; nothing of it reaches the client or the server above."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            return
        except Exception as error:
            response = await answer(Request(scope, receive), error)
            if started:
                raise  # half an answer is out: the connection must break, so that nobody takes it for a whole one
            await response(scope, receive, send)


class BodyLimit:
    """Refuses a body that is too large by its header, or else as soon as too much of it has come."""

    def __init__(self, app: ASGIApp, *, largest: int, by_prefix: Mapping[str, int]) -> None:
        self.app = app
        self.largest = largest
        self.by_prefix = by_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        limit = next((n for prefix, n in self.by_prefix.items() if scope["path"].startswith(prefix)), self.largest)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(limit)
            return message

        await self.app(scope, counted, send)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"At most {limit // MEBIBYTE} MiB can be sent at once.", context={"limit_bytes": limit})
