"""What a list's address says: search, filter, order, columns, page. Pure; every part of it may come from anybody."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from admin_views.formats import Formats

LIMITS = (25, 50, 100, 250)
DEFAULT_LIMIT = 50
MOST_STEPS_BACK = 30
MOST_TEXT = 20_000

_NAIVE_INSTANT = re.compile(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?$")
_CURSOR = re.compile(r"^[A-Za-z0-9_-]{1,4000}$")


@dataclass(frozen=True, slots=True)
class ListState:
    """`trail`: the cursors of the pages before this one, the nearest last; `offset`: records before this page."""

    q: str = ""
    filter: Any = None
    sort: str = ""
    columns: tuple[str, ...] = ()
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    trail: tuple[str, ...] = ()
    offset: int = 0
    view: str = ""
    problem: str = field(default="", compare=False)

    def address(self, base: str, **changes: Any) -> str:
        """The list with something changed. What changes the rows goes back to the first page."""
        if changes.keys() & {"q", "filter", "sort", "limit"}:
            changes = {"cursor": None, "trail": (), "offset": 0, **changes}
        query = urlencode(replace(self, **changes).parameters())
        return f"{base}?{query}" if query else base

    def parameters(self) -> list[tuple[str, str]]:
        """The query of the address; what is as usual is left out."""
        given: list[tuple[str, Any]] = [
            ("view", self.view),
            ("q", self.q),
            ("filter", json.dumps(self.filter, separators=(",", ":")) if self.filter else ""),
            ("sort", self.sort),
            ("columns", ",".join(self.columns)),
            ("limit", "" if self.limit == DEFAULT_LIMIT else self.limit),
            ("cursor", self.cursor),
            ("trail", ".".join(self.trail)),
            ("offset", self.offset or ""),
        ]
        return [(name, str(value)) for name, value in given if value not in ("", None)]

    @property
    def kept(self) -> dict[str, Any]:
        """What a saved view remembers."""
        return {"q": self.q, "filter": self.filter, "sort": self.sort, "columns": list(self.columns)}


def read_state(parameters: Mapping[str, str], formats: Formats) -> ListState:
    """The state of an address; what cannot be read is left out and told in `problem`."""
    problem, filter_ = "", None
    text = parameters.get("filter", "")[:MOST_TEXT]
    if text:
        try:
            filter_ = with_zone(json.loads(text), formats) or None
        except (ValueError, RecursionError):
            problem = "The filter in the address is not JSON."
    if filter_ is not None and not isinstance(filter_, dict):
        filter_, problem = None, 'A filter is an object such as {"status": "ready"}.'
    cursor = parameters.get("cursor", "")
    trail = tuple(step for step in parameters.get("trail", "").split(".") if _CURSOR.match(step))
    return ListState(
        q=parameters.get("q", "").strip()[:500],
        filter=filter_,
        sort=parameters.get("sort", "")[:500],
        columns=names_of(parameters.get("columns", "")),
        limit=_limit(parameters.get("limit", "")),
        cursor=cursor if _CURSOR.match(cursor) else None,
        trail=trail[-MOST_STEPS_BACK:],
        offset=_number(parameters.get("offset", "")),
        view=parameters.get("view", "")[:40],
        problem=problem,
    )


def names_of(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in text[:5_000].split(",") if name))


def from_saved(saved: Any) -> ListState:
    """The state that a saved view remembers."""
    if not isinstance(saved, dict):
        return ListState()
    columns, filter_ = saved.get("columns"), saved.get("filter")
    return ListState(
        q=str(saved.get("q") or ""),
        filter=filter_ if isinstance(filter_, dict) and filter_ else None,
        sort=str(saved.get("sort") or ""),
        columns=tuple(str(name) for name in columns) if isinstance(columns, list) else (),
    )


def with_zone(value: Any, formats: Formats) -> Any:
    """A filter whose wall times, as a date-and-time control gives them, are instants of the person's zone."""
    match value:
        case dict():
            return {name: with_zone(item, formats) for name, item in value.items()}
        case list():
            return [with_zone(item, formats) for item in value]
        case str() if _NAIVE_INSTANT.match(value):
            return formats.from_wall(value)
    return value


def next_page(state: ListState, cursor: str, shown: int) -> ListState:
    trail = (*state.trail, state.cursor) if state.cursor else state.trail
    return replace(state, cursor=cursor, trail=trail[-MOST_STEPS_BACK:], offset=state.offset + shown)


def previous_page(state: ListState) -> ListState | None:
    """The page before; None on the first one. Past the remembered steps it is the first page."""
    if state.cursor is None:
        return None
    if not state.trail:
        return replace(state, cursor=None, offset=0)
    return replace(state, cursor=state.trail[-1], trail=state.trail[:-1], offset=max(0, state.offset - state.limit))


def sorted_by(sort: str, name: str) -> str:
    """The order after a click on a column's head: up, down, and back to the list's own."""
    if sort == name:
        return f"-{name}"
    return "" if sort == f"-{name}" else name


def sort_marks(sort: str) -> dict[str, tuple[str, int | None]]:
    """Column -> its direction and its rank, where several columns order the list."""
    parts: Sequence[str] = [part.strip() for part in sort.split(",") if part.strip()]
    return {
        part.lstrip("+-"): ("desc" if part.startswith("-") else "asc", rank if len(parts) > 1 else None)
        for rank, part in enumerate(parts, start=1)
    }


def _limit(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 and int(text) in LIMITS else DEFAULT_LIMIT


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
