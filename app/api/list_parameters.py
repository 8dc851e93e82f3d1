"""The query string of a list, read strictly: what cannot be understood is refused with what may be said instead."""

from collections.abc import Iterable
from typing import Any

import orjson
from starlette.datastructures import QueryParams

from app.core.errors import InvalidRequest
from app.domain.entities.queries import MAX_LIMIT, Count, ListQuery

DEFAULT_LIMIT = 50
MAX_FILTER = 20_000
MAX_SEARCH = 200
LIST_PARAMETERS = frozenset({"filter", "q", "sort", "fields", "expand", "cursor", "limit", "count"})


def list_query(parameters: QueryParams) -> ListQuery:
    """Raises InvalidRequest."""
    known_only(parameters, LIST_PARAMETERS)
    return ListQuery(
        filter=_filter(parameters.get("filter")),
        search=search(parameters),
        sort=parameters.get("sort", ""),
        fields=names(parameters.get("fields")),
        expand=names(parameters.get("expand")),
        cursor=parameters.get("cursor") or None,
        limit=limit(parameters, default=DEFAULT_LIMIT, largest=MAX_LIMIT),
        count=_count(parameters.get("count")),
    )


def known_only(parameters: QueryParams, known: Iterable[str]) -> None:
    """A parameter that nobody reads is a misunderstanding: a misspelt filter must not list everything."""
    for name in parameters:
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise InvalidRequest(f"There is no parameter {name!r} here; there are: {there}.")
        if len(parameters.getlist(name)) > 1:
            raise InvalidRequest(f"Give {name!r} once.")


def names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def search(parameters: QueryParams) -> str:
    """Raises InvalidRequest."""
    text = parameters.get("q", "")
    if len(text) > MAX_SEARCH:
        raise InvalidRequest(f"q: at most {MAX_SEARCH} characters")
    if "\x00" in text:
        raise InvalidRequest("q: the search contains a character that cannot be searched for; remove it")
    return text


def limit(parameters: QueryParams, *, default: int, largest: int) -> int:
    """Raises InvalidRequest."""
    return whole_number(parameters, "limit", low=1, high=largest) or default


def whole_number(parameters: QueryParams, name: str, *, low: int, high: int) -> int | None:
    """Raises InvalidRequest."""
    text = parameters.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise InvalidRequest(f"{name} must be a whole number from {low} to {high}")
    return int(text)


def _filter(text: str | None) -> Any:
    if not text:
        return None
    if len(text) > MAX_FILTER:
        raise InvalidRequest(f"filter: at most {MAX_FILTER} characters")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        example = '{"status":{"in":["ready","failed"]}}'
        raise InvalidRequest(f"filter is not valid JSON ({error}); for example {example}") from None


def _count(text: str | None) -> Count:
    try:
        return Count(text or "none")
    except ValueError:
        raise InvalidRequest(f"count must be one of {', '.join(Count)}") from None
