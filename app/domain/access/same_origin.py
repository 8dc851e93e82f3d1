"""Whether a changing request comes from our own pages: its Origin, and the session's CSRF token. Pure rules."""

import hmac
from urllib.parse import urlsplit

from app.core.errors import Forbidden

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


class ForeignRequest(Forbidden):
    """The request did not come from one of our pages, or from one that is too old."""

    code = "csrf_refused"
    title = "This request does not come from this application"


def require_same_origin(*, origin: str | None, referer: str | None, base_url: str, own_url: str) -> None:
    """Refuse a request from another site.

    Args:
        origin: the Origin header; where it is missing the Referer stands in for it.
        base_url: the address that people use, from the settings.
        own_url: scheme and Host of the request itself, for an address that the settings do not know.

    Raises:
        ForeignRequest: both headers are missing, or name another site.
    """
    source = _origin(origin if origin is not None else referer)
    if source is None:
        raise ForeignRequest("The request names no origin. Send it from a page of this application.")
    if source not in (_origin(base_url), _origin(own_url)):
        raise ForeignRequest("The request comes from another site. Open this application directly and try again.")


def require_csrf_token(*, given: str | None, expected: str) -> None:
    """Refuse a request without the session's CSRF token; the comparison takes the same time for every guess.

    Raises:
        ForeignRequest: the token is missing or another session's.
    """
    if not given or not hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode()):
        raise ForeignRequest("The page is out of date. Reload it and try again.")


def _origin(address: str | None) -> tuple[str, str, int | None] | None:
    """Scheme, host and port of an address; None where it has none (`null` is what a sandboxed page sends)."""
    try:
        parts = urlsplit(address or "")
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme]
