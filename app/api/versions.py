"""Versions of records in HTTP: the ETag of an answer, and the If-Match that a change must carry."""

import re

from starlette.requests import Request

from app.core.errors import InvalidRequest, PreconditionRequired

_STRONG = re.compile(r'^"(?P<version>[0-9]{1,18})"$')


def etag(version: int) -> str:
    """The strong entity tag of a record's version."""
    return f'"{version}"'


def expected_version(request: Request) -> int:
    """The version that the caller has read and means to change.

    Raises:
        PreconditionRequired: there is no If-Match header.
        InvalidRequest: it is not the tag of one version.
    """
    given = request.headers.get("if-match")
    if given is None:
        raise PreconditionRequired('Send the version you have read as If-Match, for example If-Match: "3".')
    match = _STRONG.match(given.strip())
    if match is None:
        raise InvalidRequest('If-Match must be the ETag of the record as it was read, for example "3".')
    return int(match["version"])


def is_known(request: Request, version: int) -> bool:
    """Whether the caller has this version already and only asks whether it still holds."""
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in given.split(",")}
    return etag(version) in tags or "*" in tags
