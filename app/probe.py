"""Asks a running web server whether it is up, as a load balancer would."""

import http.client

from app.core.settings import Settings

PATH = "/health/live"
TIMEOUT_SECONDS = 2


def web_answers(settings: Settings) -> bool:
    """Tell whether the web server at the configured host and port answers."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - asked, not bound
    connection = http.client.HTTPConnection(host, settings.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", PATH)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
